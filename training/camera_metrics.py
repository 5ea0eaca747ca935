"""How far estimated cameras are from the true ones, where the world's own frame may differ.

Reprojection is measured by `inference.report.judges.reprojection_errors`, the epipolar distance in pixels by
`inference.geometry.epipolar.epipolar_distance`, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inference.errors import DegenerateError, ShapeError
from inference.geometry.rotation import log
from inference.shapes import FloatArray, check_shapes
from inference.types import Camera

from .alignment import fit_similarity


@dataclass(frozen=True, eq=False)
class CameraErrors:
    """Errors of V cameras; the first camera is the reference of rotation and direction."""

    rotation_deg: FloatArray  # (V - 1,) of the rotation from the first camera to each other
    direction_deg: FloatArray  # (V - 1,) of the direction from the first camera to each other
    scale: float  # estimated over true size of the rig, 1 where the size is right
    centre_m: FloatArray  # (V,) after the best similarity, in true metres; NaN for two cameras


def rotation_error_deg(
    estimated: FloatArray,  # (..., 3, 3)
    true: FloatArray,  # (..., 3, 3)
) -> FloatArray:
    """Return the angle of the rotation between two.

    Returns:
        (...) degrees, 0-180.
    """
    check_shapes(estimated=(estimated, "... 3 3"), true=(true, "... 3 3"))
    between = np.asarray(estimated) @ np.swapaxes(np.asarray(true), -1, -2)
    return np.rad2deg(np.linalg.norm(log(between), axis=-1))


def direction_error_deg(
    estimated: FloatArray,  # (..., 3)
    true: FloatArray,  # (..., 3)
) -> FloatArray:
    """Return the angle between two directions of any length; opposite ones are 180 degrees apart.

    Returns:
        (...) degrees; NaN for a direction of length zero.
    """
    check_shapes(estimated=(estimated, "... 3"), true=(true, "... 3"))
    estimated, true = np.broadcast_arrays(np.asarray(estimated, float), np.asarray(true, float))
    # atan2 keeps small angles, which arccos rounds away.
    sine = np.linalg.norm(np.cross(estimated, true), axis=-1)
    cosine = (estimated * true).sum(axis=-1)
    return np.where((sine == 0) & (cosine == 0), np.nan, np.rad2deg(np.arctan2(sine, cosine)))


def camera_errors(estimated: Sequence[Camera], true: Sequence[Camera]) -> CameraErrors:
    """Compare rigs whose worlds may differ by a similarity.

    Convention:
        cameras in the same order. Rotation and direction are relative to the first camera, in its axes, and so do not
        depend on the world. The scale is the spread of the centres about their middle, estimated over true. With
        two cameras a similarity fits both centres exactly, so their error says nothing: NaN.

    Raises:
        ShapeError: the rigs differ in their cameras' names.
        DegenerateError: fewer than two cameras, or all in one place.
    """
    if [camera.name for camera in estimated] != [camera.name for camera in true]:
        raise ShapeError("the rigs hold different cameras, or in another order: compare them by name first")
    mine, theirs = (np.array([camera.centre for camera in rig]) for rig in (estimated, true))
    sizes = [np.linalg.norm(centres - centres.mean(axis=0)) if len(centres) else 0.0 for centres in (mine, theirs)]
    if len(true) < 2 or min(sizes) < 1e-9 * max(np.abs(mine).max(), np.abs(theirs).max()):
        raise DegenerateError("relative camera errors take at least two cameras in different places")
    relative = [_relative_to_first(rig) for rig in (estimated, true)]
    if len(true) > 2:
        centre = np.linalg.norm(fit_similarity(mine, theirs).apply(mine) - theirs, axis=-1)
    else:
        centre = np.full(2, np.nan)
    return CameraErrors(
        rotation_deg=rotation_error_deg(relative[0][0], relative[1][0]),
        direction_deg=direction_error_deg(relative[0][1], relative[1][1]),
        scale=float(sizes[0] / sizes[1]),
        centre_m=centre,
    )


def _relative_to_first(rig: Sequence[Camera]) -> tuple[FloatArray, FloatArray]:
    """Rotation (V-1, 3, 3) and centre (V-1, 3) of the other cameras in the axes of the first."""
    first = rig[0]
    rotations = np.array([camera.R @ first.R.T for camera in rig[1:]])
    centres = np.array([first.R @ camera.centre + first.t for camera in rig[1:]])
    return rotations, centres
