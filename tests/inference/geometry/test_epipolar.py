"""Epipolar geometry of two calibrated views."""

import numpy as np

from inference.geometry.epipolar import epipolar_distance, essential_matrix, focal_length, homogeneous
from inference.geometry.projection import project, undistort_points
from inference.types import Camera, Intrinsics
from tests.synthetic import make_scene


def test_true_points_lie_on_their_epipolar_lines_and_moved_ones_do_not() -> None:
    scene = make_scene(frames=5, seed=7)
    first, second = scene.rig.cameras[:2]
    x, y = (undistort_points(c.intrinsics, project(c, scene.xyz)) for c in (first, second))
    assert np.nanmax(epipolar_distance(first, second, x, y)) < 1e-6
    sideways = y + np.array([0.0, 10 / second.intrinsics.K[1, 1]])
    assert 3 < np.nanmedian(epipolar_distance(first, second, x, sideways)) < 15


def test_a_stereo_pair_by_hand() -> None:
    """Second camera 1 m to the right, same axes: t = (-1, 0, 0), so E = [[0,0,0],[0,0,1],[0,-1,0]]: rows must agree."""
    lens = Intrinsics("a", (100, 100), np.diag([50.0, 200.0, 1.0]), np.zeros(0), "none")
    first, second = Camera(lens, np.eye(3), np.zeros(3)), Camera(lens, np.eye(3), np.array([-1.0, 0, 0]))
    np.testing.assert_allclose(essential_matrix(first, second), [[0, 0, 0], [0, 0, 1], [0, -1, 0]])
    assert focal_length(first) == 100
    distance = epipolar_distance(first, second, np.array([0.3, 0.2]), np.array([0.1, 0.25]))
    np.testing.assert_allclose(distance, 0.05 * 100)


def test_the_order_of_the_views_does_not_matter() -> None:
    scene = make_scene(frames=3, seed=1)
    first, second = scene.rig.cameras[:2]
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 10, 2))
    np.testing.assert_allclose(essential_matrix(first, second), essential_matrix(second, first).T, atol=1e-12)
    np.testing.assert_allclose(epipolar_distance(first, second, x, y), epipolar_distance(second, first, y, x))
    assert homogeneous(x).shape == (10, 3)


def test_cameras_in_one_place_say_nothing() -> None:
    camera = make_scene(frames=1).rig.cameras[0]
    np.testing.assert_allclose(essential_matrix(camera, camera), 0, atol=1e-12)
