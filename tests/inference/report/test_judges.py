"""The judges against values computed by hand and against exact scenes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inference.config import TriangulationSettings
from inference.errors import ShapeError
from inference.report import judges
from inference.types import CameraPath, Flag, Keypoints2D, Keypoints3D
from tests import synthetic

UP = np.array([0.0, 0.0, 1.0])


def layer(xyz: np.ndarray, fps: float = 10.0, names: tuple[str, ...] | None = None) -> Keypoints3D:
    """Joints (T, J, 3) of one person."""
    xyz = np.asarray(xyz, dtype=float)[:, None]
    covariance = np.broadcast_to(1e-4 * np.eye(3), (*xyz.shape, 3)).copy()
    flag = np.where(np.isfinite(xyz).all(-1), Flag.OBSERVED, Flag.UNOBSERVED)
    covariance[flag == Flag.UNOBSERVED] = np.nan
    names = names or tuple(f"joint_{j}" for j in range(xyz.shape[2]))
    return Keypoints3D(names, np.arange(len(xyz)) / fps, xyz, covariance, flag)


def exact_scene(frames: int = 6) -> tuple[synthetic.Scene, tuple[Keypoints2D, ...], Keypoints3D]:
    scene = synthetic.make_scene(frames=frames, seed=1)
    noise = replace(synthetic.BASE, sigma_px=1e-9, outliers=0, missing=0, swaps=0, stated_sigma_px=1.0)
    return scene, synthetic.observe(scene, noise, 2), layer(scene.xyz[:, 0], 60.0, scene.joint_names)


def test_exact_joints_reproject_exactly() -> None:
    scene, views, joints = exact_scene()
    errors = judges.reprojection_errors(scene.rig, joints, views)
    assert errors.shape == (4, 6, 1, 17)
    assert np.nanmax(errors) < 1e-6


def test_a_keypoint_moved_by_3_and_4_pixels_is_5_pixels_off_in_its_view_alone() -> None:
    scene, views, joints = exact_scene()
    xy = views[2].xy.copy()
    xy[4, 0, 9] += (3, 4)
    moved = [replace(view, xy=xy) if view is views[2] else view for view in views]
    errors = judges.reprojection_errors(scene.rig, joints, moved)
    assert errors[2, 4, 0, 9] == pytest.approx(5.0, abs=1e-6)
    errors[2, 4, 0, 9] = 0
    assert np.nanmax(errors) < 1e-6


def test_joints_are_matched_by_name_and_others_are_nan() -> None:
    scene, views, joints = exact_scene()
    order = [3, 0, 5]
    some = layer(scene.xyz[:, 0, order], 60.0, tuple(scene.joint_names[j] for j in order))
    other = replace(some, joint_names=("spine_end", *some.joint_names[1:]))
    assert np.nanmax(judges.reprojection_errors(scene.rig, some, views)) < 1e-6
    errors = judges.reprojection_errors(scene.rig, other, views)
    assert np.isnan(errors[..., 0]).all() and np.isfinite(errors[..., 1:]).any()


def test_views_on_other_times_are_refused() -> None:
    scene, views, joints = exact_scene()
    short = layer(scene.xyz[:4, 0], 60.0, scene.joint_names)
    with pytest.raises(ShapeError):
        judges.reprojection_errors(scene.rig, short, views)


def test_leaving_a_view_out_finds_the_camera_that_is_turned() -> None:
    scene, views, _ = exact_scene()
    good = judges.leave_one_out_errors(scene.rig, views, TriangulationSettings())
    assert np.nanmedian(good) < 1e-3
    turned = synthetic.disturbed_rig(scene.rig, 1.0, 0.0, seed=4)
    cameras = (turned.cameras[0], *scene.rig.cameras[1:])
    bad = judges.leave_one_out_errors(replace(scene.rig, cameras=cameras), views, TriangulationSettings())
    per_view = np.nanmedian(bad, axis=(1, 2, 3))
    assert per_view.argmax() == 0 and per_view[0] > 5


def test_two_views_leave_nothing_to_foretell_from() -> None:
    scene, views, _ = exact_scene()
    rig = judges.sub_rig(scene.rig, [0, 1])
    assert np.isnan(judges.leave_one_out_errors(rig, views[:2], TriangulationSettings())).all()


def test_a_sub_rig_keeps_its_share_of_the_covariance() -> None:
    scene, _, _ = exact_scene()
    rig = replace(scene.rig, covariance=np.diag(np.repeat([1.0, 2.0, 3.0, 4.0], 6)))
    sub = judges.sub_rig(rig, [3, 1])
    assert sub.names == ("cam04", "cam02")
    assert np.array_equal(np.diag(sub.covariance), np.repeat([4.0, 2.0], 6))


def test_one_pixel_at_five_metres_and_1000_px_is_five_millimetres() -> None:
    camera = synthetic.look_at("a", np.array([5.0, 0, 1]), np.array([0, 0, 1.0]), np.zeros(4))
    K = np.array([[1000, 0, 959.5], [0, 1000, 539.5], [0, 0, 1.0]])
    rig = synthetic.CameraRig((replace(camera, intrinsics=replace(camera.intrinsics, K=K)),), np.zeros((6, 6)))
    assert judges.metres_per_pixel(rig, layer(np.array([[[0, 0, 1.0]]]))) == pytest.approx([0.005])
    behind = layer(np.array([[[9, 0, 1.0]]]))
    assert np.isnan(judges.metres_per_pixel(rig, behind)).all()


def test_bone_lengths_and_their_spread_by_hand() -> None:
    ends = np.zeros((4, 2, 3))
    ends[:, 1, 0] = (0.30, 0.32, 0.28, np.nan)
    joints = layer(ends, names=("hip", "knee"))
    lengths = judges.bone_lengths(joints, [("hip", "knee"), ("hip", "tail")])
    assert lengths[:3, 0, 0] == pytest.approx([0.30, 0.32, 0.28])
    assert np.isnan(lengths[3, 0, 0]) and np.isnan(lengths[..., 1]).all()
    spread = judges.bone_spread(lengths)
    assert spread[0, 0] == pytest.approx(0.02)
    assert np.isnan(spread[0, 1])


def test_flag_shares_sum_to_one() -> None:
    flags = np.array([3, 3, 2, 0])[:, None, None]
    shares = judges.flag_shares(flags)
    assert {name: float(share[0, 0]) for name, share in shares.items()} == {
        "unobserved": 0.25,
        "rejected": 0.0,
        "weak": 0.25,
        "observed": 0.5,
    }


def test_the_worst_sigma_is_the_longest_axis() -> None:
    turn = np.array([[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, 1.0]])
    covariance = np.stack([turn @ np.diag([1e-4, 9e-4, 4e-4]) @ turn.T, np.full((3, 3), np.nan)])
    sigma = judges.worst_sigma(covariance)
    assert sigma[0] == pytest.approx(0.03)
    assert np.isnan(sigma[1])


def test_acceleration_of_free_fall() -> None:
    t = np.arange(20) / 10
    fall = np.zeros((20, 1, 3))
    fall[:, 0, 2] = -0.5 * 9.81 * t**2
    assert judges.accelerations(layer(fall)) == pytest.approx(np.full((18, 1, 1), 9.81))
    assert judges.accelerations(layer(fall[:2])).shape == (0, 1, 1)


def test_jitter_is_the_white_noise_that_was_put_in_and_ignores_smooth_motion() -> None:
    rng = np.random.default_rng(5)
    t = np.arange(4000) / 60
    smooth = np.stack([np.sin(t), np.cos(t), 0.3 * t], axis=-1)[:, None]
    assert judges.jitter(layer(smooth, 60.0))[0, 0] < 1e-5
    noisy = judges.jitter(layer(smooth + 0.004 * rng.normal(size=smooth.shape), 60.0))
    # standard error of the estimate: about 2 % for 4,000 correlated third differences
    assert noisy[0, 0] == pytest.approx(0.004, rel=0.06)


def test_a_standing_foot_that_slides_and_one_that_does_not() -> None:
    steps = np.zeros((40, 2, 3))
    steps[20:, :, 2] = 0.4  # both feet lifted in the second half
    steps[:, 1, 0] = 0.02 * np.arange(40)  # the right one slides 2 cm a frame at 10 fps: 0.2 m/s
    joints = layer(steps, names=("left_ankle", "right_ankle"))
    for foot, speed in (("left_ankle", 0.0), ("right_ankle", 0.2)):
        planted = judges.standing(joints, foot, UP)
        assert planted[:18, 0].all() and not planted[21:, 0].any()
        assert judges.foot_slide(joints, foot, planted, UP)[0] == pytest.approx(speed)
    assert np.isnan(judges.foot_slide(joints, "tail", planted, UP)).all()
    assert not judges.standing(joints, "tail", UP).any()
    assert np.isnan(judges.foot_slide(joints, "left_ankle", np.zeros_like(planted), UP)).all()


def test_spread_of_nothing_is_nan_and_counts_nothing() -> None:
    empty = judges.spread(np.array([np.nan, np.inf]))
    assert np.isnan(empty.median) and np.isnan(empty.p95) and empty.count == 0
    assert judges.spread(np.arange(101.0)) == judges.Spread(50.0, 95.0, 101)


def test_frames_are_spread_evenly_and_never_repeated() -> None:
    assert judges.spread_frames(5, 200).tolist() == [0, 1, 2, 3, 4]
    assert judges.spread_frames(1001, 3).tolist() == [0, 500, 1000]


def test_cameras_that_move_are_judged_where_they_stand_at_each_frame() -> None:
    scene, _, _ = exact_scene(40)
    scene = replace(scene, rig=synthetic.moving_rig(scene.rig, scene.timestamps_s, seed=1))
    noise = replace(synthetic.BASE, sigma_px=1e-9, outliers=0, missing=0, swaps=0, stated_sigma_px=1.0)
    joints = layer(scene.xyz[:, 0], 60.0, scene.joint_names)
    joints = replace(joints, timestamps_s=scene.timestamps_s)
    views = synthetic.observe(scene, noise, 2)
    assert np.nanmax(judges.reprojection_errors(scene.rig, joints, views)) < 1e-6
    still = replace(scene.rig, cameras=tuple(replace(camera, path=None) for camera in scene.rig.cameras))
    assert np.nanmedian(judges.reprojection_errors(still, joints, views)[:, -1]) > 10


def test_a_pixel_grows_as_the_camera_backs_off() -> None:
    near, far = (synthetic.look_at("a", np.array([x, 0, 1.0]), np.array([0, 0, 1.0]), [0.0] * 4) for x in (5.0, 15.0))
    times = np.arange(5) / 10
    stands = (near, far, far, far, far)
    path = CameraPath(times, np.stack([c.R for c in stands]), np.stack([c.t for c in stands]))
    rig = synthetic.CameraRig((replace(near, path=path),), np.zeros((6, 6)))
    joints = layer(np.tile([0, 0, 1.0], (5, 1, 1)))
    one = judges.metres_per_pixel(replace(rig, cameras=(near,)), joints)
    assert judges.metres_per_pixel(rig, joints) == pytest.approx(3 * one)
