"""Linear algebra in time: the smoothness prior, error memory, and block-tridiagonal systems.

Prior: the third derivative of every joint is white noise of spectral density q (m²/s⁵), so that time steps may be
uneven and any frame rate means the same. Discretised, it couples four neighbouring frames; three frames
make a block and the system of a take is block tridiagonal. Elimination runs forward once; a stretch of the
take is solved backwards as soon as the frames that it still depends on are in (a fixed-lag smoother), so that memory
does not grow with the take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy.integrate import simpson
from scipy.linalg import cho_solve_banded, cholesky_banded, get_lapack_funcs
from scipy.ndimage import median_filter

from ..shapes import BoolArray, FloatArray

MEMORYLESS = 0.05  # correlation between frames below which errors count as independent
LAGS = 3  # frames that the prior and the error memory reach back
_GRID = 10.0 ** np.arange(-1, 9.01, 0.5)  # candidates for the spectral density, m²/s⁵
_FIT_FRAMES = 600  # length of the stretches that the density is fitted on
_FIT_STRETCHES = 3
_WILD = 16.0  # squared sigmas from which a single-frame point does not count


def jerk_precision(times: FloatArray) -> FloatArray:
    """Prior precision for q = 1 as bands (LAGS + 1, T): entry [l, t] couples frames t and t - l."""
    count = len(times)
    bands = np.zeros((LAGS + 1, count))
    if count <= LAGS:
        return bands
    # 3! times the divided difference is the mean third derivative; white noise averaged over a step h has variance q/h
    columns = []
    for i in range(LAGS + 1):
        others = [times[i : count - LAGS + i] - times[k : count - LAGS + k] for k in range(LAGS + 1) if k != i]
        columns.append(6 / np.prod(others, axis=0))
    step = (times[LAGS:] - times[:-LAGS]) / LAGS
    for i in range(LAGS + 1):
        for k in range(i + 1):
            bands[i - k, i : count - LAGS + i] += step * columns[i] * columns[k]
    return bands


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


def smooth_path(
    points: FloatArray,  # (T, 3) m, NaN where missing
    sigma: FloatArray,  # (T,) m
    times: FloatArray,  # (T,) s
    memory: float,
) -> tuple[FloatArray, float]:
    """Smooth one joint's single-frame points robustly; fit how jerky its motion is and how long its errors last.

    Convention:
        the spectral density is the maximum of the marginal likelihood; wild points lose their weight (Student t).
        Gaps are bridged; before the first and after the last point the path is held.

    Returns:
        (T, 3) path and the density q, m²/s⁵.
    """
    seen = np.isfinite(points).all(axis=-1)
    filled = interpolate(points, times)
    sigma = np.where(seen, sigma, 1.0)
    weight = np.zeros(len(times))
    median = median_filter(points[seen], size=(min(9, int(seen.sum())), 1), mode="mirror")
    away = np.linalg.norm(points[seen] - median, axis=-1)
    weight[seen] = away < 9 * np.median(away) + 3 * sigma[seen]
    density = _GRID[len(_GRID) // 2]
    memory = _fit_memory(filled, weight * seen / sigma**2, times, memory)
    for _ in range(3):
        density = _fit_density(filled, weight * seen / sigma**2, times, memory)
        path = _smooth(filled, weight * seen / sigma**2, times, memory, density)
        delta = ((filled - path) ** 2).sum(axis=-1) / sigma**2
        weight = (delta < _WILD) * 1.0
    inside = np.flatnonzero(seen)
    path = path[np.clip(np.arange(len(times)), inside[0], inside[-1])]
    return path, density


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
    stiffness = (2 * np.sin(frequency / 2)) ** (2 * LAGS) / (step**5 * density)
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


def smooth_known(path: FloatArray, visible: BoolArray, times: FloatArray) -> FloatArray:
    """Bridge the frames of (T, 3) that are not visible by the prior; the others are known to 0.1 mm."""
    precision = np.where(visible, 1e8, 0.0)
    return _smooth(interpolate(np.where(visible[:, None], path, np.nan), times), precision, times, 0.0, 1e2)


def _system(precision: FloatArray, times: FloatArray, memory: float) -> FloatArray:
    present = precision > 0
    bands = memory_precision(present, frame_correlation(times, memory))
    root = np.sqrt(precision)
    for lag in range(LAGS + 1):
        bands[lag, lag:] *= root[lag:] * root[: len(root) - lag]
    return bands


def _multiply(bands: FloatArray, x: FloatArray) -> FloatArray:
    result = bands[0][:, None] * x
    for lag in range(1, LAGS + 1):
        result[lag:] += bands[lag, lag:, None] * x[:-lag]
        result[:-lag] += bands[lag, lag:, None] * x[lag:]
    return result


def _lower(bands: FloatArray) -> FloatArray:
    """LAPACK's lower band storage: column t holds the entries of rows t, t + 1 and so on."""
    lower = np.zeros_like(bands)
    for lag in range(LAGS + 1):
        lower[lag, : max(bands.shape[1] - lag, 0)] = bands[lag, lag:]
    return lower


