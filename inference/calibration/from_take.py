"""The cameras of a take that has no calibration: lenses from a file, poses from the people in the views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..cameras import lenses_for_take
from ..errors import DegenerateError
from ..keypoints import on_one_layout, resample
from ..shapes import FloatArray
from ..take import Take
from ..types import CameraRig, Intrinsics, Keypoints2D, SolveReport
from ..views import OpenedView, take_clock
from .refinement import refine_cameras
from .scale import KnownLengths
from .self_calibration import SelfCalibration, calibrate_from_person
from .unsynchronised import calibrate_unsynchronised


def lenses_of_views(take: Take, opened: Sequence[OpenedView], report: SolveReport) -> tuple[Intrinsics, ...]:
    """Read the lenses and bring them into the pixels of the views.

    Raises:
        InputError: no lenses are named.
    """
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
    known = KnownLengths(take.calibration.distance, take.calibration.bone, take.calibration.focal_sigma)

    def solve(offsets: Sequence[float] | FloatArray, clocks: Sequence[int]) -> SelfCalibration:
        placed = [replace(item, found_offset_s=float(offset)) for item, offset in zip(opened, offsets, strict=True)]
        times = take_clock(take, placed, tracks)
        on_clock = [resample(k, times, item.offset_s, 0.0) for item, k in zip(placed, tracks, strict=True)]
        common = on_one_layout(on_clock)
        return calibrate_from_person(
            lenses, common, take.persons, take.height_m, take.settings.association, known, clocks
        )

    given = [item.view.offset_s for item in opened]
    if None in given:
        joint = calibrate_unsynchronised(lenses, on_one_layout(tracks), given, solve)
        found = joint.found
        found.facts["offset_s"] = dict(zip([item.name for item in opened], joint.offset_s, strict=True))
    else:
        found = solve([item.offset_s for item in opened], ())
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
    if rig.moving:
        report.warn(f"refine_cameras: {', '.join(rig.moving)} move, and only a rig that stands still is refined")
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
