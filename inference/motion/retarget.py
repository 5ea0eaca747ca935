"""Give a solved motion to another armature: rotations in the world, taken over by what both rest poses say.

Every body part of the solved person has, in every frame, a rotation away from the T pose. A bone of the target makes
the same rotation, from its own rest turned into the T pose: so nothing of rolls, axes, or T against A is typed in.
Our skeleton has no fingers, face or toes: those bones of the target keep their rest pose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..geometry import rotation
from ..shapes import BoolArray, FloatArray, IntArray, check_shapes
from ..types import Skeleton, SkeletonMotion
from .kinematics import bone_rotations, forward_kinematics

SIDES = ("left_", "right_")
ROOTS = ("hips", "in_place", "root")  # what carries the path over the ground: the hips, nothing, a root bone
_UP, _LEFT, _FORWARD = np.eye(3)[2], np.eye(3)[0], -np.eye(3)[1]


@dataclass(frozen=True)
class _Limb:
    """A part whose direction is what counts: between which joints it lies, and whose turn about itself it takes."""

    start: str
    end: str
    bone: str


_LIMBS = {
    "upper_arm": _Limb("shoulder", "elbow", "upper_arm"),
    "forearm": _Limb("elbow", "wrist", "forearm"),
    "thigh": _Limb("hip", "knee", "thigh"),
    "shin": _Limb("knee", "ankle", "shin"),
}
_KEPT = ("clavicle", "hand", "foot")  # parts that keep the shape of the target's rest pose
PARTS = ("hips", "spine", "neck", "head") + tuple(
    side + part for side in SIDES for part in ("clavicle", "upper_arm", "forearm", "hand", "thigh", "shin", "foot")
)


@dataclass(frozen=True, eq=False)
class TargetRig:
    """The bones of an armature at rest, in the world."""

    names: tuple[str, ...]
    parents: IntArray  # (N,), -1 without a parent; parents come first
    heads: FloatArray  # (N, 3) m
    tails: FloatArray  # (N, 3) m
    turns: FloatArray  # (N, 4) world from bone, wxyz
    upright: FloatArray  # (3, 3) columns: the axes of the armature in the world, one of which points up
    inherits: BoolArray  # (N,) whether the bone turns with its parent

    def __post_init__(self) -> None:
        count = len(self.names)
        check_shapes(
            parents=(self.parents, f"{count}"),
            heads=(self.heads, f"{count} 3"),
            tails=(self.tails, f"{count} 3"),
            turns=(self.turns, f"{count} 4"),
            upright=(self.upright, "3 3"),
            inherits=(self.inherits, f"{count}"),
        )
        if not (self.parents < np.arange(count)).all():
            raise InputError("the bones of a target come parents first")


@dataclass(frozen=True, eq=False)
class Retargeted:
    """What the target's bones do: channels relative to their rest pose, by number of the bone."""

    rotation: Mapping[int, FloatArray]  # (T, 4) wxyz, sign continuous
    location: Mapping[int, FloatArray]  # (T, 3) m, in the bone's rest axes
    scale: float  # of the path: leg length of the target over that of the person
    turns: Mapping[int, FloatArray]  # (T, 4) world from bone, of the same bones
    places: Mapping[int, FloatArray]  # (T, 3) m, heads of the bones that have a location


