"""Raw, solved and cleaned motion of one armature: one action each, kept in muted NLA tracks, one of them shown.

Solved comes with every solve. Raw and cleaned are made when they are asked for: raw from single frames alone,
cleaned as few Bézier keys that keep every joint within its uncertainty. Cleaned belongs to the animator.
"""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

from dataclasses import replace as replace_parts

import bpy
import numpy as np

from ...inference.errors import InputError
from ...inference.motion.key_reduction import KeyedCurve, PoseTree, ReducedMotion, reduce_keys
from ...inference.motion.kinematics import bone_rotations, rigid_joints
from ...inference.placement import movement_covariance
from ...inference.shapes import FloatArray
from ...inference.types import SkeletonMotion, Solution
from .animation import Bag, assign_action, bag_digest, new_action, our_actions, read_curves, write_bezier, write_curves
from .armature import root_name
from .axes import PoseCurves, bone_motion, frame_numbers, pose_curves, quaternions
from .parts import CLEANED, FINGERPRINT, KIND, LAYER, PERSON, RAW, SOLVED, TAKE

LAYERS = (RAW, SOLVED, CLEANED)


def shown_layer(item: bpy.types.Object) -> str | None:
    """Return the layer that an armature shows; None where it shows an action of somebody else's, or none."""
    action = item.animation_data.action if item.animation_data else None
    return action[LAYER] if action is not None and action.get(KIND) == "action" else None


def layer_action(item: bpy.types.Object, layer: str) -> bpy.types.Action | None:
    """Return an armature's action of a layer, shown or kept."""
    if item.animation_data is None:
        return None
    return next((action for action in our_actions(item.animation_data) if action.get(LAYER) == layer), None)


def show_layer(item: bpy.types.Object, layer: str, solution: Solution, frame_start: int, fps: float) -> None:
    """Show a layer of an armature; raw is made from the solution where it is not there yet.

    Raises:
        InputError: there is no cleaned layer, or the solution is of other people.
    """
    action = layer_action(item, layer)
    if action is None and layer == RAW:
        motion = raw_motion(solution)
        action = _dense_action(item, RAW, _curves(item, motion), _frames(motion, fps, frame_start), solution)
    if action is None:
        raise InputError(f"{item.name} has no layer {layer!r} yet; make it with Reduce Keys")
    _keep(item, SOLVED)
    _keep_action(item, action, layer)
    assign_action(item, action)


def reduce_layer(
    item: bpy.types.Object,
    solution: Solution,
    clock: tuple[int, float],
    sigmas: float,
    replace: bool = False,
    layer: str = SOLVED,
) -> tuple[int, int]:
    """Make the cleaned layer of an armature from the solved motion or from what is cleaned so far, and show it.

    Convention:
        few Bézier keys; every joint stays within ``sigmas`` of its place by its own covariance.

    Args:
        item: one of our armatures.
        solution: what it was made from.
        clock: the take's first frame, and frames per second.
        sigmas: the allowance.
        replace: also where the animator changed the cleaned layer.
        layer: where the motion comes from: solved, or cleaned where there is one.

    Returns:
        Keys with one on every frame, and of the cleaned layer.

    Raises:
        InputError: the cleaned layer was changed by hand and may not be replaced, or the solution is of other people.
    """
    guard_cleaned(item, replace)
    motion, person = base_motion(item, solution, clock, layer), _person(item, solution)
    frames = _frames(motion, clock[1], clock[0])
    curves, rest = _curves(item, motion), _rest_rotations(item, motion)
    tree = pose_tree(motion, person, rest)
    root = motion.root_translation[:, person]
    covariance = _covariances(solution, motion, person)
    reduced = reduce_keys(tree, frames, root, curves.rotation, covariance, sigmas)
    action, bag = new_action(item, CLEANED)
    _write_reduced(item, bag, reduced, motion, rest)
    _enter_cleaned(item, action)
    return curves.rotation[..., 0].size * 4 + 3 * len(frames), reduced.key_count


def guard_cleaned(item: bpy.types.Object, replace: bool) -> None:
    """Refuse to write over a cleaned layer that was changed by hand.

    Raises:
        InputError: it was, and may not be replaced.
    """
    before = layer_action(item, CLEANED)
    if before is not None and before.get(FINGERPRINT) != bag_digest(before) and not replace:
        raise InputError(f"the cleaned layer of {item.name} was changed by hand; tick Replace My Changes to redo it")


