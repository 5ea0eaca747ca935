"""The cameras of a take that has no calibration: lenses from a file, poses from the people in the views."""

from __future__ import annotations

from collections.abc import Sequence

from ..cameras import lenses_for_take
from ..errors import DegenerateError, InputError
from ..keypoints import on_one_layout, resample
from ..take import Take
from ..types import CameraRig, Intrinsics, Keypoints2D, SolveReport
from ..views import OpenedView, take_clock
from .refinement import refine_cameras
from .self_calibration import calibrate_from_person


def lenses_of_views(take: Take, opened: Sequence[OpenedView], report: SolveReport) -> tuple[Intrinsics, ...]:
    """Read the lenses and bring them into the pixels of the views.

    Raises:
        InputError: no lenses are named, or an offset is to be found too.
    """
    for view in take.views:
        if view.offset_s is None:
            raise InputError(
                f'view {view.name!r}: offset_s = "auto" needs known cameras, and [calibration] source = "self" '
                "needs views in step; give offset_s in seconds, or a calibration file"
            )
    lenses, warnings = lenses_for_take(take, {item.name: item.size for item in opened if item.size})
    for warning in warnings:
        report.warn(warning)
    return lenses


def rig_from_person(
    take: Take,
    opened: list[OpenedView],
    lenses: Sequence[Intrinsics],
    tracks: list[Keypoints2D],
    report: SolveReport,
) -> CameraRig:
    """Solve the camera poses from the tracks of all views.

    Convention:
        as `calibrate_from_person`; facts go to the report under ``self_calibration``.

    Raises:
        DegenerateError: the people do not determine the cameras.
    """
    times = take_clock(take, opened, tracks)
    on_clock = [resample(k, times, item.offset_s, item.drift_ppm) for item, k in zip(opened, tracks, strict=True)]
    found = calibrate_from_person(
        lenses, on_one_layout(on_clock), take.persons, take.height_m, take.settings.association
    )
    for warning in found.warnings:
        report.warn(warning)
    report.facts["self_calibration"] = found.facts
    return found.rig


def refined_rig(take: Take, rig: CameraRig, views: Sequence[Keypoints2D], report: SolveReport) -> CameraRig:
    """Adjust given cameras on the person where the take asks for it; keep them where the evidence is weak.

    Convention:
        how far every camera moved goes to the report under ``refined_cameras``, and is a warning; so is a refusal.
    """
    if not take.calibration.refine_cameras or take.calibration.from_person:
        return rig
    try:
        found = refine_cameras(rig, views)
    except DegenerateError as problem:
        report.warn(f"refine_cameras: {problem}; the given cameras are kept")
        return rig
    report.facts["refined_cameras"] = {
        name: {
            "rotation_deg": found.rotation_deg[name],
            "centre_m": found.centre_m[name],
            "median_error_px": list(found.median_error_px[name]),
        }
        for name in rig.names
    }
    moves = [(name, found.rotation_deg[name], 1000 * found.centre_m[name]) for name in rig.names]
    told = ", ".join(f"{name} by {degrees:.2f} degrees and {mm:.0f} mm" for name, degrees, mm in moves)
    report.warn(f"refine_cameras moved the given cameras: {told}")
    return found.rig
