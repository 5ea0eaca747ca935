"""A solution in the scene: what stands there, and what a second solve may and may not touch."""

import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Matrix, Vector
from sightline.addon.host import animation
from sightline.addon.host.cameras import IMAGE_SIZE, set_resolution
from sightline.addon.host.ellipsoids import FACTOR
from sightline.addon.host.parts import FINGERPRINT
from sightline.addon.host.scene import TakeInfo, build_scene, fingerprint

INFO = TakeInfo("balancing")


def evaluated(item):
    return item.evaluated_get(bpy.context.evaluated_depsgraph_get())


def ours(kind, layer="solved"):
    found = [o for o in bpy.context.scene.objects if o.get("sightline_kind") == kind]
    return [o for o in found if o.get("sightline_layer") == layer]


def tail_errors_m(solution, armature, person, scene):
    """(T, B) distance between bone tails in the scene and the solved joints."""
    errors = []
    for frame in range(scene.frame_start, scene.frame_end + 1):
        scene.frame_set(frame)
        item = evaluated(armature)
        tails = [item.matrix_world @ item.pose.bones[b].tail for b in solution.motion.skeleton.bone_names]
        metres = np.array(tails) * scene.unit_settings.scale_length
        errors.append(np.linalg.norm(metres - solution.solved.xyz[frame - scene.frame_start, person, 1:], axis=-1))
    return np.array(errors)


def project(camera, points):
    """OpenCV's projection, written out."""
    local = points @ camera.R.T + camera.t
    image = local @ camera.intrinsics.K.T
    return image[:, :2] / image[:, 2:]


@pytest.mark.parametrize("scale_length", [1.0, 0.01])
def test_cameras_project_to_the_pixel(empty_scene, make_solution, scale_length):
    scene = empty_scene.scene
    scene.unit_settings.scale_length = scale_length
    solution = make_solution()
    built = build_scene(empty_scene, solution, INFO)
    points = np.random.default_rng(3).uniform((-1, -1, 0), (1, 1, 2), size=(50, 3))
    for item, camera in zip(built.cameras, solution.rig.cameras, strict=True):
        assert set_resolution(scene, item)
        width, height = camera.intrinsics.image_size
        assert (scene.render.resolution_x, scene.render.resolution_y) == (width, height)
        bpy.context.view_layer.update()
        seen = np.array([world_to_camera_view(scene, item, Vector(p / scale_length)) for p in points])
        pixels = np.stack([seen[:, 0] * width, (1 - seen[:, 1]) * height], axis=1) - 0.5
        assert np.abs(pixels - project(camera, points)).max() < 0.3  # 0.15 of it is √(fx·fy)

        matrix = item.calc_matrix_camera(bpy.context.evaluated_depsgraph_get(), x=width, y=height)
        clip = np.c_[points / scale_length, np.ones(50)] @ np.array(matrix @ item.matrix_world.inverted()).T
        device = clip[:, :2] / clip[:, 3:]
        drawn = np.stack([(device[:, 0] + 1) / 2 * width, (1 - device[:, 1]) / 2 * height], axis=1) - 0.5
        assert np.abs(drawn - project(camera, points)).max() < 0.3


def test_unequal_focal_lengths_are_warned_of(empty_scene, make_solution):
    solution = make_solution()
    assert build_scene(empty_scene, solution, INFO).warnings == ()
    K = solution.rig.cameras[0].intrinsics.K.copy()
    K[1, 1] *= 1.02
    lens = solution.rig.cameras[0].intrinsics
    changed = type(lens)(lens.name, lens.image_size, K, lens.distortion)
    camera = type(solution.rig.cameras[0])(changed, solution.rig.cameras[0].R, solution.rig.cameras[0].t)
    rig = type(solution.rig)((camera, *solution.rig.cameras[1:]), solution.rig.covariance)
    object.__setattr__(solution, "rig", rig)
    (warning,) = build_scene(empty_scene, solution, INFO).warnings
    assert "'cam01'" in warning and "px off" in warning


