"""Few keys on a character that the motion was given to, within the uncertainty of the person's joints.

Every curve gets a share of what the joints below it may be off: a turn moves a joint by no more than its angle times
the length of the bones between, so whatever the pose is, the shares of a limb add up to no more than allowed.
"""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import bpy
import numpy as np

from ...inference.errors import InputError
from ...inference.motion.key_reduction import KeyedCurve, reduce_path, reduce_turns
from ...inference.motion.retarget import TargetRig
from ...inference.placement import movement_covariance
from ...inference.shapes import FloatArray
from ...inference.types import Solution
from .animation import action_curves, assign_action, empty_action, write_bezier
from .parts import KIND, LAYER, PERSON, TAKE
from .rig_files import match_rig
from .rigs import RETARGETED, target_rig

_UNKNOWN_M, _SMALLEST_M = 0.05, 5e-4  # sigma of a joint without one, and of one that is as good as exact
_TAIL = {  # which joint of the person the end of a part is; the first that the take has
    "hips": ("pelvis",),
    "spine": ("neck",),
    "neck": ("neck",),
    "head": ("head_top", "nose"),
    "clavicle": ("shoulder",),
    "upper_arm": ("elbow",),
    "forearm": ("wrist",),
    "hand": ("hand", "index", "wrist"),
    "thigh": ("knee",),
    "shin": ("ankle",),
    "foot": ("big_toe", "foot_index", "ankle"),
}


@dataclass(frozen=True, eq=False)
class _Channels:
    """Dense curves of an action, by number of the bone."""

    frames: FloatArray  # (T,)
    turns: Mapping[int, FloatArray]  # (T, 4)
    paths: Mapping[int, FloatArray]  # (T, 3) in the armature's units


def is_retargeted(item: bpy.types.Object | None) -> bool:
    """Tell whether an object shows a motion that `retarget_onto` gave it."""
    action = item.animation_data.action if item is not None and item.animation_data else None
    return action is not None and action.get(KIND) == RETARGETED and item.type == "ARMATURE"


def reduce_rig(item: bpy.types.Object, solution: Solution, sigmas: float) -> tuple[int, int]:
    """Replace a character's key on every frame by few Bézier keys; retargeting once more gives the former back.

    Args:
        item: an armature that a motion was given to.
        solution: which that motion came from.
        sigmas: how far each joint may be off, in its standard deviations in its surest direction.

    Returns:
        Keys before and after.

    Raises:
        InputError: it has no such motion, or few keys already.
    """
    if not is_retargeted(item):
        raise InputError(f"{item.name} has no motion of a take; press Retarget to Active first")
    before = item.animation_data.action
    person = int(before.get(PERSON, 0))
    if person >= solution.solved.xyz.shape[1]:
        raise InputError(f"{item.name} does what person {person + 1} did, whom the solution has not; retarget it again")
    rig, units = target_rig(item)
    channels = _read(before, rig)
    turn_rad, path_m = _allowances(item, rig, channels, solution, person, sigmas)
    action, bag = empty_action(f"{before.name} few keys", item.name)
    action[KIND], action[TAKE], action[LAYER], action[PERSON] = RETARGETED, before.get(TAKE), before.get(LAYER), person
    for bone, values in channels.paths.items():
        found = reduce_path(channels.frames, values / units, path_m[bone])
        _write(bag, rig.names[bone], "location", KeyedCurve(found.frames, found.values * units, found.slopes * units))
    for bone, values in channels.turns.items():
        found = reduce_turns(channels.frames, values, turn_rad[bone])
        _write(bag, rig.names[bone], "rotation_quaternion", found)
    count = [sum(len(curve.keyframe_points) for curve in action_curves(one)) for one in (before, action)]
    name = before.name
    assign_action(item, action)
    if before.users == 0:
        bpy.data.actions.remove(before)
        action.name = name
    return count[0], count[1]


