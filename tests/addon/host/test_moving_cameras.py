"""Cameras that move: from Blender's scene to the file that the solver reads, and from a solution to the scene."""

from dataclasses import replace

import bpy
import cv2
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Matrix, Vector
from sightline.addon.host.blender_cameras import export_cameras, scene_cameras
from sightline.addon.host.parts import CLEANED, LAYER
from sightline.addon.host.picture_frames import PICTURES, ViewInTake
from sightline.addon.host.scene import TakeInfo, build_scene
from sightline.inference.errors import CalibrationError, InputError
from sightline.inference.files.calibration import read_calibration
from sightline.inference.geometry.camera_path import camera_at, poses_at
from sightline.inference.geometry.projection import project
from sightline.inference.geometry.rotation import exp
from sightline.inference.types import CameraPath

START, END = 5, 44


@pytest.fixture
def scene(empty_scene):
    scene = empty_scene.scene
    scene.frame_start, scene.frame_end = START, END
    scene.unit_settings.scale_length = 0.5
    return scene


def add_camera(name="left", place=(4.0, -3.0, 1.5)):
    item = bpy.data.objects.new(name, bpy.data.cameras.new(name))
    bpy.context.scene.collection.objects.link(item)
    item.matrix_world = (
        Matrix.Translation(place) @ (Vector((0, 0, 1)) - Vector(place)).to_track_quat("-Z", "Y").to_matrix().to_4x4()
    )
    return item


def add_empty(name, kind=None):
    item = bpy.data.objects.new(name, kind)
    bpy.context.scene.collection.objects.link(item)
    return item


def key(item, data_path, first, last, index=-1):
    """Two keys with Blender's usual easing between them."""
    for frame, value in ((START, first), (END, last)):
        setattr(item, data_path, value)
        item.keyframe_insert(data_path, index=index, frame=frame)


def by_keys(item):
    key(item, "location", (4, -3, 1.5), (3, -4, 2))
    key(item, "rotation_euler", item.rotation_euler.copy(), (1.2, 0.1, 0.9))


def on_a_dolly(item):
    dolly, crane = add_empty("dolly"), add_empty("crane")
    crane.parent, item.parent, dolly.hide_viewport = dolly, crane, True
    dolly.scale = (1.5, 1.5, 1.5)  # as of a camera solve that is brought to metres
    key(dolly, "location", (0, 0, 0), (1, 0.5, 0))
    key(crane, "rotation_euler", (0, 0, 0), (0, 0.1, 0.6))


def looking_at_a_target(item):
    by_keys(item)
    target = add_empty("target")
    key(target, "location", (0, 0, 1), (0.4, 0.1, 1.2))
    follow = item.constraints.new("TRACK_TO")
    follow.target, follow.track_axis, follow.up_axis = target, "TRACK_NEGATIVE_Z", "UP_Y"


def along_a_path(item):
    rail = bpy.data.curves.new("rail", "CURVE")
    rail.dimensions, rail.use_path = "3D", True
    line = rail.splines.new("BEZIER")
    line.bezier_points.add(1)
    line.bezier_points[1].co = (2, 1, 0.5)
    follow = item.constraints.new("FOLLOW_PATH")
    follow.target = add_empty("rail", rail)
    follow.use_fixed_location = True
    key(follow, "offset_factor", 0.0, 1.0)


def by_a_driver(item):
    curve = item.driver_add("location", 0)
    curve.driver.expression = "4 + 0.4 * sin(frame * 0.1)"


def by_a_property_of_the_scene(item):
    """Which an empty scene beside the real one does not have: the real one must be played."""
    scene = bpy.context.scene
    scene["dolly"] = 0.0
    scene.keyframe_insert('["dolly"]', frame=START)
    scene["dolly"] = 1.5
    scene.keyframe_insert('["dolly"]', frame=END)
    curve = item.driver_add("location", 0)
    variable = curve.driver.variables.new()
    variable.name, variable.targets[0].id_type = "x", "SCENE"
    variable.targets[0].id, variable.targets[0].data_path = scene, '["dolly"]'
    curve.driver.expression = "x"


