"""The lens loop of `reprojection`, compiled: see `compiled`."""

from __future__ import annotations

import numba  # pyright: ignore[reportMissingImports]  the one optional package
import numpy as np

from ..shapes import BoolArray, FloatArray
from ..types import Intrinsics
from . import projection
from .compiled_lanes import IN, LANES, OPTIONS, OUT, loop

_NEWTON_STEPS, _CONVERGED = projection.NEWTON_STEPS, projection.CONVERGED
_UNCHECKED = 2  # first steps, which never suffice
_TARGET, _AT, _PLACE, _SLOPES = 0, 2 * LANES, 4 * LANES, 6 * LANES  # rows of the scratch: x, y; x, y; u, v; four slopes
_ROWS = 10


def undistort_with_precision(
    lens: Intrinsics,
    xy: FloatArray,  # (N, 2) px
    covariance: FloatArray,  # (N, 2, 2) px²
    seen: BoolArray,  # (N,)
    out: FloatArray,  # (5, N)
) -> int:
    """Undistort pixels of a polynomial lens and carry their precision along.

    Args:
        lens: distortion by OpenCV's model with up to 8 coefficients.
        xy: pixels.
        covariance: of the pixels.
        seen: which pixels count.
        out: set to normalised u, v and their precision's uu, uv, vv; 0 where not seen or where no point maps to the
            pixel.

    Returns:
        The first pixel whose covariance is not positive definite; -1 if there is none.
    """
    coefficients = np.r_[lens.distortion, np.zeros(8)][:8]
    limit = float(projection.largest_radius(lens))
    contiguous = np.ascontiguousarray
    pixels = (contiguous(xy), contiguous(covariance), contiguous(seen))
    return int(_undistort((lens.K, np.linalg.inv(lens.K)), coefficients, limit, pixels, tuple(out)))


@loop
def _lens(coefficients: FloatArray, w: FloatArray, n: int) -> None:
    """Set place and slopes (du/dx, d/d both, both, dv/dy) of n lanes."""
    k1, k2, p1, p2 = coefficients[0], coefficients[1], coefficients[2], coefficients[3]
    k3, k4, k5, k6 = coefficients[4], coefficients[5], coefficients[6], coefficients[7]
    for k in range(n):
        x, y = w[_AT + k], w[_AT + LANES + k]
        r2 = x * x + y * y
        share = 1.0 / (1.0 + r2 * (k4 + r2 * (k5 + r2 * k6)))
        radial = (1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))) * share
        slope = (k1 + r2 * (2 * k2 + r2 * 3 * k3) - radial * (k4 + r2 * (2 * k5 + r2 * 3 * k6))) * share
        w[_PLACE + k] = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
        w[_PLACE + LANES + k] = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
        w[_SLOPES + k] = radial + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x
        w[_SLOPES + LANES + k] = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y
        w[_SLOPES + 2 * LANES + k] = radial + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x


@loop
def _newton(w: FloatArray, limit: float, n: int) -> tuple[int, int]:
    """Move n lanes by one step; return how many were off before it, and how many left the lens's range."""
    off, outside, square = 0, 0, limit * limit
    for k in range(n):
        u, v = w[_PLACE + k] - w[_TARGET + k], w[_PLACE + LANES + k] - w[_TARGET + LANES + k]
        a, b, d = w[_SLOPES + k], w[_SLOPES + LANES + k], w[_SLOPES + 2 * LANES + k]
        determinant = a * d - b * b
        inverse = 1.0 / (1e-9 if abs(determinant) < 1e-9 else determinant)
        x, y = w[_AT + k] - (d * u - b * v) * inverse, w[_AT + LANES + k] - (a * v - b * u) * inverse
        w[_AT + k], w[_AT + LANES + k] = x, y
        off += 1 if abs(u) + abs(v) > _CONVERGED else 0
        outside += 1 if x * x + y * y > square else 0
    return off, outside


