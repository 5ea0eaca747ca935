"""Skeletons of all layouts, roots for half-seen bodies, derived joints."""

import numpy as np
import pytest

from inference.errors import InputError
from inference.layouts import LAYOUTS, layout
from inference.motion.skeleton import (
    anatomical,
    build_skeleton,
    joint_sources,
    mirrored_bones,
    rest_lengths,
    with_derived_joints,
)
from inference.types import Flag, Keypoints3D


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_becomes_a_tree_with_all_its_joints(name: str) -> None:
    joints = layout(name).joint_names
    skeleton = build_skeleton(joints)
    assert set(joints) <= set(skeleton.joint_names)
    assert skeleton.joint_names[0] == "pelvis"
    assert len(set(skeleton.bone_names)) == len(skeleton.bone_names)
    np.testing.assert_allclose(np.linalg.norm(skeleton.rest_direction, axis=-1), 1)
    assert (rest_lengths(skeleton) > 0.01).all()
    for bone in ("left_upper_arm", "right_forearm", "left_thigh", "right_shin", "left_clavicle", "right_hip_bone"):
        assert bone in skeleton.bone_names


def test_coco_by_hand() -> None:
    skeleton = build_skeleton(layout("coco_17").joint_names)
    parent = {n: skeleton.joint_names[p] for n, p in zip(skeleton.joint_names, skeleton.parents, strict=True) if p >= 0}
    assert parent["neck"] == "pelvis" and parent["nose"] == "neck" and parent["left_ear"] == "nose"
    assert parent["left_shoulder"] == "neck" and parent["right_ankle"] == "right_knee"
    bone = skeleton.bone_names.index("right_upper_arm")
    np.testing.assert_allclose(skeleton.rest_direction[bone], [-1, 0, 0])
    assert skeleton.joint_names[bone + 1] == "right_elbow"
    mirror = mirrored_bones(skeleton)
    assert skeleton.bone_names[mirror[bone]] == "left_upper_arm"
    assert mirror[skeleton.bone_names.index("spine")] == skeleton.bone_names.index("spine")


def test_layouts_with_their_own_centre_get_no_second_one() -> None:
    assert "neck" not in build_skeleton(layout("h36m_17").joint_names).joint_names
    h36m = build_skeleton(layout("h36m_17").joint_names)
    assert {"lower_spine", "upper_spine"} <= set(h36m.bone_names)
    halpe = build_skeleton(layout("halpe_26").joint_names)
    np.testing.assert_array_equal(joint_sources(halpe, layout("halpe_26").joint_names).max(axis=1), 1)


def test_half_a_body_is_rooted_at_the_neck_and_keeps_its_hips() -> None:
    joints = layout("coco_17").joint_names
    share = np.array([0.0 if j.split("_")[-1] in ("hip", "knee", "ankle") else 0.9 for j in joints])
    skeleton = build_skeleton(joints, share)
    assert skeleton.joint_names[0] == "neck"
    assert set(joints) < set(skeleton.joint_names)
    assert build_skeleton(joints, np.full(17, 0.5)).joint_names[0] == "pelvis"


def test_a_bone_starts_at_the_nearest_seen_joint() -> None:
    joints = layout("coco_17").joint_names
    share = np.array([0.0 if j == "left_knee" else 1.0 for j in joints])
    skeleton = build_skeleton(joints, share)
    at = skeleton.joint_names.index
    assert skeleton.parents[at("left_ankle")] == at("left_hip")
    assert at("left_knee") not in skeleton.parents
    assert skeleton.parents[at("right_ankle")] == at("right_knee")
    bones = dict(zip(skeleton.bone_names, anatomical(skeleton), strict=True))
    assert not bones.pop("left_shin") and all(bones.values())
    assert anatomical(build_skeleton(joints)).all()
    desk = build_skeleton(joints, np.array([0.0 if "hip" in j else 0.9 for j in joints]))
    assert anatomical(desk)[desk.bone_names.index("spine")]


def test_one_joint_alone() -> None:
    skeleton = build_skeleton(("nose",))
    assert skeleton.joint_names == ("nose",) and skeleton.bone_names == ()


def test_derived_joints_by_hand() -> None:
    joints = ("left_hip", "right_hip")
    skeleton = build_skeleton(joints)
    xyz = np.array([[[[1.0, 0, 1], [0, 0, 1]]], [[[1.0, 0, 1], [np.nan] * 3]]])
    covariance = np.where(np.isnan(xyz[..., None]), np.nan, np.eye(3) * np.array([4.0, 8.0])[:, None, None])
    flag = np.array([[[3, 2]], [[3, 0]]])
    full = with_derived_joints(Keypoints3D(joints, np.arange(2.0), xyz, covariance, flag), skeleton)
    assert full.joint_names[0] == "pelvis"
    np.testing.assert_allclose(full.xyz[0, 0, 0], [0.5, 0, 1])
    np.testing.assert_allclose(full.covariance[0, 0, 0], 3 * np.eye(3))
    assert full.flag[0, 0, 0] == Flag.WEAK and full.flag[1, 0, 0] == Flag.UNOBSERVED
    assert np.isnan(full.xyz[1, 0, 0]).all()
    np.testing.assert_allclose(full.covariance[0, 0, full.joint_names.index("left_hip")], 4 * np.eye(3))
    assert with_derived_joints(full, skeleton) is full


@pytest.mark.parametrize("name", ["tail", "hip", "left_nose"])
def test_unknown_joints_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=name):
        build_skeleton(("left_hip", name))
