"""A solution made by hand around the synthetic truth: what the tests of the report are given to describe."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from inference.report.preview import Scene
from inference.shapes import FloatArray
from inference.types import Flag, Keypoints3D, Skeleton, SkeletonMotion, Solution, SolveReport
from tests import synthetic

LIMBS = tuple(
    (f"{side}_{child}", f"{side}_{parent}" if side_parent else parent)
    for side in ("left", "right")
    for child, parent, side_parent in (
        ("hip", "pelvis", False),
        ("knee", "hip", True),
        ("ankle", "knee", True),
        ("shoulder", "neck", False),
        ("elbow", "shoulder", True),
        ("wrist", "elbow", True),
    )
)
TREE = (("pelvis", ""), ("neck", "pelvis"), ("nose", "neck"), *LIMBS)  # (joint, parent), parents first after sorting


def skeleton() -> Skeleton:
    names = ["pelvis", "neck", "nose", *(name for name, _ in LIMBS)]
    where = dict(TREE)
    parents = [names.index(where[name]) if where[name] else -1 for name in names]
    return Skeleton(tuple(names), np.array(parents), tuple(names[1:]), np.tile([0, 0, 1.0], (len(names) - 1, 1)))


def solved_scene(frames: int = 90, cameras: int = 4, people: int = 1, seed: int = 3) -> Scene:
    """A plausible solution: raw noise 8 mm, solved 4 mm; a bridged left wrist and an unobserved right ankle."""
    made = synthetic.make_scene(frames, cameras, fps=30.0, seed=seed, people=people)
    rng = np.random.default_rng(seed)
    body = skeleton()
    truth = np.stack(
        [
            synthetic.dance(made.timestamps_s, body.joint_names, seed + 1000 * p) + np.array([1.0 * p, 0, 0])
            for p in range(people)
        ],
        axis=1,
    )
    views = synthetic.observe(replace(made, joint_names=body.joint_names, xyz=truth), synthetic.BASE, seed + 1)
    raw = _layer(body.joint_names, made.timestamps_s, truth + 0.008 * rng.normal(size=truth.shape), 0.010)
    solved = _with_gaps(
        _layer(body.joint_names, made.timestamps_s, truth + 0.004 * rng.normal(size=truth.shape), 0.006)
    )
    solution = Solution(
        rig=made.rig,
        raw=raw,
        solved=solved,
        motion=_motion(body, made.timestamps_s, truth),
        contact=np.zeros((frames, people, 0)),
        contact_names=(),
        offset_s=np.zeros(cameras),
        drift_ppm=np.zeros(cameras),
        floor=np.full(4, np.nan),
    )
    return Scene(solution, views, {})


def report() -> SolveReport:
    return SolveReport(
        take="balancing",
        warnings=["view 'cam02': 1.3 % of its keypoints lie outside the picture"],
        seconds={"views": 0.4, "keypoints": 21.0, "people": 0.3, "joints": 0.2, "motion": 1.9},
        models=[
            {"name": "blazepose", "licence": "Apache-2.0", "sha256": "ab" * 32, "provider": "CPUExecutionProvider"}
        ],
        facts={"frames_detected": 400},
    )


def _layer(names: tuple[str, ...], times: FloatArray, xyz: FloatArray, sigma: float) -> Keypoints3D:
    shape = xyz.shape[:-1]
    axes = np.diag([1.0, 1.0, 2.25]) * sigma**2  # less sure along z
    return Keypoints3D(names, times, xyz, np.broadcast_to(axes, (*shape, 3, 3)), np.full(shape, Flag.OBSERVED), 5.0)


def _with_gaps(layer: Keypoints3D) -> Keypoints3D:
    """Bridge left wrist and elbow in the middle third with growing covariance; take the right ankle away at the end."""
    t = len(layer.timestamps_s)
    xyz, covariance, flag = layer.xyz.copy(), layer.covariance.copy(), layer.flag.copy()
    middle = np.arange(t // 3, 2 * t // 3)
    bump = 1 + 350 * np.sin(np.linspace(0, np.pi, len(middle)))
    for name in ("left_wrist", "left_elbow"):
        j = layer.joint_names.index(name)
        covariance[middle, 0, j] *= bump[:, None, None]
        flag[middle, 0, j] = Flag.WEAK
    ankle = layer.joint_names.index("right_ankle")
    last = slice(t - t // 6, t)
    xyz[last, 0, ankle], covariance[last, 0, ankle], flag[last, 0, ankle] = np.nan, np.nan, Flag.UNOBSERVED
    return Keypoints3D(layer.joint_names, layer.timestamps_s, xyz, covariance, flag, layer.degrees_of_freedom)


def _motion(body: Skeleton, times: FloatArray, truth: FloatArray) -> SkeletonMotion:
    shape = (*truth.shape[:2], len(body.bone_names))
    unit = np.array([1.0, 0, 0, 0])
    lengths = np.linalg.norm(truth[0, :, 1:] - truth[0][:, body.parents[1:]], axis=-1)
    return SkeletonMotion(
        body,
        times,
        truth[:, :, 0],
        np.broadcast_to(unit, (*shape[:2], 4)),
        np.broadcast_to(unit, (*shape, 4)),
        lengths,
    )
