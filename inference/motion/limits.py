"""Joint limits as soft priors that bind only where they are broken: knees bend one way, nothing folds flat.

Which way a knee bends follows from the pelvis, carried along as the thigh is raised; a thigh may turn out, so only the
part of the bend that points backward is denied. An elbow's way cannot be told from positions, for the upper arm turns
about itself by most of a circle: only its range is held.
"""

from __future__ import annotations

import numpy as np

from ..geometry import rotation
from ..shapes import FloatArray, check_shapes
from ..types import Skeleton
from .kinematics import root_rotation

_LEGS, _ARMS = ("hip", "knee", "ankle"), ("shoulder", "elbow", "wrist")
_STRAIGHT = 0.02  # of a limb's length: so far behind the line from hip to ankle a straight knee is detected
_LEAST_ANGLE = np.deg2rad(20.0)  # between the two bones of a limb bent by 160 degrees
_SIGMA_M = 0.005  # of a limit
_RAISED = 0.9  # cosine between leg and spine from which a leg beside the head does not show its front


def within_limits(
    skeleton: Skeleton,
    xyz: FloatArray,  # (T, J, 3) m
    covariance: FloatArray,  # (T, J, 3, 3) m²
) -> FloatArray:
    """Bring knees and elbows back within their limits, moving joints as little as their covariance allows.

    Convention:
        where no limit is broken nothing changes; NaN joints break none. A knee may lie behind the line from hip to
        ankle by 2 % of that line, as detectors see straight knees.

    Args:
        skeleton: names the joints.
        xyz: solved joints.
        covariance: of each joint.

    Returns:
        (T, J, 3).
    """
    check_shapes(xyz=(xyz, f"T {len(skeleton.joint_names)} 3"), covariance=(covariance, "T J 3 3"))
    result = xyz.copy()
    names = skeleton.joint_names
    for side in ("left_", "right_"):
        for limb in (_LEGS, _ARMS):
            if not all(side + joint in names for joint in limb):
                continue
            chain = [names.index(side + joint) for joint in limb]
            if limb is _LEGS and _has_front(names):
                front = _front(skeleton, result, chain)
                along = result[:, chain[2]] - result[:, chain[0]]
                share = _share(result[:, chain])
                behind = ((result[:, chain[1]] - result[:, chain[0]] - share * along) * front).sum(axis=-1)
                broken = behind + _STRAIGHT * np.linalg.norm(along, axis=-1)
                slopes = np.stack([-(1 - share) * front, front, -share * front], axis=1)
                _bring_back(result, covariance, chain, np.minimum(broken, 0.0), slopes)
            unfolded, slopes = _folding(result[:, chain])
            _bring_back(result, covariance, chain, np.minimum(unfolded, 0.0), slopes)
    return result


def _has_front(names: tuple[str, ...]) -> bool:
    top = "neck" in names or "thorax" in names
    return names[0] == "pelvis" and top and "left_hip" in names and "right_hip" in names


def _share(limb: FloatArray) -> FloatArray:  # (T, 3, 3)
    """(T, 1) where along the line between its ends a limb's middle joint lies."""
    along = limb[:, 2] - limb[:, 0]
    share = ((limb[:, 1] - limb[:, 0]) * along).sum(axis=-1) / np.maximum((along**2).sum(axis=-1), 1e-12)
    return np.clip(share, 0.0, 1.0)[:, None]


def _front(skeleton: Skeleton, xyz: FloatArray, chain: list[int]) -> FloatArray:
    """(T, 3) unit vector across the leg in which its knee points; 0 where the body leaves that open."""
    filled = np.where(np.isfinite(xyz), xyz, 0.0)
    world_from_pelvis = root_rotation(skeleton, filled)
    line = xyz[:, chain[2]] - xyz[:, chain[0]]
    line = line / np.maximum(np.linalg.norm(line, axis=-1, keepdims=True), 1e-9)
    inside = rotation.rotate(rotation.conjugate(world_from_pelvis), line)
    down = np.broadcast_to([0.0, -1.0, 0.0], inside.shape)
    raised = rotation.shortest_arc(down, np.where(np.isfinite(inside), inside, down))
    front = rotation.rotate(raised, np.array([0.0, 0.0, 1.0]))
    top = skeleton.joint_names.index("neck" if "neck" in skeleton.joint_names else "thorax")
    shown = np.isfinite(xyz[:, [0, top, *_hips(skeleton)]]).all(axis=(1, 2)) & (inside[:, 1] < _RAISED)
    return np.where(shown[:, None], rotation.rotate(world_from_pelvis, front), 0.0)


def _hips(skeleton: Skeleton) -> list[int]:
    return [skeleton.joint_names.index(f"{side}_hip") for side in ("left", "right")]


def _folding(limb: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(T,) m by which the limb's end lies farther beside its upper bone than when bent as far as it can, and slopes."""
    upper, lower = limb[:, 0] - limb[:, 1], limb[:, 2] - limb[:, 1]
    length = np.linalg.norm(upper, axis=-1, keepdims=True)
    unit = upper / np.maximum(length, 1e-9)
    along = (lower * unit).sum(axis=-1, keepdims=True)
    beside = lower - along * unit
    distance = np.linalg.norm(beside, axis=-1)
    least = np.sin(_LEAST_ANGLE) * np.linalg.norm(lower, axis=-1)
    side = beside / np.maximum(distance, 1e-9)[:, None]
    part = along / np.maximum(length, 1e-9)
    slopes = np.stack([-part * side, (part - 1) * side, side], axis=1)
    return np.where(along[:, 0] > 0, distance - least, 0.0), slopes


def _bring_back(
    xyz: FloatArray, covariance: FloatArray, chain: list[int], broken: FloatArray, slopes: FloatArray
) -> None:
    """Move the chain's joints (T, 3, 3) so that ``broken`` (<= 0) becomes 0, as a measurement of sigma would."""
    given = (covariance[:, chain] @ slopes[..., None])[..., 0]
    variance = (given * slopes).sum(axis=(-1, -2)) + _SIGMA_M**2
    moved = given * (-broken / variance)[:, None, None]
    xyz[:, chain] += np.where(np.isfinite(moved), moved, 0.0)