def base_motion(item: bpy.types.Object, solution: Solution, clock: tuple[int, float], layer: str) -> SkeletonMotion:
    """Return the solution's motion with an armature's person as a layer has it; solved where there is no such layer.

    Convention:
        the cleaned layer is read at the solution's frames, the animator's edits included.

    Raises:
        InputError: the solution is of other people.
    """
    motion, person = solution.motion, _person(item, solution)
    action = layer_action(item, CLEANED) if layer == CLEANED else None
    if action is None:
        return motion
    names = (root_name(motion.skeleton), *motion.skeleton.bone_names)
    frames, units = _frames(motion, clock[1], clock[0]), _units_per_m()
    location = read_curves(action, f"{_bone_path(names[0])}.location", frames, (0, 0, 0)) / units
    turns = [read_curves(action, f"{_bone_path(bone)}.rotation_quaternion", frames, (1, 0, 0, 0)) for bone in names]
    head = np.array(item.data.bones[names[0]].head_local) / units
    curves = PoseCurves(location, np.stack(turns, axis=1))
    read = bone_motion(curves, motion.skeleton, head, _rest_rotations(item, motion))
    parts = [part.copy() for part in (motion.root_translation, motion.root_rotation, motion.local_rotation)]
    for part, own in zip(parts, read, strict=True):
        part[:, person] = own
    return replace_parts(motion, root_translation=parts[0], root_rotation=parts[1], local_rotation=parts[2])


def write_cleaned(item: bpy.types.Object, solution: Solution, clock: tuple[int, float], motion: SkeletonMotion) -> None:
    """Make the cleaned layer of an armature from a motion, a key per frame, and show it; ask `guard_cleaned` first.

    Raises:
        InputError: the solution is of other people.
    """
    frames = _frames(motion, clock[1], clock[0])
    _enter_cleaned(item, _dense_action(item, CLEANED, _curves(item, motion), frames, solution))


def joint_covariances(item: bpy.types.Object, solution: Solution) -> FloatArray:
    """Return (T, J, 3, 3) m² of the movement of an armature's person in the skeleton's order; NaN where unknown."""
    return _covariances(solution, solution.motion, _person(item, solution))


def _enter_cleaned(item: bpy.types.Object, action: bpy.types.Action) -> None:
    """Put a new action in the place of the cleaned layer, and show it."""
    before = layer_action(item, CLEANED)
    action[FINGERPRINT] = bag_digest(action)
    _keep(item, SOLVED)
    if before is not None:
        _forget(item, before)
    _keep_action(item, action, CLEANED)
    assign_action(item, action)


def raw_motion(solution: Solution) -> SkeletonMotion:
    """Turn the raw joints into a motion of the solved skeleton: every frame by itself, held where nothing was seen."""
    skeleton, raw, lengths = solution.motion.skeleton, solution.raw, solution.motion.bone_length
    columns = [raw.joint_names.index(name) for name in skeleton.joint_names]
    parts = []
    for person in range(len(lengths)):
        rigid = rigid_joints(skeleton, raw.xyz[:, person, columns], lengths[person])
        parts.append((rigid[:, 0], *bone_rotations(skeleton, rigid, raw.timestamps_s)))
    root, turn, local = (np.stack(part, axis=1) for part in zip(*parts, strict=True))
    return SkeletonMotion(skeleton, raw.timestamps_s, root, turn, local, lengths)


def pose_tree(motion: SkeletonMotion, person: int, rest_rotation: FloatArray) -> PoseTree:
    """Describe an armature of ours to `reduce_keys`; rest frames (1 + B, 3, 3) as Blender holds them."""
    parents = np.concatenate([[-1], motion.skeleton.bone_parents + 1])
    own = quaternions(np.swapaxes(rest_rotation[parents[1:]], -1, -2) @ rest_rotation[1:])
    offset = np.concatenate([quaternions(rest_rotation[:1]), own])
    return PoseTree(parents, offset, np.concatenate([[0.0], motion.bone_length[person]]))


