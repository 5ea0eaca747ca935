"""Two views of one point: the essential matrix and how far points lie from each other's epipolar lines."""

from __future__ import annotations

import numpy as np

from ..shapes import FloatArray
from ..types import Camera


def essential_matrix(first: Camera, second: Camera) -> FloatArray:
    """(3, 3) matrix E with ``yᵀ E x = 0`` for normalised points x of the first and y of the second camera.

    ``E = [t]× R`` of second from first (Hartley & Zisserman 2004, equation 9.12); zero where the centres coincide.
    """
    R = second.R @ first.R.T
    t = second.t - R @ first.t
    return np.cross(np.eye(3), t) @ R


def homogeneous(
    points: FloatArray,  # (..., 2)
) -> FloatArray:
    """(..., 3) the points with a 1 behind them."""
    return np.concatenate([points, np.ones_like(points[..., :1])], axis=-1)


def epipolar_distance(
    first: Camera,
    second: Camera,
    x: FloatArray,  # (..., 2) normalised
    y: FloatArray,  # (..., 2) normalised
) -> FloatArray:
    """(...) larger of the two distances of normalised points from each other's epipolar lines, px."""
    E = essential_matrix(first, second)
    x1, y1 = homogeneous(x), homogeneous(y)
    line_y, line_x = x1 @ E.T, y1 @ E
    product = np.abs((y1 * line_y).sum(axis=-1))
    in_second = product / np.linalg.norm(line_y[..., :2], axis=-1) * focal_length(second)
    in_first = product / np.linalg.norm(line_x[..., :2], axis=-1) * focal_length(first)
    return np.maximum(in_first, in_second)


def focal_length(camera: Camera) -> float:
    """Geometric mean of the two focal lengths, px."""
    return float(np.sqrt(camera.intrinsics.K[0, 0] * camera.intrinsics.K[1, 1]))
