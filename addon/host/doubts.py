"""Spans of doubt in the scene: the keys of the joints that they name, and markers in the timeline."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

import bpy
import numpy as np

from ...inference.shapes import BoolArray
from .animation import action_curves

MARKS = "sightline_marks"  # on the scene: the markers that we made; a marker itself cannot carry a property in 5.x


def select_keys(item: bpy.types.Object, bones: Collection[str], first: float, last: float) -> int:
    """Select the keys of some bones between two frames, and nothing else; the bones and the armature too.

    Convention:
        the dope sheet shows the channels of selected bones alone, hence the bones.

    Args:
        item: an armature.
        bones: names.
        first: scene frame.
        last: scene frame, inclusive.

    Returns:
        How many keys are selected.
    """
    layer = bpy.context.view_layer
    for other in layer.objects.selected:
        other.select_set(False)
    item.select_set(True)
    layer.objects.active = item
    for bone in item.pose.bones:
        _select_bone(bone, bone.name in bones)
    for other in layer.objects:
        if other != item and other.animation_data is not None and other.animation_data.action is not None:
            for curve in action_curves(other.animation_data.action):
                _select_curve(curve, np.zeros(len(curve.keyframe_points), dtype=bool))
    animation = item.animation_data
    if animation is None or animation.action is None:
        return 0
    wanted = tuple(f'pose.bones["{bpy.utils.escape_identifier(name)}"].' for name in bones)
    count = 0
    for curve in action_curves(animation.action):
        ours = curve.data_path.startswith(wanted) if wanted else False
        keys = curve.keyframe_points
        places = np.empty((len(keys), 2), dtype=np.float32)
        keys.foreach_get("co", places.ravel())
        inside = ours & (places[:, 0] >= first - 0.01) & (places[:, 0] <= last + 0.01)
        _select_curve(curve, inside)
        count += int(inside.sum())
    return count


def _select_curve(curve: bpy.types.FCurve, chosen: BoolArray) -> None:
    curve.select = bool(chosen.any())
    for name in ("select_control_point", "select_left_handle", "select_right_handle"):
        curve.keyframe_points.foreach_set(name, chosen)


def _select_bone(bone: bpy.types.PoseBone, chosen: bool) -> None:
    if hasattr(bone, "select"):
        bone.select = chosen  # Blender 5
    else:
        bone.bone.select = chosen


def add_marks(scene: bpy.types.Scene, marks: Sequence[tuple[int, str]]) -> None:
    """Put markers into the timeline in place of those of ours that are there."""
    remove_marks(scene)
    made = []
    for frame, name in marks:
        marker = scene.timeline_markers.new(name, frame=frame)
        made.append([marker.name, frame])
    scene[MARKS] = json.dumps(made)


def remove_marks(scene: bpy.types.Scene) -> int:
    """Remove our markers; one that was renamed or moved is the animator's. Return how many."""
    count = 0
    for name, frame in json.loads(scene.get(MARKS, "[]")):
        marker = next((m for m in scene.timeline_markers if m.name == name and m.frame == frame), None)
        if marker is not None:
            scene.timeline_markers.remove(marker)
            count += 1
    if MARKS in scene:
        del scene[MARKS]
    return count