@pytest.mark.parametrize("scale_length", [1.0, 0.01])
def test_bone_tails_follow_the_joints(empty_scene, make_solution, scale_length):
    empty_scene.scene.unit_settings.scale_length = scale_length
    solution = make_solution(persons=2, gap=False)
    built = build_scene(empty_scene, solution, INFO)
    assert len(built.armatures) == 2
    for person, armature in enumerate(built.armatures):
        assert tail_errors_m(solution, armature, person, empty_scene.scene).max() < 1e-4


def test_bones_keep_their_length_and_rest_does_not_depend_on_the_frame(empty_scene, make_solution):
    solution = make_solution()
    (armature,) = build_scene(empty_scene, solution, INFO).armatures
    lengths = [armature.data.bones[b].length for b in solution.motion.skeleton.bone_names]
    np.testing.assert_allclose(lengths, solution.motion.bone_length[0], atol=1e-6)
    heads = np.array([b.head_local for b in armature.data.bones])
    assert abs(heads[:, 2].min()) < 0.5  # the T pose stands on the ground
    empty_scene.scene.frame_set(9)
    build_scene(empty_scene, solution, INFO)
    np.testing.assert_array_equal(heads, [b.head_local for b in armature.data.bones])


def test_a_bone_without_length_is_kept(empty_scene, make_solution):
    solution = make_solution(gap=False)
    length = solution.motion.bone_length.copy()
    length[0, 2] = 0.0
    object.__setattr__(solution.motion, "bone_length", length)
    (armature,) = build_scene(empty_scene, solution, INFO).armatures
    assert set(solution.motion.skeleton.bone_names) < {b.name for b in armature.data.bones}
    child = armature.data.bones["left_upper_arm"]
    np.testing.assert_allclose(child.head_local, armature.data.bones["left_clavicle"].head_local, atol=1e-6)


def test_ellipsoids_are_the_covariance(empty_scene, make_solution):
    solution = make_solution(persons=2)
    built = build_scene(empty_scene, solution, INFO)
    joints = solution.solved
    seen = 0
    for frame in range(12):
        empty_scene.scene.frame_set(frame + 1)
        for item in built.ellipsoids:
            p, j = item["sightline_person"], joints.joint_names.index(item["sightline_joint"])
            item = evaluated(item)
            assert item.hide_viewport == (not joints.observed[frame, p, j])
            if item.hide_viewport:
                continue
            axes = np.array(item.matrix_world.to_3x3()) / item[FACTOR]
            wanted = joints.covariance[frame, p, j]
            assert np.linalg.norm(axes @ axes.T - wanted) < 0.01 * np.linalg.norm(wanted)
            np.testing.assert_allclose(item.matrix_world.translation, joints.xyz[frame, p, j], atol=1e-5)
            seen += 1
    assert seen == joints.observed.sum()


def test_no_key_is_nan(empty_scene, make_solution):
    build_scene(empty_scene, make_solution(), INFO)
    from sightline.addon.host.animation import action_curves

    for action in bpy.data.actions:
        for curve in action_curves(action):
            assert np.isfinite([p.co for p in curve.keyframe_points]).all()


@pytest.mark.parametrize("fps", [23.976, 24000 / 1001, 25.0, 29.97, 50.0, 59.94, 47.3, 240.0, 0.5])
def test_frame_rate_and_range(empty_scene, make_solution, fps):
    scene = empty_scene.scene
    scene.frame_start = 101
    build_scene(empty_scene, make_solution(T=48, fps=fps), INFO)
    assert scene.render.fps / scene.render.fps_base == pytest.approx(fps, rel=3e-5)
    assert (scene.frame_start, scene.frame_end) == (101, 148)


def test_everything_says_what_it_stands_for(empty_scene, make_solution):
    solution = make_solution(persons=2)
    built = build_scene(empty_scene, solution, INFO)
    assert [c["sightline_view"] for c in built.cameras] == ["cam01", "cam02", "side"]
    assert [a["sightline_person"] for a in built.armatures] == [0, 1]
    assert {(e["sightline_person"], e["sightline_joint"]) for e in built.ellipsoids} == {
        (p, j) for p in range(2) for j in solution.solved.joint_names
    }
    for item in (*built.cameras, *built.armatures, *built.ellipsoids):
        assert (item["sightline_take"], item["sightline_layer"]) == ("balancing", "solved")
    assert len(ours("point", "raw")) == len(built.ellipsoids)


