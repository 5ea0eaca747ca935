"""What is wrong in the keypoints, and solving again."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

import bpy

from ..host.parts import part_of
from ..on_solved import OnSolved
from ..operators.drag import dragging
from ..scene_corrections import kept_path
from .tab import Tab, place_in_list, say


class SIGHTLINE_UL_corrections(bpy.types.UIList):
    """One line per correction of the take."""

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
        icon = "CHECKBOX_HLT" if item.enabled else "CHECKBOX_DEHLT"
        button = row.operator("sightline.change_corrections", text="", icon=icon, emboss=False)
        button.what, button.index = "TOGGLE", place_in_list(item)
        text = row.row()
        text.active = item.enabled
        text.label(text=item.name)

    def filter_items(
        self, _context: bpy.types.Context, data: bpy.types.AnyType, property_name: str
    ) -> tuple[list[int], list[int]]:
        """Show those of the take that was solved last."""
        shown = [item.take == data.solved_take_path for item in getattr(data, property_name)]
        return [self.bitflag_filter_item if each else 0 for each in shown], []


class SIGHTLINE_PT_fix(OnSolved, Tab, bpy.types.Panel):
    """Correct keypoints of the view that is looked through, and solve again."""

    bl_label = "Fix"
    bl_parent_id = "SIGHTLINE_PT_solve"
    bl_order = 9
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, known = self.layout, context.scene.sightline
        part = part_of(context.scene.camera) if context.scene.camera is not None else None
        through = part is not None and part.kind == "camera" and part.take == known.take
        if not through:
            say(layout, "Look through a camera of the take: choose one in Views", "INFO")
        column = layout.column(align=True)
        column.enabled = through
        on = dragging()
        text = "End Dragging (Esc)" if on else None
        column.operator("sightline.drag_keypoints", text=text, icon="VIEW_PAN", depress=on)
        column = layout.column(align=True)
        column.prop_search(known, "fix_joint", known, "fix_joints", icon="BONE_DATA")
        column.prop(known, "fix_person")
        layout.row().prop(known, "fix_range", expand=True)
        if known.fix_range == "RANGE":
            row = layout.row(align=True)
            row.prop(known, "fix_from")
            row.operator("sightline.set_fix_range", text="", icon="TRIA_LEFT_BAR").end = False
            row.prop(known, "fix_to")
            row.operator("sightline.set_fix_range", text="", icon="TRIA_RIGHT_BAR").end = True
        column = layout.column(align=True)
        column.enabled = through
        row = column.row(align=True)
        row.operator("sightline.mark_wrong", text="Wrong").all_joints = False
        row.operator("sightline.mark_wrong", text="All Wrong").all_joints = True
        column.operator_menu_enum("sightline.swap_sides", "limb", icon="MOD_MIRROR")
        column.operator("sightline.drop_view", text=f"Drop {part.view}" if through else "Drop", icon="CAMERA_DATA")
        row = layout.row(align=True)
        row.operator("sightline.pin_joint", text="Pin at Cursor", icon="PIVOT_CURSOR").at = "CURSOR"
        row.operator("sightline.pin_joint", text="Pin at Ellipsoid", icon="PINNED").at = "OBJECT"
        self._list(context)

    def _list(self, context: bpy.types.Context) -> None:
        layout, known = self.layout, context.scene.sightline
        row = layout.row()
        row.template_list("SIGHTLINE_UL_corrections", "", known, "corrections", known, "correction_index", rows=3)
        column = row.column(align=True)
        for what, icon in (("REMOVE", "REMOVE"), ("CLEAR", "TRASH"), ("RELOAD", "FILE_REFRESH")):
            column.operator("sightline.change_corrections", text="", icon=icon).what = what
        row = layout.row()
        row.scale_y = 1.4
        row.operator("sightline.solve_again", icon="FILE_REFRESH")
        status = context.window_manager.sightline
        if status.running:
            layout.progress(factor=status.share, text=status.text)
        problem = status.again_problem
        if not kept_path(context.scene).is_file():
            problem = problem or "The keypoints of the last solve are gone"
        if problem:
            say(layout, problem)
            layout.operator("sightline.solve_in_full", icon="ARMATURE_DATA")


CLASSES = (SIGHTLINE_UL_corrections, SIGHTLINE_PT_fix)
