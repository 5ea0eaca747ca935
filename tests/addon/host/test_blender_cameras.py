"""Cameras of a scene as a calibration: against Blender's own projection, its lens models and its camera solver."""

import bpy
import cv2
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Matrix, Vector
from sightline.addon.host.axes import clip_distortion, clip_matrix
from sightline.addon.host.blender_cameras import export_cameras, scene_cameras
from sightline.addon.host.scene import TakeInfo, build_scene
from sightline.inference.errors import CalibrationError, InputError
from sightline.inference.files.calibration import read_calibration
from sightline.inference.geometry.projection import project, undistort_points
from sightline.inference.types import Camera

BOUND_PX = 1e-3


def add_camera(name="left", place=(4.0, -3.0, 1.5), target=(0, 0, 1)):
    item = bpy.data.objects.new(name, bpy.data.cameras.new(name))
    bpy.context.scene.collection.objects.link(item)
    turn = (Vector(target) - Vector(place)).to_track_quat("-Z", "Y")
    item.matrix_world = Matrix.Translation(place) @ turn.to_matrix().to_4x4()
    return item


def picture(path, size):
    cv2.imwrite(str(path), np.zeros((size[1], size[0], 3), np.uint8))
    return bpy.data.movieclips.load(str(path))


def points_around(seed=3):
    return np.random.default_rng(seed).uniform((-1, -1, 0), (1, 1, 2), size=(200, 3))


def pixel_error(cameras, others, points):
    errors = [
        np.linalg.norm(project(a, points) - project(b, points), axis=-1) for a, b in zip(cameras, others, strict=True)
    ]
    return float(np.max(errors))


@pytest.mark.parametrize("scale_length", [1.0, 0.01])
def test_a_solved_scene_gives_its_cameras_back(empty_scene, make_solution, tmp_path, scale_length):
    """Equal focal lengths, since a Blender camera has one: half of the fx - fy of the fixture's first is 0.15 px."""
    empty_scene.scene.unit_settings.scale_length = scale_length
    solution = make_solution()
    square = [one_focal_length(camera) for camera in solution.rig.cameras]
    object.__setattr__(solution.rig, "cameras", tuple(square))
    build_scene(empty_scene, solution, TakeInfo("a"))
    found = export_cameras(empty_scene, tmp_path / "cameras.toml")
    read = read_calibration(tmp_path / "cameras.toml")
    assert [c.name for c in found.cameras] == list(read.cameras) and not read.warnings
    again = [read.cameras[camera.name] for camera in square]
    assert pixel_error(square, again, points_around()) < BOUND_PX
    turned = type(square[0])(square[0].intrinsics, square[0].R @ cv2.Rodrigues(np.array([0, 0, 1e-5]))[0], square[0].t)
    assert pixel_error(square[:1], [turned], points_around()) > BOUND_PX  # the control: the measure sees a microradian


def one_focal_length(camera):
    inner = camera.intrinsics
    K = np.array(inner.K)
    K[1, 1] = K[0, 0]
    lens = type(inner)(inner.name, inner.image_size, K, inner.distortion, inner.distortion_model)
    return type(camera)(lens, camera.R, camera.t)


@pytest.mark.parametrize("fit", ["AUTO", "HORIZONTAL", "VERTICAL"])
@pytest.mark.parametrize("resolution", [(1920, 1080, 100), (720, 1280, 50)])
@pytest.mark.parametrize("aspect", [(1.0, 1.0), (1.0, 1.25), (1.5, 1.0)])
def test_pixels_are_those_of_blenders_own_projection(empty_scene, fit, resolution, aspect):
    scene, item = empty_scene.scene, add_camera()
    lens, render = item.data, scene.render
    lens.sensor_fit, lens.sensor_width, lens.sensor_height, lens.lens = fit, 30.0, 17.0, 21.0
    lens.shift_x, lens.shift_y = 0.11, -0.07
    render.resolution_x, render.resolution_y, render.resolution_percentage = resolution
    render.pixel_aspect_x, render.pixel_aspect_y = aspect
    item.scale = (2, 2, 2)  # no part of a camera's pose
    (camera,) = scene_cameras(empty_scene).cameras
    size = np.array(resolution[:2]) * resolution[2] // 100
    assert camera.intrinsics.image_size == tuple(size)
    points = points_around()
    seen = np.array([world_to_camera_view(scene, item, Vector(p))[:] for p in points])
    # Blender's share of the picture, from its lower left corner
    wanted = np.column_stack([seen[:, 0] * size[0], (1 - seen[:, 1]) * size[1]]) - 0.5
    assert np.abs(project(camera, points) - wanted).max() < 5e-3  # single precision on Blender's side


