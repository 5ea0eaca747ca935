"""Follow the people of one view from frame to frame; only keypoints are kept, never pictures."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

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
    follower = Follower(view, timestamps_s, detector, settings)
    for _, image in frames:
        follower.step(image)
    return follower.keypoints()


class Follower:
    """Follows the people of one view; may stop after any frame and be taken up again from its `state`."""

    def __init__(
        self,
        view: str,
        timestamps_s: FloatArray,  # (T,)
        detector: Detector,
        settings: DetectionSettings,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        self.view, self.timestamps_s = view, timestamps_s
        self._detector, self._settings = detector, settings
        self._active: list[_Track] = []
        self._ended: list[_Track] = []
        self._look = True
        self.done = 0  # frames
        if state is not None:
            self._restore(state)

    @property
    def joint_names(self) -> tuple[str, ...]:
        """The detector's joints."""
        return self._detector.joint_names

    def step(self, image: NDArray[np.uint8]) -> None:
        """Take the next frame, (h, w, 3) RGB."""
        number, times, detector = self.done, self.timestamps_s, self._detector
        if number >= len(times):
            raise InputError(f"view {self.view!r}: more frames than the {len(times)} times; check the video's rate")
        before = len(self._active)
        self._active, lost = _continue(self._active, image, number, times, detector)
        self._ended += lost
        if self._look or not self._active or lost or number % self._settings.redetect_every == 0:
            self._active += _new_tracks(self._active, self._ended, image, number, times, detector)
        self._look = len(self._active) < before
        self.done += 1

    def keypoints(self) -> Keypoints2D:
        """Give what was found in all frames.

        Raises:
            InputError: not all frames were there.
        """
        if self.done < len(self.timestamps_s):
            raise InputError(f"view {self.view!r}: the video ends after {self.done} of {len(self.timestamps_s)} frames")
        return self.keypoints_so_far()

    def keypoints_so_far(self) -> Keypoints2D:
        """Give what was found in the frames that are done."""
        times = self.timestamps_s[: self.done]
        return _keypoints(self.view, self._detector.joint_names, times, self._ended + self._active)

    def state(self) -> dict[str, Any]:
        """Everything that the next frame depends on, as plain arrays."""
        tracks = self._ended + self._active
        joints = len(self._detector.joint_names)
        regions = [track.last.next_region for track in tracks if track.last is not None]
        return {
            "done": np.array(self.done),
            "look": np.array(self._look),
            "active": np.array([track in self._active for track in tracks], dtype=bool),
            "length": np.array([len(track.frames) for track in tracks], dtype=np.int64),
            "frames": np.array([frame for track in tracks for frame in track.frames], dtype=np.int64),
            "rows": np.array([row for track in tracks for row in track.rows], np.float32).reshape(-1, joints, 7),
            "region": np.array([[*r.centre, *r.size, r.angle] for r in regions], dtype=float).reshape(-1, 5),
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.done, self._look = int(state["done"]), bool(state["look"])
        ends = np.cumsum(state["length"])
        for end, length, region, active in zip(ends, state["length"], state["region"], state["active"], strict=True):
            frames, rows = state["frames"][end - length : end], state["rows"][end - length : end]
            place = Region((region[0], region[1]), (region[2], region[3]), float(region[4]))
            row = rows[-1].astype(float)
            last = Person2D(row[:, :2], row[:, 2:6].reshape(-1, 2, 2), np.nan_to_num(row[:, 6]), 1.0, place, place)
            track = _Track([int(frame) for frame in frames], list(rows), last)
            (self._active if active else self._ended).append(track)


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
