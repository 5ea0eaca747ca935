"""Uncertainty: equal to scipy's densities, coverage of samples that are what they say, and of those that are not."""

import numpy as np
import pytest
from scipy import stats

from inference.errors import DegenerateError, ShapeError
from tests.synthetic import coverage as gaussian_coverage
from training.calibration_metrics import (
    ECE_LEVELS,
    LEVELS,
    anees,
    ause,
    calibration_error,
    coverage,
    ellipsoid_radius,
    nll,
    nll_in_other_unit,
    pit_histogram,
    probability_transform,
    rank_correlation,
    scale_from_covariance,
    sharpness,
    squared_mahalanobis,
)

N = 100_000
INF = float("inf")


def draw(nu=INF, d=3, seed=3, n=N):
    """Errors (n, d) and their own scale matrices (n, d, d), each of another size and orientation."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(n, d, d)) + 2 * np.eye(d)
    white = rng.normal(size=(n, d))
    if np.isfinite(nu):
        white /= np.sqrt(rng.chisquare(nu, size=(n, 1)) / nu)
    return (root @ white[..., None])[..., 0], root @ np.swapaxes(root, -1, -2)


# ---- likelihood ----


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("nu", [1.5, 5.0, INF])
def test_likelihood_is_scipys(d, nu):
    error, scale = draw(nu, d, n=20)
    law = stats.multivariate_normal if np.isinf(nu) else stats.multivariate_t
    extra = {} if np.isinf(nu) else {"df": nu}
    expected = [-law.logpdf(e, np.zeros(d), s, **extra) for e, s in zip(error, scale, strict=True)]
    np.testing.assert_allclose(nll(error, scale, nu), expected)


def test_likelihood_tends_to_the_gaussian():
    error, scale = draw(n=50)
    np.testing.assert_allclose(nll(error, scale, 1e8), nll(error, scale), rtol=1e-5)


@pytest.mark.parametrize("d", [2, 3])
def test_unit_of_the_density(d):
    error, scale = draw(5.0, d, n=20)
    np.testing.assert_allclose(nll(1e3 * error, 1e6 * scale, 5.0), nll_in_other_unit(nll(error, scale, 5.0), d, 1e3))


def test_the_truth_is_the_likeliest():
    error, scale = draw(5.0)
    means = [nll(error, c * scale, 5.0).mean() for c in (0.9, 1.0, 1.1)]
    assert means[1] < min(means[0], means[2])


# ---- coverage ----


def test_radii():
    assert [round(ellipsoid_radius(0.95, d, 5.0), 2) for d in (3, 2)] == [4.03, 3.40]
    assert round(ellipsoid_radius(0.95, 3), 2) == 2.80


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("nu", [3.0, 5.0, INF])
def test_coverage_of_what_is_true(nu, d):
    """Bound: four standard deviations of a share of 100 000 errors."""
    found = coverage(*draw(nu, d), nu)
    assert (np.abs(found - LEVELS) < 4 * np.sqrt(np.multiply(LEVELS, np.subtract(1, LEVELS)) / N)).all()


def test_negative_control_the_gaussian_quantile_does_not_cover_a_student_t():
    error, scale = draw(5.0)
    assert coverage(error, scale, levels=[0.95])[0] == pytest.approx(0.836, abs=0.005)
    assert coverage(error, 5 / 3 * scale, levels=[0.95])[0] == pytest.approx(0.926, abs=0.005)


def test_covariance_becomes_the_scale_matrix():
    error, scale = draw(5.0)
    assert coverage(error, scale_from_covariance(5 / 3 * scale, 5.0), 5.0, [0.95])[0] == pytest.approx(0.95, abs=0.005)
    np.testing.assert_array_equal(scale_from_covariance(scale, INF), scale)


def test_gaussian_coverage_is_that_of_the_synthetic_scenes():
    error, scale = draw(n=500)
    np.testing.assert_allclose(coverage(error, scale, levels=[0.5, 0.9]), gaussian_coverage(error, scale, [0.5, 0.9]))


def test_calibration_error():
    error, scale = draw(5.0)
    assert calibration_error(error, scale, 5.0) < 0.005
    assert calibration_error(error, 0.25 * scale, 5.0) > 0.2  # overconfident
    assert calibration_error(error, 1e9 * scale, 5.0) == pytest.approx(0.5)
    assert len(ECE_LEVELS) == 19


def test_pit_histogram():
    error, scale = draw(5.0)
    np.testing.assert_allclose(pit_histogram(error, scale, 5.0), 0.1, atol=0.005)
    overconfident = pit_histogram(error, 0.25 * scale, 5.0)
    assert overconfident[-1] > 3 * overconfident[0]
    assert overconfident.sum() == pytest.approx(1)


def test_anees_is_the_dimension():
    assert anees(*draw()) == pytest.approx(3, rel=0.02)
    assert anees(*draw(d=2)) == pytest.approx(2, rel=0.02)
    error, scale = draw(10.0)
    assert anees(error, 10 / 8 * scale) == pytest.approx(3, rel=0.03)
    assert anees(error, scale) == pytest.approx(3 * 10 / 8, rel=0.03)  # the scale matrix is not the covariance


def test_sharpness_by_hand():
    assert sharpness(np.diag([1.0, 4.0, 16.0])) == pytest.approx(2.0)
    assert sharpness(np.diag([4.0, 9.0])) == pytest.approx(np.sqrt(6))
    assert np.isnan(sharpness(np.zeros((3, 3))))


# ---- sorting ----


def test_sorting_by_hand():
    error = np.array([[1.0, 0, 0], [3.0, 0, 0]])
    scale = np.array([1.0, 4.0])[:, None, None] * np.eye(3)
    assert ause(error, scale, steps=2) == 0
    # Half left out: the larger error stays (3) instead of the smaller (1), over the mean 2; averaged over 2 shares.
    assert ause(error, scale[::-1], steps=2) == pytest.approx((3 - 1) / 2 / 2)
    assert rank_correlation(error, scale) == pytest.approx(1)
    assert rank_correlation(error, scale[::-1]) == pytest.approx(-1)


def test_sorting_tells_knowledge_from_none():
    error, scale = draw()
    rng = np.random.default_rng(1)
    shuffled = scale[rng.permutation(N)]
    assert ause(error, scale) < 0.8 * ause(error, shuffled)
    assert rank_correlation(error, scale) > 0.1 > 0.02 > abs(rank_correlation(error, shuffled))
    expected = stats.spearmanr(np.linalg.norm(error, axis=1), np.trace(scale, axis1=1, axis2=2)).statistic
    assert rank_correlation(error, scale) == pytest.approx(expected)


# ---- missing, degenerate, wrong ----


def test_missing_rows_are_left_out():
    error, scale = draw(n=100)
    with_gaps, gaps = error.copy(), scale.copy()
    with_gaps[10], gaps[20] = np.nan, np.nan
    kept = np.delete(np.arange(100), [10, 20])
    assert np.flatnonzero(np.isnan(nll(with_gaps, gaps))).tolist() == [10, 20]
    for measure in (coverage, pit_histogram, anees, calibration_error, ause, rank_correlation):
        np.testing.assert_allclose(measure(with_gaps, gaps), measure(error[kept], scale[kept]))


def test_nothing_is_nan():
    error, scale = np.full((4, 3), np.nan), np.full((4, 3, 3), np.nan)
    for measure in (coverage, pit_histogram, anees, calibration_error, ause, rank_correlation, sharpness):
        if measure is sharpness:
            assert np.isnan(measure(scale)).all()
        else:
            assert np.isnan(measure(error, scale)).all()


def test_leading_axes_and_one_matrix_for_all():
    error, scale = draw(n=24)
    assert nll(error.reshape(2, 3, 4, 3), scale.reshape(2, 3, 4, 3, 3)).shape == (2, 3, 4)
    assert probability_transform(error, np.eye(3)).shape == (24,)


def test_a_matrix_that_states_nothing_is_named():
    scale = np.tile(np.eye(3), (4, 1, 1))
    scale[2, 0, 0] = -1
    with pytest.raises(DegenerateError, match=r"matrix at \(2,\) is not positive definite"):
        squared_mahalanobis(np.zeros((4, 3)), scale)


def test_refusals():
    with pytest.raises(ShapeError, match="scale has shape"):
        nll(np.zeros((4, 3)), np.eye(2))
    with pytest.raises(ShapeError, match="nu is 2"):
        scale_from_covariance(np.eye(3), 2.0)
