"""Speed and memory of what comes after the 2D keypoints, beside Pose2Sim in the same run."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from inference.config import SolveSettings
from inference.geometry.acceleration import compiled_loops
from inference.geometry.triangulation import linear_triangulation, triangulate
from inference.keypoints import at_frames
from inference.motion.estimate import estimate_motion
from inference.shapes import FloatArray
from inference.types import CameraRig, Keypoints2D
from tests import synthetic
from tools.benchmarks.measures import looped_triangulation, seconds, seconds_and_cpu
from tools.benchmarks.peers import FRAMES, Peers
from tools.benchmarks.rows import NOT_INSTALLED, Row, Target, skipped

SETTINGS = SolveSettings()
SIZE = 10_000  # frames of 4 cameras × 17 joints
PEER_FRAMES = 300
_RUNS = 10  # of the compiled triangulation, which takes a fraction of a second
LENGTHS = (2_500, 10_000)  # frames, for memory


def speed(peers: Peers) -> Iterator[Row]:
    """Compare the cost of triangulation, then of the whole solve after the 2D keypoints, and its memory."""
    scene = synthetic.make_scene(SIZE, seed=1)
    views = synthetic.observe(scene, synthetic.BASE, 11)
    yield from _triangulation(peers, scene.rig, views)
    yield _whole(scene.rig, views)
    yield from _memory(scene.rig, views)


def _triangulation(peers: Peers, rig: CameraRig, views: tuple[Keypoints2D, ...]) -> Iterator[Row]:
    def rate(compiled: bool) -> FloatArray:
        times = _RUNS if compiled else 3
        return SIZE / np.array(
            seconds_and_cpu(lambda: triangulate(rig, views, SETTINGS.triangulation, compiled), times)
        )

    some = tuple(at_frames(view, np.arange(PEER_FRAMES)) for view in views)
    peer = [peers.frames_per_second(rig, some)]
    numpy_rate = rate(False)
    compiled_rate, warm_up = np.full(2, np.nan), float("nan")
    if compiled_loops() is not None:
        started = time.perf_counter()
        triangulate(rig, tuple(at_frames(view, np.arange(2)) for view in views), SETTINGS.triangulation, True)
        warm_up, compiled_rate = time.perf_counter() - started, rate(True)
    peer.append(peers.frames_per_second(rig, some))  # before and after: the machine may have been busy with others
    theirs = np.mean(peer, axis=0)
    beside, per_cpu = ({FRAMES: float(one) if np.isfinite(one) else NOT_INSTALLED} for one in theirs)
    plain: dict[str, float | str] = {
        "plain loop over SVDs": 100 / seconds(lambda: looped_triangulation(rig, _first(some, 100)), times=1),
        "plain DLT, all at once": SIZE / seconds(lambda: linear_triangulation(rig, views)),
    }
    what = "triangulation with covariance"
    size = f"4 cameras × {SIZE:,} frames × 17 joints; Pose2Sim on {PEER_FRAMES} of them, before and after"
    cpu = "frames per CPU second"
    asked = (Target(50, FRAMES),)
    yield Row("speed", f"{what}, NumPy", "frames/s", float(numpy_rate[0]), beside | plain, True, size, asked)
    yield Row("speed", f"{what}, NumPy", cpu, float(numpy_rate[1]), per_cpu, True, targets=asked)
    if np.isnan(compiled_rate).any():
        yield from skipped("speed", f"{what}, compiled: numba is {NOT_INSTALLED}")
        return
    asked = (Target(300, FRAMES),)
    yield Row("speed", f"{what}, numba", "frames/s", float(compiled_rate[0]), beside, True, size, asked)
    note = "all threads together, so that a machine busy with others counts less"
    yield Row("speed", f"{what}, numba", cpu, float(compiled_rate[1]), per_cpu, True, note, asked)
    yield _warm_up(warm_up)


def _warm_up(first_s: float) -> Row:
    """Time importing and compiling from nothing, in processes of their own with an empty and a filled cache."""
    code = (
        "import time; started = time.perf_counter(); from inference.geometry import compiled; "
        "print(time.perf_counter() - started)"
    )
    root = Path(__file__).resolve().parents[2]
    took = []
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(2):
            environment = {"NUMBA_CACHE_DIR": cache, "PYTHONPATH": ":".join(path for path in sys.path if path)}
            done = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root, env=environment
            )
            took.append(float(done.stdout))
    note = f"import and compilation, empty cache; from the cache {took[1]:.2f} s; first call after it {first_s:.2f} s"
    return Row("speed", "numba's warm-up", "s", took[0], note=note)


def _whole(rig: CameraRig, views: tuple[Keypoints2D, ...]) -> Row:
    with threadpool_limits(1):  # as the pipeline does
        started = time.perf_counter()
        raw = triangulate(rig, views, SETTINGS.triangulation)
        between = time.perf_counter()
        estimate_motion(raw, rig, views, SETTINGS.motion)
        took = time.perf_counter() - started
    note = f"triangulation {between - started:.1f} s, motion {took - (between - started):.1f} s; keypoints to skeleton"
    return Row("speed", f"4 cameras × {SIZE:,} frames after 2D", "s", took, note=note, targets=(Target(10),))


def _memory(rig: CameraRig, views: tuple[Keypoints2D, ...]) -> Iterator[Row]:
    if sys.platform != "linux":
        yield from skipped("memory", "measured on Linux only")
        return
    child = Path(__file__).with_name("memory_child.py")
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for frames in LENGTHS:
            path = Path(folder) / "take.npz"
            save(path, _first(views, frames))
            done = subprocess.run([sys.executable, str(child), str(path)], capture_output=True, text=True, check=True)
            found.append(json.loads(done.stdout))
    short, long = found
    note = "; ".join(
        f"{frames:,} frames: {one['extra_mb']:.0f} MB beyond {one['result_mb']:.0f} MB of result"
        for frames, one in zip(LENGTHS, found, strict=True)
    )
    what = f"growth of the peak beyond the result, {LENGTHS[0]:,} to {LENGTHS[1]:,} frames"
    ratio = long["extra_mb"] / max(short["extra_mb"], 1e-9)
    yield Row("memory", what, "times", ratio, note=note, targets=(Target(1.1),))


def save(path: Path, views: tuple[Keypoints2D, ...]) -> None:
    """Write keypoints for the child that measures memory."""
    stacked = {name: np.stack([getattr(v, name) for v in views]) for name in ("xy", "covariance", "score")}
    np.savez(path, timestamps_s=views[0].timestamps_s, joint_names=np.array(views[0].joint_names), **stacked)


def load(path: Path) -> tuple[CameraRig, tuple[Keypoints2D, ...]]:
    """Read them back, with the rig of the scenes."""
    found = dict(np.load(path))
    rig = synthetic.circle_rig(len(found["xy"]))
    names = tuple(map(str, found["joint_names"]))
    arrays = zip(rig.cameras, found["xy"], found["covariance"], found["score"], strict=True)
    return rig, tuple(Keypoints2D(c.name, names, found["timestamps_s"], xy, cov, s) for c, xy, cov, s in arrays)


def _first(views: tuple[Keypoints2D, ...], frames: int) -> tuple[Keypoints2D, ...]:
    return tuple(at_frames(view, np.arange(frames)) for view in views)
