"""When the overlays are drawn, and what happens to one that fails.

Each overlay has a switch in `scene.sightline.overlay`. One that fails says so once and stays off until it is switched
off and on again: a drawing that fails at every redraw would flood the console.
"""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import bpy

from ..operators.guarded import drawn
from . import band, bodies, ghosts, legend, plate, shown

_STOPPED: set[str] = set()  # overlays that failed
_HANDLES: list[tuple[Any, object]] = []
SPENT_S: dict[str, float] = {}  # processor time of the last drawing of each overlay, for measuring


class Overlay(NamedTuple):
    """One drawing and its switch."""

    name: str  # of the property
    space: str  # of bpy.types
    moment: str
    draw: Callable[[bpy.types.Context], None]


OVERLAYS = (
    Overlay("ellipsoids", "SpaceView3D", "POST_VIEW", bodies.draw_ellipsoids),
    Overlay("bones", "SpaceView3D", "POST_VIEW", bodies.draw_bones),
    Overlay("ghosts", "SpaceView3D", "POST_VIEW", ghosts.draw_ghosts),
    Overlay("plates", "SpaceView3D", "POST_PIXEL", plate.draw_plate),
    Overlay("legend", "SpaceView3D", "POST_PIXEL", legend.draw_legend),
    Overlay("band", "SpaceDopeSheetEditor", "POST_PIXEL", band.draw_band),
)


def stopped() -> list[str]:
    """Name the overlays that failed."""
    return sorted(_STOPPED)


def run(overlay: Overlay) -> None:
    """Draw an overlay if it is switched on and has not failed."""
    context = bpy.context
    known = getattr(context.scene, "sightline", None)
    if known is None or not getattr(known.overlay, overlay.name):
        _STOPPED.discard(overlay.name)
        return
    if overlay.name in _STOPPED or not _overlays_shown(context.space_data):
        return
    started = time.thread_time()
    if not drawn(f"the overlay {overlay.name}", lambda: overlay.draw(context)):
        _STOPPED.add(overlay.name)
    SPENT_S[overlay.name] = time.thread_time() - started


def _overlays_shown(space: bpy.types.Space) -> bool:
    """Whether the editor's own switch of all overlays is on; a dope sheet has none before Blender 5."""
    return getattr(getattr(space, "overlay", None), "show_overlays", True)


def add_handlers() -> None:
    """Let Blender draw our overlays."""
    for overlay in OVERLAYS:
        space = getattr(bpy.types, overlay.space)
        _HANDLES.append((space, space.draw_handler_add(run, (overlay,), "WINDOW", overlay.moment)))


def remove_handlers() -> None:
    """Undo `add_handlers`, and drop what was read."""
    while _HANDLES:
        space, handle = _HANDLES.pop()
        space.draw_handler_remove(handle, "WINDOW")
    _STOPPED.clear()
    shown.forget()
    band.forget()
