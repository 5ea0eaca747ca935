"""From heatmaps to a sub-pixel mean and a 2×2 covariance, by a batched windowed Gaussian fit.

The one fit of the project. A solve reads heatmaps through it (`heatmap_decoder`, `blazepose`), and so does training
wherever it looks at heatmaps: teachers and judged cards run as in a solve, and the condition of the paper's flow, which
is drawn, is what this fit finds in the heatmaps that it stands for (tests/training/test_paper_flow.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..shapes import BoolArray, FloatArray, IntArray, check_shapes

_START_SIGMA = (0.4, 6.0)  # cells; limits of the start that the moments give
_SIGMA = (0.25, 40.0)  # cells; limits of the fit
_ENOUGH = 1e-3  # step, cells, at which the fit stops
_SECOND_PEAK = 0.25  # of the first peak's height, above which a second one counts
_NOISE = 0.1  # of the peak's height; values further below zero than this count as this
_MAX_BYTES = 64 * 2**20  # of one block's arrays, so that many maps do not need much memory


@dataclass(frozen=True, eq=False)
class GaussianFit:
    """Gaussians fitted to N maps, in cells; NaN and score 0 where a map holds no peak."""

    mean: FloatArray  # (N, 2) x, y
    covariance: FloatArray  # (N, 2, 2)
    score: FloatArray  # (N,) height of the peak, 0–1


def fit_gaussians(
    maps: FloatArray,  # (N, h, w)
    radius: int = 6,
    iterations: int = 8,
    min_peak: float = 0.02,
) -> GaussianFit:
    """Fit ``A exp(-½ |M (x - μ)|²)`` to a window around the highest cell of each map.

    M is upper triangular with a positive diagonal, so the covariance ``(MᵀM)⁻¹`` is positive definite
    whatever the fit does, and needs no angle that wraps. Damped Gauss-Newton (Levenberg-Marquardt; Nocedal
    & Wright 2006, section 10.3), all maps at once, started from the moments of the window above a third of
    its peak. A second peak outside the window, at d from the first and with share w of both heights, adds
    ``w d dᵀ``: the spread about the first peak of the mixture of both.

    Convention:
        cells, x to the right, y down, the centre of the first cell is (0, 0). A map that is flat, not finite,
        lower than min_peak, or whose fit leaves its window is unobserved: NaN, score 0; one cell that is not finite
        is enough.

    Args:
        maps: heatmaps, peaks up to about 1; negative values count down to a tenth of the peak.
        radius: of the window, cells.
        iterations: of the fit.
        min_peak: lowest height that counts as a peak.

    Returns:
        Mean, covariance and score of each map.
    """
    check_shapes(maps=(maps, "N h w"))
    block = max(1, _MAX_BYTES // (8 * 8 * (2 * radius + 1) ** 2))
    parts = [
        _fit_block(np.asarray(maps[start : start + block]), radius, iterations, min_peak)
        for start in range(0, max(len(maps), 1), block)
    ]
    return GaussianFit(
        np.concatenate([part.mean for part in parts]),
        np.concatenate([part.covariance for part in parts]),
        np.concatenate([part.score for part in parts]),
    )


def _fit_block(maps: FloatArray, radius: int, iterations: int, min_peak: float) -> GaussianFit:
    count, rows, width = maps.shape
    flat = maps.reshape(count, rows * width)
    with np.errstate(invalid="ignore", over="ignore"):
        total = flat.sum(axis=1)
    finite = np.isfinite(total)  # one cell that is not finite is enough; a second pass over all cells is not needed
    if not finite.all():
        maps = np.where(finite[:, None, None], maps, 0.0)
        flat = maps.reshape(count, rows * width)
    first = flat.argmax(axis=1)
    peak = np.stack([first % width, first // width], axis=1)
    height = flat[np.arange(count), first] if count else np.zeros(0)
    has_peak = finite & (height > min_peak) & (height > 1.02 * np.where(finite, total, 0.0) / (rows * width))
    window, inside, grid = _windows(maps, peak, radius)
    parameters = _start(window, grid, height)
    parameters = _gauss_newton(parameters, window, inside, grid, iterations)
    mean, covariance = _mean_covariance(parameters)
    covariance += _second_peak(maps, peak, radius, parameters)
    amplitude = np.exp(parameters[:, 0])
    good = (
        has_peak
        & np.isfinite(parameters).all(axis=1)
        & (np.abs(mean).max(axis=1, initial=0.0) <= radius / 2)
        & (amplitude < 4 * np.maximum(height, min_peak))
    )
    return GaussianFit(
        np.where(good[:, None], mean + peak, np.nan),
        np.where(good[:, None, None], covariance, np.nan),
        np.where(good, np.minimum(height, 1.0), 0.0),
    )


def _windows(maps: FloatArray, peak: IntArray, radius: int) -> tuple[FloatArray, BoolArray, FloatArray]:
    """Cut (N, K) windows around the peaks; cells outside of the map are False in ``inside`` and 0."""
    offsets = np.arange(-radius, radius + 1)
    grid = np.stack(np.meshgrid(offsets, offsets), axis=-1).reshape(-1, 2)
    cells, inside = _window_cells(maps.shape, peak, radius)
    window = maps.reshape(-1)[cells]
    # Noise goes below zero as often as above: cut there, it would widen the fit.
    window = np.maximum(window, -_NOISE * window.max(axis=1, initial=0.0, keepdims=True)).astype(np.float32)
    window *= inside
    return window, inside, grid.astype(np.float32)


def _window_cells(shape: tuple[int, ...], peak: IntArray, radius: int) -> tuple[IntArray, BoolArray]:
    """Return (N, K) places of the window's cells in the flattened maps, cut at the border, and which are inside."""
    count, rows, columns = shape
    offsets = np.arange(-radius, radius + 1)
    x, y = peak[:, :1] + offsets, peak[:, 1:] + offsets
    inside = ((y >= 0) & (y < rows))[:, :, None] & ((x >= 0) & (x < columns))[:, None, :]
    x, y = np.clip(x, 0, columns - 1), np.clip(y, 0, rows - 1)
    first = (np.arange(count) * rows * columns)[:, None, None]
    cells = first + y[:, :, None] * columns + x[:, None, :]
    size = len(offsets) ** 2
    return cells.reshape(count, size), inside.reshape(count, size)


