"""The loops over points of `robust_points` and `reprojection`, compiled, where numba is installed.

One pass per point instead of one per array operation. The arithmetic is that of the NumPy functions, which stay the
reference and the fallback; tests compare the two. The first use compiles (some seconds) and numba keeps the machine
code for later runs. Names: one = (V, 5) rows u, v, uu, uv, vv of one point's keypoints, uu = 0 where not seen.
"""

from __future__ import annotations

import numba  # pyright: ignore[reportMissingImports]  the one optional package
import numpy as np

from ..shapes import BoolArray, FloatArray
from ..types import Intrinsics
from . import projection, robust_points
from .reprojection import NEAREST_M, Rays
from .robust_points import Fit

_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract", "arcp", "reassoc", "nsz"}}
_loop = numba.njit(**_OPTIONS)
# signatures of the entries: compiled once, for arrays that may be read-only as well as for others
_IN = {n: numba.types.Array(numba.float64, n, "C", readonly=True) for n in (1, 2, 3)}
_OUT = {n: numba.types.Array(numba.float64, n, "C") for n in (1, 2)}
_FLAGS = {n: numba.types.Array(numba.boolean, n, "C") for n in (1, 2)}
_SEEN = numba.types.Array(numba.boolean, 1, "C", readonly=True)
_PAIR, _MATRICES = numba.types.UniTuple(numba.float64, 2), numba.types.UniTuple(_IN[2], 2)

_RIDGE, _REFINEMENTS = robust_points.RIDGE, robust_points.REFINEMENTS
_SUSPICIOUS, _WILD = robust_points.SUSPICIOUS, robust_points.WILD
_NATS, _APART, _SIGMAS = robust_points.AMBIGUOUS_NATS, robust_points.APART_M**2, robust_points.APART_SIGMAS**2
_SETTLED = 1e-12  # m², of a step: those that would follow are shorter than a micrometre
_RELIANCE = robust_points.RELIANCE_M**-2
_NEWTON_STEPS, _CONVERGED = projection.NEWTON_STEPS, projection.CONVERGED


def fit(rays: Rays, nu: float, limit: float) -> Fit:
    """Estimate points, each alone: `robust_points.fit`, compiled."""
    views, count = rays.u.shape
    points, information = np.empty((3, count)), np.empty((6, count))
    agreeing, total = np.empty((views, count), bool), np.empty(count)
    ambiguous, reliant = np.empty(count, bool), np.empty(count, bool)
    observed = np.ascontiguousarray(np.stack([rays.u, rays.v, rays.uu, rays.uv, rays.vv]))
    _fit(
        np.ascontiguousarray(rays.R),
        np.ascontiguousarray(rays.t),
        observed,
        (float(nu), float(limit)),
        (points, information, agreeing, total, ambiguous, reliant),
    )
    return Fit(points, information, agreeing, total, ambiguous, reliant)


def undistort_with_precision(
    lens: Intrinsics,
    xy: FloatArray,  # (N, 2) px
    covariance: FloatArray,  # (N, 2, 2) px²
    seen: BoolArray,  # (N,)
) -> FloatArray:
    """Undistort pixels of a polynomial lens and carry their precision along.

    Args:
        lens: distortion by OpenCV's model with up to 8 coefficients.
        xy: pixels.
        covariance: positive definite where seen.
        seen: which pixels count.

    Returns:
        (5, N) normalised u, v and their precision's uu, uv, vv; 0 where not seen or where no point maps to the pixel.
    """
    result = np.empty((5, len(xy)))
    matrices = (lens.K, np.linalg.inv(lens.K))
    limit = float(projection.largest_radius(lens))
    coefficients = np.r_[lens.distortion, np.zeros(8)][:8]
    contiguous = np.ascontiguousarray
    _undistort(matrices, coefficients, limit, (contiguous(xy), contiguous(covariance), contiguous(seen)), result)
    return result


