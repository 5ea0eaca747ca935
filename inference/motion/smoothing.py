"""One path in time: smoothing of single-frame points, how jerky the motion is, and how long its errors last.

Prior: the third derivative of every joint is white noise of spectral density q (m²/s⁵), so that time steps may be
uneven and any frame rate means the same. Paths are cubic splines (`splines`), their equations banded.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.integrate import simpson
from scipy.linalg import cho_solve_banded, cholesky_banded
from scipy.ndimage import median_filter

from ..shapes import BoolArray, FloatArray
from .splines import ORDER, Spline, choose_knots, lower_storage, spline_basis

MEMORYLESS = 0.05  # correlation between frames below which errors count as independent
LAGS = 3  # frames that the error memory reaches back
_FREE = 3  # numbers of a path that the prior leaves free: its parabola
_KNOTS_S = 1 / 65  # least spacing of the knots that densities are fitted with
_GRID = 10.0 ** np.arange(-1, 9.01, 0.5)  # candidates for the spectral density, m²/s⁵
_FIT_FRAMES = 600  # length of the stretches that the density is fitted on
_FIT_STRETCHES = 3
_FOLDS = 3  # repetitions of the prior's spectrum that count
_LOOSE = 1e-2  # 1/m²
_WILD = 16.0  # squared sigmas from which a single-frame point does not count


def memory_precision(
    present: BoolArray,  # (T, ...)
    correlation: FloatArray,  # (LAGS + 1, T) between frames t and t - l
) -> FloatArray:
    """Precision of unit errors with exponential memory as bands (LAGS + 1, T, ...), over the present frames.

    A frame is linked to the last present one at most LAGS frames back (a first-order autoregression); where there is
    none the memory starts afresh.
    """
    bands = np.zeros((LAGS + 1, *present.shape))
    bands[0] = present
    free = present.copy()
    tail = (slice(None), *(None,) * (present.ndim - 1))
    for lag in range(1, LAGS + 1):
        link = np.zeros_like(present)
        link[lag:] = free[lag:] & present[:-lag]
        free &= ~link
        r = correlation[lag][tail]
        gain = np.where(link, r * r / np.maximum(1 - r * r, 1e-9), 0.0)
        bands[0] += gain
        bands[0][:-lag] += gain[lag:]
        bands[lag] -= np.where(link, r / np.maximum(1 - r * r, 1e-9), 0.0)
    return bands


def frame_correlation(times: FloatArray, memory: float) -> FloatArray:
    """(LAGS + 1, T) correlation of errors between frames t and t - l; ``memory`` holds for the median step."""
    result = np.zeros((LAGS + 1, len(times)))
    if len(times) < 2 or memory < MEMORYLESS:
        return result
    step = np.median(np.diff(times))
    for lag in range(1, min(LAGS, len(times) - 1) + 1):
        result[lag, lag:] = memory ** ((times[lag:] - times[:-lag]) / step)
    return result


class _Timeline(NamedTuple):
    """What paths over the same times share."""

    times: FloatArray  # (T,) s
    spline: Spline
    design: sparse.csr_matrix  # (T, N)
    prior: FloatArray  # (ORDER, N) in lower storage, for density 1


def _timeline(times: FloatArray, spacing: float = _KNOTS_S) -> _Timeline:
    spline = spline_basis(times, choose_knots(times, spacing))
    return _Timeline(times, spline, spline.design(), lower_storage(spline.jerk))


def smooth_paths(
    points: FloatArray,  # (T, J, 3) m, NaN where missing; each joint is seen at least once
    sigma: FloatArray,  # (T, J) m
    times: FloatArray,  # (T,) s
    memory: float,
) -> tuple[FloatArray, FloatArray]:
    """Smooth joints' single-frame points robustly; fit how jerky each joint's motion is.

    Convention:
        the spectral density is the maximum of the marginal likelihood, the errors' memory at most ``memory``; wild
        points lose their weight (Student t). Gaps are bridged; before the first and after the last point the path is
        held.

    Returns:
        (T, J, 3) paths and (J,) densities q, m²/s⁵.
    """
    whole = _timeline(times)
    parts = [(part, _timeline(times[part])) for part in _fitted_parts(len(times))]
    smooth = [_smooth_path(points[:, j], sigma[:, j], whole, parts, memory) for j in range(points.shape[1])]
    return np.stack([path for path, _ in smooth], axis=1), np.array([density for _, density in smooth])


def _smooth_path(
    points: FloatArray, sigma: FloatArray, whole: _Timeline, parts: list[tuple[slice, _Timeline]], memory: float
) -> tuple[FloatArray, float]:
    seen = np.isfinite(points).all(axis=-1)
    filled = interpolate(points, whole.times)
    sigma = np.where(seen, sigma, 1.0)
    weight = np.zeros(len(points))
    median = median_filter(points[seen], size=(min(9, int(seen.sum())), 1), mode="mirror")
    away = np.linalg.norm(points[seen] - median, axis=-1)
    weight[seen] = away < 9 * np.median(away) + 3 * sigma[seen]
    density = float(_GRID[len(_GRID) // 2])
    memory = _fit_memory(filled, weight * seen / sigma**2, parts, memory)
    path = filled
    for _ in range(3):
        precision = weight * seen / sigma**2
        density = _fit_density(filled, precision, parts, memory)
        path = _smooth(filled, precision, whole, memory, density)
        delta = ((filled - path) ** 2).sum(axis=-1) / sigma**2
        weight = (delta < _WILD) * 1.0
    inside = np.flatnonzero(seen)
    return path[np.clip(np.arange(len(path)), inside[0], inside[-1])], density


def _fitted_parts(count: int) -> list[slice]:
    starts = [0] if count <= _FIT_FRAMES else np.linspace(0, count - _FIT_FRAMES, _FIT_STRETCHES).astype(int)
    return [slice(start, start + _FIT_FRAMES) for start in starts]


class Surrogate(NamedTuple):
    """White noise that stands for a joint's errors with memory; see `white_surrogate`."""

    scale: float  # variance of the white noise over that of the errors
    honesty: float  # mean squared error of the smoothed path over the variance that the smoother claims
    variance: float  # m², mean squared error of the smoothed path, per axis


