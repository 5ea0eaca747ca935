"""The scale of cameras by the person in front of them: for calibrations that have none, and to find wrong units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..cameras import UNSCALED_GAUGE, stated_covariance
from ..errors import DegenerateError
from ..take import Take
from ..types import CameraRig, Keypoints2D, SolveReport
from .gauge import TYPICAL_HEIGHT_M
from .observations import gather_observations
from .self_calibration import typical_scale
from .tracks import main_tracks

_MOMENTS = 60


def person_height(rig: CameraRig, people: Sequence[Keypoints2D]) -> float | None:
    """Height of a person by the cameras, in the unit of their positions.

    Args:
        rig: cameras that agree with each other.
        people: the same person in slot 0 of every view.

    Returns:
        The height, from the lengths of limbs and torso; None where too little of the person is seen, or cameras move.
    """
    if rig.moving:
        return None
    observations = gather_observations(rig.lenses, people, _MOMENTS)
    R, t = np.stack([c.R for c in rig.cameras]), np.stack([c.t for c in rig.cameras])
    try:
        return TYPICAL_HEIGHT_M / typical_scale(observations, R, t)
    except DegenerateError:
        return None


def scaled_by_person(take: Take, rig: CameraRig, tracks: Sequence[Keypoints2D], report: SolveReport) -> CameraRig:
    """Give cameras whose file has no scale that of the person, ``height_m`` tall; leave others alone.

    Convention:
        the scale and the camera spacing that follows are told as a warning: a stature from joints is good to some
        percent, and the covariance of the cameras does not hold its error.

    Raises:
        DegenerateError: too little of the person is seen to tell a height.
    """
    if rig.gauge != UNSCALED_GAUGE or take.height_m is None:
        return rig
    height = person_height(rig, main_tracks(rig.lenses, tracks))
    if height is None:
        raise DegenerateError(
            "the calibration has no scale, and no limb of the person is seen from end to end; give the distance of two "
            "cameras instead (distance_m and distance_between under [calibration])"
        )
    scale = take.height_m / height
    cameras = tuple(camera.with_poses(lambda R, t: (R, scale * t)) for camera in rig.cameras)
    centres = np.stack([camera.centre for camera in cameras])
    widest = float(np.linalg.norm(centres[:, None] - centres[None], axis=-1).max())
    report.warn(
        f"the calibration has no scale: it is taken from a person of {take.height_m:.2f} m, which puts the cameras "
        f"farthest apart {widest:.2f} m apart; a measured distance_m is surer"
    )
    return replace(rig, cameras=cameras, covariance=stated_covariance(cameras, take.calibration))