def _smooth(y: FloatArray, precision: FloatArray, times: FloatArray, memory: float, density: float) -> FloatArray:
    data = _system(precision, times, memory)
    matrix = data + jerk_precision(times) / density
    matrix[0] += 1e-2  # a path without any information stays where it was within 10 m
    right = _multiply(data, y) + 1e-2 * y
    return cho_solve_banded((cholesky_banded(_lower(matrix), lower=True), True), right)


def _fit_density(y: FloatArray, precision: FloatArray, times: FloatArray, memory: float) -> float:
    """Maximise the marginal likelihood of the density over a grid, then a parabola through the best three."""
    cost = _total_evidence(y, precision, times, memory, _GRID)
    best = int(cost.argmin())
    if not cost.any() or best in (0, len(_GRID) - 1):
        return float(_GRID[best] if cost.any() else 1e2)
    below, middle, above = cost[best - 1 : best + 2]
    shift = 0.5 * (below - above) / max(below - 2 * middle + above, 1e-9)
    return float(_GRID[best] * 10 ** (0.5 * np.clip(shift, -1, 1)))


def _fit_memory(y: FloatArray, precision: FloatArray, times: FloatArray, keypoint_memory: float) -> float:
    """Memory of the points' errors: at most the keypoints', less where views come and go."""
    if keypoint_memory < MEMORYLESS:
        return 0.0
    shares = keypoint_memory * np.array([0.0, 0.4, 0.6, 0.75, 0.85, 0.93, 1.0])
    cost = [_total_evidence(y, precision, times, share, _GRID[::2]).min() for share in shares]
    return float(shares[int(np.argmin(cost))])


def _total_evidence(
    y: FloatArray, precision: FloatArray, times: FloatArray, memory: float, grid: FloatArray
) -> FloatArray:
    count = len(times)
    starts = [0] if count <= _FIT_FRAMES else np.linspace(0, count - _FIT_FRAMES, _FIT_STRETCHES).astype(int)
    cost = np.zeros(len(grid))
    for start in starts:
        part = slice(start, start + _FIT_FRAMES)
        if (precision[part] > 0).sum() > 2 * LAGS:
            cost += _evidence(y[part], precision[part], times[part], memory, grid)
    return cost


def _evidence(y: FloatArray, precision: FloatArray, times: FloatArray, memory: float, grid: FloatArray) -> FloatArray:
    """-2 log marginal likelihood for every density of the grid, up to a constant."""
    data, prior = _system(precision, times, memory), jerk_precision(times)
    y = y - y[precision > 0].mean(axis=0)
    right = _multiply(data, y)
    full = np.where(precision > 0, data, 0.0)
    full[0] = np.where(precision > 0, data[0], 1.0)
    constant = -6 * np.log(cholesky_banded(_lower(full), lower=True)[0]).sum() + (right * y).sum()
    cost = np.full(len(grid), constant)
    for index, density in enumerate(grid):
        matrix = data + prior / density
        matrix[0] += 1e-4 * precision.max() / len(times)
        factor = cholesky_banded(_lower(matrix), lower=True)
        fitted = cho_solve_banded((factor, True), right)
        cost[index] += 3 * (len(times) - LAGS) * np.log(density) + 6 * np.log(factor[0]).sum() - (right * fitted).sum()
    return cost


