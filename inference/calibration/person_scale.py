"""The scale of cameras by the person in front of them: for calibrations that have none, and to find wrong units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..cameras import UNSCALED_GAUGE, stated_covariance
from ..config import TriangulationSettings
from ..errors import DegenerateError
from ..geometry.camera_path import centres_at
from ..geometry.triangulation import triangulate
from ..keypoints import at_frames
from ..layouts import place
from ..take import Take
from ..types import CameraRig, Keypoints2D, SolveReport
from .gauge import TYPICAL_HEIGHT_M, stature
from .observations import gather_observations
from .self_calibration import typical_scale
from .tracks import main_tracks

_MOMENTS = 60
_ROOM_M = 4.0  # between cameras: triangulation wants a world of about a room's size


def person_height(rig: CameraRig, people: Sequence[Keypoints2D]) -> float | None:
    """Height of a person by the cameras, in the unit of their positions.

    Args:
        rig: cameras that agree with each other.
        people: the same person in slot 0 of every view.

    Returns:
        The height, from the lengths of limbs and torso; None where too little of the person is seen.
    """
    if rig.moving:
        return _height_by_moving_cameras(rig, people)
    observations = gather_observations(rig.lenses, people, _MOMENTS)
    R, t = np.stack([c.R for c in rig.cameras]), np.stack([c.t for c in rig.cameras])
    try:
        return TYPICAL_HEIGHT_M / typical_scale(observations, R, t)
    except DegenerateError:
        return None


def _height_by_moving_cameras(rig: CameraRig, people: Sequence[Keypoints2D]) -> float | None:
    times = people[0].timestamps_s
    frames = np.unique(np.linspace(0, len(times) - 1, min(_MOMENTS, len(times))).astype(int))
    some = [at_frames(view, frames) for view in people]
    centres = np.stack([centres_at(camera, times[frames]) for camera in rig.cameras])
    scale = _ROOM_M / max(float(np.linalg.norm(centres - centres[:1], axis=-1).max()), 1e-6)
    height = None
    for _ in range(2):
        points = triangulate(_scaled(rig, scale), some, TriangulationSettings()).xyz[:, 0]
        try:
            height = stature(points, tuple(place(name) for name in some[0].joint_names)) / scale
        except DegenerateError:
            return None
        scale = TYPICAL_HEIGHT_M / height
    return height


def _scaled(rig: CameraRig, scale: float) -> CameraRig:
    return replace(rig, cameras=tuple(camera.with_poses(lambda R, t: (R, scale * t)) for camera in rig.cameras))


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
    cameras = _scaled(rig, take.height_m / height).cameras
    centres = np.stack([camera.centre for camera in cameras])
    widest = float(np.linalg.norm(centres[:, None] - centres[None], axis=-1).max())
    report.warn(
        f"the calibration has no scale: it is taken from a person of {take.height_m:.2f} m, which puts the cameras "
        f"farthest apart {widest:.2f} m apart; a measured distance_m is surer"
    )
    return replace(rig, cameras=cameras, covariance=stated_covariance(cameras, take.calibration))
