"""Cameras for a batch: our lens model in PyTorch, from the world to a network's input and back to rays.

The formulas are those of `inference.geometry.projection`, which a test compares them with; the rays of a crop come
from that module's own inverse, at the corners of cells, and are interpolated between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from inference.geometry.projection import undistort_points
from inference.perception.crop import Region, image_from_crop, transform_points
from inference.shapes import FloatArray
from inference.types import Camera

_CELL_PX = 16  # of the grid of rays: between its corners they are straight to 0.02 px for our lenses


@dataclass(frozen=True, eq=False)
class Views:
    """N pictures: the camera of each and the region of its image that is drawn."""

    R: Tensor  # (N, 3, 3) camera from world
    t: Tensor  # (N, 3) m
    K: Tensor  # (N, 3, 3) px
    distortion: Tensor  # (N, 8): k1 k2 p1 p2 k3 k4 k5 k6 of OpenCV; of a fisheye the first four
    fisheye: Tensor  # (N,) bool
    limit: Tensor  # (N,) largest radius in normalised coordinates where the lens is one-to-one
    crop_from_image: Tensor  # (N, 2, 3)
    rays: Tensor  # (N, h', w', 3) world directions of the corners of cells; NaN where no ray belongs to a pixel
    size: tuple[int, int]  # (width, height) px of the pictures

    def project(self, points: Tensor) -> Tensor:
        """Project world points (N, P, 3) to pixels of the crops and depth in metres: (N, P, 3).

        Behind the camera, and where the lens is not one-to-one, the pixels are NaN.
        """
        inside = torch.baddbmm(self.t[:, None], points, self.R.transpose(1, 2))
        depth = inside[..., 2]
        xy = inside[..., :2] / depth[..., None]
        xy = torch.where(((depth > 1e-3) & (xy.square().sum(-1) < self.limit[:, None] ** 2))[..., None], xy, torch.nan)
        image = torch.baddbmm(self.K[:, None, :2, 2], self._distort(xy), self.K[:, :2, :2].transpose(1, 2))
        crop = torch.baddbmm(self.crop_from_image[:, None, :, 2], image, self.crop_from_image[:, :, :2].transpose(1, 2))
        return torch.cat([crop, depth[..., None]], dim=-1)

    def of(self, pictures: Tensor) -> Views:
        """Return the views of pictures (I,), some of them perhaps several times, in that order."""
        tensors = (self.R, self.t, self.K, self.distortion, self.fisheye, self.limit, self.crop_from_image, self.rays)
        return Views(*(tensor[pictures] for tensor in tensors), size=self.size)

    def _distort(self, xy: Tensor) -> Tensor:
        x, y = xy[..., 0], xy[..., 1]
        k1, k2, p1, p2, k3, k4, k5, k6 = (value[:, None] for value in self.distortion.T)
        r2 = x * x + y * y
        radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
        u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
        v = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
        if self.fisheye.any():
            r = r2.sqrt().clamp(min=1e-8)
            s = r.atan().square()
            bent = r.atan() / r * (1 + s * (k1 + s * (k2 + s * (p1 + s * p2))))
            u = torch.where(self.fisheye[:, None], x * bent, u)
            v = torch.where(self.fisheye[:, None], y * bent, v)
        return torch.stack([u, v], dim=-1)

    def directions(self) -> Tensor:
        """(N, h, w, 3) unit directions in the world of every pixel's ray."""
        width, height = self.size
        grid = torch.nan_to_num(self.rays).permute(0, 3, 1, 2)
        full = torch.nn.functional.interpolate(
            grid, (height + 1, width + 1), mode="bilinear", align_corners=True
        )  # at pixels' corners
        middle = torch.nn.functional.avg_pool2d(full, 2, stride=1)
        return torch.nn.functional.normalize(middle.permute(0, 2, 3, 1), dim=-1)


def make_views(
    cameras: Sequence[Camera], regions: Sequence[Region], size: tuple[int, int], device: torch.device | str = "cpu"
) -> Views:
    """Gather cameras and the regions of their images that are drawn.

    Convention:
        lenses with up to 8 coefficients of OpenCV's model, or fisheye ones.

    Args:
        cameras: one per picture.
        regions: one per picture, px.
        size: (width, height) px of the pictures; multiples of 16.
    """
    image_from = np.stack([image_from_crop(region, size) for region in regions])
    whole = np.tile([[0, 0, 1.0]], (len(cameras), 1, 1))
    crop_from = np.linalg.inv(np.concatenate([image_from, whole], axis=1))[:, :2]
    distortion = np.zeros((len(cameras), 8))
    for row, camera in zip(distortion, cameras, strict=True):
        coefficients = camera.intrinsics.distortion
        row[: len(coefficients)] = coefficients
    fisheye = [camera.intrinsics.distortion_model == "fisheye" for camera in cameras]
    arrays = (
        np.stack([camera.R for camera in cameras]),
        np.stack([camera.t for camera in cameras]),
        np.stack([camera.intrinsics.K for camera in cameras]),
        distortion,
        np.array([_limit(camera) for camera in cameras]),
        crop_from,
        np.stack([_rays(camera, affine, size) for camera, affine in zip(cameras, image_from, strict=True)]),
    )
    R, t, K, bent, limit, crop, rays = (torch.tensor(a, dtype=torch.float32, device=device) for a in arrays)
    return Views(R, t, K, bent, torch.tensor(fisheye, device=device), limit, crop, rays, size)


def _limit(camera: Camera) -> float:
    """Radius up to which the lens is one-to-one, a little less than where the derivative vanishes."""
    radius = np.linspace(0.02, 4.0, 200)
    k1, k2, p1, p2, k3, k4, k5, k6 = np.r_[camera.intrinsics.distortion, np.zeros(8)][:8]
    if camera.intrinsics.distortion_model == "fisheye":
        s = np.arctan(radius) ** 2
        bent = np.arctan(radius) * (1 + s * (k1 + s * (k2 + s * (p1 + s * p2))))
    else:
        r2 = radius**2
        bent = radius * (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    falls = np.flatnonzero(np.diff(bent) < 0.05 * np.diff(radius))
    return float(radius[falls[0]]) if len(falls) else 4.0


def _rays(camera: Camera, affine: FloatArray, size: tuple[int, int]) -> FloatArray:
    """(h', w', 3) directions in the world at the corners of cells of the picture."""
    across = (np.arange(0, side + 1, _CELL_PX) - 0.5 for side in size)
    corners = np.stack(np.meshgrid(*across), axis=-1)
    xy = undistort_points(camera.intrinsics, transform_points(affine, corners.reshape(-1, 2)))
    rays = np.column_stack([xy, np.ones(len(xy))]) @ camera.R
    return (rays / np.linalg.norm(rays, axis=1, keepdims=True)).reshape(*corners.shape[:2], 3)
