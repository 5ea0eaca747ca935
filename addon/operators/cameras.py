"""The step Cameras: choose a calibration and see what it is."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false, reportInvalidTypeForm=false

import os
from pathlib import Path

import bpy
import numpy as np
from bpy.props import StringProperty
from bpy_extras.io_utils import ImportHelper

from ...inference.errors import InputError
from ...inference.files.calibration import read_calibration
from ...inference.files.camera_table import find_name
from ..scene_take import set_calibrated_sizes
from ..setting_words import in_panel_words
from .guarded import guarded


def look_at_calibration(scene: bpy.types.Scene) -> tuple[str, ...]:
    """Read the chosen calibration, say what it is and whether it has a camera for every view; return its warnings."""
    known = scene.sightline
    known.calibration_note = known.calibration_problem = ""
    path = Path(bpy.path.abspath(known.calibration_path))
    sizes = {view.name: (view.width, view.height) for view in known.views if view.width}
    try:
        found = read_calibration(path, None, known.height_m or None, sizes)
    except InputError as problem:
        known.calibration_problem = in_panel_words(" ".join(str(problem).split()))
        return ()
    centres = np.array([camera.centre for camera in found.cameras.values()]).reshape(-1, 3)
    apart = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    spread = f", up to {apart.max():.2f} m apart" if len(centres) > 1 else ""
    known.calibration_note = f"{len(centres)} cameras{spread}: {', '.join(found.cameras)}"
    set_calibrated_sizes(scene, found)
    lacking = [view.name for view in known.views if find_name(view.name, found.cameras) is None]
    if lacking:
        known.calibration_problem = (
            f"It has no camera called {', '.join(lacking)}: it has {', '.join(found.cameras)}. Rename the videos above"
        )
    return tuple(map(in_panel_words, found.warnings))


class SIGHTLINE_OT_choose_calibration(bpy.types.Operator, ImportHelper):
    """Choose the calibration of the cameras: any common format, a file or the folder of its files"""  # noqa: D415

    bl_idname = "sightline.choose_calibration"
    bl_label = "Choose Calibration"
    bl_options = {"UNDO"}

    filepath: StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Look first where the videos are, or the calibration before."""
        known = context.scene.sightline
        beside = known.calibration_path or next((view.video for view in known.views), "")
        if beside and not self.filepath:
            self.filepath = str(Path(bpy.path.abspath(beside)).parent) + os.sep
        return ImportHelper.invoke(self, context, event)

    def execute(self, context: bpy.types.Context) -> set[str]:
        def choose() -> set[str]:
            known = context.scene.sightline
            known.cameras_from, known.calibration_path = "FILE", self.filepath
            for warning in look_at_calibration(context.scene):
                self.report({"WARNING"}, warning)
            if known.calibration_problem:
                self.report({"WARNING"}, known.calibration_problem)
            else:
                self.report({"INFO"}, known.calibration_note)
            return {"FINISHED"}

        return guarded(self, choose)


class SIGHTLINE_OT_check_calibration(bpy.types.Operator):
    """Read the calibration again: after the file, or the names of the videos, were changed"""  # noqa: D415

    bl_idname = "sightline.check_calibration"
    bl_label = "Check Calibration"
    bl_options = {"UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(context.scene.sightline.calibration_path.strip())

    def execute(self, context: bpy.types.Context) -> set[str]:
        def check() -> set[str]:
            for warning in look_at_calibration(context.scene):
                self.report({"WARNING"}, warning)
            return {"FINISHED"}

        return guarded(self, check)


CLASSES = (SIGHTLINE_OT_choose_calibration, SIGHTLINE_OT_check_calibration)
