"""The preferences: the Python that solves, and the models."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false, reportInvalidTypeForm=false

import bpy
from bpy.props import BoolProperty, StringProperty

from ..preferences import PACKAGE, environment_command, hint
from .models import draw_models
from .tab import say

WIDTH = 85  # letters of a line


class SIGHTLINE_AP_preferences(bpy.types.AddonPreferences):
    """Preferences of the extension."""

    bl_idname = PACKAGE

    python: StringProperty(
        name="Python",
        subtype="FILE_PATH",
        description="The Python that solves, for instance one with a GPU runtime; empty: Blender's own",
    )
    allow_fetch: BoolProperty(
        name="Allow Fetching Models",
        description="Fetch may download networks from the Python package index; nothing else goes online",
    )

    def draw(self, context: bpy.types.Context) -> None:
        layout, status = self.layout, context.window_manager.sightline
        box = layout.box()
        box.label(text="Python that solves", icon="CONSOLE")
        row = box.row(align=True)
        row.prop(self, "python", text="")
        row.operator("sightline.test_python", text="Test")
        say(box, f"Empty: Blender's own, on the CPU. {hint()}", "INFO", WIDTH)
        say(box, environment_command(), "BLANK1", WIDTH)
        box.operator("sightline.copy_command", icon="COPYDOWN")
        if status.errand:
            row = layout.row(align=True)
            row.progress(factor=status.errand_share, text=status.errand)
            row.operator("sightline.cancel_errand", text="", icon="CANCEL")
        else:
            say(layout, status.errand_result, "ERROR" if status.errand_failed else "CHECKMARK", WIDTH)
        draw_models(layout.box(), self, status.opened_model)


CLASSES = (SIGHTLINE_AP_preferences,)
