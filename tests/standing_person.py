"""A person who stands on both feet and sways, so that planted feet and bent legs are known exactly."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from inference.motion.kinematics import bone_rotations, rigid_joints
from inference.motion.skeleton import build_skeleton
from inference.shapes import FloatArray
from inference.types import SkeletonMotion

FEET = ("left_heel", "left_foot_index", "right_heel", "right_foot_index")
FRAMES, FPS = 60, 30.0
_SIDES = {
    "shoulder": (0.18, 0, 1.40), "elbow": (0.30, 0, 1.15), "wrist": (0.32, -0.15, 0.95), "hip": (0.1, 0, 0.90),
    "knee": (0.11, -0.08, 0.50), "ankle": (0.11, 0, 0.10), "heel": (0.11, 0.05, 0.03),
    "foot_index": (0.12, -0.18, 0.03),
}  # fmt: skip


class StandingPerson(NamedTuple):
    """A motion with the covariance of its joints."""

    motion: SkeletonMotion
    covariance: FloatArray  # (T, J, 3, 3)


def standing(noise_m: float = 0.01, slide_m: float = 0.0, seed: int = 4) -> StandingPerson:
    """One person over 60 frames: joints jitter, and feet slide to one side and back, as said."""
    names = tuple(f"{side}_{joint}" for joint in _SIDES for side in ("left", "right"))
    skeleton = build_skeleton(names)
    places = {"pelvis": (0.0, 0.0, 0.90), "neck": (0.0, 0.0, 1.40)}
    for joint, (x, y, z) in _SIDES.items():
        places |= {f"left_{joint}": (x, y, z), f"right_{joint}": (-x, y, z)}
    rest = np.array([places[name] for name in skeleton.joint_names])
    times = np.arange(FRAMES) / FPS
    sway = 0.02 * np.sin(2 * np.pi * 0.5 * times)[:, None, None] * [1.0, 0.3, 0.0]
    drift = slide_m * np.sin(2 * np.pi * 0.4 * times)[:, None, None] * [1.0, 0.5, 0.0]
    rng = np.random.default_rng(seed)
    foot = np.array([name.endswith(("ankle", "heel", "foot_index")) for name in skeleton.joint_names])[:, None]
    joints = rest + np.where(foot, drift, sway) + rng.normal(scale=noise_m, size=(FRAMES, len(rest), 3))
    lengths = np.linalg.norm(rest[1:] - rest[skeleton.parents[1:]], axis=1)
    joints = rigid_joints(skeleton, joints, lengths)
    root, local = bone_rotations(skeleton, joints, times)
    motion = SkeletonMotion(skeleton, times, joints[:, None, 0], root[:, None], local[:, None], lengths[None])
    return StandingPerson(motion, np.broadcast_to(0.01**2 * np.eye(3), (FRAMES, len(rest), 3, 3)).copy())
