"""Tracks of one view cut where they may have changed from one person to another.

Where two people meet in a picture, a tracker may leave the one and follow the other, or see both as one. So tracks are
cut where a meeting begins and ends, into short pieces while it lasts, at jumps and at gaps; who a piece is follows
from the other views and from before and after.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..shapes import BoolArray, FloatArray, IntArray
from ..types import Keypoints2D

_NEAR = 1.0  # of two bodies' mean size, between their middles: they meet
_HELD_S = 0.5  # somebody who vanished, or will come, counts where last or first seen for so long
_PIECE_S = 0.15  # pieces while people meet
_MOST_PIECES = 20  # of one meeting
_GAP_S = 0.25  # missing for longer: another track
_JUMP = 0.5  # of the body's size within one frame, and on top of what anybody may move
_SPEED = 4.0  # body sizes per second


@dataclass(frozen=True)
class Tracklet:
    """A stretch of one slot of one view in which it is one person."""

    view: int
    slot: int
    frames: IntArray  # (n,) frames with keypoints, rising


def cut_together(found: list[Tracklet], cuts: IntArray) -> list[Tracklet]:
    """Cut all tracklets at the same (rising) frames."""
    parts = []
    for tracklet in found:
        places = np.searchsorted(tracklet.frames, cuts)
        for part in np.split(tracklet.frames, np.unique(places[(places > 0) & (places < len(tracklet.frames))])):
            parts.append(Tracklet(tracklet.view, tracklet.slot, part))
    return parts


def tracklets(number: int, view: Keypoints2D) -> tuple[list[Tracklet], IntArray]:
    """Cut the tracks of a view where they may change from one person to another.

    Convention:
        every frame of every track is in exactly one tracklet; a track that meets nobody and never jumps or vanishes
        stays whole.

    Args:
        number: the view's number, for the tracklets.
        view: slots are tracks.

    Returns:
        The tracklets, by slot and time, and the (rising) frames at which tracks were cut because people meet.
    """
    times, seen = view.timestamps_s, view.observed.any(axis=-1)
    if len(times) < 2:
        whole = [Tracklet(number, s, np.flatnonzero(seen[:, s])) for s in np.flatnonzero(seen.any(axis=0))]
        return whole, np.zeros(0, np.int64)
    step = float(np.median(np.diff(times)))
    centre, size = _middles(view)
    meetings = _meetings(centre, size, seen, step)
    cuts = _gaps_and_jumps(centre, size, seen, step) | meetings
    found: list[Tracklet] = []
    for slot in range(seen.shape[1]):
        frames = np.flatnonzero(seen[:, slot])
        if len(frames):
            piece = np.cumsum(cuts[:, slot])[frames]
            for part in np.split(frames, np.flatnonzero(np.diff(piece)) + 1):
                found.append(Tracklet(number, slot, part))
    return found, np.flatnonzero(meetings.any(axis=1))


def _middles(view: Keypoints2D) -> tuple[FloatArray, FloatArray]:
    """(T, P, 2) median of a body's keypoints and (T, P) its size, px; NaN where unseen."""
    seen = view.observed.any(axis=-1)
    centre, size = np.full((*seen.shape, 2), np.nan), np.full(seen.shape, np.nan)
    bodies = view.xy[seen]
    centre[seen] = np.nanmedian(bodies, axis=1)
    size[seen] = np.sqrt(np.nanmean(((bodies - centre[seen][:, None]) ** 2).sum(axis=-1), axis=1))
    return centre, size


def _gaps_and_jumps(centre: FloatArray, size: FloatArray, seen: BoolArray, step: float) -> BoolArray:
    """(T, P) True where a new piece begins after a long gap or a jump."""
    cuts = np.zeros(seen.shape, bool)
    for slot in range(seen.shape[1]):
        frames = np.flatnonzero(seen[:, slot])
        waited = np.diff(frames) * step
        moved = np.linalg.norm(np.diff(centre[frames, slot], axis=0), axis=-1)
        usual = np.maximum(size[frames[:-1], slot], size[frames[1:], slot])
        cuts[frames[1:], slot] = (waited > _GAP_S) | (moved > (_JUMP + _SPEED * waited) * usual)
    return cuts


def _meetings(centre: FloatArray, size: FloatArray, seen: BoolArray, step: float) -> BoolArray:
    """(T, P) True where a meeting begins or ends, and every so often while it lasts."""
    count = seen.shape[1]
    cuts = np.zeros(seen.shape, bool)
    held = [_held(centre[:, slot], seen[:, slot], round(_HELD_S / step)) for slot in range(count)]
    usual = [float(np.nanmedian(size[:, slot])) if seen[:, slot].any() else np.nan for slot in range(count)]
    for one in range(count):
        near = np.zeros(len(seen), bool)
        for other in range(count):
            if other != one:
                apart = np.linalg.norm(held[one] - held[other], axis=-1)
                near |= apart < _NEAR * (usual[one] + usual[other]) / 2
        edges = np.flatnonzero(np.diff(near.astype(np.int8), prepend=0))
        cuts[edges, one] = True
        for start, stop in zip(edges[::2], [*edges[1::2], len(near)][: len(edges[::2])], strict=True):
            length = max(round(_PIECE_S / step), 1, (stop - start) // _MOST_PIECES)
            cuts[start:stop:length, one] = True
    return cuts


def _held(centre: FloatArray, seen: BoolArray, frames: int) -> FloatArray:
    """(T, 2) the path, held for some frames where it ends and before it begins."""
    result = centre.copy()
    index = np.arange(len(seen))
    last = np.maximum.accumulate(np.where(seen, index, -1))
    following = np.minimum.accumulate(np.where(seen, index, len(seen))[::-1])[::-1]
    for source, distance in ((last, index - last), (following, following - index)):
        usable = ~seen & (source >= 0) & (source < len(seen)) & (distance <= frames) & np.isnan(result[:, 0])
        result[usable] = centre[source[usable]]
    return result
