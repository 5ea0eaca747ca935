"""Lenses and projection: world points to pixels and back to rays, with exact derivatives.

Distortion models are those of `Intrinsics`: ``none``, ``opencv`` (radial, rational, tangential, thin prism, tilt)
and ``fisheye`` (Kannala-Brandt as in ``cv2.fisheye``).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.polynomial import polynomial

from ..shapes import FloatArray, check_shapes
from ..types import Camera, Intrinsics

_BLOCK = 16_384  # points per block: the work arrays stay in the cache
NEWTON_STEPS = 40
CONVERGED = 1e-12  # in normalised coordinates: 1e-9 px at a focal length of 1000 px


def projection_matrix(camera: Camera) -> FloatArray:
    """Return the (3, 4) pinhole matrix ``K [R | t]``; distortion is not part of it."""
    return camera.intrinsics.K @ np.column_stack([camera.R, camera.t])


def project(
    camera: Camera,
    points: FloatArray,  # (..., 3) m
) -> FloatArray:
    """Project world points to pixels, distortion included.

    Convention:
        pixels of the camera's image, centre of the first pixel at 0, 0. Points behind the camera, or outside
        the range where the lens model is one-to-one, give NaN; points outside the picture do not.

    Args:
        camera: lens and pose.
        points: (..., 3) world points, m.

    Returns:
        (..., 2) px.
    """
    check_shapes(points=(points, "... 3"))
    return distort_points(camera.intrinsics, _normalised(camera, np.asarray(points, float))[0])


def project_jacobian(
    camera: Camera,
    points: FloatArray,  # (..., 3) m
) -> tuple[FloatArray, FloatArray]:
    """Project world points and give the derivative of the pixel by the world point.

    Convention:
        as in `project`; where the projection is NaN the derivative is NaN too.

    Args:
        camera: lens and pose.
        points: (..., 3) world points, m.

    Returns:
        (..., 2) px and (..., 2, 3) px/m.
    """
    check_shapes(points=(points, "... 3"))
    normalised, depth = _normalised(camera, np.asarray(points, float))
    pixel_from_normalised = distort_jacobian(camera.intrinsics, normalised)
    normalised_from_world = (camera.R[:2] - normalised[..., :, None] * camera.R[2]) / depth[..., None, None]
    return distort_points(camera.intrinsics, normalised), pixel_from_normalised @ normalised_from_world


def distort_points(
    intrinsics: Intrinsics,
    normalised: FloatArray,  # (..., 2)
) -> FloatArray:
    """Turn undistorted normalised coordinates (x/z, y/z) into pixels: the inverse of `undistort_points`.

    Convention:
        outside the range where the lens model is one-to-one the result is NaN.

    Returns:
        (..., 2) px.
    """
    xy = np.asarray(normalised, float)
    distorted = _in_blocks(lambda block: np.column_stack(_lens(intrinsics, block)[:2]), xy, 2)
    pixels = distorted @ intrinsics.K[:2, :2].T + intrinsics.K[:2, 2]
    pixels[(xy**2).sum(axis=-1) > largest_radius(intrinsics) ** 2] = np.nan
    return pixels


def distort_jacobian(
    intrinsics: Intrinsics,
    normalised: FloatArray,  # (..., 2)
) -> FloatArray:
    """Derivative of the pixel by undistorted normalised coordinates, (..., 2, 2) px."""
    xy = np.asarray(normalised, float)
    slopes = _in_blocks(lambda block: np.column_stack(_lens(intrinsics, block)[2:]), xy, 4)
    return intrinsics.K[:2, :2] @ slopes.reshape(*xy.shape[:-1], 2, 2)


def undistort_points(
    intrinsics: Intrinsics,
    pixels: FloatArray,  # (..., 2) px
) -> FloatArray:
    """Turn pixels into undistorted normalised coordinates (x/z, y/z), by Newton's method to convergence.

    Convention:
        pixels that no point in the lens model's one-to-one range maps to give NaN.

    Args:
        intrinsics: the lens.
        pixels: (..., 2) px.

    Returns:
        (..., 2) normalised coordinates.
    """
    check_shapes(pixels=(pixels, "... 2"))
    inverse = np.linalg.inv(intrinsics.K)
    distorted = np.asarray(pixels, float) @ inverse[:2, :2].T + inverse[:2, 2]
    if intrinsics.distortion_model == "none" or not intrinsics.distortion.any():
        if intrinsics.distortion_model != "fisheye":
            return distorted
    solve = _undistort_fisheye if intrinsics.distortion_model == "fisheye" else _undistort_opencv
    return _in_blocks(lambda block: solve(intrinsics, block), distorted, 2)


def _normalised(camera: Camera, points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(..., 2) normalised coordinates, NaN behind the camera, and (...,) depth."""
    in_camera = points @ camera.R.T + camera.t
    depth = np.where(in_camera[..., 2] > 0, in_camera[..., 2], np.nan)
    return in_camera[..., :2] / depth[..., None], depth


