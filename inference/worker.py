"""The child process of the add-on: ``python -m inference.worker TAKE.toml --out DIR``.

Progress goes to stdout as JSON lines, the last of which is ``{"done_file": …}`` or
``{"error": …, "exit_code": …}``; with ``--again``, ``{"solution_file": …, "whole_take": …}`` comes before the reports
are written, perhaps twice: first the neighbourhood of a correction, then the whole take. The process ends by itself
when its standard input closes, so that it never outlives the Blender that started it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import sys
import threading
import time
from pathlib import Path

from .errors import Cancelled, SolveError
from .pipeline import look_ahead, solve, solve_again
from .progress import JsonProgress, Progress
from .take import read_take, split_overrides

_SECONDS_TO_END = 5.0  # for a clean end once the parent has gone


def main(arguments: list[str] | None = None) -> int:
    """Solve one take for the add-on; return the exit code."""
    parser = argparse.ArgumentParser(prog="inference.worker")
    parser.add_argument("take", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--again", action="store_true", help="from the keypoints of the last solve; see solve_again")
    parser.add_argument("--so-far", action="store_true", help="the frames that a cancelled solve has looked at")
    parser.add_argument("--wait", action="store_true", help="begin at the line `start`; see `listen`")
    options = parser.parse_args(arguments)
    progress, started = JsonProgress(sys.stdout), threading.Event()
    hints: queue.SimpleQueue[str] = queue.SimpleQueue()
    listen(progress, started, hints)
    try:
        while options.wait and not started.wait(0.05):
            hint = _newest(hints)
            if hint:
                look_ahead(options.take, split_overrides(options.settings), options.out, _near(hint))
        progress.check()
        take = read_take(options.take, split_overrides(options.settings))
        if options.again:
            solve_again(
                take,
                options.out,
                progress,
                lambda path, final: _say({"solution_file": str(path), "whole_take": final}),
            )
        else:
            solve(take, options.out, progress, options.so_far)
    except SolveError as problem:
        _say({"error": str(problem), "exit_code": problem.exit_code})
        return problem.exit_code
    except Exception as problem:
        _say({"error": f"{type(problem).__name__}: {problem}", "exit_code": 3})
        raise
    _say({"done_file": str(options.out / "solution.npz")})
    return 0


def _say(line: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _newest(hints: queue.SimpleQueue[str]) -> str:
    """Return the last hint, "" where there is none; those before it are out of date."""
    found = ""
    with contextlib.suppress(queue.Empty):
        while True:
            found = hints.get_nowait()
    return found


def _near(hint: str) -> tuple[float, int] | None:
    """Read ``near SECONDS PERSON``; None for another hint."""
    word, *values = hint.split()
    return (float(values[0]), int(values[1])) if word == "near" else None


def listen(
    progress: Progress, started: threading.Event | None = None, hints: queue.SimpleQueue[str] | None = None
) -> None:
    """Cancel on the line ``cancel``, begin on ``start``; cancel and soon end when standard input closes.

    ``corrected`` (the corrections were changed) and ``near SECONDS PERSON`` (somebody begins to correct there) are
    hints for who waits, and may be ignored.
    """
    started, hints = started or threading.Event(), hints or queue.SimpleQueue()

    def heard() -> None:
        for line in sys.stdin:
            word = line.strip()
            if word == "corrected" or word.startswith("near "):
                hints.put(word)
                continue
            if word == "cancel":
                progress.cancel()
            started.set()  # whatever was said, the waiting is over
        progress.cancel()
        started.set()
        time.sleep(_SECONDS_TO_END)
        os._exit(Cancelled.exit_code)

    threading.Thread(target=heard, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