@loop
def _shrink(w: FloatArray, limit: float, n: int) -> None:
    for k in range(n):
        x, y = w[_AT + k], w[_AT + LANES + k]
        shrink = min(1.0, limit / max(np.sqrt(x * x + y * y), 1e-12))
        w[_AT + k], w[_AT + LANES + k] = x * shrink, y * shrink


@loop
def _found(w: FloatArray, limit: float, lane: int) -> bool:
    """Whether the lane's point maps to its pixel and lies in the range where the lens is one-to-one."""
    u, v = w[_PLACE + lane] - w[_TARGET + lane], w[_PLACE + LANES + lane] - w[_TARGET + LANES + lane]
    x, y, to_x, to_y = w[_AT + lane], w[_AT + LANES + lane], w[_TARGET + lane], w[_TARGET + LANES + lane]
    near = np.sqrt(u * u + v * v) < 1e-9 * (1 + np.sqrt(to_x * to_x + to_y * to_y))
    return near and x * x + y * y < limit * limit


_MATRICES = numba.types.UniTuple(IN[2], 2)
_SEEN = numba.types.Array(numba.boolean, 1, "C", readonly=True)

_ROWS_OUT = numba.types.UniTuple(OUT[1], 5)


@numba.njit(
    numba.int64(_MATRICES, IN[1], numba.float64, numba.types.Tuple((IN[2], IN[3], _SEEN)), _ROWS_OUT), **OPTIONS
)
def _undistort(
    matrices: tuple[FloatArray, FloatArray],
    coefficients: FloatArray,
    limit: float,
    pixels: tuple[FloatArray, FloatArray, BoolArray],
    out: tuple[FloatArray, ...],
) -> int:
    to_u, to_v, to_uu, to_uv, to_vv = out
    K, inverse = matrices
    xy, covariance, seen = pixels
    w, first_wrong = np.empty(_ROWS * LANES), -1
    for start in range(0, len(xy), LANES):
        n = min(LANES, len(xy) - start)
        for k in range(n):
            x, y = (xy[start + k, 0], xy[start + k, 1]) if seen[start + k] else (K[0, 2], K[1, 2])
            w[_TARGET + k] = w[_AT + k] = inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2]
            w[_TARGET + LANES + k] = w[_AT + LANES + k] = inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2]
        for step in range(_NEWTON_STEPS):
            _lens(coefficients, w, n)
            off, outside = _newton(w, limit, n)
            if outside:
                _shrink(w, limit, n)
            if step >= _UNCHECKED and not off:
                break
        _lens(coefficients, w, n)
        for k in range(n):
            i = start + k
            xx, skew, yy = covariance[i, 0, 0], (covariance[i, 0, 1] + covariance[i, 1, 0]) / 2, covariance[i, 1, 1]
            determinant = xx * yy - covariance[i, 0, 1] * covariance[i, 1, 0]
            if seen[i] and not (xx > 0 and determinant > 0) and first_wrong < 0:
                first_wrong = i
            usable = seen[i] and _found(w, limit, k)
            u_x, cross, v_y = w[_SLOPES + k], w[_SLOPES + LANES + k], w[_SLOPES + 2 * LANES + k]
            a, b = K[0, 0] * u_x + K[0, 1] * cross, K[0, 0] * cross + K[0, 1] * v_y
            c, d = K[1, 0] * u_x + K[1, 1] * cross, K[1, 0] * cross + K[1, 1] * v_y
            scale = 1 / determinant
            p, q, r = yy * scale, -skew * scale, xx * scale
            to_u[i] = w[_AT + k] if usable else 0.0
            to_v[i] = w[_AT + LANES + k] if usable else 0.0
            to_uu[i] = a * a * p + 2 * a * c * q + c * c * r if usable else 0.0
            to_uv[i] = a * b * p + (a * d + b * c) * q + c * d * r if usable else 0.0
            to_vv[i] = b * b * p + 2 * b * d * q + d * d * r if usable else 0.0
    return first_wrong