_factorise, _invert_factor = get_lapack_funcs(("potrf", "potri"), dtype=np.float64)


class Blocks(NamedTuple):
    """Some block rows of a symmetric block-tridiagonal system."""

    diagonal: FloatArray  # (K, m, m)
    below: FloatArray  # (K, m, m): couples block k + 1 (rows) with block k (columns); the last may be 0
    right: FloatArray  # (K, m)


class Stretch(NamedTuple):
    """Blocks start … stop - 1 of the solution, and, if asked for, their diagonal blocks of the inverse."""

    start: int
    stop: int
    solution: FloatArray  # (K, m)
    inverse: FloatArray | None  # (K, m, m)


def solve_stretches(
    assemble: Callable[[int, int], Blocks],
    bounds: list[tuple[int, int, int]],
    covariance: bool,
) -> Iterator[Stretch]:
    """Solve a block-tridiagonal system stretch by stretch.

    Everything before a stretch is eliminated exactly; of what follows it, the blocks up to its ``ahead`` are.

    Args:
        assemble: gives block rows start … stop - 1.
        bounds: (start, stop, ahead) per stretch, in blocks, contiguous from 0; ahead >= stop.
        covariance: whether to compute the diagonal blocks of the inverse (Takahashi recursion).

    Yields:
        The stretches in order.
    """
    carried_matrix, carried_right = 0.0, 0.0
    for start, stop, ahead in bounds:
        blocks = assemble(start, ahead)
        pivots, gains, rights = _eliminate(blocks, carried_matrix, carried_right)
        last = stop - start - 1
        carried_matrix = gains[last] @ blocks.below[last].T
        carried_right = gains[last] @ rights[last]
        yield Stretch(start, stop, *_substitute(pivots, gains, rights, last + 1, covariance))


def _eliminate(
    blocks: Blocks, carried_matrix: FloatArray | float, carried_right: FloatArray | float
) -> tuple[list[FloatArray], list[FloatArray], list[FloatArray]]:
    """Inverse pivots, gains E M⁻¹ and right-hand sides after forward elimination."""
    pivots, gains, rights = [], [], []
    matrix, right = blocks.diagonal[0] - carried_matrix, blocks.right[0] - carried_right
    for k in range(len(blocks.diagonal)):
        inverse = _inverse(matrix)
        gain = blocks.below[k] @ inverse
        pivots.append(inverse)
        gains.append(gain)
        rights.append(right)
        if k + 1 < len(blocks.diagonal):
            matrix = blocks.diagonal[k + 1] - gain @ blocks.below[k].T
            right = blocks.right[k + 1] - gain @ right
    return pivots, gains, rights


def _inverse(matrix: FloatArray) -> FloatArray:
    factor, failed = _factorise(matrix, lower=1, clean=0)
    if failed:  # rounding at high frame rates, where the prior's numbers are huge
        matrix = matrix + 1e-12 * np.trace(matrix) / len(matrix) * np.eye(len(matrix))
        factor, failed = _factorise(matrix, lower=1, clean=0)
    if failed:
        raise np.linalg.LinAlgError("a block of the smoothing system is not positive definite")
    inverse, _ = _invert_factor(factor, lower=1)
    return np.asarray(np.tril(inverse) + np.triu(inverse.T, 1), float)


def _substitute(
    pivots: list[FloatArray], gains: list[FloatArray], rights: list[FloatArray], keep: int, covariance: bool
) -> tuple[FloatArray, FloatArray | None]:
    solution, marginal = pivots[-1] @ rights[-1], pivots[-1]
    solutions, marginals = [solution], [marginal]
    for k in range(len(pivots) - 2, -1, -1):
        solution = pivots[k] @ rights[k] - gains[k].T @ solution
        solutions.append(solution)
        if covariance:
            marginal = pivots[k] + gains[k].T @ marginal @ gains[k]
            marginals.append(marginal)
    return np.stack(solutions[::-1][:keep]), np.stack(marginals[::-1][:keep]) if covariance else None
