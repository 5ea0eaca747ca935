"""Camera poses from points of the scene that somebody measured and clicked in the views' pictures.

Every view by itself from three points at a time (P3P; Gao et al. 2003), which also shows where two poses fit alike;
then all views together, with the points free within how well they were measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import cv2
import numpy as np
from scipy.optimize import least_squares

from ..errors import DegenerateError
from ..geometry.projection import distort_points, undistort_points
from ..geometry.rotation import exp, log
from ..shapes import FloatArray, check_shapes
from ..types import Camera, CameraRig, Intrinsics

FEWEST_POINTS = 4
_MOST_TRIPLES = 40
_BEST_STARTS = 6  # that are refined
_LINE = 0.02  # second spread over the first, below which points lie in one line
_OTHER_POSE_DEG = 3.0
_AS_GOOD = 2.0  # sigmas, or times the best error: a second pose that fits so well is as good as the first
_WRONG_SHARE = 0.01  # of the focal length: a median error beyond which no camera explains the clicks
_BEHIND = 1e3  # normalised coordinates of a point behind the camera
_SOFT = 2.0  # sigmas beyond which a residual loses weight

Pose = tuple[FloatArray, FloatArray]


@dataclass(frozen=True, eq=False)
class PointsRig:
    """Camera poses from measured points."""

    rig: CameraRig
    xyz: FloatArray  # (N, 3) m: the points as adjusted
    predicted: FloatArray  # (V, N, 2) px, NaN where a view does not show the point


def solve_points(
    lenses: Sequence[Intrinsics],
    measured: FloatArray,  # (N, 3) m
    pixels: FloatArray,  # (V, N, 2) px
    point_sigma_m: float = 0.005,
    click_sigma_px: float = 1.5,
) -> PointsRig:
    """Solve where the cameras stand.

    Convention:
        the world is that of the measured points. The covariance is that of clicks and points of the stated errors,
        enlarged where the residuals are larger than these; wild clicks have little weight.

    Args:
        lenses: of the views, in the pixels that were clicked.
        measured: places of the points.
        pixels: where each view shows them; NaN where it does not.
        point_sigma_m: how well the points were measured, per axis.
        click_sigma_px: how well they were clicked, per axis.

    Returns:
        The rig, the points, and where the cameras put them.

    Raises:
        DegenerateError: a view shows fewer than four points, points in one line, or points that fit two poses; or no
            camera explains what was clicked.
    """
    check_shapes(measured=(measured, "N 3"), pixels=(pixels, f"{len(lenses)} N 2"))
    poses = [_pose(lens, measured, clicks, click_sigma_px) for lens, clicks in zip(lenses, pixels, strict=True)]
    problem = _Bundle(lenses, measured, pixels, point_sigma_m, click_sigma_px)
    R, t, xyz, covariance = problem.solve(poses)
    cameras = tuple(Camera(lens, a, b) for lens, a, b in zip(lenses, R, t, strict=True))
    rig = CameraRig(cameras, covariance, "the world of the measured points; lenses taken as exact")
    shown = np.isfinite(pixels).all(axis=-1)
    predicted = np.stack([_projected(lens, (a, b), xyz) for lens, a, b in zip(lenses, R, t, strict=True)])
    return PointsRig(rig, xyz, np.where(shown[..., None], predicted, np.nan))


def _projected(lens: Intrinsics, pose: Pose, points: FloatArray) -> FloatArray:
    inside = points @ pose[0].T + pose[1]
    depth = np.where(inside[:, 2] > 1e-6, inside[:, 2], np.nan)
    return distort_points(lens, inside[:, :2] / depth[:, None])


def _pose(lens: Intrinsics, measured: FloatArray, clicks: FloatArray, sigma_px: float) -> Pose:
    """Return the one pose of a view that fits, or say why there is none, or two."""
    rays = undistort_points(lens, clicks)
    seen = np.isfinite(rays).all(axis=-1)
    points, rays = measured[seen], rays[seen]
    where = f"view {lens.name}"
    if len(points) < FEWEST_POINTS:
        raise DegenerateError(
            f"{where} shows {len(points)} measured points; a camera needs {FEWEST_POINTS}, better 8, not all in one "
            "plane"
        )
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    if spread[1] < _LINE * spread[0]:
        raise DegenerateError(f"{where}: its measured points lie in one line; measure points beside it")
    focal = _focal_px(lens)
    found = _candidates(points, rays, focal)
    best_error = found[0][0] if found else np.inf
    if best_error > _WRONG_SHARE * focal:
        mirrored = _candidates(points * [1, 1, -1], rays, focal)
        left_handed = bool(mirrored) and mirrored[0][0] < best_error / 4
        hint = "the axes are left-handed, make them right-handed" if left_handed else "check names, u, v and metres"
        raise DegenerateError(f"{where}: no camera explains its clicks (median error {best_error:.0f} px); {hint}")
    for error, (R, _) in found[1:]:
        apart_deg = np.degrees(np.linalg.norm(log(R @ found[0][1][0].T)))
        if apart_deg > _OTHER_POSE_DEG and error < _AS_GOOD * max(best_error, sigma_px):
            raise DegenerateError(
                f"{where}: two poses, {apart_deg:.0f} degrees apart, fit its {len(points)} points alike (errors "
                f"{best_error:.1f} and {error:.1f} px), since they lie near one plane; add points off the plane"
            )
    return found[0][1]


def _candidates(points: FloatArray, rays: FloatArray, focal: float) -> list[tuple[float, Pose]]:
    """Poses from triples of points, refined, with their errors in px, best first.

    The error is the root mean square of few points and the median of many, which wild clicks do not move.
    """
    triples = list(combinations(range(len(points)), 3))
    chosen = [triples[i] for i in np.unique(np.linspace(0, len(triples) - 1, _MOST_TRIPLES).round().astype(int))]

    def error_of(pose: Pose) -> float:
        off = focal * np.linalg.norm(_on_rays(pose, points) - rays, axis=-1)
        return float(np.sqrt(np.mean(off**2)) if len(points) < 2 * FEWEST_POINTS else np.median(off))

    starts: list[tuple[float, Pose]] = []
    for triple in chosen:
        index = list(triple)
        _, turns, moves = cv2.solveP3P(points[index], rays[index], np.eye(3), np.zeros(4), flags=cv2.SOLVEPNP_AP3P)
        poses = [(np.asarray(cv2.Rodrigues(a)[0], float), b.ravel()) for a, b in zip(turns, moves, strict=True)]
        starts += [(error_of(pose), pose) for pose in poses if np.isfinite(pose[1]).all()]
    starts.sort(key=lambda item: item[0])
    refined = [_refined(pose, points, rays, focal) for _, pose in _distinct(starts)]
    return sorted(((error_of(pose), pose) for pose in refined), key=lambda item: item[0])


def _distinct(starts: list[tuple[float, Pose]]) -> list[tuple[float, Pose]]:
    """The best few that differ from each other."""
    kept: list[tuple[float, Pose]] = []
    for error, (R, t) in starts:
        turned = [np.degrees(np.linalg.norm(log(R @ other.T))) for _, (other, _) in kept]
        if len(kept) < _BEST_STARTS and all(angle > _OTHER_POSE_DEG for angle in turned):
            kept.append((error, (R, t)))
    return kept


def _refined(start: Pose, points: FloatArray, rays: FloatArray, focal: float) -> Pose:
    def moved(x: FloatArray) -> Pose:
        return exp(x[:3]) @ start[0], start[1] + x[3:]

    def residuals(x: FloatArray) -> FloatArray:
        return focal * (_on_rays(moved(x), points) - rays).ravel()

    return moved(least_squares(residuals, np.zeros(6), loss="soft_l1", f_scale=3.0, x_scale="jac", max_nfev=60).x)


def _on_rays(pose: Pose, points: FloatArray) -> FloatArray:
    """(N, 2) normalised coordinates; far out for points behind the camera."""
    inside = points @ pose[0].T + pose[1]
    ahead = inside[:, 2:] > 1e-6
    return np.where(ahead, inside[:, :2] / np.where(ahead, inside[:, 2:], 1.0), _BEHIND)


class _Bundle:
    """All poses and points together: clicks, and the places that were measured."""

    def __init__(
        self,
        lenses: Sequence[Intrinsics],
        measured: FloatArray,
        pixels: FloatArray,
        point_sigma_m: float,
        click_sigma_px: float,
    ) -> None:
        self.measured, self.point_sigma_m = measured, point_sigma_m
        self.rays = [undistort_points(lens, clicks) for lens, clicks in zip(lenses, pixels, strict=True)]
        self.weight = [_focal_px(lens) / click_sigma_px for lens in lenses]

    def solve(self, poses: Sequence[Pose]) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Return rotations, translations, points, and the (6V, 6V) covariance of the poses."""
        R, t = np.stack([pose[0] for pose in poses]), np.stack([pose[1] for pose in poses])
        xyz, count = np.array(self.measured), 6 * len(poses)
        for loss in ("soft_l1", "cauchy"):  # the second forgets wild clicks, and its derivatives belong to the answer
            base = R, t, xyz
            found = least_squares(
                partial(self._stepped, base),
                np.zeros(count + xyz.size),
                loss=loss,
                f_scale=_SOFT,
                x_scale="jac",
                max_nfev=100,
            )
            R, t, xyz = self._moved(base, found.x)
        freedom = max(len(found.fun) - len(found.x), 1)
        excess = max(1.0, 2 * found.cost / freedom)
        covariance = excess * np.linalg.inv(found.jac.T @ found.jac)[:count, :count]
        return R, t, xyz, (covariance + covariance.T) / 2

    def _moved(
        self, base: tuple[FloatArray, FloatArray, FloatArray], x: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        R, t, xyz = base
        steps = x[: 6 * len(R)].reshape(-1, 6)
        return exp(steps[:, :3]) @ R, t + steps[:, 3:], xyz + x[6 * len(R) :].reshape(-1, 3)

    def _stepped(self, base: tuple[FloatArray, FloatArray, FloatArray], x: FloatArray) -> FloatArray:
        return self._residuals(*self._moved(base, x))

    def _residuals(self, R: FloatArray, t: FloatArray, xyz: FloatArray) -> FloatArray:
        parts = [((xyz - self.measured) / self.point_sigma_m).ravel()]
        for v, (rays, weight) in enumerate(zip(self.rays, self.weight, strict=True)):
            seen = np.isfinite(rays).all(axis=-1)
            parts.append(weight * (_on_rays((R[v], t[v]), xyz[seen]) - rays[seen]).ravel())
        return np.concatenate(parts)


def _focal_px(lens: Intrinsics) -> float:
    """Geometric mean of the two focal lengths, px: pixels per unit of normalised coordinates."""
    return float(np.sqrt(lens.K[0, 0] * lens.K[1, 1]))
