"""What a person leaves open of the world: its scale, its vertical, its floor, where it begins; and the covariance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import null_space

from ..errors import DegenerateError
from ..shapes import FloatArray, check_shapes

# Lengths of segments as shares of the stature (Drillis & Contini 1966, as in Winter 2009, figure 4.1).
SEGMENTS: dict[tuple[str, str], float] = {
    ("hip", "knee"): 0.245,
    ("knee", "ankle"): 0.246,
    ("shoulder", "elbow"): 0.186,
    ("elbow", "wrist"): 0.146,
    ("shoulder", "hip"): 0.288,
}
TYPICAL_HEIGHT_M = 1.70
_ANKLE_HEIGHT = 0.039  # of the stature
_TOE_HEIGHT_M = 0.02
_FEWEST_LENGTHS = 5
_WIDEST_TILT_DEG = 15.0  # between the floor that the feet show and the mean direction of the body
_WALKED_M = 0.35  # how far the feet must spread, in their narrower direction, to show the floor


@dataclass(frozen=True, eq=False)
class World:
    """Similarity into the world: ``X_world = scale * R @ X + t``."""

    scale: float
    R: FloatArray  # (3, 3)
    t: FloatArray  # (3,)
    walked: bool  # whether the vertical is that of the floor under the feet; else the body's mean direction

    @property
    def vertical(self) -> str:
        """What the vertical is taken from, in words."""
        return "the floor that the feet walk on" if self.walked else "the mean direction of the body"

    def points(self, points: FloatArray) -> FloatArray:
        """(..., 3) points in the world."""
        return self.scale * points @ self.R.T + self.t

    def poses(self, R: FloatArray, t: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Camera-from-world poses (V, 3, 3), (V, 3) for the world."""
        turned = R @ self.R.T
        return turned, self.scale * t - turned @ self.t


def stature(
    points: FloatArray,  # (F, J, 3)
    joint_names: Sequence[str],
) -> float:
    """Height of the person in the unit of the points, from the lengths of limbs and torso.

    Stature = sum of the segments' median lengths over the sum of their shares of a stature; so it does not matter
    whether the person ever stands upright.

    Convention:
        both sides are averaged; segments that are never seen are left out.

    Args:
        points: joints, NaN where missing.
        joint_names: their names.

    Returns:
        The height.

    Raises:
        DegenerateError: no segment is seen.
    """
    where = {name: index for index, name in enumerate(joint_names)}
    total, share = 0.0, 0.0
    for (a, b), part in SEGMENTS.items():
        lengths = []
        for side in ("left", "right"):
            if f"{side}_{a}" in where and f"{side}_{b}" in where:
                length = np.linalg.norm(points[:, where[f"{side}_{a}"]] - points[:, where[f"{side}_{b}"]], axis=-1)
                lengths.append(length[np.isfinite(length)])
        every = np.concatenate(lengths) if lengths else np.zeros(0)
        if len(every) >= _FEWEST_LENGTHS:
            total, share = total + float(np.median(every)), share + part
    if share == 0:
        raise DegenerateError("no limb of the person is seen from end to end, so the scale cannot be told")
    return total / share


def world_from_person(
    points: FloatArray,  # (F, J, 3)
    joint_names: Sequence[str],
    first_R: FloatArray,  # (3, 3)
    scale: float,
) -> World:
    """Choose the world: z up with the floor at 0 from feet and body, y along the first view, origin under the person.

    The vertical is that of the plane on which the feet stand where the person walks about; else the mean direction
    from feet (or hips) to shoulders. The floor is where the lowest tenth of the feet are.

    Convention:
        the result is in metres; +y is where the first camera looks.

    Args:
        points: joints in an arbitrary frame and unit, NaN where missing.
        joint_names: their names.
        first_R: camera from that frame, of the first view.
        scale: metres per unit.

    Returns:
        The similarity into the world.
    """
    metric = points * scale
    body = _body_axis(metric, joint_names)
    feet, heights = _feet(metric, joint_names)
    up, walked = _floor_normal(feet, heights, body)
    forward = first_R[2] - (first_R[2] @ up) * up
    if np.linalg.norm(forward) < 0.1:  # a camera that looks straight down: its upper edge is forward
        forward = -first_R[1] - (-first_R[1] @ up) * up
    forward /= np.linalg.norm(forward)
    R = np.stack([np.cross(forward, up), forward, up])
    turned = metric.reshape(-1, 3) @ R.T
    middle = np.nanmedian(turned, axis=0)
    soles = feet @ up - heights
    floor = float(np.quantile(soles, 0.1)) if len(soles) else float(np.nanquantile(turned[:, 2], 0.02))
    return World(scale, R, -np.array([middle[0], middle[1], floor]), walked)