def test_the_raw_layer_shows_the_raw_joints(empty_scene, make_solution):
    solution = make_solution()
    build_scene(empty_scene, solution, INFO)
    points = ours("point", "raw")
    (group,) = points[0].users_collection
    assert group.hide_viewport
    group.hide_viewport = False
    empty_scene.scene.frame_set(6)
    for item in points:
        j = solution.raw.joint_names.index(item["sightline_joint"])
        item = evaluated(item)
        assert item.hide_viewport == (not solution.raw.observed[5, 0, j])
        if not item.hide_viewport:
            np.testing.assert_allclose(item.matrix_world.translation, solution.raw.xyz[5, 0, j], atol=1e-6)


def snapshot():
    """Names and values of everything in the file that a second solve could double or disturb."""
    groups = ("objects", "cameras", "armatures", "actions", "collections", "movieclips", "scenes")
    return {name: sorted(item.name for item in getattr(bpy.data, name)) for name in groups}


def test_solving_twice_gives_the_same_scene(empty_scene, make_solution):
    build_scene(empty_scene, make_solution(persons=2), INFO)
    before = snapshot()
    build_scene(empty_scene, make_solution(persons=2), INFO)
    assert snapshot() == before


def test_a_second_solve_replaces_ours(empty_scene, make_solution):
    build_scene(empty_scene, make_solution(persons=2, seed=1), INFO)
    solution = make_solution(persons=1, seed=2, gap=False)
    built = build_scene(empty_scene, solution, INFO)
    assert ours("armature") == list(built.armatures) and len(built.armatures) == 1
    assert tail_errors_m(solution, built.armatures[0], 0, empty_scene.scene).max() < 1e-4


def test_renamed_and_moved_objects_are_found(empty_scene, make_solution):
    built = build_scene(empty_scene, make_solution(), INFO)
    for item in (*built.cameras, *built.armatures, *built.ellipsoids):
        item.name = f"Kamera {item.name[::-1]}"
    for collection in bpy.data.collections:
        collection.name = collection.name[::-1]
    count = len(bpy.data.objects)
    again = build_scene(empty_scene, make_solution(seed=9), INFO)
    assert len(bpy.data.objects) == count
    assert again.armatures == built.armatures and again.cameras == built.cameras


def test_what_belongs_to_the_user_stays(empty_scene, make_solution):
    scene = empty_scene.scene
    mine = bpy.data.objects.new("balancing person 1", bpy.data.cameras.new("cam01"))
    scene.collection.objects.link(mine)
    mine.location = (1, 2, 3)
    mine.keyframe_insert("location", frame=5)
    scene.camera = mine
    scene.render.resolution_x = 333
    for seed in (1, 2):
        build_scene(empty_scene, make_solution(seed=seed), INFO)
        scene.frame_set(5)
        assert mine.matrix_world == Matrix.Translation((1, 2, 3))
        assert scene.camera == mine and scene.render.resolution_x == 333
        assert mine.name == "balancing person 1"


def test_an_edited_action_is_kept_as_cleaned(empty_scene, make_solution):
    from sightline.addon.host.animation import action_curves, action_fingerprint

    (armature,) = build_scene(empty_scene, make_solution(seed=1), INFO).armatures
    key = action_curves(armature.animation_data.action)[5].keyframe_points[3]
    key.co.y += 0.3
    kept, action = action_fingerprint(armature), armature.animation_data.action
    (fresh,) = build_scene(empty_scene, make_solution(seed=2), INFO).armatures
    assert fresh != armature and armature["sightline_layer"] == "cleaned"
    assert armature.animation_data.action == action and action_fingerprint(armature) == kept
    (third,) = build_scene(empty_scene, make_solution(seed=3), INFO).armatures
    assert third == fresh and action_fingerprint(armature) == kept