@_loop
def _start(
    R: FloatArray, t: FloatArray, one: FloatArray, nu: float, work: tuple[FloatArray, ...], point: FloatArray
) -> bool:
    """Set the point before refinement; return whether another one explains the views as well."""
    terms, proposals, s, row_u, row_v = work
    views = len(R)
    for by_depth in (False, True):
        _linear_terms(R, t, one, (by_depth, point, (row_u, row_v)), terms)
        point[0], point[1], point[2] = _solve_views(terms, -1, -1, s)
    seen, worst = 0, 0.0
    for view in range(views):
        if one[view, 2] > 0:
            seen += 1
        worst = max(worst, _distance(R[view], t[view], one[view], point))
    if seen < 3 or not worst > _SUSPICIOUS:
        return False
    return _consensus(R, t, one, nu, (terms, proposals, s), point)


@_loop
def _linear_terms(
    R: FloatArray,
    t: FloatArray,
    one: FloatArray,
    at: tuple[bool, FloatArray, tuple[FloatArray, FloatArray]],
    terms: FloatArray,
) -> None:
    by_depth, point, (row_u, row_v) = at
    for view in range(len(R)):
        u, v, uu, uv, vv = one[view, 0], one[view, 1], one[view, 2], one[view, 3], one[view, 4]
        weight = 1.0
        if by_depth:
            depth = R[view, 2, 0] * point[0] + R[view, 2, 1] * point[1] + R[view, 2, 2] * point[2] + t[view, 2]
            depth = 0.1 if depth < 0.1 else depth
            weight = 1.0 / (depth * depth)
        for k in range(3):
            row_u[k] = R[view, 0, k] - R[view, 2, k] * u
            row_v[k] = R[view, 1, k] - R[view, 2, k] * v
        right_u, right_v = u * t[view, 2] - t[view, 0], v * t[view, 2] - t[view, 1]
        place = 0
        for a in range(3):
            heavy_u = weight * (uu * row_u[a] + uv * row_v[a])
            heavy_v = weight * (uv * row_u[a] + vv * row_v[a])
            for b in range(a, 3):
                terms[view, place] = heavy_u * row_u[b] + heavy_v * row_v[b]
                place += 1
            terms[view, 6 + a] = heavy_u * right_u + heavy_v * right_v


@_loop
def _solve_views(terms: FloatArray, first: int, second: int, s: FloatArray) -> tuple[float, float, float]:
    """Solve the normal equations of two views together, or of all where first is negative."""
    s[:] = 0.0
    for view in range(len(terms)):
        if first < 0 or view in (first, second):
            for k in range(9):
                s[k] += terms[view, k]
    return _solve(s)


@_loop
def _solve(s: FloatArray) -> tuple[float, float, float]:
    """Solve with the ridge: s = xx, xy, xz, yy, yz, zz of the matrix, then the right side."""
    ridge = _RIDGE * (s[0] + s[3] + s[5]) + 1e-300
    xx, xy, xz, yy, yz, zz = s[0] + ridge, s[1], s[2], s[3] + ridge, s[4], s[5] + ridge
    a, b, c = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
    determinant = xx * a + xy * b + xz * c
    if not abs(determinant) > 1e-300:
        return np.nan, np.nan, np.nan
    d, e, f = xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy
    x, y, z = s[6] / determinant, s[7] / determinant, s[8] / determinant
    return a * x + b * y + c * z, b * x + d * y + e * z, c * x + e * y + f * z


@_loop
def _residual(
    R: FloatArray, t: FloatArray, keypoint: FloatArray, point: FloatArray
) -> tuple[float, float, float, float, float]:
    """Residual u, v, predicted u, v and 1 / depth in one view."""
    x, y, z = point[0], point[1], point[2]
    depth = R[2, 0] * x + R[2, 1] * y + R[2, 2] * z + t[2]
    inverse = 1.0 / (NEAREST_M if depth < NEAREST_M else depth)
    u = (R[0, 0] * x + R[0, 1] * y + R[0, 2] * z + t[0]) * inverse
    v = (R[1, 0] * x + R[1, 1] * y + R[1, 2] * z + t[1]) * inverse
    return keypoint[0] - u, keypoint[1] - v, u, v, inverse


@_loop
def _distance(R: FloatArray, t: FloatArray, keypoint: FloatArray, point: FloatArray) -> float:
    u, v, _, _, _ = _residual(R, t, keypoint, point)
    return u * (keypoint[2] * u + 2 * keypoint[3] * v) + keypoint[4] * v * v