def tracked_rays(scene, item, clip, places):
    """Where Blender puts a point one metre in front of the camera for markers at these places: its own undistortion."""
    empties = []
    for number, place in enumerate(places):
        track = clip.tracking.tracks.new(name=f"t{number}", frame=1)
        track.markers[0].co = place
        empty = bpy.data.objects.new(f"t{number}", None)
        empty.location = item.matrix_world @ Vector((0, 0, -1))
        scene.collection.objects.link(empty)
        follow = empty.constraints.new("FOLLOW_TRACK")
        follow.clip, follow.track, follow.camera = clip, track.name, item
        follow.use_active_clip, follow.use_undistorted_position = False, True
        empties.append(empty)
    scene.frame_set(1)
    depsgraph = bpy.context.evaluated_depsgraph_get()
    local = [
        item.matrix_world.inverted() @ empty.evaluated_get(depsgraph).matrix_world.translation for empty in empties
    ]
    return np.array([(p.x / -p.z, p.y / p.z) for p in local])


@pytest.mark.parametrize(
    ("model", "settings", "bound_px"),
    [
        ("POLYNOMIAL", {"k1": -0.2, "k2": 0.05, "k3": -0.01}, 2e-3),
        ("DIVISION", {"division_k1": -0.2, "division_k2": 0.05}, 2e-3),
        ("BROWN", {"brown_k1": -0.2, "brown_k2": 0.05, "brown_k3": 0.01, "brown_p1": 0.01, "brown_p2": -0.02}, 2e-3),
        ("BROWN", {"brown_k1": -0.2, "brown_k2": 0.05, "brown_k4": 0.02, "brown_p1": 0.003, "brown_p2": 0.004}, 0.1),
        ("NUKE", {"nuke_k1": -0.1, "nuke_k2": 0.02}, 0.1),
    ],
)
def test_lens_models_are_those_that_blender_measures(empty_scene, tmp_path, model, settings, bound_px):
    scene, item = empty_scene.scene, add_camera()
    clip = picture(tmp_path / "p.png", (640, 400))
    scene.render.resolution_x, scene.render.resolution_y = 640, 400
    item.data.sensor_fit, item.data.sensor_width, item.data.lens = "HORIZONTAL", 36.0, 500 / 640 * 36
    tracker = clip.tracking.camera
    tracker.focal_length_pixels, tracker.principal_point_pixels = 500.0, (320.0, 200.0)
    tracker.distortion_model = model
    for key, value in settings.items():
        setattr(tracker, key, value)
    places = np.random.default_rng(0).uniform(0.03, 0.97, (20, 2))
    rays = tracked_rays(scene, item, clip, places)
    shown = item.data.background_images.new()
    shown.source, shown.clip = "MOVIE_CLIP", clip
    found = scene_cameras(empty_scene)
    lens = found.cameras[0].intrinsics
    pixels = np.column_stack([places[:, 0] * 640, (1 - places[:, 1]) * 400]) - 0.5
    off_px = np.abs(undistort_points(lens, pixels) - rays).max() * 500
    assert off_px < bound_px
    assert bool(found.warnings) == (bound_px == 0.1)  # a fit says its error
    bare = type(lens)(lens.name, lens.image_size, lens.K, np.zeros(5))
    assert np.abs(undistort_points(bare, pixels) - rays).max() * 500 > 5  # the control: without distortion it is seen


def test_a_clips_matrix_by_hand():
    # principal point 310 px from the left and 190 px from the bottom of 640 x 400: pixel (309.5, 400 - 190 - 0.5)
    K = clip_matrix((640, 400), 500.0, (310.0, 190.0), 1.25)
    np.testing.assert_allclose(K, [[500, 0, 309.5], [0, 400, 209.5], [0, 0, 1]])