def white_surrogate(
    sigma: float,  # m
    step: float,  # s
    memory: float,
    density: float,  # m²/s⁵
) -> Surrogate:
    """The best white noise to smooth errors with memory with, and how honest the smoother's variance then is.

    A smoother for white noise of variance κσ² has gain H = W / (W + P/q) at every frequency. Under errors of variance
    σ² and first-order memory, and motion of density q, its mean squared error is the integral of |H|² S + (1 - H)² q/P
    (S, q/P: the spectra). Links between neighbouring errors would be exact where the memory is; but any change of a
    keypoint's stated variance would turn an error that stays into information, and real detectors have many.

    Convention:
        steady state, even steps; κ minimises the error.
    """
    frequency = np.geomspace(1e-5, np.pi, 600)
    folded = sum((frequency + 2 * np.pi * k) ** -6 for k in range(-_FOLDS, _FOLDS + 1))  # of 1 / ω⁶ by sampling
    stiffness = 1 / (step**5 * density * folded)
    spectrum = sigma**2 * (1 - memory**2) / (1 - 2 * memory * np.cos(frequency) + memory**2)
    scales = np.geomspace(0.2, (1 + memory) / (1 - memory), 24) if memory >= MEMORYLESS else np.ones(1)
    white = 1 / (scales[:, None] * sigma**2)
    claimed = 1 / (white + stiffness)
    error = claimed**2 * (white**2 * spectrum + stiffness)
    claim, total = (np.asarray(simpson(part, x=frequency)) for part in (claimed, error))
    best = int(total.argmin())
    honesty = float(total[best] / claim[best]) if memory >= MEMORYLESS else 1.0
    return Surrogate(float(scales[best]), honesty, float(total[best]) / np.pi)


def interpolate(points: FloatArray, times: FloatArray) -> FloatArray:
    """Fill NaN rows of (T, D) linearly in time, held at the ends; 0 where nothing was seen at all."""
    seen = np.isfinite(points).all(axis=-1)
    if not seen.any():
        return np.zeros_like(points)
    return np.stack([np.interp(times, times[seen], column[seen]) for column in points.T], axis=-1)


def smooth_known(
    paths: FloatArray,  # (T, J, 3) m
    visible: BoolArray,  # (T,)
    times: FloatArray,  # (T,) s
) -> FloatArray:
    """Bridge the frames of paths that are not visible by the prior; the others are known to 0.1 mm."""
    flat = np.where(visible[:, None], paths.reshape(len(paths), -1), np.nan)
    filled = interpolate(flat, times)
    return _smooth(filled, np.where(visible, 1e8, 0.0), _timeline(times), 0.0, 1e2).reshape(paths.shape)


class _Equations(NamedTuple):
    """Normal equations of a path's N spline coefficients for points of given precision."""

    data: FloatArray  # (bands, N) in lower storage
    prior: FloatArray  # (bands, N) in lower storage, for density 1
    right: FloatArray  # (N, 3)
    cost: float  # of the points alone: -2 log of their normalisation, plus their squares


