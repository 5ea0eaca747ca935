"""The solved motion leaves the scene: as files, as armatures in another naming, on a character of the user."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false, reportInvalidTypeForm=false

from pathlib import Path

import bpy
from bpy.props import FloatProperty

from ...inference.errors import InputError
from ...inference.files.solution import read_solution
from ...inference.types import Solution
from .. import solving
from ..host.export import Exported, RigChoice, armatures_to_export
from ..host.layers import layer_action, shown_layer
from ..host.parts import CLEANED, KIND, PERSON, TAKE, part_of, parts_in
from ..host.performance import Performance, performance_of
from ..host.rig_files import find_rig
from ..host.rig_keys import is_retargeted, reduce_rig
from ..host.rigs import make_rig, retarget_onto
from ..on_solved import OnSolved
from .guarded import guarded


def takes_to_export(context: bpy.types.Context) -> list[tuple[str, Path]]:
    """Return the names of the chosen takes and the files of their solutions."""
    known = context.scene.sightline
    takes = {known.take: known.solution_path}
    if known.export_all_takes:
        homes = [home for home in context.scene.collection.children_recursive if home.get(KIND) == "take"]
        takes |= {home[TAKE]: home[solving.SOLUTION] for home in homes if home.get(solving.SOLUTION)}
    return [(take, Path(bpy.path.abspath(path))) for take, path in takes.items()]


def chosen_frames(scene: bpy.types.Scene) -> tuple[int, int] | None:
    """Return the frames of the panel's choice; None: the whole take."""
    if scene.sightline.export_range == "TAKE":
        return None
    if scene.use_preview_range:
        return scene.frame_preview_start, scene.frame_preview_end
    return scene.frame_start, scene.frame_end


def what_to_export(scene: bpy.types.Scene, take: str, solution: Solution) -> Exported:
    """Read the panel's choices for a take."""
    known = scene.sightline
    rig = None
    if known.rig != "AS_SOLVED":
        rig = RigChoice(find_rig(known.rig), solution, _rest_pose(scene), known.rig_root)
    persons = (known.export_person - 1,) if known.export_person else ()
    return Exported(take, solution.solved, known.export_ellipsoids, persons, chosen_frames(scene), rig)


def performances(context: bpy.types.Context) -> list[Performance]:
    """Return what the chosen people of the take do.

    Raises:
        InputError: the take has no such person in this scene.
    """
    scene = context.scene
    known = scene.sightline
    solution = read_solution(Path(bpy.path.abspath(known.solution_path)))
    wanted = known.export_person - 1
    found = [item for item in armatures_to_export(scene, known.take) if wanted in (-1, item[PERSON])]
    if not found:
        who = f"person {known.export_person}" if known.export_person else "person"
        raise InputError(f"this scene has no {who} of take {known.take!r}")
    return [performance_of(scene, item, solution) for item in found]


def character_of(context: bpy.types.Context) -> bpy.types.Object | None:
    """Return the active armature if it is the user's own; None otherwise."""
    item = context.active_object
    return item if item is not None and item.type == "ARMATURE" and part_of(item) is None else None


def _cleaned_is_hidden(item: bpy.types.Object) -> bool:
    return layer_action(item, CLEANED) is not None and shown_layer(item) != CLEANED


def _rest_pose(scene: bpy.types.Scene) -> str:
    return "" if scene.sightline.rest_pose == "USUAL" else scene.sightline.rest_pose


class SIGHTLINE_OT_export_take(OnSolved, bpy.types.Operator):
    """Write the take in the chosen formats, beside its solution"""  # noqa: D415

    bl_idname = "sightline.export_take"
    bl_label = "Export"

    def execute(self, context: bpy.types.Context) -> set[str]:
        def write() -> set[str]:
            formats = sorted(context.scene.sightline.formats)
            if not formats:
                raise InputError("choose a format to export")
            paths = []
            for take, path in takes_to_export(context):
                exported = what_to_export(context.scene, take, read_solution(path))
                paths += solving.export_take(context, exported, formats, path.parent / take)
            other = [item.name for item in parts_in(context.scene, "armature") if _cleaned_is_hidden(item)]
            if other:
                self.report({"WARNING"}, f"{', '.join(other)}: the cleaned layer is not shown, so it was not written")
            if solving.newer_on_disk(context.scene):
                self.report(
                    {"WARNING"}, "The scene shows an older result than the one on disk: joints are the newer ones"
                )
            self.report({"INFO"}, "Wrote " + ", ".join(str(path) for path in paths))
            return {"FINISHED"}

        return guarded(self, write)


class SIGHTLINE_OT_make_rig(OnSolved, bpy.types.Operator):
    """Make an armature of the person's own bone lengths with the chosen naming and rest pose, and the motion on it"""  # noqa: D415

    bl_idname = "sightline.make_rig"
    bl_label = "Make Armature"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        def make() -> set[str]:
            known = context.scene.sightline
            if known.rig == "AS_SOLVED":
                raise InputError("choose a naming; the armature as solved is in the scene already")
            rest = _rest_pose(context.scene)
            made = [make_rig(context, one, find_rig(known.rig), rest, known.rig_root) for one in performances(context)]
            self.report({"INFO"}, "Made " + ", ".join(item.name for item in made))
            return {"FINISHED"}

        return guarded(self, make)


class SIGHTLINE_OT_retarget(OnSolved, bpy.types.Operator):
    """Give the person's motion to the active armature, a character of yours; its bones are recognised by their names"""  # noqa: D415

    bl_idname = "sightline.retarget"
    bl_label = "Retarget to Active"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not context.scene.sightline.solution_path:
            return False
        if character_of(context) is None:
            cls.poll_message_set("Make the armature of your character the active object")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        def give() -> set[str]:
            known, item = context.scene.sightline, character_of(context)
            if item is None:
                raise InputError("make the armature of your character the active object")
            wanted = "" if known.rig in ("AS_SOLVED", "sightline") else known.rig
            match, warnings = retarget_onto(item, performances(context)[0], wanted, known.rig_root)
            for warning in warnings:
                self.report({"WARNING"}, warning)
            bones = sum(len(names) for names in match.parts.values())
            self.report({"INFO"}, f"{item.name}: {bones} bones of {match.target.label} follow the take")
            return {"FINISHED"}

        return guarded(self, give)


class SIGHTLINE_OT_reduce_rig_keys(OnSolved, bpy.types.Operator):
    """Replace the key on every frame of the active character by few Bézier keys within the person's uncertainty"""  # noqa: D415

    bl_idname = "sightline.reduce_rig_keys"
    bl_label = "Reduce Keys of Active"
    bl_options = {"REGISTER", "UNDO"}

    sigmas: FloatProperty(
        name="Within",
        default=2.0,
        min=0.1,
        max=5.0,
        description="How far the end of a bone may be off, in standard deviations of the person's joint",
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not is_retargeted(context.active_object):
            cls.poll_message_set("Retarget to the active armature first, or make one")
            return False
        return bool(context.scene.sightline.solution_path)

    def execute(self, context: bpy.types.Context) -> set[str]:
        def reduce() -> set[str]:
            solution = read_solution(Path(bpy.path.abspath(context.scene.sightline.solution_path)))
            before, after = reduce_rig(context.active_object, solution, self.sigmas)
            self.report({"INFO"}, f"{before:,} keys became {after:,}: {before / after:.1f} times fewer")
            return {"FINISHED"}

        return guarded(self, reduce)


CLASSES = (SIGHTLINE_OT_export_take, SIGHTLINE_OT_make_rig, SIGHTLINE_OT_retarget, SIGHTLINE_OT_reduce_rig_keys)
