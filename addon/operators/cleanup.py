"""Cleaning up: smoothing where the solve is unsure, feet that stand, and the gaps to look at."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false, reportInvalidTypeForm=false

import bpy
import numpy as np
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty

from ...inference.errors import InputError
from ...inference.motion.foot_lock import Budget, PlantedSpan, lock_feet, planted_spans
from ...inference.motion.gaps import gaps
from ...inference.motion.guided_smoothing import smooth_motion
from ...inference.shapes import FloatArray
from ...inference.types import Solution
from ..host.axes import frame_numbers
from ..host.contact_markers import clear_markers, read_markers, write_markers
from ..host.layers import base_motion, guard_cleaned, joint_covariances, write_cleaned
from ..host.parts import CLEANED, PERSON, parts_in
from ..host.scene import clock_of
from ..on_solved import OnSolved
from .guarded import guarded
from .layers import SOURCES, chosen_armatures, solution_of

_MOST_GAPS = 200  # in the list; the report has all
_REPLACE = "Also where the cleaned layer was changed by hand since it was made"


class _CleanUp(OnSolved):
    """What the tools that write the cleaned layer share."""

    bl_options = {"REGISTER", "UNDO"}


def _take_of(context: bpy.types.Context) -> tuple[Solution, tuple[int, float], FloatArray]:
    """The solution, its clock in the scene, and the scene's frames (T,) of the take."""
    solution = solution_of(context.scene)
    start, fps = clock_of(context.scene, context.scene.sightline.take, solution)
    return solution, (start, fps), frame_numbers(solution.motion.timestamps_s, fps, start)


class SIGHTLINE_OT_smooth_motion(_CleanUp, bpy.types.Operator):
    """Take jitter out of the motion where the solve is unsure, into the cleaned layer; what is sure stays"""  # noqa: D415

    bl_idname = "sightline.smooth_motion"
    bl_label = "Smooth by Uncertainty"

    time_constant_s: FloatProperty(
        name="Strength",
        default=0.04,
        min=0.0,
        soft_max=0.3,
        max=2.0,
        unit="TIME_ABSOLUTE",
        description="Movements faster than this are smoothed, of a joint known to 1 cm; of surer joints less",
    )
    sigmas: FloatProperty(
        name="Within",
        default=2.0,
        min=0.1,
        max=5.0,
        description="How far a joint may leave its place, in its own standard deviations",
    )
    use_range: BoolProperty(name="Only Frames", description="Smooth the frames below only, not the whole take")
    first: IntProperty(name="First", default=1)
    last: IntProperty(name="Last", default=250)
    source: EnumProperty(name="From", items=SOURCES, default=CLEANED)
    replace: BoolProperty(name="Replace", description=_REPLACE)

    def execute(self, context: bpy.types.Context) -> set[str]:
        def smooth() -> set[str]:
            solution, clock, frames = _take_of(context)
            chosen = self._range(frames)
            made = []
            for item in chosen_armatures(context):
                guard_cleaned(item, self.replace or context.scene.sightline.replace_cleaned)
                motion = base_motion(item, solution, clock, self.source)
                covariance = joint_covariances(item, solution)
                smoothed = smooth_motion(
                    motion, int(item[PERSON]), covariance, self.time_constant_s, self.sigmas, chosen
                )
                made.append((item, smoothed))
            for item, smoothed in made:  # only when nothing was refused
                write_cleaned(item, solution, clock, smoothed)
            self.report({"INFO"}, f"Smoothed {len(made)} armature(s) within {self.sigmas:g} standard deviations")
            return {"FINISHED"}

        return guarded(self, smooth)

    def _range(self, frames: FloatArray) -> tuple[int, int] | None:
        if not self.use_range:
            return None
        inside = np.flatnonzero((frames >= self.first - 0.5) & (frames <= self.last + 0.5))
        if not len(inside):
            raise InputError(f"frames {self.first} to {self.last} hold none of the take; choose others")
        return int(inside[0]), int(inside[-1]) + 1


class SIGHTLINE_OT_lock_feet(_CleanUp, bpy.types.Operator):
    """Hold the feet in place while they stand, into the cleaned layer, moving no joint farther than the budget"""  # noqa: D415

    bl_idname = "sightline.lock_feet"
    bl_label = "Lock Feet"

    limit: EnumProperty(
        name="Budget",
        items=[
            ("SIGMAS", "Standard Deviations", "Of each joint's own uncertainty"),
            ("CENTIMETRES", "Centimetres", "The same for every joint"),
        ],
    )
    sigmas: FloatProperty(name="At Most", default=3.0, min=0.1, max=20.0, description="In standard deviations")
    centimetres: FloatProperty(name="At Most (cm)", default=3.0, min=0.1, max=100.0)
    blend_s: FloatProperty(
        name="Blend",
        default=0.1,
        min=0.0,
        max=2.0,
        unit="TIME_ABSOLUTE",
        description="How long a foot takes to come to its place, and to leave it",
    )
    source: EnumProperty(name="From", items=SOURCES, default=CLEANED)
    replace: BoolProperty(name="Replace", description=_REPLACE)

    def execute(self, context: bpy.types.Context) -> set[str]:
        def lock() -> set[str]:
            solution, clock, frames = _take_of(context)
            budget = Budget(self.sigmas) if self.limit == "SIGMAS" else Budget(metres=self.centimetres / 100)
            made, told = [], []
            for item in chosen_armatures(context):
                guard_cleaned(item, self.replace or context.scene.sightline.replace_cleaned)
                motion, person = base_motion(item, solution, clock, self.source), int(item[PERSON])
                spans = _spans(context, solution, person, frames)
                covariance = joint_covariances(item, solution)
                locked, held = lock_feet(motion, person, covariance, spans, budget, self.blend_s)
                made.append((item, locked))
                told += held
            for item, locked in made:  # only when nothing was refused
                write_cleaned(item, solution, clock, locked)
            for one in (one for one in told if not one.within_budget):
                span, left = one.span, 100 * one.slide_after_m
                first, last = frames[span.start], frames[span.stop - 1]
                self.report(
                    {"WARNING"},
                    f"{span.joint}, frames {first:.0f}-{last:.0f}: the budget leaves {left:.1f} cm of slide",
                )
            count = sum(one.within_budget for one in told)
            self.report({"INFO"}, f"{count} of {len(told)} spans are held in place")
            return {"FINISHED"}

        return guarded(self, lock)


