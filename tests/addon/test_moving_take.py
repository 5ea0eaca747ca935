"""Cameras that are animated in a scene, through the solve and back into the scene."""

from dataclasses import replace

import bpy
import cv2
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector
from sightline.addon import solving
from sightline.addon.host.axes import camera_setting
from sightline.addon.host.blender_cameras import export_cameras
from sightline.addon.host.camera_frame import CameraFrame
from sightline.addon.host.picture_frames import ViewInTake
from sightline.addon.overlays import plate, shown
from sightline.addon.scene_take import write_scene_take
from sightline.inference.files.calibration import read_calibration
from sightline.inference.files.solution import read_solution
from sightline.inference.geometry.camera_path import camera_at
from sightline.inference.geometry.projection import project
from sightline.inference.pipeline import solve
from sightline.inference.take import read_take

from tests.keypoint_take import write_take

START, FRAMES, MOVING = 11, 48, ("cam01", "cam03")


def animate(scene, camera, times, clip):
    """A camera as somebody matched it: key by key over its clip, turned by Euler angles; no object of ours."""
    setting = camera_setting(camera)
    item = bpy.data.objects.new(camera.name, bpy.data.cameras.new(camera.name))
    scene.collection.objects.link(item)
    item.data.lens, item.data.sensor_width, item.data.sensor_fit = setting.lens_mm, 36.0, "HORIZONTAL"
    item.data.shift_x, item.data.shift_y = setting.shift_x, setting.shift_y
    shown = item.data.background_images.new()
    shown.source, shown.clip = "MOVIE_CLIP", clip
    for number, time_s in enumerate(times if camera.path is not None else times[:1]):
        item.matrix_world = camera_setting(camera_at(camera, time_s)).matrix_world.T
        item.keyframe_insert("location", frame=START + number)
        item.keyframe_insert("rotation_euler", frame=START + number)
    return item


@pytest.fixture
def matched(registered, empty_scene, tmp_path):
    """The take of keypoints with no calibration but a scene with the cameras, and the truth."""
    truth = write_take(tmp_path, frames=FRAMES, cameras=4, moving=(0, 2))
    (tmp_path / "cameras.toml").unlink()
    scene = empty_scene.scene
    scene.frame_start, scene.frame_end, scene.render.fps = START, START + FRAMES - 1, 60
    cv2.imwrite(str(tmp_path / "plate.png"), np.zeros((1080, 1920, 3), np.uint8))
    clip = bpy.data.movieclips.load(str(tmp_path / "plate.png"))
    clip.frame_start = START
    lens, tracker = truth.rig.cameras[0].intrinsics, clip.tracking.camera
    tracker.focal_length_pixels = lens.K[0, 0]
    tracker.principal_point_pixels = (lens.K[0, 2] + 0.5, 1080 - lens.K[1, 2] - 0.5)
    tracker.k1 = lens.distortion[0]
    for camera in truth.rig.cameras:
        animate(scene, camera, truth.timestamps_s, clip)
    return tmp_path, truth


def error_m(solution, truth):
    own = [solution.solved.joint_names.index(name) for name in truth.joint_names]
    return float(np.nanmean(np.linalg.norm(solution.solved.xyz[:, 0][:, own] - truth.xyz[:, 0], axis=-1)))


def test_the_result_lies_under_the_animated_cameras(matched):
    folder, truth = matched
    scene = bpy.context.scene
    views = {camera.name: ViewInTake((0, FRAMES - 1), float(START), 1.0, 60.0) for camera in truth.rig.cameras}
    found = export_cameras(bpy.context, folder / "cameras.toml", views=views)
    assert set(found.paths) == set(MOVING) and not found.warnings
    request = solving.request_for(folder / "take.toml")
    solve(read_take(folder / "take.toml"), request.out)
    built = solving.enter(bpy.context, request, request.out / "solution.npz")
    solution = read_solution(request.out / "solution.npz")
    assert solution.rig.moving == MOVING and error_m(solution, truth) < 0.006

    worst_px = worst_m = 0.0
    scene.render.resolution_x, scene.render.resolution_y = 1920, 1080
    for index in range(0, FRAMES, 5):
        scene.frame_set(START + index)
        joints = solution.solved.xyz[index, 0]
        joints = joints[np.isfinite(joints).all(axis=-1)]
        for item, camera in zip(built.cameras, solution.rig.cameras, strict=True):
            seen = np.array([world_to_camera_view(scene, item, Vector(point))[:2] for point in joints])
            pixels = np.column_stack([seen[:, 0], 1 - seen[:, 1]]) * (1920, 1080) - 0.5
            bare = camera.with_lens(replace(camera.intrinsics, distortion=np.zeros(5)))
            wanted = project(camera_at(bare, solution.solved.timestamps_s[index]), joints)
            worst_px = max(worst_px, float(np.abs(pixels - wanted).max()))
            matched_by_hand = bpy.data.objects[camera.name]
            assert matched_by_hand != item
            apart = (item.matrix_world.translation - matched_by_hand.matrix_world.translation).length
            worst_m = max(worst_m, apart)
    assert worst_px < 0.1 and worst_m < 1e-5
    assert max(overlay_px(scene, solution, view, index) for view in range(4) for index in (3, 40)) < 3


