"""The loops over points of `robust_points`, compiled, where numba is installed: all of them are reached from here.

The arithmetic is that of the NumPy functions, which stay the reference and the fallback; tests compare the two. The
first use compiles (some seconds) and numba keeps the machine code for later runs.

Points go through in lanes, n at a time, so that the compiler can use vector instructions: arrays hold rows of `LANES`
numbers at fixed places, and short loops run over the lanes of a few rows. Rows are laid out one after the other in
arrays of one dimension, because only so does the compiler see that they do not overlap. Points whose start is
distrusted are gathered and go through the consensus in lanes of their own.
"""

from __future__ import annotations

import math

import numba  # pyright: ignore[reportMissingImports]  the one optional package
import numpy as np

from ..shapes import FloatArray, IntArray
from . import robust_points
from .compiled_judge import judge as judge
from .compiled_lanes import FOUND, IN, LANES, OPTIONS, OUT, PAIR, loop
from .compiled_lens import undistort_with_precision as undistort_with_precision
from .reprojection import NEAREST_M, Rays
from .robust_points import Fit

_RIDGE, _REFINEMENTS = robust_points.RIDGE, robust_points.REFINEMENTS
_SUSPICIOUS, _WILD = robust_points.SUSPICIOUS, robust_points.WILD
_NATS, _APART, _SIGMAS = robust_points.AMBIGUOUS_NATS, robust_points.APART_M**2, robust_points.APART_SIGMAS**2
_RELIANCE, _FLAT = robust_points.RELIANCE_M**-2, robust_points.FLAT
# Places in the scratch w: the point; where depths are taken for the linear terms; normal equations (the first six
# also the information); how many views, their worst or total distance, an enlargement, a mark, the best score.
_POINT, _DEPTH, _SUM = 0, 3 * LANES, 6 * LANES
_COUNT, _TOTAL, _ENLARGE, _MARK, _BEST = (row * LANES for row in (15, 16, 17, 18, 19))
_FIXED = 20 * LANES
# Places in a view's keypoints: u, v, uu, uv, vv (uu = 0 where not seen), squared distance from the point.
_U, _V, _UU, _UV, _VV, _DELTA = (row * LANES for row in range(6))
_Camera = tuple[float, float, float, float, float, float, float, float, float, float, float, float]


def fit(rays: Rays, nu: float, limit: float) -> Fit:
    """Estimate points, each alone: `robust_points.fit`, compiled."""
    views, count = rays.u.shape
    found = Fit(
        points=np.empty((3, count)),
        information=np.empty((6, count)),
        seen=np.empty(count, np.int64),
        agreeing=np.empty(count, np.int64),
        total=np.empty(count),
        ambiguous=np.zeros(count, bool),
        reliant=np.empty(count, bool),
    )
    _fit(_cameras(rays), _observed(rays), (float(nu), float(limit)), tuple(found))
    return found


def freedom(rays: Rays, points: FloatArray, nu: float) -> FloatArray:
    """Return each residual's own degrees of freedom (V, N): `robust_points.curvature`, compiled."""
    result = np.empty(rays.u.shape)
    _freedom(_cameras(rays), _observed(rays), np.ascontiguousarray(points), float(nu), result)
    return result


def _cameras(rays: Rays) -> FloatArray:
    return np.concatenate([rays.R.reshape(len(rays.R), 9), rays.t], axis=1)


def _observed(rays: Rays) -> tuple[FloatArray, ...]:
    return tuple(np.asarray(getattr(rays, name), float) for name in ("u", "v", "uu", "uv", "vv"))


@loop
def _camera(cameras: FloatArray, view: int) -> _Camera:
    c = cameras[view]
    return c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8], c[9], c[10], c[11]


@loop
def _fill(to: FloatArray, start: int, stop: int, value: float) -> None:
    for k in range(start, stop):
        to[k] = value


@loop
def _copy(source: FloatArray, start: int, to: FloatArray, at: int, n: int) -> None:
    for k in range(n):
        to[at + k] = source[start + k]


