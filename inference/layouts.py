"""Keypoint layouts of detectors and data sets, by joint name, with maps between them.

Left and right are the subject's own. A layout is an order of names; nothing else in the code counts
joints by number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .errors import InputError
from .shapes import IntArray


@dataclass(frozen=True)
class Layout:
    """A named order of keypoints."""

    name: str
    joint_names: tuple[str, ...]


def _sided(*names: str, first: str = "left") -> tuple[str, ...]:
    sides = ("left", "right") if first == "left" else ("right", "left")
    return tuple(f"{side}_{name}" for name in names for side in sides)


def _limb(side: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{side}_{name}" for name in names)


_COCO_BODY = ("nose", *_sided("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle"))
_BODY_25 = (
    ("nose", "neck", *_limb("right", "shoulder", "elbow", "wrist"), *_limb("left", "shoulder", "elbow", "wrist"))
    + ("pelvis", *_limb("right", "hip", "knee", "ankle"), *_limb("left", "hip", "knee", "ankle"))
    + _sided("eye", "ear", first="right")
    + (*_limb("left", "big_toe", "small_toe", "heel"), *_limb("right", "big_toe", "small_toe", "heel"))
)
_BODY_25B = (
    *_COCO_BODY,
    *("upper_neck", "head_top"),
    *_limb("left", "big_toe", "small_toe", "heel"),
    *_limb("right", "big_toe", "small_toe", "heel"),
)
_HALPE_26 = (*_COCO_BODY, "head_top", "neck", "pelvis", *_sided("big_toe", "small_toe", "heel"))
# What Sightline's own detector states: COCO, base of the neck, top of the head, feet, and the roots of two fingers
# (knuckles, as in BlazePose), which give the hand's direction and turn. `training/data/joints.py` defines each.
_SIGHTLINE_29 = (*_COCO_BODY, "neck", "head_top", *_sided("big_toe", "small_toe", "heel", "index", "pinky"))
_BLAZEPOSE_33 = (
    "nose",
    *_limb("left", "eye_inner", "eye", "eye_outer"),
    *_limb("right", "eye_inner", "eye", "eye_outer"),
    *_sided("ear", "mouth", "shoulder", "elbow", "wrist", "pinky", "index", "thumb"),
    *_sided("hip", "knee", "ankle", "heel", "foot_index"),
)
_H36M_17 = (
    ("pelvis", *_limb("right", "hip", "knee", "ankle"), *_limb("left", "hip", "knee", "ankle"))
    + ("spine", "thorax", "nose", "head_top")
    + (*_limb("left", "shoulder", "elbow", "wrist"), *_limb("right", "shoulder", "elbow", "wrist"))
)
_MPII_16 = (
    (*_limb("right", "ankle", "knee", "hip"), *_limb("left", "hip", "knee", "ankle"))
    + ("pelvis", "thorax", "upper_neck", "head_top")
    + (*_limb("right", "wrist", "elbow", "shoulder"), *_limb("left", "shoulder", "elbow", "wrist"))
)

LAYOUTS: dict[str, Layout] = {
    name: Layout(name, joints)
    for name, joints in {
        "coco_17": _COCO_BODY,
        "body_25": _BODY_25,
        "body_25b": _BODY_25B,
        "halpe_26": _HALPE_26,
        "sightline_29": _SIGHTLINE_29,
        "blazepose_33": _BLAZEPOSE_33,
        "h36m_17": _H36M_17,
        "mpii_16": _MPII_16,
    }.items()
}

# Names that mean the same place on the body in different layouts, towards the name used for comparing.
_SAME_PLACE = {"left_foot_index": "left_big_toe", "right_foot_index": "right_big_toe", "thorax": "neck"}


def layout(name: str) -> Layout:
    """Return the layout of that name.

    Convention:
        names are lower case with underscores, e.g. ``coco_17``.

    Raises:
        InputError: no layout has that name; the message lists the known ones.
    """
    try:
        return LAYOUTS[name]
    except KeyError:
        raise InputError(f"unknown keypoint layout {name!r}; known: {', '.join(sorted(LAYOUTS))}") from None


def place(joint_name: str) -> str:
    """Return the name under which joints of different layouts are compared."""
    return _SAME_PLACE.get(joint_name, joint_name)


def shared_joints(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[tuple[str, ...], IntArray, IntArray]:
    """Find the joints that two layouts share, by place on the body.

    Convention:
        order of ``first``; H36M's thorax and the neck of other layouts count as one place.

    Returns:
        Names (as in ``first``), and for each its index in ``first`` and in ``second``.
    """
    where = {place(name): index for index, name in enumerate(second)}
    pairs = [(name, i, where[place(name)]) for i, name in enumerate(first) if place(name) in where]
    names = tuple(pair[0] for pair in pairs)
    indices = np.array([pair[1:] for pair in pairs], dtype=np.int64).reshape(-1, 2)
    return names, indices[:, 0], indices[:, 1]


def mirrored(joint_name: str) -> str:
    """Return the joint's name on the other side of the body; itself where it has no side."""
    for side, other in (("left_", "right_"), ("right_", "left_")):
        if joint_name.startswith(side):
            return other + joint_name.removeprefix(side)
    return joint_name