def _write(bag: object, bone: str, channel: str, curve: KeyedCurve) -> None:
    path = f'pose.bones["{bpy.utils.escape_identifier(bone)}"].{channel}'
    write_bezier(bag, path, curve.frames, curve.values, curve.slopes, bone)


def _read(action: bpy.types.Action, rig: TargetRig) -> _Channels:
    """Read the curves of an action with a key on every frame.

    Raises:
        InputError: its curves have keys of their own, so they are few already or somebody's.
    """
    found: dict[tuple[str, str], dict[int, FloatArray]] = {}
    frames = None
    for curve in action_curves(action):
        keys = np.empty((len(curve.keyframe_points), 2), dtype=np.float32)
        curve.keyframe_points.foreach_get("co", keys.ravel())
        frames = keys[:, 0] if frames is None else frames
        if len(keys) != len(frames) or not np.allclose(keys[:, 0], frames):
            raise InputError("the character's keys were reduced or edited already; retarget it again to begin anew")
        bone, _, channel = curve.data_path.removeprefix('pose.bones["').partition('"].')
        found.setdefault((bone, channel), {})[curve.array_index] = keys[:, 1].astype(float)
    if frames is None:
        raise InputError("the character's action is empty; retarget it again")
    numbers = {bpy.utils.escape_identifier(name): number for number, name in enumerate(rig.names)}
    turns, paths = ({}, {})
    for (bone, channel), columns in found.items():
        values = np.stack([columns[index] for index in sorted(columns)], axis=1)
        (paths if channel == "location" else turns)[numbers[bone]] = values
    return _Channels(frames.astype(float), turns, paths)


def _allowances(
    item: bpy.types.Object, rig: TargetRig, channels: _Channels, solution: Solution, person: int, sigmas: float
) -> tuple[dict[int, FloatArray], dict[int, FloatArray]]:
    """(T,) rad of every bone that turns, and (T,) m of every one that moves."""
    sigma = _sigmas(item, rig, solution, person)
    turn_rad: dict[int, FloatArray] = {}
    path_m: dict[int, FloatArray] = {}
    for end, own in sigma.items():
        chain, bone = [], end
        while bone >= 0:
            chain.append(bone)
            bone = int(rig.parents[bone])
        share = sigmas * own / sum((bone in channels.turns) + (bone in channels.paths) for bone in chain)
        point, reach = rig.tails[end], 0.0
        for bone in chain:
            reach += float(np.linalg.norm(point - rig.heads[bone]))
            point = rig.heads[bone]
            if bone in channels.turns and reach > 0:
                turn_rad[bone] = np.minimum(turn_rad.get(bone, np.inf), share / reach)
            if bone in channels.paths:
                path_m[bone] = np.minimum(path_m.get(bone, np.inf), share)
    still = np.full(len(channels.frames), _SMALLEST_M)
    return {b: turn_rad.get(b, still) for b in channels.turns}, {b: path_m.get(b, still) for b in channels.paths}


def _sigmas(item: bpy.types.Object, rig: TargetRig, solution: Solution, person: int) -> dict[int, FloatArray]:
    """(T,) m, by bone: the standard deviation of the joint at its end, in the surest direction."""
    names = solution.solved.joint_names
    found = {}
    for part, bones in match_rig([bone.name for bone in item.data.bones]).parts.items():
        side = next((side for side in ("left_", "right_") if part.startswith(side)), "")
        joint = next((side + name for name in _TAIL[part.removeprefix(side)] if side + name in names), None)
        sigma = np.full(len(solution.solved.timestamps_s), _UNKNOWN_M)
        if joint is not None:
            covariance = movement_covariance(solution)[:, person, names.index(joint)]
            known = np.isfinite(covariance).all(axis=(1, 2))
            sigma[known] = np.sqrt(np.maximum(np.linalg.eigvalsh(covariance[known])[:, 0], _SMALLEST_M**2))
        found |= {rig.names.index(bone): sigma for bone in bones}
    return found