def _person(item: bpy.types.Object, solution: Solution) -> int:
    person = int(item[PERSON])
    names = {root_name(solution.motion.skeleton), *solution.motion.skeleton.bone_names}
    if person >= len(solution.motion.bone_length) or not names <= set(item.data.bones.keys()):
        raise InputError(f"{item.name} and the solution of the take do not fit each other; solve the take again")
    return person


def _frames(motion: SkeletonMotion, fps: float, frame_start: int) -> FloatArray:
    return frame_numbers(motion.timestamps_s, fps, frame_start)


def _rest_rotations(item: bpy.types.Object, motion: SkeletonMotion) -> FloatArray:
    names = (root_name(motion.skeleton), *motion.skeleton.bone_names)
    return np.array([item.data.bones[name].matrix_local.to_3x3() for name in names])


def _curves(item: bpy.types.Object, motion: SkeletonMotion) -> PoseCurves:
    head = np.array(item.data.bones[root_name(motion.skeleton)].head_local) / _units_per_m()
    return pose_curves(motion, int(item[PERSON]), head, _rest_rotations(item, motion))


def _units_per_m() -> float:
    return 1.0 / bpy.context.scene.unit_settings.scale_length


def _bone_path(bone: str) -> str:
    return f'pose.bones["{bpy.utils.escape_identifier(bone)}"]'


def _dense_action(
    item: bpy.types.Object, layer: str, curves: PoseCurves, frames: FloatArray, solution: Solution
) -> bpy.types.Action:
    _person(item, solution)
    action, bag = new_action(item, layer)
    names = (root_name(solution.motion.skeleton), *solution.motion.skeleton.bone_names)
    write_curves(bag, f"{_bone_path(names[0])}.location", frames, curves.root_location * _units_per_m(), names[0])
    for index, bone in enumerate(names):
        write_curves(bag, f"{_bone_path(bone)}.rotation_quaternion", frames, curves.rotation[:, index], bone)
    return action


def _write_reduced(
    item: bpy.types.Object, bag: Bag, reduced: ReducedMotion, motion: SkeletonMotion, rest: FloatArray
) -> None:
    names = (root_name(motion.skeleton), *motion.skeleton.bone_names)
    units = _units_per_m()
    head = np.array(item.data.bones[names[0]].head_local) / units
    place = reduced.location
    moved = KeyedCurve(place.frames, (place.values - head) @ rest[0] * units, place.slopes @ rest[0] * units)
    write_bezier(bag, f"{_bone_path(names[0])}.location", moved.frames, moved.values, moved.slopes, names[0])
    for bone, curve in zip(names, reduced.rotation, strict=True):
        path = f"{_bone_path(bone)}.rotation_quaternion"
        write_bezier(bag, path, curve.frames, curve.values, curve.slopes, bone)


def _covariances(solution: Solution, motion: SkeletonMotion, person: int) -> FloatArray:
    """(T, 1 + B, 3, 3) of the movement of the root joint and each bone's tail."""
    columns = [solution.solved.joint_names.index(name) for name in motion.skeleton.joint_names]
    return movement_covariance(solution)[:, person, columns]


def _keep(item: bpy.types.Object, layer: str) -> None:
    action = layer_action(item, layer)
    if action is not None:
        _keep_action(item, action, layer)


def _keep_action(item: bpy.types.Object, action: bpy.types.Action, layer: str) -> None:
    """Put an action into a muted NLA track, so that it stays with the armature while another is shown."""
    tracks = item.animation_data.nla_tracks
    if any(strip.action == action for track in tracks for strip in track.strips):
        return
    track = tracks.new()
    track.name, track.mute = f"Sightline {layer}", True
    strip = track.strips.new(action.name, int(np.floor(action.frame_range[0])), action)
    if hasattr(strip, "action_slot"):
        strip.action_slot = action.slots[0]


def _forget(item: bpy.types.Object, action: bpy.types.Action) -> None:
    """Take an action of ours off an armature, and remove it where nobody else uses it."""
    if item.animation_data.action == action:
        item.animation_data.action = None
    for track in list(item.animation_data.nla_tracks):
        if any(strip.action == action for strip in track.strips):
            item.animation_data.nla_tracks.remove(track)
    if action.get(KIND) == "action" and action.get(TAKE) == item[TAKE] and action.users == 0:
        bpy.data.actions.remove(action)