def retarget(
    motion: SkeletonMotion,
    person: int,
    rig: TargetRig,
    parts: Mapping[str, Sequence[int]],  # of PARTS: the target's bones, upper ones first
    root: str = "hips",
    root_bone: int | None = None,
) -> Retargeted:
    """Turn a person's motion into the pose channels of another armature.

    Convention:
        the direction of arms and legs is that of the person in every frame, whatever the target's rest pose is;
        torso, head, hands and feet turn as the person's do from the target's own rest shape. The point midway between
        the thighs follows the person's pelvis, its path scaled by leg length about the world's origin.

    Args:
        motion: solved.
        person: which one.
        rig: the target at rest.
        parts: which bones of the target do what; parts that are missing do nothing.
        root: one of ROOTS.
        root_bone: carries the path where ``root`` is "root"; above the hips.

    Returns:
        Rotations of the mapped bones, location of the hips (and of the root bone).

    Raises:
        InputError: the target has no hips, or no root bone above them where one is wanted.
    """
    if not parts.get("hips"):
        raise InputError("the armature has no hips bone of this naming, which carries the body")
    hips = parts["hips"][0]
    if root == "root" and (root_bone is None or root_bone not in _ancestors(rig, hips)):
        raise InputError("the armature has no root bone above its hips; let the hips carry the path instead")
    turns = body_turns(motion, person)
    facing = rotation.quaternion_from_matrix(_facing(rig, parts))
    world = _wanted(turns, rig, parts, facing)
    joints = joints_of(motion, person)
    skeleton = motion.skeleton
    legs = _leg_length(rig, parts), _persons_leg(skeleton, joints)
    scale = legs[0] / legs[1] if min(legs) > 0 else 1.0
    middle = _middle(rig, parts)
    path = scale * _pelvis(skeleton, joints)
    ground = (path - middle) * [1.0, 1.0, 0.0]
    if root == "in_place":
        path, ground = path - ground, np.zeros_like(path)
    arm = rotation.rotate(rotation.conjugate(rig.turns[hips]), middle - rig.heads[hips])
    place = {hips: path - rotation.rotate(world[hips], arm)}
    if root == "root" and root_bone is not None:
        place[root_bone] = rig.heads[root_bone] + ground
    return _channels(rig, world, place, len(path), scale)


def body_turns(motion: SkeletonMotion, person: int) -> dict[str, FloatArray]:
    """Return (T, 4) rotations of the world that bring each part from the T pose to where it is.

    Convention:
        the parts are those of PARTS that the skeleton has; wxyz, sign continuous. The hips' left is the line
        through both hip joints. Without a neck bone the neck turns half of what the head turns against the chest.
    """
    skeleton, joints = motion.skeleton, joints_of(motion, person)
    bones = _world_turns(motion, person)
    found: dict[str, FloatArray] = {"hips": _hips_turn(skeleton, joints, motion.root_rotation[:, person])}
    spine = next((bones[name] for name in ("spine", "lower_spine") if name in bones), found["hips"])
    top = next((name for name in ("neck", "thorax") if name in skeleton.joint_names), None)
    if top and "pelvis" in skeleton.joint_names:
        spine = _aimed(spine, skeleton, joints, "pelvis", top)
    found["spine"] = spine
    found["head"] = next((bones[name] for name in ("skull", "head", "neck") if name in bones), spine)
    found["neck"] = bones.get("neck", rotation.slerp(spine, found["head"], np.full(len(spine), 0.5)))
    for side in SIDES:
        for part, limb in _LIMBS.items():
            start, end = side + limb.start, side + limb.end
            if side + limb.bone in bones and {start, end} <= set(skeleton.joint_names):
                found[side + part] = _aimed(bones[side + limb.bone], skeleton, joints, start, end)
        for part in _KEPT:
            if side + part in bones:
                found[side + part] = bones[side + part]
    return {part: rotation.continuous(turn) for part, turn in found.items()}


def joints_of(motion: SkeletonMotion, person: int) -> FloatArray:
    """(T, J, 3) joints of one person, m."""
    local, lengths = motion.local_rotation[:, person], motion.bone_length[person]
    return forward_kinematics(motion.skeleton, motion.root_translation[:, person], local, lengths)


def rest_joints(
    skeleton: Skeleton,
    bone_length: FloatArray,  # (B,) m
) -> FloatArray:
    """(J, 3) joints of the T pose, the lowest at z = 0, the root joint above the world's origin."""
    joints = np.zeros((len(skeleton.joint_names), 3))
    for bone, parent in enumerate(skeleton.parents[1:]):  # a child needs its parent's place first
        joints[bone + 1] = joints[parent] + bone_length[bone] * skeleton.rest_direction[bone]
    joints[:, 2] -= joints[:, 2].min()
    return joints


def _world_turns(motion: SkeletonMotion, person: int) -> dict[str, FloatArray]:
    """(T, 4) of every bone of ours: world rotation from the T pose, whose turns are found as those of any frame."""
    skeleton = motion.skeleton
    rest = rest_joints(skeleton, motion.bone_length[person])[None]
    at_rest = _world(skeleton, bone_rotations(skeleton, rest, np.zeros(1))[1])
    turned = rotation.multiply(_world(skeleton, motion.local_rotation[:, person]), rotation.conjugate(at_rest))
    return {name: turned[:, bone] for bone, name in enumerate(skeleton.bone_names)}


