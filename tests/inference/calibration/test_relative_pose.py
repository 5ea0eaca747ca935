"""Two views: order of the views, cheirality, the Sampson distance and the guards."""

import cv2
import numpy as np
import pytest

from inference.calibration.relative_pose import relative_pose, sampson, two_view_depths
from inference.errors import ShapeError
from inference.geometry.rotation import exp, log
from inference.shapes import FloatArray

R = exp(np.array([0.1, 1.2, -0.2]))
T = np.array([-0.95, 0.05, 0.3]) / np.linalg.norm([-0.95, 0.05, 0.3])


def rays(count: int = 400, seed: int = 1) -> tuple[FloatArray, FloatArray]:
    rng = np.random.default_rng(seed)
    X = rng.uniform(-0.25, 0.25, (count, 3)) + 0.5 * R.T @ (np.array([0, 0, 1.0]) - T) + np.array([0, 0, 0.5])
    Y = X @ R.T + T
    assert X[:, 2].min() > 0 and Y[:, 2].min() > 0
    return X[:, :2] / X[:, 2:], Y[:, :2] / Y[:, 2:]


def angle_deg(a: FloatArray, b: FloatArray) -> float:
    return float(np.degrees(np.linalg.norm(log(a @ b.T))))


def test_the_second_camera_from_the_first_with_outliers() -> None:
    """A fifth of wild rays; noise 1e-3 of 400 points gives some hundredths of a degree; factor 5."""
    first, second = rays()
    rng = np.random.default_rng(2)
    noisy = second + 1e-3 * rng.normal(size=second.shape)
    wild = rng.random(len(noisy)) < 0.2
    noisy[wild] += 0.3 * rng.normal(size=(wild.sum(), 2))
    found = relative_pose(first, noisy, 1e-3)
    assert found is not None
    assert angle_deg(found.R, R) < 0.5
    assert found.t @ T > 0.999
    assert found.front_share > 0.97
    back = relative_pose(noisy, first, 1e-3)
    assert back is not None
    assert angle_deg(back.R, R.T) < 0.5


def test_depths_by_hand() -> None:
    """The second camera stands one unit to the right; the point at (0.5, 0, 2) is two units deep in both."""
    depth = two_view_depths(np.eye(3), np.array([-1.0, 0, 0]), np.array([[0.25, 0]]), np.array([[-0.25, 0]]))
    np.testing.assert_allclose([depth.first, depth.second], [[2], [2]])
    np.testing.assert_allclose(depth.sine, np.sin(2 * np.arctan(0.25)))


def test_sampson_is_the_distance_for_small_errors() -> None:
    """Sideways cameras: the epipolar lines are rows, so a row off by 1e-4 shows as 1e-4 / sqrt(2)."""
    E = np.cross(np.eye(3), np.array([-1.0, 0, 0]))
    distance = sampson(E, np.array([[0.2, 0.1]]), np.array([[-0.1, 0.1001]]))
    assert abs(distance[0]) == pytest.approx(1e-4 / np.sqrt(2))


def test_points_within_a_few_sigmas_give_nothing() -> None:
    """A poor detector that puts all joints in one place: OpenCV's estimator ends with an assertion of its own."""
    rng = np.random.default_rng(6)
    middles = np.array([[-2.0153929, 2.79686174], [-0.95470513, -4.32996297]])
    spreads = np.array([[1.22772116, 1.60487584], [0.57569017, 1.29806822]])
    first, second = (m + s * rng.normal(size=(60, 2)) for m, s in zip(middles, spreads, strict=True))
    cv2.setRNGSeed(20)
    with pytest.raises(cv2.error):  # if it no longer does, this test has nothing to say
        cv2.findFundamentalMat(first, second, cv2.USAC_MAGSAC, 3.0, 0.999, 2000)
    assert relative_pose(first, second, 1.0) is None


def test_too_few_points_and_noise_give_nothing() -> None:
    first, second = rays(10)
    assert relative_pose(first, second, 1e-3) is None
    with pytest.raises(ShapeError, match="second has shape"):
        relative_pose(first, second[:5], 1e-3)
