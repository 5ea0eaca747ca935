"""`robust_points.judge`, compiled: see `compiled`."""

from __future__ import annotations

import numba  # pyright: ignore[reportMissingImports]  the one optional package
import numpy as np

from ..shapes import FloatArray, IntArray
from ..types import Flag
from .compiled_lanes import FOUND, OPTIONS, OUT, loop
from .robust_points import Fit, Limits

_OBSERVED, _WEAK, _REJECTED, _UNOBSERVED = (int(f) for f in (Flag.OBSERVED, Flag.WEAK, Flag.REJECTED, Flag.UNOBSERVED))


def judge(found: Fit, extra: FloatArray, limits: Limits, out: tuple[FloatArray, FloatArray, IntArray]) -> None:
    """Set points, covariances and flags: `robust_points.judge`, compiled."""
    _judge(
        tuple(found),
        extra,
        limits.likely,
        (float(limits.factor), float(limits.max_sigma_m), float(limits.two_views)),
        out,
    )


@loop
def _positive(xx: float, xy: float, xz: float, yy: float, yz: float, zz: float) -> bool:
    minor = xx * yy - xy * xy
    return xx > 0 and minor > 0 and zz * minor + xz * (xy * yz - yy * xz) - yz * (xx * yz - xy * xz) > 0


_JUDGED = (OUT[2], OUT[3], numba.types.Array(numba.int8, 1, "C"))
_TRIPLE = numba.types.UniTuple(numba.float64, 3)


@numba.njit(
    numba.void(numba.types.Tuple(FOUND), OUT[2], OUT[1], _TRIPLE, numba.types.Tuple(_JUDGED)),
    **OPTIONS,
)
def _judge(
    found: tuple[FloatArray, ...],
    extra: FloatArray,
    likely: FloatArray,
    limits: tuple[float, float, float],
    out: tuple[FloatArray, ...],
) -> None:
    points, information, seen, agreeing, total, ambiguous, reliant = found
    xyz, covariance, flag = out
    factor, most_m, contradiction = limits
    most = most_m * most_m
    for i in range(len(seen)):
        count = agreeing[i]
        excess = total[i] / max(2 * count - 3, 1) if total[i] > likely[count] else 1.0
        xx, xy, xz = information[0, i], information[1, i], information[2, i]
        yy, yz, zz = information[3, i], information[4, i], information[5, i]
        a, b, c = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
        determinant = xx * a + xy * b + xz * c
        scale = factor * excess / (determinant if abs(determinant) > 1e-300 else np.nan)
        d, e, f = (
            scale * (xx * zz - xz * xz) + extra[3, i],
            scale * (xy * xz - xx * yz) + extra[4, i],
            xx * yy - xy * xy,
        )
        a, b, c, f = scale * a + extra[0, i], scale * b + extra[1, i], scale * c + extra[2, i], scale * f + extra[5, i]
        contradicted = count < 2 or ambiguous[i] or (count == 2 and total[i] > contradiction)
        sure = _positive(a, b, c, d, e, f) and _positive(most - a, -b, -c, most - d, -e, most - f)
        if seen[i] < 2 or not (contradicted or sure):
            flag[i] = _UNOBSERVED
        elif contradicted:
            flag[i] = _REJECTED
        else:
            flag[i] = _WEAK if count == 2 or excess > 1 or reliant[i] else _OBSERVED
        stands = flag[i] > _REJECTED
        for axis in range(3):
            xyz[i, axis] = points[axis, i] if stands else np.nan
        if not stands:
            a = b = c = d = e = f = np.nan
        covariance[i, 0, 0], covariance[i, 0, 1], covariance[i, 0, 2] = a, b, c
        covariance[i, 1, 0], covariance[i, 1, 1], covariance[i, 1, 2] = b, d, e
        covariance[i, 2, 0], covariance[i, 2, 1], covariance[i, 2, 2] = c, e, f