@loop
def _linear(camera: _Camera, o: FloatArray, w: FloatArray, to: FloatArray, by_depth: bool, n: int) -> None:
    """Add the normal equations of one view's keypoints o to nine rows."""
    a, b, c, d, e, f, g, h, i, t_x, t_y, t_z = camera
    for k in range(n):
        u, v = o[_U + k], o[_V + k]
        depth = g * w[_DEPTH + k] + h * w[_DEPTH + LANES + k] + i * w[_DEPTH + 2 * LANES + k] + t_z
        depth = depth if depth > 0.1 else 0.1
        weight = 1.0 / (depth * depth) if by_depth else 1.0
        uu, uv, vv = weight * o[_UU + k], weight * o[_UV + k], weight * o[_VV + k]
        u_x, u_y, u_z = a - g * u, b - h * u, c - i * u
        v_x, v_y, v_z = d - g * v, e - h * v, f - i * v
        right_u, right_v = u * t_z - t_x, v * t_z - t_y
        p_x, p_y, p_z = uu * u_x + uv * v_x, uu * u_y + uv * v_y, uu * u_z + uv * v_z
        q_x, q_y, q_z = uv * u_x + vv * v_x, uv * u_y + vv * v_y, uv * u_z + vv * v_z
        to[k] += p_x * u_x + q_x * v_x
        to[LANES + k] += p_x * u_y + q_x * v_y
        to[2 * LANES + k] += p_x * u_z + q_x * v_z
        to[3 * LANES + k] += p_y * u_y + q_y * v_y
        to[4 * LANES + k] += p_y * u_z + q_y * v_z
        to[5 * LANES + k] += p_z * u_z + q_z * v_z
        to[6 * LANES + k] += p_x * right_u + q_x * right_v
        to[7 * LANES + k] += p_y * right_u + q_y * right_v
        to[8 * LANES + k] += p_z * right_u + q_z * right_v


@loop
def _solve(s: FloatArray, to: FloatArray, add: bool, n: int) -> None:
    """Solve normal equations with the ridge; set three rows to the solution, or add it to them."""
    for k in range(n):
        ridge = _RIDGE * (s[k] + s[3 * LANES + k] + s[5 * LANES + k]) + 1e-300
        xx, xy, xz = s[k] + ridge, s[LANES + k], s[2 * LANES + k]
        yy, yz, zz = s[3 * LANES + k] + ridge, s[4 * LANES + k], s[5 * LANES + k] + ridge
        a, b, c = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
        determinant = xx * a + xy * b + xz * c
        inverse = 1.0 / determinant if abs(determinant) > 1e-300 else np.nan
        d, e, f = xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy
        x, y, z = s[6 * LANES + k], s[7 * LANES + k], s[8 * LANES + k]
        to[k] = (a * x + b * y + c * z) * inverse + (to[k] if add else 0.0)
        to[LANES + k] = (b * x + d * y + e * z) * inverse + (to[LANES + k] if add else 0.0)
        to[2 * LANES + k] = (c * x + e * y + f * z) * inverse + (to[2 * LANES + k] if add else 0.0)


@loop
def _distances(camera: _Camera, o: FloatArray, at: FloatArray, n: int) -> None:
    """Set the squared distances of a view's keypoints from points."""
    a, b, c, d, e, f, g, h, i, t_x, t_y, t_z = camera
    for k in range(n):
        x, y, z = at[k], at[LANES + k], at[2 * LANES + k]
        depth = g * x + h * y + i * z + t_z
        inverse = 1.0 / (depth if depth > NEAREST_M else NEAREST_M)
        u = o[_U + k] - (a * x + b * y + c * z + t_x) * inverse
        v = o[_V + k] - (d * x + e * y + f * z + t_y) * inverse
        o[_DELTA + k] = u * (o[_UU + k] * u + 2 * o[_UV + k] * v) + o[_VV + k] * v * v


