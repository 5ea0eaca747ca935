"""The buttons that clean up, on a scene that a solve left: a person who stands while the feet slide a little."""

import bpy
import numpy as np
import pytest
from sightline.addon.host.layers import base_motion, layer_action, shown_layer
from sightline.addon.host.scene import TakeInfo, build_scene
from sightline.inference.files.solution import write_solution
from sightline.inference.motion.reposing import joints_of
from sightline.inference.types import Flag, Keypoints3D, Reason, SkeletonMotion, Solution

from tests.standing_person import FEET, FPS, FRAMES, standing

CLOCK = (1, FPS)


def _skeleton_motion(motion):
    """The same motion in the types of the extension's own package."""
    from sightline.inference.types import Skeleton

    old = motion.skeleton
    skeleton = Skeleton(old.joint_names, old.parents, old.bone_names, old.rest_direction)
    return SkeletonMotion(
        skeleton,
        motion.timestamps_s + 0.25,  # a take whose first frame is not at second 0
        motion.root_translation,
        motion.root_rotation,
        motion.local_rotation,
        motion.bone_length,
    )


@pytest.fixture
def solution(make_solution):
    motion, covariance = standing(noise_m=0.002, slide_m=0.02)
    moved, names = _skeleton_motion(motion), motion.skeleton.joint_names
    xyz, flag, reason = joints_of(moved, 0)[:, None], np.full((FRAMES, 1, len(names)), Flag.OBSERVED), None
    flag[30:36, 0, 5], reason = Flag.WEAK, np.zeros(flag.shape)
    reason[30:36, 0, 5] = Reason.TWO_VIEWS
    solved = Keypoints3D(names, moved.timestamps_s, xyz, covariance[:, None], flag, reason=reason)
    contact = np.zeros((FRAMES, 1, 4))
    contact[15:45] = 0.9
    rig = make_solution().rig
    return Solution(rig, solved, solved, moved, contact, FEET, np.zeros(3), np.zeros(3), np.array([0, 0, 1.0, 0]))


@pytest.fixture(params=[1.0, 0.01])
def armature(request, registered, empty_scene, solution, tmp_path):
    bpy.context.scene.unit_settings.scale_length = request.param
    write_solution(tmp_path / "solution.npz", solution)
    built = build_scene(empty_scene, solution, TakeInfo("sliding"))
    known = bpy.context.scene.sightline
    known.take, known.solution_path = "sliding", str(tmp_path / "solution.npz")
    return built.armatures[0]


def _cleaned(armature, solution):
    return joints_of(base_motion(armature, solution, CLOCK, "cleaned"), 0)


def _travel(joints, solution, joint="left_heel"):
    path = joints[15:45, solution.motion.skeleton.joint_names.index(joint)]
    return np.linalg.norm(path[:, None] - path, axis=-1).max()


def test_what_is_written_is_read_again_and_shown(armature, solution):
    assert bpy.ops.sightline.smooth_motion(time_constant_s=0.0) == {"FINISHED"}
    assert shown_layer(armature) == "cleaned"
    assert np.abs(_cleaned(armature, solution) - solution.solved.xyz[:, 0]).max() < 1e-5
    bpy.context.scene.frame_set(20)
    item = armature.evaluated_get(bpy.context.evaluated_depsgraph_get())
    bone = solution.motion.skeleton.bone_names[4]
    tail = np.array(item.matrix_world @ item.pose.bones[bone].tail) * bpy.context.scene.unit_settings.scale_length
    assert np.abs(tail - _cleaned(armature, solution)[19, 5]).max() < 1e-5


def test_feet_are_locked_on_top_of_what_is_smoothed_and_keys_reduced_on_top_of_both(armature, solution):
    assert bpy.ops.sightline.smooth_motion(time_constant_s=0.1) == {"FINISHED"}
    smoothed = _cleaned(armature, solution)
    assert _travel(smoothed, solution) > 0.015
    assert bpy.ops.sightline.lock_feet(limit="CENTIMETRES", centimetres=8.0) == {"FINISHED"}
    locked = _cleaned(armature, solution)
    assert _travel(locked, solution) < 1e-3
    wrist = solution.motion.skeleton.joint_names.index("left_wrist")
    assert np.abs(locked[:, wrist] - smoothed[:, wrist]).max() < 1e-5
    assert bpy.ops.sightline.reduce_keys(source="cleaned", sigmas=0.5) == {"FINISHED"}
    assert np.linalg.norm(_cleaned(armature, solution) - locked, axis=-1).max() <= 0.005 * 1.01
    assert len(armature.animation_data.nla_tracks) == 2  # solved and cleaned, nothing left over


