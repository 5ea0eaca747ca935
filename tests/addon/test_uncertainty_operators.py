"""The buttons and overlays of the uncertainty, on scenes that solves left; everything but the drawing itself."""

import dataclasses
import json
import logging
import os

import bpy
import numpy as np
import pytest
from sightline import addon
from sightline.addon.host.animation import action_curves
from sightline.addon.host.axes import ellipsoid_factor
from sightline.addon.host.camera_frame import CameraFrame
from sightline.addon.host.ellipsoids import FACTOR
from sightline.addon.host.parts import JOINT, parts_in
from sightline.addon.host.scene import TakeInfo, build_scene
from sightline.addon.overlays import band, bodies, handlers, plate, shown
from sightline.addon.trusting import LIGHT, remember_trust, show_lights
from sightline.inference.errors import InputError
from sightline.inference.files.kept_keypoints import KeptKeypoints, write_kept
from sightline.inference.files.solution import write_solution
from sightline.inference.geometry.projection import project
from sightline.inference.types import Keypoints2D


def enter(solution, folder, take="balancing"):
    """What a solve leaves in the scene."""
    folder.mkdir(exist_ok=True)
    write_solution(folder / "solution.npz", solution)
    built = build_scene(bpy.context, solution, TakeInfo(take))
    known = bpy.context.scene.sightline
    known.take, known.solution_path = take, str(folder / "solution.npz")
    remember_trust(bpy.context.scene, take, folder)
    return built


@pytest.fixture
def solved(registered, empty_scene, make_solution, tmp_path):
    solution = make_solution(T=40)
    return solution, enter(solution, tmp_path / "results")


def one():
    return next(shown.shown_takes(bpy.context.scene))


def test_ellipsoids_at_another_share_keep_their_keys(solved):
    solution, built = solved
    item = built.ellipsoids[0]
    keys = [tuple(k.co) for c in action_curves(item.animation_data.action) for k in c.keyframe_points]
    factor = item[FACTOR]
    assert bpy.ops.sightline.ellipsoid_share(share="50") == {"FINISHED"}
    assert item.empty_display_size == pytest.approx(ellipsoid_factor(np.inf, 0.5) / ellipsoid_factor(np.inf, 0.9))
    assert item[FACTOR] == factor
    assert [tuple(k.co) for c in action_curves(item.animation_data.action) for k in c.keyframe_points] == keys
    radii = np.linalg.norm(np.array(item.matrix_world)[:3, :3], axis=0) * item.empty_display_size
    sigma = np.sqrt(np.linalg.eigvalsh(solution.solved.covariance[0, 0, 0]))
    assert np.allclose(np.sort(radii), sigma * ellipsoid_factor(np.inf, 0.5), rtol=1e-4)


def test_the_share_outlives_the_next_solve(solved, tmp_path):
    solution, _ = solved
    bpy.ops.sightline.ellipsoid_share(share="95")
    built = enter(solution, tmp_path / "results")
    assert built.ellipsoids[0].empty_display_size > 1.05


def test_single_joints_are_hidden_and_shown(solved):
    _, built = solved
    neck = next(item for item in built.ellipsoids if item[JOINT] == "neck")
    bpy.ops.sightline.show_joint(joint="neck", shown=False)
    assert [item for item in built.ellipsoids if item.hide_get()] == [neck]
    drawn, _ = bodies.ellipsoid_places(one(), 0)
    bpy.ops.sightline.show_joint(shown=True)
    assert not any(item.hide_get() for item in built.ellipsoids)
    assert len(bodies.ellipsoid_places(one(), 0)[0]) == len(drawn) + 1


def test_worst_frames_in_turn(solved):
    scene = bpy.context.scene
    bpy.ops.sightline.worst_frame()
    first = scene.frame_current
    assert 5 <= first <= 7 and "left wrist missing" in scene.sightline.overlay.told  # lost in the take's frames 4 to 6
    bpy.ops.sightline.worst_frame()
    assert abs(scene.frame_current - first) > 15
    for _ in range(4):
        bpy.ops.sightline.worst_frame()
    bpy.ops.sightline.worst_frame(restart=True)
    assert scene.frame_current == first and "No. 1" in scene.sightline.overlay.told


def test_the_keys_of_a_doubt_are_selected(solved):
    _, built = solved
    known = bpy.context.scene.sightline.overlay
    index = next(i for i, doubt in enumerate(known.doubts) if "left wrist" in doubt.name)
    known.doubt_index = index
    assert bpy.ops.sightline.select_doubt() == {"FINISHED"}
    doubt = known.doubts[index]
    chosen = {
        (curve.data_path.split('"')[1], round(key.co[0]))
        for curve in action_curves(built.armatures[0].animation_data.action)
        for key in curve.keyframe_points
        if key.select_control_point
    }
    assert {bone for bone, _ in chosen} == {"left_forearm"}
    assert {frame for _, frame in chosen} == set(range(doubt.first, doubt.last + 1))
    others = [c for item in built.ellipsoids for c in action_curves(item.animation_data.action)]
    assert not any(key.select_control_point for curve in others for key in curve.keyframe_points)
    names = {b.name for b in built.armatures[0].pose.bones if (b if hasattr(b, "select") else b.bone).select}
    assert names == {"left_forearm"} and bpy.context.view_layer.objects.active == built.armatures[0]
    with pytest.raises(RuntimeError, match="choose a span"):
        bpy.ops.sightline.select_doubt(index=999)


