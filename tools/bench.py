"""Every performance figure that we quote, measured in one run, as ratios to others where they are installed.

    python tools/bench.py --json FILE [--only NAME…] [--quick] [--shared DIR] [--peers] [--table FILE.md]

Prints a table; writes the same as JSON, and with ``--table`` as Markdown. With ``--only`` the other parts of an
existing FILE stay as they are, so that single parts can be measured again. ``--quick`` takes one seed and few takes.
``--shared`` (or SIGHTLINE_DATA, or ../shared/data) is the folder of real footage; without it those rows say so.
``--peers`` first makes ``.venv-peers`` with Pose2Sim and aniposelib, the only thing here that goes online; where that
environment exists it is used, and what the peers made of a scene is kept in ``build/peers``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from threadpoolctl import threadpool_limits

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from inference.errors import SolveError  # noqa: E402  the checkout is on the path only now
from inference.report.record import versions  # noqa: E402
from tools.benchmarks import (  # noqa: E402
    cameras,
    desk_take,
    hypotheses,
    moving,
    people,
    real_take,
    renderer,
    scenes,
    speed,
    stations,
    trust,
)
from tools.benchmarks.peers import PACKAGES, Peers, installed_peers  # noqa: E402
from tools.benchmarks.rows import Row, as_markdown, as_text, skipped  # noqa: E402

Part = Callable[[], Iterable[Row]]
Keep = Callable[[str, list[Row], float], None]


def parts_of(shared: Path, peers: Peers, quick: bool = False) -> dict[str, Part]:
    """Name the parts of the benchmark, in the order in which they run."""
    video = shared / "pose2sim_single" / "videos" / "cam03.mp4"
    seeds = (201,) if quick else (201, 202, 203)  # no test uses them
    camera_seeds = range(1, 3) if quick else range(1, 21)
    return {
        "speed": lambda: speed.speed(peers),
        **{f"scene-{case.key}": partial(scenes.case_rows, case, seeds, peers) for case in scenes.CASES},
        "moving-cameras": lambda: moving.moving_rows(seeds),
        "coverage": lambda: trust.many_rigs(4 if quick else 40),
        "people": people.people,
        "cameras": lambda: cameras.from_joints(peers, camera_seeds, camera_seeds[: 1 if quick else 5]),
        "openpose": lambda: real_take.from_openpose(shared, peers),
        "videos": lambda: real_take.from_videos(shared, peers),
        "desk": lambda: desk_take.from_videos(shared, peers),
        "heatmaps": stations.heatmaps,
        "hypotheses": hypotheses.sampling,
        "detector": lambda: stations.detector(video),
        "own-detector": stations.own_detector,
        "blender": stations.blender,
        "synthetic": renderer.synthetic_people,
    }


def run(parts: Mapping[str, Part], chosen: Sequence[str], keep: Keep) -> bool:
    """Run the chosen parts, printing each row at once; a part that our own code refuses leaves a row that says why.

    Args:
        parts: by name.
        chosen: names, in order.
        keep: told each part's name, rows and seconds when it is done, so that a run that is stopped leaves what it had.

    Returns:
        Whether every part ran.
    """
    whole = True
    for number, name in enumerate(chosen):
        print(f"\n-- {name} ({number + 1} of {len(chosen)})", file=sys.stderr, flush=True)
        rows: list[Row] = []
        started = time.perf_counter()
        try:
            for row in parts[name]():
                _show(row, rows)
        except (SolveError, ValueError, ArithmeticError) as error:  # a fault of ours ends the part, not the run
            _show(skipped(name, f"failed: {type(error).__name__}: {error}")[0], rows)
            whole = False
        keep(name, rows, time.perf_counter() - started)
    return whole


def _show(row: Row, rows: list[Row]) -> None:
    print(as_text(row, not rows or rows[-1].group != row.group), flush=True)
    rows.append(row)


def write_json(path: Path, name: str, rows: Sequence[Row], seconds: float) -> None:
    """Put the rows of a part into the file, with machine, versions and date; to a temporary name first."""
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"parts": {}}
    found["machine"] = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    found["versions"] = versions() | {"peers": ", ".join(PACKAGES)}
    found["parts"][name] = {
        "date": time.strftime("%Y-%m-%d"),
        "seconds": round(seconds, 1),
        "rows": [row.as_json() for row in rows],
    }
    draft = path.with_name(path.name + ".part")
    draft.write_text(json.dumps(found, indent=1, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(draft, path)


def write_table(path: Path, source: Path, order: Sequence[str]) -> None:
    """Write the table of a JSON file for people."""
    found = json.loads(source.read_text(encoding="utf-8"))
    known = [name for name in order if name in found["parts"]]
    made = ", ".join(f"{key} {value}" for key, value in found["versions"].items())
    lines = [
        "# Benchmark",
        "",
        "Made by `python tools/bench.py --json benchmark.json --table docs/benchmark.md --peers`; not edited by hand.",
        "Ratios are ours ÷ theirs, measured in one run; absolute times drift with the machine.",
        "What is asked stands in the last column, with what came of it. *Pose2Sim + its best filter* is the better of",
        "its GCV spline and its Butterworth, which need not be the same on each scene. aniposelib's `optim` counts",
        "on the seeds on which it ends no worse than Pose2Sim's single frames; elsewhere it diverged.",
        "",
        f"Machine: {found['machine']['processor']}, {found['machine']['cores']} cores. Versions: {made}.",
        "",
    ]
    for name in known:
        part = found["parts"][name]
        lines += [f"## {name}", "", f"{part['date']}, {part['seconds']:,.0f} s.", as_markdown(part["rows"])]
    path.write_text("\n".join(lines), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; 1 if a part failed."""
    names = tuple(parts_of(Path(), Peers(None)))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="where the figures go")
    parser.add_argument("--only", action="append", choices=names, help="measure this part alone; may be repeated")
    parser.add_argument("--quick", action="store_true", help="one seed, few takes: for a look, not for quoting")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the table as Markdown too")
    parser.add_argument("--shared", type=Path, help="folder of the real footage")
    parser.add_argument("--peers", action="store_true", help="install the peers first (goes online)")
    options = parser.parse_args(arguments)
    shared = options.shared or Path(os.environ.get("SIGHTLINE_DATA") or ROOT.parent / "shared" / "data")
    parts = parts_of(shared.absolute(), installed_peers(options.peers), options.quick)

    def keep(name: str, rows: list[Row], seconds: float) -> None:
        write_json(options.json, name, rows, seconds)
        if options.table:
            write_table(options.table, options.json, names)

    with threadpool_limits(1):  # as the pipeline does: threads only wait on small linear systems
        return 0 if run(parts, options.only or names, keep) else 1


if __name__ == "__main__":
    sys.exit(main())
