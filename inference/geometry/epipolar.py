"""Two views of one point: the essential matrix and how far points lie from each other's epipolar lines."""

from __future__ import annotations

import numpy as np

from ..shapes import FloatArray
from ..types import Camera
from .camera_path import poses_at


def essential_matrix(
    first: Camera,
    second: Camera,
    times_s: FloatArray | None = None,  # (T,) for cameras that move; None: as they stand in their first poses
) -> FloatArray:
    """(3, 3) matrix E with ``yᵀ E x = 0`` for normalised points x of the first and y of the second camera.

    (T, 3, 3), one for every time, where times are given and a camera moves.

    ``E = [t]× R`` of second from first (Hartley & Zisserman 2004, equation 9.12); zero where the centres coincide.
    """
    if first.path is None and second.path is None:
        times_s = None
    here, there = ((camera.R, camera.t) if times_s is None else poses_at(camera, times_s) for camera in (first, second))
    R = there[0] @ here[0].swapaxes(-1, -2)
    t = there[1] - (R @ here[1][..., None])[..., 0]
    return np.cross(np.eye(3), t[..., None, :]) @ R


def homogeneous(
    points: FloatArray,  # (..., 2)
) -> FloatArray:
    """(..., 3) the points with a 1 behind them."""
    return np.concatenate([points, np.ones_like(points[..., :1])], axis=-1)


def epipolar_distance(
    first: Camera,
    second: Camera,
    x: FloatArray,  # (..., 2) normalised; (T, J, 2) with times
    y: FloatArray,  # (..., 2) normalised
    times_s: FloatArray | None = None,  # (T,) for cameras that move
) -> FloatArray:
    """(...) larger of the two distances of normalised points from each other's epipolar lines, px."""
    E = essential_matrix(first, second, times_s)
    x1, y1 = homogeneous(x), homogeneous(y)
    line_y, line_x = x1 @ E.swapaxes(-1, -2), y1 @ E
    product = np.abs((y1 * line_y).sum(axis=-1))
    in_second = product / np.linalg.norm(line_y[..., :2], axis=-1) * focal_length(second)
    in_first = product / np.linalg.norm(line_x[..., :2], axis=-1) * focal_length(first)
    return np.maximum(in_first, in_second)


def focal_length(camera: Camera) -> float:
    """Geometric mean of the two focal lengths, px."""
    return float(np.sqrt(camera.intrinsics.K[0, 0] * camera.intrinsics.K[1, 1]))