@loop
def _refine(camera: _Camera, o: FloatArray, w: FloatArray, nu: float, n: int) -> None:
    """Add one view's terms of an IRLS Gauss-Newton step to the normal equations."""
    a, b, c, d, e, f, g, h, i, t_x, t_y, t_z = camera
    for k in range(n):
        x, y, z = w[_POINT + k], w[_POINT + LANES + k], w[_POINT + 2 * LANES + k]
        depth = g * x + h * y + i * z + t_z
        depth = depth if depth > NEAREST_M else NEAREST_M
        inverse = 1.0 / depth
        to_u, to_v = (a * x + b * y + c * z + t_x) * inverse, (d * x + e * y + f * z + t_y) * inverse
        u, v = o[_U + k] - to_u, o[_V + k] - to_v
        uu, uv, vv = o[_UU + k], o[_UV + k], o[_VV + k]
        heavy = (nu + 2) / (nu + u * (uu * u + 2 * uv * v) + vv * v * v) * inverse * inverse
        uu, uv, vv = heavy * uu, heavy * uv, heavy * vv
        # slopes and residuals times the depth
        u, v = u * depth, v * depth
        u_x, u_y, u_z = a - g * to_u, b - h * to_u, c - i * to_u
        v_x, v_y, v_z = d - g * to_v, e - h * to_v, f - i * to_v
        p_x, p_y, p_z = uu * u_x + uv * v_x, uu * u_y + uv * v_y, uu * u_z + uv * v_z
        q_x, q_y, q_z = uv * u_x + vv * v_x, uv * u_y + vv * v_y, uv * u_z + vv * v_z
        w[_SUM + k] += p_x * u_x + q_x * v_x
        w[_SUM + LANES + k] += p_x * u_y + q_x * v_y
        w[_SUM + 2 * LANES + k] += p_x * u_z + q_x * v_z
        w[_SUM + 3 * LANES + k] += p_y * u_y + q_y * v_y
        w[_SUM + 4 * LANES + k] += p_y * u_z + q_y * v_z
        w[_SUM + 5 * LANES + k] += p_z * u_z + q_z * v_z
        w[_SUM + 6 * LANES + k] += p_x * u + q_x * v
        w[_SUM + 7 * LANES + k] += p_y * u + q_y * v
        w[_SUM + 8 * LANES + k] += p_z * u + q_z * v


@loop
def _curvature(camera: _Camera, o: FloatArray, w: FloatArray, part: FloatArray, nu: float, n: int) -> None:
    """Set six rows to a view's share of the observed information, and add it to the sum."""
    a, b, c, d, e, f, g, h, i, t_x, t_y, t_z = camera
    for k in range(n):
        x, y, z = w[_POINT + k], w[_POINT + LANES + k], w[_POINT + 2 * LANES + k]
        depth = g * x + h * y + i * z + t_z
        inverse = 1.0 / (depth if depth > NEAREST_M else NEAREST_M)
        to_u, to_v = (a * x + b * y + c * z + t_x) * inverse, (d * x + e * y + f * z + t_y) * inverse
        u, v = o[_U + k] - to_u, o[_V + k] - to_v
        uu, uv, vv = o[_UU + k], o[_UV + k], o[_VV + k]
        pull_u, pull_v = uu * u + uv * v, uv * u + vv * v
        delta = (u * pull_u + v * pull_v) * w[_ENLARGE + k]
        share = 1.0 / (nu + delta)
        cut, other = 2.0 * share, 1.0 / (delta if delta > 1e-12 else 1e-12)
        cut = (cut if cut < other else other) * w[_ENLARGE + k]
        heavy = (nu + 2) * share * inverse * inverse
        uu, uv = heavy * (uu - cut * pull_u * pull_u), heavy * (uv - cut * pull_u * pull_v)
        vv = heavy * (vv - cut * pull_v * pull_v)
        u_x, u_y, u_z = a - g * to_u, b - h * to_u, c - i * to_u
        v_x, v_y, v_z = d - g * to_v, e - h * to_v, f - i * to_v
        p_x, p_y, p_z = uu * u_x + uv * v_x, uu * u_y + uv * v_y, uu * u_z + uv * v_z
        q_x, q_y, q_z = uv * u_x + vv * v_x, uv * u_y + vv * v_y, uv * u_z + vv * v_z
        part[k] = p_x * u_x + q_x * v_x
        part[LANES + k] = p_x * u_y + q_x * v_y
        part[2 * LANES + k] = p_x * u_z + q_x * v_z
        part[3 * LANES + k] = p_y * u_y + q_y * v_y
        part[4 * LANES + k] = p_y * u_z + q_y * v_z
        part[5 * LANES + k] = p_z * u_z + q_z * v_z
    for k in range(6 * LANES):
        w[_SUM + k] += part[k]


@loop
def _reliance(o: FloatArray, w: FloatArray, part: FloatArray, limit: float, n: int) -> None:
    """Mark lanes of which the view agrees and without whose part some direction is less sure than the limit."""
    for k in range(n):
        xx, yy = w[_SUM + k] - part[k] - _RELIANCE, w[_SUM + 3 * LANES + k] - part[3 * LANES + k] - _RELIANCE
        zz = w[_SUM + 5 * LANES + k] - part[5 * LANES + k] - _RELIANCE
        xy, xz = w[_SUM + LANES + k] - part[LANES + k], w[_SUM + 2 * LANES + k] - part[2 * LANES + k]
        yz = w[_SUM + 4 * LANES + k] - part[4 * LANES + k]
        minor = xx * yy - xy * xy
        whole = zz * minor + xz * (xy * yz - yy * xz) - yz * (xx * yz - xy * xz)
        agrees = (o[_UU + k] > 0) & (o[_DELTA + k] <= limit)
        sure = (xx > 0) & (minor > 0) & (whole > 0)
        w[_MARK + k] = 1.0 if agrees & ~sure else w[_MARK + k]


