"""Cameras for round trips through calibration files, and how far two cameras see the same points apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from inference.geometry.projection import project
from inference.types import Camera, Intrinsics


def five_cameras(seed: int = 5, coefficients: int = 5) -> list[Camera]:
    """Five random cameras: portrait and landscape, fx != fy, off-centre, k1 to k3, awkward names, 2 to 5 m away."""
    rng = np.random.default_rng(seed)
    sizes = [(1920, 1080), (1080, 1920), (640, 480), (1088, 1920), (1280, 720)]
    cameras = []
    for name, size in zip(("cam_2", "cam_10", "07", "left", "7b"), sizes, strict=True):
        K = np.diag([*(max(size) * rng.uniform(0.8, 1.2, 2)), 1.0])
        K[:2, 2] = np.array(size) * rng.uniform(0.4, 0.6, 2)
        distortion = np.array([-0.1, 0.05, 1e-3, -1e-3, -0.01])[:coefficients] * rng.uniform(0.5, 1.5, coefficients)
        inner = Intrinsics(name, size, K, distortion, "opencv" if coefficients else "none")
        R = np.asarray(cv2.Rodrigues(rng.normal(size=3))[0])
        cameras.append(Camera(inner, R, np.array([*rng.uniform(-0.5, 0.5, 2), rng.uniform(2, 5)])))
    return cameras


def pixel_error(before: Sequence[Camera], after: Mapping[str, Camera]) -> float:
    """Largest distance, px, between the projections of 200 points that each camera sees, before and after."""
    rng = np.random.default_rng(1)
    worst = 0.0
    for camera in before:
        other = after[camera.name]
        assert other.intrinsics.image_size == camera.intrinsics.image_size and other.name == camera.name
        size, K = np.array(camera.intrinsics.image_size), camera.intrinsics.K
        rays = (rng.uniform(0, 1, (200, 2)) * size - K[:2, 2]) / np.diag(K)[:2]
        in_camera = np.column_stack([rays, np.ones(200)]) * rng.uniform(2, 6, (200, 1))
        points = (in_camera - camera.t) @ camera.R
        worst = max(worst, float(np.linalg.norm(project(other, points) - project(camera, points), axis=-1).max()))
    return worst
