"""The take, the solve button, progress, what to trust of the result, and every setting."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

import bpy

from ..properties import setting_names
from .tab import Tab


class SIGHTLINE_PT_solve(Tab, bpy.types.Panel):
    """Take, solve button, progress and what to trust of the result."""

    bl_label = "Solve 3D Pose"

    def draw(self, context: bpy.types.Context) -> None:
        layout, chosen = self.layout, context.scene.sightline
        status = context.window_manager.sightline
        column = layout.column()
        column.enabled = not status.running
        if not chosen.views:
            column.prop(chosen, "take_path")
        column.prop(chosen, "output_path")
        row = layout.row(align=True)
        row.scale_y = 1.6
        if status.running:
            layout.progress(factor=status.share, text=status.text)
            row.operator("sightline.cancel_solve", icon="CANCEL")
        else:
            row.operator("sightline.solve_take", icon="ARMATURE_DATA")
            if chosen.views:
                row.operator("sightline.solve_take", text="Preview", icon="PREVIEW_RANGE").preview = True
            layout.label(text=status.text or "Ready")
        if chosen.summary:
            box = layout.box()
            for line in chosen.summary.split("\n"):
                box.label(text=line)
            box.operator("sightline.open_report", icon="URL")


class SIGHTLINE_PT_settings(Tab, bpy.types.Panel):
    """Every setting of the solve."""

    bl_label = "Settings"
    bl_parent_id = "SIGHTLINE_PT_solve"
    bl_order = 20
    bl_options = {"DEFAULT_CLOSED"}

    def draw_header(self, context: bpy.types.Context) -> None:
        self.layout.prop(context.scene.sightline, "use_settings", text="")

    def draw(self, context: bpy.types.Context) -> None:
        chosen = context.scene.sightline
        layout = self.layout
        layout.use_property_split = True
        layout.enabled = chosen.use_settings
        stage_before = ""
        for stage, name in setting_names():
            if stage != stage_before:
                layout.label(text=stage.capitalize())
                stage_before = stage
            layout.prop(chosen.settings, f"{stage}__{name}")


CLASSES = (SIGHTLINE_PT_solve,)
LAST = (SIGHTLINE_PT_settings,)
