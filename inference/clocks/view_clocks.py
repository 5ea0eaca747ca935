"""The views' clocks in a solve: offsets that the take leaves to the motion, and given ones that the motion denies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import InputError
from ..keypoints import on_one_layout
from ..take import Take
from ..types import CameraRig, Keypoints2D, SolveReport
from ..views import OpenedView
from .synchronisation import contradicted_offsets, synchronise


def views_in_step(
    take: Take, opened: list[OpenedView], rig: CameraRig, tracks: list[Keypoints2D], report: SolveReport
) -> list[OpenedView]:
    """Find the offset (and drift) of every view whose ``offset_s`` is "auto"; warn of given ones that do not fit.

    Convention:
        ``t_take = t_view · (1 + drift_ppm · 1e-6) + offset_s``. What was found, with its standard deviation, goes to
        the report's facts; a warning is a clear finding (half a frame and 3 sigma more), never an error.

    Args:
        take: says which offsets are given.
        opened: V views.
        rig: V cameras.
        tracks: V views' keypoints on their own clocks.
        report: takes facts and warnings.

    Returns:
        The views, with the clocks that were found.

    Raises:
        InputError: an offset is to be found, and a camera moves.
        DegenerateError: the motion does not determine an offset; the message names the view and what to do.
    """
    worst_px = take.settings.association.max_ray_error_px
    common = on_one_layout(tracks)
    given = [item.view.offset_s for item in opened]
    if rig.moving:
        unknown = [item.name for item in opened if item.view.offset_s is None]
        if unknown:
            raise InputError(
                f'view {unknown[0]!r}: offset_s = "auto" is found from cameras that stand still, and '
                f"{', '.join(rig.moving)} move; state offset_s"
            )
    if any(offset is None for offset in given):
        found = synchronise(rig, common, given, worst_px)
        opened = [
            replace(item, found_offset_s=float(found.offset_s[v]), drift_ppm=float(found.drift_ppm[v]))
            for v, item in enumerate(opened)
        ]
        report.facts["synchronisation"] = [
            {
                "view": item.name,
                "offset_s": item.offset_s,
                "offset_sigma_s": float(found.offset_sigma_s[v]),
                "drift_ppm": item.drift_ppm,
                "drift_sigma_ppm": float(found.drift_sigma_ppm[v]),
                "found": item.view.offset_s is None,
            }
            for v, item in enumerate(opened)
        ]
    still = [v for v, camera in enumerate(rig.cameras) if given[v] is not None and camera.path is None]
    if len(still) > 1:
        _warn_of_contradictions(still, opened, rig, common, report, worst_px)
    return opened


def _warn_of_contradictions(
    given: list[int],
    opened: list[OpenedView],
    rig: CameraRig,
    tracks: list[Keypoints2D],
    report: SolveReport,
    worst_px: float,
) -> None:
    """Compare the given offsets of some views with the motion; views that were found are in step with them anyway."""
    exact = np.zeros((6 * len(given), 6 * len(given)))
    sub = CameraRig(tuple(rig.cameras[v] for v in given), exact, rig.gauge)
    offsets = [opened[v].offset_s for v in given]
    for wrong in contradicted_offsets(sub, [tracks[v] for v in given], offsets, worst_px):
        report.warn(
            f"view {wrong.view}: offset_s = {wrong.offset_s:g} does not fit the motion; {wrong.better_s:.3f} s does "
            f'(within {wrong.sigma_s:.3f} s): correct it, or write offset_s = "auto"'
        )
