"""Cameras that move: poses between poses, the moving world, and triangulation as good as from cameras that stand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inference.cameras import turned
from inference.config import SolveSettings
from inference.errors import CalibrationError
from inference.geometry.association import choose_people
from inference.geometry.camera_path import before_first_pose, camera_at, centres_at, on_clock, poses_at, rig_at
from inference.geometry.epipolar import epipolar_distance
from inference.geometry.projection import project, undistort_points
from inference.geometry.reprojection import camera_slopes, rays_from_keypoints, residual
from inference.geometry.rotation import exp
from inference.geometry.triangulation import linear_triangulation, triangulate
from inference.hypotheses import seen_by_views
from inference.motion.estimate import estimate_motion
from inference.types import Camera, CameraPath, CameraRig, Flag
from tests.synthetic import BASE, SCENES, Scene, circle_rig, coverage, make_scene, moving_rig, observe

_SETTINGS = SolveSettings()


def moving_scene(frames: int, seed: int = 1, cameras: int = 4) -> Scene:
    scene = make_scene(frames, cameras, seed=seed)
    return replace(scene, rig=moving_rig(scene.rig, scene.timestamps_s, seed=seed))


def standing(scene: Scene) -> Scene:
    """The same cameras, thought to stand in their first poses."""
    return replace(scene, rig=replace(scene.rig, cameras=tuple(replace(c, path=None) for c in scene.rig.cameras)))


def path_of(angles: list[float], centres: list[list[float]]) -> Camera:
    camera = circle_rig(2).cameras[0]
    R = exp(np.array(angles)[:, None] * np.array([0, 0, 1.0]))
    t = -np.einsum("kij,kj->ki", R, np.array(centres))
    return replace(camera, R=R[0], t=t[0], path=CameraPath(np.arange(len(angles)) * 2.0, R, t))


def test_between_poses_a_camera_turns_evenly_and_goes_straight() -> None:
    camera = path_of([0.0, 1.0], [[0, 0, 0], [2, 4, 0]])
    R, _ = poses_at(camera, np.array([0.5]))
    np.testing.assert_allclose(R[0], exp(np.array([0, 0, 0.25])), atol=1e-12)
    np.testing.assert_allclose(centres_at(camera, np.array([0.5, 2.0])), [[0.5, 1, 0], [2, 4, 0]], atol=1e-12)
    np.testing.assert_allclose(centres_at(camera, np.array([-1.0, 9.0])), [[0, 0, 0], [2, 4, 0]], atol=1e-12)
    assert camera_at(camera, 2.0).path is None
    np.testing.assert_allclose(camera_at(camera, 2.0).centre, [2, 4, 0], atol=1e-12)


def test_a_path_follows_the_clock_of_its_view() -> None:
    camera = on_clock(path_of([0.0, 1.0], [[0, 0, 0], [2, 4, 0]]), offset_s=3.0, drift_ppm=1e6)
    assert camera.path is not None
    np.testing.assert_allclose(camera.path.times_s, [3.0, 7.0])


def test_paths_that_cannot_be() -> None:
    with pytest.raises(CalibrationError, match="must be finite and rise"):
        CameraPath(np.zeros(2), np.stack([np.eye(3)] * 2), np.zeros((2, 3)))
    with pytest.raises(CalibrationError, match="not orthonormal, or mirrored"):
        replace(
            circle_rig(2).cameras[0], path=CameraPath(np.arange(2.0), np.stack([np.eye(3), -np.eye(3)]), np.eye(3)[:2])
        )


def test_points_before_the_first_pose_are_seen_as_from_the_pose_of_their_time() -> None:
    scene = moving_scene(5)
    for camera in scene.rig.cameras:
        seen = project(camera, before_first_pose(camera, scene.xyz, scene.timestamps_s))
        for frame, time_s in enumerate(scene.timestamps_s):
            np.testing.assert_allclose(seen[frame], project(camera_at(camera, time_s), scene.xyz[frame]), atol=1e-8)


def test_residuals_and_their_slopes_are_those_of_the_pose_of_the_time() -> None:
    """Derivatives by the point and by the camera against small steps."""
    scene = moving_scene(3)
    rays = rays_from_keypoints(scene.rig, observe(scene, SCENES["white"], 2), 0.0)
    points, frame, joints = scene.xyz.reshape(-1, 3).T + 0.01, 2, len(scene.joint_names)
    own = slice(frame * joints, (frame + 1) * joints)
    still = replace(scene, rig=rig_at(scene.rig, scene.timestamps_s[frame]))
    there = rays_from_keypoints(still.rig, observe(scene, SCENES["white"], 2), 0.0)
    for view in range(4):
        found, expected = (residual(r, view, points) for r in (rays, there))
        for name in ("u", "v", "delta", "slope_u", "slope_v"):
            np.testing.assert_allclose(getattr(found, name)[..., own], getattr(expected, name)[..., own], atol=1e-9)
        by_u, by_v = camera_slopes(rays, view, points)
        for axis in range(6):
            step = 1e-6 * np.eye(6)[axis]
            R, t = rays.R.copy(), rays.t.copy()
            R[view], t[view] = exp(step[:3]) @ R[view], t[view] + step[3:]
            moved = residual(replace(rays, R=R, t=t), view, points)
            np.testing.assert_allclose(found.u - moved.u, 1e-6 * by_u[axis], atol=1e-10)
            np.testing.assert_allclose(found.v - moved.v, 1e-6 * by_v[axis], atol=1e-10)


def test_epipolar_lines_move_along() -> None:
    scene = moving_scene(40)
    views = observe(scene, SCENES["white"], 3)
    first, second = scene.rig.cameras[:2]
    x, y = (undistort_points(c.intrinsics, v.xy[:, 0]) for c, v in zip((first, second), views, strict=False))
    good = np.nanmedian(epipolar_distance(first, second, x, y, scene.timestamps_s))
    wrong = np.nanmedian(epipolar_distance(first, second, x, y))
    assert good < 4 < 12 < wrong


def test_joints_are_as_good_as_from_cameras_that_stand() -> None:
    """One estimate of the frames, and one of the take; thought to stand, the cameras are of no use."""
    scene = moving_scene(120)
    views = observe(scene, BASE, 11)
    raw = triangulate(scene.rig, views, _SETTINGS.triangulation)
    solved, _ = estimate_motion(raw, scene.rig, views, _SETTINGS.motion)
    own = [solved.joint_names.index(name) for name in scene.joint_names]
    error = solved.xyz[:, :, own] - scene.xyz
    assert np.nanmean(np.linalg.norm(raw.xyz - scene.xyz, axis=-1)) < 0.014
    assert np.linalg.norm(error, axis=-1).mean() < 0.005
    assert 0.4 < coverage(error, solved.covariance[:, :, own])[0] < 0.7
    linear = linear_triangulation(scene.rig, observe(scene, SCENES["white"], 4))
    assert np.nanmedian(np.linalg.norm(linear - scene.xyz, axis=-1)) < 0.015
    naive = triangulate(standing(scene).rig, views, _SETTINGS.triangulation)
    off = np.linalg.norm(naive.xyz - scene.xyz, axis=-1)
    assert np.isnan(off).mean() > 0.2 or np.nanmedian(off) > 0.05


def test_a_path_that_stays_gives_what_a_camera_that_stands_gives() -> None:
    scene = make_scene(30, seed=2)
    times = scene.timestamps_s
    paths = (CameraPath(times, np.stack([c.R] * 30), np.stack([c.t] * 30)) for c in scene.rig.cameras)
    still = tuple(replace(c, path=path) for c, path in zip(scene.rig.cameras, paths, strict=True))
    views = observe(scene, BASE, 5)
    expected = triangulate(scene.rig, views, _SETTINGS.triangulation)
    found = triangulate(replace(scene.rig, cameras=still), views, _SETTINGS.triangulation)
    np.testing.assert_allclose(found.xyz, expected.xyz, atol=1e-9)
    np.testing.assert_allclose(found.covariance, expected.covariance, rtol=1e-6, atol=1e-12)
    np.testing.assert_array_equal(found.flag, expected.flag)


def test_people_are_told_apart_by_cameras_that_move() -> None:
    scene = make_scene(frames=90, seed=1, people=2)
    scene = replace(scene, rig=moving_rig(scene.rig, scene.timestamps_s, seed=1))
    views = observe(scene, BASE, 1)
    mixed = [
        replace(v, **{k: np.roll(getattr(v, k), n, 1) for k in ("xy", "covariance", "score")})
        for n, v in enumerate(views)
    ]
    chosen = choose_people(scene.rig, mixed, 2, _SETTINGS.association)
    rows = []
    for camera, view in zip(scene.rig.cameras, chosen, strict=True):
        true = project(camera, before_first_pose(camera, scene.xyz, scene.timestamps_s))
        off = np.linalg.norm(true[:, None] - view.xy[:, :, None], axis=-1)  # (T, chosen, true, J)
        assert np.nanquantile(np.nanmin(np.nanmedian(off, axis=-1), axis=-1), 0.95) < 10
        rows.append(np.nanmedian(off, axis=(0, 3)).argmin(axis=1).tolist())
    assert rows in ([[0, 1]] * 4, [[1, 0]] * 4)
    sampled = sum(view.observed.any(axis=-1).mean() for view in chosen) / 4
    assert sampled > 0.95


def test_cameras_that_part_after_starting_in_one_place_give_depth() -> None:
    scene = make_scene(60, 2, seed=1)
    times = scene.timestamps_s
    first, second = scene.rig.cameras
    centre = first.centre + np.clip(times * 4, 0, 1)[:, None] * (second.centre - first.centre)
    turn = np.broadcast_to(second.R, (60, 3, 3))
    t = -np.einsum("tij,tj->ti", turn, centre)
    rig = replace(scene.rig, cameras=(first, Camera(second.intrinsics, second.R, t[0], CameraPath(times, turn, t))))
    found = triangulate(rig, observe(replace(scene, rig=rig), BASE, 1), _SETTINGS.triangulation)
    assert (found.flag[40:] >= Flag.WEAK).mean() > 0.5


def test_the_rays_of_a_person_go_with_the_poses_of_their_frames() -> None:
    scene = moving_scene(30)
    rays = rays_from_keypoints(scene.rig, observe(scene, BASE, 1), 0.1)
    seen = seen_by_views(rays, 30, scene.joint_names, scene.joint_names)
    for v, camera in enumerate(scene.rig.cameras):
        R, t = poses_at(camera, scene.timestamps_s)
        np.testing.assert_allclose(seen.R[:, v], R, atol=1e-9)
        np.testing.assert_allclose(seen.t[:, v], t, atol=1e-9)


def test_a_turned_camera_is_turned_at_every_pose() -> None:
    camera = moving_scene(30).rig.cameras[0]
    flat = replace(camera.intrinsics, distortion=np.zeros(5))
    camera = camera.with_lens(flat)
    other, point = turned(camera, 1), np.array([[0.1, 0.2, 0.9]])
    height = camera.intrinsics.image_size[1]
    assert camera.path is not None
    for time in camera.path.times_s[[0, -1]]:
        (u, v), (x, y) = (project(camera_at(c, float(time)), point)[0] for c in (camera, other))
        assert (x, y) == pytest.approx((height - 1 - v, u), abs=1e-6)


def arrived(scene: Scene, afar: CameraRig) -> CameraRig:
    """The scene's cameras, come from where others stand half a second before the take; in their places since."""
    cameras = []
    for first, camera in zip(afar.cameras, scene.rig.cameras, strict=True):
        path = CameraPath(np.array([-1.0, -0.5]), np.stack([first.R, camera.R]), np.stack([first.t, camera.t]))
        cameras.append(Camera(camera.intrinsics, first.R, first.t, path))
    return replace(scene.rig, cameras=tuple(cameras))