@loop
def _score(
    cameras: FloatArray,
    keypoints: FloatArray,
    w: FloatArray,
    proposal: FloatArray,
    usable: FloatArray,
    nu: float,
    n: int,
) -> None:
    """Score a proposal by all views (a power of the inverse likelihood) where it is usable, and keep the best."""
    for k in range(n):
        proposal[3 * LANES + k] = 1.0 if usable[k] > 0 else np.inf
    for view in range(len(cameras)):
        o = keypoints[view]
        _distances(_camera(cameras, view), o, proposal, n)
        for k in range(n):
            delta = o[_DELTA + k]
            proposal[3 * LANES + k] *= 1.0 + (delta if delta < _WILD else _WILD) / nu
    for k in range(n):
        better = proposal[3 * LANES + k] < w[_BEST + k]
        w[_BEST + k] = proposal[3 * LANES + k] if better else w[_BEST + k]
        w[_POINT + k] = proposal[k] if better else w[_POINT + k]
        w[_POINT + LANES + k] = proposal[LANES + k] if better else w[_POINT + LANES + k]
        w[_POINT + 2 * LANES + k] = proposal[2 * LANES + k] if better else w[_POINT + 2 * LANES + k]


@loop
def _consensus(cameras: FloatArray, rows: tuple[FloatArray, ...], nu: float, n: int) -> None:
    """Set the points to the best that each pair of views, or all together, propose; mark the ambiguous ones."""
    w, keypoints, terms, proposals = rows
    views = len(cameras)
    for view in range(views):
        _fill(terms[view], 0, 9 * LANES, 0.0)
        _linear(_camera(cameras, view), keypoints[view], w, terms[view], True, n)
    _copy(w, _POINT, proposals[0], 0, 3 * LANES)
    _fill(w, _BEST, _FIXED, np.inf)
    usable = np.ones(LANES)
    _score(cameras, keypoints, w, proposals[0], usable, nu, n)
    number, s = 0, w[_SUM : _SUM + 9 * LANES]
    for first in range(views):
        for second in range(first + 1, views):
            number += 1
            one, other, a, b = keypoints[first], keypoints[second], terms[first], terms[second]
            for k in range(9 * LANES):
                s[k] = a[k] + b[k]
            _solve(s, proposals[number], False, n)
            for k in range(n):
                usable[k] = min(one[_UU + k], other[_UU + k])
            _score(cameras, keypoints, w, proposals[number], usable, nu, n)
    _fill(w, _ENLARGE, _MARK, 1.0)
    _fill(w, _MARK, _BEST, 0.0)
    _fill(w, _SUM, _COUNT, 0.0)
    for view in range(views):
        _curvature(_camera(cameras, view), keypoints[view], w, terms[view], nu, n)
    for rival in proposals:
        _mark_rival(w, rival, math.exp(2 * _NATS / (nu + 2)), n)


@loop
def _mark_rival(w: FloatArray, rival: FloatArray, close: float, n: int) -> None:
    for k in range(n):
        x, y = rival[k] - w[_POINT + k], rival[LANES + k] - w[_POINT + LANES + k]
        z = rival[2 * LANES + k] - w[_POINT + 2 * LANES + k]
        xx, xy, xz = w[_SUM + k], w[_SUM + LANES + k], w[_SUM + 2 * LANES + k]
        yy, yz, zz = w[_SUM + 3 * LANES + k], w[_SUM + 4 * LANES + k], w[_SUM + 5 * LANES + k]
        sigmas = x * (xx * x + 2 * xy * y + 2 * xz * z) + y * (yy * y + 2 * yz * z) + zz * z * z
        apart = (x * x + y * y + z * z > _APART) & (sigmas > _SIGMAS)
        likely = rival[3 * LANES + k] < w[_BEST + k] * close
        w[_MARK + k] = 1.0 if apart & likely else w[_MARK + k]


