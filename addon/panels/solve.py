"""The take, the solve button, progress, what to trust of the result, and every setting."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

import bpy

from .. import background
from ..properties import setting_names
from ..solving import newer_on_disk
from .tab import Tab, say

_MOST_WARNINGS = 3  # of the solve, in the panel


class SIGHTLINE_PT_solve(Tab, bpy.types.Panel):
    """Take, solve button, progress and what to trust of the result."""

    bl_label = "Solve 3D Pose"

    def draw(self, context: bpy.types.Context) -> None:
        layout, chosen = self.layout, context.scene.sightline
        status = context.window_manager.sightline
        if not chosen.views:
            layout.prop(chosen, "take_path")
            if not chosen.take_path:
                layout.operator("sightline.load_example", icon="OUTLINER_OB_ARMATURE")
        layout.prop(chosen, "output_path")
        if status.running:
            layout.progress(factor=status.share, text=status.text)
            layout.operator("sightline.cancel_solve", icon="CANCEL")
        row = layout.row(align=True)
        row.scale_y = 1.0 if status.running else 1.6
        text = "Queue This Take" if status.running else None
        row.operator("sightline.solve_take", text=text, icon="ARMATURE_DATA")
        if chosen.views:
            row.operator("sightline.solve_take", text="Preview", icon="PREVIEW_RANGE").preview = True
            layout.prop(chosen, "preview_s")
        draw_waiting(layout)
        draw_partial(layout)
        if not status.running:
            layout.label(text=status.text or "Ready")
            if newer_on_disk(context.scene):
                say(layout, "The take was solved since: the scene shows an older result than the one on disk")
                layout.operator("sightline.enter_result", icon="FILE_REFRESH")
        if chosen.summary:
            draw_result(layout.box(), chosen)


def draw_result(box: bpy.types.UILayout, chosen: bpy.types.PropertyGroup) -> None:
    """Say how much of the result to trust, and what the solve warned of."""
    for line in chosen.summary.split("\n"):
        box.label(text=line)
    warnings = chosen.warnings.split("\n") if chosen.warnings else []
    for line in warnings[:_MOST_WARNINGS]:
        say(box, line)
    if len(warnings) > _MOST_WARNINGS:
        box.label(text=f"{len(warnings) - _MOST_WARNINGS} more in the report", icon="ERROR")
    box.operator("sightline.open_report", icon="URL")


def draw_waiting(layout: bpy.types.UILayout) -> None:
    """List the solves that wait; each can be taken off."""
    for index, wanted in enumerate(background.waiting()):
        row = layout.row(align=True)
        row.label(text=f"Waits: {wanted.text}", icon="TIME")
        row.operator("sightline.drop_waiting", text="", icon="X").index = index


def draw_partial(layout: bpy.types.UILayout) -> None:
    """Offer what a cancelled solve has detected."""
    partial = background.partial()
    if partial is None:
        return
    box = layout.box()
    say(box, f"{partial.text}. Solve goes on from there", "INFO")
    row = box.row(align=True)
    row.operator("sightline.keep_partial", icon="CHECKMARK")
    row.operator("sightline.forget_partial", text="", icon="X")


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
