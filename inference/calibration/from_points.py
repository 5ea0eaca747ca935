"""The cameras of a take from measured points of the scene: lenses from a file, poses from clicks in the pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..cameras import lenses_for_take
from ..errors import InputError
from ..files.camera_table import find_name
from ..files.scene_points import ScenePoints, read_scene_points
from ..take import Take
from ..types import SolveReport
from ..views import OpenedView
from .fit import Fit, SolvedCameras
from .scene_points import PointsRig, solve_points

_WILD_PX = 8.0  # a click farther off is told
_MOVED_M = 0.015  # a point adjusted by more is told


def cameras_from_points(take: Take, opened: Sequence[OpenedView], report: SolveReport) -> SolvedCameras:
    """Solve the poses of all views from the table of measured points.

    Convention:
        as `solve_points`; the residual of every point in every view goes to the report under ``scene_points``.

    Raises:
        InputError: the table or the lenses cannot be used, or a view has no column.
        DegenerateError: the points do not determine a camera.
    """
    assert take.calibration.points is not None  # the caller has looked
    lenses, warnings = lenses_for_take(take, {item.name: item.size for item in opened if item.size})
    points = read_scene_points(take.calibration.points)
    columns = {item.name: find_name(item.name, points.pixels) for item in opened}
    missing = [view for view, column in columns.items() if column is None]
    if missing:
        raise InputError(
            f"{take.calibration.points} has no columns {missing[0]}_u, {missing[0]}_v; its views: "
            f"{', '.join(points.pixels)}"
        )
    pixels = np.stack([points.pixels[str(column)] for column in columns.values()])
    found = solve_points(lenses, points.xyz, pixels)
    for warning in (*warnings, *_doubts(points, found, pixels)):
        report.warn(warning)
    error_px = np.linalg.norm(found.predicted - pixels, axis=-1)
    report.facts["scene_points"] = {
        lens.name: {name: float(px) for name, px in zip(points.names, row, strict=True) if np.isfinite(px)}
        for lens, row in zip(lenses, error_px, strict=True)
    }
    fits = []
    for item, clicks, predicted in zip(opened, pixels, found.predicted, strict=True):
        seen = np.isfinite(clicks).all(axis=-1)
        names = tuple(name for name, is_seen in zip(points.names, seen, strict=True) if is_seen)
        fits.append(Fit(item.name, item.footage, np.zeros(seen.sum()), clicks[seen], predicted[seen], names))
    return SolvedCameras(found.rig, tuple(fits))


def _doubts(points: ScenePoints, found: PointsRig, pixels: np.ndarray) -> list[str]:
    told = []
    error_px = np.linalg.norm(found.predicted - pixels, axis=-1)
    for v, row in enumerate(error_px):
        for name, px in zip(points.names, row, strict=True):
            if px > _WILD_PX:
                view = found.rig.names[v]
                told.append(f"point {name!r} is {px:.0f} px off in view {view}: clicked, named or measured wrong")
    moved = np.linalg.norm(found.xyz - points.xyz, axis=-1)
    for name, metres in zip(points.names, moved, strict=True):
        if metres > _MOVED_M:
            told.append(f"point {name!r} fits the views {1000 * metres:.0f} mm from where it was measured")
    return told
