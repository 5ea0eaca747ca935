"""Cameras that move on the take's clock: brought there, checked against the pictures that are used, written again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .errors import InputError
from .files.camera_table import FramePath
from .geometry.camera_path import centres_at, centres_of, on_clock
from .geometry.rotation import log
from .shapes import FloatArray
from .types import CameraPath, CameraRig, Keypoints2D, SolveReport
from .views import OpenedView

_WIDE = 1.5  # times the usual step between poses: a wider one is a gap
_SHORT_S = 0.1  # a gap as short is of no account
_STILL_RAD, _STILL_M = 2e-3, 0.005  # a camera that turns and moves less over a gap stood still in it


def rig_on_clock(rig: CameraRig, opened: Sequence[OpenedView]) -> CameraRig:
    """Bring cameras that move from their views' clocks to the take's."""
    pairs = zip(rig.cameras, opened, strict=True)
    return replace(rig, cameras=tuple(on_clock(camera, item.offset_s, item.drift_ppm) for camera, item in pairs))


def check_paths(
    rig: CameraRig,
    opened: Sequence[OpenedView],
    tracks: Sequence[Keypoints2D],
    times_s: FloatArray,  # (T,)
    report: SolveReport,
) -> None:
    """Refuse poses that end before their view does, and warn of those that are missing between others.

    Convention:
        a gap is a step one and a half times as wide as the usual one, over which the camera moved: poses that are
        held, or given sparsely, have none.

    Args:
        rig: the cameras, on the take's clock.
        opened: the views, in step.
        tracks: their keypoints, on their own clocks.
        times_s: of the solve.
        report: takes the warnings.

    Raises:
        InputError: a view runs while its camera's poses are not known.
    """
    for camera, item, keypoints in zip(rig.cameras, opened, tracks, strict=True):
        if camera.path is None or not len(keypoints.timestamps_s):
            continue
        begin, end = camera.path.times_s[[0, -1]]
        runs = item.on_take_clock(keypoints.timestamps_s[[0, -1]])
        needed = times_s[(times_s >= runs[0]) & (times_s <= runs[1])]
        if not len(needed):
            continue
        step = 1.0 / item.fps
        if needed[0] < begin - step or needed[-1] > end + step:
            raise InputError(
                f"view {item.name!r}: its camera moves, and its poses are known from {begin:.2f} s to {end:.2f} s "
                f"of the take, but the view is used from {needed[0]:.2f} s to {needed[-1]:.2f} s; give poses for "
                "all of it, or set start and end of the take"
            )
        gaps = [gap for gap in _gaps(camera.path) if gap[1] > needed[0] and gap[0] < needed[-1]]
        if gaps:
            told = ", ".join(f"{first:.2f}-{last:.2f} s" for first, last in gaps[:5])
            more = f" and {len(gaps) - 5} more" if len(gaps) > 5 else ""
            report.warn(
                f"view {item.name}: its camera moves, and poses are missing at {told}{more}: there it is taken to move "
                "evenly from the pose before to the one after; give those poses, or drop the view there"
            )


def _gaps(path: CameraPath) -> list[tuple[float, float]]:
    steps = np.diff(path.times_s)
    if not len(steps):
        return []
    wide = np.flatnonzero(steps > max(_WIDE * float(np.median(steps)), _SHORT_S))
    turned = np.linalg.norm(log(path.R[wide + 1] @ path.R[wide].swapaxes(-1, -2)), axis=-1)
    centres = centres_of(path.R, path.t)
    moved = np.linalg.norm(centres[wide + 1] - centres[wide], axis=-1)
    wide = wide[(turned > _STILL_RAD) | (moved > _STILL_M)]
    return [(float(path.times_s[k]), float(path.times_s[k + 1])) for k in wide]


def frame_paths(rig: CameraRig, opened: Sequence[OpenedView]) -> dict[str, FramePath]:
    """Poses of the cameras that move, on the take's clock, by the pictures of their views' videos again."""
    return {
        camera.name: FramePath(item.frame_at(camera.path.times_s), camera.path.R, camera.path.t)
        for camera, item in zip(rig.cameras, opened, strict=True)
        if camera.path is not None
    }


def distances_m(
    rig: CameraRig,
    points: FloatArray,  # (T, ..., 3) m, NaN where unknown
    times_s: FloatArray,  # (T,)
) -> FloatArray:
    """(V,) median distance of points from the cameras as they stand at the time of each."""
    flat = points.reshape(len(points), -1, 3)
    apart = [np.linalg.norm(flat - centres_at(c, times_s)[:, None], axis=-1) for c in rig.cameras]
    return np.array([np.nanmedian(each) for each in apart])
