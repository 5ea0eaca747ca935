"""Cubic splines over uneven times: exact values, exact jerk, knots by hand."""

import numpy as np
import pytest

from inference.motion.splines import (
    ORDER,
    choose_knots,
    fitted_coefficients,
    lower_storage,
    response_time,
    spline_basis,
)

TIMES = np.cumsum(np.random.default_rng(1).uniform(0.01, 0.05, 60))


def _dense(bands: np.ndarray) -> np.ndarray:
    matrix = np.diag(bands[0])
    for lag in range(1, ORDER):
        matrix += np.diag(bands[lag, lag:], -lag) + np.diag(bands[lag, lag:], lag)
    return matrix


@pytest.mark.parametrize("spacing", [0.0, 0.1, 10.0])
def test_a_cubic_is_met_exactly_and_its_jerk_too(spacing: float) -> None:
    """t³ has third derivative 6: the prior's cost is 36 times the duration; that of a parabola is 0.

    With a knot at every frame two coefficients more than frames are free, which the ends show.
    """
    spline = spline_basis(TIMES, choose_knots(TIMES, spacing))
    path = np.stack([TIMES**3, 2 - TIMES + TIMES**2], axis=1)
    coefficients = fitted_coefficients(spline, path)
    np.testing.assert_allclose(spline.values(coefficients), path, atol=1e-5)
    np.testing.assert_allclose(spline.design() @ coefficients, spline.values(coefficients), atol=1e-12)
    np.testing.assert_allclose(spline.weight.sum(axis=1), 1)
    if spacing == 0:
        return
    cost = np.einsum("nx,nm,mx->x", coefficients, _dense(spline.jerk), coefficients)
    assert cost[0] == pytest.approx(36 * (TIMES[-1] - TIMES[0]), rel=1e-3)
    assert abs(cost[1]) < 1e-3


def test_knots_by_hand() -> None:
    times = np.array([0.0, 0.1, 0.2, 0.3, 0.9, 1.0, 1.1, 1.15])
    np.testing.assert_allclose(choose_knots(times, 0.2), [0, 0.2, 0.9, 1.15])  # 1.1 is too near to the end
    np.testing.assert_allclose(choose_knots(times, 0.0), times)  # never denser than the frames
    np.testing.assert_allclose(choose_knots(times, 99.0), [0, 1.15])
    np.testing.assert_allclose(choose_knots(times[:1], 0.2), [0, 1])


def test_lower_storage_by_hand() -> None:
    np.testing.assert_array_equal(lower_storage(np.array([[1.0, 2, 3], [0, 4, 5]])), [[1, 2, 3], [4, 5, 0]])


def test_a_quicker_motion_answers_sooner() -> None:
    """64 times the density halves the time: the sixth root; by hand (1e-4 · 0.01 / 1)^(1/6) = 0.1."""
    assert response_time(np.array(0.01), 0.01, np.array(1.0)) == pytest.approx(0.1)
    assert response_time(np.array(0.01), 0.01, np.array(64.0)) == pytest.approx(0.05)
