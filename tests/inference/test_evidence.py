"""Samples as evidence: the views that tell them, and what rests on them is as unsure as they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inference.config import MotionSettings, TriangulationSettings
from inference.evidence import Moments, about, made_views, turn_from_shifts, turn_of_cameras, turned_as_unsure
from inference.geometry.camera_path import before_first_pose, poses_at
from inference.geometry.projection import project
from inference.geometry.rotation import exp
from inference.geometry.triangulation import triangulate
from inference.motion.estimate import estimate_motion
from inference.motion.standing import USUAL_TURN
from inference.types import CameraRig, Flag, Keypoints3D, Reason, SkeletonMotion, SolveReport
from tests.synthetic import SCENES, make_scene, moving_rig, observe


@pytest.fixture(scope="module")
def scene():
    return make_scene(frames=12, cameras=2, fps=30.0, seed=1)


def told_of(scene) -> tuple[Moments, np.ndarray]:
    covariance = np.broadcast_to(0.01 * np.eye(3), (*scene.xyz.shape, 3))
    return Moments(scene.xyz, covariance), np.ones(scene.xyz.shape[:3], bool)


def test_made_views_are_exact_where_the_rig_s_accuracy_is_not_stated(scene) -> None:
    """Zeros for all would say that nobody knows how accurate the made views are either."""
    told, wanted = told_of(scene)
    views = observe(scene, SCENES["white"], seed=2)[:1]
    camera = scene.rig.cameras[0]
    rig, more = made_views(CameraRig((camera,), np.zeros((6, 6))), views, wanted, told)
    assert len(more) == len(rig.cameras) == 2
    sigma = np.sqrt(np.diag(rig.covariance))
    assert sigma[:3] == pytest.approx([5e-4] * 3)
    assert (sigma[6:] == 0).all() and (rig.covariance[:6, 6:] == 0).all()
    # The camera turns about its own centre: what is left of t's error is that of the centre, half a turn at the person.
    centre = np.hstack([-camera.R.T @ cross(camera.t), -camera.R.T]) @ rig.covariance[:6, :6]
    centre = centre @ np.hstack([-camera.R.T @ cross(camera.t), -camera.R.T]).T
    distance = np.median(np.linalg.norm(scene.xyz - camera.centre, axis=-1))
    assert np.sqrt(np.diag(centre)) == pytest.approx([0.5 * 5e-4 * distance] * 3)


def test_cameras_are_as_far_off_as_they_move_the_person(scene) -> None:
    """Cameras drawn from the covariance of made views move the person by what gives back the turn."""
    told, wanted = told_of(scene)
    views = observe(scene, SCENES["white"], seed=2)
    rig, _ = made_views(CameraRig(scene.rig.cameras, np.zeros((12, 12))), views, wanted, told, turn=1e-3)
    rng, shifts = np.random.default_rng(3), []
    for number, camera in enumerate(scene.rig.cameras):
        block = rig.covariance[6 * number : 6 * number + 6, 6 * number : 6 * number + 6]
        for error in rng.multivariate_normal(np.zeros(6), block, size=100):
            own = scene.xyz.reshape(-1, 3) @ camera.R.T
            moved = own @ exp(error[:3]).T + camera.t + error[3:]
            own = own + camera.t
            apart = moved[:, :2] / moved[:, 2:] - own[:, :2] / own[:, 2:]
            shifts.append(np.sqrt((apart**2).sum(axis=-1).mean()))
    assert turn_from_shifts(np.array(shifts)) == pytest.approx(1e-3, rel=0.15)


def test_pixels_of_a_stretched_picture_become_the_angle_that_they_were(scene) -> None:
    """The motion multiplies what is normalised by the geometric mean of both focal lengths: 1000 and 2250 px."""
    camera = scene.rig.cameras[0]
    lens = replace(camera.intrinsics, K=np.diag([1000.0, 2250.0, 1.0]))
    rig = CameraRig((replace(camera, intrinsics=lens),), np.zeros((6, 6)))
    fact = {"view": camera.name, "shift_px": 3.0, "sigma_px": 4.0}
    assert turn_of_cameras([fact], rig) == pytest.approx(turn_from_shifts(np.array([5 / 1500])))
    assert turn_of_cameras([], rig) == USUAL_TURN


def cross(vector: np.ndarray) -> np.ndarray:
    x, y, z = vector
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])


def test_made_views_turn_with_a_camera_that_moves(scene) -> None:
    """They see depth and sideways in its axes at every time, and tell of the samples what is so."""
    rig = moving_rig(CameraRig(scene.rig.cameras[:1], np.zeros((6, 6))), scene.timestamps_s)
    told, wanted = told_of(scene)
    views = observe(replace(scene, rig=rig), SCENES["white"], seed=2)
    made, more = made_views(rig, views, wanted, told)
    assert made.moving == made.names
    axes, seen = (poses_at(camera, scene.timestamps_s)[0] for camera in made.cameras)
    np.testing.assert_allclose(seen[:, 0], axes[:, 2], atol=1e-12)  # its picture's x is the camera's depth
    back = project(made.cameras[1], before_first_pose(made.cameras[1], scene.xyz, scene.timestamps_s))
    own = np.isfinite(more[1].xy)
    np.testing.assert_allclose(more[1].xy[own], back[own], atol=1e-6)


def test_what_is_stated_of_the_cameras_stays(scene) -> None:
    told, wanted = told_of(scene)
    stated = np.diag([1e-3**2] * 3 + [0.01**2] * 3)
    views = observe(scene, SCENES["white"], seed=2)[:1]
    rig, _ = made_views(CameraRig(scene.rig.cameras[:1], stated), views, wanted, told)
    assert np.array_equal(rig.covariance[:6, :6], stated) and not rig.covariance[6:, 6:].any()


def test_half_of_the_square_between_two_estimates_is_the_error_of_one() -> None:
    """Points and sample means that err alike about the truth, by 0.1 m along x: their squares apart are 2 · 0.01."""
    rng = np.random.default_rng(1)
    xyz, mean = 0.1 * rng.standard_normal((2, 100_000, 3)) * [1, 0, 0]
    told = Moments(mean, np.zeros((100_000, 3, 3)))
    assert about(xyz, told)[:, 0, 0].mean() == pytest.approx((xyz[:, 0] ** 2).mean(), rel=0.02)
    assert np.array_equal(about(mean, told), told.covariance)


def test_rotations_are_as_unsure_as_the_joints_that_rest_on_samples(scene) -> None:
    raw = triangulate(scene.rig, observe(scene, SCENES["white"], seed=2), TriangulationSettings())
    views = observe(scene, SCENES["white"], seed=2)
    solved, path = estimate_motion(raw, scene.rig, views, MotionSettings(), SolveReport("dance"))
    wrist = solved.joint_names.index("left_wrist")
    covariance = np.array(solved.covariance)
    covariance[5, 0, wrist] = 0.1**2 * np.eye(3)
    reason = np.array(solved.reason)
    reason[5, 0, wrist] = Reason.HYPOTHESES
    flag = np.where(reason == Reason.HYPOTHESES, int(Flag.WEAK), solved.flag)
    unsure: Keypoints3D = replace(solved, covariance=covariance, reason=reason, flag=flag)
    after: SkeletonMotion = turned_as_unsure(path, unsure, raw.joint_names)
    forearm, thigh = wrist - 1, path.skeleton.bone_names.index("left_thigh")
    sigma = [np.sqrt(np.trace(each.rotation_covariance[5, 0, forearm])) for each in (path, after)]
    # One of two swings is the elbow's; the other turns the upper arm, whose twist the forearm shows.
    assert np.sqrt(sigma[1] ** 2 - sigma[0] ** 2) > 0.9 * 0.1 / path.bone_length[0, forearm]
    np.testing.assert_allclose(
        after.rotation_covariance[5, 0, thigh], path.rotation_covariance[5, 0, thigh], rtol=0.1, atol=1e-5
    )
    np.testing.assert_array_equal(after.rotation_covariance[6:], path.rotation_covariance[6:])
    assert turned_as_unsure(path, solved, raw.joint_names) is path  # nothing rests on samples: nothing changes
