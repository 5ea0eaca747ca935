"""Bridges over gaps: the prior's claim, gaps' durations, factors."""

import numpy as np
import pytest
from scipy import sparse
from scipy.linalg import cho_solve_banded, cholesky_banded

from inference.motion.bridging import _MIDDLE, bridge_factors, bridged_covariance, factors_at, gap_lengths
from inference.motion.splines import ORDER, lower_storage, spline_basis


def test_the_claimed_variance_agrees_with_the_spline_prior() -> None:
    times = np.arange(500) / 120
    spline = spline_basis(times, times)
    known = np.where((np.arange(500) >= 100) & (np.arange(500) < 400), 0, 1e9)
    design = spline.design()
    matrix = lower_storage(spline.jerk) / 100.0
    for lag in range(ORDER):
        matrix[lag, : spline.count - lag] += (design.T @ sparse.diags(known) @ design).diagonal(-lag)
    middle = design[250].toarray()[0]
    variance = middle @ cho_solve_banded((cholesky_banded(matrix, lower=True), True), middle)
    assert variance == pytest.approx(100 * (301 / 120) ** 5 * _MIDDLE, rel=0.06)


def test_gap_durations_by_hand() -> None:
    times = np.array([0.0, 1, 2, 4, 5, 6])
    np.testing.assert_allclose(gap_lengths(np.array([0, 0, 1, 1, 0, 0], bool), times), [0, 0, 4, 4, 0, 0])
    np.testing.assert_allclose(gap_lengths(np.array([1, 1, 0, 0, 0, 1], bool), times), [4, 4, 0, 0, 0, 2])
    assert not gap_lengths(np.zeros(6, bool), times).any()


def test_a_motion_smoother_than_the_prior_needs_no_factor_and_a_livelier_one_does() -> None:
    times = np.arange(300) / 60
    wave = np.stack([np.sin(7 * times), np.cos(6 * times), 0 * times], axis=1) * 0.3
    known = np.ones(300, bool)
    both = np.stack([wave, wave], axis=1)
    (lengths, modest), (_, lively) = bridge_factors(both, known[:, None].repeat(2, 1), times, np.array([1e7, 30.0]))
    np.testing.assert_array_equal(modest, 1)
    assert lively[-1] > 5 and (np.diff(lively) >= 0).all()
    assert lengths[0] < 0.1 and lengths[-1] > 0.4


def test_gaps_longer_than_any_tried_are_unknown() -> None:
    factors = factors_at(np.array([0.0, 0.1, 0.4, 9.0]), np.array([0.1, 0.4]), np.array([1.0, 4.0]))
    np.testing.assert_allclose(factors, [1, 1, 4, 1e4])
    np.testing.assert_allclose(factors_at(np.array([0.0, 0.1]), np.zeros(0), np.zeros(0)), [1, 1e4])
    assert bridge_factors(np.zeros((4, 1, 3)), np.ones((4, 1), bool), np.arange(4.0), np.ones(1))[0][0].size == 0


def test_one_view_enlarges_along_its_ray_alone() -> None:
    covariance = np.broadcast_to(np.diag([1.0, 2, 3]), (5, 1, 3, 3))
    views = np.ones((2, 5, 1), bool)
    views[1, 1:4] = False
    rays = np.broadcast_to([0.0, 0, 1], (2, 5, 1, 3))
    factors = [(np.array([0.5, 5.0]), np.array([4.0, 4.0]))]
    single = bridged_covariance(covariance, views, rays, factors, np.arange(5.0))
    np.testing.assert_allclose(single[2, 0], np.diag([1, 2, 12]))
    np.testing.assert_allclose(single[0, 0], np.diag([1, 2, 3]))
    views[:, 1:4] = False
    np.testing.assert_allclose(
        bridged_covariance(covariance, views, rays, factors, np.arange(5.0))[2, 0], np.diag([4, 8, 12])
    )