@_loop
def _consensus(
    R: FloatArray, t: FloatArray, one: FloatArray, nu: float, work: tuple[FloatArray, ...], point: FloatArray
) -> bool:
    """Set the best of the points that each pair of views (and all together) propose; return whether it is ambiguous."""
    terms, proposals, s = work
    views = len(R)
    proposals[0, :3] = point  # the linear solution of all views is that of the second pass
    _score(R, t, one, nu, proposals[0])
    place, best = 1, 0
    for first in range(views):
        for second in range(first + 1, views):
            proposals[place, 3] = np.inf
            if one[first, 2] > 0 and one[second, 2] > 0:
                x, y, z = _solve_views(terms, first, second, s)
                proposals[place, 0], proposals[place, 1], proposals[place, 2] = x, y, z
                _score(R, t, one, nu, proposals[place])
            if proposals[place, 3] < proposals[best, 3]:
                best = place
            place += 1
    point[:] = proposals[best, :3]
    return _has_rival(R, t, one, nu, proposals, best)


@_loop
def _score(R: FloatArray, t: FloatArray, one: FloatArray, nu: float, proposal: FloatArray) -> None:
    """Set the last element to the negative log likelihood of the first three."""
    score = 0.0
    for view in range(len(R)):
        score += np.log1p(min(_distance(R[view], t[view], one[view], proposal), _WILD) / nu)
    proposal[3] = 0.5 * (nu + 2) * score


@_loop
def _has_rival(R: FloatArray, t: FloatArray, one: FloatArray, nu: float, proposals: FloatArray, best: int) -> bool:
    part, m = np.empty(6), np.zeros(6)
    for view in range(len(R)):
        _curvature(R[view], t[view], one[view], (nu, 1.0), proposals[best], part)
        for k in range(6):
            m[k] += part[k]
    for k in range(len(proposals)):
        if proposals[k, 3] - proposals[best, 3] < _NATS:
            x, y, z = (
                proposals[k, 0] - proposals[best, 0],
                proposals[k, 1] - proposals[best, 1],
                proposals[k, 2] - proposals[best, 2],
            )
            sigmas = x * (m[0] * x + 2 * m[1] * y + 2 * m[2] * z) + y * (m[3] * y + 2 * m[4] * z) + m[5] * z * z
            if x * x + y * y + z * z > _APART and sigmas > _SIGMAS:
                return True
    return False


@_loop
def _refine(
    R: FloatArray, t: FloatArray, one: FloatArray, nu: float, point: FloatArray, scratch: tuple[FloatArray, ...]
) -> float:
    """Move the point by one IRLS Gauss-Newton step; return the step's squared length."""
    s, by_u, by_v = scratch
    s[:] = 0.0
    for view in range(len(R)):
        uu, uv, vv = one[view, 2], one[view, 3], one[view, 4]
        u, v, predicted_u, predicted_v, inverse = _residual(R[view], t[view], one[view], point)
        weight = (nu + 2) / (nu + u * (uu * u + 2 * uv * v) + vv * v * v)
        for k in range(3):
            by_u[k] = (R[view, 0, k] - R[view, 2, k] * predicted_u) * inverse
            by_v[k] = (R[view, 1, k] - R[view, 2, k] * predicted_v) * inverse
        place = 0
        for a in range(3):
            heavy_u, heavy_v = weight * (uu * by_u[a] + uv * by_v[a]), weight * (uv * by_u[a] + vv * by_v[a])
            for b in range(a, 3):
                s[place] += heavy_u * by_u[b] + heavy_v * by_v[b]
                place += 1
            s[6 + a] += heavy_u * u + heavy_v * v
    x, y, z = _solve(s)
    point[0] += x
    point[1] += y
    point[2] += z
    return x * x + y * y + z * z


