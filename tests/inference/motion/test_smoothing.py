"""Bands against their dense versions, and smoothing of single paths."""

import numpy as np
import pytest

from inference.motion.smoothing import (
    LAGS,
    frame_correlation,
    interpolate,
    memory_precision,
    smooth_paths,
    white_surrogate,
)
from inference.motion.splines import spline_basis


def _dense(bands: np.ndarray) -> np.ndarray:
    count = bands.shape[1]
    matrix = np.diag(bands[0])
    for lag in range(1, LAGS + 1):
        matrix += np.diag(bands[lag, lag:], -lag) + np.diag(bands[lag, lag:], lag)
    assert matrix.shape == (count, count)
    return matrix


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


def test_smooth_paths_beat_the_points_and_survives_wild_ones() -> None:
    """Median error over 20 seeds at most half of the points' own, with and without 5 % wild points."""
    times = np.arange(200) / 60
    truth = np.stack([np.sin(4 * times), np.cos(3 * times), 0.3 * times], axis=1)
    shares = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        points = truth + 0.01 * rng.normal(size=truth.shape)
        points[rng.random(200) < 0.05] += 1.0
        points[80:90] = np.nan
        path, _ = smooth_paths(points[:, None], np.full((200, 1), 0.01), times, 0.0)
        error = np.linalg.norm(path[:, 0] - truth, axis=-1)
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

    The exact error of its coefficients is C (WᵀRW/κ²σ⁴ + P/q) C; integral and sum agree within 10 % away from the ends.
    """
    sigma, step, memory, density, frames = 0.01, 1 / 30, 0.8, 50.0, 301
    found = white_surrogate(sigma, step, memory, density)
    times = np.arange(frames) * step
    spline = spline_basis(times, times)
    design = spline.design().toarray()
    coefficients = _dense(spline.jerk) / density
    white = 1 / (found.scale * sigma**2)
    inverse = np.linalg.inv(coefficients + white * design.T @ design)
    lag = np.abs(np.subtract.outer(np.arange(frames), np.arange(frames)))
    noise = white**2 * sigma**2 * design.T @ memory**lag @ design
    claimed = design @ inverse @ design.T
    error = design @ inverse @ (noise + coefficients) @ inverse @ design.T
    middle = frames // 2
    assert found.variance == pytest.approx(error[middle, middle], rel=0.1)
    assert found.honesty == pytest.approx(error[middle, middle] / claimed[middle, middle], rel=0.1)
    assert found.honesty > 1.2 or found.scale > 1.5  # smoothing as if without memory claims too little


def test_the_surrogate_of_errors_without_memory_is_themselves() -> None:
    found = white_surrogate(0.01, 1 / 60, 0.0, 50.0)
    assert (found.scale, found.honesty) == (1.0, 1.0) and 0 < found.variance < 1e-4
