"""Who is who across the views: tracks of one view each become persons of the take, by geometry.

Two tracks are one person as far as their joints lie on each other's epipolar lines. Tracks are merged, nearest pair
first, while every pair of the group agrees and no view shows the person twice at a time. Who is wanted are those with
the most support (views and frames), not those with the biggest boxes: a bystander in one or two views has little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ..config import AssociationSettings
from ..errors import DegenerateError, InputError, ShapeError
from ..shapes import BoolArray, FloatArray
from ..types import Camera, CameraRig, Keypoints2D
from .projection import undistort_points

_MIN_SCORE = 0.3  # of a keypoint that has a say
_MIN_SHARED = 12  # keypoints seen by both tracks, below which nothing is known of the pair
_MIN_FRAMES = 3  # in which two views see a person
_WORST_SHARE = 0.5  # a pair is judged by its median error, so that swapped limbs and wild keypoints have no say


@dataclass(frozen=True, eq=False)
class _Track:
    """One track of one view."""

    view: int
    slot: int
    rays: FloatArray  # (T, J, 2) normalised coordinates, NaN where the keypoint has no say
    present: BoolArray  # (T,)


def choose_people(
    rig: CameraRig,
    views: Sequence[Keypoints2D],
    persons: int,
    settings: AssociationSettings,
) -> tuple[Keypoints2D, ...]:
    """Recognise the same people in all views and choose those who are solved.

    Convention:
        the result has the same P persons in every view, best supported first; a person whom a view does not
        see is NaN there. ``persons`` = 0 means everyone whom at least two views see; fewer than asked come
        back where fewer are there.

    Args:
        rig: V cameras in view order.
        views: V views on common times and joints; slots are tracks.
        persons: how many people are wanted.
        settings: the stage's.

    Returns:
        V views with P persons.

    Raises:
        ShapeError: views differ in times or joints.
        DegenerateError: nobody is seen by two views; the message says what each view shows.
    """
    _check_common(rig, views)
    tracks = _tracks(rig, views)
    errors = _pair_errors(rig, tracks)
    groups = _merged(tracks, errors, settings.max_ray_error_px)
    groups.sort(key=lambda group: (-_support([tracks[i] for i in group]), _mean_error(group, errors)))
    people = [[tracks[i] for i in group] for group in groups]
    chosen = [group for group in people if _support(group) >= min(_MIN_FRAMES, len(views[0].timestamps_s))]
    if not chosen:
        seen = ", ".join(
            f"{view.view}: {sum(track.view == number for track in tracks)} tracks" for number, view in enumerate(views)
        )
        raise DegenerateError(
            f"no person is seen by two views at once within {settings.max_ray_error_px:g} px ({seen}); "
            "check that the calibration belongs to these videos, their offset_s, and max_ray_error_px"
        )
    chosen = chosen[:persons] if persons else chosen
    return tuple(_gathered(view, number, chosen) for number, view in enumerate(views))


def _check_common(rig: CameraRig, views: Sequence[Keypoints2D]) -> None:
    if len(rig.cameras) != len(views):
        raise ShapeError(f"{len(views)} views do not fit {len(rig.cameras)} cameras")
    if len(views) < 2:
        raise InputError("a solve needs at least two views")
    first = views[0]
    for view in views[1:]:
        if view.joint_names != first.joint_names or not np.array_equal(view.timestamps_s, first.timestamps_s):
            raise ShapeError(f"view {view.view!r} differs from view {first.view!r} in its joints or times")


def _tracks(rig: CameraRig, views: Sequence[Keypoints2D]) -> list[_Track]:
    tracks = []
    for number, (camera, view) in enumerate(zip(rig.cameras, views, strict=True)):
        counted = view.observed & (view.score >= _MIN_SCORE)
        rays = undistort_points(camera.intrinsics, np.where(counted[..., None], view.xy, np.nan))
        for slot in range(view.xy.shape[1]):
            present = view.observed[:, slot].any(axis=-1)
            tracks.append(_Track(number, slot, rays[:, slot], present))
    return tracks


def _pair_errors(rig: CameraRig, tracks: Sequence[_Track]) -> FloatArray:
    """(N, N) median distance of the tracks' joints from each other's epipolar lines, px; NaN where unknown."""
    errors = np.full((len(tracks), len(tracks)), np.nan)
    for i, j in combinations(range(len(tracks)), 2):  # a handful of tracks
        a, b = tracks[i], tracks[j]
        if a.view == b.view:
            continue
        distance = _epipolar_distance(rig.cameras[a.view], rig.cameras[b.view], a.rays, b.rays)
        if np.isfinite(distance).sum() >= _MIN_SHARED:
            errors[i, j] = errors[j, i] = np.nanquantile(distance, _WORST_SHARE)
    return errors


def _epipolar_distance(first: Camera, second: Camera, x: FloatArray, y: FloatArray) -> FloatArray:
    """(...) larger of the two distances of normalised points from each other's epipolar lines, px.

    ``yᵀ E x = 0`` with ``E = [t]× R`` of second from first (Hartley & Zisserman 2004, equation 9.12).
    """
    R = second.R @ first.R.T
    t = second.t - R @ first.t
    E = np.cross(np.eye(3), t) @ R
    x1 = np.concatenate([x, np.ones_like(x[..., :1])], axis=-1)
    y1 = np.concatenate([y, np.ones_like(y[..., :1])], axis=-1)
    line_y, line_x = x1 @ E.T, y1 @ E
    product = np.abs((y1 * line_y).sum(axis=-1))
    in_second = product / np.linalg.norm(line_y[..., :2], axis=-1) * _focal(second)
    in_first = product / np.linalg.norm(line_x[..., :2], axis=-1) * _focal(first)
    return np.maximum(in_first, in_second)


def _focal(camera: Camera) -> float:
    return float(np.sqrt(camera.intrinsics.K[0, 0] * camera.intrinsics.K[1, 1]))


def _merged(tracks: Sequence[_Track], errors: FloatArray, worst_px: float) -> list[list[int]]:
    """Group tracks into persons, nearest pair first; groups hold numbers of tracks."""
    group_of = list(range(len(tracks)))
    members = {number: [number] for number in group_of}
    pairs = [(errors[i, j], i, j) for i, j in combinations(range(len(tracks)), 2) if errors[i, j] <= worst_px]
    for _, i, j in sorted(pairs):
        a, b = group_of[i], group_of[j]
        if a == b or not _compatible(members[a], members[b], tracks, errors, worst_px):
            continue
        members[a] += members.pop(b)
        for number in members[a]:
            group_of[number] = a
    return list(members.values())


def _mean_error(group: Sequence[int], errors: FloatArray) -> float:
    """Mean of the known errors between a group's tracks, px; it decides between equally supported groups."""
    known = [errors[i, j] for i, j in combinations(group, 2) if np.isfinite(errors[i, j])]
    return float(np.mean(known)) if known else np.inf


