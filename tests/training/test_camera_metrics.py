"""Cameras: errors that were put in come out, and the world's frame does not count."""

from dataclasses import replace

import numpy as np
import pytest

from inference.errors import DegenerateError, ShapeError
from inference.geometry.rotation import exp
from inference.types import Camera
from tests.synthetic import circle_rig
from training.camera_metrics import camera_errors, direction_error_deg, rotation_error_deg

RIG = circle_rig(4).cameras


def moved_world(cameras, turn, scale, shift):
    """The same cameras in another world: X' = scale · turn X + shift."""
    result = []
    for camera in cameras:
        R = camera.R @ turn.T
        result.append(Camera(camera.intrinsics, R, -R @ (scale * turn @ camera.centre + shift)))
    return result


def test_the_world_does_not_count():
    moved = moved_world(RIG, exp(np.array([0.3, 1.0, -2.0])), 1.25, np.array([1.0, 2, 3]))
    found = camera_errors(moved, RIG)
    np.testing.assert_allclose(found.rotation_deg, 0, atol=1e-9)
    np.testing.assert_allclose(found.direction_deg, 0, atol=1e-9)
    np.testing.assert_allclose(found.centre_m, 0, atol=1e-12)
    assert found.scale == pytest.approx(1.25)


def test_a_turned_camera():
    turn = exp(np.deg2rad([0.0, 2.0, 0.0]))
    turned = replace(RIG[2], R=turn @ RIG[2].R, t=turn @ RIG[2].t)  # about its own centre
    found = camera_errors([*RIG[:2], turned, RIG[3]], RIG)
    np.testing.assert_allclose(found.rotation_deg, [0, 2, 0], atol=1e-9)
    np.testing.assert_allclose(found.direction_deg, 0, atol=1e-9)
    np.testing.assert_allclose(found.centre_m, 0, atol=1e-12)


def test_a_shifted_camera():
    centre = RIG[1].centre + [0, 0, 0.1]
    found = camera_errors([RIG[0], replace(RIG[1], t=-RIG[1].R @ centre), *RIG[2:]], RIG)
    assert found.direction_deg[0] > 0.5 and found.direction_deg[1:].max() < 1e-9
    assert 0.02 < found.centre_m[1] < 0.1
    np.testing.assert_allclose(found.rotation_deg, 0, atol=1e-9)


def test_angles_by_hand():
    assert rotation_error_deg(exp(np.array([0, 0, np.pi / 3])), np.eye(3)) == pytest.approx(60)
    directions = np.array([[1.0, 0, 0], [0, 5, 0], [-2, 0, 0], [1, 1e-9, 0], [0, 0, 0]])
    found = direction_error_deg(directions, np.array([1.0, 0, 0]))
    np.testing.assert_allclose(found[:4], [0, 90, 180, np.rad2deg(1e-9)], rtol=1e-9)
    assert np.isnan(found[4])


def test_two_cameras_have_no_error_of_their_centres():
    assert np.isnan(camera_errors(RIG[:2], RIG[:2]).centre_m).all()


def test_one_camera_or_one_place_is_refused():
    for rig in (RIG[:1], [RIG[0], replace(RIG[1], t=-RIG[1].R @ RIG[0].centre)]):
        with pytest.raises(DegenerateError, match="at least two cameras"):
            camera_errors(rig, rig)


def test_cameras_in_another_order_are_refused():
    with pytest.raises(ShapeError, match="different cameras"):
        camera_errors(RIG[::-1], RIG)
