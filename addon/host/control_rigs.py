"""Rigs whose controls hang on constraints, such as Rigify's generated ones: each bone is set after those above it.

What a constraint does to a control's parent is known only to Blender, so the rig is evaluated: part by part, frame by
frame. That takes about a tenth of a second a frame for Rigify's human.
"""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

from dataclasses import replace

import bpy
import numpy as np
from mathutils import Matrix, Quaternion, Vector

from ...inference.motion.retarget import Retargeted, TargetRig
from ...inference.shapes import FloatArray
from .axes import continuous
from .rig_files import Match

_ORDER = (  # what is set at once: nothing in a row hangs on another part of it
    ("hips",),
    ("spine",),
    ("neck", "clavicle"),
    ("head", "thigh"),
    ("upper_arm", "shin"),
    ("forearm", "foot"),
    ("hand",),
)
_FK = "IK_FK"  # the property of Rigify's limbs: 1 lets the FK controls move them


def has_machinery(item: bpy.types.Object, match: Match) -> bool:
    """Tell whether constraints move bones that the mapped ones hang on."""
    mapped = [item.pose.bones[name] for names in match.parts.values() for name in names]
    above = {bone.name for each in mapped for bone in each.parent_recursive}
    return any(not each.mute for name in above for each in item.pose.bones[name].constraints)


def settle(item: bpy.types.Object, match: Match, rig: TargetRig, channels: Retargeted) -> Retargeted:
    """Return the channels that put the bones of a rig with constraints where they shall be; arms and legs go to FK."""
    item.animation_data_create().action = None
    for bone in item.pose.bones:
        bone.matrix_basis.identity()
        if _FK in bone:
            bone[_FK] = 1.0
    for number in channels.turns:
        item.pose.bones[rig.names[number]].rotation_mode = "QUATERNION"
    rows = [_numbers(match, rig, channels, parts) for parts in _ORDER]
    metre = bpy.context.scene.unit_settings.scale_length
    into_armature = item.matrix_world.inverted()
    frames = len(next(iter(channels.turns.values())))
    turned = {number: np.empty((frames, 4)) for number in channels.turns}
    moved = {number: np.empty((frames, 3)) for number in channels.places}
    scale = item.matrix_world.median_scale * metre
    for frame in range(frames):  # the dependency graph knows one frame at a time
        item.update_tag()
        for row in rows:
            for number in row:
                bone = item.pose.bones[rig.names[number]]
                before = bone.matrix @ bone.matrix_basis.inverted()
                if number in channels.places:
                    _place(bone, before, into_armature, channels.places[number][frame] / metre)
                    moved[number][frame] = np.array(bone.location) * scale
                axes = into_armature.to_quaternion() @ Quaternion(channels.turns[number][frame])
                bone.rotation_quaternion = before.to_quaternion().inverted() @ axes
                turned[number][frame] = bone.rotation_quaternion
            bpy.context.view_layer.update()
    return replace(channels, rotation={n: continuous(values) for n, values in turned.items()}, location=moved)


def _place(bone: bpy.types.PoseBone, before: Matrix, into_armature: Matrix, place: FloatArray) -> None:
    bone.location = before.inverted() @ (into_armature @ Vector(place))


def _numbers(match: Match, rig: TargetRig, channels: Retargeted, parts: tuple[str, ...]) -> list[int]:
    """Return the bones of parts (both sides), by number."""
    named = [names for part, names in match.parts.items() if part.removeprefix("left_").removeprefix("right_") in parts]
    numbers = [rig.names.index(name) for names in named for name in names]
    return [number for number in numbers if number in channels.turns]