def _world(skeleton: Skeleton, local: FloatArray) -> FloatArray:
    """(T, B, 4) world from bone."""
    world = np.empty(local.shape)
    for bone, above in enumerate(skeleton.bone_parents):  # a tree: each bone needs its parent
        world[:, bone] = local[:, bone] if above < 0 else rotation.multiply(world[:, above], local[:, bone])
    return world


def _aimed(turn: FloatArray, skeleton: Skeleton, joints: FloatArray, start: str, end: str) -> FloatArray:
    """Correct a turn by the least rotation such that it takes the T pose's direction between two joints to today's."""
    first, last = skeleton.joint_names.index(start), skeleton.joint_names.index(end)
    rest = rest_joints(skeleton, np.linalg.norm(joints[0, 1:] - joints[0, skeleton.parents[1:]], axis=-1))
    carried = rotation.rotate(turn, _unit(rest[last] - rest[first]))
    return rotation.multiply(rotation.shortest_arc(carried, _unit(joints[:, last] - joints[:, first])), turn)


def _hips_turn(skeleton: Skeleton, joints: FloatArray, root: FloatArray) -> FloatArray:
    upright = rotation.quaternion_from_matrix(np.column_stack([_LEFT, _UP, _FORWARD]))
    turn = rotation.multiply(root, rotation.conjugate(upright))
    names = skeleton.joint_names
    if {"left_hip", "right_hip"} <= set(names):
        across = _unit(joints[:, names.index("left_hip")] - joints[:, names.index("right_hip")])
        turn = rotation.multiply(rotation.shortest_arc(rotation.rotate(turn, _LEFT), across), turn)
    return turn


def _wanted(
    turns: Mapping[str, FloatArray], rig: TargetRig, parts: Mapping[str, Sequence[int]], facing: FloatArray
) -> dict[int, FloatArray]:
    """(T, 4) world from bone, of every bone that is mapped."""
    wanted: dict[int, FloatArray] = {}
    for part, bones in parts.items():
        if part not in turns:
            continue
        upright = _into_t_pose(part, rig, parts, facing)
        for bone in bones:
            wanted[bone] = rotation.multiply(turns[part], rotation.multiply(upright, rig.turns[bone]))
    return wanted


def _into_t_pose(part: str, rig: TargetRig, parts: Mapping[str, Sequence[int]], facing: FloatArray) -> FloatArray:
    """(4,) rotation of the world that takes a bone from the target's rest pose into the T pose, facing -Y."""
    side = next((s for s in SIDES if part.startswith(s)), "")
    base = part.removeprefix(side)
    limb = "forearm" if base == "hand" else base  # a hand lies as its arm does
    bones = parts.get(side + limb)
    if limb not in _LIMBS or not bones:
        return facing
    following = {"upper_arm": "forearm", "forearm": "hand", "thigh": "shin", "shin": "foot"}[limb]
    next_bones = parts.get(side + following)
    end = rig.heads[next_bones[0]] if next_bones else rig.tails[bones[-1]]
    along = rotation.rotate(facing, _unit(end - rig.heads[bones[0]]))
    sideways = _LEFT if side == "left_" else -_LEFT
    straight = sideways if limb in ("upper_arm", "forearm") else -_UP
    return rotation.multiply(rotation.shortest_arc(along, straight), facing)


