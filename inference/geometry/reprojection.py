"""Reprojection residuals of many points in many views, as arrays by component.

Keypoints are undistorted once; their covariances follow through the lens's derivative. From then on residuals are
those of a pinhole camera in normalised coordinates, weighted in pixels. Arrays are kept by component, (V, N) or
(3, N): on matrices this small that is several times faster than batched linear algebra.
Symmetric 3×3 matrices are the six rows xx, xy, xz, yy, yz, zz.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import ModuleType
from typing import ClassVar, NamedTuple, Protocol

import numpy as np

from ..errors import InputError, ShapeError
from ..shapes import BoolArray, FloatArray, IntArray
from ..types import CameraRig, Intrinsics, Keypoints2D
from .acceleration import loops_for
from .camera_path import MovingWorld, centres_of
from .projection import distort_jacobian, undistort_points

NEAREST_M = 0.01  # points closer to a camera plane, or behind it, get the residual of this depth: never small
_BLOCK = 16_384  # points at a time: the work arrays stay small
SYMMETRIC = np.array([[0, 1, 2], [1, 3, 4], [2, 4, 5]])


@dataclass(frozen=True, eq=False)
class Rays:
    """N points' keypoints in V views: undistorted normalised coordinates with precision (inverse covariance)."""

    R: FloatArray  # (V, 3, 3)
    t: FloatArray  # (V, 3) m
    u: FloatArray  # (V, N), 0 where not seen
    v: FloatArray  # (V, N)
    uu: FloatArray  # (V, N) precision, 0 where not seen
    uv: FloatArray  # (V, N)
    vv: FloatArray  # (V, N)
    seen: BoolArray  # (V, N)
    world: MovingWorld | None = None  # before cameras that move, which stand in their first poses here

    PER_POINT: ClassVar[tuple[str, ...]] = ("u", "v", "uu", "uv", "vv", "seen")

    def take(self, index: IntArray | slice) -> Rays:
        """The same for some of the points."""
        world = None if self.world is None else self.world.take(index)
        return replace(self, world=world, **{key: getattr(self, key)[:, index] for key in self.PER_POINT})

    def of_view(self, view: int) -> Rays:
        """The same for one of the views."""
        one = slice(view, view + 1)
        world = None if self.world is None else self.world.views(one)
        parts = {key: getattr(self, key)[one] for key in ("R", "t", *self.PER_POINT)}
        return replace(self, world=world, **parts)

    def in_front_of(self, view: int, points: FloatArray) -> FloatArray:
        """(3, N) where points (3, N) stand before a view's camera in its first pose."""
        return points if self.world is None else self.world.moved(view, points)

    def by_points(self, view: int, slope: FloatArray) -> FloatArray:
        """Derivatives (3, N) by the points from those by where they stand before the camera in its first pose."""
        return slope if self.world is None else self.world.back(view, slope)

    @property
    def poses(self) -> tuple[FloatArray, FloatArray]:
        """(V, N, 3, 3) and (V, N, 3) m of the cameras when they see the points; take few of them first."""
        R, t = self.R[:, None], self.t[:, None]
        if self.world is not None:
            moved = np.einsum("vij,vkj->vki", self.R, self.world.shift)
            return (R @ self.world.R)[:, self.world.moment], (t + moved)[:, self.world.moment]
        return np.broadcast_to(R, (*self.u.shape, 3, 3)), np.broadcast_to(t, (*self.u.shape, 3))

    @property
    def centres(self) -> FloatArray:
        """(V, N, 3) m where the cameras stand when they see the points."""
        return centres_of(*self.poses)

    def scaled(self, variance_scale: FloatArray) -> Rays:
        """The same with all covariances multiplied, (V, N)."""
        return replace(self, **{key: getattr(self, key) / variance_scale for key in ("uu", "uv", "vv")})


class PointRays(Protocol):
    """N points' keypoints in V views, kept in any way; `Rays` of some of them on demand."""

    @property
    def seen(self) -> BoolArray:
        """(V, N)."""
        ...

    def take(self, index: IntArray | slice) -> Rays:
        """Some of the points."""
        ...


class Residual(NamedTuple):
    """One view's residuals (observed - predicted) and their derivative by the point."""

    u: FloatArray  # (N,)
    v: FloatArray  # (N,)
    slope_u: FloatArray  # (3, N) d predicted u / d point
    slope_v: FloatArray  # (3, N)
    delta: FloatArray  # (N,) squared Mahalanobis length


