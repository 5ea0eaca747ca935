"""The motion with hypotheses: where too few views see a joint, the solver is told what bodies usually do.

First the motion from the views alone. Where it leaves joints out, or leaves them unsure that no two views see, bodies
are sampled given what the views show (`hypotheses`), and the motion is estimated once more with them as evidence
(`evidence`). With one view everything rests on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .config import HypothesisSettings, MotionSettings
from .errors import DegenerateError, ModelError
from .evidence import Moments, made_views, started, widened
from .geometry.reprojection import Rays, rays_from_keypoints
from .hypotheses import LEAST_JOINTS, joints_of_flow, sample_bodies, seen_by_views, weighted_moments
from .motion.estimate import estimate_motion
from .motion.kinematics import forward_kinematics
from .motion.skeleton import joint_sources
from .perception.pose_flow import PoseFlow, load_flow
from .shapes import BoolArray, FloatArray
from .types import (
    CameraRig,
    Flag,
    Hypotheses3D,
    Keypoints2D,
    Keypoints3D,
    Reason,
    Skeleton,
    SkeletonMotion,
    SolveReport,
    no_hypotheses,
)

UNSURE_M = 0.05  # a joint that no two views see and that motion and bones hold no better than this is asked of the flow


def motion_with_hypotheses(
    raw: Keypoints3D,
    rig: CameraRig,
    views: Sequence[Keypoints2D],
    settings: tuple[MotionSettings, HypothesisSettings],
    height_m: float | None,
    report: SolveReport,
) -> tuple[Keypoints3D, SkeletonMotion, Hypotheses3D]:
    """Estimate the motion; where the views leave too much open, with sampled bodies as evidence.

    Convention:
        as `estimate_motion`. Joints that rest on samples are WEAK for the reason HYPOTHESES, and no surer than the
        samples of their own frame; with one view they stand however unsure they are. Views that mostly contradict each
        other get no samples. The hypotheses are the samples themselves, NaN in frames without.

    Args:
        raw: single-frame joints.
        rig: cameras in the order of the views.
        views: keypoints on the times of ``raw``.
        settings: of the motion and of the hypotheses.
        height_m: of the person, where the take states one.
        report: takes facts, warnings and the flow's card.

    Returns:
        Joints, motion and hypotheses.

    Raises:
        DegenerateError: a person has no single joint in any frame, and no hypotheses either.
        ModelError: the flow cannot be used.
    """
    motion, hypothesis = settings
    usable = hypothesis.hypotheses == "auto"
    alone = not raw.observed.any(axis=(0, 2)).all()  # somebody whom no two views see
    first = SolveReport(report.take)
    if not (usable and alone):
        solved, path = estimate_motion(raw, rig, views, motion, first)
        wanted = _left_open(raw, views, solved) & _shown(raw, views) if usable else np.zeros(raw.flag.shape, bool)
        if not wanted.any():
            _take_over(report, first, rig.names)
            return solved, path, no_hypotheses()
    else:
        wanted = ~raw.observed & _shows_a_body(views)[..., None] & _shown(raw, views)
    try:
        flow = load_flow(hypothesis.flow)
    except ModelError as problem:
        if alone:
            raise
        _take_over(report, first, rig.names)
        report.warn(f"no hypotheses where too few views see a joint: {problem}")
        return solved, path, no_hypotheses()
    own, theirs = joints_of_flow(flow.joint_names, raw.joint_names)
    wanted &= np.isin(np.arange(len(raw.joint_names)), theirs)
    if len(own) < LEAST_JOINTS or not wanted.any():
        if not alone:  # left open are joints that the flow does not know, or of views that contradict each other
            _take_over(report, first, rig.names)
            return solved, path, no_hypotheses()
        raise DegenerateError(
            "no joint is seen by two agreeing views in any frame, and hypotheses have nothing to go by: no view shows "
            "enough of a body, or the views contradict each other; check calibration, synchronisation and keypoints"
        )
    rays = rays_from_keypoints(rig, views, motion.min_score)
    bodies, weight, told = _bodies(flow, raw, rays, wanted, hypothesis.hypothesis_samples, height_m)
    wanted &= np.isfinite(told.mean).all(axis=-1)
    more_rig, more_views = made_views(rig, views, wanted, told)
    start = started(raw, wanted, told)
    second = SolveReport(report.take)
    solved, path = estimate_motion(start, more_rig, more_views, motion, second)
    _take_over(report, second, rig.names)
    hypotheses = _of_skeleton(bodies, weight, path.skeleton, raw.joint_names, (own, theirs))
    _tell(report, flow, wanted)
    _warn_of_guesses(report, raw, height_m)
    told = _resting(hypotheses, wanted, path.skeleton, raw.joint_names)
    solved = widened(_complete(solved, path, told), told.covariance)
    return solved if len(rig.cameras) == 1 else _sure(solved, motion.max_sigma_m), path, hypotheses


def _take_over(report: SolveReport, other: SolveReport, views: Sequence[str]) -> None:
    """Take over what a solve told, but for what it told of made views."""
    made = {fact["view"] for facts in other.facts.values() for fact in facts if "view" in fact} - set(views)
    for key, facts in other.facts.items():
        report.facts[key] = [fact for fact in facts if fact.get("view") not in made]
    for warning in other.warnings:
        if not any(warning.startswith(f"view {name}:") for name in made):
            report.warn(warning)


def _shown(raw: Keypoints3D, views: Sequence[Keypoints2D]) -> BoolArray:
    """(P, J) joints that some view shows at some time, of persons whose views agree; all others stay missing."""
    return np.stack([view.observed for view in views]).any(axis=(0, 1)) & ~_at_odds(raw)[:, None]


def _at_odds(raw: Keypoints3D) -> BoolArray:
    """(P,) whose views contradict each other more often than they agree: bodies would hide what is wrong there."""
    return (raw.flag == Flag.REJECTED).sum(axis=(0, 2)) > raw.observed.sum(axis=(0, 2))


def _shows_a_body(views: Sequence[Keypoints2D]) -> BoolArray:
    """(T, P) whether a view shows enough of a person."""
    return np.stack([view.observed.sum(axis=-1) >= LEAST_JOINTS for view in views]).any(axis=0)


def _left_open(raw: Keypoints3D, views: Sequence[Keypoints2D], solved: Keypoints3D) -> BoolArray:
    """(T, P, J) joints of the layout that no two views place, and that the motion leaves out or unsure."""
    index = [solved.joint_names.index(name) for name in raw.joint_names]
    known = solved.observed[:, :, index]
    covariance = np.where(known[..., None, None], solved.covariance[:, :, index], np.eye(3))
    unsure = np.linalg.eigvalsh(covariance)[..., 2] > UNSURE_M**2
    return ~raw.observed & unsure & _shows_a_body(views)[..., None]


def _bodies(
    flow: PoseFlow, raw: Keypoints3D, rays: Rays, wanted: BoolArray, samples: int, height_m: float | None
) -> tuple[FloatArray, FloatArray, Moments]:
    """Sampled bodies (T, P, S, J of the flow, 3) m, log weights (T, P, S), and the moments of the layout's joints."""
    t, p, j = raw.flag.shape
    own, theirs = joints_of_flow(flow.joint_names, raw.joint_names)
    points = np.arange(t * p * j).reshape(t, p, j)
    bodies = np.full((t, p, samples, len(flow.joint_names), 3), np.nan, np.float32)
    weight = np.full((t, p, samples), -np.inf)
    mean, covariance = np.full((t, p, j, 3), np.nan), np.full((t, p, j, 3, 3), np.nan)
    for person in range(p):
        frames = np.flatnonzero(wanted[:, person].any(axis=-1))
        seen = seen_by_views(rays.take(points[frames, person].ravel()), len(frames), raw.joint_names, flow.joint_names)
        height = height_m if p == 1 else None  # whose it is of several is not said
        found = sample_bodies(flow, seen, samples, height, 1000 * person)
        bodies[frames, person], weight[frames, person] = found.bodies, found.log_weight
        mean[frames[:, None], person, theirs] = found.mean[:, own]
        covariance[frames[:, None], person, theirs] = found.covariance[:, own]
    return bodies, weight, Moments(mean, covariance)


