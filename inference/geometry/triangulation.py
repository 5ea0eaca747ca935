"""Joints of single frames from several views, with covariance, by robust reprojection.

Model: the keypoint's residual is Student t with the keypoint's covariance as scale of its core. `robust_points` finds
the points; what their residuals say about the keypoints' noise scales the covariances; flags say what to trust.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from scipy.special import chdtri

from ..config import TriangulationSettings
from ..shapes import FloatArray, IntArray
from ..types import CameraRig, Flag, Keypoints2D, Keypoints3D, Reason
from . import reprojection
from .acceleration import loops_for
from .camera_path import centres_at
from .keypoint_noise import KeypointNoise, measure_noise, sample_frames, whitened_residuals
from .reprojection import Rays, invert_symmetric, outer, residual
from .robust_points import (
    Limits,
    curvature,
    curvature_factor,
    fit,
    judge,
    linear_terms,
    robust_points,
    robust_weight,
    solve_linear,
    total_terms,
)

_ONE_PLACE_M = 0.02  # eyes are farther apart
_BLOCK = 8_192  # points per block: the work arrays stay in the cache
_TWO_VIEWS = 6.6  # squared sigmas (99 % of chi² with one degree of freedom) beyond which two views contradict
_CHANCE = 0.001  # residuals larger than this share of true ones are larger than the covariances explain


def triangulate(
    rig: CameraRig,
    views: Sequence[Keypoints2D],
    settings: TriangulationSettings,
    compiled: bool | None = None,
) -> Keypoints3D:
    """Estimate every joint of every frame alone, with covariance and a flag.

    Student-t IRLS Gauss-Newton on the reprojection error, covariance from the observed curvature of the t likelihood,
    multiplied by measured scales of the residuals per view and joint, plus the share of the cameras' own covariance.

    Convention:
        world axes, metres; NaN where unobserved or rejected. Flags: OBSERVED; WEAK = two agreeing views, or more of
        which one alone decides where the joint is in some direction, or residuals larger than the keypoints'
        covariances explain (the covariance is enlarged); REJECTED = the views contradict
        each other and no consensus stands out (two views that disagree, two consensuses as good as each other);
        UNOBSERVED = fewer than two views, all cameras in one place, or less sure than ``max_sigma_m`` (parallel rays).

    Args:
        rig: cameras in the order of ``views``.
        views: keypoints on common times, P people.
        settings: the stage's settings.
        compiled: whether compiled loops are used where numba is installed; None: where the take is long enough.
            They know cameras that stand still alone: with one that moves, only lenses are compiled.

    Returns:
        Joints of the views' layout.

    Raises:
        ShapeError: rig and views do not fit each other.
        InputError: a keypoint's covariance is not positive definite.
    """
    shape, nu = views[0].score.shape, settings.degrees_of_freedom
    loops = loops_for(len(views) * views[0].score.size, compiled)
    estimate, judged = (fit, judge) if loops is None or rig.moving else (loops.fit, loops.judge)
    limits = Limits(_likely(len(views)), curvature_factor(nu), settings.max_sigma_m, _TWO_VIEWS)
    rays = reprojection.rays_from_keypoints(rig, views, settings.min_score, loops is not None)
    noise = keypoint_noise(rays, shape, nu, rig.covariance, loops is not None)
    scale = _spread(noise.total, shape)
    count = rays.u.shape[1]
    points, covariance = np.empty((count, 3)), np.empty((count, 3, 3))
    flag, reason = np.empty(count, np.int8), np.empty(count, np.int8)

    def solve(start: int) -> None:
        block = slice(start, min(start + _BLOCK, count))
        part = rays.take(block).scaled(scale[:, block])
        found = estimate(part, nu, settings.reject_sigma**2)
        extra = np.zeros((6, len(found.seen)))
        if rig.covariance.any():
            moved = covariance_from_cameras(part, found.points, nu, rig.covariance)
            extra = reprojection.compact_matrix(moved)
        judged(found, extra, limits, (points[block], covariance[block], flag[block]))
        reason[block] = _REASONS[flag[block], np.minimum(found.seen, 3)]

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # more would only add work arrays
        list(pool.map(solve, range(0, count, _BLOCK)))
    if _in_one_place(rig, views[0].timestamps_s):
        points[:], covariance[:], flag[:] = np.nan, np.nan, Flag.UNOBSERVED
        reason[:] = _REASONS[flag, np.minimum(rays.seen.sum(axis=0), 3)]
    first = views[0]
    for array in (points, covariance):
        array.flags.writeable = False  # nobody else holds them: they need not be copied
    return Keypoints3D(
        first.joint_names,
        first.timestamps_s,
        points.reshape(*shape, 3),
        covariance.reshape(*shape, 3, 3),
        flag.reshape(shape),
        reason=reason.reshape(shape),
    )


def _in_one_place(rig: CameraRig, times_s: FloatArray) -> bool:
    """Whether all centres lie so close together, at all times, that noise would pass for depth."""
    centres = np.stack([centres_at(camera, times_s) for camera in rig.cameras])
    return bool(np.linalg.norm(centres - centres[0], axis=-1).max(initial=0.0) < _ONE_PLACE_M)


def _reasons() -> IntArray:
    """(4, 4) values of Reason by flag and by how many views see the joint, three or more being one."""
    table = np.empty((len(Flag), 4), np.int8)
    table[Flag.OBSERVED] = Reason.NONE
    table[Flag.WEAK] = [Reason.TWO_VIEWS] * 3 + [Reason.LARGE_RESIDUALS]
    table[Flag.REJECTED] = [Reason.CONTRADICTING_VIEWS] * 3 + [Reason.AMBIGUOUS]
    table[Flag.UNOBSERVED] = [Reason.TOO_FEW_VIEWS] * 2 + [Reason.TOO_UNSURE] * 2
    return table


_REASONS = _reasons()


def linear_triangulation(
    rig: CameraRig,
    views: Sequence[Keypoints2D],
    min_score: float = 0.0,
) -> FloatArray:
    """Plain linear triangulation (DLT on undistorted points, all views alike): the baseline of benchmarks.

    Convention:
        (T, P, J, 3) m, NaN with fewer than two views.
    """
    rays = reprojection.rays_from_keypoints(rig, views, min_score)
    ones = rays.seen.astype(float)
    plain = replace(rays, uu=ones, uv=np.zeros_like(ones), vv=ones)
    points = solve_linear(*total_terms(linear_terms(plain)))
    points[:, rays.seen.sum(axis=0) < 2] = np.nan
    return points.T.reshape(*views[0].score.shape, 3)


def _likely(views: int) -> FloatArray:
    """(V + 1,) the total squared distance, by number of views, that few true residuals exceed."""
    return chdtri(np.maximum(2 * np.arange(views + 1) - 3, 1), _CHANCE)


def keypoint_noise(
    rays: Rays,
    shape: tuple[int, ...],
    nu: float,
    camera_covariance: FloatArray | None = None,
    compiled: bool | None = None,
) -> KeypointNoise:
    """Measure the keypoints' noise from frame-by-frame fits of some frames.

    Args:
        rays: N = T·P·J points.
        shape: (T, P, J).
        nu: degrees of freedom of the robust fit.
        camera_covariance: (6V, 6V); what stated errors of the cameras explain is no standing error of the keypoints.
        compiled: as for `loops_for`.

    Returns:
        Errors relative to the stated covariances.
    """
    frames = sample_frames(shape[0])
    some = rays.take(np.arange(rays.u.shape[1]).reshape(shape)[frames].ravel())
    split = (len(rays.R), len(frames), *shape[1:])
    usable = (some.seen & (some.seen.sum(axis=0) > 1)).reshape(split)
    total = np.ones((len(rays.R), shape[2]))
    loops = None if rays.world is not None else loops_for(rays.u.size, compiled)
    for _ in range(2):
        scaled = some.scaled(_spread(total, split[1:]))
        points = robust_points(scaled, nu)[0] if loops is None else loops.fit(scaled, nu, np.inf).points
        freedom = (curvature(scaled, points, nu)[1] if loops is None else loops.freedom(scaled, points, nu)).reshape(
            split
        )
        noise = measure_noise(whitened_residuals(some, points).reshape(*split, 2), freedom, usable)
        total = noise.total
    if camera_covariance is None or not camera_covariance.any():
        return noise
    return replace(noise, standing=max(noise.standing - _variance_from_cameras(some, points, camera_covariance), 0.0))


def _variance_from_cameras(rays: Rays, points: FloatArray, camera_covariance: FloatArray) -> float:
    """Mean variance of whitened keypoints, per axis, that the cameras' covariance causes."""
    parts = []
    for view in range(len(rays.R)):
        own = camera_covariance[6 * view : 6 * view + 6, 6 * view : 6 * view + 6]
        by_u, by_v = reprojection.camera_slopes(rays, view, points)
        moved_u, moved_v = own @ by_u, own @ by_v
        along = rays.uu[view] * (by_u * moved_u).sum(axis=0) + rays.vv[view] * (by_v * moved_v).sum(axis=0)
        across = 2 * rays.uv[view] * (by_u * moved_v).sum(axis=0)
        parts.append((along + across)[rays.seen[view] & np.isfinite(points).all(axis=0)] / 2)
    variance = np.concatenate(parts)
    return float(np.median(variance)) if len(variance) else 0.0


