"""Solve in a child process: start it, follow it without waiting, stop it. Imports no bpy.

The child is ``python -m inference.worker``; it says how far it is in JSON lines on its standard output,
and ends by itself when its standard input closes, so it never outlives Blender.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..inference.errors import Cancelled, InputError, SolveError
from .setting_words import STAGE_WORDS

ROOT = Path(__file__).resolve().parent.parent  # holds the package `inference`
GRACE_S = 3.0  # between asking the child to stop, ending it, and killing it


@dataclass(frozen=True)
class Event:
    """How far the child is; ``line`` is what it wrote."""

    stage: str
    done: int
    total: int
    seconds_left: float | None
    line: str

    @property
    def share(self) -> float:
        """Done share of the stage, 0–1."""
        return self.done / self.total if self.total > 0 else 0.0

    @property
    def text(self) -> str:
        """The same in words, for a person."""
        count = f": {self.done} of {self.total}" if self.total > 1 else ""
        left = "" if self.seconds_left is None else f", {in_words(self.seconds_left)} left"
        return f"{STAGE_WORDS.get(self.stage, self.stage.capitalize())}{count}{left}"


def in_words(seconds: float) -> str:
    """Return a time as a person says it: 50 s, 3 min, 2 h 5 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def worker_command(
    take: Path, out: Path, settings: Mapping[str, str], flags: Sequence[str] = (), python: str = ""
) -> list[str]:
    """Return the command line that solves a take; without a Python of the user's choice with Blender's own."""
    pairs = [argument for key, value in settings.items() for argument in ("--set", f"{key}={value}")]
    command = [python or interpreter(), "-m", "inference.worker", str(take.absolute())]
    return [*command, "--out", str(out.absolute()), *pairs, *flags]


def interpreter() -> str:
    """Return the Python that belongs to this Blender.

    Raises:
        SolveError: none was found.
    """
    candidates = [Path(sys.executable)] if sys.executable else []
    folder = Path(sys.prefix)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    names = ("python.exe",) if os.name == "nt" else (f"python{version}", "python3", "python")
    candidates += [folder / place / name for place in ("bin", ".") for name in names]
    for candidate in candidates:
        if candidate.stem.lower().startswith("python") and candidate.is_file():
            return str(candidate)
    raise SolveError(f"no Python found that belongs to this Blender; looked for {sys.executable!r} and in {folder}")


def worker_environment(environment: Mapping[str, str], search_path: Sequence[str]) -> dict[str, str]:
    """Return the child's environment: our folder first, then the site folders of the running Python.

    Blender's extensions keep their wheels in a folder of their own, which a plain Python does not know.
    """
    sites = [entry for entry in search_path if Path(entry).name in ("site-packages", "dist-packages")]
    before = [environment["PYTHONPATH"]] if environment.get("PYTHONPATH") else []
    path = os.pathsep.join([str(ROOT), *sites, *before])
    return {**environment, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"}


def foreign_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a child with a Python of the user's choice: our folder, and nothing of Blender's.

    The wheels of the extension would hide the packages that this Python was chosen for.
    """
    kept = {key: value for key, value in environment.items() if key != "PYTHONHOME"}
    return {**worker_environment(kept, ()), "PYTHONPATH": str(ROOT)}


class Job:
    """One running child process. Poll it; it never blocks the caller."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Start a command; without an environment of its own it finds what the running Python finds."""
        self._log = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")
        self._lines: queue.Queue[str] = queue.Queue()
        self._result: dict[str, Any] = {}
        self.crashed = False  # whether the child died without a word of its own; known after `answer`
        self._cancelled_at: float | None = None
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                cwd=ROOT,
                env=dict(environment or worker_environment(os.environ, sys.path)),
                text=True,
                encoding="utf-8",
                errors="replace",
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as problem:
            self._log.close()
            raise SolveError(f"{command[0]} could not be started: {problem.strerror}") from problem
        assert self._process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self._lines.put(line.strip())

    def events(self) -> list[Event]:
        """Return what the child has said since the last call."""
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                event = self._understand(self._lines.get_nowait())
                found += [event] if event else []
        self._press()
        return found

    def _understand(self, line: str) -> Event | None:
        try:
            said = json.loads(line)
        except ValueError:
            return None  # a library that prints
        if not isinstance(said, dict):
            return None
        if "stage" in said:
            total, done = int(said.get("total") or 0), int(said.get("done") or 0)
            return Event(str(said["stage"]), done, total, said.get("seconds_left"), line)
        self._result.update(said)
        return None

    @property
    def running(self) -> bool:
        """Whether the child still works or has something left to say."""
        return self._process.poll() is None or self._reader.is_alive() or not self._lines.empty()

    @property
    def solution_file(self) -> Path | None:
        """The solution, where the child said that it stands although its reports do not yet."""
        found = self._result.get("solution_file")
        return None if found is None else Path(found)

    @property
    def whole_take(self) -> bool:
        """Whether that is the solution of the whole take, not only of the neighbourhood of a correction."""
        return bool(self._result.get("whole_take", True))

    def result(self) -> Path:
        """Return the solution's file; call it when the job runs no more.

        Raises:
            Cancelled: the job was cancelled.
            InputError: the child refused its input.
            SolveError: the child failed or died; the message is its own, or the end of its log.
        """
        return Path(self.answer("done_file")["done_file"])

    def answer(self, wanted: str | None = None) -> dict[str, Any]:
        """Return what the child said besides its progress; call it when the job runs no more.

        Args:
            wanted: a key without which the child has failed.

        Raises:
            Cancelled, InputError, SolveError: as `result`.
        """
        self.events()
        code = self._process.wait()
        try:
            if self._cancelled_at is not None or code == Cancelled.exit_code:
                raise Cancelled("cancelled by the user")
            if code == 0 and (wanted is None or wanted in self._result):
                return self._result
            raise self._error(code)
        finally:
            self.close()

    def _error(self, code: int) -> SolveError:
        message = self._result.get("error")
        kind = InputError if self._result.get("exit_code", code) == InputError.exit_code else SolveError
        if message:
            return kind(" ".join(str(message).split()))
        self._log.seek(0)
        lines = [line.strip() for line in self._log if line.strip()]
        said = lines[-1] if lines else "it said nothing"
        self.crashed = code < 0 or not lines
        killed = " (killed: perhaps the memory was full)" if code == -9 else ""
        return kind(f"the child process ended with code {code}{killed}: {said}")

    def trace(self) -> str:
        """Return what the child wrote to its standard error."""
        if self._log.closed:
            return ""
        self._log.seek(0)
        return self._log.read()

    def cancel(self) -> None:
        """Ask the child to stop; if it does not, it is ended a little later, from `events` or `close`."""
        if self._cancelled_at is None:
            self._cancelled_at = time.monotonic()
            self.ask("cancel")

    def ask(self, word: str) -> None:
        """Say a word to the child: ``cancel``, or where it waits ``start`` and the hints of `inference.worker`."""
        stdin = self._process.stdin
        with contextlib.suppress(OSError, ValueError):
            if stdin is not None:
                stdin.write(f"{word}\n")
                stdin.flush()

    def _press(self) -> None:
        if self._cancelled_at is None or self._process.poll() is not None:
            return
        waited = time.monotonic() - self._cancelled_at
        if waited > 2 * GRACE_S:
            self._process.kill()
        elif waited > GRACE_S:
            self._process.terminate()

    def close(self) -> None:
        """End the child if it still runs, and let go of its pipes."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._reader.join(GRACE_S)
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()
        self._log.close()
