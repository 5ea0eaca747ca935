"""Which motion an armature shows, and few keys in place of many."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false, reportInvalidTypeForm=false

from pathlib import Path

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty

from ...inference.errors import InputError
from ...inference.files.solution import read_solution
from ...inference.types import Solution
from ..host.layers import LAYERS, reduce_layer, show_layer
from ..host.parts import CLEANED, SOLVED, part_of, parts_in
from ..host.scene import clock_of
from ..on_solved import OnSolved
from .guarded import guarded

_MEANINGS = {
    "raw": "Every frame by itself, as triangulated: jitter and all",
    "solved": "The estimate over the whole take; every solve makes it anew",
    "cleaned": "Yours: few keys to edit; no solve touches it",
}

SOURCES = [
    (CLEANED, "Cleaned", "Work on the cleaned layer, your edits included; on the solved one where there is none"),
    (SOLVED, "Solved", "Begin anew from the solved layer"),
]


def chosen_armatures(context: bpy.types.Context) -> list[bpy.types.Object]:
    """Return the selected armatures of the take, or all of them where none is selected.

    Raises:
        InputError: the take has none in this scene.
    """
    found = parts_in(context.scene, "armature", context.scene.sightline.take)
    found = [item for item in found if part_of(item).layer == SOLVED]
    if not found:
        raise InputError("this scene has no armature of the take; solve it first")
    return [item for item in found if item.select_get()] or found


def solution_of(scene: bpy.types.Scene) -> Solution:
    """Read the solution that the scene was made from."""
    return read_solution(Path(bpy.path.abspath(scene.sightline.solution_path)))


class SIGHTLINE_OT_show_layer(OnSolved, bpy.types.Operator):
    """Show raw, solved or cleaned motion on the selected armatures of the take, or on all of them"""  # noqa: D415

    bl_idname = "sightline.show_layer"
    bl_label = "Show Layer"
    bl_options = {"REGISTER", "UNDO"}

    layer: EnumProperty(items=[(name, name.capitalize(), _MEANINGS[name]) for name in LAYERS], default=SOLVED)

    @classmethod
    def description(cls, _context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        return _MEANINGS[properties.layer]

    def execute(self, context: bpy.types.Context) -> set[str]:
        def show() -> set[str]:
            solution = solution_of(context.scene)
            start, fps = clock_of(context.scene, context.scene.sightline.take, solution)
            for item in chosen_armatures(context):
                show_layer(item, self.layer, solution, start, fps)
            return {"FINISHED"}

        return guarded(self, show)


class SIGHTLINE_OT_reduce_keys(OnSolved, bpy.types.Operator):
    """Make the cleaned layer: few Bézier keys whose curves keep every joint within its own uncertainty"""  # noqa: D415

    bl_idname = "sightline.reduce_keys"
    bl_label = "Reduce Keys"
    bl_options = {"REGISTER", "UNDO"}

    sigmas: FloatProperty(
        name="Within",
        default=2.0,
        min=0.1,
        max=5.0,
        description="How far a joint may leave its solved place, in its own standard deviations; more means fewer keys",
    )
    source: EnumProperty(name="From", items=SOURCES, default=SOLVED)
    replace: BoolProperty(
        name="Replace", description="Also where the cleaned layer was changed by hand: your changes are lost"
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        def reduce() -> set[str]:
            solution = solution_of(context.scene)
            replace = self.replace or context.scene.sightline.replace_cleaned
            clock = clock_of(context.scene, context.scene.sightline.take, solution)
            counts = [
                reduce_layer(item, solution, clock, self.sigmas, replace, self.source)
                for item in chosen_armatures(context)
            ]
            before, after = (sum(part) for part in zip(*counts, strict=True))
            self.report({"INFO"}, f"{before:,} keys became {after:,}: {before / after:.1f} times fewer")
            return {"FINISHED"}

        return guarded(self, reduce)


CLASSES = (SIGHTLINE_OT_show_layer, SIGHTLINE_OT_reduce_keys)
