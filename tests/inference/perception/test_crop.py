"""Crops: exact to the half pixel, turned the right way round."""

from __future__ import annotations

import numpy as np
import pytest

from inference.errors import ShapeError
from inference.perception.card import NetworkInput
from inference.perception.crop import (
    Region,
    image_from_cells,
    image_from_crop,
    network_pictures,
    region_of_box,
    transform_covariance,
    transform_points,
    warp,
    whole_image,
)
from inference.perception.heatmap import fit_gaussians


def gaussian_image(size: tuple[int, int], mean: tuple[float, float], sigma: float) -> np.ndarray:
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    value = 255 * np.exp(-((x - mean[0]) ** 2 + (y - mean[1]) ** 2) / (2 * sigma**2))
    return np.repeat(np.round(value).astype(np.uint8)[..., None], 3, axis=-1)


def test_the_map_follows_the_half_pixel_rule() -> None:
    """Box edge b = 100 px, scale s = 0.25: u = 300 goes to 0.25 (300.5 - 100) - 0.5 = 49.625."""
    region = Region(centre=(100 + 200 - 0.5, 40 + 120 - 0.5), size=(400, 240))
    affine = image_from_crop(region, (100, 60))
    np.testing.assert_allclose(transform_points(affine, np.array([[49.625, 0.0]])), [[300.0, 40 + 2 - 0.5]])


def test_a_quarter_turn_by_hand() -> None:
    """Turned by +90° (x axis towards y axis), the crop's right is the image's down and its down the image's left."""
    affine = image_from_crop(Region((50, 60), (11, 11), np.pi / 2), (11, 11))
    moved = transform_points(affine, np.array([[5.0, 5.0], [6.0, 5.0], [5.0, 6.0]]))
    np.testing.assert_allclose(moved, [[50, 60], [50, 61], [49, 60]], atol=1e-12)


def test_the_whole_image_is_letterboxed_and_comes_back_exactly() -> None:
    region = whole_image((1080, 1920), (224, 224))
    assert region.size == (1920, 1920)
    corners = np.array([[-0.5, -0.5], [223.5, 223.5]])
    back = transform_points(image_from_crop(region, (224, 224)), corners)
    np.testing.assert_allclose(back, [[-0.5 - 420, -0.5], [1079.5 + 420, 1919.5]])


def test_a_box_gets_the_networks_aspect() -> None:
    region = region_of_box(np.array([10.0, 20, 29, 59]), aspect=0.75, enlarge=1.5)
    assert region == Region((19.5, 39.5), (45.0, 60.0))


@pytest.mark.parametrize("angle", [0.0, 0.4, -2.5])
@pytest.mark.parametrize("scale", [0.7, 1.0, 2.9])
def test_a_gaussian_comes_back_through_crop_and_fit(angle: float, scale: float) -> None:
    """Image, crop, fit, back to the image: within 0.05 px of the network's input."""
    rng = np.random.default_rng(5)
    for _ in range(5):
        mean = 120 + rng.uniform(-20, 20, 2)
        image = gaussian_image((240, 260), (mean[0], mean[1]), sigma=2.5 * scale)
        region = Region((118.3, 121.9), (96 * scale, 128 * scale), angle)
        crop = warp(image, region, (96, 128))
        fit = fit_gaussians(crop[None, ..., 0] / 255.0)
        found = transform_points(image_from_crop(region, (96, 128)), fit.mean)
        assert np.abs(found - mean).max() / scale < 0.05
        # The warp interpolates, which widens by less than a tenth of a cell.
        np.testing.assert_allclose(fit.covariance[0], 2.5**2 * np.eye(2), atol=0.4)


@pytest.mark.parametrize("alignment", ["centre", "index", "udp"])
def test_cells_by_hand(alignment: str) -> None:
    """64 cells over 256 px: cell 10 is 4 (10.5) - 0.5 = 41.5, or 40, or 10 · 255/63."""
    affine = image_from_cells((64, 64), (256, 256), alignment)
    expected = {"centre": 41.5, "index": 40.0, "udp": 10 * 255 / 63}[alignment]
    np.testing.assert_allclose(transform_points(affine, np.array([[10.0, 10.0]])), [[expected, expected]])


def test_a_covariance_turns_with_the_crop() -> None:
    affine = image_from_crop(Region((0, 0), (20, 20), np.pi / 2), (10, 10))
    turned = transform_covariance(affine, np.array([[[9.0, 1.0], [1.0, 4.0]]]))
    np.testing.assert_allclose(turned, [[[16.0, -4.0], [-4.0, 36.0]]], atol=1e-9)


def test_pictures_in_the_networks_order() -> None:
    crops = np.zeros((1, 2, 3, 3), dtype=np.uint8)
    crops[0, 1, 2] = (255, 51, 0)
    plain = NetworkInput("image", (3, 2), order="NHWC", range=(-1.0, 1.0))
    np.testing.assert_allclose(network_pictures(crops, plain)[0, 1, 2], [1.0, -0.6, -1.0], atol=1e-6)
    other = NetworkInput("image", (3, 2), channels="BGR", range=(0.0, 255.0), mean=(1, 2, 3), std=(2, 2, 4))
    pictures = network_pictures(crops, other)
    assert pictures.shape == (1, 3, 2, 3)
    assert pictures.dtype == np.float32
    np.testing.assert_allclose(pictures[0, :, 1, 2], [-0.5, 24.5, 63.0], atol=1e-5)


def test_crops_of_another_size_are_refused() -> None:
    with pytest.raises(ShapeError, match="crops has shape"):
        network_pictures(np.zeros((1, 4, 4, 3), dtype=np.uint8), NetworkInput("image", (3, 2)))
