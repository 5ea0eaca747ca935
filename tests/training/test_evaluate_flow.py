import numpy as np
import pytest

from training.evaluate_flow import coverages, same_moments


def test_coverage_of_true_and_of_too_narrow_samples() -> None:
    rng = np.random.default_rng(4)
    truth = rng.normal(size=(60, 29, 3))
    samples = rng.normal(size=(300, 60, 29, 3))
    assert coverages(samples, truth) == pytest.approx([0.5, 0.9, 0.95], abs=0.03)
    assert coverages(0.3 * samples, truth)[1] < 0.5  # negative control


def test_gaussian_of_the_samples_has_their_moments_and_no_more() -> None:
    rng = np.random.default_rng(5)
    samples = np.where(rng.random((400, 1, 1, 1)) < 0.5, -1.0, 1.0) + 0.1 * rng.normal(size=(400, 1, 1, 3))
    gaussian = same_moments(samples, rng)
    assert np.allclose(gaussian.std(axis=0), samples.std(axis=0), rtol=0.1)
    assert (np.abs(gaussian) < 0.5).mean() > 0.3 > (np.abs(samples) < 0.5).mean()  # the two heaps are gone
