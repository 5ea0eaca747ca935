"""What is done with uncertainty: see it, go to the worst frame, select the keys that should not be trusted."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false, reportInvalidTypeForm=false

from __future__ import annotations

import json

import bpy
from bpy.props import BoolProperty, EnumProperty, IntProperty, StringProperty

from ...inference.errors import InputError
from ...inference.report.trust import in_words
from ..host.doubts import add_marks, remove_marks, select_keys
from ..host.parts import JOINT, PERSON, VIEW, parts_in
from ..host.uncertainty import APART_S, badness, worst_frame, worst_joint
from ..on_solved import OnSolved
from ..overlays.plate import SWITCH
from ..overlays.shown import ShownTake, shown_take
from ..trusting import SHARES, set_share
from .guarded import guarded


def current_take(context: bpy.types.Context) -> ShownTake:
    """Return the take that the panel speaks of.

    Raises:
        InputError: nothing is solved, or the solution is gone.
    """
    return shown_take(context.scene, context.scene.sightline.take)


def ellipsoids_of_joint(scene: bpy.types.Scene, joint: str) -> list[bpy.types.Object]:
    """Return the ellipsoids of a joint of the take, of every person."""
    return [item for item in parts_in(scene, "ellipsoid", scene.sightline.take) if item.get(JOINT) == joint]


class SIGHTLINE_OT_ellipsoid_share(OnSolved, bpy.types.Operator):
    """Draw the ellipsoids so large that a joint truly lies inside in this many of 100 cases; keys stay as they are"""  # noqa: D415

    bl_idname = "sightline.ellipsoid_share"
    bl_label = "Size of the Ellipsoids"
    bl_options = {"REGISTER", "UNDO"}

    share: EnumProperty(items=[(share, f"{share} %", f"{share} of 100 joints lie inside") for share in SHARES])

    def execute(self, context: bpy.types.Context) -> set[str]:
        def resize() -> set[str]:
            set_share(context.scene, current_take(context), self.share)
            return {"FINISHED"}

        return guarded(self, resize)


class SIGHTLINE_OT_show_joint(OnSolved, bpy.types.Operator):
    """Show or hide the ellipsoid of this joint; with no joint named, of all of them"""  # noqa: D415

    bl_idname = "sightline.show_joint"
    bl_label = "Show Joint"
    bl_options = {"REGISTER", "UNDO"}

    joint: StringProperty(options={"SKIP_SAVE"})
    shown: BoolProperty(default=True)

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = context.scene
        every = parts_in(scene, "ellipsoid", scene.sightline.take)
        for item in ellipsoids_of_joint(scene, self.joint) if self.joint else every:
            item.hide_set(not self.shown)
        return {"FINISHED"}


class SIGHTLINE_OT_toggle_plate(OnSolved, bpy.types.Operator):
    """Draw the solved skeleton and the found keypoints over this camera's footage, bent as its lens bends them"""  # noqa: D415

    bl_idname = "sightline.toggle_plate"
    bl_label = "Overlay on the Footage"
    bl_options = {"REGISTER", "UNDO"}

    view: StringProperty()

    def execute(self, context: bpy.types.Context) -> set[str]:
        def toggle() -> set[str]:
            cameras = parts_in(context.scene, "camera", context.scene.sightline.take)
            camera = next((item for item in cameras if item.get(VIEW) == self.view), None)
            if camera is None:
                raise InputError(f"no camera in this scene stands for the view {self.view!r}")
            camera[SWITCH] = not camera.get(SWITCH)
            if camera[SWITCH]:
                context.scene.sightline.overlay.plates = True
            _redraw(context)
            return {"FINISHED"}

        return guarded(self, toggle)


