"""The floor from the feet: the plane on which they come to rest."""

from __future__ import annotations

import numpy as np

from ..layouts import place
from ..shapes import BoolArray, FloatArray
from ..types import CameraRig, Keypoints3D

# Height of a joint above the floor while the foot stands flat, m.
STANDING_HEIGHT_M = {"heel": 0.03, "big_toe": 0.03, "small_toe": 0.03, "foot_index": 0.03, "ankle": 0.09}
SLOW = 0.25  # m/s, below which a foot may be at rest
_REACH_S = 0.05  # to either side, over which speeds are measured
_UPRIGHT = np.cos(np.deg2rad(30))  # a world whose z is nearer to the bodies' up than this is taken as Z-up
_TILT = {True: 0.03, False: 0.15}  # rad, sigma of the plane's tilt against a Z-up world, or against the bodies' up
_LOWEST = 0.1  # share of the feet's resting heights that is certainly not above the floor
_ROUGH_M = 0.02  # scatter of resting feet about the floor
_NEAR_M = 0.06  # a foot this near to the plane rests on it
_STANCE_S = 0.5  # frames of one stance say the same
_LEAST_S, _LEAST_SHARE = 0.3, 0.2  # rest on the floor, in all and of all rest, without which nothing is known
_LARGEST_SIGMA_M = 0.08
_NU = 3.0
_STEPS = 20


def foot_joints(joints: Keypoints3D) -> list[str]:
    """Heels and toes that were ever observed, in their order; the ankle for a side that has neither."""
    seen = joints.observed.any(axis=(0, 1))
    joint_names = [name for name, ever in zip(joints.joint_names, seen, strict=True) if ever]
    feet = [name for name in joint_names if _part(name) in STANDING_HEIGHT_M and _part(name) != "ankle"]
    sides = {name.partition("_")[0] for name in feet}
    return [
        name for name in joint_names if name in feet or (_part(name) == "ankle" and name.partition("_")[0] not in sides)
    ]


def standing_height(joint_name: str) -> float:
    """Height of a foot joint above the floor while the foot stands flat, m."""
    return STANDING_HEIGHT_M[_part(joint_name)]


def _part(name: str) -> str:
    side, _, part = name.partition("_")
    return part if side in ("left", "right") else ""


def velocities(joints: Keypoints3D, names: list[str]) -> FloatArray:
    """(T, P, N, 3) m/s, from the frames about 0.05 s before and after; NaN beside unobserved ones."""
    times = joints.timestamps_s
    paths = joints.xyz[:, :, [joints.joint_names.index(name) for name in names]]
    result = np.full(paths.shape, np.nan)
    if len(times) > 1:
        reach = max(1, round(_REACH_S / float(np.median(np.diff(times)))))
        frame = np.arange(len(times))
        before, after = np.maximum(frame - reach, 0), np.minimum(frame + reach, len(times) - 1)
        result = (paths[after] - paths[before]) / (times[after] - times[before])[:, None, None, None]
    return result


def upward(joints: Keypoints3D, rig: CameraRig) -> tuple[FloatArray, bool]:
    """Say which way is up: (3,) unit vector, and whether it is the world's own z.

    The bodies' up (from hips to shoulders, median over all frames), where that is unknown the mean of the cameras';
    a world whose z agrees within 30 degrees is taken at its word.
    """
    spine = _middle(joints, "shoulder") - _middle(joints, "hip")
    known = np.isfinite(spine).all(axis=-1)
    vectors = spine[known] if known.any() else np.array([-camera.R[1] for camera in rig.cameras])
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
    up = np.median(vectors, axis=0)
    up = up / max(float(np.linalg.norm(up)), 1e-9)
    return (np.array([0.0, 0.0, 1.0]), True) if up[2] > _UPRIGHT else (up, False)


def _middle(joints: Keypoints3D, part: str) -> FloatArray:
    """(T, P, 3) halfway between the left and the right joint; NaN where the layout lacks them."""
    where = {place(name): number for number, name in enumerate(joints.joint_names)}
    left, right = (where.get(place(f"{side}_{part}")) for side in ("left", "right"))
    if left is None or right is None:
        return np.full((*joints.flag.shape[:2], 3), np.nan)
    return (joints.xyz[:, :, left] + joints.xyz[:, :, right]) / 2


def floor_plane(joints: Keypoints3D, rig: CameraRig) -> FloatArray:
    """Estimate the floor from the feet's resting places.

    A plane through the lowest resting heights, by iteratively reweighted least squares with Student-t weights; its
    tilt is held near the vertical where the feet rest in too small a place to show it.

    Convention:
        ``n · x + d = 0`` in world axes, n a unit vector that points up; NaN where no foot was seen to rest for 0.3 s.
        Joints stand above the soles: heel and toes by 3 cm, ankles by 9 cm.

    Args:
        joints: the solved joints.
        rig: cameras, for the vertical where bodies do not show it.

    Returns:
        (4,) n and d (m).
    """
    names = foot_joints(joints)
    unknown = np.full(4, np.nan)
    if not names or len(joints.timestamps_s) < 2:
        return unknown
    up, own = upward(joints, rig)
    points, step = _resting(joints, names, up), float(np.median(np.diff(joints.timestamps_s)))
    if len(points) * step < _LEAST_S:
        return unknown
    plane = _fitted(points, up, _TILT[own], max(_STANCE_S / step, 1.0))
    near = np.abs(points @ plane[:3] + plane[3]) < _NEAR_M
    enough = near.sum() * step >= _LEAST_S and near.mean() >= _LEAST_SHARE
    return plane if enough else unknown


def _resting(joints: Keypoints3D, names: list[str], up: FloatArray) -> FloatArray:
    """(N, 3) soles under foot joints that are slow and well known, m."""
    columns = [joints.joint_names.index(name) for name in names]
    speed = np.linalg.norm(velocities(joints, names), axis=-1)
    sigma = np.sqrt(np.trace(joints.covariance[:, :, columns], axis1=-2, axis2=-1) / 3)
    heights = np.array([standing_height(name) for name in names])
    soles = joints.xyz[:, :, columns] - heights[:, None] * up
    slow: BoolArray = (speed < SLOW) & (sigma < _LARGEST_SIGMA_M) & np.isfinite(soles).all(axis=-1)
    return soles[slow]


def _fitted(points: FloatArray, up: FloatArray, tilt_sigma: float, same: float) -> FloatArray:
    """The plane z = a x + b y + c over axes with ``up`` as z; ``same`` points say as much as one."""
    side = np.cross(up, [1.0, 0, 0] if abs(up[0]) < 0.9 else [0, 1.0, 0])
    side /= np.linalg.norm(side)
    axes = np.stack([side, np.cross(up, side), up])
    centre = np.median(points, axis=0)
    x, y, z = axes @ (points - centre).T
    rows = np.stack([x, y, np.ones_like(x)], axis=1)
    solution = np.array([0.0, 0.0, np.quantile(z, _LOWEST)])
    prior = np.diag([tilt_sigma**-2, tilt_sigma**-2, 0.0])
    for _ in range(_STEPS):
        off = (z - rows @ solution) / _ROUGH_M
        weight = (_NU + 1) / (_NU + off**2) * (np.abs(off) < _NEAR_M / _ROUGH_M) / (_ROUGH_M**2 * same)
        if weight.sum() <= 0:
            break
        solution = np.linalg.solve((rows.T * weight) @ rows + prior, (rows.T * weight) @ z)
    normal = axes.T @ np.array([-solution[0], -solution[1], 1.0])
    normal /= np.linalg.norm(normal)
    return np.r_[normal, -normal @ (centre + solution[2] * up)]