def rays_from_keypoints(
    rig: CameraRig,
    views: Sequence[Keypoints2D],
    min_score: float,
    compiled: bool | None = None,
) -> Rays:
    """Undistort the keypoints of all views and carry their covariances along.

    Convention:
        points are the T·P·J keypoints in that order; a keypoint below ``min_score`` or outside its lens's range
        counts as not seen.

    Args:
        rig: cameras in the order of ``views``.
        views: keypoints on common times with the same people and joints.
        min_score: keypoints with a lower score are left out.
        compiled: as for `loops_for`.

    Returns:
        The rays of V views.

    Raises:
        ShapeError: views and rig do not fit each other.
        InputError: a covariance is not positive definite.
    """
    _check_views(rig, views)
    loops = loops_for(len(views) * views[0].score.size, compiled)
    values = np.empty((5, len(views), views[0].score.size))

    def read(number: int) -> None:
        _one_view(rig.cameras[number].intrinsics, views[number], min_score, loops, values[:, number])

    with ThreadPoolExecutor() as pool:
        list(pool.map(read, range(len(views))))
    R, t = np.stack([camera.R for camera in rig.cameras]), np.stack([camera.t for camera in rig.cameras])
    u, v, uu, uv, vv = values
    world = MovingWorld.before(rig, views[0].timestamps_s, views[0].score.size)
    return Rays(R, t, u, v, uu, uv, vv, uu > 0, world)


def _check_views(rig: CameraRig, views: Sequence[Keypoints2D]) -> None:
    if not views or len(views) != len(rig.cameras):
        raise ShapeError(f"{len(views)} views of keypoints do not fit {len(rig.cameras)} cameras")
    first = views[0]
    for view, camera in zip(views, rig.cameras, strict=True):
        if view.view != camera.name:
            raise ShapeError(f"keypoints of view {view.view!r} stand where camera {camera.name!r} is expected")
        if view.joint_names != first.joint_names or view.xy.shape != first.xy.shape:
            raise ShapeError(f"view {view.view!r}: people, joints or frames differ from view {first.view!r}")
        if np.abs(view.timestamps_s - first.timestamps_s).max(initial=0) > 1e-6:
            raise ShapeError(f"view {view.view!r}: times differ from view {first.view!r}; resample first")


def _one_view(
    lens: Intrinsics, keypoints: Keypoints2D, min_score: float, loops: ModuleType | None, out: FloatArray
) -> None:
    """Set (5, N) normalised u, v and their precision's uu, uv, vv; 0 where not seen."""
    xy, covariance = keypoints.xy.reshape(-1, 2), keypoints.covariance.reshape(-1, 2, 2)
    seen = np.isfinite(xy[:, 0]) & np.isfinite(xy[:, 1]) & (keypoints.score.reshape(-1) >= min_score)
    if loops is not None and lens.distortion_model == "opencv" and not lens.distortion[8:].any():
        if loops.undistort_with_precision(lens, xy, covariance, seen, out) >= 0:
            _check_covariances(keypoints, covariance, seen)
        return
    _check_covariances(keypoints, covariance, seen)
    out[:] = 0.0
    for start in range(0, len(xy), _BLOCK):
        block = start + np.flatnonzero(seen[start : start + _BLOCK])
        out[:, block] = _undistort_with_precision(lens, xy[block], covariance[block])
    out[:, ~np.isfinite(out[0])] = 0.0


def _check_covariances(keypoints: Keypoints2D, covariance: FloatArray, seen: BoolArray) -> None:
    for start in range(0, len(seen), _BLOCK):
        (xx, xy), (yx, yy) = covariance[start : start + _BLOCK].transpose(1, 2, 0)
        wrong = seen[start : start + _BLOCK] & ~((xx > 0) & (xx * yy - xy * yx > 0))
        if wrong.any():
            t, _, j = np.unravel_index(start + wrong.argmax(), keypoints.score.shape)
            raise InputError(
                f"view {keypoints.view!r}, frame {t}, {keypoints.joint_names[j]}: the keypoint's covariance is not "
                "positive definite; repair the keypoints or leave this one out"
            )


def _undistort_with_precision(lens: Intrinsics, xy: FloatArray, covariance: FloatArray) -> FloatArray:
    """(5, N) normalised u, v and their precision's uu, uv, vv; NaN where no point maps to the pixel."""
    xx, xy_, yx, yy = np.ascontiguousarray(covariance.reshape(-1, 4).T)
    determinant = xx * yy - xy_ * yx
    normalised = undistort_points(lens, xy)
    a, b, c, d = np.ascontiguousarray(distort_jacobian(lens, normalised).reshape(-1, 4).T)
    p, q, r = yy / determinant, -(xy_ + yx) / 2 / determinant, xx / determinant
    uu, uv = a * a * p + 2 * a * c * q + c * c * r, a * b * p + (a * d + b * c) * q + c * d * r
    return np.stack([*normalised.T, uu, uv, b * b * p + 2 * b * d * q + d * d * r])


