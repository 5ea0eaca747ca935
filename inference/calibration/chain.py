"""All cameras in one frame: relative poses of pairs, joined through the joints that the pairs share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

import numpy as np

from ..errors import DegenerateError
from ..shapes import FloatArray, IntArray
from .degeneracy import check_pair_motion
from .observations import Observations
from .relative_pose import RelativePose, relative_pose, two_view_depths

Pair = tuple[int, int]
_FEWEST_SHARED = 60  # observations of joints by both views, below which a pair says nothing
_FEWEST_INLIERS = 0.35  # share of them that must agree with one pose
_FEWEST_IN_FRONT = 0.9
_SHALLOW = 0.05  # median sine of the angle between rays below which a pair cannot give depth
_FEWEST_DEPTHS = 12


def paired_poses(observations: Observations) -> dict[Pair, RelativePose]:
    """Solve every pair of views that shares enough joints.

    Convention:
        the pose of pair (a, b), a < b, is that of camera b from camera a, baseline 1.

    Raises:
        DegenerateError: no pair can be solved; the message says why and what to do.
    """
    found = {
        pair: pose
        for pair, pose in _explained_pairs(observations)
        if pose.inliers.mean() >= _FEWEST_INLIERS and pose.front_share >= _FEWEST_IN_FRONT
    }
    if not found:
        names, pairs = observations.views, combinations(range(len(observations.views)), 2)
        shared = {f"{names[a]}-{names[b]}": int((observations.seen[a] & observations.seen[b]).sum()) for a, b in pairs}
        most = max(shared, key=lambda key: shared[key])
        if shared[most] < _FEWEST_SHARED:
            raise DegenerateError(
                f"no two views share enough joints to solve cameras from the person (best: {most} with {shared[most]} "
                f"of {_FEWEST_SHARED}); let the person be seen whole by two cameras at once, for a few seconds"
            )
        check_pair_motion(observations)
        raise DegenerateError(
            "no camera pose explains how the person moves in any two views; check that the views show the same "
            "person at the same time (offset_s) and that the lenses belong to these videos"
        )
    return found


def noise_over_stated(observations: Observations) -> float:
    """Size of errors over what the keypoints state, in the pair of views that one pose explains best.

    It is told by the median distance from epipolar lines, which needs no threshold; standing offsets count as errors,
    so rightly stated keypoints give 1 to 1.8. Other pairs have no say: their views may contradict each other.

    Returns:
        The ratio; 0 where no pair of views has any pose.
    """
    return min((pose.spread for _, pose in _explained_pairs(observations)), default=0.0)


def _explained_pairs(observations: Observations) -> Iterator[tuple[Pair, RelativePose]]:
    """Poses of the pairs that share enough joints, however few of these they explain."""
    for a, b in combinations(range(len(observations.views)), 2):  # pairs of views
        both = observations.seen[a] & observations.seen[b]
        if both.sum() >= _FEWEST_SHARED:
            sigma = typical_sigma(observations, a, b)
            pose = relative_pose(observations.rays[a][both], observations.rays[b][both], sigma)
            if pose is not None:
                yield (a, b), pose


def typical_sigma(observations: Observations, a: int, b: int) -> float:
    """Typical standard error of a coordinate in two views, normalised."""
    both = observations.seen[a] & observations.seen[b]
    return float(np.mean([1 / np.median(observations.weight[v][both]) / observations.focal_px[v] for v in (a, b)]))


def chained_poses(
    observations: Observations, pairs: Mapping[Pair, RelativePose], root: Pair
) -> tuple[FloatArray, FloatArray]:
    """Bring all cameras into the frame of the root pair's first camera, baseline of that pair = 1.

    Every further camera hangs on the joined camera that shares the most joints with it; its baseline follows from
    the depths of those joints (their median ratio).

    Returns:
        (V, 3, 3) and (V, 3), camera from world.

    Raises:
        DegenerateError: a view cannot be joined; the message names it.
    """
    count = len(observations.views)
    R, t = np.full((count, 3, 3), np.nan), np.full((count, 3), np.nan)
    a, b = root
    R[a], t[a] = np.eye(3), 0.0
    R[b], t[b] = pairs[root].R, pairs[root].t
    joined = [a, b]
    while len(joined) < count:
        edges = [
            (_strength(pairs[pair]), v, w)
            for v in joined
            for w in range(count)
            if w not in joined and (pair := (min(v, w), max(v, w))) in pairs
        ]
        if not edges:
            missing = ", ".join(observations.views[w] for w in range(count) if w not in joined)
            raise DegenerateError(
                f"view {missing} cannot be joined to the others from the person alone: it shares too few joints with "
                "any other view, or contradicts them; check its offset_s and lens, or leave it out"
            )
        _, v, w = max(edges)
        R[w], t[w] = _hung(observations, (R, t), joined, (v, w), pairs)
        joined.append(w)
    return R, t


def roots(pairs: Mapping[Pair, RelativePose]) -> list[Pair]:
    """Pairs to start from, most promising first."""
    return sorted(pairs, key=lambda pair: -_strength(pairs[pair]))


def _strength(pose: RelativePose) -> float:
    return float(pose.inliers.sum()) * min(pose.parallax, 0.7)


def _hung(
    observations: Observations,
    poses: tuple[FloatArray, FloatArray],
    joined: list[int],
    edge: Pair,
    pairs: Mapping[Pair, RelativePose],
) -> tuple[FloatArray, FloatArray]:
    """Pose of camera w hung on camera v; the baseline makes depths agree with those that are known."""
    R, t = poses
    v, w = edge
    relative = pairs[min(v, w), max(v, w)]
    turn, move = (relative.R, relative.t) if v < w else (relative.R.T, -relative.R.T @ relative.t)
    ratios = []
    for u in joined:
        if u == v:
            continue
        three = np.argwhere(observations.seen[u] & observations.seen[v] & observations.seen[w])
        if len(three) < _FEWEST_DEPTHS:
            continue
        known = _depths_in(observations, (R, t), (v, u), three)
        fresh = two_view_depths(turn, move, _rays(observations, v, three), _rays(observations, w, three))
        good = (known > 0) & (fresh.first > 0) & (fresh.sine > _SHALLOW)
        ratios.append(known[good] / fresh.first[good])
    every = np.concatenate(ratios) if ratios else np.zeros(0)
    if len(every) < _FEWEST_DEPTHS:
        raise DegenerateError(
            f"view {observations.views[w]}: too few joints are seen by three views at once to join it to the others; "
            "let the person stand where all cameras see them"
        )
    return turn @ R[v], turn @ t[v] + np.median(every) * move


def _depths_in(
    observations: Observations, poses: tuple[FloatArray, FloatArray], pair: Pair, at: IntArray
) -> FloatArray:
    R, t = poses
    v, u = pair
    turn = R[u] @ R[v].T
    depth = two_view_depths(turn, t[u] - turn @ t[v], _rays(observations, v, at), _rays(observations, u, at))
    return np.where(depth.sine > _SHALLOW, depth.first, np.nan)


def _rays(observations: Observations, view: int, at: IntArray) -> FloatArray:
    return observations.rays[view][at[:, 0], at[:, 1]]