def gauge_constraints(
    R: FloatArray,  # (V, 3, 3)
    t: FloatArray,  # (V, 3)
) -> FloatArray:
    """Rows (7, 6V) that pose steps must be orthogonal to: the first camera and its distance to the farthest one."""
    centres = -np.einsum("vba,vb->va", R, t)
    apart = centres - centres[0]
    far = int(np.argmax(np.linalg.norm(apart, axis=-1)))
    direction = apart[far] / np.linalg.norm(apart[far])
    fixed = np.zeros((7, 6 * len(R)))
    fixed[:6, :6] = np.eye(6)
    # c = -R' t, so a left rotation d changes it by -R' (t x d) and a step of t by -R'
    x, y, z = t[far]
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    fixed[6, 6 * far : 6 * far + 6] = direction @ np.hstack([-R[far].T @ cross, -R[far].T])
    return fixed


def gauge_covariance(
    information: FloatArray,  # (6V, 6V)
    R: FloatArray,  # (V, 3, 3)
    t: FloatArray,  # (V, 3)
) -> FloatArray:
    """Covariance of all poses with the first camera, and its distance to the farthest camera, held fixed.

    Convention:
        (6V, 6V), left-multiplied rotation vectors and t; zeros for the first camera.

    Args:
        information: of the poses, singular in the seven directions of the gauge.
        R: camera from world.
        t: of the same.

    Returns:
        The covariance.
    """
    check_shapes(R=(R, "V 3 3"), t=(t, "V 3"), information=(information, f"{6 * len(R)} {6 * len(R)}"))
    free = null_space(gauge_constraints(R, t))
    inside = free.T @ information @ free
    scale = 1 / np.sqrt(np.maximum(np.diag(inside), 1e-300))
    inverse = scale[:, None] * np.linalg.pinv(scale[:, None] * inside * scale, rcond=1e-14, hermitian=True) * scale
    covariance = free @ inverse @ free.T
    return (covariance + covariance.T) / 2


def _joints(points: FloatArray, names: Sequence[str], *wanted: str) -> FloatArray:
    """(F, 3) mean of the wanted joints of both sides that are there."""
    rows = [index for index, name in enumerate(names) if name.split("_", 1)[-1] in wanted]
    if not rows:
        return np.full((len(points), 3), np.nan)
    chosen = points[:, rows]
    good = np.isfinite(chosen).all(axis=-1)
    total = np.where(good[..., None], chosen, 0.0).sum(axis=1)
    return np.where(good.all(axis=1)[:, None], total / len(rows), np.nan)


def _body_axis(points: FloatArray, names: Sequence[str]) -> FloatArray:
    top = _joints(points, names, "shoulder")
    for low in ("ankle", "hip"):
        along = top - _joints(points, names, low)
        along = along[np.isfinite(along).all(axis=-1)]
        if len(along) >= _FEWEST_LENGTHS:
            return _unit(np.median(along, axis=0))
    along = _joints(points, names, "eye") - top
    along = along[np.isfinite(along).all(axis=-1)]
    if len(along) < _FEWEST_LENGTHS:
        raise DegenerateError("neither hips nor feet nor head are seen with the shoulders, so up cannot be told")
    return _unit(np.median(along, axis=0))


def _unit(vector: FloatArray) -> FloatArray:
    return vector / np.linalg.norm(vector)


def _feet(points: FloatArray, names: Sequence[str]) -> tuple[FloatArray, FloatArray]:
    """(N, 3) places of feet and (N,) how high such a joint stands above the floor."""
    places, heights = [np.zeros((0, 3))], [np.zeros(0)]
    for index, name in enumerate(names):
        joint = name.split("_", 1)[-1]
        if joint in ("ankle", "heel", "big_toe"):
            seen = points[:, index][np.isfinite(points[:, index]).all(axis=-1)]
            places.append(seen)
            heights.append(np.full(len(seen), _ANKLE_HEIGHT * TYPICAL_HEIGHT_M if joint == "ankle" else _TOE_HEIGHT_M))
    return np.concatenate(places), np.concatenate(heights)


def _floor_normal(feet: FloatArray, heights: FloatArray, body: FloatArray) -> tuple[FloatArray, bool]:
    """Plane under the lowest feet, by repeated fits to those within a hand's breadth of it."""
    by_body = (body, False)
    if len(feet) < 30:
        return by_body
    normal, level = body, np.quantile(feet @ body - heights, 0.1)
    for width in (0.10, 0.06, 0.05, 0.04, 0.04):
        low = np.abs(feet @ normal - heights - level) < width
        if low.sum() < 20:
            return by_body
        places = feet[low] - heights[low, None] * normal
        middle = places.mean(axis=0)
        _, spread, axes = np.linalg.svd(places - middle, full_matrices=False)
        if spread[1] / np.sqrt(len(places)) < _WALKED_M:
            return by_body
        normal = axes[2] * np.sign(axes[2] @ body)
        if np.degrees(np.arccos(np.clip(normal @ body, -1, 1))) > _WIDEST_TILT_DEG:
            return by_body
        level = normal @ middle
    return normal, True
