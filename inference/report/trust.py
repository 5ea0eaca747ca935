"""Which joints and frames to trust: grades from the covariance, and the doubtful spans in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from ..shapes import BoolArray, FloatArray, IntArray
from ..types import Flag, Keypoints3D, Reason
from .judges import worst_sigma

GOOD_SIGMA_M = 0.02  # a joint this sure (worst direction, 1 σ) needs no look
CHECK_SIGMA_M = 0.05  # less sure than this is not to be trusted
SHORTEST_SPAN_S = 0.05  # doubtful spans shorter than this are not listed
JOINED_GAP_S = 0.1  # spans of a joint closer than this are one span


class Grade(IntEnum):
    """How far one joint in one frame can be trusted."""

    MISSING = 0
    POOR = 1
    CHECK = 2
    GOOD = 3


@dataclass(frozen=True)
class Doubt:
    """Joints of one person that should not be trusted over the same frames, first to last inclusive."""

    person: int
    joints: tuple[str, ...]
    first: int
    last: int
    reason: str
    worst_sigma_m: float  # NaN where nothing stands there at all


def grades(joints: Keypoints3D) -> IntArray:
    """Grade every joint by its standard deviation in the worst direction.

    Returns:
        (T, P, J) values of `Grade`; missing where no estimate stands.
    """
    sigma = worst_sigma(joints.covariance)
    result = np.full(sigma.shape, Grade.POOR, dtype=np.int8)
    result[sigma <= CHECK_SIGMA_M] = Grade.CHECK
    result[sigma <= GOOD_SIGMA_M] = Grade.GOOD
    result[~joints.observed | ~np.isfinite(sigma)] = Grade.MISSING
    return result


def unusable_joints(grade: IntArray, joint_names: tuple[str, ...]) -> tuple[str, ...]:  # (T, J) of one person
    """Name the joints that are usable in less than one frame of twenty: not filmed, or not known to the detector."""
    usable = (grade >= Grade.CHECK).mean(axis=0)
    return tuple(name for name, share in zip(joint_names, usable, strict=True) if share < 0.05)


def doubts(joints: Keypoints3D, person: int) -> list[Doubt]:
    """List the spans of one person that should not be trusted, the heaviest (frames × joints) first.

    Convention:
        a joint is doubtful where it is missing or less sure than `CHECK_SIGMA_M`. Joints that are never
        usable are left out (see `unusable_joints`); joints doubtful over nearly the same frames share a span.
    """
    grade = grades(joints)[:, person]
    sigma = worst_sigma(joints.covariance[:, person])
    never = unusable_joints(grade, joints.joint_names)
    found: list[Doubt] = []
    for j, name in enumerate(joints.joint_names):
        if name in never:
            continue
        for first, last in _spans(grade[:, j] < Grade.CHECK, joints.timestamps_s):
            reason = _reason(joints, slice(first, last + 1), person, j)
            found.append(Doubt(person, (name,), first, last, reason, _worst(sigma[first : last + 1, j])))
    return sorted(_merged(found), key=lambda doubt: -(doubt.last - doubt.first + 1) * len(doubt.joints))


def in_words(joint_names: tuple[str, ...]) -> str:
    """Write joint names as a reader says them: ``left wrist, left elbow and nose``."""
    words = [name.replace("_", " ") for name in joint_names]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _spans(doubtful: BoolArray, timestamps_s: FloatArray) -> Iterator[tuple[int, int]]:
    """Yield first and last frame of each run, near runs joined, short ones dropped."""
    step = (timestamps_s[-1] - timestamps_s[0]) / max(len(timestamps_s) - 1, 1)
    step = step if step > 0 else 1.0
    edges = np.flatnonzero(np.diff(np.concatenate(([False], doubtful, [False])).astype(np.int8)))
    runs: list[list[int]] = []
    for first, last in zip(edges[::2], edges[1::2] - 1, strict=True):
        if runs and (first - runs[-1][1] - 1) * step < JOINED_GAP_S:
            runs[-1][1] = int(last)
        else:
            runs.append([int(first), int(last)])
    for first, last in runs:
        if (last - first + 1) * step >= SHORTEST_SPAN_S or last - first + 1 == len(doubtful):
            yield first, last


def _merged(found: list[Doubt]) -> list[Doubt]:
    """Join doubts of different joints whose frames overlap by more than half and that have one reason."""
    result: list[Doubt] = []
    for doubt in sorted(found, key=lambda one: one.first):
        for index, other in enumerate(result):
            if doubt.reason == other.reason and not set(doubt.joints) & set(other.joints) and _overlap(doubt, other):
                sigma = _worst(np.array([doubt.worst_sigma_m, other.worst_sigma_m]))
                joints = other.joints + doubt.joints
                first, last = min(doubt.first, other.first), max(doubt.last, other.last)
                result[index] = Doubt(doubt.person, joints, first, last, doubt.reason, sigma)
                break
        else:
            result.append(doubt)
    return result


def _overlap(first: Doubt, second: Doubt) -> bool:
    both = min(first.last, second.last) - max(first.first, second.first) + 1
    either = max(first.last, second.last) - min(first.first, second.first) + 1
    return both / either > 0.5


def _worst(sigma: FloatArray) -> float:
    finite = sigma[np.isfinite(sigma)]
    return float(finite.max()) if finite.size else float("nan")


REASONS = {
    Reason.TOO_FEW_VIEWS: "fewer than two views see it",
    Reason.TWO_VIEWS: "two views alone see it",
    Reason.LARGE_RESIDUALS: "the views agree less than they claim",
    Reason.CONTRADICTING_VIEWS: "two views contradict each other",
    Reason.AMBIGUOUS: "the views contradict each other",
    Reason.TOO_UNSURE: "too unsure to be given",
    Reason.ONE_VIEW: "one view alone sees it",
    Reason.BRIDGED: "bridged over a gap",
    Reason.NOT_RIGID: "does not fit bones of constant length",
    Reason.NEVER_TRIANGULATED: "never seen by two views",
    Reason.HYPOTHESES: "too few views see it: from what bodies usually do",
}


def reason_counts(reasons: IntArray) -> dict[str, int]:
    """Number of frames by reason, in lower case as `Reason` names them; without those of none."""
    count = np.bincount(reasons.ravel(), minlength=len(Reason))
    return {one.name.lower(): int(count[one]) for one in Reason if one != Reason.NONE and count[one]}


def _reason(joints: Keypoints3D, frames: slice, person: int, j: int) -> str:
    """Say why: the reason that most frames of the span carry, else their flag."""
    told = Reason(int(np.bincount(joints.reason[frames, person, j]).argmax()))
    if told in REASONS:
        return REASONS[told]
    flags = joints.flag[frames, person, j]
    most = Flag(int(np.bincount(flags.astype(np.int64), minlength=len(Flag)).argmax()))
    return {
        Flag.UNOBSERVED: "too few views see it",
        Flag.REJECTED: "the views contradict each other",
        Flag.WEAK: "bridged over a gap, or little evidence",
        Flag.OBSERVED: "seen, but the views place it badly",
    }[most]