def _compatible(
    first: Sequence[int], second: Sequence[int], tracks: Sequence[_Track], errors: FloatArray, worst_px: float
) -> bool:
    """Whether all pairs of two groups agree: by geometry, and never two tracks of a view at a time."""
    for i in first:
        for j in second:
            if errors[i, j] > worst_px:
                return False
            if tracks[i].view == tracks[j].view and (tracks[i].present & tracks[j].present).any():
                return False
    return True


def _support(group: Sequence[_Track]) -> float:
    """Views beyond the first that see the person, summed over frames."""
    views = {track.view for track in group}
    seen = sum(np.any([track.present for track in group if track.view == view], axis=0).astype(int) for view in views)
    return float(np.maximum(np.asarray(seen) - 1, 0).sum())


def _gathered(view: Keypoints2D, number: int, people: Sequence[Sequence[_Track]]) -> Keypoints2D:
    """Keypoints of the chosen people in one view."""
    shape = (len(view.timestamps_s), len(people), len(view.joint_names))
    xy, covariance, score = np.full((*shape, 2), np.nan), np.full((*shape, 2, 2), np.nan), np.zeros(shape)
    for person, group in enumerate(people):
        for track in group:
            if track.view == number:
                frames = track.present
                xy[frames, person] = view.xy[frames, track.slot]
                covariance[frames, person] = view.covariance[frames, track.slot]
                score[frames, person] = view.score[frames, track.slot]
    return Keypoints2D(view.view, view.joint_names, view.timestamps_s, xy, covariance, score)