def _of_skeleton(
    bodies: FloatArray,
    weight: FloatArray,
    skeleton: Skeleton,
    names: tuple[str, ...],
    joints: tuple[FloatArray, FloatArray],
) -> Hypotheses3D:
    """Samples of the skeleton's joints; NaN for those that the flow does not know."""
    own, theirs = joints
    sources = joint_sources(skeleton, names)
    known = np.isin(np.arange(len(names)), theirs)
    complete = (sources[:, ~known] == 0).all(axis=1)
    xyz = np.einsum("kj,tpsjc->tpskc", sources[:, theirs].astype(np.float32), bodies[:, :, :, own], optimize=True)
    xyz[:, :, :, ~complete] = np.nan
    return Hypotheses3D(xyz, weight)


def _resting(hypotheses: Hypotheses3D, wanted: BoolArray, skeleton: Skeleton, names: tuple[str, ...]) -> Moments:
    """Moments of the skeleton's joints that rest on samples, NaN elsewhere.

    A joint that the flow lacks (a mouth, a thumb) is no surer than its parent: it gets the parent's covariance.
    """
    found = Moments(*weighted_moments(hypotheses.xyz, hypotheses.log_weight))
    resting = np.einsum("kj,tpj->tpk", joint_sources(skeleton, names), wanted) > 0
    mean = np.where(resting[..., None], found.mean, np.nan)
    covariance = np.where(resting[..., None, None], found.covariance, np.nan)
    for joint in np.flatnonzero(np.isnan(hypotheses.xyz).all(axis=(0, 1, 2, 4))):
        if joint:  # parents come first
            covariance[:, :, joint] = covariance[:, :, skeleton.parents[joint]]
    return Moments(mean, covariance)


