"""Bands and block systems against their dense versions."""

import numpy as np
import pytest

from inference.motion.smoothing import (
    LAGS,
    Blocks,
    frame_correlation,
    interpolate,
    jerk_precision,
    memory_precision,
    smooth_path,
    solve_stretches,
    white_surrogate,
)


def _dense(bands: np.ndarray) -> np.ndarray:
    count = bands.shape[1]
    matrix = np.diag(bands[0])
    for lag in range(1, LAGS + 1):
        matrix += np.diag(bands[lag, lag:], -lag) + np.diag(bands[lag, lag:], lag)
    assert matrix.shape == (count, count)
    return matrix


def test_the_prior_leaves_parabolas_alone_at_uneven_times() -> None:
    times = np.cumsum(np.random.default_rng(1).uniform(0.01, 0.05, 30))
    matrix = _dense(jerk_precision(times))
    assert np.abs(matrix @ np.stack([times**0, times, times**2], axis=1)).max() < 1e-5 * np.abs(matrix).max()
    # a cubic t³ has third derivative 6: xᵀPx is 36 · duration, up to the ends
    cubic = times**3
    assert cubic @ matrix @ cubic == pytest.approx(36 * (times[-1] - times[0]), rel=0.15)
    assert not jerk_precision(times[:2]).any()


def test_memory_is_the_inverse_of_the_correlation_matrix() -> None:
    times = np.cumsum(np.random.default_rng(2).uniform(0.8, 1.2, 12)) / 60
    correlation = frame_correlation(times, 0.7)
    step = np.median(np.diff(times))
    full = 0.7 ** (np.abs(np.subtract.outer(times, times)) / step)
    bands = memory_precision(np.ones(12, bool), correlation)
    np.testing.assert_allclose(_dense(bands), np.linalg.inv(full), atol=1e-9)
    present = np.ones(12, bool)
    present[[4, 5, 9]] = False
    some = memory_precision(present, correlation)
    expected = np.linalg.inv(full[np.ix_(present, present)])
    np.testing.assert_allclose(_dense(some)[np.ix_(present, present)], expected, atol=1e-9)
    assert not _dense(some)[~present].any()


def test_no_memory_is_white() -> None:
    bands = memory_precision(np.ones(5, bool), frame_correlation(np.arange(5.0), 0.0))
    np.testing.assert_array_equal(_dense(bands), np.eye(5))


def _random_system(blocks: int = 12, size: int = 4) -> tuple[Blocks, np.ndarray]:
    rng = np.random.default_rng(4)
    dense = np.zeros((blocks * size, blocks * size))
    for k in range(blocks - 1):
        rows = rng.normal(size=(2 * size, 2 * size))
        dense[k * size : (k + 2) * size, k * size : (k + 2) * size] += rows @ rows.T
    dense += 0.1 * np.eye(len(dense))
    cut = dense.reshape(blocks, size, blocks, size).swapaxes(1, 2)
    index = np.arange(blocks)
    below = np.zeros((blocks, size, size))
    below[:-1] = cut[index[1:], index[:-1]]
    return Blocks(cut[index, index], below, rng.normal(size=(blocks, size))), dense


@pytest.mark.parametrize("bounds", [[(0, 12, 12)], [(0, 5, 12), (5, 9, 12), (9, 12, 12)]])
def test_stretches_agree_with_the_dense_solution(bounds: list[tuple[int, int, int]]) -> None:
    system, dense = _random_system()
    stretches = list(solve_stretches(lambda a, b: Blocks(*(part[a:b] for part in system)), bounds, covariance=True))
    solution = np.concatenate([s.solution for s in stretches]).ravel()
    np.testing.assert_allclose(solution, np.linalg.solve(dense, system.right.ravel()), atol=1e-9)
    inverse = np.linalg.inv(dense).reshape(12, 4, 12, 4)
    marginal = np.concatenate([s.inverse for s in stretches if s.inverse is not None])
    np.testing.assert_allclose(marginal, inverse[np.arange(12), :, np.arange(12)], atol=1e-9)


def test_cutting_the_future_off_changes_the_end_only() -> None:
    system, dense = _random_system()
    cut = list(solve_stretches(lambda a, b: Blocks(*(p[a:b] for p in system)), [(0, 5, 6), (5, 12, 12)], False))
    exact = np.linalg.solve(dense, system.right.ravel()).reshape(12, 4)
    assert np.abs(cut[0].solution - exact[:5]).max() > 1e-6  # negative control: too short a look ahead shows
    np.testing.assert_allclose(cut[1].solution, exact[5:], atol=1e-9)


def test_an_indefinite_system_is_refused() -> None:
    system, _ = _random_system()
    bad = system._replace(diagonal=-system.diagonal)
    with pytest.raises(np.linalg.LinAlgError, match="positive definite"):
        list(solve_stretches(lambda a, b: Blocks(*(part[a:b] for part in bad)), [(0, 12, 12)], False))


def test_smooth_path_beats_the_points_and_survives_wild_ones() -> None:
    """Median error over 20 seeds at most half of the points' own, with and without 5 % wild points."""
    times = np.arange(200) / 60
    truth = np.stack([np.sin(4 * times), np.cos(3 * times), 0.3 * times], axis=1)
    shares = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        points = truth + 0.01 * rng.normal(size=truth.shape)
        points[rng.random(200) < 0.05] += 1.0
        points[80:90] = np.nan
        path, _ = smooth_path(points, np.full(200, 0.01), times, 0.0)
        error = np.linalg.norm(path - truth, axis=-1)
        shares.append(np.median(error) / np.nanmedian(np.linalg.norm(points - truth, axis=-1)))
        assert error.max() < 0.05
    assert np.mean(shares) < 0.5


def test_interpolate_by_hand() -> None:
    points = np.array([[np.nan, np.nan], [0.0, 2.0], [np.nan, np.nan], [4.0, 4.0]])
    filled = interpolate(points, np.array([0.0, 1, 2, 5]))
    np.testing.assert_allclose(filled, [[0, 2], [0, 2], [1, 2.5], [4, 4]])
    assert not interpolate(np.full((3, 2), np.nan), np.arange(3.0)).any()


def test_the_surrogate_predicts_the_error_of_smoothing_under_memory() -> None:
    """Dense smoother of 301 frames for white noise κσ² against AR(1) errors and the prior: error in the middle.

    The exact error of that smoother is C (W R W + P/q) C; integral and sum agree within 10 % away from the ends.
    """
    sigma, step, memory, density, frames = 0.01, 1 / 30, 0.8, 50.0, 301
    found = white_surrogate(sigma, step, memory, density)
    prior = _dense(jerk_precision(np.arange(frames) * step)) / density
    white = 1 / (found.scale * sigma**2)
    claimed = np.linalg.inv(prior + white * np.eye(frames))
    lag = np.abs(np.subtract.outer(np.arange(frames), np.arange(frames)))
    error = claimed @ (white**2 * sigma**2 * memory**lag + prior) @ claimed
    middle = frames // 2
    assert found.variance == pytest.approx(error[middle, middle], rel=0.1)
    assert found.honesty == pytest.approx(error[middle, middle] / claimed[middle, middle], rel=0.1)
    assert found.honesty > 1.2 or found.scale > 1.5  # smoothing as if without memory claims too little


def test_the_surrogate_of_errors_without_memory_is_themselves() -> None:
    found = white_surrogate(0.01, 1 / 60, 0.0, 50.0)
    assert (found.scale, found.honesty) == (1.0, 1.0) and 0 < found.variance < 1e-4
