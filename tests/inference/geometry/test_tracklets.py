"""Tracks cut where they may change from one person to another."""

import numpy as np

from inference.geometry.tracklets import Tracklet, cut_together, tracklets
from inference.types import Keypoints2D

BODY = np.array([[0.0, -80], [-20, -50], [20, -50], [0, 0], [-10, 80], [10, 80]])
NAMES = ("nose", "left_shoulder", "right_shoulder", "pelvis", "left_ankle", "right_ankle")


def view_of(paths: np.ndarray, fps: float = 60.0) -> Keypoints2D:
    """Tracks whose bodies (T, P, 2) px stand there, NaN where unseen."""
    xy = paths[:, :, None] + BODY
    seen = np.isfinite(xy).all(axis=-1)
    covariance = np.where(seen[..., None, None], np.eye(2), np.nan)
    return Keypoints2D("cam", NAMES, np.arange(len(xy)) / fps, xy, covariance, np.where(seen, 0.9, 0.0))


def walking(start: float, speed: float, frames: int = 120) -> np.ndarray:
    x = start + speed * np.arange(frames) / 60
    return np.stack([x, np.full_like(x, 300.0)], axis=-1)


def spans(found: list[Tracklet], slot: int) -> list[tuple[int, int]]:
    return [(int(t.frames[0]), int(t.frames[-1])) for t in found if t.slot == slot]


def test_who_meets_nobody_stays_whole() -> None:
    found, cuts = tracklets(3, view_of(np.stack([walking(0, 100), walking(900, 100)], axis=1)))
    assert spans(found, 0) == spans(found, 1) == [(0, 119)]
    assert {t.view for t in found} == {3}
    assert len(cuts) == 0


def test_a_meeting_is_cut_where_it_begins_and_ends_and_into_pieces() -> None:
    """Bodies of 68 px pass at 400 px/s: they are nearer than that from (400 - 68) / 400 s to (400 + 68) / 400 s."""
    found, cuts = tracklets(0, view_of(np.stack([walking(0, 200), walking(400, -200)], axis=1)))
    for slot in (0, 1):
        (first, *pieces, last) = spans(found, slot)
        assert first == (0, 49)
        assert last == (71, 119)
        assert all(stop - start < 9 for start, stop in pieces)
    assert (cuts[0], cuts[-1]) == (50, 71)
    assert sum(len(t.frames) for t in found) == 240


def test_a_track_is_cut_where_somebody_vanishes_beside_it() -> None:
    paths = np.stack([walking(300, 0), walking(310, 0)], axis=1)
    paths[60:, 1] = np.nan
    found, _ = tracklets(0, view_of(paths))
    assert max(stop - start for start, stop in spans(found, 0)[:-1]) < 10
    assert spans(found, 0)[-1][0] >= 60


def test_gaps_and_jumps_are_cut() -> None:
    paths = walking(100, 50)[:, None].copy()
    paths[20:40] = np.nan  # a third of a second
    paths[60:65] = np.nan  # less than a quarter
    paths[80:] += 200.0
    found, _ = tracklets(0, view_of(paths))
    assert spans(found, 0) == [(0, 19), (40, 79), (80, 119)]


def test_pieces_cut_together_keep_every_frame() -> None:
    whole = [Tracklet(0, 0, np.arange(10)), Tracklet(1, 2, np.array([3, 4, 8]))]
    parts = cut_together(whole, np.array([0, 4, 9, 50]))
    assert [part.frames.tolist() for part in parts] == [[0, 1, 2, 3], [4, 5, 6, 7, 8], [9], [3], [4, 8]]
    assert cut_together(whole, np.array([], int))[1].frames.tolist() == [3, 4, 8]


def test_empty_slots_and_single_frames() -> None:
    nobody = np.full((120, 1, 2), np.nan)
    assert tracklets(0, view_of(nobody))[0] == []
    assert len(tracklets(0, view_of(walking(0, 0, 1)[:, None]))[0]) == 1