@loop
def _start(cameras: FloatArray, keypoints: FloatArray, w: FloatArray, n: int) -> None:
    """Set the linear solution by depth, the depths it was weighted by, views that see it and the worst distance."""
    s = w[_SUM : _SUM + 9 * LANES]
    for by_depth in (False, True):
        _fill(w, _SUM, _COUNT, 0.0)
        for view in range(len(cameras)):
            _linear(_camera(cameras, view), keypoints[view], w, s, by_depth, n)
        _solve(s, w[_POINT:_DEPTH] if by_depth else w[_DEPTH:_SUM], False, n)
    _fill(w, _COUNT, _ENLARGE, 0.0)
    for view in range(len(cameras)):
        o = keypoints[view]
        _distances(_camera(cameras, view), o, w[_POINT:_DEPTH], n)
        for k in range(n):
            w[_COUNT + k] += 1.0 if o[_UU + k] > 0 else 0.0
            w[_TOTAL + k] = o[_DELTA + k] if o[_DELTA + k] > w[_TOTAL + k] else w[_TOTAL + k]


@loop
def _finish(cameras: FloatArray, rows: tuple[FloatArray, ...], limits: tuple[float, float], n: int) -> None:
    """Refine the points; set views that agree, their total, the information, and whether one view decides."""
    w, keypoints, parts, _ = rows
    nu, limit = limits
    views, s = len(cameras), w[_SUM : _SUM + 9 * LANES]
    for _ in range(_REFINEMENTS):
        _fill(w, _SUM, _COUNT, 0.0)
        for view in range(views):
            _refine(_camera(cameras, view), keypoints[view], w, nu, n)
        _solve(s, w[_POINT:_DEPTH], True, n)
    _fill(w, _COUNT, _ENLARGE, 0.0)
    for view in range(views):
        o = keypoints[view]
        _distances(_camera(cameras, view), o, w[_POINT:_DEPTH], n)
        for k in range(n):
            agrees = (o[_UU + k] > 0) & (o[_DELTA + k] <= limit)
            w[_COUNT + k] += 1.0 if agrees else 0.0
            w[_TOTAL + k] += o[_DELTA + k] if agrees else 0.0
    for k in range(n):
        twice = 2 * w[_COUNT + k]
        w[_ENLARGE + k] = twice / (twice - 3 if twice > 4 else 1.0)
        w[_MARK + k] = 0.0
    _fill(w, _SUM, _COUNT, 0.0)
    for view in range(views):
        _curvature(_camera(cameras, view), keypoints[view], w, parts[view], nu, n)
    for view in range(views):
        _reliance(keypoints[view], w, parts[view], limit, n)


@loop
def _load(observed: tuple[FloatArray, ...], keypoints: FloatArray, start: int, n: int) -> None:
    u, v, uu, uv, vv = observed
    for view in range(len(u)):
        o = keypoints[view]
        _copy(u[view], start, o, _U, n)
        _copy(v[view], start, o, _V, n)
        _copy(uu[view], start, o, _UU, n)
        _copy(uv[view], start, o, _UV, n)
        _copy(vv[view], start, o, _VV, n)


@loop
def _gather(
    observed: tuple[FloatArray, ...],
    places: tuple[FloatArray, FloatArray],
    rows: tuple[FloatArray, ...],
    chosen: IntArray,
) -> None:
    w, keypoints, _, _ = rows
    u, v, uu, uv, vv = observed
    depths, points = places
    for view in range(len(u)):
        o = keypoints[view]
        for k, i in enumerate(chosen):
            o[_U + k], o[_V + k] = u[view, i], v[view, i]
            o[_UU + k], o[_UV + k], o[_VV + k] = uu[view, i], uv[view, i], vv[view, i]
    for axis in range(3):
        for k, i in enumerate(chosen):
            w[_DEPTH + axis * LANES + k], w[_POINT + axis * LANES + k] = depths[axis, i], points[axis, i]


_ROWS = numba.types.Array(numba.float64, 2, "A", readonly=True)


@loop
def _starts(
    cameras: FloatArray,
    observed: tuple[FloatArray, ...],
    rows: tuple[FloatArray, ...],
    out: tuple[FloatArray, FloatArray, IntArray, IntArray],
) -> int:
    """Set points before refinement, the depths they were weighted by, views that see them, and doubtful ones."""
    w, keypoints, _, _ = rows
    points, depths, seen, doubtful = out
    number, count = 0, points.shape[1]
    for start in range(0, count, LANES):
        n = min(LANES, count - start)
        _load(observed, keypoints, start, n)
        _start(cameras, keypoints, w, n)
        for axis in range(3):
            _copy(w, _DEPTH + axis * LANES, depths[axis], start, n)
            _copy(w, _POINT + axis * LANES, points[axis], start, n)
        for k in range(n):
            seen[start + k] = int(w[_COUNT + k])
            if w[_COUNT + k] > 2 and w[_TOTAL + k] > _SUSPICIOUS:
                doubtful[number] = start + k
                number += 1
    return number