def _in_blocks(function: Callable[[FloatArray], FloatArray], xy: FloatArray, width: int) -> FloatArray:
    """Apply a function of (n, 2) rows block by block; returns (..., width)."""
    rows = xy.reshape(-1, 2)
    result = np.empty((len(rows), width))
    for start in range(0, len(rows), _BLOCK):
        result[start : start + _BLOCK] = function(rows[start : start + _BLOCK])
    return result.reshape(*xy.shape[:-1], width)


def _lens(intrinsics: Intrinsics, xy: FloatArray) -> tuple[FloatArray, ...]:
    """Distorted x, y of (n, 2) rows and the four partials dx/dx, dx/dy, dy/dx, dy/dy."""
    x, y = xy[:, 0], xy[:, 1]
    if intrinsics.distortion_model == "fisheye":
        return _lens_fisheye(intrinsics.distortion, x, y)
    if intrinsics.distortion_model == "none" or not intrinsics.distortion.any():
        one, zero = np.ones_like(x), np.zeros_like(x)
        return x, y, one, zero, zero, one
    return _lens_opencv(intrinsics.distortion, x, y)


def _lens_opencv(coefficients: FloatArray, x: FloatArray, y: FloatArray) -> tuple[FloatArray, ...]:
    k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4, tilt_x, tilt_y = np.r_[
        coefficients, np.zeros(14 - len(coefficients))
    ]
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    slope = k1 + r2 * (2 * k2 + r2 * 3 * k3)  # d radial / d r2
    if k4 or k5 or k6:
        below = 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
        radial = radial / below
        slope = (slope - radial * (k4 + r2 * (2 * k5 + r2 * 3 * k6))) / below
    # d r2 / dx = 2x; each further term is a polynomial in x, y and r2
    cross = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y
    u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    v = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    u_x = radial + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x
    v_y = radial + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x
    u_y, v_x = cross, cross
    if s1 or s2 or s3 or s4:
        u, v = u + r2 * (s1 + s2 * r2), v + r2 * (s3 + s4 * r2)
        u_r, v_r = 2 * (s1 + 2 * s2 * r2), 2 * (s3 + 2 * s4 * r2)
        u_x, u_y, v_x, v_y = u_x + u_r * x, u_y + u_r * y, v_x + v_r * x, v_y + v_r * y
    if tilt_x or tilt_y:
        return _tilted(_tilt_matrix(tilt_x, tilt_y), u, v, (u_x, u_y, v_x, v_y))
    return u, v, u_x, u_y, v_x, v_y


def _tilt_matrix(tilt_x: float, tilt_y: float) -> FloatArray:
    """(3, 3) homography of a tilted sensor, OpenCV's definition (tilt about x, then y)."""
    cx, sx, cy, sy = np.cos(tilt_x), np.sin(tilt_x), np.cos(tilt_y), np.sin(tilt_y)
    turn = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]]) @ np.array([[1, 0, 0], [0, cx, sx], [0, -sx, cx]])
    level = np.array([[turn[2, 2], 0, -turn[0, 2]], [0, turn[2, 2], -turn[1, 2]], [0, 0, 1]], float)
    return np.asarray(level @ turn, float)


def _tilted(tilt: FloatArray, u: FloatArray, v: FloatArray, partials: tuple[FloatArray, ...]) -> tuple[FloatArray, ...]:
    u_x, u_y, v_x, v_y = partials
    a, b, c = (row[0] * u + row[1] * v + row[2] for row in tilt)
    x, y = a / c, b / c
    to_x = [(tilt[0, i] - x * tilt[2, i]) / c for i in (0, 1)]
    to_y = [(tilt[1, i] - y * tilt[2, i]) / c for i in (0, 1)]
    return (
        *(x, y),
        *(to_x[0] * u_x + to_x[1] * v_x, to_x[0] * u_y + to_x[1] * v_y),
        *(to_y[0] * u_x + to_y[1] * v_x, to_y[0] * u_y + to_y[1] * v_y),
    )