class SIGHTLINE_OT_worst_frame(OnSolved, bpy.types.Operator):
    """Go to the least sure frame; again: to the next worst, leaving out half a second around those seen before"""  # noqa: D415

    bl_idname = "sightline.worst_frame"
    bl_label = "Worst Frame"
    bl_options = {"REGISTER", "UNDO"}

    restart: BoolProperty(name="From the Worst", description="Forget which frames were seen", options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        def jump() -> set[str]:
            shown, known = current_take(context), context.scene.sightline.overlay
            visited = [] if self.restart else json.loads(known.visited or "[]")
            fps = context.scene.render.fps / context.scene.render.fps_base
            bad, apart = badness(shown.data), max(1, round(APART_S * fps))
            frame = worst_frame(bad, visited, apart)
            if frame is None:
                frame, visited = worst_frame(bad, [], apart), []
            if frame is None:
                raise InputError("the take has no frames")
            known.visited = json.dumps([*visited, frame])
            known.told = _told(shown, frame, len(visited) + 1)
            context.scene.frame_set(shown.start + frame)
            self.report({"INFO"}, known.told)
            return {"FINISHED"}

        return guarded(self, jump)


def _told(shown: ShownTake, frame: int, number: int) -> str:
    """Say what is the matter with a frame."""
    found = worst_joint(shown.data, frame)
    if found is None:
        return f"No. {number}, frame {shown.start + frame}: no joint is usable in this take"
    person, joint = found
    name = in_words((shown.data.solution.solved.joint_names[joint],))
    sigma = shown.data.sigma[frame, person, joint]
    sure = f"±{sigma * 100:.1f} cm" if sigma == sigma else "missing"
    said = [
        doubt.reason
        for doubt in shown.data.doubts
        if doubt.person == person and doubt.first <= frame <= doubt.last
        if shown.data.solution.solved.joint_names[joint] in doubt.joints
    ]
    why = f": {said[0]}" if said else ""
    return f"No. {number}, frame {shown.start + frame}: {name} {sure}{why}"


class SIGHTLINE_OT_select_doubt(OnSolved, bpy.types.Operator):
    """Go to this span of doubt, and select the keys of its joints' bones in the dope sheet"""  # noqa: D415

    bl_idname = "sightline.select_doubt"
    bl_label = "Select Keys"
    bl_options = {"REGISTER", "UNDO"}

    index: IntProperty(default=-1, options={"SKIP_SAVE"}, description="Which span; -1: the one chosen in the list")

    def execute(self, context: bpy.types.Context) -> set[str]:
        def select() -> set[str]:
            shown, known = current_take(context), context.scene.sightline.overlay
            index = known.doubt_index if self.index < 0 else self.index
            if not 0 <= index < len(shown.data.doubts):
                raise InputError("choose a span in the list first")
            doubt = shown.data.doubts[index]
            items = parts_in(context.scene, "armature", shown.take)
            item = next((one for one in items if one.get(PERSON) == doubt.person and one.visible_get()), None)
            if item is None:
                raise InputError(f"the armature of person {doubt.person + 1} is not there, or hidden")
            names = shown.data.solution.solved.joint_names
            wanted = {names.index(joint) for joint in doubt.joints}
            ends = zip(shown.data.bone_names, shown.data.bone_ends[:, 1], strict=True)
            bones = [name for name, end in ends if end in wanted]
            first, last = shown.start + doubt.first, shown.start + doubt.last
            count = select_keys(item, bones, first, last)
            for area in _areas(context, "DOPESHEET_EDITOR"):
                area.spaces.active.dopesheet.show_only_selected = True
            context.scene.frame_set(first)
            self.report({"INFO"}, f"Frames {first}–{last}: {count} keys of {', '.join(bones) or 'no bone'} selected")
            return {"FINISHED"}

        return guarded(self, select)


class SIGHTLINE_OT_mark_doubts(OnSolved, bpy.types.Operator):
    """Put a marker into the timeline where each span of doubt begins, named after its joints"""  # noqa: D415

    bl_idname = "sightline.mark_doubts"
    bl_label = "Add Markers"
    bl_options = {"REGISTER", "UNDO"}

    remove: BoolProperty(options={"SKIP_SAVE"}, description="Remove them instead; renamed and moved ones stay")

    def execute(self, context: bpy.types.Context) -> set[str]:
        def mark() -> set[str]:
            if self.remove:
                self.report({"INFO"}, f"{remove_marks(context.scene)} markers removed")
                return {"FINISHED"}
            shown = current_take(context)
            marks = [(shown.start + doubt.first, in_words(doubt.joints)) for doubt in shown.data.doubts]
            add_marks(context.scene, marks)
            self.report({"INFO"}, f"{len(marks)} markers added")
            return {"FINISHED"}

        return guarded(self, mark)


def _redraw(context: bpy.types.Context) -> None:
    """Redraw the 3D views: a custom property alone does not."""
    for area in _areas(context, "VIEW_3D"):
        area.tag_redraw()


def _areas(context: bpy.types.Context, kind: str) -> list[bpy.types.Area]:
    """Return the open editors of a kind."""
    areas = (area for window in context.window_manager.windows for area in window.screen.areas)
    return [area for area in areas if area.type == kind]


CLASSES = (
    SIGHTLINE_OT_ellipsoid_share,
    SIGHTLINE_OT_show_joint,
    SIGHTLINE_OT_toggle_plate,
    SIGHTLINE_OT_worst_frame,
    SIGHTLINE_OT_select_doubt,
    SIGHTLINE_OT_mark_doubts,
)
