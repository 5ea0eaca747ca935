"""Follow the people of one view from frame to frame; only keypoints are kept, never pictures."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..config import DetectionSettings
from ..errors import InputError
from ..shapes import FloatArray, check_shapes
from ..types import Keypoints2D
from .crop import Region
from .detector import SAME_PERSON, Detector
from .person import Person2D, similarity, spread

_log = logging.getLogger(__name__)

_CONTINUES = 0.2  # similarity below which the keypoints have jumped to somebody else
_SPEED = 4.0  # body spreads per second that a person may move as a whole; about 2 m/s
_MEMORY_S = 1.0  # a lost person who is found again within this time keeps the slot
_MIN_FRAMES = 3  # a shorter track is a false alarm
_MAX_BYTES = 512 * 2**20  # of a view's keypoints; the shortest tracks beyond it are dropped


@dataclass(eq=False)
class _Track:
    """One person followed in one view; grows by one row a frame."""

    frames: list[int] = field(default_factory=list)
    rows: list[FloatArray] = field(default_factory=list)  # (J, 7) float32: x, y, four of the covariance, score
    last: Person2D | None = None

    def add(self, frame: int, person: Person2D) -> None:
        parts = [person.xy, person.covariance.reshape(-1, 4), person.score[:, None]]
        self.frames.append(frame)
        self.rows.append(np.concatenate(parts, axis=1).astype(np.float32))
        self.last = person

    def likeness(self, person: Person2D, elapsed_s: float) -> float:
        """How surely the person is this track's, from 0 to 1, that long after it was last seen."""
        return similarity(self.last.xy, person.xy, _SPEED * elapsed_s) if self.last is not None else 0.0


def follow_people(
    view: str,
    frames: Iterable[tuple[int, NDArray[np.uint8]]],  # (h, w, 3) RGB
    timestamps_s: FloatArray,  # (T,)
    detector: Detector,
    settings: DetectionSettings,
) -> Keypoints2D:
    """Detect and follow all people of one view.

    Where a person is looked for follows from the last frame's keypoints; the person detector looks at the
    first frame, while nobody is followed, after somebody was lost, and every ``redetect_every`` frames.

    Convention:
        one slot per person, in order of first sight; a slot never changes to another person: keypoints that
        jump end the track. Frames without the person are NaN. P = 0 if nobody was seen in any frame.

    Args:
        view: name, for messages.
        frames: index and picture of each frame, in the order of timestamps_s; read once, one at a time.
        timestamps_s: time of each frame.
        detector: loaded networks.
        settings: the detection stage's.

    Raises:
        InputError: there are fewer or more frames than times.
    """
    check_shapes(timestamps_s=(timestamps_s, "T"))
    active: list[_Track] = []
    ended: list[_Track] = []
    look = True
    number = -1
    for number, (_, image) in enumerate(frames):
        if number >= len(timestamps_s):
            raise InputError(f"view {view!r}: more frames than the {len(timestamps_s)} times; check the video's rate")
        before = len(active)
        active, lost = _continue(active, image, number, timestamps_s, detector)
        ended += lost
        if look or not active or lost or number % settings.redetect_every == 0:
            active += _new_tracks(active, ended, image, number, timestamps_s, detector)
        look = len(active) < before
    if number + 1 < len(timestamps_s):
        raise InputError(f"view {view!r}: the video ends after {number + 1} of {len(timestamps_s)} frames")
    return _keypoints(view, detector.joint_names, timestamps_s, ended + active)


def _continue(
    active: list[_Track], image: NDArray[np.uint8], number: int, timestamps_s: FloatArray, detector: Detector
) -> tuple[list[_Track], list[_Track]]:
    """Take every track one frame further; return those that go on and those that end."""
    regions = [track.last.next_region for track in active if track.last is not None]
    candidates = []
    for track, person in zip(active, detector.estimate(image, regions), strict=True):
        if person is not None:
            elapsed = float(timestamps_s[number] - timestamps_s[track.frames[-1]])
            candidates.append((track.likeness(person, elapsed), track, person))
    # Where two tracks meet on one person, the one whose past fits better keeps it.
    candidates.sort(key=lambda candidate: -candidate[0])
    kept: list[Person2D] = []
    going: list[_Track] = []
    for likeness, track, person in candidates:
        if likeness >= _CONTINUES and not _known(person, kept):
            track.add(number, person)
            kept.append(person)
            going.append(track)
    going = [track for track in active if track in going]
    return going, [track for track in active if track not in going]


def _new_tracks(
    active: list[_Track],
    ended: list[_Track],
    image: NDArray[np.uint8],
    number: int,
    timestamps_s: FloatArray,
    detector: Detector,
) -> list[_Track]:
    """Look at the whole picture; return tracks of people not followed yet, resumed where they were just lost."""
    followed = [track.last for track in active if track.last is not None]
    regions = [region for region in detector.find(image) if not any(_covers(person, region) for person in followed)]
    found = detector.settle(image, regions) if regions and len(active) < detector.max_people else []
    started: list[_Track] = []
    for person in found[: detector.max_people - len(active)]:
        if _known(person, followed):
            continue
        track = _resumed(ended, person, number, timestamps_s)
        track.add(number, person)
        started.append(track)
    return started


def _resumed(ended: list[_Track], person: Person2D, number: int, timestamps_s: FloatArray) -> _Track:
    """Take the person's own track back out of the ended ones, or start one."""
    best, best_likeness = None, _CONTINUES
    for track in reversed(ended):
        elapsed = float(timestamps_s[number] - timestamps_s[track.frames[-1]])
        likeness = track.likeness(person, elapsed) if 0 < elapsed <= _MEMORY_S else 0.0
        if likeness > best_likeness:
            best, best_likeness = track, likeness
    if best is None:
        return _Track()
    ended.remove(best)
    return best


def _known(person: Person2D, others: list[Person2D]) -> bool:
    return any(similarity(person.xy, other.xy) > SAME_PERSON for other in others)


def _covers(person: Person2D, region: Region) -> bool:
    """Whether the region is most likely the person who is followed already."""
    apart = np.hypot(*(np.asarray(region.centre) - person.next_region.centre))
    ratio = region.size[1] / person.next_region.size[1]
    return bool(apart < 0.5 * spread(person.xy) and 0.6 < ratio < 1.6)


def _keypoints(view: str, joint_names: tuple[str, ...], timestamps_s: FloatArray, tracks: list[_Track]) -> Keypoints2D:
    count, joints = len(timestamps_s), len(joint_names)
    tracks = [track for track in tracks if len(track.frames) >= min(_MIN_FRAMES, count)]
    limit = max(1, _MAX_BYTES // max(1, count * joints * 7 * 8))
    if len(tracks) > limit:
        _log.warning("view %r: the %d shortest of %d tracks are dropped", view, len(tracks) - limit, len(tracks))
        tracks = sorted(tracks, key=lambda track: -len(track.frames))[:limit]
    tracks.sort(key=lambda track: track.frames[0])
    values = np.full((count, len(tracks), joints, 7), np.nan)
    for slot, track in enumerate(tracks):
        values[track.frames, slot] = np.stack(track.rows)
    return Keypoints2D(
        view=view,
        joint_names=joint_names,
        timestamps_s=timestamps_s,
        xy=values[..., :2],
        covariance=values[..., 2:6].reshape(count, len(tracks), joints, 2, 2),
        score=np.nan_to_num(values[..., 6]),
    )
