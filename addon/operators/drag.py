"""Drag keypoints with the mouse, while looking through a camera of the take."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false, reportInvalidTypeForm=false

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np

from ...inference.corrections import MOVE, PIN
from ...inference.errors import InputError, SolveError
from ...inference.shapes import FloatArray
from ..host.camera_frame import CameraFrame, camera_frame, view_looked_through
from ..host.keypoint_overlay import REACH_PX, Overlay, draw_overlay, nearest
from ..scene_corrections import active_corrections, corrected_keypoints, index_at, kept_keypoints, load_corrections
from ..solving import expect_again
from .corrections import chosen_joint
from .guarded import guarded

HINT = "Drag a keypoint  ·  Click: choose its joint  ·  Ctrl-drag: place the chosen joint  ·  Esc: done"


@dataclass(eq=False)
class _Grab:
    """A keypoint under the mouse button."""

    view: str
    person: int
    joint: int
    offset: FloatArray  # (2,) region px from the mouse to the keypoint when it was grabbed
    place: FloatArray  # (2,) px of the video
    moved: bool = False


class _Session:
    """The dragging that goes on; draw handlers outlive operators, so they stand here."""

    handler: Any = None
    grab: _Grab | None = None
    hovered: tuple[int, int] | None = None
    expected: tuple[int, int] | None = None  # frame of the take and person that a child was last told of


def end_dragging() -> None:
    """Take the overlay away; the operator, if it still runs, ends at its next event."""
    if _Session.handler is not None:
        bpy.types.SpaceView3D.draw_handler_remove(_Session.handler, "WINDOW")
    _Session.handler = _Session.grab = _Session.hovered = _Session.expected = None


def dragging() -> bool:
    """Whether keypoints can be dragged now."""
    return _Session.handler is not None


@dataclass(frozen=True, eq=False)
class Shown:
    """What one region shows of the current frame."""

    view: str
    frame: CameraFrame
    places: FloatArray  # (P, J, 2) region px
    names: tuple[str, ...]
    index: int  # of the take's times


def shown_in(
    scene: bpy.types.Scene, space: bpy.types.SpaceView3D, region_3d: bpy.types.RegionView3D, size: tuple[int, int]
) -> Shown | None:
    """Return where the keypoints of the current frame are in a region; None where no view of the take is shown.

    Raises:
        InputError: there are no keypoints, a correction does not fit them, or the frame is not of the take.
    """
    found = view_looked_through(space, region_3d, scene)
    if found is None or found[1].take != scene.sightline.take:
        return None
    views = corrected_keypoints(scene)
    number = next((n for n, view in enumerate(views) if view.view == found[1].view), None)
    if number is None:
        return None
    lens = kept_keypoints(scene).rig.cameras[number].intrinsics
    frame = camera_frame(found[0], lens, scene, np.array(region_3d.perspective_matrix), size)
    view = views[number]
    index = index_at(scene, scene.frame_current, view.timestamps_s)
    return Shown(view.view, frame, frame.region_from_image(view.xy[index]), view.joint_names, index)


def _draw() -> None:
    context = bpy.context
    region = context.region
    try:
        shown = shown_in(context.scene, context.space_data, context.region_data, (region.width, region.height))
    except SolveError:
        return  # the operator says it
    if shown is None:
        return
    places, grab = shown.places.copy(), _Session.grab
    if grab is not None and grab.view == shown.view:
        places[grab.person, grab.joint] = shown.frame.region_from_image(grab.place)
    hovered = (grab.person, grab.joint) if grab is not None else _Session.hovered
    overlay = Overlay(places, _corrected(context.scene, shown), shown.names, hovered, len(places) > 1)
    draw_overlay(overlay)


def _corrected(scene: bpy.types.Scene, shown: Shown) -> np.ndarray:
    found = np.zeros(shown.places.shape[:2], dtype=bool)
    time = kept_keypoints(scene).views[0].timestamps_s[shown.index]
    for item in active_corrections(scene):
        here = item.kind == PIN or (item.kind == MOVE and item.view == shown.view)
        if here and abs(item.start_s - time) < 1e-6 and item.joint in shown.names:
            found[item.person - 1, shown.names.index(item.joint)] = True
    return found


class SIGHTLINE_OT_drag_keypoints(bpy.types.Operator):
    """Show the keypoints of this view and drag those that are wrong to where they belong; Esc ends it"""  # noqa: D415

    bl_idname = "sightline.drag_keypoints"
    bl_label = "Drag Keypoints"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not context.scene.sightline.solution_path:
            cls.poll_message_set("Solve the take first")
            return False
        return True

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        def start() -> set[str]:
            if _Session.handler is not None:
                _stop(context)
                return {"FINISHED"}
            load_corrections(context.scene)
            corrected_keypoints(context.scene)
            if not any(self._shown(context, area) for area in context.screen.areas if area.type == "VIEW_3D"):
                raise InputError("look through one of the take's cameras first: press one in the panel Views")
            expect_again(context)
            _Session.handler = bpy.types.SpaceView3D.draw_handler_add(_draw, (), "WINDOW", "POST_PIXEL")
            context.workspace.status_text_set(HINT)
            context.window_manager.modal_handler_add(self)
            _redraw(context)
            return {"RUNNING_MODAL"}

        return guarded(self, start)

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if _Session.handler is None:  # ended elsewhere
            return {"FINISHED"}
        result = guarded(self, lambda: self._event(context, event))
        if result == {"CANCELLED"}:  # a frame outside the take, for example: said, and the dragging goes on
            _Session.grab = None
            return {"RUNNING_MODAL"}
        return result

    def cancel(self, context: bpy.types.Context) -> None:
        """End with the window or the file."""
        _stop(context)

    def _event(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        grab = _Session.grab
        if event.type == "ESC" and event.value == "PRESS":
            if grab is None:
                _stop(context)
                return {"FINISHED"}
            _Session.grab = None
            _redraw(context)
            return {"RUNNING_MODAL"}
        if grab is not None:
            return self._dragging(context, event, grab)
        if event.type == "MOUSEMOVE":
            found = self._below(context, event, quiet=True)
            hovered = found and nearest(found[0].places, found[1], _reach(context))
            if hovered != _Session.hovered:
                _Session.hovered = hovered
                _redraw(context)
            if found and hovered:
                _expect(context, found[0], hovered[0])
        if event.type == "LEFTMOUSE" and event.value == "PRESS":
            return self._press(context, event)
        return {"PASS_THROUGH"}

    def _press(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        found = self._below(context, event, quiet=False)
        if found is None:
            return {"PASS_THROUGH"}
        shown, mouse = found
        known = context.scene.sightline
        if event.ctrl:
            person, joint = known.fix_person - 1, chosen_joint(context.scene)
            if joint not in shown.names or person >= len(shown.places):
                raise InputError(f"the keypoints have no joint {joint!r} of person {person + 1}")
            hit, offset = (person, shown.names.index(joint)), np.zeros(2)
        else:
            hit = nearest(shown.places, mouse, _reach(context))
            if hit is None:
                return {"PASS_THROUGH"}
            offset = shown.places[hit] - mouse
        place = shown.frame.image_from_region(mouse + offset)
        _Session.grab = _Grab(shown.view, *hit, offset, place, moved=event.ctrl)
        known.fix_person, known.fix_joint = hit[0] + 1, shown.names[hit[1]]
        _expect(context, shown, hit[0])
        _redraw(context)
        return {"RUNNING_MODAL"}

    def _dragging(self, context: bpy.types.Context, event: bpy.types.Event, grab: _Grab) -> set[str]:
        released = event.type == "LEFTMOUSE" and event.value == "RELEASE"
        if event.type == "MOUSEMOVE" or released:
            found = self._below(context, event, quiet=False)
            if found is not None and found[0].view == grab.view:
                place = found[0].frame.image_from_region(found[1] + grab.offset)
                if np.isfinite(place).all():
                    grab.moved |= bool(np.abs(place - grab.place).max() > 1e-3)
                    grab.place = place
            _redraw(context)
        if released:
            _Session.grab = None
            if grab.moved:
                names = kept_keypoints(context.scene).views[0].joint_names
                place = tuple(float(value) for value in grab.place)
                bpy.ops.sightline.move_keypoint(
                    "EXEC_DEFAULT", True, view=grab.view, joint=names[grab.joint], person=grab.person + 1, place=place
                )
        return {"RUNNING_MODAL"}

    def _below(
        self, context: bpy.types.Context, event: bpy.types.Event, quiet: bool
    ) -> tuple[Shown, FloatArray] | None:
        """Return what the region below the mouse shows, and the mouse in it; ``quiet``: without the reasons why not."""
        for area in context.screen.areas:
            if area.type != "VIEW_3D":
                continue
            over = [r for r in area.regions if _inside(r, event) and r.width > 1 and r.height > 1]
            if [r.type for r in over] != ["WINDOW"]:  # a sidebar may lie over the picture
                continue
            try:
                shown = self._shown(context, area)
            except SolveError:
                if quiet:
                    return None
                raise
            mouse = np.array([event.mouse_x - over[0].x + 0.5, event.mouse_y - over[0].y + 0.5])
            return None if shown is None else (shown, mouse)
        return None

    def _shown(self, context: bpy.types.Context, area: bpy.types.Area) -> Shown | None:
        region = next(region for region in area.regions if region.type == "WINDOW")
        space = area.spaces.active
        return shown_in(context.scene, space, space.region_3d, (region.width, region.height))


def _expect(context: bpy.types.Context, shown: Shown, person: int) -> None:
    """Let a child solve the frames around this one as they are, once the mouse is over a keypoint there."""
    if _Session.expected != (shown.index, person):
        _Session.expected = shown.index, person
        time_s = kept_keypoints(context.scene).views[0].timestamps_s[shown.index]
        expect_again(context, (float(time_s), person + 1))


def _stop(context: bpy.types.Context) -> None:
    end_dragging()
    if context.workspace is not None:
        context.workspace.status_text_set(None)
    _redraw(context)


def _inside(region: bpy.types.Region, event: bpy.types.Event) -> bool:
    x, y = event.mouse_x - region.x, event.mouse_y - region.y
    return 0 <= x < region.width and 0 <= y < region.height


def _reach(context: bpy.types.Context) -> float:
    return REACH_PX * context.preferences.system.ui_scale


def _redraw(context: bpy.types.Context) -> None:
    """Redraw the 3D views that look through a camera."""
    for window in context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                area.tag_redraw()


CLASSES = (SIGHTLINE_OT_drag_keypoints,)
