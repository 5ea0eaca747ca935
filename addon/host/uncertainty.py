"""What is drawn of a solution's uncertainty, as plain arrays; computed once per solve. Imports no bpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...inference.placement import without_placement
from ...inference.report.judges import reprojection_errors, worst_sigma
from ...inference.report.trust import Doubt, doubts, grades, unusable_joints
from ...inference.shapes import BoolArray, FloatArray, IntArray
from ...inference.types import Flag, Keypoints2D, Solution

LIMITS_M = (0.01, 0.032, 0.08)  # of the colours below; half way between them are the report's limits, 2 and 5 cm
_COLOURS = np.array([[0.25, 0.72, 0.45], [0.95, 0.76, 0.22], [0.90, 0.24, 0.16]])  # good, check, poor
MISSING = np.array([0.50, 0.50, 0.56, 1.0])
MISSING_M = 1.0  # what a joint counts that is not there when the worst frame is looked for
APART_S = 0.5  # frames this near to a visited one are not visited again
GREEN, AMBER, RED, GREY = "green", "amber", "red", "grey"
_AMBER_SHARE, _RED_SHARE = 0.008, 0.02  # left-out median over the picture's diagonal
_AMBER_TIMES, _RED_TIMES = 2.0, 4.0  # left-out median over the middle of the other views
_SEEN_SHARE = 0.05  # of the frames; a joint that stands in fewer was not filmed, or is not known to the detector
_SMALL_SHARE = 0.003  # below this a view is well whatever the others do


@dataclass(frozen=True, eq=False)
class TakeUncertainty:
    """One take's solution with what is drawn of it."""

    solution: Solution
    sigma: FloatArray  # (T, P, J) m, in the worst direction; NaN where unobserved
    colour: FloatArray  # (T, P, J, 4) float32
    usable: BoolArray  # (P, J) joints that stand in one frame of twenty or more
    bone_ends: IntArray  # (B, 2) joints at both ends of the skeleton's bones
    doubts: tuple[Doubt, ...]  # but for the joints that are never sure enough
    never: tuple[tuple[str, ...], ...] = ()  # those, by person
    pointers: dict[tuple[int, int], str] = field(default_factory=dict)  # filled by those who draw

    @property
    def bone_names(self) -> tuple[str, ...]:
        """Names of the bones, which are those in the armature."""
        return self.solution.motion.skeleton.bone_names


def uncertainty_of(solution: Solution) -> TakeUncertainty:
    """Prepare a solution for drawing."""
    solved, skeleton = without_placement(solution).solved, solution.motion.skeleton
    sigma = worst_sigma(solved.covariance)
    usable = solved.observed.mean(axis=0) >= _SEEN_SHARE if len(sigma) else np.zeros(sigma.shape[1:], dtype=bool)
    place = np.array([solved.joint_names.index(name) for name in skeleton.joint_names])
    ends = np.stack([place[skeleton.parents[1:]], place[1:]], axis=-1)
    found = tuple(doubt for person in range(sigma.shape[1]) for doubt in doubts(solved, person))
    grade = grades(solved)
    never = tuple(unusable_joints(grade[:, person], solved.joint_names) for person in range(sigma.shape[1]))
    return TakeUncertainty(solution, sigma, colours(sigma), usable, ends, found, never)


def colours(sigma: FloatArray) -> FloatArray:
    """Return (..., 4) float32 colours of (...) standard deviations in m: green, amber, red; grey where NaN."""
    inside = np.log(np.clip(np.nan_to_num(sigma, nan=LIMITS_M[-1]), LIMITS_M[0], LIMITS_M[-1]))
    rgb = [np.interp(inside, np.log(LIMITS_M), _COLOURS[:, channel]) for channel in range(3)]
    result = np.stack([*rgb, np.ones_like(inside)], axis=-1)
    return np.where(np.isfinite(sigma)[..., None], result, MISSING).astype(np.float32)


def band_sigma(shown: TakeUncertainty, middle: bool) -> FloatArray:
    """Return (T,) the largest sigma of the usable joints in every frame, or their median; NaN where none stands."""
    values = shown.sigma[:, shown.usable]
    result = np.full(len(values), np.nan)
    seen = np.isfinite(values).any(axis=1)
    result[seen] = (np.nanmedian if middle else np.nanmax)(values[seen], axis=1)
    return result


def band_doubt(shown: TakeUncertainty) -> FloatArray:
    """Return (T,) what a frame has in spans of doubt: 0 nothing, 1 weak joints, 2 missing or rejected ones."""
    result = np.zeros(len(shown.sigma))
    names = shown.solution.solved.joint_names
    for doubt in shown.doubts:
        frames = slice(doubt.first, doubt.last + 1)
        flag = shown.solution.solved.flag[frames, doubt.person][:, [names.index(name) for name in doubt.joints]]
        lost = (flag <= Flag.REJECTED).any(axis=1)
        result[frames] = np.maximum(result[frames], np.where(lost, 2.0, 1.0))
    return result


