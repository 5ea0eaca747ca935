"""Planted feet held in place by two-bone inverse kinematics, within a budget that the user sets.

A planted heel or toe is drawn to one place per span. The ankle goes where its foot bones reach those places, the knee
follows in the plane in which the leg is bent, and bones keep their lengths. Where that would move a joint farther than
the budget, the foot is drawn only as far as the budget allows, and the span is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..geometry import rotation
from ..shapes import BoolArray, FloatArray, check_shapes
from ..types import Skeleton, SkeletonMotion
from .key_reduction import whitening_of
from .reposing import joints_of, with_joints

_SURE = 0.5  # probability above which a foot stands
_SHORTEST_S = 0.1  # shorter contacts are noise
_STRAIGHT = 0.9999  # share of a leg's length that it may be stretched to
_ROUNDS = 12  # of placing the ankle
_HALVINGS = 16


@dataclass(frozen=True)
class PlantedSpan:
    """Frames in which a joint of a foot stands still."""

    joint: str
    start: int  # index of the first frame
    stop: int  # index of the frame after the last


@dataclass(frozen=True)
class Budget:
    """How far a joint may be moved: both limits hold where both are given."""

    sigmas: float | None = None  # in standard deviations of its own covariance
    metres: float | None = None


@dataclass(frozen=True)
class HeldSpan:
    """What became of a span."""

    span: PlantedSpan
    slide_before_m: float  # farthest that the joint was from the place it is held at
    slide_after_m: float
    within_budget: bool  # the budget allowed to hold it in every frame


def planted_spans(
    contact: FloatArray,  # (T, C) probability, NaN where unknown
    names: Sequence[str],
    timestamps_s: FloatArray,  # (T,)
) -> list[PlantedSpan]:
    """Find the spans in which feet stand: probability above one half, for at least 0.1 s."""
    check_shapes(contact=(contact, f"T {len(names)}"), timestamps_s=(timestamps_s, f"{len(contact)}"))
    found = []
    for column, name in enumerate(names):
        for start, stop in runs(np.nan_to_num(contact[:, column]) > _SURE):
            if timestamps_s[stop - 1] - timestamps_s[start] >= _SHORTEST_S - 1e-9:
                found.append(PlantedSpan(name, start, stop))
    return found


def runs(flags: BoolArray) -> list[tuple[int, int]]:
    """Return (first, one after the last) of every run of True in (T,) flags."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(flags, np.int8), [0]])))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def lock_feet(
    motion: SkeletonMotion,
    person: int,
    covariance: FloatArray,  # (T, J, 3, 3) m², of the skeleton's joints; NaN where unknown
    spans: Sequence[PlantedSpan],
    budget: Budget,
    blend_s: float = 0.1,
) -> tuple[SkeletonMotion, list[HeldSpan]]:
    """Hold the planted joints of one person's feet in place.

    Convention:
        the place is the mean of the joint over its span, sure frames counting more. Before and after a span the pull
        fades over ``blend_s``, at most half the way to the next span. No joint moves farther than the budget; a joint
        without covariance counts as known to 5 cm.

    Args:
        motion: what is changed.
        person: whose feet.
        covariance: of the joints in every frame.
        spans: which joint stands when, in any order.
        budget: how far a joint may move.
        blend_s: how long a foot takes to come into place.

    Returns:
        The motion with this person's legs changed, and one entry per span.

    Raises:
        InputError: a span is outside of the take, its joint is on no leg of the skeleton, or the budget is not
            positive; the message names it.
    """
    count = len(motion.timestamps_s)
    check_shapes(covariance=(covariance, f"{count} {len(motion.skeleton.joint_names)} 3 3"))
    _check(motion, spans, budget)
    step = float(np.median(np.diff(motion.timestamps_s))) if count > 1 else 1.0
    joints = joints_of(motion, person)
    allowed = _allowed(covariance, budget)
    moved, held = joints.copy(), {}
    for leg in {_leg_of(motion.skeleton, span.joint) for span in spans}:
        own = [span for span in spans if _leg_of(motion.skeleton, span.joint) == leg]
        pull = _pull(motion.skeleton, joints, covariance, own, max(blend_s / step, 0.0))
        forward = rotation.rotate(motion.root_rotation[:, person], np.array([0.0, 0.0, 1.0]))
        posing = _Posing(motion.skeleton, joints, leg, pull, forward, allowed)
        share = posing.affordable()
        moved = moved + posing.posed(share) - joints
        for span in own:
            held[span] = _told(motion.skeleton, span, joints, posing, share)
    return with_joints(motion, person, moved), [held[span] for span in spans]


@dataclass(frozen=True, eq=False)
class _Pull:
    """Where the joints of one foot are drawn to."""

    place: dict[int, FloatArray]  # joint -> (T, 3) m
    weight: dict[int, FloatArray]  # joint -> (T,) 0-1


