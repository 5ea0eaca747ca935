"""Paths as cubic splines over time: few numbers per second at any frame rate, and an exact prior on their jerk.

The third derivative of a cubic spline is constant between two knots, so the integral of its square, which the
smoothness prior weighs, is a sum over the knot intervals; time steps may be uneven. A smoother follows its data up to
the frequency (q / (σ² h))^(1/6) (rad/s; q: spectral density of the jerk, h: frame step), above which the prior's
spectrum q / ω⁶ falls below that of the noise, σ² h. Knots need be no nearer than that demands.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.interpolate import BSpline
from scipy.linalg import solveh_banded

from ..shapes import FloatArray, IntArray

ORDER = 4  # coefficients that a time touches
_BLOCK = 1_000  # frames that are interpolated at once
_JERK_RIDGE, _RIDGE = 1e-8, 1e-14  # relative: leave a path as it is, and decide what frames do not


def lower_storage(bands: FloatArray) -> FloatArray:
    """LAPACK's lower band storage of bands [l, n] that couple n and n - l: column n holds rows n, n + 1 and so on."""
    lower = np.zeros_like(bands)
    for lag in range(min(bands.shape)):
        lower[lag, : bands.shape[1] - lag] = bands[lag, lag:]
    return lower


@dataclass(frozen=True, eq=False)
class Spline:
    """A cubic spline's basis at T times: K knot intervals, N = K + 3 coefficients."""

    first: IntArray  # (T,) first of the four coefficients that a time touches, 0 … K - 1
    weight: FloatArray  # (T, 4)
    jerk: FloatArray  # (ORDER, N) bands: entry [l, n] couples coefficients n and n - l; precision for density 1

    @property
    def count(self) -> int:
        """N."""
        return self.jerk.shape[1]

    def values(self, coefficients: FloatArray, times: slice = slice(None)) -> FloatArray:
        """The spline at the times: (T, …) from (N, …)."""
        first, weight = self.first[times], self.weight[times]
        tail = (None,) * (coefficients.ndim - 1)
        return np.sum([weight[:, i, *tail] * coefficients[first + i] for i in range(ORDER)], axis=0)

    def design(self) -> sparse.csr_matrix:
        """(T, N) matrix that gives values from coefficients."""
        start = np.arange(0, ORDER * len(self.first) + 1, ORDER)
        index = (self.first[:, None] + np.arange(ORDER)).ravel()
        return sparse.csr_matrix((self.weight.ravel(), index, start), shape=(len(self.first), self.count))


def response_time(
    sigma: FloatArray,  # (...) m
    step: float,  # s
    density: FloatArray,  # (...) m²/s⁵
) -> FloatArray:
    """(...) s, over which a smoother of points of that sigma averages: one over its cut-off in rad/s."""
    return (sigma**2 * step / density) ** (1 / 6)


def choose_knots(
    times: FloatArray,  # (T,) s
    spacing: float,  # s
) -> FloatArray:
    """Knots at frames, at least ``spacing`` apart: (K + 1,) s, K >= 1."""
    if len(times) < 2:
        return np.array([times[0], times[0] + 1.0])
    following = np.maximum(np.searchsorted(times, times + spacing * (1 - 1e-6)), np.arange(len(times)) + 1).tolist()
    chosen = [0]
    while following[chosen[-1]] < len(times) - 1:  # each knot depends on the one before
        chosen.append(following[chosen[-1]])
    if len(chosen) > 1 and times[-1] - times[chosen[-1]] < spacing / 2:
        chosen.pop()
    return times[[*chosen, len(times) - 1]]


def spline_basis(
    times: FloatArray,  # (T,) s, rising
    knots: FloatArray,  # (K + 1,) s, rising, around all times
) -> Spline:
    """Evaluate the cubic B-splines over the knots at the times; de Boor 1978, chapters IX and X."""
    intervals = len(knots) - 1
    start, end = knots[1] - knots[0], knots[-1] - knots[-2]
    reach = np.arange(1, ORDER)
    full = np.r_[knots[0] - start * reach[::-1], knots, knots[-1] + end * reach]
    first = np.clip(np.searchsorted(knots, times, side="right") - 1, 0, intervals - 1)
    weight = BSpline.design_matrix(times, full, ORDER - 1).data.reshape(-1, ORDER)
    rows = np.broadcast_to(np.eye(ORDER), (intervals, ORDER, ORDER))  # of each interval's coefficients
    for degree in (3, 2, 1):  # the derivative of a spline: divided differences of its coefficients
        knot = np.arange(intervals)[:, None] + np.arange(ORDER - degree, ORDER)
        width = full[knot + degree] - full[knot]
        rows = degree * (rows[:, 1:] - rows[:, :-1]) / width[..., None]
    jerk = rows[:, 0]
    bands = np.zeros((ORDER, intervals + ORDER - 1))
    length = np.diff(knots)
    for i in range(ORDER):
        for k in range(i + 1):
            bands[i - k, i : i + intervals] += length * jerk[:, i] * jerk[:, k]
    return Spline(first, weight, bands)


def fitted_coefficients(
    spline: Spline,
    path: FloatArray,  # (T, ...)
) -> FloatArray:
    """(N, ...) coefficients of the spline nearest to the path; the smoothest where the path leaves a choice."""
    design = spline.design()
    gram = design.T @ design
    matrix = spline.jerk * (_JERK_RIDGE / float(spline.jerk[0].max()))
    matrix[0] += _RIDGE
    for lag in range(ORDER):
        matrix[lag, lag:] += gram.diagonal(-lag)
    right = design.T @ path.reshape(len(path), -1)
    return solveh_banded(lower_storage(matrix), right, lower=True).reshape(-1, *path.shape[1:])


def interpolated(values: FloatArray, at: IntArray, frames: int) -> FloatArray:
    """Linearly from the frames ``at`` (K, …), rising, to all frames (T, …), held outside."""
    result = np.empty((frames, *values.shape[1:]))
    for start in range(0, frames, _BLOCK):
        frame = np.arange(start, min(start + _BLOCK, frames))
        upper = np.clip(np.searchsorted(at, frame), min(1, len(at) - 1), len(at) - 1)
        lower = np.maximum(upper - 1, 0)
        share = np.clip((frame - at[lower]) / np.maximum(at[upper] - at[lower], 1), 0.0, 1.0)
        share = share.reshape(-1, *(1,) * (values.ndim - 1))
        result[frame] = (1 - share) * values[lower] + share * values[upper]
    return result
