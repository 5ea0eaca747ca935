"""Which feet stand on the floor: a probability per foot joint and frame.

Two states, standing and in the air, that last about half a second each. Evidence is the height above the floor and the
velocity, both against their own uncertainty; states are smoothed over the whole take (forward-backward algorithm,
Rabiner 1989, section III).
"""

from __future__ import annotations

import numpy as np

from ..errors import ShapeError
from ..shapes import FloatArray
from ..types import Keypoints3D
from .floor import SLOW, foot_joints, standing_height, velocities

_STAY_S = 0.5  # how long a state lasts, about
_HEIGHT_SIGMA_M, _HEIGHT_NU = 0.02, 4.0  # of a standing joint about its usual height
_TALLEST_M = 0.5  # a foot in the air is anywhere below this
_STANDING_SPEED, _MOVING_SPEED = 0.12, 1.2  # m/s, sigma per axis
_ERROR_TIME_S = 0.3  # in which the error of a solved joint becomes another
_INDEPENDENT_S = 0.05  # evidence nearer in time than this is the same
_HIGHEST_M = 0.15  # a resting joint higher than this does not stand on the floor


def contact_probabilities(
    joints: Keypoints3D,
    floor: FloatArray,  # (4,)
) -> tuple[FloatArray, tuple[str, ...]]:
    """Estimate how surely each heel and toe (ankle, where the layout has no feet) stands on the floor.

    Convention:
        0-1; NaN where the joint is unobserved. Nothing is estimated (no names) where the floor is unknown.

    Args:
        joints: solved joints with covariance.
        floor: plane n·x + d = 0 with n up and of unit length, NaN if unknown.

    Returns:
        (T, P, C) probabilities and the C joints' names.

    Raises:
        ShapeError: the plane's normal is not a unit vector.
    """
    frames, persons = joints.flag.shape[:2]
    names = foot_joints(joints)
    if not np.isfinite(floor).all() or not names or frames < 2:
        return np.zeros((frames, persons, 0)), ()
    if abs(float(np.linalg.norm(floor[:3])) - 1) > 1e-6:
        raise ShapeError("the normal of the floor's plane must be a unit vector")
    columns = [joints.joint_names.index(name) for name in names]
    times = joints.timestamps_s
    ratio = _log_ratio(joints, floor, names, columns)
    step = np.diff(times, prepend=times[0] - np.median(np.diff(times)))
    tempered = ratio * np.minimum(step / _INDEPENDENT_S, 1.0)[:, None, None]
    probability = _smoothed(np.nan_to_num(tempered), step)
    seen = np.isfinite(joints.xyz[:, :, columns]).all(axis=-1)
    return np.where(seen, probability, np.nan), tuple(names)


def _log_ratio(joints: Keypoints3D, floor: FloatArray, names: list[str], columns: list[int]) -> FloatArray:
    """(T, P, C) log likelihood of standing over that of being in the air; NaN where unknown."""
    normal = floor[:3]
    height = joints.xyz[:, :, columns] @ normal + floor[3]
    covariance = joints.covariance[:, :, columns]
    height_variance = np.einsum("i,...ij,j->...", normal, covariance, normal)
    velocity = velocities(joints, names)
    squared_speed = (velocity**2).sum(axis=-1)
    off = height - _usual_heights(height, np.sqrt(squared_speed), names)
    scale = _HEIGHT_SIGMA_M**2 + height_variance
    standing = -0.5 * np.log(scale) - 0.5 * (_HEIGHT_NU + 1) * np.log1p(off**2 / (_HEIGHT_NU * scale))
    in_the_air = np.log(np.sqrt(2 * np.pi) / _TALLEST_M)
    error = np.trace(covariance, axis1=-2, axis2=-1) / 3 / _ERROR_TIME_S**2
    slow, fast = _STANDING_SPEED**2 + error, _MOVING_SPEED**2 + error
    moving = -0.5 * squared_speed * (1 / slow - 1 / fast) - 1.5 * np.log(slow / fast)
    ratio = standing - in_the_air + moving
    return np.where(np.isfinite(velocity).all(axis=-1), ratio, standing - in_the_air)


def _usual_heights(height: FloatArray, speed: FloatArray, names: list[str]) -> FloatArray:
    """(P, C) height of each joint while it rests: detectors have their own idea of where a heel is."""
    usual = np.tile([standing_height(name) for name in names], (height.shape[1], 1))
    for person in range(height.shape[1]):
        for joint in range(len(names)):
            rest = (speed[:, person, joint] < SLOW) & (np.abs(height[:, person, joint]) < _HIGHEST_M)
            if rest.sum() > 2:
                usual[person, joint] = np.median(height[rest, person, joint])
    return usual


def _smoothed(ratio: FloatArray, step: FloatArray) -> FloatArray:
    """(T, P, C) posterior of standing by the forward-backward algorithm; both states are alike before."""
    change = 0.5 * (1 - np.exp(-2 * step / _STAY_S))
    likelihood = 1 / (1 + np.exp(-np.clip(ratio, -50, 50)))  # of standing, against 1 minus it
    forward, backward = np.empty_like(ratio), np.empty_like(ratio)
    known = np.full(ratio.shape[1:], 0.5)
    for t in range(len(ratio)):  # a chain: each frame follows from the one before
        known = known + change[t] * (1 - 2 * known)
        known = _updated(known, likelihood[t])
        forward[t] = known
    later = np.full(ratio.shape[1:], 0.5)
    for t in range(len(ratio) - 1, -1, -1):
        backward[t] = later
        later = _updated(later, likelihood[t])
        later = later + change[t] * (1 - 2 * later)
    return _updated(forward, backward)


def _updated(probability: FloatArray, likelihood: FloatArray) -> FloatArray:
    yes = probability * likelihood
    return yes / (yes + (1 - probability) * (1 - likelihood))