def overlay_px(scene, solution, view, index):
    """Check the skeleton that is drawn over the footage; the median distance of the drawn keypoints from its joints."""
    one = next(shown.shown_takes(scene))
    camera = solution.rig.cameras[view]
    frame = CameraFrame(np.zeros(2), np.array([1920.0, 1080.0]), camera.intrinsics, undistorted=False)
    points, _ = plate.skeleton_lines(one, index, view, frame)
    head = solution.solved.xyz[index, 0, one.data.bone_ends[0][0]]
    u, v = project(camera_at(camera, solution.solved.timestamps_s[index]), head)
    np.testing.assert_allclose(points[0], [u + 0.5, 1080 - (v + 0.5)], atol=1e-6)
    _, _, links, _ = plate.keypoint_marks(one, shown.shown_keypoints(one), index, view, frame)
    return float(np.nanmedian(np.linalg.norm(links[::2] - links[1::2], axis=-1)))


def test_without_their_paths_the_joints_are_far_off(matched):
    folder, truth = matched
    export_cameras(bpy.context, folder / "cameras.toml", frame=START)
    assert not read_calibration(folder / "cameras.toml").paths
    naive = solve(read_take(folder / "take.toml"), folder / "still")
    assert error_m(naive, truth) > 0.02


def film(path, frames, fps):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (64, 48))
    for _ in range(frames):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()


@pytest.fixture
def panel(registered, empty_scene, tmp_path):
    """Two videos, the second of half the rate and half a second late, and cameras without clips that move."""
    film(tmp_path / "a.avi", 60, 30)
    film(tmp_path / "b.avi", 30, 15)
    bpy.ops.sightline.add_videos(directory=str(tmp_path), files=[{"name": "a.avi"}, {"name": "b.avi"}])
    scene = empty_scene.scene
    scene.frame_start, scene.frame_end, scene.render.fps = 101, 140, 30
    scene.render.resolution_x, scene.render.resolution_y = 64, 48
    for name in ("a", "b"):
        item = bpy.data.objects.new(name, bpy.data.cameras.new(name))
        scene.collection.objects.link(item)
        item.driver_add("location", 0).driver.expression = "frame * 0.01"
        item.location.y = ord(name) - ord("a")
    known = scene.sightline
    known.cameras_from, known.start_s, known.end_s = "SCENE", 0.4, 1.2
    known.views["b"].offset_s = 0.5
    return scene


def test_the_panel_s_videos_lie_in_time_as_the_result_will(panel):
    """The take begins at 0.5 s, where both videos run: that is the scene's first frame, 101."""
    found = read_calibration(read_take(write_scene_take(bpy.context)).calibration.path)
    a, b = found.paths["a"], found.paths["b"]
    assert list(a.frames) == list(range(60)) and list(b.frames) == list(range(27))  # b's: to 1.2 s and a second more
    assert -(a.R[0].T @ a.t[0])[0] == pytest.approx(0.86, abs=1e-5)  # half a second before frame 101
    assert -(b.R[0].T @ b.t[0])[0] == pytest.approx(1.01, abs=1e-5)
    assert -(b.R[10].T @ b.t[10])[0] == pytest.approx(1.21, abs=1e-5)  # two frames a picture
    assert panel.sightline.scene_cameras_note.startswith("Moving: a, b.")


def test_an_offset_cannot_be_found_with_cameras_that_move(panel):
    panel.sightline.views["b"].offset_mode = "AUTO"
    with pytest.raises(RuntimeError, match=r"view 'b': its Start cannot be found .* move \(a, b\); choose"):
        bpy.ops.sightline.solve_take()
    for name in ("a", "b"):
        bpy.data.objects[name].animation_data_clear()
    assert read_take(write_scene_take(bpy.context)).views[1].offset_s is None


def test_the_scene_s_rate_must_be_the_take_s(panel):
    panel.render.fps = 24
    with pytest.raises(RuntimeError, match=r"camera 'a' moves and has no movie clip .* 24 frames .* the take 30"):
        bpy.ops.sightline.solve_take()
    for name in ("a", "b"):
        bpy.data.objects[name].animation_data_clear()
    assert not read_calibration(read_take(write_scene_take(bpy.context)).calibration.path).paths
    assert not panel.sightline.scene_cameras_note
