"""Joints of single frames from several views, with covariance, by robust reprojection.

Model: the keypoint's residual is Student t with the keypoint's covariance as scale of its core. A linear start
(Hartley & Zisserman 2004, section 12.2, as ridge normal equations reweighted by depth) is kept where all views agree
with it; elsewhere every pair of views proposes a point and the one with the best t likelihood in all views is refined.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from scipy.integrate import quad
from scipy.special import chdtri

from ..config import TriangulationSettings
from ..shapes import BoolArray, FloatArray, IntArray
from ..types import CameraRig, Flag, Keypoints2D, Keypoints3D, Reason
from . import reprojection
from .keypoint_noise import KeypointNoise, measure_noise, sample_frames, whitened_residuals
from .reprojection import Rays, apply_symmetric, invert_symmetric, outer, residual, squared_distances

_BLOCK = 8_192  # points per block: the work arrays stay in the cache
_RIDGE = 1e-6  # relative; keeps parallel rays finite (see SEEDS: a gradient of an SVD does not)
_REFINEMENTS = 4
_SUSPICIOUS = 12.0  # squared sigmas in one view from which the start is distrusted
_TWO_VIEWS = 6.6  # squared sigmas (99 % of chi² with one degree of freedom) beyond which two views contradict
_WILD = 64.0  # squared sigmas from which one wild keypoint is as bad as any other
_AMBIGUOUS_NATS = 3.0  # two far-apart points whose log likelihoods differ less are not told apart
_APART_M, _APART_SIGMAS = 0.05, 6.0
_CHANCE = 0.001  # residuals larger than this share of true ones are larger than the covariances explain


def triangulate(
    rig: CameraRig,
    views: Sequence[Keypoints2D],
    settings: TriangulationSettings,
) -> Keypoints3D:
    """Estimate every joint of every frame alone, with covariance and a flag.

    Student-t IRLS Gauss-Newton on the reprojection error, covariance from the observed curvature of the t likelihood,
    multiplied by measured scales of the residuals per view and joint, plus the share of the cameras' own covariance.

    Convention:
        world axes, metres; NaN where unobserved or rejected. Flags: OBSERVED; WEAK = two agreeing views, or residuals
        larger than the keypoints' covariances explain (the covariance is enlarged); REJECTED = the views contradict
        each other and no consensus stands out (two views that disagree, two consensuses as good as each other);
        UNOBSERVED = fewer than two views, or less sure than ``max_sigma_m`` (parallel rays).

    Args:
        rig: cameras in the order of ``views``.
        views: keypoints on common times, P people.
        settings: the stage's settings.

    Returns:
        Joints of the views' layout.

    Raises:
        ShapeError: rig and views do not fit each other.
        InputError: a keypoint's covariance is not positive definite.
    """
    rays = reprojection.rays_from_keypoints(rig, views, settings.min_score)
    shape = views[0].score.shape
    nu = settings.degrees_of_freedom
    rays = rays.scaled(_spread(keypoint_noise(rays, shape, nu, rig.covariance).total, shape))
    count = rays.u.shape[1]
    points, covariance, flag = np.full((count, 3), np.nan), np.full((count, 3, 3), np.nan), np.zeros(count, np.int8)
    for start in range(0, count, _BLOCK):
        block = slice(start, min(start + _BLOCK, count))
        points[block], covariance[block], flag[block] = _solve(rays.take(block), settings, rig.covariance)
    first = views[0]
    return Keypoints3D(
        first.joint_names,
        first.timestamps_s,
        points.reshape(*shape, 3),
        covariance.reshape(*shape, 3, 3),
        flag.reshape(shape),
        reason=_reasons(flag, rays.seen.sum(axis=0)).reshape(shape),
    )


def _reasons(flag: IntArray, views: IntArray) -> IntArray:
    """(N,) values of Reason, from the flag and the number of views that see the joint."""
    few = views < 3
    by_flag = {
        Flag.OBSERVED: np.full(flag.shape, Reason.NONE),
        Flag.WEAK: np.where(few, Reason.TWO_VIEWS, Reason.LARGE_RESIDUALS),
        Flag.REJECTED: np.where(few, Reason.CONTRADICTING_VIEWS, Reason.AMBIGUOUS),
        Flag.UNOBSERVED: np.where(views < 2, Reason.TOO_FEW_VIEWS, Reason.TOO_UNSURE),
    }
    return np.select([flag == key for key in by_flag], list(by_flag.values())).astype(np.int8)


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
    plain = Rays(rays.R, rays.t, rays.u, rays.v, ones, np.zeros_like(ones), ones, rays.seen)
    points = _solve_linear(*_total(_linear_terms(plain)))
    points[:, rays.seen.sum(axis=0) < 2] = np.nan
    return points.T.reshape(*views[0].score.shape, 3)


def robust_weight(delta: FloatArray, nu: float) -> FloatArray:
    """IRLS weight of a bivariate Student t at squared distance delta."""
    return (nu + 2) / (nu + delta)


def curvature_factor(nu: float) -> float:
    """Variance of the t estimator on Gaussian cores, relative to its inverse expected curvature.

    E[psi²] / E[psi'] (Huber 1981, section 6.3) for psi = w(δ) r with r standard normal in two dimensions.
    """
    density = lambda d: 0.5 * np.exp(-d / 2)  # noqa: E731  of chi² with two degrees of freedom
    weight = lambda d: (nu + 2) / (nu + d)  # noqa: E731
    square = quad(lambda d: weight(d) ** 2 * d / 2 * density(d), 0, np.inf)[0]
    slope = quad(lambda d: (weight(d) - (nu + 2) / (nu + d) ** 2 * d) * density(d), 0, np.inf)[0]
    return square / slope


def _solve(
    rays: Rays, settings: TriangulationSettings, camera_covariance: FloatArray
) -> tuple[FloatArray, FloatArray, IntArray]:
    nu = settings.degrees_of_freedom
    points, ambiguous = _robust_points(rays, nu)
    delta = squared_distances(rays, points)
    agreeing = rays.seen & (delta <= settings.reject_sigma**2)
    count = agreeing.sum(axis=0)
    # of 2n residual components 3 were fitted away: the curvature is taken at residuals as large as the errors
    shrunk = 2 * count / np.maximum(2 * count - 3, 1)
    covariance = curvature_factor(nu) * invert_symmetric(curvature(rays, points, nu, shrunk)[0])
    total = np.where(agreeing, delta, 0).sum(axis=0)
    freedom = np.maximum(2 * count - 3, 1)
    likely = chdtri(np.maximum(2 * np.arange(len(rays.R) + 1) - 3, 1), _CHANCE)[count]
    excess = np.where(total > likely, total / freedom, 1.0)
    covariance = covariance * excess
    if camera_covariance.any():
        covariance = covariance + reprojection.compact_matrix(
            covariance_from_cameras(rays, points, nu, camera_covariance)
        )
    contradicted = (count < 2) | ambiguous | ((count == 2) & (total > _TWO_VIEWS))
    flag = np.where((count == 2) | (excess > 1), Flag.WEAK, Flag.OBSERVED)
    flag = np.where(contradicted, Flag.REJECTED, flag)
    blind = (rays.seen.sum(axis=0) < 2) | (~contradicted & ~_sure(covariance, settings.max_sigma_m))
    flag = np.where(blind, Flag.UNOBSERVED, flag)
    missing = flag <= Flag.REJECTED
    return (
        np.where(missing[:, None], np.nan, points.T),
        reprojection.full_matrix(np.where(missing, np.nan, covariance)),
        flag.astype(np.int8),
    )


def _sure(covariance: FloatArray, max_sigma_m: float) -> BoolArray:
    """(N,) whether the matrix (6, N) is a covariance, and its largest axis is short enough."""
    room = -covariance
    room[[0, 3, 5]] += max_sigma_m**2
    return _positive(covariance) & _positive(room)


def _positive(matrix: FloatArray) -> BoolArray:
    """(N,) whether the symmetric matrices (6, N) are positive definite: their leading minors are (Sylvester)."""
    xx, xy, xz, yy, yz, zz = matrix
    minor = xx * yy - xy * xy
    whole = zz * minor + xz * (xy * yz - yy * xz) - yz * (xx * yz - xy * xz)
    return (xx > 0) & (minor > 0) & (whole > 0)


def _robust_points(rays: Rays, nu: float) -> tuple[FloatArray, BoolArray]:
    """Points (3, N) and whether another point explains the views as well."""
    terms = _linear_terms(rays)
    points = _solve_linear(*_total(terms))
    terms = _linear_terms(rays, points)
    points = _solve_linear(*_total(terms))
    ambiguous = np.zeros(points.shape[1], bool)
    doubtful = np.flatnonzero((squared_distances(rays, points).max(axis=0) > _SUSPICIOUS) & (rays.seen.sum(0) > 2))
    if len(doubtful):
        some = [(matrix[:, doubtful], vector[:, doubtful]) for matrix, vector in terms]
        points[:, doubtful], ambiguous[doubtful] = _consensus(rays.take(doubtful), some, nu)
    for _ in range(_REFINEMENTS):
        points = points + refinement(rays, points, nu)
    return points, ambiguous


def _linear_terms(rays: Rays, points: FloatArray | None = None) -> list[tuple[FloatArray, FloatArray]]:
    """Each view's normal equations of the rows u·p3 - p1, v·p3 - p2; divided by depth if points are given."""
    terms = []
    for view, (R, t) in enumerate(zip(rays.R, rays.t, strict=True)):
        row_u = R[0][:, None] - R[2][:, None] * rays.u[view]
        row_v = R[1][:, None] - R[2][:, None] * rays.v[view]
        weight = 1.0
        if points is not None:
            weight = np.maximum(R[2] @ points + t[2], 0.1) ** -2
        uu, uv, vv = weight * rays.uu[view], weight * rays.uv[view], weight * rays.vv[view]
        heavy_u, heavy_v = uu * row_u + uv * row_v, uv * row_u + vv * row_v
        right = heavy_u * (rays.u[view] * t[2] - t[0]) + heavy_v * (rays.v[view] * t[2] - t[1])
        terms.append((outer(row_u, heavy_u) + outer(row_v, heavy_v), right))
    return terms


def _total(terms: Sequence[tuple[FloatArray, FloatArray]]) -> tuple[FloatArray, FloatArray]:
    matrix, right = terms[0][0].copy(), terms[0][1].copy()
    for more_matrix, more_right in terms[1:]:
        matrix += more_matrix
        right += more_right
    return matrix, right


def _solve_linear(matrix: FloatArray, right: FloatArray) -> FloatArray:
    ridge = _RIDGE * (matrix[0] + matrix[3] + matrix[5]) + 1e-300
    matrix = matrix + ridge * np.array([1.0, 0, 0, 1, 0, 1])[:, None]
    return apply_symmetric(invert_symmetric(matrix), right)


def _consensus(rays: Rays, terms: list[tuple[FloatArray, FloatArray]], nu: float) -> tuple[FloatArray, BoolArray]:
    """The best of the points that each pair of views (and all together) propose; whether it is ambiguous."""
    views = len(rays.R)
    proposals = [tuple(range(views)), *combinations(range(views), 2)]
    points, scores = [], []
    for chosen in proposals:
        point = _solve_linear(*_total([terms[v] for v in chosen]))
        delta = np.minimum(squared_distances(rays, point), _WILD)
        score = 0.5 * (nu + 2) * np.log1p(delta / nu).sum(axis=0)
        usable = rays.seen[list(chosen)].sum(axis=0) >= 2
        points.append(point)
        scores.append(np.where(usable, score, np.inf))
    scores, points = np.stack(scores), np.stack(points)
    best = scores.argmin(axis=0)
    winner = points[best, :, np.arange(len(best))].T
    matrix = curvature(rays, winner, nu)[0]
    apart = points - winner
    length = (apart**2).sum(axis=1)
    sigmas = np.stack([(part * apply_symmetric(matrix, part)).sum(axis=0) for part in apart])
    rival = (scores - scores.min(axis=0) < _AMBIGUOUS_NATS) & (length > _APART_M**2) & (sigmas > _APART_SIGMAS**2)
    return winner, rival.any(axis=0)


def refinement(rays: Rays, points: FloatArray, nu: float) -> FloatArray:
    """One IRLS Gauss-Newton step (3, N)."""
    matrix, right = np.zeros((6, points.shape[1])), np.zeros(points.shape)
    for view in range(len(rays.R)):
        r = residual(rays, view, points)
        weight = robust_weight(r.delta, nu)
        uu, uv, vv = weight * rays.uu[view], weight * rays.uv[view], weight * rays.vv[view]
        heavy_u, heavy_v = uu * r.slope_u + uv * r.slope_v, uv * r.slope_u + vv * r.slope_v
        matrix += outer(r.slope_u, heavy_u) + outer(r.slope_v, heavy_v)
        right += heavy_u * r.u + heavy_v * r.v
    return _solve_linear(matrix, right)


def curvature(
    rays: Rays, points: FloatArray, nu: float, enlarge: FloatArray | float = 1.0
) -> tuple[FloatArray, FloatArray]:
    """Observed information of the t likelihood, (6, N), and each residual's own degrees of freedom (V, N).

    Per view w·(W - c·W r rᵀ W) with c = min(2 / (nu + δ), 1 / δ): the Hessian of the t, cut off where it would turn
    negative, so that a wild keypoint adds nothing instead of taking away. The degrees of freedom are 2 - leverage.
    """
    matrix, parts = np.zeros((6, points.shape[1])), []
    for view in range(len(rays.R)):
        r = residual(rays, view, points)
        delta = r.delta * enlarge
        weight = robust_weight(delta, nu)
        cut = np.minimum(2 / (nu + delta), 1 / np.maximum(delta, 1e-12)) * enlarge
        pull_u = rays.uu[view] * r.u + rays.uv[view] * r.v
        pull_v = rays.uv[view] * r.u + rays.vv[view] * r.v
        uu = weight * (rays.uu[view] - cut * pull_u * pull_u)
        uv = weight * (rays.uv[view] - cut * pull_u * pull_v)
        vv = weight * (rays.vv[view] - cut * pull_v * pull_v)
        part = outer(r.slope_u, uu * r.slope_u + uv * r.slope_v) + outer(r.slope_v, uv * r.slope_u + vv * r.slope_v)
        parts.append(part)
        matrix += part
    twice = np.array([1.0, 2, 2, 1, 2, 1])[:, None]  # off-diagonal elements count twice in a trace
    inverse = invert_symmetric(matrix) * twice
    return matrix, np.stack([2 - (part * inverse).sum(axis=0) for part in parts])


def keypoint_noise(
    rays: Rays, shape: tuple[int, ...], nu: float, camera_covariance: FloatArray | None = None
) -> KeypointNoise:
    """Measure the keypoints' noise from frame-by-frame fits of some frames.

    Args:
        rays: N = T·P·J points.
        shape: (T, P, J).
        nu: degrees of freedom of the robust fit.
        camera_covariance: (6V, 6V); what stated errors of the cameras explain is no standing error of the keypoints.

    Returns:
        Errors relative to the stated covariances.
    """
    frames = sample_frames(shape[0])
    some = rays.take(np.arange(rays.u.shape[1]).reshape(shape)[frames].ravel())
    split = (len(rays.R), len(frames), *shape[1:])
    usable = (some.seen & (some.seen.sum(axis=0) > 1)).reshape(split)
    total = np.ones((len(rays.R), shape[2]))
    for _ in range(2):
        scaled = some.scaled(_spread(total, split[1:]))
        points = _robust_points(scaled, nu)[0]
        freedom = curvature(scaled, points, nu)[1].reshape(split)
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
