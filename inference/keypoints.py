"""Keypoints of one view over time: detections linked into tracks, put on the take's clock and on one layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from .layouts import place
from .perception.person import similarity
from .shapes import FloatArray, IntArray, check_shapes
from .types import Keypoints2D

_SAME_FRAME = 0.25  # of a frame: a time this close may take the frame as it stands; containers round time stamps
_WIDEST_STEP = 1.5  # of the usual step between frames: a wider one is a gap, and nothing is interpolated over it
_CONTINUES = 0.2  # similarity below which two detections are two people
_SPEED = 4.0  # body spreads per second that a person may move as a whole
_MEMORY_S = 0.5  # somebody who is missing for longer comes back as another track
_MIN_FRAMES = 3  # a shorter track is a false alarm, in clips that are longer


def resample(
    keypoints: Keypoints2D,
    timestamps_s: FloatArray,  # (T,)
    offset_s: float = 0.0,
    drift_ppm: float = 0.0,
) -> Keypoints2D:
    """Bring the tracks of a view to other times, by linear interpolation between neighbouring frames.

    Convention:
        mean, covariance and score are interpolated where both neighbours hold the keypoint (the covariance as
        for errors that change slowly); else a frame within a quarter of a step is taken as it stands. Nothing
        is bridged over missing frames. Slots must be tracks (`link_detections`). The clocks:
        ``t_take = t_view · (1 + drift_ppm · 1e-6) + offset_s``; a view with positive drift ran slow.

    Args:
        keypoints: tracks on the view's own clock.
        timestamps_s: wanted times on the take's clock.
        offset_s: when the view's first frame happens on the take's clock.
        drift_ppm: how much longer the view's seconds are than the take's, in millionths.

    Returns:
        The tracks at timestamps_s.
    """
    check_shapes(timestamps_s=(timestamps_s, "T"))
    own = keypoints.timestamps_s * (1 + 1e-6 * drift_ppm) + offset_s
    last = len(own) - 1
    before = np.clip(np.searchsorted(own, timestamps_s, side="right") - 1, 0, max(last - 1, 0))
    after = np.minimum(before + 1, last)
    width = own[after] - own[before]
    step = float(np.median(np.diff(own))) if last > 0 else 0.0
    share = np.where(width > 0, (timestamps_s - own[before]) / np.where(width > 0, width, 1.0), 0.0)
    between = (width > 0) & (share >= 0) & (share <= 1) & (width <= _WIDEST_STEP * step)
    nearest = np.where(share > 0.5, after, before)
    near = np.abs(own[nearest] - timestamps_s) <= max(_SAME_FRAME * step, 1e-9)
    values = {}
    both = between[:, None, None] & keypoints.observed[before] & keypoints.observed[after]
    for name in ("xy", "covariance", "score"):
        array = getattr(keypoints, name)
        more = (1,) * (array.ndim - 3)
        a = share.reshape(-1, *(1,) * (array.ndim - 1))
        as_it_stands = np.where(near.reshape(a.shape), array[nearest], 0.0 if name == "score" else np.nan)
        with np.errstate(invalid="ignore"):
            blended = (1 - a) * array[before] + a * array[after]
        values[name] = np.where(both.reshape(*both.shape, *more), blended, as_it_stands)
    return Keypoints2D(keypoints.view, keypoints.joint_names, timestamps_s, **values)


def link_detections(detections: Keypoints2D) -> Keypoints2D:
    """Link detections whose slots have no order into tracks: one slot per person, from frame to frame.

    Each frame's detections go to the tracks that they resemble most (optimal assignment); whoever resembles
    no track starts one.

    Convention:
        tracks in order of first sight; a track of less than three frames is dropped from longer clips.

    Args:
        detections: (T, P) detections in any order.

    Returns:
        The same keypoints, P = tracks.
    """
    times, observed = detections.timestamps_s, detections.observed
    slots: list[dict[int, int]] = []  # per track: the slot in each frame
    for frame in range(len(times)):  # a frame's tracks follow from the frame before
        present = np.flatnonzero(observed[frame].any(axis=1))
        alive = [track for track in slots if times[frame] - times[max(track)] <= _MEMORY_S]
        likeness = np.zeros((len(alive), len(present)))
        for row, track in enumerate(alive):
            last = max(track)
            shift = _SPEED * float(times[frame] - times[last])
            past = detections.xy[last, track[last]]
            likeness[row] = [similarity(past, detections.xy[frame, slot], shift) for slot in present]
        rows, columns = linear_sum_assignment(likeness, maximize=True)
        matched = [(r, c) for r, c in zip(rows, columns, strict=True) if likeness[r, c] >= _CONTINUES]
        for row, column in matched:
            alive[row][frame] = int(present[column])
        taken = {column for _, column in matched}
        slots.extend({frame: int(slot)} for column, slot in enumerate(present) if column not in taken)
    tracks = [track for track in slots if len(track) >= min(_MIN_FRAMES, len(times))]
    return _gathered(detections, tracks)


def _gathered(detections: Keypoints2D, tracks: Sequence[dict[int, int]]) -> Keypoints2D:
    shape = (len(detections.timestamps_s), len(tracks), len(detections.joint_names))
    xy, covariance, score = np.full((*shape, 2), np.nan), np.full((*shape, 2, 2), np.nan), np.zeros(shape)
    for number, track in enumerate(tracks):
        frames, slots = np.array(list(track)), np.array(list(track.values()))
        xy[frames, number] = detections.xy[frames, slots]
        covariance[frames, number] = detections.covariance[frames, slots]
        score[frames, number] = detections.score[frames, slots]
    return Keypoints2D(detections.view, detections.joint_names, detections.timestamps_s, xy, covariance, score)


def on_one_layout(views: Sequence[Keypoints2D]) -> list[Keypoints2D]:
    """Give all views the same joints: those of the first view, then what others add, by place on the body.

    Convention:
        a joint that a view's layout lacks is unobserved there; times and slots stay.
    """
    names: dict[str, str] = {}
    for view in views:
        for name in view.joint_names:
            names.setdefault(place(name), name)
    wanted = tuple(names.values())
    return [view if view.joint_names == wanted else _with_joints(view, wanted) for view in views]


def _with_joints(view: Keypoints2D, wanted: tuple[str, ...]) -> Keypoints2D:
    own = {place(name): index for index, name in enumerate(view.joint_names)}
    pairs = [(new, own[place(name)]) for new, name in enumerate(wanted) if place(name) in own]
    new, old = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    shape = (*view.xy.shape[:2], len(wanted))
    xy, covariance, score = np.full((*shape, 2), np.nan), np.full((*shape, 2, 2), np.nan), np.zeros(shape)
    xy[:, :, new], covariance[:, :, new], score[:, :, new] = (
        view.xy[:, :, old],
        view.covariance[:, :, old],
        view.score[:, :, old],
    )
    return Keypoints2D(view.view, wanted, view.timestamps_s, xy, covariance, score)


def at_frames(view: Keypoints2D, frames: IntArray) -> Keypoints2D:  # (T',)
    """Return the view at some of its frames."""
    return replace(
        view,
        timestamps_s=view.timestamps_s[frames],
        xy=view.xy[frames],
        covariance=view.covariance[frames],
        score=view.score[frames],
    )
