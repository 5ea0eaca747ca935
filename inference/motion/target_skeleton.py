"""A new armature in a target's naming: the person's own bone lengths, standing in a T or an A pose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..geometry import rotation
from ..shapes import FloatArray
from ..types import Skeleton
from .retarget import SIDES, rest_joints

REST_POSES = ("T", "A")
A_POSE_RAD = np.radians(45.0)  # of the arms, downwards
_UP, _FORWARD = np.eye(3)[2], -np.eye(3)[1]
_SPINE_M = 0.5  # of the person of 1.78 m whose neck and head these are, where no joint shows them
_NECK_M, _HEAD_M, _HAND_SHARE, _FOOT_SHARE = 0.08, 0.25, 0.4, 0.35


@dataclass(frozen=True, eq=False)
class NewBone:
    """One bone of a new armature, at rest."""

    name: str
    parent: str  # empty without one
    head: FloatArray  # (3,) m
    tail: FloatArray  # (3,) m
    z_axis: FloatArray  # (3,) unit, across the bone; fixes its roll
    part: str  # of retarget.PARTS; "root" for the root bone


def new_bones(
    skeleton: Skeleton,
    bone_length: FloatArray,  # (B,) m
    names: Mapping[str, Sequence[str]],  # part: the target's names, upper bones first
    rest_pose: str = "T",
    root_bone: str = "",
) -> list[NewBone]:
    """Build the bones of a target from a person's bone lengths; parents come first.

    Convention:
        facing -Y, the lowest joint at z = 0, the pelvis above the origin. Nothing depends on a frame. Where the
        skeleton shows no neck, head, hand or foot, one of usual size is made; it keeps its rest pose.

    Args:
        skeleton: of the person.
        bone_length: of the person.
        names: of the target.
        rest_pose: one of REST_POSES.
        root_bone: name of a bone on the ground that carries everything; empty: none.

    Raises:
        InputError: the rest pose is not known.
    """
    if rest_pose not in REST_POSES:
        raise InputError(f"unknown rest pose {rest_pose!r}; known: {', '.join(REST_POSES)}")
    lines = _lines(skeleton, rest_joints(skeleton, bone_length))
    if rest_pose == "A":
        _lower_the_arms(lines)
    bones: list[NewBone] = []
    if root_bone:
        # along the ground: readers of FBX join a bone that points at its only child to it, and lose the child's path
        bones.append(NewBone(root_bone, "", np.zeros(3), 0.2 * _FORWARD, _UP, "root"))
    last = {"": root_bone}
    for part, (above, start, end) in lines.items():
        parent = last.get(above) or last.get("spine") or last.get("hips") or root_bone
        for name, head, tail in _split_line(names.get(part, ()), start, end):
            bones.append(NewBone(name, parent, head, tail, _across(tail - head), part))
            parent = name
        if names.get(part):
            last[part] = parent
    return bones


_Lines = dict[str, tuple[str, FloatArray, FloatArray]]  # part: the part above it, its start, its end


def _lines(skeleton: Skeleton, joints: FloatArray) -> _Lines:
    """Where every part of the body lies in the T pose."""
    at = dict(zip(skeleton.joint_names, joints, strict=True))
    pelvis = at.get("pelvis", joints[0])
    neck = at.get("neck", at.get("thorax", pelvis + _SPINE_M * _UP))
    size = float(np.linalg.norm(neck - pelvis)) / _SPINE_M
    top = at.get("upper_neck", neck + size * _NECK_M * _UP)
    lines: _Lines = {
        "hips": ("", pelvis, pelvis + 0.2 * (neck - pelvis)),
        "spine": ("hips", pelvis, neck),
        "neck": ("spine", neck, top),
        "head": ("neck", top, at.get("head_top", top + size * _HEAD_M * _UP)),
    }
    for side in SIDES:
        lines |= dict(_arm(side, at, neck))
        lines |= dict(_leg(side, at))
    return lines


def _arm(
    side: str, at: Mapping[str, FloatArray], neck: FloatArray
) -> Iterator[tuple[str, tuple[str, FloatArray, FloatArray]]]:
    if side + "shoulder" not in at:
        return
    shoulder = at[side + "shoulder"]
    yield side + "clavicle", ("spine", neck, shoulder)
    if side + "elbow" not in at:
        return
    elbow = at[side + "elbow"]
    yield side + "upper_arm", (side + "clavicle", shoulder, elbow)
    if side + "wrist" not in at:
        return
    wrist = at[side + "wrist"]
    yield side + "forearm", (side + "upper_arm", elbow, wrist)
    yield side + "hand", (side + "forearm", wrist, at.get(side + "index", wrist + _HAND_SHARE * (wrist - elbow)))


def _leg(side: str, at: Mapping[str, FloatArray]) -> Iterator[tuple[str, tuple[str, FloatArray, FloatArray]]]:
    names = [side + joint for joint in ("hip", "knee", "ankle")]
    if not set(names) <= set(at):
        return
    hip, knee, ankle = (at[name] for name in names)
    yield side + "thigh", ("hips", hip, knee)
    yield side + "shin", (side + "thigh", knee, ankle)
    ahead = ankle + _FOOT_SHARE * np.linalg.norm(knee - ankle) * _FORWARD
    toe = next((at[side + joint] for joint in ("big_toe", "foot_index") if side + joint in at), ahead)
    yield side + "foot", (side + "shin", ankle, toe)


def _lower_the_arms(lines: _Lines) -> None:
    for side, sign in zip(SIDES, (1.0, -1.0), strict=True):
        if side + "upper_arm" not in lines:
            continue
        shoulder = lines[side + "upper_arm"][1]
        turn = np.array([np.cos(A_POSE_RAD / 2), 0.0, sign * np.sin(A_POSE_RAD / 2), 0.0])
        for part in (side + "upper_arm", side + "forearm", side + "hand"):
            if part in lines:
                above, start, end = lines[part]
                start, end = (shoulder + rotation.rotate(turn, point - shoulder) for point in (start, end))
                lines[part] = above, start, end


def _split_line(
    names: Sequence[str], start: FloatArray, end: FloatArray
) -> Iterator[tuple[str, FloatArray, FloatArray]]:
    points = start + np.linspace(0, 1, len(names) + 1)[:, None] * (end - start)
    yield from zip(names, points[:-1], points[1:], strict=True)


def _across(along: FloatArray) -> FloatArray:
    y = along / max(float(np.linalg.norm(along)), 1e-9)
    z = _UP if abs(y @ _FORWARD) > 0.7 else _FORWARD
    z = z - (z @ y) * y
    return z / np.linalg.norm(z)
