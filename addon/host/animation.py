"""Keyframes in bulk, on one code path for the actions of Blender 4.2 (no layers) to 5.x (layers and slots)."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

from typing import Any

import bpy
import numpy as np

from ...inference.shapes import BoolArray, FloatArray
from .axes import visibility_changes
from .parts import KIND, LAYER, TAKE, digest

CONSTANT, LINEAR = 0, 1  # Blender's numbers of the interpolations
Bag = Any  # an Action of 4.2, an ActionChannelbag later: both hold fcurves and groups


def replace_action(item: bpy.types.Object) -> Bag:
    """Give an object a new, empty action of ours; remove the one of ours before if nothing else uses it.

    An action is never emptied in place: somebody may have put it into a strip or on another object.
    """
    animation = item.animation_data or item.animation_data_create()
    before = animation.action
    if before is not None and before.get(KIND) == "action":
        animation.action = None
        if before.users == 0:
            bpy.data.actions.remove(before)
    action = bpy.data.actions.new(item.name)
    action[KIND], action[TAKE], action[LAYER] = "action", item[TAKE], item[LAYER]
    animation.action = action
    if not hasattr(action, "layers"):
        return action
    slot = action.slots.new(id_type="OBJECT", name=item.name)
    animation.action_slot = slot
    return action.layers.new("Layer").strips.new(type="KEYFRAME").channelbag(slot, ensure=True)


def write_curves(
    bag: Bag,
    data_path: str,
    frames: FloatArray,  # (K,)
    values: FloatArray,  # (K, C), finite
    group: str,
    interpolation: int = LINEAR,
) -> None:
    """Write C curves of K keys each."""
    keys = np.empty((len(frames), 2), dtype=np.float32)
    keys[:, 0] = frames
    kinds = np.full(len(frames), interpolation, dtype=np.int32)
    for index in range(values.shape[1]):
        curve = bag.fcurves.new(data_path, index=index)
        curve.group = bag.groups.get(group) or bag.groups.new(group)
        curve.keyframe_points.add(len(frames))
        keys[:, 1] = values[:, index]
        curve.keyframe_points.foreach_set("co", keys.ravel())
        curve.keyframe_points.foreach_set("interpolation", kinds)
        curve.update()


def write_visibility(
    bag: Bag,
    frames: FloatArray,  # (T,)
    seen: BoolArray,  # (T,)
    group: str,
) -> None:
    """Hide an object where nothing was observed."""
    changes = visibility_changes(seen)
    hidden = (~seen[changes, None]).astype(float)
    for data_path in ("hide_viewport", "hide_render"):
        write_curves(bag, data_path, frames[changes], hidden, group, CONSTANT)


def action_fingerprint(item: bpy.types.Object) -> str:
    """Return a hash of what animates an object: its action's keys, and what was put on top of it."""
    animation = item.animation_data
    if animation is None or animation.action is None:
        return digest("none", str(len(animation.nla_tracks)) if animation else "0")
    pieces: list[bytes | str] = [str(len(animation.nla_tracks)), str(len(animation.drivers))]
    for curve in _curves(animation.action):
        keys = np.empty((len(curve.keyframe_points), 2), dtype=np.float32)
        curve.keyframe_points.foreach_get("co", keys.ravel())
        state = f"{curve.data_path} {curve.array_index} {curve.mute} {len(curve.modifiers)} {curve.extrapolation}"
        pieces += [state, keys.tobytes()]
    return digest(*pieces)


def _curves(action: bpy.types.Action) -> list[bpy.types.FCurve]:
    if not hasattr(action, "layers"):
        return list(action.fcurves)
    strips = [strip for layer in action.layers for strip in layer.strips]
    return [curve for strip in strips for bag in strip.channelbags for curve in bag.fcurves]
