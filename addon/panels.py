"""The sidebar tab Sightline of the 3D view: panels draw, operators work."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

import bpy

from .host.parts import VIEW, find_group, parts_in
from .properties import setting_names


class _Tab:
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Sightline"


class SIGHTLINE_PT_solve(_Tab, bpy.types.Panel):
    """Take, solve button, progress and what to trust of the result."""

    bl_label = "Solve 3D Pose"

    def draw(self, context: bpy.types.Context) -> None:
        layout, chosen = self.layout, context.scene.sightline
        status = context.window_manager.sightline
        column = layout.column()
        column.enabled = not status.running
        column.prop(chosen, "take_path")
        column.prop(chosen, "output_path")
        row = layout.row()
        row.scale_y = 1.6
        if status.running:
            layout.progress(factor=status.share, text=status.text)
            row.operator("sightline.cancel_solve", icon="CANCEL")
        else:
            row.operator("sightline.solve_take", icon="ARMATURE_DATA")
            layout.label(text=status.text or "Ready")
        if chosen.summary:
            box = layout.box()
            for line in chosen.summary.split("\n"):
                box.label(text=line)
            box.operator("sightline.open_report", icon="URL")


class SIGHTLINE_PT_views(_Tab, bpy.types.Panel):
    """The views of the take, and what is shown of it."""

    bl_label = "Views"
    bl_parent_id = "SIGHTLINE_PT_solve"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(context.scene.sightline.take)

    def draw(self, context: bpy.types.Context) -> None:
        layout, chosen = self.layout, context.scene.sightline
        for camera in parts_in(context.scene, "camera", chosen.take):
            row = layout.row()
            active = context.scene.camera == camera
            button = row.operator("sightline.look_through", text=camera[VIEW], icon="VIEW_CAMERA", depress=active)
            button.view = camera[VIEW]
        for group, text in (("uncertainty", "Uncertainty"), ("raw", "Raw Joints")):
            collection = find_group(context.scene, chosen.take, group)
            if collection is not None:
                layout.prop(collection, "hide_viewport", text=text, invert_checkbox=True)


class SIGHTLINE_PT_export(_Tab, bpy.types.Panel):
    """Files for the next tool."""

    bl_label = "Export"
    bl_parent_id = "SIGHTLINE_PT_solve"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(context.scene.sightline.solution_path)

    def draw(self, context: bpy.types.Context) -> None:
        layout, chosen = self.layout, context.scene.sightline
        layout.row().prop(chosen, "formats")
        layout.prop(chosen, "export_ellipsoids")
        layout.operator("sightline.export_take", icon="EXPORT")


class SIGHTLINE_PT_settings(_Tab, bpy.types.Panel):
    """Every setting of the solve."""

    bl_label = "Settings"
    bl_parent_id = "SIGHTLINE_PT_solve"
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
