"""Rotations that a target takes over; the whole way to Blender's bones is tested in tests/addon/host/test_rigs.py."""

import numpy as np
import pytest

from inference.errors import InputError, ShapeError
from inference.geometry import rotation
from inference.layouts import LAYOUTS, layout
from inference.motion.kinematics import bone_rotations, rigid_joints
from inference.motion.retarget import TargetRig, body_turns, joints_of, rest_joints, retarget
from inference.motion.skeleton import build_skeleton, rest_lengths
from inference.motion.target_skeleton import new_bones
from inference.types import SkeletonMotion

NAMES = {
    "hips": ["h"],
    "spine": ["s1", "s2"],
    "head": ["hd"],
    **{f"{s}_{p}": [f"{s}{p}"] for s in ("left", "right") for p in ("upper_arm", "forearm", "thigh", "shin", "foot")},
}


def motion_of(joints, skeleton, lengths):
    """A motion of one person from (T, J, 3) joints."""
    times = np.arange(len(joints)) / 30
    rigid = rigid_joints(skeleton, joints, lengths)
    root, local = bone_rotations(skeleton, rigid, times)
    return SkeletonMotion(skeleton, times, rigid[:, None, 0], root[:, None], local[:, None], lengths[None])


def standing(name="halpe_26", turn=(0.0, 0.0, 0.0), T=4):
    """A person who stands in the T pose, turned as a whole."""
    skeleton = build_skeleton(layout(name).joint_names)
    lengths = rest_lengths(skeleton)
    joints = rest_joints(skeleton, lengths) @ rotation.exp(np.array(turn)).T
    return motion_of(np.tile(joints, (T, 1, 1)), skeleton, lengths)


def rig_of(motion, rest="T", size=1.0):
    """A target of the person's own shape, and its parts by number."""
    bones = new_bones(motion.skeleton, motion.bone_length[0] * size, NAMES, rest, "ground")
    names = tuple(bone.name for bone in bones)
    y = np.array([(b.tail - b.head) / np.linalg.norm(b.tail - b.head) for b in bones])
    z = np.array([bone.z_axis for bone in bones])
    turns = rotation.quaternion_from_matrix(np.stack([np.cross(y, z), y, z], axis=-1))
    parents = np.array([names.index(bone.parent) if bone.parent else -1 for bone in bones])
    heads, tails = np.array([bone.head for bone in bones]), np.array([bone.tail for bone in bones])
    parts = {part: [names.index(one) for one in found] for part, found in NAMES.items() if found[0] in names}
    return TargetRig(names, parents, heads, tails, turns, np.eye(3), np.ones(len(names), bool)), parts


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("turn", [(0, 0, 0), (0, 0, 2.0), (0.4, -0.3, 0.5)])
def test_a_person_in_the_t_pose_turns_every_part_alike(name, turn):
    motion = standing(name, turn)
    expected = rotation.exp(np.array(turn, float))
    for part, turned in body_turns(motion, 0).items():
        np.testing.assert_allclose(rotation.matrix_from_quaternion(turned[1]), expected, atol=1e-5, err_msg=part)


def test_the_t_pose_leaves_a_target_in_the_t_pose_at_rest():
    motion = standing()
    rig, parts = rig_of(motion)
    found = retarget(motion, 0, rig, parts)
    for turned in found.rotation.values():
        np.testing.assert_allclose(turned, np.tile([1.0, 0, 0, 0], (4, 1)), atol=1e-6)
    np.testing.assert_allclose(found.location[parts["hips"][0]], 0, atol=1e-6)
    assert found.scale == pytest.approx(1.0)


def test_a_target_in_the_a_pose_raises_its_arms_by_45_degrees():
    """By hand: cos 22.5° = 0.92388; the forearm and hand follow and stay at rest."""
    motion = standing()
    rig, parts = rig_of(motion, "A")
    found = retarget(motion, 0, rig, parts)
    for side in ("left_", "right_"):
        np.testing.assert_allclose(found.rotation[parts[side + "upper_arm"][0]][:, 0], 0.92388, atol=1e-5)
        np.testing.assert_allclose(found.rotation[parts[side + "forearm"][0]][:, 0], 1.0, atol=1e-6)


