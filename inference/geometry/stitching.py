"""Passages of people through space joined where one goes on where another stopped, or where somebody comes back."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from ..shapes import BoolArray, FloatArray

_LONGEST_S = 1.5  # between the end of one passage and the beginning of the next
_NEAR_M, _SPREAD_M_S = 0.4, 0.8  # how far apart they may be, and how fast that grows with the time between
_FASTEST_M_S = 3.0
_SHORTEST_S = 0.2  # that shows a velocity
_NEAREST_FRAMES = 9  # whose median says where the joints are: a tracker may change over within a piece
_FEWEST_JOINTS = 3
_FEWEST_LENGTHS = 5  # frames
_ERROR_MEMORY = 5  # frames that one error of a detector lasts
_SAME_BODY, _PEOPLE = 0.03, 0.05  # relative standard deviation of a limb's length: between two looks, between people
_SURE_NATS = 4.0  # that say who came back
_LASTING_S = 0.5  # of passages between which somebody may have been away
_TELLING_S = 1.0  # of a passage from which limbs are fully believed
_TRACK_NATS = 1.5  # for each view in which one track goes on: trackers change over where people meet
_LIKENESS = 12.0  # nats at most that limbs have to say against or for a step, of passages that last
_WAIT_NATS_S = 10.0  # nobody vanishes without a reason
_SIGMAS = 4.0  # how far out the farthest step lies
_ALONE = 24.0  # nats: cost of a passage without one that follows
_LIMBS = (
    *(
        (f"{side}_{a}", f"{side}_{b}")
        for side in ("left", "right")
        for a, b in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"), ("shoulder", "hip"))
    ),
    ("left_shoulder", "right_shoulder"),
    ("left_hip", "right_hip"),
)


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
    lengths: FloatArray  # (B, 2) as `limb_lengths` gives them
    first_tracks: frozenset[tuple[int, int]] = frozenset()  # (view, track) that show the person at the beginning
    last_tracks: frozenset[tuple[int, int]] = frozenset()

    @property
    def duration_s(self) -> float:
        """From the first to the last frame that two views see."""
        return self.end.time_s - self.begin.time_s


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


def limb_lengths(
    names: Sequence[str],
    joints: FloatArray,  # (n, J, 3) m, NaN where unknown
) -> FloatArray:
    """(B, 2) natural logarithm of each limb's length (lengths in m) and its standard error; NaN where not measured."""
    result = np.full((len(_LIMBS), 2), np.nan)
    for row, (first, second) in enumerate(_LIMBS):
        if first not in names or second not in names:
            continue
        length = np.linalg.norm(joints[:, names.index(first)] - joints[:, names.index(second)], axis=-1)
        length = np.log(length[np.isfinite(length) & (length > 0.01)])
        if len(length) >= _FEWEST_LENGTHS:
            middle = np.median(length)
            spread = 1.4826 * np.median(np.abs(length - middle))
            result[row] = middle, 1.25 * spread / np.sqrt(len(length) / _ERROR_MEMORY)
    return result


def same_body(
    first: FloatArray,  # (B, 2) as `limb_lengths` gives them
    second: FloatArray,  # (B, 2)
) -> float:
    """Log likelihood ratio, nats, that two sets of limb lengths are one body's rather than two people's.

    Between people a limb's length differs by 5 % (one standard deviation), between two looks at one body by 3 %
    beyond the measured error, as detectors place joints differently from other sides. One limb alone says at most
    2 nats against.
    """
    apart = first[:, 0] - second[:, 0]
    known = np.isfinite(apart)
    same = first[known, 1] ** 2 + second[known, 1] ** 2 + _SAME_BODY**2
    other = same + 2 * _PEOPLE**2
    ratio = 0.5 * np.log(other / same) - 0.5 * apart[known] ** 2 * (1 / same - 1 / other)
    return float(np.maximum(ratio, -2.0).sum())


