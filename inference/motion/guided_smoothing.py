"""Smoothing that the covariance guides: a joint gives way as far as it is unsure, and never farther than allowed.

A smoothing spline per joint (Reinsch 1967) whose data term is the joint's own precision: where the posterior is sharp
the path stays, where it is wide accelerations are taken out of it. Bones are then made rigid again.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import solveh_banded
from scipy.ndimage import maximum_filter1d

from ..errors import InputError
from ..shapes import FloatArray, check_shapes
from ..types import Skeleton, SkeletonMotion
from .key_reduction import whitening_of
from .kinematics import nearest_rigid, rigid_joints
from .reposing import joints_of, with_joints

_USUAL_SIGMA_M = 0.01  # a joint as unsure as this is smoothed with the time constant itself
_ROUNDS = 10  # of holding back what went too far
_HALVINGS = 12
_PINNED = 1e4  # weight of the frames that a range begins and ends with
_PINS = 3


def smooth_motion(
    motion: SkeletonMotion,
    person: int,
    covariance: FloatArray,  # (T, J, 3, 3) m², of the skeleton's joints; NaN where unknown
    time_constant_s: float,
    sigmas: float = 2.0,
    frames: tuple[int, int] | None = None,
) -> SkeletonMotion:
    """Take jitter out of one person's motion where the joints are unsure.

    Convention:
        no joint leaves its place by more than ``sigmas`` of its own covariance; a joint without one counts as known
        to 5 cm. Movements slower than ``time_constant_s`` stay, at a sigma of 1 cm; the effective time constant grows
        with the square root of sigma. Bone lengths stay as they are.

    Args:
        motion: what is smoothed.
        person: whose.
        covariance: of the joints in every frame.
        time_constant_s: the strength; 0 changes nothing.
        sigmas: the allowance.
        frames: first frame and the one after the last, as indices; None is the whole take.

    Returns:
        The motion with this person's part smoothed; frames outside of the range are untouched.

    Raises:
        InputError: the range is empty or outside of the take, or a number is not positive.
    """
    skeleton, count = motion.skeleton, len(motion.timestamps_s)
    check_shapes(covariance=(covariance, f"{count} {len(skeleton.joint_names)} 3 3"))
    start, stop = frames or (0, count)
    if not 0 <= start < stop <= count:
        raise InputError(f"frames {start} to {stop} are no range within the take's {count}; choose another")
    if not (np.isfinite(time_constant_s) and time_constant_s >= 0 and np.isfinite(sigmas) and sigmas > 0):
        raise InputError("the time constant of a smoothing must be 0 or more, and its allowance more than 0")
    if stop - start <= 2 * _PINS or time_constant_s == 0:
        return motion
    joints, part = joints_of(motion, person), slice(start, stop)
    weight = np.ones((stop - start, joints.shape[1]))
    if start > 0:
        weight[:_PINS] = _PINNED
    if stop < count:
        weight[-_PINS:] = _PINNED
    step = float(np.median(np.diff(motion.timestamps_s)))
    found = _Smoothing(skeleton, joints[part], covariance[part], motion.bone_length[person], sigmas)
    smoothed = joints.copy()
    smoothed[part] = found.solve(weight, time_constant_s / step)
    if start > 0:
        smoothed[start] = joints[start]
    if stop < count:
        smoothed[stop - 1] = joints[stop - 1]
    return with_joints(motion, person, smoothed)


class _Smoothing:
    """One stretch of a motion, with what holds it."""

    def __init__(
        self, skeleton: Skeleton, joints: FloatArray, covariance: FloatArray, lengths: FloatArray, sigmas: float
    ) -> None:
        self._skeleton, self._joints, self._lengths = skeleton, joints, lengths
        whitening = whitening_of(covariance)
        self._precision = whitening.swapaxes(-1, -2) @ whitening
        self._covariance = np.linalg.inv(self._precision)
        self._allowed = whitening / sigmas

    def solve(self, weight: FloatArray, constant_frames: float) -> FloatArray:
        """(T, J, 3) smoothed; what leaves its allowance is held harder and all is solved again."""
        stiffness = constant_frames**4 / _USUAL_SIGMA_M**2
        near = max(3, round(2 * constant_frames))
        rigid = np.ones(len(self._lengths), dtype=bool)
        moved = self._joints
        for _ in range(_ROUNDS):
            free = _least_squares(self._joints, self._precision * weight[..., None, None], stiffness)
            moved = nearest_rigid(self._skeleton, free, self._covariance, self._lengths, rigid)
            over = self._excess(moved)
            if over.max() <= 1:
                return moved
            weight = weight * np.maximum(maximum_filter1d(over, near, axis=0), 1.0) ** 2
        return self._held_back(moved)

    def _excess(self, moved: FloatArray) -> FloatArray:
        """(T, J) share of the allowance that is used; more than 1 is too far."""
        return np.linalg.norm(np.einsum("tnij,tnj->tni", self._allowed, moved - self._joints), axis=-1)

    def _held_back(self, moved: FloatArray) -> FloatArray:
        """Go only part of the way in frames that would leave the allowance."""

        def part_of_the_way(share: FloatArray) -> FloatArray:
            between = self._joints + share[:, None, None] * (moved - self._joints)
            return rigid_joints(self._skeleton, between, self._lengths)

        share = np.where(self._excess(moved).max(axis=1) <= 1, 1.0, 0.0)
        for halving in range(1, _HALVINGS + 1):
            more = np.minimum(share + 0.5**halving, 1.0)
            share = np.where(self._excess(part_of_the_way(more)).max(axis=1) <= 1, more, share)
        return part_of_the_way(share)


def _least_squares(target: FloatArray, precision: FloatArray, stiffness: float) -> FloatArray:
    """Min Σ (x - x̂)ᵀ P (x - x̂) + stiffness Σ |second difference of x|², joint by joint: (T, J, 3)."""
    frames = len(target)
    bend = np.zeros((3, frames))  # the bands of DᵀD
    for i, first in enumerate((1.0, -2.0, 1.0)):
        for k, second in list(enumerate((1.0, -2.0, 1.0)))[i:]:
            bend[k - i, i : frames - 2 + i] += first * second
    found = np.empty_like(target)
    for joint in range(target.shape[1]):  # joints are independent of each other
        bands = np.zeros((7, frames, 3))
        for below in range(3):
            for column in range(3 - below):
                bands[below, :, column] = precision[:, joint, column + below, column]
        bands[[0, 3, 6]] += stiffness * bend[:, :, None]
        right = (precision[:, joint] @ target[:, joint, :, None])[..., 0]
        found[:, joint] = solveh_banded(bands.reshape(7, -1), right.ravel(), lower=True).reshape(-1, 3)
    return found
