"""The take, the solve button, progress, what to trust of the result, and every setting."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

import bpy

from .. import background
from ..properties import setting_names
from ..scene_take import next_step, take_folder
from ..solving import newer_on_disk
from .tab import Tab, say

_MOST_WARNINGS = 3  # of the solve, in the panel


class SIGHTLINE_PT_solve(Tab, bpy.types.Panel):
    """Take, solve button, progress and what to trust of the result."""

    bl_label = "Solve 3D Pose"

    def draw(self, context: bpy.types.Context) -> None:
        layout, chosen = self.layout, context.scene.sightline
        status = context.window_manager.sightline
        if not chosen.views and not chosen.take_path:
            layout.operator("sightline.load_example", icon="OUTLINER_OB_ARMATURE")
        _draw_buttons(layout, bool(chosen.views), status.running)
        if chosen.views:
            layout.prop(chosen, "preview_s")
        # As high as what it takes turns with: the panels below stay where they are when a solve begins and ends.
        if status.running:
            layout.progress(factor=status.share, text=status.text)
        else:
            step = next_step(context.scene)
            done = f"Solved: {chosen.take}" if chosen.summary else "Ready to solve"
            say(layout, status.text or step or done, "ERROR" if status.text else "INFO" if step else "CHECKMARK")
        draw_waiting(layout)
        draw_partial(layout)
        if not status.running and newer_on_disk(context.scene):
            say(layout, "The take was solved since: the scene shows an older result than the one on disk")
            layout.operator("sightline.enter_result", icon="FILE_REFRESH")
        if chosen.summary:
            draw_result(layout.box(), chosen)


def _draw_buttons(layout: bpy.types.UILayout, preview: bool, running: bool) -> None:
    row = layout.row(align=True)
    row.scale_y = 1.6
    if running:
        row.operator("sightline.cancel_solve", icon="CANCEL")
    row.operator("sightline.solve_take", text="Queue" if running else None, icon="ARMATURE_DATA")
    if preview:
        row.operator("sightline.solve_take", text="Preview", icon="PREVIEW_RANGE").preview = True


def draw_result(box: bpy.types.UILayout, chosen: bpy.types.PropertyGroup) -> None:
    """Say how much of the result to trust, and what the solve warned of."""
    column = box.column(align=True)
    column.scale_y = 0.8
    for line in chosen.summary.split("\n"):
        column.label(text=line)
    warnings = together(chosen.warnings.split("\n")) if chosen.warnings else []
    for line in warnings[:_MOST_WARNINGS]:
        say(box, line)
    if len(warnings) > _MOST_WARNINGS:
        box.label(text=f"{len(warnings) - _MOST_WARNINGS} more in the report", icon="ERROR")
    box.operator("sightline.open_report", icon="URL")


def together(warnings: list[str]) -> list[str]:
    """Let warnings of several views that are explained alike share what comes after their first sentence."""
    first: dict[str, list[str]] = {}
    for warning in warnings:
        said, _, explained = warning.partition(". ")
        first.setdefault(explained or warning, []).append(said)
    return [". ".join([*said, explained]) if explained not in said else explained for explained, said in first.items()]


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


class SIGHTLINE_PT_output(Tab, bpy.types.Panel):
    """What the results are called, and where they go."""

    bl_label = "Name and Output"
    bl_parent_id = "SIGHTLINE_PT_solve"
    bl_order = 4
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, chosen = self.layout, context.scene.sightline
        layout.use_property_split, layout.use_property_decorate = True, False
        if chosen.views:
            layout.prop(chosen, "take_name")
        layout.prop(chosen, "output_path")
        if chosen.views and not chosen.output_path:
            name = f"{chosen.take_name.strip() or 'take'}_sightline"
            say(layout, f"Empty: the folder {name} in {take_folder(context.scene)}", "INFO")


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
        layout.use_property_split, layout.use_property_decorate = True, False
        layout.enabled = chosen.use_settings
        stage_before = ""
        for stage, name in setting_names():
            if stage != stage_before:
                layout.label(text=stage.capitalize())
                stage_before = stage
            layout.prop(chosen.settings, f"{stage}__{name}")


CLASSES = (SIGHTLINE_PT_solve, SIGHTLINE_PT_output)
LAST = (SIGHTLINE_PT_settings,)
