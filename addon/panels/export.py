"""Files for the next tool, armatures in its naming, and characters that take over the motion."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

import bpy

from ..host.export_formats import NAMES, label_of, missing_exporter
from ..on_solved import OnSolved
from .tab import Tab, say


class SIGHTLINE_PT_export(OnSolved, Tab, bpy.types.Panel):
    """Files for the next tool."""

    bl_label = "Export"
    bl_parent_id = "SIGHTLINE_PT_solve"
    bl_order = 12

    def draw(self, context: bpy.types.Context) -> None:
        layout, chosen = self.layout, context.scene.sightline
        layout.use_property_split, layout.use_property_decorate = True, False
        layout.prop(chosen, "export_person")
        layout.prop(chosen, "rig")
        own = layout.column()
        own.enabled = chosen.rig != "AS_SOLVED"
        own.prop(chosen, "rest_pose")
        own.prop(chosen, "rig_root")
        column = layout.column(align=True)
        column.operator("sightline.make_rig", icon="ARMATURE_DATA")
        column.operator("sightline.retarget", icon="MOD_ARMATURE")
        column.operator("sightline.reduce_rig_keys", icon="IPO_BEZIER")


class SIGHTLINE_PT_files(Tab, bpy.types.Panel):
    """Which files are written."""

    bl_label = "Files"
    bl_parent_id = "SIGHTLINE_PT_export"
    bl_order = 0

    def draw(self, context: bpy.types.Context) -> None:
        layout, chosen = self.layout, context.scene.sightline
        grid = layout.grid_flow(columns=2, even_columns=True, align=True)
        problems = []
        for name in NAMES:
            problem = missing_exporter(name)
            cell = grid.row(align=True)
            cell.enabled = not problem
            cell.prop_enum(chosen, "formats", name)
            if problem:
                problems.append(f"{label_of(name)}: {problem}")
        for problem in problems:
            say(layout, problem, "INFO")
        column = layout.column()
        column.use_property_split, column.use_property_decorate = True, False
        column.prop(chosen, "export_range")
        column.prop(chosen, "export_ellipsoids")
        column.prop(chosen, "export_all_takes")
        layout.operator("sightline.export_take", icon="EXPORT")


CLASSES = (SIGHTLINE_PT_export, SIGHTLINE_PT_files)
