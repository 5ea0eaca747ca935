"""Similarity alignment of point sets: for poses against their truth, and for camera centres against theirs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inference.shapes import FloatArray, check_shapes


@dataclass(frozen=True, eq=False)
class Similarity:
    """target ≈ scale · points @ rotationᵀ + shift, for a batch of point sets."""

    scale: FloatArray  # (...) >= 0
    rotation: FloatArray  # (..., 3, 3), det = +1 unless a reflection was allowed
    shift: FloatArray  # (..., 3)

    def apply(self, points: FloatArray) -> FloatArray:  # (..., N, 3)
        """Move points (..., N, 3) to where the target is."""
        turned = points @ np.swapaxes(self.rotation, -1, -2)
        return self.scale[..., None, None] * turned + self.shift[..., None, :]


def fit_similarity(
    points: FloatArray,  # (..., N, 3)
    target: FloatArray,  # (..., N, 3)
    allow_reflection: bool = False,
) -> Similarity:
    """Fit rotation, scale and shift that bring points onto their target in the least squares sense.

    Umeyama 1991.

    Convention:
        any unit. A point that is NaN on either side does not take part. Fewer than three points, or all in one
        place, give NaN throughout: three points are the least that fix a rotation. Collinear points leave the
        rotation about their line free; the residual is determined all the same.

    Args:
        points: what is moved.
        target: where it is moved.
        allow_reflection: also mirror when that fits better. A mirrored person then fits perfectly: for
            comparing with numbers that were published that way, only.

    Returns:
        One similarity per set.

    Raises:
        ShapeError: the two differ in shape.
    """
    check_shapes(points=(points, "... N 3"), target=(target, "... N 3"))
    points, target = np.broadcast_arrays(np.asarray(points, float), np.asarray(target, float))
    seen = np.isfinite(points).all(axis=-1) & np.isfinite(target).all(axis=-1)
    count = seen.sum(axis=-1)
    middle, target_middle = _centroid(points, seen, count), _centroid(target, seen, count)
    mine = np.where(seen[..., None], points - middle[..., None, :], 0.0)
    theirs = np.where(seen[..., None], target - target_middle[..., None, :], 0.0)
    U, D, Vt = np.linalg.svd(np.swapaxes(theirs, -1, -2) @ mine)
    if not allow_reflection:
        sign = np.where(np.linalg.det(U) * np.linalg.det(Vt) < 0, -1.0, 1.0)
        U = U * np.stack([np.ones_like(sign), np.ones_like(sign), sign], axis=-1)[..., None, :]
        D = D * np.stack([np.ones_like(sign), np.ones_like(sign), sign], axis=-1)
    rotation = U @ Vt
    spread = (mine**2).sum(axis=(-2, -1))
    good = (count >= 3) & (spread > 0)
    scale = np.where(good, D.sum(axis=-1) / np.where(good, spread, 1.0), np.nan)
    rotation = np.where(good[..., None, None], rotation, np.nan)
    shift = target_middle - scale[..., None] * (rotation @ middle[..., None])[..., 0]
    return Similarity(scale, rotation, shift)


def _centroid(points: FloatArray, seen: FloatArray, count: FloatArray) -> FloatArray:
    return np.where(seen[..., None], points, 0.0).sum(axis=-2) / np.maximum(count, 1)[..., None]