def test_a_lens_that_folds_or_is_unknown_is_refused():
    K = clip_matrix((640, 400), 300.0, (320.0, 200.0), 1.0)
    with pytest.raises(CalibrationError, match="folds"):
        clip_distortion("NUKE", np.array([0.0, 9.0]), K, (640, 400))
    with pytest.raises(CalibrationError, match="not known"):
        clip_distortion("ANAMORPHIC", np.array([0.1]), K, (640, 400))


def test_a_lens_that_opencv_cannot_come_near_is_refused(empty_scene, tmp_path):
    item, clip = add_camera(), picture(tmp_path / "p.png", (640, 400))
    tracker = clip.tracking.camera
    tracker.focal_length_pixels, tracker.principal_point_pixels = 250.0, (320.0, 200.0)
    tracker.distortion_model, tracker.nuke_k1, tracker.nuke_k2 = "NUKE", 0.05, 0.32
    shown = item.data.background_images.new()
    shown.source, shown.clip = "MOVIE_CLIP", clip
    with pytest.raises(CalibrationError, match=r"'left', clip 'p.png': .*(no nearer to NUKE|folds)"):
        scene_cameras(empty_scene)


def test_a_camera_that_moves_is_taken_as_still_in_a_frame(empty_scene):
    scene, item = empty_scene.scene, add_camera()
    add_camera("right", (-4, -3, 1.5))
    scene.frame_start, scene.frame_end = 1, 12
    item.keyframe_insert("location", frame=1)
    item.keyframe_insert("location", frame=5)
    assert not scene_cameras(empty_scene).paths  # keys alone do not move it
    item.location.x += 0.2
    item.keyframe_insert("location", frame=9)
    scene.frame_set(3)
    assert list(scene_cameras(empty_scene).paths) == ["left"] and scene.frame_current == 3
    late = scene_cameras(empty_scene, frame=9)
    assert late.cameras[0].centre[0] == pytest.approx(4.2, abs=1e-5) and not late.paths


def test_wrong_scenes_are_one_line(empty_scene):
    with pytest.raises(InputError, match="has no camera"):
        scene_cameras(empty_scene)
    item = add_camera()
    with pytest.raises(InputError, match="no camera 'lfet'; it has left"):
        scene_cameras(empty_scene, ["lfet"])
    item.data.type = "ORTHO"
    with pytest.raises(CalibrationError, match="'left' is not a perspective camera"):
        scene_cameras(empty_scene)
    item.data.type = "PERSP"
    item.scale = (-1, 1, 1)
    with pytest.raises(CalibrationError, match="mirrored"):
        scene_cameras(empty_scene)
    item.scale = (1, 1, 1)
    item.constraints.new("CAMERA_SOLVER").use_active_clip = True
    scene_cameras(empty_scene)  # a constraint without a clip does nothing


@pytest.fixture
def solved_clip(empty_scene, tmp_path):
    """A clip of 25 frames with 24 exact tracks in 20 of them, through a bent lens, of a moving camera."""
    size, K = (640, 400), np.array([[500.0, 0, 329.5], [0, 500.0, 209.5], [0, 0, 1]])
    for number in range(1, 26):
        cv2.imwrite(str(tmp_path / f"f_{number:04d}.png"), np.zeros((size[1], size[0], 3), np.uint8))
    clip = bpy.data.movieclips.load(str(tmp_path / "f_0001.png"))
    tracker = clip.tracking.camera
    tracker.units, tracker.focal_length_pixels, tracker.k1 = "PIXELS", 500.0, -0.1
    tracker.principal_point_pixels = (330.0, 190.0)
    points = np.random.default_rng(0).uniform((-1.5, -1, 4), (1.5, 1, 7), (24, 3))
    for number, point in enumerate(points):
        track = clip.tracking.tracks.new(name=f"t{number}", frame=1)
        for frame in range(1, 21):
            turn, move = np.array([0.0015, 0.018, 0]) * frame, np.array([-0.09, 0.015, 0]) * frame
            u, v = cv2.projectPoints(point[None], turn, move, K, np.array([-0.1, 0, 0, 0, 0]))[0].ravel()
            place = (u + 0.5) / size[0], 1 - (v + 0.5) / size[1]
            if frame == 1:
                track.markers[0].co = place
            else:
                track.markers.insert_frame(frame, co=place)
    clip.tracking.objects.active.keyframe_a, clip.tracking.objects.active.keyframe_b = 1, 20
    return clip