@numba.njit(numba.void(IN[2], numba.types.UniTuple(_ROWS, 5), PAIR, numba.types.Tuple(FOUND)), **OPTIONS)
def _fit(
    cameras: FloatArray, observed: tuple[FloatArray, ...], limits: tuple[float, float], out: tuple[FloatArray, ...]
) -> None:
    points, information, seen, agreeing, total, ambiguous, reliant = out
    views, count = observed[0].shape
    w, keypoints, terms = np.zeros(_FIXED), np.zeros((views, 6 * LANES)), np.zeros((views, 9 * LANES))
    rows = (w, keypoints, terms, np.zeros((1 + views * (views - 1) // 2, 4 * LANES)))
    depths, doubtful = np.empty((3, count)), np.empty(count, np.int64)
    number = _starts(cameras, observed, rows, (points, depths, seen, doubtful))
    for start in range(0, number, LANES):
        chosen = doubtful[start : min(start + LANES, number)]
        _gather(observed, (depths, points), rows, chosen)
        _consensus(cameras, rows, limits[0], len(chosen))
        for k, i in enumerate(chosen):
            ambiguous[i] = w[_MARK + k] > 0
            for axis in range(3):
                points[axis, i] = w[_POINT + axis * LANES + k]
    for start in range(0, count, LANES):
        n = min(LANES, count - start)
        _load(observed, keypoints, start, n)
        for axis in range(3):
            _copy(points[axis], start, w, _POINT + axis * LANES, n)
        _finish(cameras, rows, limits, n)
        for axis in range(3):
            _copy(w, _POINT + axis * LANES, points[axis], start, n)
        for row in range(6):
            _copy(w, _SUM + row * LANES, information[row], start, n)
        for k in range(n):
            agreeing[start + k], total[start + k] = int(w[_COUNT + k]), w[_TOTAL + k]
            reliant[start + k] = w[_MARK + k] > 0


@loop
def _trace(s: FloatArray, part: FloatArray, out: FloatArray, start: int, n: int) -> None:
    """Set the degrees of freedom, 2 - trace(part · sum⁻¹), of all lanes."""
    for k in range(n):
        xx, xy, xz, yy, yz, zz = (
            s[k],
            s[LANES + k],
            s[2 * LANES + k],
            s[3 * LANES + k],
            s[4 * LANES + k],
            s[5 * LANES + k],
        )
        a, b, c = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
        determinant = xx * a + xy * b + xz * c
        size = (xx + yy + zz) / 3
        inverse = 1.0 / determinant if determinant > _FLAT * size * size * size else np.nan
        d, e, f = xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy
        diagonal = part[k] * a + part[3 * LANES + k] * d + part[5 * LANES + k] * f
        rest = part[LANES + k] * b + part[2 * LANES + k] * c + part[4 * LANES + k] * e
        out[start + k] = 2.0 - (diagonal + 2.0 * rest) * inverse


@numba.njit(numba.void(IN[2], numba.types.UniTuple(_ROWS, 5), IN[2], numba.float64, OUT[2]), **OPTIONS)
def _freedom(
    cameras: FloatArray, observed: tuple[FloatArray, ...], points: FloatArray, nu: float, out: FloatArray
) -> None:
    views, count = observed[0].shape
    w, keypoints, parts = np.zeros(_FIXED), np.zeros((views, 6 * LANES)), np.zeros((views, 9 * LANES))
    _fill(w, _ENLARGE, _MARK, 1.0)
    s = w[_SUM : _SUM + 9 * LANES]
    for start in range(0, count, LANES):
        n = min(LANES, count - start)
        _load(observed, keypoints, start, n)
        for axis in range(3):
            _copy(points[axis], start, w, _POINT + axis * LANES, n)
        _fill(w, _SUM, _COUNT, 0.0)
        for view in range(views):
            _curvature(_camera(cameras, view), keypoints[view], w, parts[view], nu, n)
        for view in range(views):
            _trace(s, parts[view], out[view], start, n)