def _lens_fisheye(coefficients: FloatArray, x: FloatArray, y: FloatArray) -> tuple[FloatArray, ...]:
    """Kannala & Brandt 2006, equation 6 with odd powers up to nine."""
    r = np.hypot(x, y)
    near = r < 1e-8
    safe = np.where(near, 1.0, r)
    theta = np.arctan(r)
    s = theta * theta
    bent = theta * polynomial.polyval(s, np.r_[1, coefficients])
    bent_slope = polynomial.polyval(s, np.array([1, 3, 5, 7, 9]) * np.r_[1, coefficients]) / (1 + r * r)
    scale = np.where(near, 1.0, bent / safe)
    slope = np.where(near, 0.0, (bent_slope - scale) / safe**2)  # d scale / d r, over r
    cross = slope * x * y
    return x * scale, y * scale, scale + slope * x * x, cross, cross, scale + slope * y * y


def _undistort_opencv(intrinsics: Intrinsics, distorted: FloatArray) -> FloatArray:
    limit = largest_radius(intrinsics)
    target_x, target_y = np.ascontiguousarray(distorted.T)
    x, y = target_x, target_y
    for _ in range(NEWTON_STEPS):
        u, v, a, b, c, d = _lens_opencv(intrinsics.distortion, x, y)
        u, v = u - target_x, v - target_y
        if not (np.maximum(np.abs(u), np.abs(v)) > CONVERGED).any():
            break
        determinant = a * d - b * c
        determinant = np.where(np.abs(determinant) < 1e-9, 1e-9, determinant)
        x, y = x - (d * u - b * v) / determinant, y - (a * v - c * u) / determinant
        if np.isfinite(limit):
            shrink = np.minimum(1, limit / np.maximum(np.sqrt(x * x + y * y), 1e-12))
            x, y = x * shrink, y * shrink
    else:
        u, v = _lens_opencv(intrinsics.distortion, x, y)[:2]
        u, v = u - target_x, v - target_y
    off, radius = np.sqrt(u * u + v * v), np.sqrt(target_x * target_x + target_y * target_y)
    good = (off < 1e-9 * (1 + radius)) & (x * x + y * y < limit**2)
    return np.where(good[:, None], np.column_stack([x, y]), np.nan)


def _undistort_fisheye(intrinsics: Intrinsics, distorted: FloatArray) -> FloatArray:
    limit = np.arctan(largest_radius(intrinsics))
    powers = np.r_[1, intrinsics.distortion]
    bent = np.hypot(*distorted.T)
    theta = np.minimum(bent, limit)
    for _ in range(NEWTON_STEPS):
        s = theta * theta
        off = theta * polynomial.polyval(s, powers) - bent
        slope = polynomial.polyval(s, np.array([1, 3, 5, 7, 9]) * powers)
        theta = np.clip(theta - off / np.maximum(slope, 1e-3), 0, limit)
        if not (np.abs(off) > CONVERGED).any():
            break
    off = theta * polynomial.polyval(theta**2, powers) - bent
    scale = np.where(bent < 1e-12, 1.0, np.tan(theta) / np.where(bent < 1e-12, 1.0, bent))
    good = (np.abs(off) < 1e-9) & (theta < limit)
    return np.where(good[:, None], distorted * scale[:, None], np.nan)


def largest_radius(intrinsics: Intrinsics) -> float:
    """Return the radius (normalised) up to which the radial distortion grows with it; inf where it always does."""
    coefficients = intrinsics.distortion
    if intrinsics.distortion_model == "fisheye":
        root = _first_positive_root(np.array([1, 3, 5, 7, 9]) * np.r_[1, coefficients])
        return float(np.tan(min(np.sqrt(root), np.pi / 2 - 1e-6)))
    if not coefficients.any():
        return np.inf
    k1, k2, _, _, k3, k4, k5, k6 = np.r_[coefficients, np.zeros(14)][:8]
    above, below = np.array([1, k1, k2, k3]), np.array([1, k4, k5, k6])
    turn = polynomial.polysub(
        polynomial.polymul(polynomial.polyder(above), below), polynomial.polymul(above, polynomial.polyder(below))
    )
    slope = polynomial.polyadd(polynomial.polymul(above, below), polynomial.polymulx(2 * turn))
    return float(np.sqrt(min(_first_positive_root(slope), _first_positive_root(below))))


def _first_positive_root(powers: FloatArray) -> float:
    """Smallest positive real root of a polynomial with rising powers; inf if there is none."""
    roots = polynomial.polyroots(np.trim_zeros(powers, "b"))
    real = roots.real[(np.abs(roots.imag) < 1e-9 * (1 + np.abs(roots.real))) & (roots.real > 0)]
    return float(real.min()) if len(real) else np.inf
