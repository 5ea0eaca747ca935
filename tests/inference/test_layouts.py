"""Joint layouts by name, checked against the published orders."""

import numpy as np
import pytest

from inference.errors import InputError
from inference.layouts import LAYOUTS, layout, mirrored, shared_joints


@pytest.mark.parametrize(
    ("name", "count", "spots"),
    [
        ("coco_17", 17, {0: "nose", 5: "left_shoulder", 10: "right_wrist", 16: "right_ankle"}),
        ("body_25", 25, {1: "neck", 4: "right_wrist", 8: "pelvis", 19: "left_big_toe", 24: "right_heel"}),
        ("body_25b", 25, {9: "left_wrist", 17: "upper_neck", 18: "head_top", 21: "left_heel", 22: "right_big_toe"}),
        ("halpe_26", 26, {17: "head_top", 18: "neck", 19: "pelvis", 21: "right_big_toe", 24: "left_heel"}),
        ("blazepose_33", 33, {2: "left_eye", 11: "left_shoulder", 23: "left_hip", 32: "right_foot_index"}),
        ("h36m_17", 17, {0: "pelvis", 1: "right_hip", 4: "left_hip", 8: "thorax", 10: "head_top", 16: "right_wrist"}),
        ("sightline_29", 29, {17: "neck", 18: "head_top", 19: "left_big_toe", 24: "right_heel", 28: "right_pinky"}),
        ("mpii_16", 16, {0: "right_ankle", 6: "pelvis", 9: "head_top", 12: "right_shoulder", 15: "left_wrist"}),
    ],
)  # fmt: skip
def test_published_orders(name: str, count: int, spots: dict[int, str]) -> None:
    joints = layout(name).joint_names
    assert len(joints) == len(set(joints)) == count
    assert {index: joints[index] for index in spots} == spots


def test_an_unknown_layout_is_named_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="'coco_18'; known: .*coco_17"):
        layout("coco_18")


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_sided_joint_has_its_mirror(name: str) -> None:
    joints = layout(name).joint_names
    assert {mirrored(joint) for joint in joints} == set(joints)
    assert all(mirrored(mirrored(joint)) == joint for joint in joints)


def test_shared_joints_match_by_place() -> None:
    names, first, second = shared_joints(layout("blazepose_33").joint_names, layout("body_25b").joint_names)
    assert "left_foot_index" in names
    assert layout("body_25b").joint_names[second[names.index("left_foot_index")]] == "left_big_toe"
    for name, index in zip(names, first, strict=True):
        assert layout("blazepose_33").joint_names[index] == name


def test_layouts_that_share_nothing_give_empty_indices() -> None:
    names, first, second = shared_joints(("tail",), ("nose",))
    assert names == ()
    assert first.shape == second.shape == (0,)
    assert first.dtype == np.int64