@_loop
def _curvature(
    R: FloatArray,
    t: FloatArray,
    keypoint: FloatArray,
    curve: tuple[float, float],
    point: FloatArray,
    part: FloatArray,
) -> None:
    """Set one view's share of the observed information; curve = nu and the factor on the squared distance."""
    nu, enlarge = curve
    uu, uv, vv = keypoint[2], keypoint[3], keypoint[4]
    u, v, predicted_u, predicted_v, inverse = _residual(R, t, keypoint, point)
    delta = (u * (uu * u + 2 * uv * v) + vv * v * v) * enlarge
    weight = (nu + 2) / (nu + delta)
    cut = min(2 / (nu + delta), 1 / max(delta, 1e-12)) * enlarge
    pull_u, pull_v = uu * u + uv * v, uv * u + vv * v
    uu, uv, vv = (
        weight * (uu - cut * pull_u * pull_u),
        weight * (uv - cut * pull_u * pull_v),
        weight * (vv - cut * pull_v * pull_v),
    )
    place = 0
    for a in range(3):
        u_a, v_a = (R[0, a] - R[2, a] * predicted_u) * inverse, (R[1, a] - R[2, a] * predicted_v) * inverse
        along_u, along_v = uu * u_a + uv * v_a, uv * u_a + vv * v_a
        for b in range(a, 3):
            u_b, v_b = (R[0, b] - R[2, b] * predicted_u) * inverse, (R[1, b] - R[2, b] * predicted_v) * inverse
            part[place] = along_u * u_b + along_v * v_b
            place += 1


@_loop
def _conclude(
    R: FloatArray,
    t: FloatArray,
    one: FloatArray,
    limits: tuple[float, float],
    point: FloatArray,
    out: tuple[FloatArray, ...],
) -> tuple[float, bool]:
    """Set parts, agreeing views and information; return the agreeing views' squared distance and whether reliant."""
    nu, limit = limits
    parts, agreeing, information = out
    views, count, total = len(R), 0, 0.0
    for view in range(views):
        delta = _distance(R[view], t[view], one[view], point)
        agreeing[view] = one[view, 2] > 0 and delta <= limit
        if agreeing[view]:
            count += 1
            total += delta
    enlarge = 2 * count / max(2 * count - 3, 1)
    for k in range(6):
        information[k] = 0.0
    for view in range(views):
        _curvature(R[view], t[view], one[view], (nu, enlarge), point, parts[view])
        for k in range(6):
            information[k] += parts[view, k]
    reliant = False
    for view in range(views):
        if agreeing[view] and not _sure_without(information, parts[view]):
            reliant = True
    return total, reliant


@_loop
def _sure_without(information: FloatArray, part: FloatArray) -> bool:
    """Whether the rest of the information leaves no direction less sure than the reliance limit."""
    xx, yy, zz = information[0] - part[0] - _RELIANCE, information[3] - part[3] - _RELIANCE, 0.0
    xy, xz, yz = information[1] - part[1], information[2] - part[2], information[4] - part[4]
    zz = information[5] - part[5] - _RELIANCE
    minor = xx * yy - xy * xy
    return xx > 0 and minor > 0 and zz * minor + xz * (xy * yz - yy * xz) - yz * (xx * yz - xy * xz) > 0


@_loop
def _newton(
    coefficients: FloatArray, limit: float, target_x: float, target_y: float
) -> tuple[float, float, tuple[float, float, float, float]]:
    """Undistorted x, y and the lens's derivatives there."""
    x, y = target_x, target_y
    u, v, slopes = _lens(coefficients, x, y)
    for _ in range(_NEWTON_STEPS):
        u, v = u - target_x, v - target_y
        if not max(abs(u), abs(v)) > _CONVERGED:
            break
        a, b, c, d = slopes
        determinant = a * d - b * c
        determinant = 1e-9 if abs(determinant) < 1e-9 else determinant
        x, y = x - (d * u - b * v) / determinant, y - (a * v - c * u) / determinant
        shrink = min(1.0, limit / max(np.sqrt(x * x + y * y), 1e-12))
        x, y = x * shrink, y * shrink
        u, v, slopes = _lens(coefficients, x, y)
    u, v, slopes = _lens(coefficients, x, y)
    u, v = u - target_x, v - target_y
    near = np.sqrt(u * u + v * v) < 1e-9 * (1 + np.sqrt(target_x * target_x + target_y * target_y))
    if near and x * x + y * y < limit * limit:
        return x, y, slopes
    return np.nan, np.nan, slopes


