"""Sampled poses where too few views see the person: look at them, choose one."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

import bpy

from ...inference.errors import InputError
from ..known_models import known_models
from ..on_solved import OnSolved
from ..operators.hypotheses import samples_here
from ..operators.uncertainty import current_take
from ..overlays.ghosts import poses_shown, sampled_of
from .tab import Tab, say


class SIGHTLINE_PT_hypotheses(OnSolved, Tab, bpy.types.Panel):
    """Choose between poses; grey with a reason where there are none."""

    bl_label = "Hypotheses"
    bl_parent_id = "SIGHTLINE_PT_solve"
    bl_order = 9
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, known = self.layout, context.scene.sightline
        reason = missing_hypotheses(context)
        say(layout, reason, "INFO")
        column = layout.column()
        column.enabled = not reason
        row = column.row(align=True)
        row.prop(known.overlay, "ghosts", toggle=True)
        row.operator("sightline.next_hypotheses", icon="TRACKING_FORWARDS_SINGLE")
        column.prop(known, "fix_person")
        try:
            _, sampled, frame, person = samples_here(context)
        except InputError as problem:
            if not reason:
                say(layout, f"{problem}", "INFO")
            return
        poses = poses_shown(sampled, frame, person)
        column.prop(known.overlay, "hypothesis", slider=True)
        rank = min(known.overlay.hypothesis, len(poses.weight))
        column.label(text=f"Pose {rank} of {len(poses.weight)}: {poses.weight[rank - 1]:.0%} of the samples' weight")
        column.label(text="Pin the orange pose in:")
        row = column.row(align=True)
        row.operator("sightline.choose_hypothesis", text="This Frame").follow = False
        row.operator("sightline.choose_hypothesis", text="And Follow It").follow = True


def missing_hypotheses(context: bpy.types.Context) -> str:
    """Say why a solve has no hypotheses, "" where it has."""
    try:
        if sampled_of(current_take(context)) is not None:
            return ""
    except InputError as problem:
        return str(problem)
    if not any(model.kind == "flow" and model.ready for model in known_models()):
        return "No model that samples poses is on this machine (kind flow, see the preferences)"
    return "None: in every frame enough views see the person"


CLASSES = (SIGHTLINE_PT_hypotheses,)
