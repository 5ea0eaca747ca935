"""Lenses against OpenCV, derivatives against differences, inverses against the forward pass."""

import cv2
import numpy as np
import pytest

from inference.errors import ShapeError
from inference.geometry.projection import (
    distort_jacobian,
    distort_points,
    project,
    project_jacobian,
    projection_matrix,
    undistort_points,
)
from inference.geometry.rotation import exp
from inference.types import Camera, Intrinsics

K = np.array([[1400.0, 0, 955], [0, 1390, 545], [0, 0, 1]])
LENSES = {
    "none": ("none", []),
    "bench": ("opencv", [-0.11, 0, 0, 0]),
    "five": ("opencv", [-0.21, 0.09, 0.001, -0.0007, -0.02]),
    "webcam": ("opencv", [0.115, -0.28, 0.0011, -0.0015, 0.19]),
    "rational": ("opencv", [0.4, -0.1, 0.001, 0.0005, 0.02, 0.5, 0.05, 0.001]),
    "prism": ("opencv", [-0.1, 0.02, 0.001, 0.0005, 0, 0, 0, 0, 0.001, -0.002, 0.0015, 0.001]),
    "tilt": ("opencv", [-0.1, 0.02, 0.001, 0.0005, 0, 0, 0, 0, 0.001, 0, 0, 0.001, 0.02, -0.03]),
    "fisheye": ("fisheye", [0.05, -0.01, 0.003, -0.001]),
}


def _camera(lens: str) -> Camera:
    model, coefficients = LENSES[lens]
    intrinsics = Intrinsics("a", (1920, 1080), K, np.array(coefficients), model)
    return Camera(intrinsics, exp(np.array([1.2, 0.3, -0.4])), np.array([0.1, -0.2, 4.0]))


def _points(count: int = 200) -> np.ndarray:
    return np.random.default_rng(7).uniform(-0.9, 0.9, (count, 3))


@pytest.mark.parametrize("lens", LENSES)
def test_project_agrees_with_opencv(lens: str) -> None:
    camera, points = _camera(lens), _points()
    rotation = cv2.Rodrigues(camera.R)[0]
    if lens == "fisheye":
        expected = cv2.fisheye.projectPoints(points[:, None], rotation, camera.t, K, camera.intrinsics.distortion)[0]
    else:
        expected = cv2.projectPoints(points, rotation, camera.t, K, camera.intrinsics.distortion)[0]
    np.testing.assert_allclose(project(camera, points), expected[:, 0], atol=1e-8)


@pytest.mark.parametrize("lens", LENSES)
def test_jacobian_agrees_with_central_differences(lens: str) -> None:
    camera, points = _camera(lens), _points()
    pixels, jacobian = project_jacobian(camera, points)
    np.testing.assert_allclose(pixels, project(camera, points))
    step = 1e-5
    for axis in range(3):
        shift = step * np.eye(3)[axis]
        expected = (project(camera, points + shift) - project(camera, points - shift)) / (2 * step)
        np.testing.assert_allclose(jacobian[..., axis], expected, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("lens", LENSES)
def test_undistort_is_the_inverse_over_the_whole_picture(lens: str) -> None:
    intrinsics = _camera(lens).intrinsics
    pixels = np.stack(np.meshgrid(np.linspace(0, 1919, 40), np.linspace(0, 1079, 30)), axis=-1)
    back = distort_points(intrinsics, undistort_points(intrinsics, pixels))
    assert np.abs(back - pixels).max() < 1e-6


def test_distort_jacobian_at_the_centre_of_a_fisheye() -> None:
    slopes = distort_jacobian(_camera("fisheye").intrinsics, np.zeros((1, 2)))
    np.testing.assert_allclose(slopes[0], K[:2, :2])


def test_a_point_computed_by_hand() -> None:
    intrinsics = Intrinsics("a", (1920, 1080), K, np.array([-0.1, 0, 0, 0]))
    camera = Camera(intrinsics, np.eye(3), np.zeros(3))
    # x/z = 0.5, r2 = 0.25, radial = 1 - 0.1 * 0.25 = 0.975
    np.testing.assert_allclose(project(camera, np.array([1.0, 0, 2])), [955 + 1400 * 0.5 * 0.975, 545])
    np.testing.assert_allclose(projection_matrix(camera) @ [1, 0, 2, 1], [1400 + 1910, 1090, 2])


def test_behind_the_camera_is_missing() -> None:
    camera = Camera(_camera("bench").intrinsics, np.eye(3), np.zeros(3))
    assert np.isnan(project(camera, np.array([[0.1, 0, -2], [0, 0, 0]]))).all()
    assert np.isnan(project_jacobian(camera, np.array([0.1, 0, -2]))[1]).all()


def test_outside_the_one_to_one_range_is_missing() -> None:
    # r (1 - 0.11 r^2) turns back at r = sqrt(1 / 0.33) = 1.741, where it reaches 1.1605
    intrinsics = _camera("bench").intrinsics
    assert np.isfinite(distort_points(intrinsics, np.array([1.73, 0]))).all()
    assert np.isnan(distort_points(intrinsics, np.array([1.75, 0]))).all()
    assert np.isfinite(undistort_points(intrinsics, np.array([955 + 1400 * 1.16, 545]))).all()
    assert np.isnan(undistort_points(intrinsics, np.array([955 + 1400 * 1.17, 545]))).all()
    fisheye = Intrinsics("f", (1920, 1080), K, np.array([-0.2, 0, 0, 0]), "fisheye")
    assert np.isnan(undistort_points(fisheye, np.array([955 + 1400 * 1.2, 545]))).all()


def test_missing_stays_missing() -> None:
    for lens in ("none", "bench", "fisheye"):
        pixels = np.array([[np.nan, np.nan], [700.0, 300.0]])
        assert np.isnan(undistort_points(_camera(lens).intrinsics, pixels)).all(axis=-1).tolist() == [True, False]


def test_wrong_shape_is_refused() -> None:
    with pytest.raises(ShapeError, match="points"):
        project(_camera("bench"), np.zeros((4, 2)))
    with pytest.raises(ShapeError, match="pixels"):
        undistort_points(_camera("bench").intrinsics, np.zeros((4, 3)))