def on_a_bone(item):
    rig = add_empty("rig", bpy.data.armatures.new("rig"))
    bpy.context.view_layer.objects.active = rig
    bpy.ops.object.mode_set(mode="EDIT")
    bone = rig.data.edit_bones.new("arm")
    bone.tail = (0, 0, 1)
    bpy.ops.object.mode_set(mode="OBJECT")
    item.parent, item.parent_type, item.parent_bone = rig, "BONE", "arm"
    target = add_empty("target")
    key(target, "rotation_euler", (0, 0, 0), (0.2, 0.1, 0.5))
    rig.pose.bones["arm"].constraints.new("COPY_ROTATION").target = target


def hidden(item):
    by_keys(item)
    item.hide_viewport = True


WAYS = [
    by_keys, on_a_dolly, looking_at_a_target, along_a_path, by_a_driver, by_a_property_of_the_scene, on_a_bone, hidden,
]  # fmt: skip


def truth(scene, item, frames):
    """R and t, m, of Blender's own matrices, written out: x right, y down, z forward."""
    item.hide_viewport = False
    found = []
    for frame in frames:
        scene.frame_set(int(frame), subframe=float(frame % 1))
        matrix = np.array(item.evaluated_get(bpy.context.evaluated_depsgraph_get()).matrix_world)
        R = (matrix[:3, :3] * [1, -1, -1] / np.linalg.norm(matrix[:3, :3], axis=0)).T
        found.append((R, -R @ matrix[:3, 3] * scene.unit_settings.scale_length))
    return (np.array(part) for part in zip(*found, strict=True))


def assert_poses(path, R, t):
    assert len(path.t) == len(t)
    assert np.abs(path.t - t).max() < 2e-6
    assert np.linalg.norm(path.R @ R.swapaxes(-1, -2) - np.eye(3), axis=(-1, -2)).max() < 2e-6


@pytest.mark.parametrize("way", WAYS)
def test_a_moving_camera_comes_back_from_its_file(scene, tmp_path, way):
    item = add_camera()
    way(item)
    scene.frame_set(START + 3, subframe=0.25)
    things = len(bpy.data.scenes), len(bpy.data.objects)
    found = export_cameras(bpy.context, tmp_path / "cameras.toml")
    assert (scene.frame_current, scene.frame_subframe) == (START + 3, 0.25)
    assert (len(bpy.data.scenes), len(bpy.data.objects)) == things
    read = read_calibration(tmp_path / "cameras.toml")
    path = read.paths["left"]
    assert list(path.frames) == list(range(END - START + 1))
    np.testing.assert_array_equal(read.cameras["left"].R, path.R[0])
    R, t = truth(scene, item, np.arange(START, END + 1))
    assert_poses(path, R, t)
    assert np.ptp(t, axis=0).max() + np.ptp(R, axis=0).max() > 0.05 and not found.warnings
    with pytest.raises(AssertionError):
        assert_poses(path, np.roll(R, 1, axis=0), np.roll(t, 1, axis=0))  # the control: a frame late is seen


def test_what_stands_still_has_no_path(scene):
    still, shaking = add_camera(), add_camera("right", (-4, -3, 1.5))
    still.constraints.new("COPY_ROTATION")  # one that does nothing
    key(still, "location", (4, -3, 1.5), (4, -3, 1.5008))  # 0.4 mm
    key(shaking, "location", (-4, -3, 1.5), (-4, -3, 1.5012))
    assert set(scene_cameras(bpy.context).paths) == {"right"}
    assert not scene_cameras(bpy.context, frame=END).paths
    late = scene_cameras(bpy.context, ["right"], frame=END).cameras[0]
    assert late.centre[2] == pytest.approx(1.5012 * 0.5, abs=1e-6)


@pytest.mark.parametrize(("data_path", "last"), [("lens", 52.0), ("shift_x", 0.01), ("sensor_width", 38.0)])
def test_a_lens_that_changes_is_refused(scene, tmp_path, data_path, last):
    item = add_camera()
    by_keys(item)
    key(item.data, data_path, getattr(item.data, data_path), last)
    with pytest.raises(
        CalibrationError, match=r"'left' zooms or shifts its lens: in frame \d+ it differs by \d+\.\d px"
    ):
        export_cameras(bpy.context, tmp_path / "cameras.toml")
    assert not (tmp_path / "cameras.toml").exists()
    item.data.animation_data_clear()
    assert scene_cameras(bpy.context).paths


