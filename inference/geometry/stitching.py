"""Passages of people through space joined where one goes on where another stopped."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, takewhile

import numpy as np

from ..shapes import BoolArray, FloatArray

_LONGEST_S = 1.5  # between the end of one passage and the beginning of the next
_NEAR_M, _SPREAD_M_S = 0.4, 0.8  # how far apart they may be, and how fast that grows with the time between
_FASTEST_M_S = 3.0
_SHORTEST_S = 0.2  # that shows a velocity
_NEAREST_FRAMES = 9  # whose median says where the joints are: a tracker may change over within a piece
_FEWEST_JOINTS = 3


@dataclass(frozen=True, eq=False)
class End:
    """Where a passage begins or ends."""

    time_s: float
    joints: FloatArray  # (J, 3) m, NaN where unknown
    velocity: FloatArray  # (3,) m/s of the body


@dataclass(frozen=True, eq=False)
class Passage:
    """One person's way while two views saw them."""

    begin: End
    end: End


def end_of(
    times_s: FloatArray,  # (n,)
    joints: FloatArray,  # (n, J, 3) m, NaN where unknown
    last: bool,
) -> End | None:
    """Describe the body at the first or last of some frames; None where nothing is known.

    The velocity is the median of the joints' own; frames that span less than 0.2 s do not show one.
    """
    known = np.isfinite(joints).all(axis=-1)
    if not known.any():
        return None
    at = float(times_s[-1] if last else times_s[0])
    velocity = np.zeros(3)
    span = float(times_s[-1] - times_s[0])
    if span >= _SHORTEST_S:
        velocity = _median(_slopes(times_s, joints, known))
        velocity = velocity * min(1.0, _FASTEST_M_S / max(float(np.linalg.norm(velocity)), 1e-9))
    near = np.argsort(np.abs(times_s - at), kind="stable")[:_NEAREST_FRAMES]
    carried = joints[near] + (at - times_s[near])[:, None, None] * velocity
    body = np.full(joints.shape[1:], np.nan)
    seen = known[near].any(axis=0)
    if not seen.any():
        return None
    body[seen] = np.nanmedian(carried[:, seen], axis=0)
    return End(at, body, velocity)


def _slopes(times_s: FloatArray, joints: FloatArray, known: BoolArray) -> FloatArray:
    """(J, 3) slope of each joint's path, NaN where it was seen in fewer than three frames."""
    count = np.maximum(known.sum(axis=0), 1)
    time = np.where(known, times_s[:, None], 0.0)
    centred = np.where(known, times_s[:, None] - time.sum(axis=0) / count, 0.0)
    spread = (centred**2).sum(axis=0)
    slope = (centred[..., None] * np.where(known[..., None], joints, 0.0)).sum(axis=0)
    enough = (known.sum(axis=0) > 2) & (spread > 0)
    return np.where(enough[:, None], slope / np.where(enough, spread, 1.0)[:, None], np.nan)


def _median(vectors: FloatArray) -> FloatArray:
    known = np.isfinite(vectors).all(axis=-1)
    return np.median(vectors[known], axis=0) if known.any() else np.zeros(3)


def successions(passages: Sequence[Passage | None]) -> list[tuple[int, int]]:
    """Pairs (earlier, later) of passages of which the later goes on where the earlier stopped, surest first.

    Convention:
        each is carried to the other's time at its own velocity and compared joint by joint; at most 1.5 s lie between.
    """
    found = []
    begins = sorted((passage.begin.time_s, j) for j, passage in enumerate(passages) if passage is not None)
    for i, earlier in enumerate(passages):
        if earlier is None:
            continue
        first = bisect_left(begins, (earlier.end.time_s, -1))
        for time_s, j in takewhile(
            lambda item, e=earlier: item[0] <= e.end.time_s + _LONGEST_S, islice(begins, first, None)
        ):
            later = passages[j]
            if i == j or later is None:
                continue
            waited = time_s - earlier.end.time_s
            between = later.begin.joints - earlier.end.joints
            on_the_way = [between - waited * end.velocity for end in (earlier.end, later.begin)]
            apart = np.linalg.norm(np.stack(on_the_way), axis=-1).mean(axis=0)
            apart = apart[np.isfinite(apart)]
            if len(apart) >= _FEWEST_JOINTS and np.median(apart) <= _NEAR_M + _SPREAD_M_S * waited:
                found.append((float(np.median(apart)) + waited * _SPREAD_M_S, i, j))
    return [(i, j) for _, i, j in sorted(found)]
