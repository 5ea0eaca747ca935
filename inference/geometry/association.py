"""Who is who across the views: pieces of tracks become persons of the take, by geometry and by continuity in space.

Tracks are cut where they may have changed to another person (`tracklets`). Two pieces are one person as far as their
joints lie on each other's epipolar lines: long pieces are merged, nearest pair first, while every pair of the group
agrees and no view shows the person twice at a time; short ones join the group that fits them best. Groups that follow
each other in time and place are one person (`stitching`). Who is wanted are those with the most support (views and
frames), not those with the biggest boxes: a bystander in one or two views has little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations, pairwise

import numpy as np

from ..config import AssociationSettings
from ..errors import DegenerateError, InputError, ShapeError
from ..shapes import FloatArray, IntArray
from ..types import CameraRig, Keypoints2D
from .epipolar import epipolar_distance
from .projection import undistort_points
from .stitching import Passage, end_of, limb_lengths, returns, successions
from .tracklets import Tracklet, cut_together, tracklets
from .triangulation import linear_triangulation

_MIN_SCORE = 0.3  # of a keypoint that has a say
_MIN_SHARED = 12  # keypoints seen by both pieces, below which nothing is known of the pair
_MIN_FRAMES, _LEAST_S = 3, 0.25  # in which two views see a person, the longer of the two
_LONG_S = 0.3  # pieces this long found groups, shorter ones join them
_FEW_FRAMES = 10.0  # shared frames below which an error is less trusted
_PIECE_S = 0.15  # all views are cut together at most this often while people meet
_END_FRAMES = 20  # that show where a passage begins or ends
_OVERLAP_S = 0.25  # for which one person may be two groups, each of some of the views
_ABOUT = 2  # frames
_STRAY = 0.1  # of the smaller group: longer pieces are no slips
_LENGTH_FRAMES = 60  # that show how long limbs are


@dataclass(frozen=True)
class _Link:
    """What two pieces of different views have in common."""

    error_px: float  # median epipolar distance
    frames: int

    @property
    def cost(self) -> float:
        return self.error_px * (1 + _FEW_FRAMES / self.frames)


@dataclass(eq=False)
class _Group:
    """Pieces that are one person."""

    members: list[int]
    present: set[int]  # view · T + frame


class _Grouping:
    """Pieces gathered into groups; grows by merging."""

    def __init__(self, pieces: Sequence[Tracklet], links: Sequence[dict[int, _Link]], frames: int) -> None:
        """Every piece is a group of its own at first."""
        self.pieces, self.links, self.frames = pieces, links, frames
        self.group_of = list(range(len(pieces)))
        self.groups: dict[int, _Group] = {}
        for number in range(len(pieces)):
            self.groups[number] = _Group([number], self._place(number))

    def errors_between(self, a: int, b: int) -> list[_Link]:
        """Links of the pieces of two groups."""
        small, other = sorted((a, b), key=lambda group: len(self.groups[group].members))
        members = self.groups[small].members
        return [link for i in members for j, link in self.links[i].items() if self.group_of[j] == other]

    def compatible(self, a: int, b: int, worst_px: float) -> bool:
        """Whether two groups may be one person: never twice in a view at a time, and no pair disagrees."""
        return self.groups[a].present.isdisjoint(self.groups[b].present) and all(
            link.error_px <= worst_px for link in self.errors_between(a, b)
        )

    def supported(self, group: _Group) -> tuple[IntArray, IntArray]:
        """Frames in which somebody sees the person, and how many views do."""
        frames = np.fromiter(group.present, np.int64, len(group.present)) % self.frames
        return np.unique(frames, return_counts=True)

    def support(self, group: _Group) -> int:
        """Views beyond the first that see the person, summed over frames."""
        frames, views = self.supported(group)
        return int(views.sum() - len(frames))

    def merge(self, a: int, b: int) -> None:
        """Make group b part of group a."""
        gone = self.groups.pop(b)
        self.groups[a].members += gone.members
        self.groups[a].present |= gone.present
        for number in gone.members:
            self.group_of[number] = a

    def adopt(self) -> None:
        """Let pieces that only one view shows join the person whom their track shows before and after them."""
        tracks: dict[tuple[int, int], list[int]] = {}
        for number, piece in enumerate(self.pieces):
            tracks.setdefault((piece.view, piece.slot), []).append(number)
        for track in tracks.values():
            track.sort(key=lambda number: self.pieces[number].frames[0])
            known = [number for number in track if self.support(self.groups[self.group_of[number]])]
            for before, after in pairwise(known):
                a, b = self.group_of[before], self.group_of[after]
                for number in track[track.index(before) + 1 : track.index(after)] if a == b else ():
                    if self.groups[a].present.isdisjoint(self.groups[self.group_of[number]].present):
                        self.merge(a, self.group_of[number])

    def release_strays(self, a: int, b: int) -> None:
        """Let go of short pieces by which two groups overlap in a view, if they are few: a tracker's slips."""
        for view, slot_frames in self._overlaps(a, b).items():
            both = [i for group in (a, b) for i in self.groups[group].members if self.pieces[i].view == view]
            clashing = sorted((i for i in both if slot_frames & set(self.pieces[i].frames.tolist())), key=self._length)
            for number in clashing:
                own, other = sorted((a, b), key=lambda group: self.group_of[number] != group)
                small = self._length(number) <= _STRAY * min(len(self.groups[g].present) for g in (a, b))
                if small and self.groups[other].present & self._place(number):
                    self._release(number, own)

    def _overlaps(self, a: int, b: int) -> dict[int, set[int]]:
        """Frames by view in which both groups have a piece."""
        found: dict[int, set[int]] = {}
        for entry in self.groups[a].present & self.groups[b].present:
            found.setdefault(entry // self.frames, set()).add(entry % self.frames)
        return found

    def _length(self, number: int) -> int:
        return len(self.pieces[number].frames)

    def _place(self, number: int) -> set[int]:
        return set((self.pieces[number].view * self.frames + self.pieces[number].frames).tolist())

    def _release(self, number: int, group: int) -> None:
        self.groups[group].members.remove(number)
        self.groups[group].present -= self._place(number)
        free = max(self.groups) + len(self.pieces)
        self.groups[free] = _Group([number], self._place(number))
        self.group_of[number] = free

    def merge_nearest(self, chosen: Iterable[int], worst_px: float) -> None:
        """Merge the groups of the chosen pieces, nearest pair first."""
        some = set(chosen)
        pairs = [
            (link.cost, i, j)
            for i in some
            for j, link in self.links[i].items()
            if i < j and j in some and link.error_px <= worst_px
        ]
        for _, i, j in sorted(pairs):
            a, b = self.group_of[i], self.group_of[j]
            if a != b and self.compatible(a, b, worst_px):
                self.merge(a, b)

    def join(self, short: Iterable[int], worst_px: float) -> None:
        """Let each short piece join the group whose pieces it fits best on average, best fit first."""
        found = []
        for number in short:
            near: dict[int, list[_Link]] = {}
            for j, link in self.links[number].items():
                near.setdefault(self.group_of[j], []).append(link)
            for group, links in near.items():
                mean = sum(link.error_px * link.frames for link in links) / sum(link.frames for link in links)
                if mean <= worst_px and len(self.groups[group].members) > 1:
                    found.append((mean, number, group))
        for _, number, group in sorted(found):
            alone = self.group_of[number] == number and len(self.groups[number].members) == 1
            if not alone or group not in self.groups:
                continue
            if self.groups[group].present.isdisjoint(self.groups[number].present):
                self.merge(group, number)


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
    times = views[0].timestamps_s
    step = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    pieces = _pieces(views, max(round(_PIECE_S / step), 1))
    grouping = _Grouping(pieces, _links(rig, views, pieces), len(times))
    worst_px, long = settings.max_ray_error_px, min(round(_LONG_S / step), len(times) // 4)
    grouping.merge_nearest((n for n, piece in enumerate(pieces) if len(piece.frames) >= long), worst_px)
    grouping.join((n for n, piece in enumerate(pieces) if len(piece.frames) < long), worst_px)
    grouping.merge_nearest(range(len(pieces)), worst_px)
    overlapping = partial(successions, overlap_s=_OVERLAP_S)
    for follow in (successions, successions, overlapping, returns):  # longer ones show their ways and limbs better
        _join_passages(rig, views, grouping, follow)
    enough = min(max(_MIN_FRAMES, round(_LEAST_S / step)), len(times))
    grouping.adopt()
    chosen = [group for group in grouping.groups.values() if grouping.support(group) >= enough]
    chosen.sort(key=lambda group: (-grouping.support(group), _mean_error(group, grouping.links)))
    if not chosen:
        seen = ", ".join(f"{view.view}: {view.observed.any(axis=(0, 2)).sum()} tracks" for view in views)
        raise DegenerateError(
            f"no person is seen by two views at once within {worst_px:g} px ({seen}); "
            "check that the calibration belongs to these videos, their offset_s, and max_ray_error_px"
        )
    people = [[pieces[i] for i in group.members] for group in (chosen[:persons] if persons else chosen)]
    return tuple(_gathered(view, number, people, np.arange(len(times))) for number, view in enumerate(views))


def _check_common(rig: CameraRig, views: Sequence[Keypoints2D]) -> None:
    if len(rig.cameras) != len(views):
        raise ShapeError(f"{len(views)} views do not fit {len(rig.cameras)} cameras")
    if len(views) < 2:
        raise InputError("a solve needs at least two views")
    first = views[0]
    for view in views[1:]:
        if view.joint_names != first.joint_names or not np.array_equal(view.timestamps_s, first.timestamps_s):
            raise ShapeError(f"view {view.view!r} differs from view {first.view!r} in its joints or times")


def _pieces(views: Sequence[Keypoints2D], shortest: int) -> list[Tracklet]:
    """Tracklets of all views, cut together wherever people meet in any: there identity follows from place alone."""
    found, meetings = zip(*(tracklets(number, view) for number, view in enumerate(views)), strict=True)
    cuts: list[int] = []
    for frame in np.unique(np.concatenate(meetings)):
        if not cuts or frame - cuts[-1] >= shortest:
            cuts.append(int(frame))
    return cut_together([piece for pieces in found for piece in pieces], np.array(cuts, np.int64))


def _links(rig: CameraRig, views: Sequence[Keypoints2D], pieces: Sequence[Tracklet]) -> list[dict[int, _Link]]:
    """For each piece, the pieces of other views at the same time and how far apart they are."""
    links: list[dict[int, _Link]] = [{} for _ in pieces]
    rays = []
    for camera, view in zip(rig.cameras, views, strict=True):
        counted = view.observed & (view.score >= _MIN_SCORE)
        rays.append(undistort_points(camera.intrinsics, np.where(counted[..., None], view.xy, np.nan)))
    by_slot: dict[tuple[int, int], list[int]] = {}
    for number, piece in enumerate(pieces):
        by_slot.setdefault((piece.view, piece.slot), []).append(number)
    for (a, slot_a), (b, slot_b) in combinations(by_slot, 2):  # a handful of tracks
        if a == b:
            continue
        cameras, times = (rig.cameras[a], rig.cameras[b]), views[a].timestamps_s
        distance = epipolar_distance(*cameras, rays[a][:, slot_a], rays[b][:, slot_b], times)
        others = by_slot[b, slot_b]
        starts, stops = (np.array([pieces[j].frames[end] for j in others]) for end in (0, -1))
        for i in by_slot[a, slot_a]:
            own = pieces[i].frames
            for k in range(np.searchsorted(stops, own[0]), np.searchsorted(starts, own[-1], side="right")):
                link = _link(own, pieces[others[k]].frames, distance)
                if link is not None:
                    links[i][others[k]] = links[others[k]][i] = link
    return links


def _link(first: IntArray, second: IntArray, distance: FloatArray) -> _Link | None:
    """A pair is judged by its median error, so that swapped limbs and wild keypoints have no say."""
    both = np.intersect1d(first, second, assume_unique=True)
    known = distance[both]
    known = known[np.isfinite(known)]
    return _Link(float(np.median(known)), len(both)) if len(known) >= _MIN_SHARED else None


def _join_passages(
    rig: CameraRig, views: Sequence[Keypoints2D], grouping: _Grouping, follow: Callable[..., list[tuple[int, int]]]
) -> None:
    """Merge groups of which one goes on where the other stopped, or comes back."""
    numbers = list(grouping.groups)
    for i, j in follow([_passage(rig, views, grouping, number) for number in numbers]):
        a, b = (grouping.group_of[numbers[k]] for k in (i, j))
        if a == b:
            continue
        grouping.release_strays(a, b)
        if grouping.groups[a].present.isdisjoint(grouping.groups[b].present):
            grouping.merge(a, b)


def _passage(rig: CameraRig, views: Sequence[Keypoints2D], grouping: _Grouping, number: int) -> Passage | None:
    """Where a group begins and ends, from its first and last frames that two views see, and its limbs."""
    group = grouping.groups[number]
    frames, count = grouping.supported(group)
    supported = frames[count > 1]
    if not len(supported):
        return None
    spread = supported[np.linspace(0, len(supported) - 1, min(len(supported), _LENGTH_FRAMES)).astype(int)]
    chosen = np.unique(np.r_[supported[:_END_FRAMES], spread, supported[-_END_FRAMES:]])
    people = [[grouping.pieces[i] for i in group.members]]
    some = [_gathered(view, number, people, chosen) for number, view in enumerate(views)]
    joints, times = linear_triangulation(rig, some, _MIN_SCORE)[:, 0], views[0].timestamps_s[chosen]
    begin, end = (
        end_of(times[:_END_FRAMES], joints[:_END_FRAMES], False),
        end_of(times[-_END_FRAMES:], joints[-_END_FRAMES:], True),
    )
    if begin is None or end is None:
        return None
    tracks = [
        frozenset(
            (p.view, p.slot) for p in people[0] if p.frames[0] <= frame + _ABOUT and p.frames[-1] >= frame - _ABOUT
        )
        for frame in (supported[0], supported[-1])
    ]
    return Passage(begin, end, limb_lengths(views[0].joint_names, joints), *tracks)


def _mean_error(group: _Group, links: Sequence[dict[int, _Link]]) -> float:
    """Mean of the known errors between a group's pieces, px; it decides between equally supported groups."""
    members = set(group.members)
    known = [link.error_px for i in members for j, link in links[i].items() if j in members]
    return float(np.mean(known)) if known else np.inf


def _gathered(view: Keypoints2D, number: int, people: Sequence[Sequence[Tracklet]], frames: IntArray) -> Keypoints2D:
    """Keypoints of the chosen people in one view at some (rising) frames."""
    shape = (len(frames), len(people), len(view.joint_names))
    xy, covariance, score = np.full((*shape, 2), np.nan), np.full((*shape, 2, 2), np.nan), np.zeros(shape)
    for person, pieces in enumerate(people):
        for piece in pieces:
            if piece.view == number:
                _, to, source = np.intersect1d(frames, piece.frames, assume_unique=True, return_indices=True)
                own = piece.frames[source]
                xy[to, person] = view.xy[own, piece.slot]
                covariance[to, person] = view.covariance[own, piece.slot]
                score[to, person] = view.score[own, piece.slot]
    return Keypoints2D(view.view, view.joint_names, view.timestamps_s[frames], xy, covariance, score)
