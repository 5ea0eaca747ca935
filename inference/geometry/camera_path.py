"""Cameras that move: their poses at any time, and a moving camera as a still one in front of which the world moves.

A point X that a camera sees from its pose (R_f, t_f) is seen just so from the camera's first pose (R_0, t_0) where it
stands at X' = M_f X + m_f, with M_f = R_0ᵀ R_f and m_f = R_0ᵀ (t_f - t_0). So the mathematics of still cameras holds at
X', and derivatives by X are those by X' times M_f. An error of the first pose stays as it is in the camera's own axes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..shapes import BoolArray, FloatArray, IntArray
from ..types import Camera, CameraPath, CameraRig
from .rotation import matrix_from_quaternion, quaternion_from_matrix, slerp


def poses_at(
    camera: Camera,
    times_s: FloatArray,  # (T,)
) -> tuple[FloatArray, FloatArray]:
    """(T, 3, 3) and (T, 3) m of a camera at some times, of the clock of its path; before and after it, its ends."""
    path = camera.path
    if path is None:
        count = len(times_s)
        return np.broadcast_to(camera.R, (count, 3, 3)), np.broadcast_to(camera.t, (count, 3))
    last = len(path.times_s) - 1
    before = np.clip(np.searchsorted(path.times_s, times_s, side="right") - 1, 0, max(last - 1, 0))
    after = np.minimum(before + 1, last)
    width = path.times_s[after] - path.times_s[before]
    share = np.clip((times_s - path.times_s[before]) / np.where(width > 0, width, 1.0), 0, 1)
    R = matrix_from_quaternion(slerp(*(quaternion_from_matrix(path.R[some]) for some in (before, after)), share=share))
    first, second = (centres_of(path.R[some], path.t[some]) for some in (before, after))
    centre = (1 - share)[:, None] * first + share[:, None] * second
    return R, -np.einsum("tij,tj->ti", R, centre)


def centres_of(
    R: FloatArray,  # (..., 3, 3) camera from world
    t: FloatArray,  # (..., 3) m
) -> FloatArray:
    """(..., 3) m where cameras of those poses stand."""
    return -np.einsum("...ji,...j->...i", R, t)


def centres_at(
    camera: Camera,
    times_s: FloatArray,  # (T,)
) -> FloatArray:
    """(T, 3) m where a camera stands."""
    return centres_of(*poses_at(camera, times_s))


def camera_at(camera: Camera, time_s: float) -> Camera:
    """Return the camera as it stands at one time."""
    if camera.path is None:
        return camera
    R, t = poses_at(camera, np.array([time_s]))
    return Camera(camera.intrinsics, R[0], t[0])


def rig_at(rig: CameraRig, time_s: float) -> CameraRig:
    """Return the cameras as they stand at one time."""
    return replace(rig, cameras=tuple(camera_at(camera, time_s) for camera in rig.cameras)) if rig.moving else rig


def on_clock(camera: Camera, offset_s: float, drift_ppm: float) -> Camera:
    """Bring a moving camera from its view's clock to the take's: ``t_view · (1 + drift_ppm · 1e-6) + offset_s``."""
    if camera.path is None:
        return camera
    times = camera.path.times_s * (1 + 1e-6 * drift_ppm) + offset_s
    return replace(camera, path=CameraPath(times, camera.path.R, camera.path.t))


def before_first_pose(
    camera: Camera,
    points: FloatArray,  # (T, ..., 3) m
    times_s: FloatArray,  # (T,)
) -> FloatArray:
    """(T, ..., 3) where points at some times would have to stand for the camera in its first pose to see them so."""
    if camera.path is None:
        return points
    R, t = poses_at(camera, times_s)
    flat = points.reshape(len(points), -1, 3)
    return ((flat @ R.swapaxes(-1, -2) + (t - camera.t)[:, None]) @ camera.R).reshape(points.shape)


@dataclass(frozen=True, eq=False)
class MovingWorld:
    """How the world moves in front of V cameras that are taken as still, at K moments; N points, each of one moment."""

    R: FloatArray  # (V, K, 3, 3)
    shift: FloatArray  # (V, K, 3) m
    moving: BoolArray  # (V,) whether the camera moves at all
    moment: IntArray  # (N,)

    @classmethod
    def before(cls, rig: CameraRig, times_s: FloatArray, points: int) -> MovingWorld | None:
        """The world at times (T,) of each of which there are equally many of N points; None if no camera moves."""
        if not rig.moving:
            return None
        R, shift = [], []
        for camera in rig.cameras:
            turned, moved = poses_at(camera, times_s)
            R.append(camera.R.T @ turned)
            shift.append((moved - camera.t) @ camera.R)
        moving = np.array([camera.path is not None for camera in rig.cameras])
        moment = np.repeat(np.arange(len(times_s)), points // max(len(times_s), 1))
        return cls(np.stack(R), np.stack(shift), moving, moment)

    def take(self, index: IntArray | slice) -> MovingWorld:
        """The same for some of the points."""
        return replace(self, moment=self.moment[index])

    def views(self, chosen: slice) -> MovingWorld:
        """The same for some of the cameras."""
        return replace(self, R=self.R[chosen], shift=self.shift[chosen], moving=self.moving[chosen])

    def moved(self, view: int, points: FloatArray) -> FloatArray:
        """X' (3, N) of points (3, N)."""
        if not self.moving[view]:
            return points
        return np.einsum("nij,jn->in", self.R[view][self.moment], points) + self.shift[view][self.moment].T

    def back(self, view: int, slope: FloatArray) -> FloatArray:
        """Derivatives (3, N) by the points from derivatives by X'."""
        return np.einsum("nij,in->jn", self.R[view][self.moment], slope) if self.moving[view] else slope
