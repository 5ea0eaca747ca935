"""The steps Cameras and Person."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

import bpy

from ..known_models import missing_detector
from ..scene_take import missing_cameras
from .tab import Tab, say, step_header

_EXPLAINED = {
    "SCENE": "Cameras of this scene that are called like the videos; they may move",
    "BOARD": "The videos show a board; lay it where all cameras see it",
    "PERSON": "From the person: walk through the whole volume",
}


class SIGHTLINE_PT_cameras(Tab, bpy.types.Panel):
    """Where the cameras stand."""

    bl_label = "Cameras"
    bl_parent_id = "SIGHTLINE_PT_solve"
    bl_order = 2

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(context.scene.sightline.views)

    def draw_header(self, context: bpy.types.Context) -> None:
        step_header(self.layout, missing_cameras(context.scene), True)

    def draw(self, context: bpy.types.Context) -> None:
        layout, known = self.layout, context.scene.sightline
        layout.row().prop(known, "cameras_from", expand=True)
        say(layout, _EXPLAINED.get(known.cameras_from, ""), "INFO")
        if known.cameras_from == "FILE":
            row = layout.row(align=True)
            row.prop(known, "calibration_path", text="")
            row.operator("sightline.choose_calibration", text="", icon="FILEBROWSER")
            row.operator("sightline.check_calibration", text="", icon="FILE_REFRESH")
            if not known.calibration_path:
                layout.operator("sightline.choose_calibration", icon="FILEBROWSER")
            say(layout, known.calibration_note, "CHECKMARK")
        if known.cameras_from == "SCENE":
            say(layout, known.scene_cameras_note, "CHECKMARK")
        say(layout, missing_cameras(context.scene))
        column = layout.column()
        column.use_property_split, column.use_property_decorate = True, False
        if known.cameras_from == "BOARD":
            for name in ("kind", "columns", "rows", "square_m"):
                column.prop(known.board, name)
            if known.board.kind == "charuco":
                for name in ("marker_m", "dictionary", "legacy"):
                    column.prop(known.board, name)
            for name in ("inverted", "pictures", "lens_pictures"):
                column.prop(known.board, name)
        if known.cameras_from in ("BOARD", "PERSON"):
            column.prop(known, "lenses_path")


class SIGHTLINE_PT_camera_trust(Tab, bpy.types.Panel):
    """How far the cameras are trusted, what gives the scale, where the floor is."""

    bl_label = "Trust, Scale, Floor"
    bl_parent_id = "SIGHTLINE_PT_cameras"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, known = self.layout, context.scene.sightline
        layout.use_property_split, layout.use_property_decorate = True, False
        if known.cameras_from in ("FILE", "SCENE"):
            for name in ("refine_cameras", "rotation_sigma_deg", "centre_sigma_m"):
                layout.prop(known, name)
        if known.cameras_from == "FILE":
            for name in ("units", "lenses_path"):
                layout.prop(known, name)
        if known.cameras_from != "PERSON":
            layout.prop(known, "floor")
            return
        layout.prop(known, "focal_sigma")
        layout.prop(known, "distance_m")
        for name in ("distance_from", "distance_to"):
            layout.prop_search(known, name, known, "views")


class SIGHTLINE_PT_person(Tab, bpy.types.Panel):
    """Who is solved."""

    bl_label = "Person"
    bl_parent_id = "SIGHTLINE_PT_solve"
    bl_order = 3

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(context.scene.sightline.views)

    def draw_header(self, _context: bpy.types.Context) -> None:
        step_header(self.layout, "", True)

    def draw(self, context: bpy.types.Context) -> None:
        layout, known = self.layout, context.scene.sightline
        layout.use_property_split, layout.use_property_decorate = True, False
        layout.prop(known, "persons")
        layout.prop(known, "height_m")
        row = layout.row(align=True)
        row.prop(known, "detector")
        row.menu("SIGHTLINE_MT_detectors", text="", icon="DOWNARROW_HLT")
        say(layout, missing_detector(known.detector))


CLASSES = (SIGHTLINE_PT_cameras, SIGHTLINE_PT_camera_trust, SIGHTLINE_PT_person)