def solve_clip(clip):
    window = bpy.context.window_manager.windows[0]
    area = window.screen.areas[0]
    area.type, region = "CLIP_EDITOR", None
    area.spaces.active.clip = clip
    region = next(r for r in area.regions if r.type == "WINDOW")
    with bpy.context.temp_override(window=window, area=area, region=region):
        assert bpy.ops.clip.solve_camera("EXEC_DEFAULT") == {"FINISHED"}


def test_a_tracking_solve_is_taken_in_the_frame_that_is_asked_for(empty_scene, solved_clip):
    """The camera that we read shows Blender's own bundles where their markers are, through the clip's lens."""
    scene, item = empty_scene.scene, add_camera("phone", (0.5, 0.2, 0.1))
    follow = item.constraints.new("CAMERA_SOLVER")
    follow.use_active_clip, follow.clip = False, solved_clip
    with pytest.raises(CalibrationError, match="is not solved"):
        scene_cameras(empty_scene, frame=13)
    solve_clip(solved_clip)
    (camera,) = scene_cameras(empty_scene, frame=13).cameras
    np.testing.assert_allclose(camera.intrinsics.distortion, [-0.1, 0, 0, 0, 0], atol=1e-8)
    tracks = solved_clip.tracking.tracks
    world = np.array([item.matrix_basis @ track.bundle for track in tracks])
    places = np.array([track.markers.find_frame(13).co for track in tracks])
    wanted = np.column_stack([places[:, 0] * 640, (1 - places[:, 1]) * 400]) - 0.5
    assert np.abs(project(camera, world) - wanted).max() < 0.02
    (other,) = scene_cameras(empty_scene, frame=12).cameras
    assert np.abs(project(other, world) - wanted).max() > 1  # the control: the frame before is another camera
    assert scene.frame_current == 1


def test_a_tracking_solve_moves_its_camera(empty_scene, solved_clip, tmp_path):
    """Every picture that was tracked has a pose that shows the bundles where their markers are; no other has one."""
    item = add_camera("phone", (0.5, 0.2, 0.1))
    follow = item.constraints.new("CAMERA_SOLVER")
    follow.use_active_clip, follow.clip = False, solved_clip
    solve_clip(solved_clip)
    solved_clip.frame_start = 1001
    found = export_cameras(empty_scene, tmp_path / "cameras.toml")
    path = read_calibration(tmp_path / "cameras.toml").paths["phone"]
    assert solved_clip.frame_duration == 25 and list(path.frames) == list(range(20))
    tracks = solved_clip.tracking.tracks
    world = np.array([item.matrix_basis @ track.bundle for track in tracks])
    lens, errors = found.cameras[0].intrinsics, []
    for number, R, t in zip(path.frames, path.R, path.t, strict=True):
        places = np.array([track.markers.find_frame(int(number) + 1).co for track in tracks])
        wanted = np.column_stack([places[:, 0] * 640, (1 - places[:, 1]) * 400]) - 0.5
        errors.append(np.abs(project(Camera(lens, R, t), world) - wanted).max())
    assert max(errors) < 0.02
    assert np.linalg.norm(np.ptp(path.t, axis=0)) > 0.1


def test_the_scene_s_own_clip_is_played_too(empty_scene, solved_clip):
    item = add_camera("phone")
    item.constraints.new("CAMERA_SOLVER").use_active_clip = True
    empty_scene.scene.active_clip = solved_clip
    solve_clip(solved_clip)
    assert len(scene_cameras(empty_scene).paths["phone"].frames) == 20
    objects = solved_clip.tracking.objects
    objects.active = objects.new("prop")  # whose tracks are edited is of no account
    assert len(scene_cameras(empty_scene).paths["phone"].frames) == 20
