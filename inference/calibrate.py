"""The cameras of a take alone, written as files of our own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from .calibration.from_take import lenses_of_views, refined_rig, rig_from_person
from .clocks.view_clocks import views_in_step
from .detection import find_keypoints
from .files.anipose_toml import write_anipose_toml
from .files.solution import write_cameras
from .pipeline import (
    check_calibration,
    check_folder,
    people_in_all_views,
    rig_of_views,
    tracks_on_one_clock,
    whole_folder,
)
from .progress import Progress
from .report.record import json_safe, versions
from .take import Take
from .types import CameraRig, SolveReport
from .views import open_views


def calibrate(take: Take, out: Path, progress: Progress | None = None) -> CameraRig:
    """Bring a take's cameras into the pixels of its views, or solve them from the person, and write them.

    Convention:
        ``cameras.toml`` is aniposelib's dialect in metres, ``cameras.npz`` has the camera keys of a solution,
        ``report.json`` says where the cameras stand; nothing appears in ``out`` unless all three can be written.

    Args:
        take: the take; people are looked for only where the cameras are to be solved from them.
        out: folder of the results; made if needed.
        progress: told how far the work is; silent if None.

    Returns:
        The rig, as written.

    Raises:
        InputError: footage or calibration cannot be used.
        DegenerateError: the cameras are to be solved from people who do not determine them.
    """
    check_folder(out)
    report = SolveReport(take=take.name)
    opened = open_views(take)
    if take.calibration.from_person:
        lenses = lenses_of_views(take, opened, report)
        tracks = find_keypoints(take, opened, lenses, report, progress or Progress())
        rig = rig_from_person(take, opened, lenses, tracks, report)
    else:
        rig = rig_of_views(take, opened, report)
        if take.calibration.refine_cameras:
            tracks = find_keypoints(take, opened, rig.lenses, report, progress or Progress())
            opened = views_in_step(take, opened, rig, tracks, report)
            in_step = tracks_on_one_clock(take, opened, tracks)
            doubt = check_calibration(take, rig, in_step, report)
            rig = refined_rig(take, rig, people_in_all_views(take, rig, in_step, report, doubt), report)
    with whole_folder(out) as folder:
        write_anipose_toml(folder / "cameras.toml", rig.cameras)
        offset_s, drift_ppm = np.array([(item.offset_s, item.drift_ppm) for item in opened]).T
        write_cameras(folder / "cameras.npz", rig, offset_s, drift_ppm)
        text = json.dumps(_record(rig, report), indent=1, allow_nan=False)
        (folder / "report.json").write_text(text, encoding="utf-8")
    return rig


def _record(rig: CameraRig, report: SolveReport) -> dict[str, object]:
    centres = np.array([camera.centre for camera in rig.cameras])
    distances = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    cameras = [
        {
            "name": camera.name,
            "image_size": camera.intrinsics.image_size,
            "focal_length_px": [camera.intrinsics.K[0, 0], camera.intrinsics.K[1, 1]],
            "centre_m": camera.centre,
            "nearest_camera_m": np.delete(row, index).min(),
        }
        for index, (camera, row) in enumerate(zip(rig.cameras, distances, strict=True))
    ]
    return json_safe(
        {
            "take": report.take,
            "versions": versions(),
            "gauge": rig.gauge,
            "facts": report.facts,
            "cameras": cameras,
            "warnings": report.warnings,
        }
    )