def successions(passages: Sequence[Passage | None], overlap_s: float = 0.0) -> list[tuple[int, int]]:
    """Pairs (earlier, later) of passages of which the later goes on where the earlier stopped.

    The pairs of least total cost in which every passage has at most one before and one after it (an assignment).
    A pair's cost is the distance at which the later begins from where the earlier leads, against how well their
    limbs agree and in how many views one track goes on.

    Convention:
        each is carried to the other's time at its own velocity and compared joint by joint; at most 1.5 s lie between.
        With ``overlap_s`` the later may begin so long before the earlier ends, if both last twice as long.
        Surest first.
    """
    pairs = [(i, j, passages[i], passages[j]) for i, j in _neighbours(passages, overlap_s)]
    found = [(i, j, cost) for i, j, a, b in pairs if a and b and (cost := _step_cost(a, b)) is not None]
    return _cheapest(found, len(passages))


def returns(passages: Sequence[Passage | None]) -> list[tuple[int, int]]:
    """Pairs (earlier, later) of passages of one body that was away, by its limb lengths alone; surest first.

    Convention:
        both must have lasted half a second; any time may lie between them. Lengths must tell (`same_body`): a body
        of like size is another person until then.
    """
    found = []
    lasting = [(i, p) for i, p in enumerate(passages) if p is not None and p.duration_s >= _LASTING_S]
    for i, earlier in lasting:
        for j, later in lasting:
            if later.begin.time_s > earlier.end.time_s:
                ratio = same_body(earlier.lengths, later.lengths)
                if ratio > _SURE_NATS:
                    found.append((i, j, -ratio))
    return _cheapest(found, len(passages))


def _neighbours(passages: Sequence[Passage | None], overlap_s: float) -> Iterator[tuple[int, int]]:
    """Pairs of passages of which the second begins within 1.5 s after the first ends."""
    begins = sorted((passage.begin.time_s, j) for j, passage in enumerate(passages) if passage is not None)
    for i, earlier in enumerate(passages):
        if earlier is None:
            continue
        first = bisect_left(begins, (earlier.end.time_s - overlap_s, -1))
        latest = earlier.end.time_s + _LONGEST_S
        for time_s, j in takewhile(lambda item, latest=latest: item[0] <= latest, islice(begins, first, None)):
            later = passages[j]
            if later is not None and min(later.duration_s, earlier.duration_s) >= 2 * (earlier.end.time_s - time_s):
                if j != i:
                    yield i, j


def _step_cost(earlier: Passage, later: Passage) -> float | None:
    """Nats against ``later`` going on where ``earlier`` stopped; None where it is too far away."""
    waited = later.begin.time_s - earlier.end.time_s
    between = later.begin.joints - earlier.end.joints
    on_the_way = [between - waited * end.velocity for end in (earlier.end, later.begin)]
    apart = np.linalg.norm(np.stack(on_the_way), axis=-1).mean(axis=0)
    apart = apart[np.isfinite(apart)]
    farthest = _NEAR_M + _SPREAD_M_S * abs(waited)
    if len(apart) < _FEWEST_JOINTS or np.median(apart) > farthest:
        return None
    most = _LIKENESS * min(earlier.duration_s, later.duration_s, _TELLING_S) / _TELLING_S
    likeness = float(np.clip(same_body(earlier.lengths, later.lengths), -most, most))
    tracks = _TRACK_NATS * len(earlier.last_tracks & later.first_tracks)
    return 0.5 * (_SIGMAS * float(np.median(apart)) / farthest) ** 2 - likeness - tracks + _WAIT_NATS_S * abs(waited)


def _cheapest(found: Sequence[tuple[int, int, float]], count: int) -> list[tuple[int, int]]:
    """Choose pairs of least total cost, each number at most once on either side; leaving one alone costs `_ALONE`."""
    if not found:
        return []
    rows, columns, costs = (np.array(part) for part in zip(*found, strict=True))
    lift = 1.0 - costs.min()  # every row takes exactly one column, so a constant changes nothing; zeros would vanish
    alone = np.arange(count)
    graph = coo_array(
        (np.r_[costs + lift, np.full(count, _ALONE + lift)], (np.r_[rows, alone], np.r_[columns, count + alone])),
        shape=(count, 2 * count),
    )
    first, second = min_weight_full_bipartite_matching(graph.tocsr())
    cost = {(int(i), int(j)): c for i, j, c in found}
    return sorted(((int(i), int(j)) for i, j in zip(first, second, strict=True) if j < count), key=lambda p: cost[p])
