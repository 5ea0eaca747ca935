"""The opened views of a take: footage, frame ranges, and the clock that they share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .errors import InputError
from .footage import open_footage
from .shapes import FloatArray
from .take import Take, View
from .types import Footage, Keypoints2D

# Two clocks agree if they differ by less than this share of a frame: containers round their time stamps.
_CLOCK_TOLERANCE = 0.25


@dataclass(frozen=True)
class OpenedView:
    """A view of the take with its footage, where it has any."""

    view: View
    footage: Footage | None
    found_offset_s: float = 0.0  # where the take says "auto"; 0 until it is found
    drift_ppm: float = 0.0  # t_take = t_view · (1 + drift_ppm · 1e-6) + offset_s

    @property
    def name(self) -> str:
        """The view's name."""
        return self.view.name

    @property
    def size(self) -> tuple[int, int] | None:
        """(width, height) px of the view's pictures; None means the calibration's."""
        return self.footage.image_size if self.footage else self.view.size

    @property
    def fps(self) -> float:
        """Frames per second of the view."""
        return self.footage.fps if self.footage else float(self.view.fps or 0.0)

    @property
    def offset_s(self) -> float:
        """When the view's first frame happens on the take's clock, s."""
        return self.found_offset_s if self.view.offset_s is None else self.view.offset_s

    def time_of_frame(self, frames: FloatArray) -> FloatArray:
        """When pictures of the view (K,), counted from 0, were taken on its own clock, s."""
        times = self.footage.timestamps_s if self.footage else np.zeros(1)
        known = np.arange(len(times))
        beyond = frames - np.clip(frames, 0, known[-1])
        return np.interp(frames, known, times) + beyond / self.fps

    def frame_at(self, times_s: FloatArray) -> FloatArray:
        """Return which pictures of the view, counted from 0, were taken at times (K,) of the take."""
        own = (times_s - self.offset_s) / (1 + 1e-6 * self.drift_ppm)
        times = self.footage.timestamps_s if self.footage else np.zeros(1)
        beyond = own - np.clip(own, times[0], times[-1])
        return np.interp(own, times, np.arange(len(times))) + beyond * self.fps

    def on_take_clock(self, times_s: FloatArray) -> FloatArray:
        """Times of the view's own clock on the take's."""
        return times_s * (1 + 1e-6 * self.drift_ppm) + self.offset_s


def open_views(take: Take) -> list[OpenedView]:
    """Open the footage of every view, in the order of the take.

    Raises:
        InputError: a video cannot be read.
    """
    return [OpenedView(v, open_footage(v.name, v.video, v.fps) if v.video else None) for v in take.views]


def frame_range(take: Take, item: OpenedView) -> tuple[int, int]:
    """Return the first frame and the one after the last that the take's ``start`` and ``end`` leave of a view.

    Convention:
        a frame more on either side, so that the ends of the take can be interpolated; the order of
        frames is that of the file. A view whose offset is still to be found is read as a whole.

    Raises:
        InputError: nothing of the view is left.
    """
    if item.footage is None:
        raise InputError(f"view {item.name!r} has no footage")
    if item.view.offset_s is None:
        return 0, len(item.footage.timestamps_s)
    times = item.on_take_clock(item.footage.timestamps_s)
    first = max(int(np.searchsorted(times, take.start_s - 1e-9)) - 1, 0)
    last = len(times) if take.end_s is None else int(np.searchsorted(times, take.end_s, side="right")) + 1
    if times[-1] < take.start_s - 1.0 / item.fps or min(last, len(times)) <= first:
        raise InputError(
            f"view {item.name!r}: no frame lies between start = {take.start_s:g} s and end; "
            f"the view runs from {times[0]:.2f} s to {times[-1]:.2f} s"
        )
    return first, min(last, len(times))


def take_clock(take: Take, opened: list[OpenedView], tracks: list[Keypoints2D]) -> FloatArray:
    """Choose the times of the solution.

    Convention:
        uniform steps of 1 / fps counted from 0 (the first frame of a view with offset 0), while at
        least two views run, within ``start`` and ``end`` of the take.

    Returns:
        (T,) s.

    Raises:
        InputError: no two views run at the same time.
    """
    fps = take.fps or max(item.fps for item in opened)
    spans = [
        tuple(item.on_take_clock(keypoints.timestamps_s[[0, -1]]))
        for item, keypoints in zip(opened, tracks, strict=True)
        if len(keypoints.timestamps_s)
    ]
    begin, end = _together(spans, 1.0 / fps)
    if begin > end + 1.0 / fps:
        runs = ", ".join(f"{item.name} {s:.2f}-{e:.2f} s" for item, (s, e) in zip(opened, spans, strict=False))
        raise InputError(f"no two views run at the same time ({runs}); check their offset_s")
    last = min(end, math.inf if take.end_s is None else take.end_s) * fps
    steps = np.arange(_first_step(begin, take.start_s, fps), math.floor(last + _CLOCK_TOLERANCE) + 1)
    if not len(steps):
        raise InputError(
            f"start and end of the take leave no frame at {fps:g} fps; two views run from {begin:.2f} s to {end:.2f} s"
        )
    return steps / fps


def first_moment(spans: Sequence[tuple[float, float]], start_s: float, fps: float) -> float:
    """Return the first time that `take_clock` chooses, s.

    Args:
        spans: first and last moment of every view on the take's clock, s.
        start_s: of the take.
        fps: of the solution.
    """
    begin = _together(spans, 1.0 / fps)[0]
    return _first_step(begin if math.isfinite(begin) else 0.0, start_s, fps) / fps


def _first_step(begin_s: float, start_s: float, fps: float) -> int:
    return math.ceil(max(begin_s, start_s) * fps - _CLOCK_TOLERANCE)


def _together(spans: Sequence[tuple[float, float]], tolerance: float) -> tuple[float, float]:
    """Return the first and the last moment at which two of the spans (start, end) run at once; inf, -inf if none do."""
    if len(spans) == 1:
        return spans[0]
    begin, end, latest = math.inf, -math.inf, -math.inf
    for start, stop in sorted(spans):
        if start <= latest + tolerance:
            begin, end = min(begin, start), max(end, min(stop, latest))
        latest = max(latest, stop)
    return begin, end
