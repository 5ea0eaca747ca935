"""Every performance figure that we quote, measured in one run, as ratios to others where they are installed.

    python tools/bench.py --json FILE [--only NAME…] [--shared DIR] [--peers]

Prints a table; writes the same as JSON. ``--shared`` (or SIGHTLINE_DATA, or ../shared/data) is the folder of real
footage; without it those rows say so. ``--peers`` first makes ``.venv-peers`` with Pose2Sim and aniposelib, the only
thing here that goes online; where that environment exists it is used.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from inference.errors import SolveError  # noqa: E402  the checkout is on the path only now
from inference.report.record import versions  # noqa: E402
from tools.benchmarks import people, real_take, scenes, stations  # noqa: E402
from tools.benchmarks.peers import Peers, installed_peers  # noqa: E402
from tools.benchmarks.rows import Row, as_text, skipped  # noqa: E402

Part = Callable[[], Iterable[Row]]
Keep = Callable[[list[Row], dict[str, float]], None]


def parts_of(shared: Path, peers: Peers) -> dict[str, Part]:
    """Name the parts of the benchmark, in the order in which they run."""
    video = shared / "pose2sim_single" / "videos" / "cam03.mp4"
    return {
        "videos": lambda: real_take.from_videos(shared),
        "openpose": lambda: real_take.from_openpose(shared),
        "speed": lambda: scenes.speed(peers),
        "scenes": lambda: scenes.accuracy(peers),
        "people": people.people,
        "heatmaps": stations.heatmaps,
        "detector": lambda: stations.detector(video),
        "blender": stations.blender,
    }


def run(parts: Mapping[str, Part], chosen: Sequence[str], keep: Keep) -> bool:
    """Run the chosen parts, printing each row at once; a part that our own code refuses leaves a row that says why.

    Args:
        parts: by name.
        chosen: names, in order.
        keep: told all rows and the seconds of each part after every part, so that a run that is stopped leaves
            what it had.

    Returns:
        Whether every part ran.
    """
    rows: list[Row] = []
    took: dict[str, float] = {}
    whole = True
    for name in chosen:
        started = time.perf_counter()
        try:
            for row in parts[name]():
                _show(row, rows)
        except SolveError as error:
            _show(skipped(name, f"failed: {error}")[0], rows)
            whole = False
        took[name] = time.perf_counter() - started
        keep(rows, took)
    return whole


def _show(row: Row, rows: list[Row]) -> None:
    print(as_text(row, not rows or rows[-1].group != row.group), flush=True)
    rows.append(row)


def write_json(path: Path, rows: Sequence[Row], took: dict[str, float]) -> None:
    """Write rows, machine and versions; to a temporary name first."""
    machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    found = {"versions": versions(), "machine": machine, "seconds": took, "rows": [row.as_json() for row in rows]}
    draft = path.with_name(path.name + ".part")
    draft.write_text(json.dumps(found, indent=1, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(draft, path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; 1 if a part failed."""
    names = tuple(parts_of(Path(), Peers(None)))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="where the figures go")
    parser.add_argument("--only", action="append", choices=names, help="measure this part alone; may be repeated")
    parser.add_argument("--shared", type=Path, help="folder of the real footage")
    parser.add_argument("--peers", action="store_true", help="install the peers first (goes online)")
    options = parser.parse_args(arguments)
    shared = options.shared or Path(os.environ.get("SIGHTLINE_DATA") or ROOT.parent / "shared" / "data")
    parts = parts_of(shared.absolute(), installed_peers(options.peers))
    whole = run(parts, options.only or names, lambda rows, took: write_json(options.json, rows, took))
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
