"""The cameras of a take alone, written as files of our own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from .calibration.fit import Fit, SolvedCameras
from .calibration.from_take import lenses_of_views, refined_rig, rig_from_person
from .calibration.person_scale import scaled_by_person
from .cameras import UNSCALED_GAUGE
from .clocks.view_clocks import views_in_step
from .detection import find_keypoints
from .files.anipose_toml import write_anipose_toml
from .files.solution import write_cameras
from .footage import nearest_frames
from .geometry.camera_path import before_first_pose
from .geometry.projection import project
from .geometry.triangulation import triangulate
from .moving_cameras import check_paths, frame_paths, rig_on_clock
from .pipeline import (
    cameras_of_views,
    check_calibration,
    check_folder,
    people_in_all_views,
    tracks_on_one_clock,
    whole_folder,
)
from .progress import Progress
from .report.camera_page import build_camera_page, camera_facts
from .report.record import json_safe, versions
from .shapes import FloatArray
from .take import Take
from .types import CameraRig, Keypoints2D, SolveReport
from .views import OpenedView, open_views


def calibrate(take: Take, out: Path, progress: Progress | None = None, check: bool = False) -> CameraRig:
    """Bring a take's cameras into the pixels of its views, or solve them, and write them.

    Convention:
        ``cameras.toml`` is aniposelib's dialect in metres, ``cameras.npz`` has the camera keys of a solution,
        ``report.json`` and ``report.html`` say where the cameras stand and how well they fit; nothing appears in
        ``out`` unless all can be written.

    Args:
        take: the take; people are looked for only where the cameras are solved, refined, scaled or checked by them.
        out: folder of the results; made if needed.
        progress: told how far the work is; silent if None.
        check: whether given cameras are checked by the people in the footage.

    Returns:
        The rig, as written.

    Raises:
        InputError: footage or calibration cannot be used, or has a mistake that can be named.
        DegenerateError: what the cameras are to be solved from does not determine them.
    """
    check_folder(out)
    progress = progress or Progress()
    report = SolveReport(take=take.name)
    opened = open_views(take)
    solved, points = SolvedCameras(CameraRig((), np.zeros((0, 0)))), np.zeros((0, 3))
    if not take.calibration.from_person:
        solved = cameras_of_views(take, opened, report)
    if check or take.calibration.from_person or take.calibration.refine_cameras or solved.rig.gauge == UNSCALED_GAUGE:
        opened, solved, points = _by_person(take, opened, solved, report, progress)
    else:
        solved = replace(solved, rig=rig_on_clock(solved.rig, opened))
    record = _record(solved, report)
    with whole_folder(out) as folder:
        write_anipose_toml(folder / "cameras.toml", solved.rig.cameras, frame_paths(solved.rig, opened))
        offset_s, drift_ppm = np.array([(item.offset_s, item.drift_ppm) for item in opened]).T
        write_cameras(folder / "cameras.npz", solved.rig, offset_s, drift_ppm)
        (folder / "report.json").write_text(json.dumps(record, indent=1, allow_nan=False), encoding="utf-8")
        page = build_camera_page(record, solved.rig, solved.fits, points)
        (folder / "report.html").write_text(page, encoding="utf-8")
    return solved.rig


def _by_person(
    take: Take, opened: list[OpenedView], given: SolvedCameras, report: SolveReport, progress: Progress
) -> tuple[list[OpenedView], SolvedCameras, FloatArray]:
    """Solve, scale, check or refine cameras on the people; return views in step, cameras with fits, and joints."""
    person = take.calibration.from_person
    lenses = lenses_of_views(take, opened, report) if person else given.rig.lenses
    tracks = find_keypoints(take, opened, lenses, report, progress)
    rig = rig_from_person(take, opened, lenses, tracks, report) if person else given.rig
    opened = views_in_step(take, opened, rig, tracks, report)
    in_step = tracks_on_one_clock(take, opened, tracks)
    rig = rig_on_clock(rig, opened)
    check_paths(rig, opened, tracks, in_step[0].timestamps_s, report)
    rig = scaled_by_person(take, rig, in_step, report)
    doubt = check_calibration(take, rig, in_step, report)
    views = people_in_all_views(take, rig, in_step, report, doubt)
    rig = refined_rig(take, rig, views, report)
    joints = triangulate(rig, views, take.settings.triangulation)
    fits = tuple(
        _fit(item, view, project(camera, before_first_pose(camera, joints.xyz, joints.timestamps_s)))
        for item, view, camera in zip(opened, views, rig.cameras, strict=True)
    )
    floor = joints.xyz[joints.observed]
    return opened, SolvedCameras(rig, given.fits or fits), floor[:: max(1, len(floor) // 1000)]


def _fit(item: OpenedView, view: Keypoints2D, predicted: FloatArray) -> Fit:
    """Pair a view's keypoints with where the cameras put the joints."""
    both = view.observed & np.isfinite(predicted).all(axis=-1)
    frames = np.zeros(len(view.timestamps_s), dtype=np.int64)
    if item.footage is not None:
        frames = nearest_frames(item.footage, view.timestamps_s, item.offset_s)
    return Fit(item.name, item.footage, frames[np.nonzero(both)[0]], view.xy[both], predicted[both])


def _record(solved: SolvedCameras, report: SolveReport) -> dict[str, object]:
    return json_safe(
        {
            "take": report.take,
            "versions": versions(),
            "gauge": solved.rig.gauge,
            "facts": report.facts,
            "cameras": camera_facts(solved.rig, solved.fits),
            "warnings": report.warnings,
        }
    )