@_loop
def _lens(coefficients: FloatArray, x: float, y: float) -> tuple[float, float, tuple[float, float, float, float]]:
    """Distorted x, y and du/dx, du/dy, dv/dx, dv/dy."""
    k1, k2, p1, p2 = coefficients[0], coefficients[1], coefficients[2], coefficients[3]
    k3, k4, k5, k6 = coefficients[4], coefficients[5], coefficients[6], coefficients[7]
    r2 = x * x + y * y
    below = 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
    radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / below
    slope = (k1 + r2 * (2 * k2 + r2 * 3 * k3) - radial * (k4 + r2 * (2 * k5 + r2 * 3 * k6))) / below
    cross = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y
    u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    v = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    u_x = radial + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x
    v_y = radial + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x
    return u, v, (u_x, cross, cross, v_y)


@numba.njit(
    numba.void(
        _IN[3], _IN[2], _IN[3], _PAIR, numba.types.Tuple((_OUT[2], _OUT[2], _FLAGS[2], _OUT[1], _FLAGS[1], _FLAGS[1]))
    ),
    **_OPTIONS,
)
def _fit(
    R: FloatArray,
    t: FloatArray,
    observed: FloatArray,
    limits: tuple[float, float],
    out: tuple[FloatArray, ...],
) -> None:
    nu, limit = limits
    points, information, agreeing, total, ambiguous, reliant = out
    views, count = observed.shape[1:]
    one, point = np.empty((views, 5)), np.empty(3)
    terms, parts = np.empty((views, 9)), np.empty((views, 6))
    proposals = np.empty((1 + views * (views - 1) // 2, 4))
    scratch = (np.empty(9), np.empty(3), np.empty(3))
    for i in range(count):
        for view in range(views):
            for k in range(5):
                one[view, k] = observed[k, view, i]
        ambiguous[i] = _start(R, t, one, nu, (terms, proposals, scratch[0], scratch[1], scratch[2]), point)
        for _ in range(_REFINEMENTS):
            if _refine(R, t, one, nu, point, scratch) < _SETTLED:
                break
        total[i], reliant[i] = _conclude(R, t, one, (nu, limit), point, (parts, agreeing[:, i], information[:, i]))
        for k in range(3):
            points[k, i] = point[k]


@numba.njit(
    numba.void(_MATRICES, _IN[1], numba.float64, numba.types.Tuple((_IN[2], _IN[3], _SEEN)), _OUT[2]), **_OPTIONS
)
def _undistort(
    matrices: tuple[FloatArray, FloatArray],
    coefficients: FloatArray,
    limit: float,
    pixels: tuple[FloatArray, FloatArray, BoolArray],
    out: FloatArray,
) -> None:
    K, inverse = matrices
    xy, covariance, seen = pixels
    out[:] = 0.0
    for i in range(len(xy)):
        if not seen[i]:
            continue
        target_x = inverse[0, 0] * xy[i, 0] + inverse[0, 1] * xy[i, 1] + inverse[0, 2]
        target_y = inverse[1, 0] * xy[i, 0] + inverse[1, 1] * xy[i, 1] + inverse[1, 2]
        x, y, slopes = _newton(coefficients, limit, target_x, target_y)
        if np.isnan(x):
            continue
        out[0, i], out[1, i] = x, y
        u_x, u_y, v_x, v_y = slopes
        a, b = K[0, 0] * u_x + K[0, 1] * v_x, K[0, 0] * u_y + K[0, 1] * v_y
        c, d = K[1, 0] * u_x + K[1, 1] * v_x, K[1, 0] * u_y + K[1, 1] * v_y
        xx, yy = covariance[i, 0, 0], covariance[i, 1, 1]
        determinant = xx * yy - covariance[i, 0, 1] * covariance[i, 1, 0]
        p, r = yy / determinant, xx / determinant
        q = -(covariance[i, 0, 1] + covariance[i, 1, 0]) / 2 / determinant
        out[2, i] = a * a * p + 2 * a * c * q + c * c * r
        out[3, i] = a * b * p + (a * d + b * c) * q + c * d * r
        out[4, i] = b * b * p + 2 * b * d * q + d * d * r