@dataclass(frozen=True, eq=False)
class _Posing:
    """One leg: hip, knee, ankle, and what hangs on the ankle."""

    skeleton: Skeleton
    joints: FloatArray  # (T, J, 3) m, before
    leg: tuple[int, int, int]
    pull: _Pull
    forward: FloatArray  # (T, 3) where a straight leg bends
    allowed: FloatArray  # (T, J, 3, 3); |W e| of 1 is allowed

    def affordable(self) -> FloatArray:
        """(T,) share of the pull that the budget allows in each frame."""
        share = np.where(self._use(np.ones(len(self.joints))) <= 1, 1.0, 0.0)
        for halving in range(1, _HALVINGS + 1):
            more = np.minimum(share + 0.5**halving, 1.0)
            share = np.where(self._use(more) <= 1, more, share)
        return share

    def _use(self, share: FloatArray) -> FloatArray:
        """(T,) largest share of the budget that a joint uses up."""
        moved = self.posed(share) - self.joints
        return np.linalg.norm(np.einsum("tnij,tnj->tni", self.allowed, moved), axis=-1).max(axis=1)

    def posed(self, share: FloatArray) -> FloatArray:
        """(T, J, 3) with the leg drawn to its places with a share (T,) of the pull."""
        hip, knee, ankle = self.leg
        weight = {joint: share * own for joint, own in self.pull.weight.items()}
        target = {
            joint: self.joints[:, joint] + weight[joint][:, None] * (self.pull.place[joint] - self.joints[:, joint])
            for joint in weight
        }
        reached = self._ankle(target, weight)
        result = self.joints.copy()
        result[:, ankle] = reached
        result[:, knee] = self._knee(reached)
        shift = reached - self.joints[:, ankle]
        for joint in range(ankle + 1, len(self.skeleton.parents)):  # children stand after their parents
            parent = int(self.skeleton.parents[joint])
            if parent == ankle:
                aim = self.joints[:, joint] + shift
                if joint in target:
                    own = self.pull.weight[joint][:, None]
                    aim = aim + own * (target[joint] - aim)
                length = _norm(self.joints[:, joint] - self.joints[:, ankle])
                result[:, joint] = reached + length * _unit(aim - reached)
            elif self._hangs_on(parent, ankle):
                result[:, joint] = self.joints[:, joint] + result[:, parent] - self.joints[:, parent]
        return result

    def _hangs_on(self, joint: int, ankle: int) -> bool:
        while joint > ankle:
            joint = int(self.skeleton.parents[joint])
        return joint == ankle

    def _ankle(self, target: dict[int, FloatArray], weight: dict[int, FloatArray]) -> FloatArray:
        """(T, 3) place of the ankle at which its foot bones reach their targets, within reach of the leg."""
        hip, knee, ankle = self.leg
        start = self.joints[:, ankle]
        total = np.sum(list(weight.values()), axis=0)
        place = start
        reach = _norm(self.joints[:, knee] - self.joints[:, hip]), _norm(start - self.joints[:, knee])
        for _ in range(_ROUNDS):
            drawn = np.zeros_like(start)
            for joint, aim in target.items():
                length = _norm(self.joints[:, joint] - start)
                at = aim + length * _unit(place - aim) if joint != ankle else aim
                drawn = drawn + weight[joint][:, None] * at
            place = np.where(total[:, None] > 0, drawn / np.where(total > 0, total, 1.0)[:, None], start)
            away = place - self.joints[:, hip]
            distance = _norm(away)
            longest = np.maximum(_STRAIGHT * (reach[0] + reach[1]), _norm(start - self.joints[:, hip]))
            within = np.clip(distance, np.abs(reach[0] - reach[1]), longest)
            place = self.joints[:, hip] + away * within / np.maximum(distance, 1e-9)
        return np.where(total[:, None] > 0, place, start)

    def _knee(self, ankle: FloatArray) -> FloatArray:
        """(T, 3) place of the knee: in the plane of the leg's own bend, turned with the leg."""
        hip, knee, old_ankle = (self.joints[:, joint] for joint in self.leg)
        before, after = _unit(old_ankle - hip), _unit(ankle - hip)
        bend = (knee - hip) - ((knee - hip) * before).sum(axis=-1, keepdims=True) * before
        straight = self.forward - (self.forward * before).sum(axis=-1, keepdims=True) * before
        bend = np.where(_norm(bend) > 1e-4, bend, straight)
        side = _unit(rotation.rotate(rotation.shortest_arc(before, after), bend))
        side = _unit(side - (side * after).sum(axis=-1, keepdims=True) * after)
        thigh, shin, span = _norm(knee - hip), _norm(old_ankle - knee), np.maximum(_norm(ankle - hip), 1e-9)
        along = (thigh**2 + span**2 - shin**2) / (2 * span)
        return hip + along * after + np.sqrt(np.maximum(thigh**2 - along**2, 0.0)) * side