def _complete(solved: Keypoints3D, path: SkeletonMotion, told: Moments) -> Keypoints3D:
    """Put the skeleton's own joints where the solver gave none up, as far from the samples as they may be."""
    posed = np.stack([
        forward_kinematics(
            path.skeleton, path.root_translation[:, p], path.local_rotation[:, p], path.bone_length[p]
        )
        for p in range(solved.xyz.shape[1])
    ], axis=1)  # fmt: skip
    missing = ~solved.observed & np.isfinite(told.mean).all(axis=-1)
    apart = np.where(missing[..., None], posed - told.mean, 0.0)
    covariance = told.covariance + apart[..., :, None] * apart[..., None, :]
    return replace(
        solved,
        xyz=np.where(missing[..., None], posed, solved.xyz),
        covariance=np.where(missing[..., None, None], covariance, solved.covariance),
        flag=np.where(missing, int(Flag.WEAK), solved.flag),
    )


def _sure(solved: Keypoints3D, most_m: float) -> Keypoints3D:
    """Give up joints whose sigma is above the limit, as they are without hypotheses."""
    known = solved.observed
    covariance = np.where(known[..., None, None], solved.covariance, np.eye(3))
    unsure = known & (np.linalg.eigvalsh(covariance)[..., 2] > most_m**2)
    return replace(
        solved,
        xyz=np.where(unsure[..., None], np.nan, solved.xyz),
        covariance=np.where(unsure[..., None, None], np.nan, solved.covariance),
        flag=np.where(unsure, int(Flag.UNOBSERVED), solved.flag),
        reason=np.where(unsure, int(Reason.TOO_UNSURE), solved.reason),
    )


def _warn_of_guesses(report: SolveReport, raw: Keypoints3D, height_m: float | None) -> None:
    """Say of whom no view confirms what another one shows."""
    one = raw.flag.shape[1] == 1
    size = "the height_m of the take" if height_m and one else "a grown person's height, for want of one"
    for person in np.flatnonzero(~raw.observed.any(axis=(0, 2))):
        report.warn(
            f"person {person + 1}: no two views agree on a joint, so the pose rests on what bodies usually do and the "
            f"distance on {size}" + ("; state height_m under [take]" if one and not height_m else "")
        )


def _tell(report: SolveReport, flow: PoseFlow, wanted: BoolArray) -> None:
    card = flow.card
    report.models.append(
        {"name": card.name, "licence": card.licence, "sha256": card.sha256, "provider": "CPUExecutionProvider"}
    )
    report.facts["hypotheses"] = {
        "frames": [int(count) for count in wanted.any(axis=-1).sum(axis=0)],
        "joints_share": [float(share) for share in wanted.mean(axis=(0, 2))],
    }