def test_an_edited_camera_and_ellipsoid_are_kept(empty_scene, make_solution):
    built = build_scene(empty_scene, make_solution(seed=1), INFO)
    built.cameras[1].location.x += 1
    place = built.cameras[1].location.copy()
    built.ellipsoids[0].keyframe_insert("scale", frame=3.5)
    again = build_scene(empty_scene, make_solution(seed=1), INFO)
    assert built.cameras[1] not in again.cameras and built.cameras[1].location == place
    assert built.ellipsoids[0] not in again.ellipsoids
    assert again.cameras[0] == built.cameras[0]


def test_a_copy_of_our_armature_is_the_users(empty_scene, make_solution):
    (armature,) = build_scene(empty_scene, make_solution(seed=1), INFO).armatures
    copy = armature.copy()
    copy.data = armature.data.copy()
    copy.animation_data.action = armature.animation_data.action.copy()
    empty_scene.scene.collection.objects.link(copy)
    armature.name, copy.name = "zz", "aa"
    action = copy.animation_data.action
    (again,) = build_scene(empty_scene, make_solution(seed=2), INFO).armatures
    assert again == armature and copy.animation_data.action == action
    assert {armature.name, copy.name} == {"zz", "aa"}


def test_an_action_in_an_nla_strip_survives(empty_scene, make_solution):
    (armature,) = build_scene(empty_scene, make_solution(seed=1), INFO).armatures
    action = armature.animation_data.action
    armature.animation_data.nla_tracks.new().strips.new("push", 1, action)
    armature.animation_data.action = None
    build_scene(empty_scene, make_solution(seed=2), INFO)
    assert armature.animation_data.nla_tracks[0].strips[0].action == action


def test_two_takes_live_side_by_side(empty_scene, make_solution):
    build_scene(empty_scene, make_solution(seed=1), TakeInfo("first"))
    build_scene(empty_scene, make_solution(seed=2), TakeInfo("second"))
    assert {a["sightline_take"] for a in ours("armature")} == {"first", "second"}


def test_edit_mode_of_the_user_does_not_disturb(empty_scene, make_solution):
    (armature,) = build_scene(empty_scene, make_solution(), INFO).armatures
    empty_scene.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="POSE")
    (again,) = build_scene(empty_scene, make_solution(seed=4), INFO).armatures
    assert again == armature and armature.mode == "POSE" and empty_scene.view_layer.objects.active == armature


def test_hidden_collections_can_be_solved_again(empty_scene, make_solution):
    build_scene(empty_scene, make_solution(), INFO)
    for child in empty_scene.view_layer.layer_collection.children:
        child.exclude = True
    (armature,) = build_scene(empty_scene, make_solution(seed=3, gap=False), INFO).armatures
    for child in empty_scene.view_layer.layer_collection.children:
        child.exclude = False
    assert tail_errors_m(make_solution(seed=3, gap=False), armature, 0, empty_scene.scene).max() < 1e-4


def test_the_image_size_stands_on_the_camera(empty_scene, make_solution):
    built = build_scene(empty_scene, make_solution(), INFO)
    assert [tuple(c[IMAGE_SIZE]) for c in built.cameras] == [(1920, 1080), (1080, 1920), (640, 480)]
    assert empty_scene.scene.camera == built.cameras[0] and empty_scene.scene.render.resolution_x == 1920


def test_what_was_just_written_is_hashed_as_if_it_were_read_back(empty_scene, make_solution):
    """Without the memory of what was written the hashes are the same; a key that is moved changes them."""
    built = build_scene(empty_scene, make_solution(), TakeInfo("balancing"))
    sealed = [*built.armatures, *built.ellipsoids]
    assert animation._written == {}  # of the raw points too: nothing stale is left for a later look
    assert [fingerprint(item) for item in sealed] == [item[FINGERPRINT] for item in sealed]
    last = built.ellipsoids[-1]
    animation.action_curves(last.animation_data.action)[0].keyframe_points[0].co.y += 1
    assert fingerprint(last) != last[FINGERPRINT]
