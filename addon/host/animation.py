"""Keyframes in bulk, on one code path for the actions of Blender 4.2 (no layers) to 5.x (layers and slots)."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import bpy
import numpy as np

from ...inference.shapes import BoolArray, FloatArray
from .axes import visibility_changes
from .parts import KIND, LAYER, TAKE, digest

CONSTANT, LINEAR, BEZIER = 0, 1, 2  # Blender's numbers of the interpolations
_ALIGNED = 3  # Blender's number of the kind of handle
_written: dict[tuple[int, str, int], bytes] = {}  # keys of the action that is being made, until it is sealed
Bag = Any  # an Action of 4.2, an ActionChannelbag later: both hold fcurves and groups


def replace_action(item: bpy.types.Object) -> Bag:
    """Give an object a new, empty action of ours; remove the one of ours before if nothing else uses it.

    An action is never emptied in place: somebody may have put it into a strip or on another object.
    """
    animation = item.animation_data or item.animation_data_create()
    before = next((one for one in our_actions(animation) if one.get(LAYER) == item[LAYER]), None)
    action, bag = new_action(item, item[LAYER])
    if before is not None:
        for strip in [strip for track in animation.nla_tracks if _holds_our_layers(track) for strip in track.strips]:
            if strip.action == before:
                strip.action = action
                if hasattr(strip, "action_slot"):
                    strip.action_slot = action.slots[0]
        animation.action = None
        if before.users == 0:
            bpy.data.actions.remove(before)
            action.name = item.name
    assign_action(item, action)
    return bag


def new_action(item: bpy.types.Object, layer: str) -> tuple[bpy.types.Action, Bag]:
    """Make an empty action of ours for a layer of an object, which is not shown yet."""
    _written.clear()
    action, bag = empty_action(item.name if layer == item[LAYER] else f"{item.name} {layer}", item.name)
    action[KIND], action[TAKE], action[LAYER] = "action", item[TAKE], layer
    return action, bag


def empty_action(name: str, slot: str) -> tuple[bpy.types.Action, Bag]:
    """Make an action for an object; ``slot`` names its slot where actions have slots."""
    action = bpy.data.actions.new(name)
    if not hasattr(action, "layers"):
        return action, action
    made = action.slots.new(id_type="OBJECT", name=slot)
    return action, action.layers.new("Layer").strips.new(type="KEYFRAME").channelbag(made, ensure=True)


def assign_action(item: bpy.types.Object, action: bpy.types.Action) -> None:
    """Show an action on an object."""
    item.animation_data.action = action
    if hasattr(action, "slots"):
        item.animation_data.action_slot = action.slots[0]


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
        if bag.id_data.get(KIND) == "action":
            _written[bag.id_data.as_pointer(), data_path, index] = keys.tobytes()


def write_bezier(
    bag: Bag,
    data_path: str,
    frames: FloatArray,  # (K,)
    values: FloatArray,  # (K, C), finite
    slopes: FloatArray,  # (K, C) per frame
    group: str,
) -> None:
    """Write C curves of K keys whose handles reach a third of the way to the next key: cubic in time between keys."""
    step = np.diff(frames)
    before = np.concatenate([step[:1], step]) / 3 if len(step) else np.ones(1)
    after = np.concatenate([step, step[-1:]]) / 3 if len(step) else np.ones(1)
    points = np.empty((len(frames), 2), dtype=np.float32)
    kinds, aligned = np.full(len(frames), BEZIER, dtype=np.int32), np.full(len(frames), _ALIGNED, dtype=np.int32)
    for index in range(values.shape[1]):
        curve = bag.fcurves.new(data_path, index=index)
        curve.group = bag.groups.get(group) or bag.groups.new(group)
        keys = curve.keyframe_points
        keys.add(len(frames))
        for name, reach in (("co", 0.0), ("handle_left", -before), ("handle_right", after)):
            points[:, 0], points[:, 1] = frames + reach, values[:, index] + reach * slopes[:, index]
            keys.foreach_set(name, points.ravel())
        keys.foreach_set("interpolation", kinds)
        keys.foreach_set("handle_left_type", aligned)
        keys.foreach_set("handle_right_type", aligned)
        curve.update()


def read_curves(
    action: bpy.types.Action,
    data_path: str,
    frames: FloatArray,  # (T,)
    default: Sequence[float],  # (C,) where there is no curve
) -> FloatArray:
    """Return (T, C) values of a property's curves, whoever made their keys."""
    values = np.tile(np.asarray(default, float), (len(frames), 1))
    for curve in action_curves(action):
        if curve.data_path == data_path and curve.array_index < values.shape[1]:
            values[:, curve.array_index] = [curve.evaluate(frame) for frame in frames]
    return values


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
    """Return a hash of what animates an object: the keys of its own layer, and what was put on top of it."""
    animation = item.animation_data
    if animation is None:
        return digest("none", "0")
    foreign = [track for track in animation.nla_tracks if not _holds_our_layers(track)]
    action = next((one for one in our_actions(animation) if one.get(LAYER) == item[LAYER]), animation.action)
    if animation.action is not None and animation.action.get(KIND) != "action":
        action = animation.action  # somebody's own is shown
    if action is None:
        return digest("none", str(len(foreign)))
    return digest(str(len(foreign)), str(len(animation.drivers)), bag_digest(action))


def bag_digest(action: bpy.types.Action) -> str:
    """Return a hash of an action's keys.

    Convention:
        what was just written is not read back, which would take longer than writing it; the second time it is.
    """
    pieces: list[bytes | str] = []
    for curve in action_curves(action):
        keys = _written.pop((action.as_pointer(), curve.data_path, curve.array_index), None)
        if keys is None:
            read = np.empty((len(curve.keyframe_points), 2), dtype=np.float32)
            curve.keyframe_points.foreach_get("co", read.ravel())
            keys = read.tobytes()
        state = f"{curve.data_path} {curve.array_index} {curve.mute} {len(curve.modifiers)} {curve.extrapolation}"
        pieces += [state, keys]
    return digest(*pieces)


def our_actions(animation: bpy.types.AnimData) -> list[bpy.types.Action]:
    """Return the actions of ours on an object, the shown one first."""
    kept = [strip.action for track in animation.nla_tracks for strip in track.strips]
    return [action for action in (animation.action, *kept) if action is not None and action.get(KIND) == "action"]


def _holds_our_layers(track: bpy.types.NlaTrack) -> bool:
    """Whether a track is one of those that keep our layers: muted, with nothing but our actions."""
    ours = [strip.action is not None and strip.action.get(KIND) == "action" for strip in track.strips]
    return track.mute and bool(ours) and all(ours)


def action_curves(action: bpy.types.Action) -> list[bpy.types.FCurve]:
    """Return all curves of an action, of any version."""
    if not hasattr(action, "layers"):
        return list(action.fcurves)
    strips = [strip for layer in action.layers for strip in layer.strips]
    return [curve for strip in strips for bag in strip.channelbags for curve in bag.fcurves]
