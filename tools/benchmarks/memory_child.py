"""Runs in a process of its own: solves one take and prints its peak memory beyond the result as one JSON line."""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np

from inference.config import SolveSettings
from inference.geometry.acceleration import compiled_loops
from inference.geometry.triangulation import triangulate
from inference.keypoints import at_frames
from inference.motion.estimate import estimate_motion
from tools.benchmarks.speed import load


def _peak_mb() -> float:
    """Of this program alone: getrusage's maximum holds that of the process which started it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main() -> None:
    """Measure; a short solve first, so that imports and caches do not count."""
    rig, views = load(Path(sys.argv[1]))
    settings = SolveSettings()
    few = [at_frames(view, np.arange(60)) for view in views]
    for compiled in (False, compiled_loops() is not None):
        estimate_motion(triangulate(rig, few, settings.triangulation, compiled), rig, few, settings.motion)
    before = _peak_mb()
    raw = triangulate(rig, views, settings.triangulation, False)
    solved, motion = estimate_motion(raw, rig, views, settings.motion)
    arrays = [value for item in (raw, solved, motion) for value in vars(item).values() if isinstance(value, np.ndarray)]
    result = sum(array.nbytes for array in arrays) / 2**20
    print(json.dumps({"result_mb": result, "extra_mb": _peak_mb() - before - result}), flush=True)


if __name__ == "__main__":
    main()