def footage(folder, count=20):
    for number in range(1, count + 1):
        cv2.imwrite(str(folder / f"f_{number:04d}.png"), np.zeros((400, 640, 3), np.uint8))
    return bpy.data.movieclips.load(str(folder / "f_0001.png"))


def put_behind(item, clip):
    shown = item.data.background_images.new()
    shown.source, shown.clip = "MOVIE_CLIP", clip


def test_a_clip_behind_the_camera_says_which_frame_shows_which_picture(scene, tmp_path):
    item, clip = add_camera(), footage(tmp_path)
    by_keys(item)
    put_behind(item, clip)
    clip.frame_start, clip.frame_offset = 12, 4  # Blender shows the clip's fifth picture in frame 12
    found = scene_cameras(bpy.context)
    assert list(found.paths["left"].frames) == list(range(20))
    assert_poses(found.paths["left"], *truth(scene, item, 8 + np.arange(20)))
    used = ViewInTake((6, 9), 8.0, 1.0, 24.0)
    found = scene_cameras(bpy.context, views={"left": used})
    assert list(found.paths["left"].frames) == [6, 7, 8, 9] and not found.warnings
    assert_poses(found.paths["left"], *truth(scene, item, 8 + np.arange(6, 10)))
    for other, said in (
        (replace(used, first_frame=1.0), "picture 7 of its video in frame 14, the result in frame 7: both"),
        (replace(used, first_frame=1.0), "let the scene begin 7 frames later and"),
        (replace(used, first_frame=2.0, per_picture=2.0), "every frame, the result one in 2 frames: they run apart"),
    ):
        (warning,) = scene_cameras(bpy.context, views={"left": other}).warnings
        assert said in warning


def image_behind(item, path, source, start, offset, duration):
    shown = item.data.background_images.new()
    shown.source, shown.image = "IMAGE", bpy.data.images.load(str(path))
    shown.image.source = source
    shown.image_user.frame_start, shown.image_user.frame_offset = start, offset
    shown.image_user.frame_duration = duration


