"""How a detector's score tells its error, measured on the take: for keypoints that come with scores alone.

Imported keypoints have a first guess as covariance (sigma ∝ 1 / score). Residuals of single-frame fits, relative to
what is usual for their view and joint, say what each level of the score is worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..shapes import BoolArray, FloatArray
from ..types import CameraRig, Keypoints2D
from .keypoint_noise import sample_frames, truncated_scale, whitened_residuals
from .reprojection import rays_from_keypoints
from .robust_points import curvature, robust_points
from .triangulation import keypoint_noise

_LEVELS = 8  # of the score, each with as many keypoints
_FEWEST = 400  # keypoints below which nothing is measured
_ROUNDS = 2  # other covariances, other residuals


def with_measured_scores(
    rig: CameraRig,
    views: Sequence[Keypoints2D],
    guessed: Sequence[bool],
    nu: float,
    min_score: float,
) -> tuple[Keypoints2D, ...]:
    """Multiply guessed covariances by what the score turns out to mean.

    Convention:
        one curve for all guessed views and joints, the geometric mean of its factors being 1: the usual noise of a
        view and joint is measured later, and from all keypoints. Linear in the score between its levels. Each
        level is shrunk towards the guess by the worth of thirty keypoints.

    Args:
        rig: cameras in the order of the views.
        views: V views on common times, the same people in each.
        guessed: V, whether a view's covariances are a first guess from the score.
        nu: degrees of freedom of the robust fits.
        min_score: keypoints with a lower score are not used.

    Returns:
        The views; the same objects where nothing was to be measured.
    """
    result = tuple(views)
    for _ in range(_ROUNDS):
        curve = _curve(rig, result, guessed, nu, min_score)
        if curve is None:
            break
        result = tuple(
            replace(view, covariance=view.covariance * _factor(curve, view.score)[..., None, None]) if guess else view
            for view, guess in zip(result, guessed, strict=True)
        )
    return result


def _factor(curve: tuple[FloatArray, FloatArray], score: FloatArray) -> FloatArray:
    return np.exp(np.interp(score, *curve))


def _curve(
    rig: CameraRig, views: Sequence[Keypoints2D], guessed: Sequence[bool], nu: float, min_score: float
) -> tuple[FloatArray, FloatArray] | None:
    """Scores, and the logarithm of the factor on the variance there; None where there is too little to see."""
    delta, freedom, score = (part[list(guessed)] for part in _residuals(rig, views, nu, min_score))
    good = np.isfinite(delta) & (freedom > 0.05)
    if good.sum() < _FEWEST or np.ptp(score[good]) < 1e-3:
        return None
    delta, freedom, score = delta[good], freedom[good], score[good]
    levels = np.array_split(np.argsort(score, kind="stable"), _LEVELS)
    at = np.array([score[level].mean() for level in levels])
    height = np.log([truncated_scale(delta[level], freedom[level]) for level in levels])
    at, which = np.unique(at, return_index=True)
    return at, (height - height.mean())[which]


def _residuals(
    rig: CameraRig, views: Sequence[Keypoints2D], nu: float, min_score: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(V, N) squared residuals in usual sigmas of their view and joint, degrees of freedom, scores; NaN unseen."""
    shape = views[0].score.shape
    frames = sample_frames(shape[0])
    rays = rays_from_keypoints(rig, views, min_score)
    noise = keypoint_noise(rays, shape, nu)
    chosen = np.arange(rays.u.shape[1]).reshape(shape)[frames].ravel()
    some = rays.take(chosen)
    scaled = some.scaled(np.tile(noise.total, len(frames) * shape[1]))
    points = robust_points(scaled, nu)[0]
    freedom = curvature(scaled, points, nu)[1]
    usable: BoolArray = some.seen & (some.seen.sum(axis=0) > 2)  # two views always agree somewhat
    delta = np.where(usable, (whitened_residuals(scaled, points) ** 2).sum(axis=-1), np.nan)
    return delta, freedom, np.stack([view.score[frames].ravel() for view in views])