def _start(window: FloatArray, grid: FloatArray, height: FloatArray) -> FloatArray:
    """Return (N, 6) start values: log A, mean x, mean y, log m11, m12, log m22."""
    weight = np.maximum(window - height[:, None] / 3, 0.0)
    total = np.maximum(weight.sum(axis=1), 1e-12)[:, None]
    mean = weight @ grid / total
    away = grid - mean[:, None]
    variance = np.einsum("nk,nki->ni", weight, away**2) / total
    # Cutting a Gaussian at a third of its height and subtracting the cut leaves 0.39 of its variance.
    sigma = np.clip(np.sqrt(variance / 0.39), *_START_SIGMA)
    start = np.zeros((len(window), 6))
    start[:, 0] = np.log(np.maximum(height, 1e-12))
    start[:, 1:3] = mean
    start[:, 3], start[:, 5] = -np.log(sigma[:, 0]), -np.log(sigma[:, 1])
    return start


def _log_coefficients(parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return θ (N, 6) with ``log model = θ · (1, x, y, x², xy, y²)`` and its derivative (N, 6, 6)."""
    x, y = parameters[:, 1], parameters[:, 2]
    m11, m12, m22 = np.exp(parameters[:, 3]), parameters[:, 4], np.exp(parameters[:, 5])
    zero = np.zeros_like(x)
    q11, q12, q22 = m11 * m11, m11 * m12, m12 * m12 + m22 * m22
    theta = _quadratic(x, y, np.asarray([q11, q12, q22], dtype=float))
    derivative = np.zeros((len(parameters), 6, 6))
    derivative[:, 0, 0] = 1.0
    derivative[:, 0, 1:3] = -theta[:, 1:3]
    derivative[:, 1:3, 1] = np.stack([q11, q12], axis=1)
    derivative[:, 1:3, 2] = np.stack([q12, q22], axis=1)
    derivative[:, :, 3] = _quadratic(x, y, np.asarray([2 * q11, q12, zero], dtype=float))
    derivative[:, :, 4] = _quadratic(x, y, np.asarray([zero, m11, 2 * m12], dtype=float))
    derivative[:, :, 5] = _quadratic(x, y, np.asarray([zero, zero, 2 * m22 * m22], dtype=float))
    theta[:, 0] += parameters[:, 0]
    return theta, derivative


def _quadratic(x: FloatArray, y: FloatArray, q: FloatArray) -> FloatArray:
    """Return (N, 6) coefficients of ``-½ (p - μ)ᵀ Q (p - μ)`` for μ = (x, y) and Q = ((q0, q1), (q1, q2))."""
    qx, qy = q[0] * x + q[1] * y, q[1] * x + q[2] * y
    return np.stack([-0.5 * (x * qx + y * qy), qx, qy, -0.5 * q[0], -q[1], -0.5 * q[2]], axis=1)


def _gauss_newton(
    parameters: FloatArray, window: FloatArray, inside: BoolArray, grid: FloatArray, iterations: int
) -> FloatArray:
    """Fit all windows at once. In θ every Jacobian row is model · (1, x, y, x², xy, y²): one product for all maps."""
    x, y = grid.T  # single precision halves the time and costs 1e-5 cells
    basis = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
    pairs = (basis[:, :, None] * basis[:, None, :]).reshape(-1, 36)

    def evaluate(trial: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        theta, derivative = _log_coefficients(trial)
        model = theta.astype(np.float32) @ basis.T
        model = np.exp(np.minimum(model, 30.0, out=model), out=model)
        model *= inside
        residual = window - model
        return model, np.einsum("nk,nk->n", residual, residual), derivative

    damping = np.full(len(parameters), 1e-3)
    model, cost, derivative = evaluate(parameters)
    for _ in range(iterations):
        normal = np.swapaxes(derivative, 1, 2) @ ((model * model) @ pairs).reshape(-1, 6, 6) @ derivative
        gradient = ((model * (window - model)) @ basis)[:, None, :] @ derivative
        diagonal = np.einsum("nii->ni", normal)
        diagonal *= 1 + damping[:, None]
        diagonal += 1e-9 * (1e-6 + diagonal.max(axis=1, keepdims=True))
        step = np.linalg.solve(normal, gradient[:, 0, :, None])[..., 0]
        trial = _limited(parameters + np.clip(step, -2.0, 2.0))
        trial_model, trial_cost, trial_derivative = evaluate(trial)
        better = trial_cost <= cost
        damping = np.where(better, damping * 0.2, damping * 10)
        parameters = np.where(better[:, None], trial, parameters)
        model, cost = np.where(better[:, None], trial_model, model), np.where(better, trial_cost, cost)
        derivative = np.where(better[:, None, None], trial_derivative, derivative)
        if np.abs(step).max(initial=0.0) < _ENOUGH:
            break
    return parameters


def _limited(parameters: FloatArray) -> FloatArray:
    limits = -np.log(_SIGMA[1]), -np.log(_SIGMA[0])
    parameters[:, 3] = np.clip(parameters[:, 3], *limits)
    parameters[:, 5] = np.clip(parameters[:, 5], *limits)
    parameters[:, 4] = np.clip(parameters[:, 4], -4.0, 4.0)
    return parameters


def _mean_covariance(parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return mean (N, 2) in the window and covariance (MᵀM)⁻¹ (N, 2, 2), from M's inverse in closed form."""
    m11, m12, m22 = np.exp(parameters[:, 3]), parameters[:, 4], np.exp(parameters[:, 5])
    inverse = np.zeros((len(parameters), 2, 2))
    inverse[:, 0, 0], inverse[:, 1, 1] = 1 / m11, 1 / m22
    inverse[:, 0, 1] = -m12 / (m11 * m22)
    return parameters[:, 1:3], inverse @ np.swapaxes(inverse, 1, 2)


def _second_peak(maps: FloatArray, peak: IntArray, radius: int, parameters: FloatArray) -> FloatArray:
    """Return (N, 2, 2) what a second peak outside the window adds to the covariance."""
    count, rows, columns = maps.shape
    rest = maps.reshape(-1).copy()
    rest[_window_cells(maps.shape, peak, radius)[0]] = 0.0  # cells cut at the border lie in the window too
    rest = rest.reshape(count, rows * columns)
    second = rest.argmax(axis=1)
    away = np.stack([second % columns, second // columns], axis=1) - peak - parameters[:, 1:3]
    m11, m12, m22 = np.exp(parameters[:, 3]), parameters[:, 4], np.exp(parameters[:, 5])
    z1, z2 = m11 * away[:, 0] + m12 * away[:, 1], m22 * away[:, 1]
    first_height = np.maximum(np.exp(parameters[:, 0]), 1e-12)
    height = rest[np.arange(count), second] - first_height * np.exp(-0.5 * (z1**2 + z2**2))
    height = np.where(height > _SECOND_PEAK * first_height, height, 0.0)
    share = height / (height + first_height)
    return share[:, None, None] * away[:, :, None] * away[:, None, :]