def _spans(context: bpy.types.Context, solution: Solution, person: int, frames: FloatArray) -> list[PlantedSpan]:
    """The spans of a person's markers, else those of the solve."""
    spans = read_markers(context.scene, context.scene.sightline.take, person, frames)
    if spans is None:
        contact, names = solution.contact[:, person], solution.contact_names
        spans = planted_spans(contact, names, solution.motion.timestamps_s)
    if not spans:
        raise InputError(f"the solve found no foot of person {person + 1} standing; nothing to lock")
    return spans


class SIGHTLINE_OT_mark_contacts(_CleanUp, bpy.types.Operator):
    """Show when feet stand as timeline markers; move or delete them to change what Lock Feet holds"""  # noqa: D415

    bl_idname = "sightline.mark_contacts"
    bl_label = "Mark Contacts"

    clear: BoolProperty(name="Remove", description="Remove the markers; Lock Feet uses what the solve found")

    def execute(self, context: bpy.types.Context) -> set[str]:
        def mark() -> set[str]:
            solution, _, frames = _take_of(context)
            take, count = context.scene.sightline.take, 0
            for person in sorted({int(item[PERSON]) for item in chosen_armatures(context)}):
                if self.clear:
                    count += clear_markers(context.scene, take, person)
                    continue
                contact = solution.contact[:, person]
                spans = planted_spans(contact, solution.contact_names, solution.motion.timestamps_s)
                write_markers(context.scene, take, person, spans, frames)
                count += 2 * len(spans)
            self.report({"INFO"}, f"{'Removed' if self.clear else 'Made'} {count} markers")
            return {"FINISHED"}

        return guarded(self, mark)


class SIGHTLINE_OT_list_gaps(_CleanUp, bpy.types.Operator):
    """List where joints are missing, bridged, rejected or weak, the worst first"""  # noqa: D415

    bl_idname = "sightline.list_gaps"
    bl_label = "List Gaps"

    order: EnumProperty(
        name="Order",
        items=[("length", "Longest", "Longest first"), ("uncertainty", "Most Unsure", "Most unsure first")],
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        def fill() -> set[str]:
            solution, _, frames = _take_of(context)
            known, found = context.scene.sightline, gaps(solution.solved, self.order)
            known.gaps.clear()
            known.gap_index = 0
            for gap in found[:_MOST_GAPS]:
                entry = known.gaps.add()
                entry.name, entry.person, entry.kind = gap.joint, gap.person, gap.kind
                entry.reason = gap.reason.name.replace("_", " ").lower() if gap.reason else ""
                entry.first, entry.last = round(float(frames[gap.start])), round(float(frames[gap.stop - 1]))
                entry.worst, entry.sigma_cm = round(float(frames[gap.worst])), min(100 * gap.sigma_m, 1e6)
            shown = f", {_MOST_GAPS} are listed" if len(found) > _MOST_GAPS else ""
            self.report({"INFO"}, f"{len(found)} gaps{shown}")
            return {"FINISHED"}

        return guarded(self, fill)


class SIGHTLINE_OT_jump_to_gap(_CleanUp, bpy.types.Operator):
    """Go to the most unsure frame of the gap, and make the joint's bone active"""  # noqa: D415

    bl_idname = "sightline.jump_to_gap"
    bl_label = "Jump to Gap"

    index: IntProperty(name="Gap", default=-1, description="Place in the list; -1 is the chosen one")

    def execute(self, context: bpy.types.Context) -> set[str]:
        def jump() -> set[str]:
            known = context.scene.sightline
            index = known.gap_index if self.index < 0 else self.index
            if not 0 <= index < len(known.gaps):
                raise InputError("there is no such gap in the list; make it with List Gaps")
            gap = known.gaps[index]
            known.gap_index = index
            context.scene.frame_set(gap.worst)
            _show_bone(context, gap.person, gap.name)
            return {"FINISHED"}

        return guarded(self, jump)


def _show_bone(context: bpy.types.Context, person: int, joint: str) -> None:
    """Make the bone that ends at a joint active, where the person has an armature with one."""
    skeleton = solution_of(context.scene).motion.skeleton
    items = parts_in(context.scene, "armature", context.scene.sightline.take)
    item = next((one for one in items if int(one[PERSON]) == person), None)
    if item is None or joint not in skeleton.joint_names[1:]:
        return
    bone = item.data.bones.get(skeleton.bone_names[skeleton.joint_names.index(joint) - 1])
    if bone is not None:
        item.data.bones.active = bone


CLASSES = (
    SIGHTLINE_OT_smooth_motion,
    SIGHTLINE_OT_lock_feet,
    SIGHTLINE_OT_mark_contacts,
    SIGHTLINE_OT_list_gaps,
    SIGHTLINE_OT_jump_to_gap,
)
