"""Controls that hang on bones with constraints: a small rig built like Rigify's generated one."""

import bpy
import numpy as np
import pytest
from sightline.addon.host import rigs
from sightline.addon.host.performance import Performance
from sightline.addon.host.rig_files import find_rig
from sightline.addon.host.rigs import retarget_onto
from sightline.inference.motion.retarget import joints_of
from sightline.inference.motion.target_skeleton import new_bones


@pytest.fixture
def machine(empty_scene, make_body):
    """A solution and a rig whose arms hang on a bone that copies the head's turn by half."""
    solution = make_body(T=5)
    target = find_rig("rigify")
    bones = new_bones(solution.motion.skeleton, solution.motion.bone_length[0], target.namings[1], "A", "root")
    item = bpy.data.objects.new("rig", bpy.data.armatures.new("rig"))
    bpy.context.scene.collection.objects.link(item)
    bpy.context.view_layer.objects.active = item
    bpy.ops.object.mode_set(mode="EDIT")
    for bone in bones:
        made = item.data.edit_bones.new(bone.name)
        made.head, made.tail, made.parent = bone.head, bone.tail, item.data.edit_bones.get(bone.parent)
    for side in "LR":
        arm = item.data.edit_bones[f"upper_arm_fk.{side}"]
        made = item.data.edit_bones.new(f"MCH-upper_arm_parent.{side}")
        made.head, made.tail, made.parent = arm.head, arm.head + arm.vector.orthogonal(), arm.parent
        arm.parent = made
    bpy.ops.object.mode_set(mode="OBJECT")
    for side in "LR":
        bone = item.pose.bones[f"MCH-upper_arm_parent.{side}"]
        bone["IK_FK"] = 0.0
        copy = bone.constraints.new("COPY_ROTATION")
        copy.target, copy.subtarget, copy.influence = item, "head", 0.5
    item.scale, item.location = (2.0, 2.0, 2.0), (1.0, 0.0, 0.0)
    return solution, item


def worst_arm(item, solution):
    """Degrees between the arms of the rig and the person."""
    joints, names = joints_of(solution.motion, 0), solution.motion.skeleton.joint_names
    worst = 0.0
    for t in range(len(joints)):
        bpy.context.scene.frame_set(t + 1)
        bones = item.evaluated_get(bpy.context.evaluated_depsgraph_get()).pose.bones
        for side, letter in (("left_", "L"), ("right_", "R")):
            for bone, start, end in (("upper_arm_fk", "shoulder", "elbow"), ("shin_fk", "knee", "ankle")):
                theirs = np.array(bones[f"{bone}.{letter}"].vector)
                ours = joints[t, names.index(side + end)] - joints[t, names.index(side + start)]
                cosine = theirs @ ours / np.linalg.norm(theirs) / np.linalg.norm(ours)
                worst = max(worst, float(np.degrees(np.arccos(min(cosine, 1)))))
    return worst


def test_arms_that_hang_on_constraints_point_where_they_shall(machine):
    solution, item = machine
    _, warnings = retarget_onto(item, Performance("take", solution.motion, 0, np.arange(5) + 1.0), "rigify")
    assert not warnings and worst_arm(item, solution) < 0.5
    assert item.pose.bones["MCH-upper_arm_parent.L"]["IK_FK"] == 1.0
    bpy.context.scene.frame_set(5)
    joints, at = joints_of(solution.motion, 0), solution.motion.skeleton.joint_names.index
    heads = [np.array(item.matrix_world @ item.pose.bones[f"thigh_fk.{side}"].head) for side in "LR"]
    wanted = joints[4, at("left_hip")] + joints[4, at("right_hip")]  # their middle, times 2: legs twice as long
    np.testing.assert_allclose(np.mean(heads, axis=0), wanted, atol=1e-3)


def test_as_plain_bones_they_would_not(machine, monkeypatch):
    """Negative control."""
    solution, item = machine
    monkeypatch.setattr(rigs, "has_machinery", lambda item, match: False)
    retarget_onto(item, Performance("take", solution.motion, 0, np.arange(5) + 1.0), "rigify")
    assert worst_arm(item, solution) > 5