def residual(rays: Rays, view: int, points: FloatArray) -> Residual:
    """Residuals of one view at points (3, N)."""
    R, t = rays.R[view], rays.t[view]
    x, y, z = R @ rays.in_front_of(view, points) + t[:, None]
    inverse = 1 / np.maximum(z, NEAREST_M)
    predicted_u, predicted_v = x * inverse, y * inverse
    u, v = rays.u[view] - predicted_u, rays.v[view] - predicted_v
    slope_u = (R[0][:, None] - R[2][:, None] * predicted_u) * inverse
    slope_v = (R[1][:, None] - R[2][:, None] * predicted_v) * inverse
    delta = u * (rays.uu[view] * u + 2 * rays.uv[view] * v) + rays.vv[view] * v * v
    return Residual(u, v, rays.by_points(view, slope_u), rays.by_points(view, slope_v), delta)


def squared_distances(rays: Rays, points: FloatArray) -> FloatArray:
    """(V, N) squared Mahalanobis length of every residual, 0 where not seen."""
    result = np.empty(rays.u.shape)
    for view in range(len(rays.R)):
        R, t = rays.R[view], rays.t[view]
        x, y, z = R @ rays.in_front_of(view, points) + t[:, None]
        inverse = 1 / np.maximum(z, NEAREST_M)
        u, v = rays.u[view] - x * inverse, rays.v[view] - y * inverse
        result[view] = u * (rays.uu[view] * u + 2 * rays.uv[view] * v) + rays.vv[view] * v * v
    return result


def outer(first: FloatArray, second: FloatArray) -> FloatArray:
    """(6, N) symmetric part's rows of first ⊗ second, both (3, N), where the sum over terms is symmetric."""
    result = np.empty((6, first.shape[1]))
    np.multiply(first[0], second, out=result[:3])
    np.multiply(first[1], second[1:], out=result[3:5])
    np.multiply(first[2], second[2], out=result[5])
    return result


def invert_symmetric(matrix: FloatArray) -> FloatArray:
    """(6, N) inverses of symmetric 3×3 matrices, by cofactors; NaN where singular."""
    xx, xy, xz, yy, yz, zz = matrix
    a, b, c = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
    determinant = xx * a + xy * b + xz * c
    rest = (xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy)
    determinant = np.where(np.abs(determinant) > 1e-300, determinant, np.nan)
    return np.stack([a, b, c, *rest]) / determinant


def determinant(matrix: FloatArray) -> FloatArray:
    """(N,) determinants of symmetric matrices (6, N)."""
    xx, xy, xz, yy, yz, zz = matrix
    return xx * (yy * zz - yz * yz) + xy * (xz * yz - xy * zz) + xz * (xy * yz - xz * yy)


def apply_symmetric(matrix: FloatArray, vector: FloatArray) -> FloatArray:
    """(3, N) products of symmetric matrices (6, N) and vectors (3, N)."""
    xx, xy, xz, yy, yz, zz = matrix
    x, y, z = vector
    return np.stack([xx * x + xy * y + xz * z, xy * x + yy * y + yz * z, xz * x + yz * y + zz * z])


def full_matrix(matrix: FloatArray) -> FloatArray:
    """(N, 3, 3) from (6, N)."""
    return np.moveaxis(matrix[SYMMETRIC], -1, 0)


def compact_matrix(matrix: FloatArray) -> FloatArray:
    """(6, N) from symmetric (N, 3, 3)."""
    return np.moveaxis(matrix[:, [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]], -1, 0)


def camera_slopes(rays: Rays, view: int, points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Derivatives (6, N) of predicted u and v by the camera's rotation vector (left, camera axes) and t."""
    turned = rays.R[view] @ rays.in_front_of(view, points)
    x, y, z = turned + rays.t[view][:, None]
    inverse = 1 / np.maximum(z, NEAREST_M)
    zero = np.zeros_like(x)
    result = []
    for along in ((inverse, zero, -x * inverse**2), (zero, inverse, -y * inverse**2)):
        # d(exp(w) R X) = w × (R X), and s · (w × q) = w · (q × s)
        result.append(np.concatenate([np.cross(turned, np.stack(along), axis=0), np.stack(along)]))
    return result[0], result[1]