def _told(skeleton: Skeleton, span: PlantedSpan, joints: FloatArray, posing: _Posing, share: FloatArray) -> HeldSpan:
    joint, part = skeleton.joint_names.index(span.joint), slice(span.start, span.stop)
    place = posing.pull.place[joint][part]
    after = posing.posed(share)[part, joint]
    return HeldSpan(
        span,
        float(_norm(joints[part, joint] - place).max()),
        float(_norm(after - place).max()),
        bool((share[part] >= 1).all()),
    )


def _pull(
    skeleton: Skeleton, joints: FloatArray, covariance: FloatArray, spans: Sequence[PlantedSpan], blend: float
) -> _Pull:
    """Places and weights of one leg's joints; blends reach at most half the way to the next span of the joint."""
    place, weight = {}, {}
    frames = np.arange(len(joints))
    for joint in {skeleton.joint_names.index(span.joint) for span in spans}:
        own = sorted((s.start, s.stop) for s in spans if skeleton.joint_names.index(s.joint) == joint)
        middles = [(first[1] - 1 + second[0]) / 2 for first, second in zip(own[:-1], own[1:], strict=True)]
        place[joint], weight[joint] = joints[:, joint].copy(), np.zeros(len(joints))
        variance = np.trace(covariance[:, joint], axis1=-2, axis2=-1)
        trust = 1 / np.where(np.isfinite(variance), np.maximum(variance, 1e-6), 3 * 0.05**2)
        for index, (start, stop) in enumerate(own):
            low = middles[index - 1] if index else -np.inf
            high = middles[index] if index < len(middles) else np.inf
            before = np.clip(1 - (start - frames) / (min(blend, start - low) + 1e-9), 0, 1)
            after = np.clip(1 - (frames - stop + 1) / (min(blend, high - stop + 1) + 1e-9), 0, 1)
            share = np.minimum(before, after)
            mine = share > 0
            place[joint][mine] = np.average(joints[start:stop, joint], axis=0, weights=trust[start:stop])
            weight[joint][mine] = (share * share * (3 - 2 * share))[mine]
    return _Pull(place, weight)


def _allowed(covariance: FloatArray, budget: Budget) -> FloatArray:
    """(T, J, 3 or 6, 3) matrices W; a move e is within the budget where |W e| is at most 1 (both limits: surely)."""
    parts = []
    if budget.sigmas is not None:
        parts.append(whitening_of(covariance) / budget.sigmas)
    if budget.metres is not None:
        parts.append(np.broadcast_to(np.eye(3) / budget.metres, covariance.shape))
    return np.concatenate(parts, axis=-2)


def _leg_of(skeleton: Skeleton, joint: str) -> tuple[int, int, int]:
    """Hip, knee and ankle of the leg that a joint of a foot is on."""
    names, parents = skeleton.joint_names, skeleton.parents
    side = joint.split("_")[0]
    leg = tuple(f"{side}_{part}" for part in ("hip", "knee", "ankle"))
    if joint in names and set(leg) <= set(names):
        hip, knee, ankle = (names.index(part) for part in leg)
        at = names.index(joint)
        if parents[knee] == hip and parents[ankle] == knee and ankle in (at, parents[at]):
            return hip, knee, ankle
    raise InputError(f"{joint} cannot be locked: the skeleton has no leg of hip, knee and ankle that it hangs on")


def _check(motion: SkeletonMotion, spans: Sequence[PlantedSpan], budget: Budget) -> None:
    count = len(motion.timestamps_s)
    limits = [limit for limit in (budget.sigmas, budget.metres) if limit is not None]
    if not limits or not all(np.isfinite(limit) and limit > 0 for limit in limits):
        raise InputError("the budget of a foot lock must be more than 0, in sigmas or in metres")
    for span in spans:
        if not 0 <= span.start < span.stop <= count:
            raise InputError(f"{span.joint}: frames {span.start} to {span.stop} are not within the take's {count}")
    for joint in {span.joint for span in spans}:
        own = sorted((span.start, span.stop) for span in spans if span.joint == joint)
        if any(first[1] > second[0] for first, second in zip(own[:-1], own[1:], strict=True)):
            raise InputError(f"{joint}: two planted spans overlap; move or delete one of their markers")


def _norm(vectors: FloatArray) -> FloatArray:
    return np.linalg.norm(vectors, axis=-1, keepdims=True)


def _unit(vectors: FloatArray) -> FloatArray:
    return vectors / np.maximum(_norm(vectors), 1e-12)