def test_joints_that_are_never_sure_are_named(solved, make_body, tmp_path):
    """They have no span of doubt of their own; the panel must not call every joint usable because of that."""
    known = bpy.context.scene.sightline.overlay
    assert "left knee" in known.never and known.never.startswith("never surer than 5 cm: ")
    assert not any("left knee" in doubt.name for doubt in known.doubts)
    sure = make_body(T=8)
    for count in (len(sure.solved.joint_names), 9):
        wide = np.where(np.arange(len(sure.solved.joint_names)) < count, 100.0, 1.0)[:, None, None]
        wide_joints = dataclasses.replace(sure.solved, covariance=wide * sure.solved.covariance)
        enter(dataclasses.replace(sure, solved=wide_joints), tmp_path / f"unsure {count}")
        if count == 9:
            assert not known.doubts and known.some_sure and known.never.endswith("and 3 more joints")
        else:
            assert not known.doubts and not known.some_sure and known.never == "no joint is ever surer than 5 cm"
    enter(sure, tmp_path / "sure")
    assert not known.doubts and known.some_sure and known.never == ""


def test_markers_come_and_go_and_the_animator_s_stay(solved):
    scene = bpy.context.scene
    count = len(scene.sightline.overlay.doubts)
    own = scene.timeline_markers.new("left wrist", frame=30)
    bpy.ops.sightline.mark_doubts()
    bpy.ops.sightline.mark_doubts()
    assert len(scene.timeline_markers) == count + 1
    scene.timeline_markers[-1].name = "mine now"
    bpy.ops.sightline.mark_doubts(remove=True)
    assert {marker.name for marker in scene.timeline_markers} == {"mine now", own.name}


def test_bones_are_drawn_where_they_stand(solved):
    solution, built = solved
    bpy.context.scene.frame_set(10)
    points, colour = bodies.bone_lines(one(), 9)
    tails = points[1::2]
    assert np.abs(tails[:6] - solution.solved.xyz[9, 0, 1:7]).max() < 1e-3
    assert np.allclose(colour[1], one().data.colour[9, 0, 1])
    built.armatures[0].name = "somebody else's name"
    assert len(bodies.bone_lines(one(), 9)[0]) == len(points)
    built.armatures[0].hide_viewport = True
    bpy.context.view_layer.update()
    assert len(bodies.bone_lines(one(), 9)[0]) == 0


def test_deleted_objects_are_left_out(solved):
    _, built = solved
    count = len(bodies.ellipsoid_places(one(), 0)[0])
    bpy.data.objects.remove(built.armatures[0])
    bpy.data.objects.remove(built.ellipsoids[0])
    assert len(bodies.bone_lines(one(), 0)[0]) == 0
    assert len(bodies.ellipsoid_places(one(), 0)[0]) == count - 1
    with pytest.raises(RuntimeError, match="not there, or hidden"):
        bpy.ops.sightline.select_doubt(index=0)


def test_two_takes_are_both_drawn(solved, make_solution, tmp_path):
    enter(make_solution(T=25, seed=3), tmp_path / "other", "walking")
    found = {take.take: take for take in shown.shown_takes(bpy.context.scene)}
    assert {name: len(take.data.sigma) for name, take in found.items()} == {"balancing": 40, "walking": 25}
    assert all(len(bodies.bone_lines(take, 0)[0]) == 14 for take in found.values())
    assert found["walking"].index(found["walking"].start + 30) is None


def test_a_saved_file_shows_the_same_and_a_lost_solution_nothing(solved, tmp_path):
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "scene.blend"))
    assert len(bodies.bone_lines(one(), 0)[0]) == 14
    assert len(handlers._HANDLES) == len(handlers.OVERLAYS)
    os.remove(tmp_path / "results" / "solution.npz")
    assert list(shown.shown_takes(bpy.context.scene)) == []
    with pytest.raises(RuntimeError, match="not there any more"):
        bpy.ops.sightline.worst_frame()


def test_undo_leaves_the_overlays_at_work(solved):
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.sightline.ellipsoid_share(share="95")
    bpy.ops.ed.undo_push(message="after")
    bpy.ops.ed.undo()
    take = one()
    assert bpy.context.scene.sightline.overlay.share == "90"
    assert len(bodies.bone_lines(take, 0)[0]) == 14
    assert take.ellipsoid(0, 0).empty_display_size == pytest.approx(1.0)


