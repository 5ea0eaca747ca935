import numpy as np
import pytest

from training.evaluate_flow import coverages


def test_coverage_of_true_and_of_too_narrow_samples() -> None:
    rng = np.random.default_rng(4)
    truth = rng.normal(size=(60, 29, 3))
    samples = rng.normal(size=(300, 60, 29, 3))
    assert coverages(samples, truth) == pytest.approx([0.5, 0.9, 0.95], abs=0.03)
    assert coverages(0.3 * samples, truth)[1] < 0.5  # negative control
