"""Which track of each view is the same person, before any camera is known."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product

import numpy as np

from ..errors import DegenerateError
from ..types import Intrinsics, Keypoints2D
from .chain import typical_sigma
from .observations import gather_observations
from .relative_pose import relative_pose

_MOMENTS = 60  # that a pair of tracks is judged by
_WORTH_A_TRY = 0.3  # of the support of a view's best track
_MOST_COMBINATIONS = 20_000


def main_tracks(lenses: Sequence[Intrinsics], views: Sequence[Keypoints2D]) -> tuple[Keypoints2D, ...]:
    """Choose one track per view so that together they move as one body seen by cameras that stand still.

    Where some view has several people, the few best supported tracks of every view are tried against each other: the
    combination wins whose pairs have the most joints on common epipolar geometry.

    Args:
        lenses: of the views.
        views: tracks (slots) on common times and joints.

    Returns:
        The views with one slot each; a view that shows nobody has one empty slot.

    Raises:
        DegenerateError: fewer than two views show somebody.
    """
    candidates = [_candidates(view) for view in views]
    if sum(bool(slots) for slots in candidates) < 2:
        raise DegenerateError("fewer than two views show a person, so no camera can be solved from them")
    while np.prod([max(len(slots), 1) for slots in candidates]) > _MOST_COMBINATIONS:
        longest = max(range(len(candidates)), key=lambda v: len(candidates[v]))
        candidates[longest] = candidates[longest][:-1]
    chosen = [slots[0] if slots else 0 for slots in candidates]
    if any(len(slots) > 1 for slots in candidates):
        support = _pair_support(lenses, views, candidates)
        tried = product(*[slots or [0] for slots in candidates])
        chosen = max(tried, key=lambda slots: _total_support(slots, support))
    return tuple(_slot(view, slot) for view, slot in zip(views, chosen, strict=True))


def _candidates(view: Keypoints2D) -> list[int]:
    support = view.score.sum(axis=(0, 2))
    if not len(support) or support.max() <= 0:
        return []
    order = np.argsort(-support)
    return [int(slot) for slot in order[:3] if support[slot] >= _WORTH_A_TRY * support.max()]


def _total_support(slots: Sequence[int], support: dict[tuple[int, int, int, int], float]) -> float:
    return sum(support.get((a, b, slots[a], slots[b]), 0.0) for a, b in combinations(range(len(slots)), 2))


def _pair_support(
    lenses: Sequence[Intrinsics], views: Sequence[Keypoints2D], candidates: Sequence[Sequence[int]]
) -> dict[tuple[int, int, int, int], float]:
    """Joints of two tracks on one epipolar geometry, squared share times count, by (view, view, slot, slot)."""
    support = {}
    for a, b in combinations(range(len(views)), 2):
        for i, j in product(candidates[a], candidates[b]):  # at most nine pairs of tracks
            pair = gather_observations([lenses[a], lenses[b]], [_slot(views[a], i), _slot(views[b], j)], _MOMENTS)
            both = pair.seen[0] & pair.seen[1]
            if both.sum() < 60:
                continue
            pose = relative_pose(pair.rays[0][both], pair.rays[1][both], typical_sigma(pair, 0, 1))
            if pose is not None:
                support[a, b, i, j] = float(pose.inliers.mean() ** 2 * len(pose.inliers)) * pose.front_share
    return support


def _slot(view: Keypoints2D, slot: int) -> Keypoints2D:
    if view.xy.shape[1] == 0:
        shape = (len(view.timestamps_s), 1, len(view.joint_names))
        empty = np.full((*shape, 2), np.nan), np.full((*shape, 2, 2), np.nan), np.zeros(shape)
        return Keypoints2D(view.view, view.joint_names, view.timestamps_s, *empty)
    pick = slice(slot, slot + 1)
    return Keypoints2D(
        view.view,
        view.joint_names,
        view.timestamps_s,
        view.xy[:, pick],
        view.covariance[:, pick],
        view.score[:, pick],
    )