def test_a_new_solve_is_read_anew(solved, make_solution, tmp_path):
    before = one().data
    assert one().data is before
    write_solution(tmp_path / "results" / "solution.npz", make_solution(T=30))
    os.utime(tmp_path / "results" / "solution.npz", (1, 1))
    assert len(one().data.sigma) == 30


def test_the_band_s_cells(solved):
    points, colour, triangles = band.band_faces(one(), False, 1)
    assert points[:, 0].min() == 0 and points[:, 0].max() == 40
    assert len(points) == len(colour) and triangles.max() == len(points) - 1
    assert len(triangles) == len(points) // 2
    assert np.allclose(colour[4], one().data.colour[0, 0, :7][np.nanargmax(one().data.sigma[0, 0, :7])])
    coarse, _, _ = band.band_faces(one(), False, 16)
    assert sorted(set(coarse[:, 0])) == [0, 16, 32, 40]


@pytest.fixture
def with_keypoints(solved, tmp_path):
    solution, built = solved
    views = []
    for camera in solution.rig.cameras:
        xy = project(camera, solution.solved.xyz) + 2.0
        seen = np.isfinite(xy).all(axis=-1)
        covariance = np.where(seen[..., None, None], np.eye(2), np.nan)
        names = (*solution.solved.joint_names[:-1], "hat")
        views.append(Keypoints2D(camera.name, names, solution.solved.timestamps_s, xy, covariance, seen * 0.8))
    kept = KeptKeypoints("", solution.rig, tuple(views), np.zeros(3), np.zeros(3), np.zeros(len(views[0].joint_names)))
    write_kept(tmp_path / "results" / "keypoints.kept", kept)
    return solution, built


def test_skeleton_and_keypoints_over_the_footage(with_keypoints):
    solution, _ = with_keypoints
    camera = solution.rig.cameras[0]
    frame = CameraFrame(np.zeros(2), np.array([1920.0, 1080.0]), camera.intrinsics, undistorted=False)
    points, colour = plate.skeleton_lines(one(), 9, 0, frame)
    assert points.shape == (2 * 7 * 6, 2) and colour.shape == (84, 4)
    u, v = project(camera, solution.solved.xyz[9, 0, 0])
    assert np.allclose(points[0], [u + 0.5, 1080 - (v + 0.5)])
    kept = shown.shown_keypoints(one())
    crosses, tint, links, _ = plate.keypoint_marks(one(), kept, 9, 0, frame)
    assert len(crosses) == 7 and np.allclose(crosses[0] - points[0], [2, -2])
    assert np.allclose(links[1] - points[0], 0) and tint[0, 1] > tint[0, 0]


def test_keypoints_of_another_solve_are_not_drawn(with_keypoints, make_solution, tmp_path):
    write_solution(tmp_path / "results" / "solution.npz", make_solution(T=30))
    os.utime(tmp_path / "results" / "solution.npz", (1, 1))
    assert shown.shown_keypoints(one()) is None


def test_the_plate_is_switched_per_camera(solved):
    _, built = solved
    bpy.ops.sightline.toggle_plate(view="cam02")
    assert [bool(camera.get(plate.SWITCH)) for camera in built.cameras] == [False, True, False]
    bpy.ops.sightline.toggle_plate(view="cam02")
    assert not built.cameras[1][plate.SWITCH]
    with pytest.raises(RuntimeError, match="'nobody'"):
        bpy.ops.sightline.toggle_plate(view="nobody")


def test_lights_come_from_the_report(solved, tmp_path):
    _, built = solved
    assert [camera[LIGHT] for camera in built.cameras] == ["", "", ""]  # no report
    views = [
        {"name": name, "size": [640, 480], "reprojection_px": {"left_out": {"median": px}, "solved": {"median": 1.0}}}
        for name, px in (("cam01", 3), ("cam02", 30), ("side", None))
    ]
    (tmp_path / "results" / "report.json").write_text(json.dumps({"views": views}))
    show_lights(bpy.context.scene, "balancing", tmp_path / "results")
    assert [camera[LIGHT] for camera in built.cameras] == ["green", "red", "green"]
    assert parts_in(bpy.context.scene, "camera", "balancing")


def test_no_handler_is_left_after_ten_times(empty_scene):
    for _ in range(10):
        addon.register()
        assert len(handlers._HANDLES) == len(handlers.OVERLAYS)
        addon.unregister()
    assert handlers._HANDLES == []


def test_a_failing_overlay_stops_with_one_line(solved, caplog):
    def fail(_context):
        calls.append(1)
        raise InputError("broken\nfile")

    calls = []
    failing = handlers.Overlay("bones", "SpaceView3D", "POST_VIEW", fail)
    known = bpy.context.scene.sightline.overlay
    known.bones = True
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            handlers.run(failing)
    assert len(calls) == 1 and handlers.stopped() == ["bones"]
    assert [record.getMessage() for record in caplog.records] == ["the overlay bones stopped: InputError: broken file"]
    known.bones = False
    handlers.run(failing)
    known.bones = True
    assert handlers.stopped() == []
    handlers.run(failing)
    assert len(calls) == 2