def _spread(scale: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """(V, T·P·J) from (V, J)."""
    return np.broadcast_to(scale[:, None, None, :], (len(scale), *shape)).reshape(len(scale), -1)


def covariance_from_cameras(rays: Rays, points: FloatArray, nu: float, camera_covariance: FloatArray) -> FloatArray:
    """(N, 3, 3) covariance that the cameras' own covariance causes: G C Gᵀ, G = d point / d cameras."""
    matrix, columns = np.zeros((6, points.shape[1])), []
    for view in range(len(rays.R)):
        r = residual(rays, view, points)
        weight = robust_weight(r.delta, nu)
        uu, uv, vv = weight * rays.uu[view], weight * rays.uv[view], weight * rays.vv[view]
        heavy_u, heavy_v = uu * r.slope_u + uv * r.slope_v, uv * r.slope_u + vv * r.slope_v
        matrix += outer(r.slope_u, heavy_u) + outer(r.slope_v, heavy_v)
        by_u, by_v = reprojection.camera_slopes(rays, view, points)
        columns.append(heavy_u[:, None] * by_u + heavy_v[:, None] * by_v)  # (3, 6, N)
    gain = np.moveaxis(np.concatenate(columns, axis=1), -1, 0)  # (N, 3, 6V)
    gain = reprojection.full_matrix(invert_symmetric(matrix)) @ gain
    return gain @ camera_covariance @ gain.swapaxes(1, 2)
