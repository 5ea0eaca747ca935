"""The pose of one camera relative to another from joints that both see: robust start, then all points."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.optimize import least_squares

from ..geometry.rotation import exp
from ..shapes import BoolArray, FloatArray, check_shapes

_MOST_POINTS = 1500  # that the refinement uses; more add nothing to a start
_THRESHOLD_SIGMAS = 3.0
_LOSS_SIGMAS = 2.0  # of the Cauchy loss
_FEWEST_POINTS = 16
MEDIAN_OF_ONE = 0.6745  # of the size of a Gaussian deviation, in sigmas
_SEED = 20


@dataclass(frozen=True, eq=False)
class RelativePose:
    """Second camera from first camera, with the baseline as unit of length."""

    R: FloatArray  # (3, 3)
    t: FloatArray  # (3,) unit length
    inliers: BoolArray  # (N,)
    front_share: float  # of the inliers that lie in front of both cameras
    parallax: float  # median sine of the angle between the inliers' rays
    spread: float  # sigma of a Gaussian with the median Sampson distance of all points, over the stated one


def relative_pose(
    first: FloatArray,  # (N, 2) normalised
    second: FloatArray,  # (N, 2) normalised
    sigma: float,
) -> RelativePose | None:
    """Find the pose of the second camera from the first from corresponding rays.

    Fundamental matrix by MAGSAC on undistorted points, brought to the nearest essential matrix, one of its four
    poses by a vote of all points (Hartley & Zisserman 2004, section 9.6), then refined on the Sampson distance of all
    points with a Cauchy loss: the answer of a random sample alone is several times worse.

    Convention:
        ``x_second ~ R x_first + t`` with ``|t| = 1``; normalised coordinates, also sigma. None where no pose stands
        behind a majority of the agreeing points.

    Args:
        first: rays in the first camera.
        second: the same joints in the second.
        sigma: standard error of a coordinate.

    Returns:
        The pose, or None.
    """
    check_shapes(first=(first, "N 2"), second=(second, "N 2"))
    if len(first) < _FEWEST_POINTS:
        return None
    cv2.setRNGSeed(_SEED)
    scale = 1.0 / sigma  # MAGSAC's thresholds are made for pixels
    try:
        F, _ = cv2.findFundamentalMat(first * scale, second * scale, cv2.USAC_MAGSAC, _THRESHOLD_SIGMAS, 0.999, 2000)
    except cv2.error:  # its own assertion, where no sample of the points gives a matrix: all within a few sigmas
        return None
    if F is None or F.shape != (3, 3):
        return None
    unscale = np.diag([scale, scale, 1.0])
    U, _, Vt = np.linalg.svd(unscale @ F @ unscale)
    inliers = sampson(U @ np.diag([1.0, 1, 0]) @ Vt, first, second) ** 2 < (2 * _THRESHOLD_SIGMAS * sigma) ** 2
    if inliers.sum() < _FEWEST_POINTS:
        return None
    R, t, _ = _voted_pose(U, Vt, first[inliers], second[inliers])
    R, t = _refined(R, t, first, second, sigma)
    distance = np.abs(sampson(_essential(R, t), first, second)) / sigma
    inliers = distance < _THRESHOLD_SIGMAS
    if inliers.sum() < _FEWEST_POINTS:
        return None
    U, _, Vt = np.linalg.svd(_essential(R, t))
    R, t, share = _voted_pose(U, Vt, first[inliers], second[inliers])
    depth = two_view_depths(R, t, first[inliers], second[inliers])
    parallax, spread = float(np.median(depth.sine)), float(np.median(distance)) / MEDIAN_OF_ONE
    return RelativePose(R, t, inliers, share, parallax, spread)


def sampson(E: FloatArray, first: FloatArray, second: FloatArray) -> FloatArray:
    """(N,) signed Sampson distances of rays from ``x2ᵀ E x1 = 0`` (Hartley & Zisserman 2004, equation 11.9)."""
    x1, x2 = _homogeneous(first), _homogeneous(second)
    line2, line1 = x1 @ E.T, x2 @ E
    spread = line2[:, 0] ** 2 + line2[:, 1] ** 2 + line1[:, 0] ** 2 + line1[:, 1] ** 2
    return (x2 * line2).sum(axis=-1) / np.sqrt(np.maximum(spread, 1e-30))


@dataclass(frozen=True, eq=False)
class TwoViewDepths:
    """Depth of points along two rays, in baselines."""

    first: FloatArray  # (N,)
    second: FloatArray  # (N,)
    sine: FloatArray  # (N,) of the angle between the rays


def two_view_depths(R: FloatArray, t: FloatArray, first: FloatArray, second: FloatArray) -> TwoViewDepths:
    """Depths z1, z2 that bring the two rays nearest: least squares of ``z2 x2 = z1 R x1 + t``."""
    a, b = _homogeneous(first) @ R.T, _homogeneous(second)
    aa, bb, ab = (a * a).sum(axis=-1), (b * b).sum(axis=-1), (a * b).sum(axis=-1)
    at, bt = a @ t, b @ t
    determinant = np.maximum(aa * bb - ab**2, 1e-12 * aa * bb)
    z1 = (ab * bt - bb * at) / determinant
    z2 = (aa * bt - ab * at) / determinant
    return TwoViewDepths(z1, z2, np.sqrt(determinant / (aa * bb)))


def _homogeneous(points: FloatArray) -> FloatArray:
    return np.concatenate([points, np.ones_like(points[..., :1])], axis=-1)


def _essential(R: FloatArray, t: FloatArray) -> FloatArray:
    return np.array([[0, -t[2], t[1]], [t[2], 0, -t[0]], [-t[1], t[0], 0]]) @ R


def _voted_pose(
    U: FloatArray, Vt: FloatArray, first: FloatArray, second: FloatArray
) -> tuple[FloatArray, FloatArray, float]:
    """Return the one of the four poses that has the most points in front of both cameras, and their share."""
    U, Vt = U * np.sign(np.linalg.det(U)), Vt * np.sign(np.linalg.det(Vt))
    W = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    best: tuple[float, FloatArray, FloatArray] = (-1.0, np.eye(3), np.array([1.0, 0, 0]))
    for R in (U @ W @ Vt, U @ W.T @ Vt):
        for t in (U[:, 2], -U[:, 2]):
            depth = two_view_depths(R, t, first, second)
            share = float(((depth.first > 0) & (depth.second > 0)).mean())
            if share > best[0]:
                best = (share, R, t)
    return best[1], best[2], best[0]


def _refined(
    R: FloatArray, t: FloatArray, first: FloatArray, second: FloatArray, sigma: float
) -> tuple[FloatArray, FloatArray]:
    """Minimise the Sampson distances of all points over the five numbers of the pose."""
    step = -(-len(first) // _MOST_POINTS)
    first, second = first[::step], second[::step]
    side = np.linalg.svd(t[None])[2][1:]  # two directions across t

    def moved(x: FloatArray) -> tuple[FloatArray, FloatArray]:
        direction = t + x[3:] @ side
        return exp(x[:3]) @ R, direction / np.linalg.norm(direction)

    def residuals(x: FloatArray) -> FloatArray:
        return sampson(_essential(*moved(x)), first, second) / sigma

    found = least_squares(residuals, np.zeros(5), loss="cauchy", f_scale=_LOSS_SIGMAS, x_scale="jac", max_nfev=30)
    return moved(found.x)
