"""The step Footage: the videos of the take."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

import bpy

from ..properties import facts_of, seconds_of
from ..scene_take import ONE_CAMERA, fit_problem, missing_footage
from ..thumbnails import thumbnail
from .tab import Tab, say, step_header

_PICTURES_IN_A_ROW = 4


class SIGHTLINE_UL_views(bpy.types.UIList):
    """One line per video."""

    def draw_item(
        self,
        _context: bpy.types.Context,
        layout: bpy.types.UILayout,
        data: object,
        item: bpy.types.PropertyGroup,
        _icon: int,
        _active: object,
    ) -> None:
        row = layout.row(align=True)
        row.prop(
            item,
            "name",
            text="",
            emboss=False,
            icon="ERROR" if item.problem or fit_problem(data, item) else "FILE_MOVIE",
        )
        row.label(text="cannot be used" if item.problem else f"{seconds_of(item):.1f} s")


class SIGHTLINE_PT_footage(Tab, bpy.types.Panel):
    """Videos: add, name, say when they start."""

    bl_label = "Footage"
    bl_parent_id = "SIGHTLINE_PT_solve"
    bl_order = 1

    def draw_header(self, context: bpy.types.Context) -> None:
        step_header(self.layout, missing_footage(context.scene), bool(context.scene.sightline.views))

    def draw(self, context: bpy.types.Context) -> None:
        layout, known = self.layout, context.scene.sightline
        row = layout.row()
        row.template_list("SIGHTLINE_UL_views", "", known, "views", known, "view_index", rows=3)
        column = row.column(align=True)
        column.operator("sightline.add_videos", text="", icon="ADD")
        column.operator("sightline.remove_video", text="", icon="REMOVE")
        column.operator("sightline.check_videos", text="", icon="FILE_REFRESH")
        if not known.views:
            layout.operator("sightline.add_videos", icon="FILE_MOVIE")
            layout.prop(known, "take_path")
            return
        say(layout, missing_footage(context.scene))
        if len(known.views) == 1:
            say(layout, ONE_CAMERA, "INFO")
        grid = layout.grid_flow(row_major=True, columns=min(len(known.views), _PICTURES_IN_A_ROW), even_columns=True)
        for view in known.views:
            if not view.problem:
                grid.template_icon(icon_value=thumbnail(view.video), scale=3.0)
        if not 0 <= known.view_index < len(known.views):
            return
        view = known.views[known.view_index]
        column = layout.column()
        column.use_property_split, column.use_property_decorate = True, False
        say(column, view.problem)
        say(column, facts_of(view), "INFO")
        if view.problem:
            column.prop(view, "video", text="Video")
        column.prop(view, "fit")
        column.prop(view, "offset_mode")
        if view.offset_mode == "GIVEN":
            column.prop(view, "offset_s")
        layout.operator("sightline.same_for_all", icon="DUPLICATE")


class SIGHTLINE_PT_range(Tab, bpy.types.Panel):
    """Which part of the footage is solved, and at which rate."""

    bl_label = "Range and Rate"
    bl_parent_id = "SIGHTLINE_PT_footage"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(context.scene.sightline.views)

    def draw(self, context: bpy.types.Context) -> None:
        layout, known = self.layout, context.scene.sightline
        layout.use_property_split, layout.use_property_decorate = True, False
        for name in ("start_s", "end_s", "take_fps"):
            layout.prop(known, name)
        if 0 <= known.view_index < len(known.views):
            view = known.views[known.view_index]
            layout.label(text=f"Of {view.name}:")
            layout.prop(view, "video")
            layout.prop(view, "fps")


CLASSES = (SIGHTLINE_UL_views, SIGHTLINE_PT_footage, SIGHTLINE_PT_range)