@pytest.mark.parametrize("size", [0.5, 2.0])
def test_the_path_scales_with_the_legs(size):
    motion = standing()
    walk = np.linspace(0, 1, 4)[:, None, None] * [1.0, 2.0, 0.0]
    moved = SkeletonMotion(
        motion.skeleton, motion.timestamps_s, motion.root_translation + walk, motion.root_rotation,
        motion.local_rotation, motion.bone_length,
    )  # fmt: skip
    rig, parts = rig_of(motion, size=size)
    found = retarget(moved, 0, rig, parts)
    assert found.scale == pytest.approx(size)
    hips, ground = parts["hips"][0], rig.names.index("ground")
    axes = rotation.matrix_from_quaternion(rig.turns[hips])
    np.testing.assert_allclose(found.location[hips] @ axes.T, size * walk[:, 0], atol=1e-6)
    rooted = retarget(moved, 0, rig, parts, "root", ground)
    np.testing.assert_allclose(rooted.location[hips], 0, atol=1e-6)
    still = retarget(moved, 0, rig, parts, "in_place")
    np.testing.assert_allclose(still.location[hips], 0, atol=1e-6)


def test_what_a_target_must_have():
    motion = standing()
    rig, parts = rig_of(motion)
    with pytest.raises(InputError, match="no hips bone"):
        retarget(motion, 0, rig, {part: bones for part, bones in parts.items() if part != "hips"})
    for bone in (None, parts["head"][0]):
        with pytest.raises(InputError, match="no root bone above its hips"):
            retarget(motion, 0, rig, parts, "root", bone)
    with pytest.raises(InputError, match="parents first"):
        TargetRig(rig.names, rig.parents[::-1], rig.heads, rig.tails, rig.turns, np.eye(3), rig.inherits)
    with pytest.raises(ShapeError, match="heads"):
        TargetRig(rig.names, rig.parents, rig.heads[1:], rig.tails, rig.turns, np.eye(3), rig.inherits)


def test_joints_and_rest_joints_by_hand():
    motion = standing()
    rest = rest_joints(motion.skeleton, motion.bone_length[0])
    names = motion.skeleton.joint_names
    assert rest[:, 2].min() == 0
    np.testing.assert_allclose(rest[names.index("left_hip")] - rest[names.index("right_hip")], [0.22, 0, 0], atol=1e-9)
    np.testing.assert_allclose(joints_of(motion, 0)[2], rest, atol=1e-9)


def test_new_bones_in_the_a_pose_by_hand():
    motion = standing()
    found = {b.name: b for b in new_bones(motion.skeleton, motion.bone_length[0], NAMES, "A")}
    arm, forearm = found["leftupper_arm"], found["leftforearm"]
    np.testing.assert_allclose(arm.tail - arm.head, 0.29 * np.array([0.5**0.5, 0, -(0.5**0.5)]), atol=1e-9)
    np.testing.assert_allclose(forearm.tail - forearm.head, 0.26 * np.array([0.5**0.5, 0, -(0.5**0.5)]), atol=1e-9)
    assert forearm.parent == "leftupper_arm" and arm.parent == "s2" and found["h"].parent == ""
    np.testing.assert_allclose(found["s1"].tail, (found["s1"].head + found["s2"].tail) / 2)
    with pytest.raises(InputError, match="unknown rest pose 'I'; known: T, A"):
        new_bones(motion.skeleton, motion.bone_length[0], NAMES, "I")


def test_a_skeleton_without_hands_neck_and_feet_gets_usual_ones():
    motion = standing("coco_17")
    names = {part: [part] for part in ("hips", "neck", "head", "left_hand", "left_foot", "left_forearm", "left_shin")}
    found = {b.name: b for b in new_bones(motion.skeleton, motion.bone_length[0], names)}
    assert set(found) == set(names) and found["left_hand"].parent == "left_forearm"
    lengths = {name: np.linalg.norm(bone.tail - bone.head) for name, bone in found.items()}
    assert 0.05 < lengths["left_hand"] < 0.2 and 0.1 < lengths["left_foot"] < 0.25 and lengths["head"] > 0.2
    assert "left_hand" not in body_turns(motion, 0)
