"""How large the errors of keypoints really are, measured from the residuals of single frames.

Real detectors err with memory (a wrong keypoint is wrong for several frames) and with standing offsets per camera and
joint. Both show in the residuals of the frame-by-frame fit: of the 2V numbers of a joint, three are used up by its
position; the rest is error, and what stays constant of it is standing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import chdtr, chdtri

from ..shapes import BoolArray, FloatArray, IntArray
from .reprojection import Rays, residual

_FRAMES, _STRETCH = 480, 120  # frames that noise is measured on, and how many of them follow each other
_PRIOR_COUNT = 30.0  # keypoints' worth of trust in the stated covariance
_CUT = 9.0  # squared sigmas beyond which a keypoint is wild and says nothing about the noise
_HIGHEST_MEMORY = 0.95  # per frame


@dataclass(frozen=True, eq=False)
class KeypointNoise:
    """Errors of keypoints relative to their stated covariance.

    The error of view v, joint j is a standing part of variance ``standing`` plus a part of variance
    ``variance[v, j]`` that keeps ``memory`` of itself from one frame to the next; all times the stated covariance.
    """

    variance: FloatArray  # (V, J)
    standing: float
    memory: float  # correlation between neighbouring frames, 0–1

    @property
    def total(self) -> FloatArray:
        """(V, J) variance of a single keypoint over the stated one."""
        return self.variance + self.standing

    @property
    def independent(self) -> float:
        """Share of the frames that say something new about what does not change."""
        return (1 - self.memory) / (1 + self.memory)


def sample_frames(count: int) -> IntArray:
    """Frames to measure on: all, or stretches of consecutive frames spread over the take."""
    if count <= _FRAMES:
        return np.arange(count)
    starts = np.linspace(0, count - _STRETCH, _FRAMES // _STRETCH).astype(int)
    return (starts[:, None] + np.arange(_STRETCH)).ravel()


def whitened_residuals(rays: Rays, points: FloatArray) -> FloatArray:
    """(V, N, 2) residuals at points (3, N) in units of the keypoints' stated sigmas; 0 where not seen."""
    result = np.zeros((*rays.u.shape, 2))
    for view in range(len(rays.R)):
        r = residual(rays, view, points)
        root = np.sqrt(np.where(rays.uu[view] > 0, rays.uu[view], 1.0))
        rest = np.sqrt(np.maximum(rays.vv[view] - (rays.uv[view] / root) ** 2, 0))
        result[view, :, 0] = root * r.u + rays.uv[view] / root * r.v
        result[view, :, 1] = rest * r.v
    return result


def measure_noise(
    whitened: FloatArray,  # (V, T, P, J, 2)
    freedom: FloatArray,  # (V, T, P, J)
    seen: BoolArray,  # (V, T, P, J)
) -> KeypointNoise:
    """Measure variance, standing part and memory from the residuals of frame-by-frame fits.

    Convention:
        frames are consecutive (or stretches of `sample_frames`). Wild keypoints do not count: means are truncated.

    Args:
        whitened: residuals in stated sigmas.
        freedom: each residual's own degrees of freedom: 2 minus its leverage; 2 where it had no say.
        seen: whether a residual exists and its joint was seen by more than one view.

    Returns:
        The noise; variance 1, no standing part and no memory where nothing can be measured.
    """
    views, frames, people, joints = seen.shape
    delta = (whitened**2).sum(axis=-1)
    seen = seen & np.isfinite(delta) & (freedom > 0.05)
    scale = np.ones((views, joints))
    for view, joint in np.ndindex(views, joints):
        chosen = seen[view, :, :, joint]
        scale[view, joint] = truncated_scale(delta[view, :, :, joint][chosen], freedom[view, :, :, joint][chosen])
    if frames < 3:
        return KeypointNoise(scale, 0.0, 0.0)
    good = seen & (delta < _CUT * scale[:, None, None, :])
    memory, mean_square, slack = _memory_and_means(np.where(good[..., None], whitened, 0.0), seen, good, freedom)
    count = good.sum(axis=1)
    reliable = count > 5
    spread = mean_square / slack  # variance of the standing part, with that of the mean of the rest
    raw = scale[:, None, :] * np.ones((1, people, 1))
    wander = (1 + memory) / (1 - memory) / np.maximum(count, 1)
    within = np.maximum(raw - spread, 0.02 * raw) / np.maximum(1 - wander, 0.2)
    standing = float(np.mean((spread - wander * within)[reliable])) if reliable.any() else 0.0
    standing = max(standing, 0.0)
    variance = np.where(reliable, np.minimum(within, raw), raw).mean(axis=1)
    return KeypointNoise(np.maximum(variance, 1e-3), standing, memory)


def _memory_and_means(
    whitened: FloatArray, seen: BoolArray, good: BoolArray, freedom: FloatArray
) -> tuple[float, FloatArray, FloatArray]:
    """Lag-one correlation about the mean; squared length of the mean (V, P, J); mean degrees of freedom (V, P, J)."""
    count = np.maximum(good.sum(axis=1), 1)
    mean = whitened.sum(axis=1) / count[..., None]
    slack = np.where(good, freedom, 0).sum(axis=1) / count
    rest = np.where(good[..., None], whitened - mean[:, None], 0.0)
    # only neighbours with the same, all good views: a change of views changes what the fit leaves of the error
    clean = ~(seen & ~good).any(axis=0)
    both = good[:, 1:] & good[:, :-1]
    steady = clean[1:] & clean[:-1] & (seen[:, 1:] == seen[:, :-1]).all(axis=0)
    both = both & steady if (both & steady).sum() > 50 else both
    product = (rest[:, 1:] * rest[:, :-1]).sum(axis=-1)[both].sum()
    power = 0.5 * ((rest[:, 1:] ** 2).sum(axis=-1) + (rest[:, :-1] ** 2).sum(axis=-1))[both].sum()
    memory = float(np.clip(product / power, 0, _HIGHEST_MEMORY)) if power > 0 else 0.0
    return memory, (mean**2).sum(axis=-1), np.maximum(slack, 0.05)


def truncated_scale(
    delta: FloatArray,  # (N,)
    freedom: FloatArray,  # (N,)
) -> float:
    """Scale s such that delta / s, where below nine, has the mean of chi² with the given degrees of freedom.

    Shrunk towards 1 by the worth of thirty keypoints; 1 for no keypoints.
    """
    if not len(delta):
        return 1.0
    expected = float(np.mean(freedom))
    mean = expected * chdtr(expected + 2, _CUT) / chdtr(expected, _CUT)
    delta = np.sort(delta)
    sums = np.r_[0.0, np.cumsum(delta)]
    scale = max(float(delta[(len(delta) - 1) // 2] + delta[len(delta) // 2]) / 2 / chdtri(expected, 0.5), 1e-3)
    for _ in range(20):
        inside = int(np.searchsorted(delta, _CUT * scale))
        previous, scale = scale, max(float(sums[inside]) / inside / mean, 1e-3) if inside else 2 * scale
        if abs(scale - previous) < 1e-3 * previous:
            break
    return float(np.clip(scale ** (len(delta) / (len(delta) + _PRIOR_COUNT)), 0.04, 400.0))