def test_only_the_frames_that_were_asked_for(armature, solution):
    assert bpy.ops.sightline.smooth_motion(time_constant_s=0.1, use_range=True, first=21, last=40) == {"FINISHED"}
    moved = np.abs(_cleaned(armature, solution) - solution.solved.xyz[:, 0]).max(axis=(1, 2))
    assert moved[:21].max() < 1e-5 and moved[39:].max() < 1e-5 and moved[25:35].max() > 1e-3
    with pytest.raises(RuntimeError, match="none of the take"):
        bpy.ops.sightline.smooth_motion(use_range=True, first=500, last=600)


@pytest.mark.parametrize("tool", ["smooth_motion", "lock_feet"])
def test_an_edit_of_the_cleaned_layer_is_not_lost(armature, solution, tool):
    bpy.ops.sightline.smooth_motion()
    action = layer_action(armature, "cleaned")
    bags = [action] if not hasattr(action, "layers") else action.layers[0].strips[0].channelbags
    height = next(c for bag in bags for c in bag.fcurves if c.data_path.endswith("location") and c.array_index == 1)
    for key in height.keyframe_points:
        key.co[1] += 0.3 / bpy.context.scene.unit_settings.scale_length
    edited = _cleaned(armature, solution)
    with pytest.raises(RuntimeError, match="changed by hand"):
        getattr(bpy.ops.sightline, tool)()
    assert np.array_equal(_cleaned(armature, solution), edited)
    assert getattr(bpy.ops.sightline, tool)(replace=True) == {"FINISHED"}
    assert abs(np.median(_cleaned(armature, solution)[:, 0] - edited[:, 0])) < 0.02, "it works on the edit"
    getattr(bpy.ops.sightline, tool)(replace=True, source="solved")
    assert np.abs(_cleaned(armature, solution)[:, 0] - solution.solved.xyz[:, 0, 0]).max() < 0.03


def test_a_span_that_the_budget_does_not_allow_is_named(armature, capfd):
    assert bpy.ops.sightline.lock_feet(limit="CENTIMETRES", centimetres=0.2) == {"FINISHED"}
    said = capfd.readouterr().out
    assert "left_heel, frames 16-45: the budget leaves" in said
    assert "0 of 4 spans" in said


def test_markers_say_what_is_locked(armature, solution):
    bpy.ops.sightline.mark_contacts()
    markers = bpy.context.scene.timeline_markers
    assert sorted({marker.frame for marker in markers}) == [16, 45] and len(markers) == 8
    bpy.ops.sightline.mark_contacts()
    assert len(markers) == 8
    for marker in list(markers):
        if "left_heel down" in marker.name:
            marker.frame = 31
        elif "left_heel" not in marker.name and "up" in marker.name:
            markers.remove(marker)  # half a pair is none
    markers.new("an animator's own", frame=7)
    bpy.ops.sightline.lock_feet(limit="CENTIMETRES", centimetres=8.0, blend_s=0.1)
    joints = _cleaned(armature, solution)
    heel = solution.motion.skeleton.joint_names.index("left_heel")
    assert np.ptp(joints[30:45, heel], axis=0).max() < 1e-3 < 0.005 < np.ptp(joints[15:27, heel], axis=0).max()
    assert _travel(joints, solution, "right_heel") > 0.015
    bpy.ops.sightline.mark_contacts(clear=True)
    assert [marker.name for marker in markers] == ["an animator's own"]


def test_markers_that_tell_nothing_are_an_error(armature):
    bpy.ops.sightline.mark_contacts()
    for marker in list(bpy.context.scene.timeline_markers):
        if "up" in marker.name:
            bpy.context.scene.timeline_markers.remove(marker)
    with pytest.raises(RuntimeError, match="partner"):
        bpy.ops.sightline.lock_feet()
    bpy.ops.sightline.mark_contacts()
    for marker in bpy.context.scene.timeline_markers:
        marker.frame += 1000
    with pytest.raises(RuntimeError, match="outside of the take"):
        bpy.ops.sightline.lock_feet()


def test_gaps_are_listed_and_jumped_to(armature, solution):
    known = bpy.context.scene.sightline
    with pytest.raises(RuntimeError, match="no such gap"):
        bpy.ops.sightline.jump_to_gap()
    bpy.ops.sightline.list_gaps()
    joint = solution.motion.skeleton.joint_names[5]
    assert [(gap.name, gap.kind, gap.reason, gap.first, gap.last) for gap in known.gaps] == [
        (joint, "weak", "two views", 31, 36)
    ]
    assert bpy.ops.sightline.jump_to_gap(index=0) == {"FINISHED"}
    assert 31 <= bpy.context.scene.frame_current <= 36
    assert armature.data.bones.active.name == solution.motion.skeleton.bone_names[4]
    bpy.ops.sightline.list_gaps(order="uncertainty")
    assert len(known.gaps) == 1
