"""How sure the result is: what is drawn of it, where to look first, and which views fit."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

import bpy

from ..host.parts import JOINT, pointed_parts
from ..on_solved import OnSolved
from ..overlays.handlers import stopped
from ..trusting import LIGHT, SHARES
from .tab import Tab, say

_LIGHTS = {
    "green": "COLORSET_03_VEC",
    "amber": "COLORSET_09_VEC",
    "red": "COLORSET_01_VEC",
    "grey": "COLORSET_13_VEC",
}


def light_icon(camera: bpy.types.Object) -> str:
    """Return the icon of a camera's light."""
    return _LIGHTS.get(camera.get(LIGHT, ""), "BLANK1")


class SIGHTLINE_UL_doubts(bpy.types.UIList):
    """One line per span of doubt."""

    def draw_item(
        self,
        _context: bpy.types.Context,
        layout: bpy.types.UILayout,
        _data: object,
        item: bpy.types.PropertyGroup,
        _icon: int,
        _active: object,
    ) -> None:
        row = layout.split(factor=0.36)
        row.label(text=f"{item.first}–{item.last}")
        row.label(text=item.name)


class SIGHTLINE_PT_uncertainty(OnSolved, Tab, bpy.types.Panel):
    """What is drawn of the uncertainty."""

    bl_label = "Uncertainty"
    bl_parent_id = "SIGHTLINE_PT_solve"
    bl_order = 8

    def draw(self, context: bpy.types.Context) -> None:
        layout, known = self.layout, context.scene.sightline.overlay
        row = layout.row(align=True)
        row.operator(
            "sightline.worst_frame", text="Next Worst Frame" if known.visited else "Worst Frame", icon="VIEWZOOM"
        )
        row.operator("sightline.worst_frame", text="", icon="LOOP_BACK").restart = True
        say(layout, known.told, "INFO")
        grid = layout.grid_flow(columns=2, align=True)
        for name in ("bones", "ellipsoids", "band", "legend"):
            grid.prop(known, name, toggle=True)
        if known.band:
            layout.row().prop(known, "band_of", expand=True)
        row = layout.row(align=True)
        row.label(text="Size")
        for share in SHARES:
            row.operator("sightline.ellipsoid_share", text=f"{share} %", depress=known.share == share).share = share
        for name in stopped():
            say(layout, f"{name.capitalize()} could not be drawn: the console says why. Switch it off and on again")


class SIGHTLINE_PT_doubts(OnSolved, Tab, bpy.types.Panel):
    """Spans that should not be trusted."""

    bl_label = "What Not to Trust"
    bl_parent_id = "SIGHTLINE_PT_uncertainty"
    bl_order = 1

    def draw(self, context: bpy.types.Context) -> None:
        layout, known = self.layout, context.scene.sightline.overlay
        for line in known.never.split("\n"):
            say(layout, line[:1].upper() + line[1:])
        if not known.doubts:
            if known.some_sure:
                say(layout, f"Every {'other ' * bool(known.never)}joint is usable in every frame", "CHECKMARK")
            return
        layout.template_list("SIGHTLINE_UL_doubts", "", known, "doubts", known, "doubt_index", rows=3)
        if 0 <= known.doubt_index < len(known.doubts):
            say(layout, known.doubts[known.doubt_index].reason, "INFO")
        layout.operator("sightline.select_doubt", icon="KEYFRAME_HLT")
        row = layout.row(align=True)
        row.operator("sightline.mark_doubts", icon="MARKER_HLT")
        row.operator("sightline.mark_doubts", text="Remove", icon="X").remove = True


class SIGHTLINE_PT_joints(OnSolved, Tab, bpy.types.Panel):
    """Which joints have their ellipsoid drawn."""

    bl_label = "Joints"
    bl_parent_id = "SIGHTLINE_PT_uncertainty"
    bl_order = 2
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, scene = self.layout, context.scene
        row = layout.row(align=True)
        row.operator("sightline.show_joint", text="All").shown = True
        row.operator("sightline.show_joint", text="None").shown = False
        grid = layout.grid_flow(columns=2, align=True)
        listed = set()
        for item in pointed_parts(context, "ellipsoid", scene.sightline.take):
            joint = item[JOINT]
            if joint not in listed:
                listed.add(joint)
                hidden = item.hide_get()
                button = grid.operator("sightline.show_joint", text=joint.replace("_", " "), depress=not hidden)
                button.joint, button.shown = joint, hidden


CLASSES = (SIGHTLINE_UL_doubts, SIGHTLINE_PT_uncertainty, SIGHTLINE_PT_doubts, SIGHTLINE_PT_joints)
