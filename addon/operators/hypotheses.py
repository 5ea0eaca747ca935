"""Choose one of the sampled poses where too few views see the person, and go to where there are any."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false, reportInvalidTypeForm=false

from __future__ import annotations

import bpy
import numpy as np
from bpy.props import BoolProperty

from ...inference.corrections import LASTS_S, PIN, Correction
from ...inference.errors import InputError
from ..host.hypotheses import Sampled, followed, in_doubt, spans_of, sureness
from ..on_solved import OnSolved
from ..overlays.ghosts import poses_shown, sampled_of
from ..overlays.shown import ShownTake
from ..scene_corrections import add_corrections, in_kept_world, kept_keypoints
from ..solving import expect_again
from .guarded import guarded, redraw_panels
from .uncertainty import current_take


def samples_here(context: bpy.types.Context) -> tuple[ShownTake, Sampled, int, int]:
    """Return the take, its samples, the frame that is shown, and the chosen person.

    Raises:
        InputError: the take has no samples, or not of this frame and person.
    """
    shown, scene = current_take(context), context.scene
    sampled, frame = sampled_of(shown), shown.index(scene.frame_current)
    person = scene.sightline.fix_person - 1
    if sampled is None:
        raise InputError("this solve has no hypotheses")
    if frame is None or person >= sampled.xyz.shape[1] or not sampled.there[frame, person]:
        raise InputError(f"no hypotheses of person {person + 1} in frame {scene.frame_current}: go to the next span")
    return shown, sampled, frame, person


class SIGHTLINE_OT_choose_hypothesis(OnSolved, bpy.types.Operator):
    """Pin the joints that are in doubt to the pose in orange; then Solve Again"""  # noqa: D415

    bl_idname = "sightline.choose_hypothesis"
    bl_label = "Choose This Pose"
    bl_options = {"REGISTER", "UNDO"}

    follow: BoolProperty(
        name="Follow",
        default=True,
        description="Also in the frames around it, the pose nearest to it in each, until the views see enough again",
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        def choose() -> set[str]:
            shown, sampled, frame, person = samples_here(context)
            poses = poses_shown(sampled, frame, person)
            rank = min(context.scene.sightline.overlay.hypothesis, len(poses.samples)) - 1
            sample = int(poses.samples[rank])
            chosen = followed(sampled, frame, person, sample) if self.follow else {frame: sample}
            pins = pins_of(context.scene, shown, sampled, person, chosen, frame)
            if not pins:
                raise InputError("the hypotheses of this frame agree on every joint that has keypoints")
            add_corrections(context.scene, pins)
            expect_again(context)
            first, last = shown.start + min(chosen), shown.start + max(chosen)
            frames = f"frame {first}" if first == last else f"frames {first}–{last}"
            self.report({"INFO"}, f"{len(pins)} joints pinned in {frames}: press Solve Again (panel Fix)")
            redraw_panels(context)
            return {"FINISHED"}

        return guarded(self, choose)


def pins_of(
    scene: bpy.types.Scene, shown: ShownTake, sampled: Sampled, person: int, chosen: dict[int, int], middle: int
) -> list[Correction]:
    """Return pins of the joints in doubt, at the frame in the middle and as often as a correction lasts."""
    times = shown.data.solution.solved.timestamps_s
    step = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    every = max(round(LASTS_S / step), 1)
    names, kept = shown.data.solution.solved.joint_names, kept_keypoints(scene)
    pins = []
    for frame in sorted(frame for frame in chosen if (frame - middle) % every == 0):
        doubtful = in_doubt(sampled, frame, person)
        joints = [j for j, name in enumerate(names) if doubtful[j] and name in kept.views[0].joint_names]
        if joints:
            places = in_kept_world(scene, sampled.xyz[frame, person, chosen[frame]][joints].astype(float))
            sigma = round(sureness(sampled, frame, person, chosen[frame]), 4)
            time = float(kept.views[0].timestamps_s[frame])
            pins += [
                Correction(PIN, person + 1, time, time, None, names[j], tuple(round(float(x), 5) for x in place), sigma)
                for j, place in zip(joints, places, strict=True)
            ]
    return pins


class SIGHTLINE_OT_next_hypotheses(OnSolved, bpy.types.Operator):
    """Go to the next frames that too few views see, from the beginning after the last"""  # noqa: D415

    bl_idname = "sightline.next_hypotheses"
    bl_label = "Next Span"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        def jump() -> set[str]:
            shown, scene = current_take(context), context.scene
            sampled = sampled_of(shown)
            person = scene.sightline.fix_person - 1
            spans = spans_of(sampled, person) if sampled is not None and person < sampled.xyz.shape[1] else []
            if not spans:
                raise InputError(f"this solve has no hypotheses of person {person + 1}")
            here = scene.frame_current - shown.start
            first, last = next((span for span in spans if span[0] > here), spans[0])
            scene.sightline.overlay.hypothesis = 1
            scene.frame_set(shown.start + first)
            self.report({"INFO"}, f"Frames {shown.start + first}–{shown.start + last}")
            return {"FINISHED"}

        return guarded(self, jump)


CLASSES = (SIGHTLINE_OT_choose_hypothesis, SIGHTLINE_OT_next_hypotheses)
