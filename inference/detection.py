"""The keypoints stage: people and their 2D keypoints in every view, detected or imported."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import Cancelled, InputError
from .files.keypoints_2d import read_keypoints
from .footage import read_frames
from .keypoints import link_detections
from .perception.detector import Detector, load_detector
from .perception.kept_detections import keep_detections, kept_file, read_kept_detections
from .perception.tracking import Follower
from .progress import Progress
from .take import Take
from .types import Intrinsics, Keypoints2D, SolveReport
from .views import OpenedView, frame_range


@dataclass(frozen=True, eq=False)
class _Kept:
    """A view's people as far as they were followed, and the file that keeps them."""

    follower: Follower
    path: Path | None


_NO_PICTURE = np.zeros((0, 0, 3), np.uint8)


def find_keypoints(
    take: Take,
    opened: list[OpenedView],
    lenses: Sequence[Intrinsics],
    report: SolveReport,
    progress: Progress,
    so_far: bool = False,
) -> list[Keypoints2D]:
    """Detect people in the footage, or read the keypoints that the take imports.

    Convention:
        one `Keypoints2D` per view in view order, on the view's own clock (its first frame is 0); each
        slot is one track. As many views as there are processors are worked on at once, each holding
        one decoded frame, so memory does not grow with the clip. Frames that an earlier solve of the same footage
        looked at, even a cancelled one, are not looked at again; with ``so_far`` no others are, and the rest is
        missing.

    Raises:
        InputError: fewer than two views show anybody; the message names the empty views and frames.
        Cancelled: the user stopped the work.
    """
    detector = None
    if any(item.view.keypoints is None for item in opened):
        detector = load_detector(take.settings.detection)
        report.models.extend(
            {"name": card.name, "licence": card.licence, "sha256": card.sha256, "provider": detector.provider}
            for card in detector.cards
        )
    ranges = [(0, 0) if item.view.keypoints else frame_range(take, item) for item in opened]
    total = sum(stop - start for start, stop in ranges)
    kept = _followers(take, opened, ranges, detector)
    with progress.stage("detect", total) as advance:

        def of_view(index: int, stop: Callable[[], bool]) -> Keypoints2D:
            if index not in kept:
                return _imported(opened[index], lenses[index].image_size)
            watch = _ticked(advance, stop)
            return (
                _so_far(kept[index], report) if so_far else _detected(opened[index], ranges[index], kept[index], watch)
            )

        tracks = _side_by_side(of_view, len(opened))
    _check_somebody(opened, tracks, report)
    return tracks


KEEP_EVERY_S = 5.0
Ticker = Callable[[Iterator[tuple[int, NDArray]]], Iterator[tuple[int, NDArray]]]


def _ticked(advance: Callable[[], None], stop: Callable[[], bool]) -> Ticker:
    """Make a wrapper of frame iterators that reports each frame and ends when another view failed."""

    def watch(frames: Iterator[tuple[int, NDArray]]) -> Iterator[tuple[int, NDArray]]:
        for frame in frames:
            if stop():
                raise Cancelled("another view failed")
            yield frame
            advance()

    return watch


def _side_by_side(of_view: Callable[[int, Callable[[], bool]], Keypoints2D], count: int) -> list[Keypoints2D]:
    """Run one job per view on a few threads; the first failure stops the others and is raised."""
    jobs: list[Future[Keypoints2D]] = []

    def failed() -> bool:
        return any(job.done() and not job.cancelled() and job.exception() is not None for job in jobs)

    with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, count)) as pool:
        jobs.extend(pool.submit(of_view, index, failed) for index in range(count))
        _, pending = wait(jobs, return_when=FIRST_EXCEPTION)
        for job in pending:
            job.cancel()
    problems = [job.exception() for job in jobs if not job.cancelled()]
    for problem in sorted((p for p in problems if p is not None), key=lambda p: isinstance(p, Cancelled)):
        raise problem
    return [job.result() for job in jobs]