def _facing(rig: TargetRig, parts: Mapping[str, Sequence[int]]) -> FloatArray:
    """(3, 3) rotation that turns the target's rest pose upright, facing -Y."""
    hips, high = (
        rig.heads[parts["hips"][0]],
        next((parts[p][-1] for p in ("head", "neck", "spine") if parts.get(p)), -1),
    )
    rough = rig.heads[high] - hips if high >= 0 else _UP
    if np.linalg.norm(rough) < 1e-6:
        rough = rig.tails[high] - hips
    across = np.zeros(3)
    for part in ("thigh", "upper_arm", "clavicle"):
        left, right = (parts.get(side + part) for side in SIDES)
        if left and right:
            across = across + rig.heads[left[0]] - rig.heads[right[0]]
    leans = rig.upright.T @ rough
    axis = int(np.abs(leans).argmax())
    up = rig.upright[:, axis] * np.sign(leans[axis])
    left = across - (across @ up) * up
    if np.linalg.norm(left) < 1e-6:
        return np.eye(3)
    left = left / np.linalg.norm(left)
    return np.column_stack([_LEFT, -_FORWARD, _UP]) @ np.column_stack([left, np.cross(up, left), up]).T


def _channels(
    rig: TargetRig, world: Mapping[int, FloatArray], place: Mapping[int, FloatArray], frames: int, scale: float
) -> Retargeted:
    """Solve ``pose[b] = pose[parent] · rest[parent]⁻¹ · rest[b] · basis[b]`` for the basis of the mapped bones."""
    spun, heads = [], []
    turned: dict[int, FloatArray] = {}
    moved: dict[int, FloatArray] = {}
    for bone, parent in enumerate(rig.parents):
        before = np.broadcast_to(rig.turns[bone], (frames, 4))
        head = np.broadcast_to(rig.heads[bone], (frames, 3))
        if parent >= 0:
            back = rotation.conjugate(rig.turns[parent])
            if rig.inherits[bone]:
                before = rotation.multiply(spun[parent], rotation.multiply(back, rig.turns[bone]))
            head = heads[parent] + rotation.rotate(
                spun[parent], rotation.rotate(back, rig.heads[bone] - rig.heads[parent])
            )
        if bone in world:
            turned[bone] = rotation.continuous(rotation.multiply(rotation.conjugate(before), world[bone]))
        if bone in place:
            moved[bone] = rotation.rotate(rotation.conjugate(before), place[bone] - head)
        spun.append(world.get(bone, before))
        heads.append(place.get(bone, head))
    return Retargeted(turned, moved, scale, world, place)


def _ancestors(rig: TargetRig, bone: int) -> list[int]:
    found = []
    while (bone := int(rig.parents[bone])) >= 0:
        found.append(bone)
    return found


def _middle(rig: TargetRig, parts: Mapping[str, Sequence[int]]) -> FloatArray:
    """(3,) midway between the thighs of the target at rest; the hips' head where there is one thigh or none."""
    thighs = [parts[side + "thigh"][0] for side in SIDES if parts.get(side + "thigh")]
    return rig.heads[thighs].mean(axis=0) if len(thighs) == len(SIDES) else rig.heads[parts["hips"][0]]


def _leg_length(rig: TargetRig, parts: Mapping[str, Sequence[int]]) -> float:
    """Mean length of the target's legs, m; 0 where none is whole."""
    lengths = []
    for side in SIDES:
        joints = [parts.get(side + part) for part in ("thigh", "shin", "foot")]
        if all(joints):
            places = rig.heads[[bones[0] for bones in joints if bones]]
            lengths.append(float(np.linalg.norm(np.diff(places, axis=0), axis=-1).sum()))
    return float(np.mean(lengths)) if lengths else 0.0


def _persons_leg(skeleton: Skeleton, joints: FloatArray) -> float:
    """Mean length of the person's legs, m; 0 where none is whole."""
    lengths = []
    for side in SIDES:
        names = [side + joint for joint in ("hip", "knee", "ankle")]
        if set(names) <= set(skeleton.joint_names):
            places = joints[0, [skeleton.joint_names.index(name) for name in names]]
            lengths.append(float(np.linalg.norm(np.diff(places, axis=0), axis=-1).sum()))
    return float(np.mean(lengths)) if lengths else 0.0


def _pelvis(skeleton: Skeleton, joints: FloatArray) -> FloatArray:
    """(T, 3) midway between the hip joints, or the joint nearest to that."""
    names = skeleton.joint_names
    if {"left_hip", "right_hip"} <= set(names):
        return (joints[:, names.index("left_hip")] + joints[:, names.index("right_hip")]) / 2
    return joints[:, names.index("pelvis") if "pelvis" in names else 0]


def _unit(vectors: FloatArray) -> FloatArray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
