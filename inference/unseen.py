"""The motion with hypotheses: where too few views see a joint, the solver is told what bodies usually do.

First the motion from the views alone. Where it leaves joints out, or leaves them unsure that no two views see, bodies
are sampled given what the views show (`hypotheses`), and the motion is estimated once more with them as evidence
(`evidence`). With one view everything rests on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .config import HypothesisSettings, MotionSettings
from .errors import DegenerateError, ModelError
from .evidence import Moments, about, made_views, started, turn_of_cameras, turned_as_unsure, widened
from .geometry.reprojection import Rays, rays_from_keypoints
from .hypotheses import LEAST_JOINTS, joints_of_flow, sample_bodies, seen_by_views, weighted_moments
from .motion.estimate import estimate_motion
from .motion.kinematics import forward_kinematics
from .motion.skeleton import joint_sources
from .perception.pose_flow import PoseFlow, load_flow
from .pinned import pinned_bodies
from .shapes import BoolArray, FloatArray
from .stature import BodySize, Stature, stated
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

_DOUBTED = 2.0  # standard deviations between a height and what floor and pins make of it
UNSURE_M = 0.05  # a joint that no two views see and that motion and bones hold no better than this is asked of the flow


def motion_with_hypotheses(
    raw: Keypoints3D,
    rig: CameraRig,
    views: Sequence[Keypoints2D],
    settings: tuple[MotionSettings, HypothesisSettings],
    size: BodySize,
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
        size: what the take says of how large the person is and where.
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
    drawn = _bodies(flow, raw, rays, wanted, hypothesis.hypothesis_samples, size)
    wanted &= np.isfinite(drawn.told.mean).all(axis=-1)
    turn = turn_of_cameras(first.facts.get("camera_shifts", []), rig)
    more_rig, more_views = made_views(rig, views, wanted, drawn.told, turn)
    start = started(raw, wanted, drawn.told)
    second = SolveReport(report.take)
    solved, path = estimate_motion(start, more_rig, more_views, motion, second)
    _take_over(report, second, rig.names)
    hypotheses = _of_skeleton(drawn.bodies, drawn.weight, path.skeleton, raw.joint_names, (own, theirs))
    _tell(report, flow, wanted, drawn.statures)
    _warn_of_guesses(report, raw, size, drawn.statures)
    told = _resting(hypotheses, wanted, path.skeleton, raw.joint_names)
    one = len(rig.cameras) == 1
    solved = _complete(solved, path, told)
    solved = widened(solved, about(solved.xyz, told) if one else told.covariance)
    path = turned_as_unsure(path, solved, raw.joint_names)
    return solved if one else _sure(solved, motion.max_sigma_m), path, hypotheses


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


@dataclass(frozen=True, eq=False)
class _Drawn:
    """Bodies of all persons and frames, NaN in frames without."""

    bodies: FloatArray  # (T, P, S, J of the flow, 3) m
    weight: FloatArray  # (T, P, S) logarithms
    told: Moments  # of the layout's joints
    statures: tuple[Stature, ...]  # of the persons


def _bodies(flow: PoseFlow, raw: Keypoints3D, rays: Rays, wanted: BoolArray, samples: int, size: BodySize) -> _Drawn:
    """Draw bodies for the frames where something is wanted."""
    t, p, j = raw.flag.shape
    own, theirs = joints_of_flow(flow.joint_names, raw.joint_names)
    points = np.arange(t * p * j).reshape(t, p, j)
    bodies = np.full((t, p, samples, len(flow.joint_names), 3), np.nan, np.float32)
    weight = np.full((t, p, samples), -np.inf)
    mean, covariance = np.full((t, p, j, 3), np.nan), np.full((t, p, j, 3, 3), np.nan)
    pins, sure = size.pins or (np.full((t, p, j, 3), np.nan), np.full((t, p, j), np.nan))
    statures = []
    for person in range(p):
        frames = np.flatnonzero(wanted[:, person].any(axis=-1))
        seen = seen_by_views(rays.take(points[frames, person].ravel()), len(frames), raw.joint_names, flow.joint_names)
        of_flow = [np.full((len(frames), len(flow.joint_names), *each.shape[3:]), np.nan) for each in (pins, sure)]
        for each, of_layout in zip(of_flow, (pins, sure), strict=True):
            each[:, own] = of_layout[frames, person][:, theirs]
        known = BodySize(size.height_m if p == 1 else None, size.on_floor, (of_flow[0], of_flow[1]))
        found = sample_bodies(flow, seen, samples, known, 1000 * person)  # whose height it is of several is not said
        drawn, moved = pinned_bodies(found.bodies, raw.timestamps_s[frames], (of_flow[0], of_flow[1]), 1000 * person)
        bodies[frames, person], weight[frames, person] = drawn, found.log_weight
        middle, spread = np.array(found.mean), np.array(found.covariance)
        middle[moved], spread[moved] = weighted_moments(drawn[moved], found.log_weight[moved])
        mean[frames[:, None], person, theirs] = middle[:, own]
        covariance[frames[:, None], person, theirs] = spread[:, own]
        statures.append(found.stature)
    return _Drawn(bodies, weight, Moments(mean, covariance), tuple(statures))


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


def _warn_of_guesses(report: SolveReport, raw: Keypoints3D, size: BodySize, statures: tuple[Stature, ...]) -> None:
    """Say of whom no view confirms what another one shows."""
    one = raw.flag.shape[1] == 1
    height = "the height_m of the take" if size.height_m and one else "a grown person's height, for want of one"
    for person in np.flatnonzero(~raw.observed.any(axis=(0, 2))):
        found, before = statures[person], stated(size.height_m if one else None)
        report.warn(
            f"person {person + 1}: no two views agree on a joint, so the pose rests on what bodies usually do and the "
            f"distance on {', '.join((height, *found.told_by))}"
            + ("; state height_m under [take]" if one and not size.height_m and not found.told_by else "")
        )
        if found.told_by and found.apart_from(before) > _DOUBTED:
            report.warn(
                f"person {person + 1}: {' and '.join(found.told_by)} would make the body "
                f"{found.height_m:.2f} m tall, against {before.height_m:.2f} m by {height}: check "
                f"{' and '.join(found.told_by)} and the height"
            )


def _tell(report: SolveReport, flow: PoseFlow, wanted: BoolArray, statures: tuple[Stature, ...]) -> None:
    card = flow.card
    report.models.append(
        {"name": card.name, "licence": card.licence, "sha256": card.sha256, "provider": "CPUExecutionProvider"}
    )
    report.facts["hypotheses"] = {
        "frames": [int(count) for count in wanted.any(axis=-1).sum(axis=0)],
        "joints_share": [float(share) for share in wanted.mean(axis=(0, 2))],
        "height_m": [each.height_m for each in statures],
        "height_sigma": [each.sigma for each in statures],
    }
