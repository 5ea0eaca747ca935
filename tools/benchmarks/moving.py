"""Cameras that move, on the scenes of `scenes`: joint errors beside those from the same cameras standing still.

No peer takes cameras that move.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from inference.geometry.triangulation import triangulate
from inference.motion.estimate import estimate_motion
from tests import synthetic
from tools.benchmarks.measures import coverage, joint_error_mm, joints_in_order
from tools.benchmarks.rows import Row, Target
from tools.benchmarks.scenes import FRAME_COUNT, SETTINGS

STILL = "ours, the cameras standing still"


@dataclass(frozen=True)
class _Answer:
    error_mm: float
    shares: tuple[float, ...]
    cpu_s: float


def moving_rows(seeds: Sequence[int]) -> Iterator[Row]:
    """Compare errors and time; the mean of the seeds."""
    for name in ("base", "outliers20", "realistic"):
        moving, still = [], []
        for seed in seeds:
            scene = synthetic.make_scene(FRAME_COUNT, seed=seed)
            still.append(_answer(scene, synthetic.SCENES[name], seed))
            rig = synthetic.moving_rig(scene.rig, scene.timestamps_s, seed=seed)
            moving.append(_answer(replace(scene, rig=rig), synthetic.SCENES[name], seed))
        others = {STILL: float(np.mean([answer.error_mm for answer in still]))}
        shares = np.mean([answer.shares for answer in moving], axis=0)
        ratio = sum(answer.cpu_s for answer in moving) / sum(answer.cpu_s for answer in still)
        inside = " / ".join(f"{100 * share:.0f}" for share in shares)
        note = f"true joints in the 50/90/95 % ellipsoids: {inside}; {ratio:.2f} of the CPU time"
        what = "joint error, whole sequence (solved)"
        error = float(np.mean([answer.error_mm for answer in moving]))
        targets = (Target(1.1, STILL),)
        yield Row(f"moving cameras: {name}", what, "mm", error, others, note=note, targets=targets)


def _answer(scene: synthetic.Scene, noise: synthetic.Noise, seed: int) -> _Answer:
    views = synthetic.observe(scene, noise, seed + 10)
    started = time.process_time()
    raw = triangulate(scene.rig, views, SETTINGS.triangulation)
    solved, _ = estimate_motion(raw, scene.rig, views, SETTINGS.motion)
    cpu_s = time.process_time() - started
    joints = joints_in_order(solved, scene.joint_names)
    shares = coverage(joints, scene.xyz)
    return _Answer(joint_error_mm(joints.xyz, scene.xyz), tuple(shares), cpu_s)