def _imported(item: OpenedView, calibrated_size: tuple[int, int]) -> Keypoints2D:
    view = item.view
    assert view.keypoints is not None and view.keypoint_layout is not None  # checked when the take was read
    size = item.size or calibrated_size
    detections = read_keypoints(
        view.keypoints, view.keypoint_layout, view.name, item.fps, size, view.keypoint_size, view.fit
    )
    return link_detections(detections)


def _followers(
    take: Take, opened: Sequence[OpenedView], ranges: Sequence[tuple[int, int]], detector: Detector | None
) -> dict[int, _Kept]:
    """Take up the people of every view that has footage alone.

    One after the other: `numpy.load` parses each array's header as Python, and the parser of Python 3.11.7, which
    Blender 4.2 carries, counts its depth once for all threads and fails where two of them parse.
    """
    if detector is None:
        return {}
    return {
        index: _follower(take, item, frames, detector)
        for index, (item, frames) in enumerate(zip(opened, ranges, strict=True))
        if item.view.keypoints is None
    }


def _follower(take: Take, item: OpenedView, frames: tuple[int, int], detector: Detector) -> _Kept:
    """Take up the people of a view where an earlier solve of the same footage came to."""
    assert item.footage is not None  # a view without keypoints has footage
    settings = take.settings.detection
    depends_on = (detector.cards, detector.provider, replace(settings, reuse_detections=True))
    path = kept_file(item.footage, frames, depends_on) if settings.reuse_detections else None
    count = frames[1] - frames[0]
    state = None if path is None else read_kept_detections(path, len(detector.joint_names), count)
    return _Kept(Follower(item.name, item.footage.timestamps_s[slice(*frames)], detector, settings, state), path)


def _detected(item: OpenedView, frames: tuple[int, int], kept: _Kept, watch: Ticker) -> Keypoints2D:
    """Follow the people of a view to its end, and keep how far it came."""
    assert item.footage is not None  # a view without keypoints has footage
    follower, before = kept.follower, kept.follower.done
    for _ in watch((number, _NO_PICTURE) for number in range(before)):
        pass  # they count as done
    kept_at = time.monotonic()
    try:
        for _, image in watch(read_frames(item.footage, frames[0] + before, frames[1])):
            follower.step(image)
            if kept.path is not None and time.monotonic() - kept_at > KEEP_EVERY_S:  # a process may be killed
                keep_detections(kept.path, follower.state())
                kept_at = time.monotonic()
    finally:  # cancelled, failed or through
        if kept.path is not None and follower.done > before:
            keep_detections(kept.path, follower.state())
    return follower.keypoints()


def _so_far(kept: _Kept, report: SolveReport) -> Keypoints2D:
    """Give what was detected before, without looking at any picture."""
    follower = kept.follower
    if follower.done == 0:
        nobody = np.zeros((1, 0, len(follower.joint_names)))
        times = follower.timestamps_s[:1]
        empty = (np.zeros((*nobody.shape, 2)), np.zeros((*nobody.shape, 2, 2)), nobody)
        return Keypoints2D(follower.view, follower.joint_names, times, *empty)
    if follower.done < len(follower.timestamps_s):
        report.warn(
            f"view {follower.view}: only the {follower.done} of {len(follower.timestamps_s)} frames that were detected "
            "before are used; solve in full for the rest"
        )
    return follower.keypoints_so_far()


def _check_somebody(opened: list[OpenedView], tracks: list[Keypoints2D], report: SolveReport) -> None:
    """Raise unless two views show somebody; warn of each view that shows nobody."""
    empty = [
        f"{item.name} (frames 0-{len(k.timestamps_s) - 1})"
        for item, k in zip(opened, tracks, strict=True)
        if not k.observed.any()
    ]
    if len(tracks) - len(empty) < min(2, len(tracks)):
        raise InputError(
            f"no person found in view {', '.join(empty)}; a solve needs people in at least two views: "
            "check the videos, or lower min_person_score"
        )
    for view in empty:
        report.warn(f"no person found in view {view}: the view is not used")
