"""Regions of an image, the affine maps between them and a network's input, and the warped pictures.

Pixels count from the centre of the first one everywhere, so a map that scales by s takes u to
``s (u + 0.5 - b) - 0.5`` with b the region's left edge, counted from the image's edge.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..shapes import FloatArray, check_shapes
from .card import NetworkInput


@dataclass(frozen=True)
class Region:
    """A rectangle in an image, turned about its centre."""

    centre: tuple[float, float]  # px
    size: tuple[float, float]  # (width, height) px
    angle: float = 0.0  # rad, from the image's x axis towards its y axis


def whole_image(image_size: tuple[int, int], network_size: tuple[int, int]) -> Region:
    """Return the smallest region of the network's aspect that holds the whole image, centred (letterbox)."""
    width, height = image_size
    scale = max(width / network_size[0], height / network_size[1])
    size = (network_size[0] * scale, network_size[1] * scale)
    return Region(((width - 1) / 2, (height - 1) / 2), size)


def region_of_box(
    box: FloatArray,  # (4,) x1, y1, x2, y2 px
    aspect: float,
    enlarge: float,
) -> Region:
    """Return the region of that aspect (width / height) around a box of pixel centres, enlarged."""
    x1, y1, x2, y2 = (float(value) for value in box)
    width, height = x2 - x1 + 1.0, y2 - y1 + 1.0
    height = max(height, width / aspect) * enlarge
    return Region(((x1 + x2) / 2, (y1 + y2) / 2), (height * aspect, height))


def image_from_crop(region: Region, network_size: tuple[int, int]) -> FloatArray:
    """Return the (2, 3) map from pixels of the network's input to pixels of the image.

    Convention:
        pixel centres; the edges of the region become the edges of the input.

    Args:
        region: in the image.
        network_size: (width, height) of the network's input.
    """
    cos, sin = np.cos(region.angle), np.sin(region.angle)
    scale_x, scale_y = region.size[0] / network_size[0], region.size[1] / network_size[1]
    linear = np.array([[cos * scale_x, -sin * scale_y], [sin * scale_x, cos * scale_y]])
    middle = (np.asarray(network_size, dtype=float) - 1) / 2
    return np.column_stack([linear, np.asarray(region.centre) - linear @ middle])


def image_from_cells(cells: tuple[int, int], network_size: tuple[int, int], alignment: str) -> FloatArray:
    """Return the (2, 3) map from heatmap cells to pixels of the network's input.

    Convention:
        ``centre``: cells tile the input, cell i has its middle at s(i + 0.5) - 0.5; ``index``: cell i was
        trained to mean pixel s·i; ``udp``: first and last cell mean first and last pixel.

    Args:
        cells: (width, height) of the heatmap.
        network_size: (width, height) of the network's input.
        alignment: one of the three.
    """
    size, network = np.asarray(cells, dtype=float), np.asarray(network_size, dtype=float)
    if alignment == "udp":
        scale, shift = (network - 1) / (size - 1), np.zeros(2)
    else:
        scale = network / size
        shift = (scale - 1) / 2 if alignment == "centre" else np.zeros(2)
    return np.column_stack([np.diag(scale), shift])


def transform_points(
    affine: FloatArray,  # (..., 2, 3)
    points: FloatArray,  # (..., J, 2)
) -> FloatArray:
    """Apply affine maps to points: (..., J, 2)."""
    check_shapes(affine=(affine, "... 2 3"), points=(points, "... J 2"))
    return points @ np.swapaxes(affine[..., :2], -1, -2) + affine[..., None, :, 2]


def transform_covariance(
    affine: FloatArray,  # (..., 2, 3)
    covariance: FloatArray,  # (..., J, 2, 2)
) -> FloatArray:
    """Apply affine maps to covariances: (..., J, 2, 2)."""
    check_shapes(affine=(affine, "... 2 3"), covariance=(covariance, "... J 2 2"))
    linear = affine[..., None, :, :2]
    return linear @ covariance @ np.swapaxes(linear, -1, -2)


def warp(
    image: NDArray[np.uint8],  # (h, w, 3) RGB
    region: Region,
    network_size: tuple[int, int],
    repeat_edge: bool = True,
) -> NDArray[np.uint8]:
    """Cut a region out of an image and bring it to the network's size: (h', w', 3) RGB.

    Convention:
        outside of the image the edge is repeated, or black. Bilinear; OpenCV rounds positions to 1/32 px.
    """
    border = cv2.BORDER_REPLICATE if repeat_edge else cv2.BORDER_CONSTANT
    matrix = image_from_crop(region, network_size)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    crop = cv2.warpAffine(image, matrix, network_size, flags=flags, borderMode=border)
    return np.asarray(crop, dtype=np.uint8)


def network_pictures(
    crops: NDArray[np.uint8],  # (N, h, w, 3) RGB
    network: NetworkInput,
) -> NDArray[np.float32]:
    """Return crops as the network wants them: channel order, range, mean, std and axis order of its card."""
    check_shapes(crops=(crops, f"N {network.size[1]} {network.size[0]} 3"))
    low, high = network.range
    channels = np.array(["RGB".index(channel) for channel in network.channels])
    mean, std = np.asarray(network.mean), np.asarray(network.std)
    factor = ((high - low) / 255.0 / std).astype(np.float32)
    shift = ((low - mean) / std).astype(np.float32)
    pictures = crops[..., channels] * factor + shift
    return np.ascontiguousarray(np.moveaxis(pictures, -1, 1)) if network.order == "NCHW" else pictures
