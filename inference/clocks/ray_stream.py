"""The keypoints of one view as rays over its own time, to be read at any moment of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..geometry.epipolar import focal_length
from ..geometry.projection import undistort_points
from ..shapes import BoolArray, FloatArray
from ..types import Camera, Keypoints2D

_MIN_SCORE = 0.3  # of a keypoint that has a say
_MOST_TRACKS = 6  # per view: those seen longest
_WIDEST_STEP = 1.5  # of the usual step between frames: a wider one is a gap, and nothing is interpolated over it
_REACH_S = 0.07  # to either side, over which velocities are measured


class Reading(NamedTuple):
    """Rays and their velocities at some moments; NaN where nobody was seen."""

    rays: FloatArray  # (T, P, J, 2) normalised
    velocity: FloatArray  # (T, P, J, 2) per second


@dataclass(frozen=True, eq=False)
class RayStream:
    """Normalised coordinates of one view's tracks, with velocities."""

    camera: Camera
    focal_px: float
    times: FloatArray  # (N,) s, the view's own clock
    step: float  # s between frames, usually
    rays: FloatArray  # (N, P, J, 2), NaN where missing
    velocity: FloatArray  # (N, P, J, 2) per second

    @property
    def middle(self) -> float:
        """The middle of the view's time, s."""
        return float(self.times[0] + self.times[-1]) / 2

    def at(
        self,
        moments: FloatArray,  # (T,) s on the view's own clock
    ) -> Reading:
        """Interpolate linearly between neighbouring frames; NaN over gaps and outside the recording."""
        last = len(self.times) - 1
        before = np.clip(np.searchsorted(self.times, moments, side="right") - 1, 0, last - 1)
        width = self.times[before + 1] - self.times[before]
        share = (moments - self.times[before]) / width
        inside = (share >= 0) & (share <= 1) & (width <= _WIDEST_STEP * self.step)
        a = np.where(inside, share, np.nan)[:, None, None, None]
        parts = ((1 - a) * values[before] + a * values[before + 1] for values in (self.rays, self.velocity))
        return Reading(*parts)


def ray_stream(camera: Camera, keypoints: Keypoints2D) -> RayStream | None:
    """Undistort a view's tracks and measure their velocities; None where fewer than two frames show anybody."""
    times = np.asarray(keypoints.timestamps_s, float)
    counted = keypoints.observed & (keypoints.score >= _MIN_SCORE)
    if len(times) < 2 or counted.any(axis=(1, 2)).sum() < 2:
        return None
    frames = counted.any(axis=2).sum(axis=0)
    kept = np.sort(np.argsort(-frames, kind="stable")[:_MOST_TRACKS])
    kept = kept[frames[kept] > 1]
    rays = undistort_points(camera.intrinsics, np.where(counted[:, kept, :, None], keypoints.xy[:, kept], np.nan))
    step = float(np.median(np.diff(times)))
    return RayStream(camera, focal_length(camera), times, step, rays, ray_velocity(times, rays))


def ray_velocity(
    times: FloatArray,  # (N,) s
    rays: FloatArray,  # (N, P, J, 2)
) -> FloatArray:
    """(N, P, J, 2) per second: slope of the least-squares line through neighbouring frames, NaN beside gaps.

    Savitzky & Golay 1964. Its weights are antisymmetric, so a frame's own error is not in its velocity: products of a
    residual and a velocity keep the mean 0 at the true offset, whatever the share at which frames are interpolated.
    """
    step = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    reach = max(1, round(_REACH_S / step))
    result = np.full_like(rays, np.nan)
    if len(times) <= 2 * reach:
        return result
    inner = slice(reach, len(times) - reach)
    total, squares = np.zeros_like(rays[inner]), np.zeros(len(times) - 2 * reach)
    for k in range(1, reach + 1):
        later, earlier = slice(reach + k, len(times) - reach + k), slice(reach - k, len(times) - reach - k)
        total += k * (rays[later] - rays[earlier])
        squares += k * (times[later] - times[earlier])
    even = _even(times, reach, step)
    result[inner] = np.where(even[:, None, None, None], total / squares[:, None, None, None], np.nan)
    return result


def _even(times: FloatArray, reach: int, step: float) -> BoolArray:
    """(N - 2 reach,) whether there is no gap within reach of a frame."""
    span = times[2 * reach :] - times[: len(times) - 2 * reach]
    return span <= (2 * reach + _WIDEST_STEP - 1) * step
