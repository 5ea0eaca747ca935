"""Movement: theory on white noise, bones by hand."""

import numpy as np
import pytest

from inference.report.judges import jitter
from inference.types import Keypoints3D
from training.animation_metrics import bone_length_cv, mean_third_difference


def joints_of(xyz):
    t, p, j = xyz.shape[:3]
    covariance = np.where(np.isfinite(xyz).all(-1)[..., None, None], np.eye(3) * 1e-4, np.nan)
    flag = np.zeros((t, p, j), dtype=np.int8)
    return Keypoints3D(("a", "b")[:j], np.arange(t) / 50, xyz, covariance, flag)


def test_third_difference_of_white_noise():
    """σ·√20·√(8/π) per joint, bound 3 %; a cubic's worth of motion below it cancels exactly."""
    rng = np.random.default_rng(9)
    noise = joints_of(0.01 * rng.normal(size=(20_000, 1, 1, 3)))
    assert mean_third_difference(noise)[0, 0] == pytest.approx(0.01 * np.sqrt(20 * 8 / np.pi), rel=0.03)
    assert jitter(noise)[0, 0] == pytest.approx(0.01, rel=0.03)
    smooth = np.repeat((np.arange(10.0) ** 2)[:, None, None, None], 3, axis=-1)
    np.testing.assert_allclose(mean_third_difference(joints_of(smooth)), 0, atol=1e-12)


def test_third_difference_by_hand_and_gaps():
    xyz = np.zeros((6, 1, 1, 3))
    xyz[3, 0, 0, 0] = 1.0  # third differences 1, -3, 3
    assert mean_third_difference(joints_of(xyz))[0, 0] == pytest.approx(7 / 3)
    xyz[2] = np.nan
    assert np.isnan(mean_third_difference(joints_of(xyz))).all()


def test_coefficient_of_variation_by_hand():
    xyz = np.zeros((2, 1, 2, 3))
    xyz[:, 0, 1, 2] = [1.0, 3.0]
    found = bone_length_cv(joints_of(xyz), [("a", "b"), ("a", "c")])
    assert found[0, 0] == pytest.approx(np.sqrt(2) / 2)
    assert np.isnan(found[0, 1])
