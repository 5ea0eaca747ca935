"""Cleaning up: smoothing, standing feet, and the list of gaps."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

import bpy

from ..on_solved import OnSolved
from .tab import Tab, place_in_list


class SIGHTLINE_UL_gaps(bpy.types.UIList):
    """One line per gap."""

    def draw_item(
        self,
        _context: bpy.types.Context,
        layout: bpy.types.UILayout,
        _data: object,
        item: bpy.types.PropertyGroup,
        _icon: int,
        _active: object,
    ) -> None:
        row = layout.row(align=True)
        row.label(text=item.name.replace("_", " "))
        row.label(text=item.kind)
        row.label(text=f"{item.first}-{item.last}")
        row.operator("sightline.jump_to_gap", text="", icon="TRACKING_FORWARDS_SINGLE").index = place_in_list(item)


class SIGHTLINE_PT_cleanup(OnSolved, Tab, bpy.types.Panel):
    """Tools that write the cleaned layer."""

    bl_label = "Clean Up"
    bl_parent_id = "SIGHTLINE_PT_solve"
    bl_order = 10

    def draw(self, context: bpy.types.Context) -> None:
        layout, known = self.layout, context.scene.sightline
        column = layout.column(align=True)
        column.operator("sightline.smooth_motion", icon="SMOOTHCURVE")
        column.operator("sightline.lock_feet", icon="CON_KINEMATIC")
        row = column.row(align=True)
        row.operator("sightline.mark_contacts", icon="MARKER_HLT").clear = False
        row.operator("sightline.mark_contacts", text="", icon="X").clear = True
        row = layout.row(align=True)
        row.operator("sightline.list_gaps", text="Longest Gaps", icon="SORTSIZE").order = "length"
        row.operator("sightline.list_gaps", text="Most Unsure").order = "uncertainty"
        if not known.gaps:
            return
        layout.template_list("SIGHTLINE_UL_gaps", "", known, "gaps", known, "gap_index", rows=4)
        if 0 <= known.gap_index < len(known.gaps):
            gap = known.gaps[known.gap_index]
            unsure = f"±{gap.sigma_cm:.1f} cm" if gap.sigma_cm < 1e5 else "nothing known"
            layout.label(text=f"Person {gap.person + 1}, {unsure}{', ' + gap.reason if gap.reason else ''}")


CLASSES = (SIGHTLINE_UL_gaps, SIGHTLINE_PT_cleanup)