def _equations(y: FloatArray, precision: FloatArray, timeline: _Timeline, memory: float) -> _Equations:
    design, present = timeline.design, precision > 0
    if memory < MEMORYLESS:
        weight = sparse.diags(precision)
        used, normalisation = 0, np.log(precision[present]).sum() / 2
    else:
        bands = memory_precision(present, frame_correlation(timeline.times, memory))
        root = np.sqrt(precision)
        for lag in range(LAGS + 1):
            bands[lag, lag:] *= root[lag:] * root[: len(root) - lag]
        used = min(LAGS, len(y) - 1)
        weight = sparse.diags(bands[0])
        for lag in range(1, used + 1):
            beside = sparse.diags(bands[lag, lag:], lag)
            weight = weight + beside + beside.T
        bands[0] = np.where(present, bands[0], 1.0)
        factor = cholesky_banded(lower_storage(bands[: used + 1]), lower=True, check_finite=False)
        normalisation = np.log(factor[0]).sum()
    weighted = design.T @ weight
    gram = weighted @ design
    count = timeline.spline.count
    data, prior = np.zeros((2, min(ORDER + used, count), count))
    for lag in range(len(data)):
        data[lag, : count - lag] = gram.diagonal(-lag)
    prior[:ORDER] = timeline.prior
    return _Equations(data, prior, weighted @ y, -6 * normalisation + float((y * (weight @ y)).sum()))


def _smooth(y: FloatArray, precision: FloatArray, timeline: _Timeline, memory: float, density: float) -> FloatArray:
    centre = y.mean(axis=0)
    system = _equations(y - centre, precision, timeline, memory)
    matrix = system.data + system.prior / density
    matrix[0] += _LOOSE  # a path without any information stays within 10 m
    factor = cholesky_banded(matrix, lower=True, check_finite=False)
    return centre + timeline.design @ cho_solve_banded((factor, True), system.right, check_finite=False)


def _fit_density(y: FloatArray, precision: FloatArray, parts: list[tuple[slice, _Timeline]], memory: float) -> float:
    """Maximise the marginal likelihood of the density over a grid, then a parabola through the best three."""
    cost = _total_evidence(y, precision, parts, memory, _GRID)
    best = int(cost.argmin())
    if not cost.any() or best in (0, len(_GRID) - 1):
        return float(_GRID[best] if cost.any() else 1e2)
    below, middle, above = cost[best - 1 : best + 2]
    shift = 0.5 * (below - above) / max(below - 2 * middle + above, 1e-9)
    return float(_GRID[best] * 10 ** (0.5 * np.clip(shift, -1, 1)))


def _fit_memory(
    y: FloatArray, precision: FloatArray, parts: list[tuple[slice, _Timeline]], keypoint_memory: float
) -> float:
    """Memory of the points' errors: at most the keypoints', less where views come and go."""
    if keypoint_memory < MEMORYLESS:
        return 0.0
    shares = keypoint_memory * np.array([0.0, 0.4, 0.6, 0.75, 0.85, 0.93, 1.0])
    cost = [_total_evidence(y, precision, parts, share, _GRID[::2]).min() for share in shares]
    return float(shares[int(np.argmin(cost))])


def _total_evidence(
    y: FloatArray,
    precision: FloatArray,
    parts: list[tuple[slice, _Timeline]],
    memory: float,
    grid: FloatArray,
) -> FloatArray:
    cost = np.zeros(len(grid))
    for part, timeline in parts:
        if (precision[part] > 0).sum() > 2 * LAGS:
            cost += _evidence(y[part], precision[part], timeline, memory, grid)
    return cost


def _evidence(y: FloatArray, precision: FloatArray, timeline: _Timeline, memory: float, grid: FloatArray) -> FloatArray:
    """-2 log marginal likelihood for every density of the grid, up to a constant."""
    system = _equations(y - y[precision > 0].mean(axis=0), precision, timeline, memory)
    cost = np.full(len(grid), system.cost)
    bound = len(system.right) - _FREE
    for index, density in enumerate(grid):
        matrix = system.data + system.prior / density
        matrix[0] += 1e-4 * precision.max() / len(y)
        factor = cholesky_banded(matrix, lower=True, check_finite=False)
        fitted = cho_solve_banded((factor, True), system.right, check_finite=False)
        cost[index] += 3 * bound * np.log(density) + 6 * np.log(factor[0]).sum() - (system.right * fitted).sum()
    return cost