def test_films_and_sequences_behind_the_camera_do_too(scene, tmp_path):
    """Frames and numbers as Blender 4.2's compositor showed them for these settings."""
    for number in range(1001, 1021):
        cv2.imwrite(str(tmp_path / f"g_{number}.png"), np.zeros((4, 4, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "g_mask_0001.png"), np.zeros((4, 4, 3), np.uint8))  # another sequence
    item = add_camera()
    by_keys(item)
    for file, offset in (("g_1001.png", 1004), ("g_1005.png", 1004)):  # frame 5 shows file 1005, the fifth picture
        image_behind(item, tmp_path / file, "SEQUENCE", 5, offset, 10)
        path = scene_cameras(bpy.context).paths["left"]
        assert list(path.frames) == list(range(4, 14))
        assert_poses(path, *truth(scene, item, 5 + np.arange(10)))
        item.data.background_images.clear()
    image_behind(item, tmp_path / "g_1001.png", "MOVIE", 12, 4, 10)  # frame 12 shows the fifth picture
    path = scene_cameras(bpy.context).paths["left"]
    assert path.frames[0] == 4
    assert_poses(path, *truth(scene, item, 12 + np.arange(10)))
    item.data.background_images.clear()
    clip = bpy.data.movieclips.load(str(tmp_path / "g_1005.png"))  # opened at its fifth picture, shown in frame 7
    clip.frame_start = 7
    put_behind(item, clip)
    path = scene_cameras(bpy.context).paths["left"]
    assert list(path.frames) == list(range(4, 20))
    assert_poses(path, *truth(scene, item, 7 + np.arange(16)))


def test_without_a_clip_a_view_lies_in_time_as_its_result_will(scene):
    item = add_camera()
    by_keys(item)
    view = ViewInTake((2, 30), 7.25, 24 / 30, 24.0)  # 30 pictures a second, the first at 7.25 of 24 frames a second
    scene.render.fps = 24
    path = scene_cameras(bpy.context, views={"left": view}).paths["left"]
    assert_poses(path, *truth(scene, item, 7.25 + 0.8 * np.arange(2, 31)))
    scene.render.fps = 30
    with pytest.raises(InputError, match=r"'left' moves and has no movie clip .* has 30 frames .* the take 24: set"):
        scene_cameras(bpy.context, views={"left": view})
    item.animation_data_clear()
    assert not scene_cameras(bpy.context, views={"left": view}).paths  # one that stands still needs no clock


@pytest.mark.parametrize(("way", "all_frames"), [(by_keys, False), (by_a_property_of_the_scene, True)])
def test_a_heavy_scene_is_played_only_where_it_must_be(scene, way, all_frames):
    """Three frames of the real scene are compared with those of one that holds the cameras alone."""
    way(add_camera())
    played = []
    bpy.app.handlers.frame_change_pre.append(lambda shown, _: played.append(shown == scene))
    assert scene_cameras(bpy.context).paths
    bpy.app.handlers.frame_change_pre.clear()
    assert sum(played) == (4 + END - START + 1 if all_frames else 4)  # and once back to where it was


@pytest.fixture
def moving_solution(make_solution):
    """The fixture's cameras with one focal length each, of which the first and the last move."""

    def make(moving=(0, 2), T=12, fps=30.0, offsets=(0.0, 0.0, 0.0), drift=0.0):
        solution = make_solution(T=T, fps=fps)
        times, cameras = solution.solved.timestamps_s, []
        for number, camera in enumerate(solution.rig.cameras):
            K = np.array(camera.intrinsics.K)
            K[1, 1] = K[0, 0]
            camera = camera.with_lens(replace(camera.intrinsics, K=K))
            if number in moving:
                turns = exp(np.sin(times[:, None] * 7 + number) * [0.02, 0.2, 0.05])
                R = turns @ camera.R
                t = -np.einsum("nij,nj->ni", R, camera.centre + np.cos(times[:, None] * 5) * [0.3, 0.1, 0.2])
                camera = replace(camera, R=R[0], t=t[0], path=CameraPath(times, R, t))
            cameras.append(camera)
        rig = replace(solution.rig, cameras=tuple(cameras))
        return replace(solution, rig=rig, offset_s=np.array(offsets), drift_ppm=np.array([0.0, 0.0, drift]))

    return make


def seen_through(scene, item, points):
    """Px of points (m) through a Blender camera, by Blender's own projection."""
    render, size = scene.render, np.array(item["sightline_image_size"])
    render.resolution_x, render.resolution_y = (int(value) for value in size)
    points = points / scene.unit_settings.scale_length
    seen = np.array([world_to_camera_view(scene, item, Vector(point))[:2] for point in points])
    return np.column_stack([seen[:, 0], 1 - seen[:, 1]]) * size - 0.5


def points_around():
    return np.random.default_rng(3).uniform((-0.5, -0.5, 0.2), (0.5, 0.5, 1.8), size=(20, 3))


def worst_px(scene, items, solution):
    worst, times = 0.0, solution.solved.timestamps_s
    for index, time_s in enumerate(times):
        scene.frame_set(START + index)
        for item, camera in zip(items, solution.rig.cameras, strict=True):
            wanted = project(camera_at(camera, time_s), points_around())
            worst = max(worst, float(np.abs(seen_through(scene, item, points_around()) - wanted).max()))
    return worst


def test_a_solution_s_cameras_move_in_the_scene(scene, moving_solution):
    solution = moving_solution()
    built = build_scene(bpy.context, solution, TakeInfo("a"))
    assert [bool(item.animation_data) for item in built.cameras] == [True, False, True]
    assert worst_px(scene, built.cameras, solution) < 0.1
    still = moving_solution(moving=())
    assert worst_px(scene, built.cameras, still) > 5  # the control
    for item in built.cameras[::2]:
        turns = np.array([item.matrix_world.to_quaternion()[:] for scene.frame_current in range(START, START + 12)])
        assert (np.sum(turns[1:] * turns[:-1], axis=1) > 0).all()


def test_a_second_solve_replaces_and_a_camera_may_stand_still_again(scene, moving_solution):
    first = build_scene(bpy.context, moving_solution(), TakeInfo("a"))
    actions = len(bpy.data.actions)
    again = build_scene(bpy.context, moving_solution(), TakeInfo("a"))
    assert again.cameras == first.cameras and len(bpy.data.actions) == actions
    still = moving_solution(moving=(0,))
    third = build_scene(bpy.context, still, TakeInfo("a"))
    assert third.cameras == first.cameras and third.cameras[2].animation_data is None
    assert len(bpy.data.actions) == actions - 1
    assert worst_px(scene, third.cameras, still) < 0.1
    back = build_scene(bpy.context, moving_solution(), TakeInfo("a"))
    assert back.cameras == first.cameras and worst_px(scene, back.cameras, moving_solution()) < 0.1


def test_what_somebody_did_to_a_moving_camera_stays(scene, moving_solution):
    built = build_scene(bpy.context, moving_solution(), TakeInfo("a"))
    scene.frame_set(START + 7)  # another frame is no edit
    assert build_scene(bpy.context, moving_solution(), TakeInfo("a")).cameras == built.cameras
    mine = built.cameras[0]
    mine.location.z += 0.5
    mine.keyframe_insert("location", frame=START + 7)
    fixed = mine.location.copy()
    after = build_scene(bpy.context, moving_solution(), TakeInfo("a"))
    assert after.cameras[0] != mine and mine[LAYER] == CLEANED
    scene.frame_set(START + 7)
    assert (mine.matrix_world.translation - fixed).length < 1e-5
    assert worst_px(scene, after.cameras, moving_solution()) < 0.1


@pytest.mark.parametrize("fps", [30.0, 15.0])
def test_our_own_cameras_know_their_pictures(scene, moving_solution, tmp_path, fps):
    """Read again as a calibration, by the numbers of their videos' pictures: offsets between frames, drift, rates."""
    solution = moving_solution(offsets=(0.0, 0.0, -0.1234), drift=500.0)
    info = TakeInfo("a", video_fps=dict.fromkeys(solution.rig.names, fps))
    built = build_scene(bpy.context, solution, info)
    assert PICTURES in built.cameras[2]
    export_cameras(bpy.context, tmp_path / "cameras.toml")
    read = read_calibration(tmp_path / "cameras.toml")
    assert set(read.paths) == {"cam01", "side"}
    for number, (offset_s, drift) in {0: (0.0, 0.0), 2: (-0.1234, 500.0)}.items():
        camera = solution.rig.cameras[number]
        path = read.paths[camera.name]
        times = path.frames / fps * (1 + 1e-6 * drift) + offset_s
        assert times.min() > -1e-4 and times.max() < solution.solved.timestamps_s[-1] + 1e-4  # none that was not solved
        assert len(times) >= 12 * fps / 30 - 1
        R, t = poses_at(camera, times)
        assert np.abs(-np.einsum("nji,nj->ni", path.R, path.t) + np.einsum("nji,nj->ni", R, t)).max() < 1e-5
        assert np.linalg.norm(path.R @ R.swapaxes(-1, -2) - np.eye(3), axis=(-1, -2)).max() < 1e-4


def test_a_camera_of_ours_without_a_single_picture_is_refused(scene, moving_solution):
    solution = moving_solution()
    built = build_scene(bpy.context, solution, TakeInfo("a", video_fps=dict.fromkeys(solution.rig.names, 30.0)))
    views = {"side": ViewInTake((20, 30), float(START), 1.0, 30.0)}  # later than what was solved
    with pytest.raises(InputError, match="camera 'side' moves, and no picture of its video lies in its frames"):
        scene_cameras(bpy.context, ["side"], views=views)
    assert not scene_cameras(bpy.context, ["side"], frame=START + 3, views=views).paths
    del built.cameras[2][PICTURES]
    assert len(scene_cameras(bpy.context, ["side"]).paths["side"].frames) == 12  # an animation like any other
