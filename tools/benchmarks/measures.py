"""Measures against known truth, and the plain baselines that a bench compares with."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import chdtri, fdtri

from inference.geometry.projection import undistort_points
from inference.shapes import FloatArray
from inference.types import CameraRig, Keypoints2D, Keypoints3D

LEVELS = (0.50, 0.90, 0.95)
LIMBS = (
    *(
        (f"{side}_{a}", f"{side}_{b}")
        for side in ("left", "right")
        for a, b in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))
    ),
    ("left_shoulder", "right_shoulder"),
    ("left_hip", "right_hip"),
)  # the bones that every detector's layout has


def seconds(work: Callable[[], object], times: int = 3) -> float:
    """Return the fastest of several runs, s."""
    return seconds_and_cpu(work, times)[0]


def seconds_and_cpu(work: Callable[[], object], times: int = 3) -> tuple[float, float]:
    """Return the fastest of several runs, s, and the least CPU time of one, s, of all threads together."""
    took = []
    for _ in range(times):
        started, used = time.perf_counter(), time.process_time()
        work()
        took.append((time.perf_counter() - started, time.process_time() - used))
    wall, cpu = zip(*took, strict=True)
    return min(wall), min(cpu)


def processor_seconds(work: Callable[[], object], times: int = 3) -> float:
    """Return the least processor time of several runs, s: what a busy machine distorts least."""
    best = np.inf
    for _ in range(times):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return best


def joint_error_mm(xyz: FloatArray, truth: FloatArray) -> float:  # (..., 3) m both
    """Return the mean distance over the joints that are estimated, mm."""
    return float(1000 * np.nanmean(np.linalg.norm(xyz - truth, axis=-1)))


def coverage(joints: Keypoints3D, truth: FloatArray, levels: Sequence[float] = LEVELS) -> list[float]:
    """Return the share of true points inside the ellipsoids of each level, by the layer's own Student t.

    Convention:
        the ellipsoid of level p: d' C⁻¹ d ≤ 3·F(p; 3, ν)·(ν − 2)/ν, or χ² with 3 for ν = ∞.
    """
    error = joints.xyz - truth
    seen = joints.observed & np.isfinite(truth).all(axis=-1)
    solved = np.linalg.solve(joints.covariance[seen], error[seen][..., None])[..., 0]
    distance = (error[seen] * solved).sum(axis=-1)
    nu = joints.degrees_of_freedom
    if np.isinf(nu):
        limits = [chdtri(3, 1 - level) for level in levels]
    else:
        limits = [3 * fdtri(3, nu, level) * (nu - 2) / nu for level in levels]
    return [float((distance <= limit).mean()) for limit in limits]


def joints_in_order(joints: Keypoints3D, names: Sequence[str]) -> Keypoints3D:
    """Return the joints of those names in that order."""
    order = [joints.joint_names.index(name) for name in names]
    return Keypoints3D(
        tuple(names),
        joints.timestamps_s,
        joints.xyz[:, :, order],
        joints.covariance[:, :, order],
        joints.flag[:, :, order],
        joints.degrees_of_freedom,
    )


def looped_triangulation(rig: CameraRig, views: Sequence[Keypoints2D]) -> FloatArray:
    """Triangulate the plain way, a loop over frames and joints with one SVD each: what most tools do.

    Returns:
        (T, P, J, 3) m; NaN with fewer than two views.
    """
    t, p, j = views[0].score.shape
    projections = [np.column_stack([camera.R, camera.t]) for camera in rig.cameras]
    rays = np.stack([undistort_points(c.intrinsics, view.xy) for c, view in zip(rig.cameras, views, strict=True)])
    result = np.full((t, p, j, 3), np.nan)
    for index in np.ndindex(t, p, j):  # the loop is what is measured here
        rows = []
        for projection, (x, y) in zip(projections, rays[(slice(None), *index)], strict=True):
            if np.isfinite(x):
                rows += [x * projection[2] - projection[0], y * projection[2] - projection[1]]
        if len(rows) >= 4:
            point = np.linalg.svd(np.array(rows))[2][-1]
            result[index] = point[:3] / point[3]
    return result


def layer_of(xyz: FloatArray, names: tuple[str, ...], timestamps_s: FloatArray) -> Keypoints3D:  # (T, P, J, 3) m
    """Wrap points that have no covariance of their own, so that the judges can measure them."""
    seen = np.isfinite(xyz).all(axis=-1)
    covariance = np.where(seen[..., None, None], np.eye(3), np.nan)
    return Keypoints3D(names, timestamps_s, xyz, covariance, np.where(seen, 3, 0))