def pooled(values: FloatArray, count: int) -> FloatArray:
    """Return the largest of every ``count`` neighbours of (T,): a single bad frame stays visible from afar."""
    return np.fmax.reduceat(values, np.arange(0, len(values), count)) if count > 1 and len(values) else values


def badness(shown: TakeUncertainty) -> FloatArray:
    """Return (T,) m: sigma of the worst usable joint plus the mean over them; one that is missing counts 1 m."""
    values = np.minimum(np.nan_to_num(shown.sigma[:, shown.usable], nan=MISSING_M), MISSING_M)
    return values.max(axis=1) + values.mean(axis=1) if values.shape[1] else np.zeros(len(values))


def worst_frame(
    bad: FloatArray,  # (T,)
    visited: Sequence[int],
    apart: int,
) -> int | None:
    """Return the worst frame that is farther than ``apart`` frames from all visited ones; None where none is left."""
    left = np.ones(len(bad), dtype=bool)
    for frame in visited:
        left[max(0, frame - apart) : frame + apart + 1] = False
    return int(np.argmax(np.where(left, bad, -np.inf))) if left.any() else None


def worst_joint(shown: TakeUncertainty, frame: int) -> tuple[int, int] | None:
    """Return person and number of the least sure usable joint of a frame, a missing one first; None without any."""
    values = np.where(shown.usable, np.nan_to_num(shown.sigma[frame], nan=np.inf), -1.0)
    if not shown.usable.any():
        return None
    person, joint = np.unravel_index(int(values.argmax()), values.shape)
    return int(person), int(joint)


def keypoint_residuals(shown: TakeUncertainty, views: Sequence[Keypoints2D]) -> FloatArray:
    """Return (V, T, P, K) px from every keypoint to the solved joint of its name; NaN where there is none."""
    solved = shown.solution.solved
    errors = reprojection_errors(shown.solution.rig, solved, views)
    names = views[0].joint_names
    result = np.full((*errors.shape[:3], len(names)), np.nan)
    for k, name in enumerate(names):
        if name in solved.joint_names:
            result[..., k] = errors[..., solved.joint_names.index(name)]
    return result


def residual_colours(share: FloatArray) -> FloatArray:
    """Return (..., 4) colours of residuals as shares of the picture's diagonal; NaN, without a joint, is grey."""
    scale = LIMITS_M[1] / np.sqrt(_AMBER_SHARE * _RED_SHARE)  # amber half way between the limits of the lights
    return colours(np.asarray(share) * scale)


@dataclass(frozen=True)
class Light:
    """How far one view can be trusted, and the sentence that says why."""

    view: str
    colour: str
    sentence: str


def camera_lights(views: Sequence[Mapping[str, Any]]) -> list[Light]:
    """Judge every view by how well the others foretell it: ``views`` of report.json.

    Convention:
        the number is the median distance of its keypoints from the joints that the other views place, or, with two
        views only, from the solved joints. Amber above 0.8 % of the picture's diagonal, or twice the middle of the
        other views; red above 2 %, or four times. Views below 0.3 % are green, whatever the others are; an only
        view is judged by none.

    Returns:
        One light per view.
    """
    measured = [_median_px(view) for view in views]
    return [_light(view, measured[i], measured[:i] + measured[i + 1 :]) for i, view in enumerate(views)]


def _median_px(view: Mapping[str, Any]) -> float | None:
    errors = view["reprojection_px"]
    return errors["left_out"]["median"] if errors["left_out"]["median"] is not None else errors["solved"]["median"]


def _light(view: Mapping[str, Any], px: float | None, others: Sequence[float | None]) -> Light:
    name = str(view["name"])
    if px is None:
        return Light(name, GREY, "No keypoint of this view was used: nobody was found in it, or nobody whom others see")
    if not others:
        return Light(name, GREY, "The only camera: there is no other that could agree with it or not")
    share = px / float(np.hypot(*view["size"]))
    known = sorted(value for value in others if value is not None)
    times = px / max(known[len(known) // 2], 1e-9) if known else 1.0
    said = f"{px:.1f} px from where the other views expect the joints ({share:.1%} of the picture)"
    if share > _RED_SHARE or (times > _RED_TIMES and share > _SMALL_SHARE):
        return Light(name, RED, f"{said}: does not fit the others; check its calibration, its Fit and its Start")
    if times > _AMBER_TIMES and share > _SMALL_SHARE:
        return Light(name, AMBER, f"{said}, {times:.1f} times the others: was it moved, or does it start elsewhere?")
    if share > _AMBER_SHARE:
        return Light(name, AMBER, f"{said}: usable, but a better calibration or start time would help")
    return Light(name, GREEN, f"{said}: agrees with the others")