def test_a_bridge_is_unsure_along_the_rays_of_its_own_time() -> None:
    """A wrist that one view alone shows for half a second, of cameras whose first poses are of no time of the take."""
    scene = make_scene(90, 3, seed=3)
    joint, gap = scene.joint_names.index("left_wrist"), slice(30, 60)
    views = list(observe(scene, BASE, 4))
    for number in (1, 2):
        xy, score = views[number].xy.copy(), views[number].score.copy()
        xy[gap, :, joint], score[gap, :, joint] = np.nan, 0.0
        views[number] = replace(views[number], xy=xy, score=score)
    elsewhere = replace(scene.rig, cameras=circle_rig(4, radius_m=7.0).cameras[1:])
    solved = []
    for rig in (scene.rig, arrived(scene, elsewhere)):
        raw = triangulate(rig, views, _SETTINGS.triangulation)
        solved.append(estimate_motion(raw, rig, views, _SETTINGS.motion)[0])
    np.testing.assert_allclose(solved[1].covariance, solved[0].covariance, rtol=0.01, atol=1e-7)
    np.testing.assert_allclose(solved[1].xyz, solved[0].xyz, atol=1e-4)


def test_cameras_that_met_before_the_take_give_no_depth() -> None:
    apart = make_scene(12, 3, seed=2)
    met = replace(apart, rig=replace(apart.rig, cameras=apart.rig.cameras[:1] * 3))
    found = triangulate(arrived(met, apart.rig), observe(met, BASE, 3), _SETTINGS.triangulation)
    assert (found.flag == Flag.UNOBSERVED).all()
