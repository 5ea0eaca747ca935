"""When feet stand, as pairs of timeline markers that the animator moves, copies and deletes.

A marker carries nothing but its name and frame in all Blender versions, so the name says what it is: take, person,
joint, and ``down`` (the first frame of a span) or ``up`` (the last one). A span needs both; deleting one deletes it.
"""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from __future__ import annotations

from collections.abc import Iterator, Sequence

import bpy
import numpy as np

from ...inference.errors import InputError
from ...inference.motion.foot_lock import PlantedSpan
from ...inference.shapes import FloatArray

_DOWN, _UP = "down", "up"


def write_markers(
    scene: bpy.types.Scene, take: str, person: int, spans: Sequence[PlantedSpan], frames: FloatArray
) -> None:
    """Show a person's planted spans as markers, in place of those that were there; frames (T,) are the take's."""
    clear_markers(scene, take, person)
    for span in spans:
        for index, event in ((span.start, _DOWN), (span.stop - 1, _UP)):
            name = f"{_prefix(take, person)}{span.joint} {event}"
            scene.timeline_markers.new(name, frame=round(float(frames[index])))


def clear_markers(scene: bpy.types.Scene, take: str, person: int) -> int:
    """Remove a person's contact markers and return how many there were."""
    ours = [marker for marker, _, _ in _events(scene, take, person)]
    for marker in ours:
        scene.timeline_markers.remove(marker)
    return len(ours)


def read_markers(scene: bpy.types.Scene, take: str, person: int, frames: FloatArray) -> list[PlantedSpan] | None:
    """Return the spans that a person's markers tell; None where there are no markers at all.

    Raises:
        InputError: no pair of markers is left, or a span lies outside of the take; the message names it.
    """
    events = sorted((marker.frame, event, joint) for marker, joint, event in _events(scene, take, person))
    if not events:
        return None
    spans = []
    for joint in dict.fromkeys(joint for _, _, joint in events):
        own = [(frame, event) for frame, event, name in events if name == joint]
        for (first, down), (last, up) in zip(own[:-1], own[1:], strict=True):
            if (down, up) == (_DOWN, _UP):
                inside = np.flatnonzero((np.round(frames) >= first) & (np.round(frames) <= last))
                if not len(inside):
                    raise InputError(f"{joint}: the markers at frames {first} and {last} lie outside of the take")
                spans.append(PlantedSpan(joint, int(inside[0]), int(inside[-1]) + 1))
    if not spans:
        raise InputError("no contact marker has its partner left; make them anew with Mark Contacts")
    return spans


def _events(scene: bpy.types.Scene, take: str, person: int) -> Iterator[tuple[bpy.types.TimelineMarker, str, str]]:
    """Yield our markers of a person with joint and event."""
    for marker in list(scene.timeline_markers):
        words = marker.name.removeprefix(_prefix(take, person)).split(" ")
        # Blender numbers no copies of markers; a name of two words is what we write
        if marker.name.startswith(_prefix(take, person)) and len(words) == 2 and words[1] in (_DOWN, _UP):
            yield marker, words[0], words[1]


def _prefix(take: str, person: int) -> str:
    return f"{take[:24]} {person + 1}: "  # names of markers hold 63 bytes
