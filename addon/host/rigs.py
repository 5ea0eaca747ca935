"""The solved motion on other armatures: new ones in a target's naming, and characters that the user has."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

import bpy
import numpy as np

from ...inference.errors import InputError
from ...inference.motion.retarget import Retargeted, TargetRig, retarget
from ...inference.motion.target_skeleton import NewBone, new_bones
from .animation import assign_action, empty_action, write_curves
from .armature import edit_bones, place_bone
from .axes import axes_and_scale, quaternions
from .control_rigs import has_machinery, settle
from .parts import CLEANED, KIND, LAYER, PERSON, TAKE, Part, ensure_group, ensure_take_collection, parts_in
from .performance import Performance
from .rig_files import Match, RigFile, match_rig

RIG, RETARGETED = "sightline_rig", "retargeted"


def retarget_onto(
    item: bpy.types.Object, performance: Performance, wanted: str = "", root: str = "hips"
) -> tuple[Match, list[str]]:
    """Give a person's motion to an armature of the user, as a new action; the action before is kept in the file.

    Convention:
        the rest pose alone decides; what the armature does in the shown frame is of no account.

    Args:
        item: an armature.
        performance: what it shall do.
        wanted: the target's naming; empty: found by the names of the bones.
        root: what carries the path over the ground (`retarget.ROOTS`).

    Returns:
        How the bones were understood, and warnings.

    Raises:
        InputError: the object is no armature, its bones fit no naming, or it is mirrored or scaled unevenly.
    """
    if item.type != "ARMATURE":
        raise InputError(f"{item.name} is no armature")
    match = match_rig([bone.name for bone in item.data.bones], wanted)
    bpy.context.view_layer.update()
    rig, units = target_rig(item)
    parts = {part: [rig.names.index(name) for name in names] for part, names in match.parts.items()}
    root_bone = rig.names.index(match.root) if match.root else None
    channels = retarget(performance.motion, performance.person, rig, parts, root, root_bone)
    warnings = []
    if has_machinery(item, match):
        channels = settle(item, match, rig, channels)
    if match.missing:
        warnings.append(f"{item.name} has no {_listed(match.missing)}: the rest moves without")
    driven = {rig.names[bone] for bone in channels.rotation}
    held = [name for name in sorted(driven) if any(not c.mute for c in item.pose.bones[name].constraints)]
    if held:
        warnings.append(f"{item.name}: constraints act on {_listed(held)} besides this motion")
    _write(item, performance, rig.names, channels, units)
    return match, warnings


def target_rig(item: bpy.types.Object) -> tuple[TargetRig, float]:
    """Describe an armature at rest to `retarget`; also the armature's units per metre.

    Raises:
        InputError: the object is mirrored or scaled unevenly.
    """
    turn, scale = axes_and_scale(item.name, np.array(item.matrix_world))
    metre = bpy.context.scene.unit_settings.scale_length
    bones = _parents_first(item.data.bones)
    names = tuple(bone.name for bone in bones)
    into_world = turn * (scale * metre)
    origin = np.array(item.matrix_world.translation) * metre
    heads = np.array([bone.head_local for bone in bones]) @ into_world.T + origin
    tails = np.array([bone.tail_local for bone in bones]) @ into_world.T + origin
    axes = turn @ np.array([bone.matrix_local.to_3x3() for bone in bones])
    parents = np.array([names.index(bone.parent.name) if bone.parent else -1 for bone in bones])
    inherits = np.array([bone.use_inherit_rotation for bone in bones])
    return TargetRig(names, parents, heads, tails, quaternions(axes), turn, inherits), 1.0 / (scale * metre)


def make_rig(
    context: bpy.types.Context,
    performance: Performance,
    target: RigFile,
    rest_pose: str = "",
    root: str = "hips",
    temporary: bool = False,
) -> bpy.types.Object:
    """Make an armature of a person's own bone lengths in a target's naming and rest pose, with the motion.

    Convention:
        made again for the same person and target it replaces the one before.

    Args:
        context: its scene gets the armature.
        performance: what it shall do.
        target: names of the bones.
        rest_pose: T or A; empty: the target's usual one.
        root: what carries the path; with "root" the armature gets a root bone.
        temporary: beside what is there, to be removed by the caller.
    """
    scene, motion, person = context.scene, performance.motion, performance.person
    lengths = motion.bone_length[person]
    root_name = (target.root or "root") if root == "root" else ""
    bones = new_bones(motion.skeleton, lengths, target.namings[0], rest_pose or target.rest_pose, root_name)
    if not temporary:
        _remove_before(scene, performance, target)
    item = _rig_object(scene, performance, target)
    with edit_bones(item.data) as editing:
        _build(editing, bones, 1.0 / scene.unit_settings.scale_length)
    retarget_onto(item, performance, target.key, root)
    return item


def remove_rig(item: bpy.types.Object) -> None:
    """Remove an armature that `make_rig` made, with all that only it has."""
    action, data = item.animation_data.action if item.animation_data else None, item.data
    bpy.data.objects.remove(item)
    bpy.data.batch_remove([unused for unused in (action, data) if unused is not None and unused.users == 0])


def _rig_object(scene: bpy.types.Scene, performance: Performance, target: RigFile) -> bpy.types.Object:
    """Return a new, empty armature for a person and target."""
    name = f"{performance.take} person {performance.number + 1} {target.label}"
    item = bpy.data.objects.new(name, bpy.data.armatures.new(name))
    part = Part("rig", performance.take, layer=CLEANED, person=performance.number)
    for key, value in (part.properties | {RIG: target.key}).items():
        item[key] = value
    ensure_group(ensure_take_collection(scene, performance.take), "people").objects.link(item)
    item.show_in_front = True
    return item


def _remove_before(scene: bpy.types.Scene, performance: Performance, target: RigFile) -> None:
    for before in parts_in(scene, "rig", performance.take):
        if before[PERSON] == performance.number and before[RIG] == target.key:
            remove_rig(before)


def _build(editing: bpy.types.ArmatureEditBones, bones: list[NewBone], units_per_m: float) -> None:
    for new in bones:
        bone = editing.new(new.name)
        place_bone(bone, new.head, new.tail, new.z_axis, units_per_m)
        if new.parent:
            bone.parent = editing[new.parent]


def _write(
    item: bpy.types.Object, performance: Performance, names: tuple[str, ...], channels: Retargeted, units: float
) -> None:
    animation = item.animation_data or item.animation_data_create()
    before = animation.action
    action, bag = empty_action(f"{item.name} {performance.take}", item.name)
    action[KIND], action[TAKE], action[LAYER] = RETARGETED, performance.take, CLEANED
    action[PERSON] = performance.number
    for bone, values in channels.location.items():
        path = f"{_path(names[bone])}.location"
        write_curves(bag, path, performance.frames, values * units, names[bone])
    for bone, values in channels.rotation.items():
        item.pose.bones[names[bone]].rotation_mode = "QUATERNION"
        write_curves(bag, f"{_path(names[bone])}.rotation_quaternion", performance.frames, values, names[bone])
    for bone in item.pose.bones:  # what somebody posed by hand would stay on the bones without keys
        bone.matrix_basis.identity()
    assign_action(item, action)
    if before is not None and before.get(KIND) == RETARGETED and before.users == 0:
        bpy.data.actions.remove(before)
    elif before is not None and before.users == 0:
        before.use_fake_user = True


def _path(bone: str) -> str:
    return f'pose.bones["{bpy.utils.escape_identifier(bone)}"]'


def _parents_first(bones: bpy.types.ArmatureBones) -> list[bpy.types.Bone]:
    found: list[bpy.types.Bone] = []
    for bone in bones:
        if bone.parent is None:
            found += [bone, *bone.children_recursive]
    return sorted(found, key=lambda bone: len(bone.parent_recursive))


def _listed(names: tuple[str, ...] | list[str]) -> str:
    shown = ", ".join(names[:6])
    return f"{shown} and {len(names) - 6} more" if len(names) > 6 else shown
