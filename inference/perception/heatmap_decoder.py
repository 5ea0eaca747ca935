"""Keypoints from a network's heatmaps."""

from __future__ import annotations

from ..errors import ModelError
from ..shapes import FloatArray
from .card import ModelCard
from .crop import image_from_cells, transform_covariance, transform_points
from .heatmap import fit_gaussians
from .keypoints import CropKeypoints, crop_keypoints


def decode_heatmaps(card: ModelCard, outputs: dict[str, FloatArray]) -> CropKeypoints:
    """Decode heatmaps: the mean, covariance and height of the Gaussian fitted to each.

    Convention:
        pixels of the network's input; the card's ``cells`` says how heatmap cells lie in it.

    Args:
        card: with the tensor name ``heatmaps`` (N, J, h, w).
        outputs: of the network, by tensor name.

    Raises:
        ModelError: the outputs do not fit the card.
    """
    maps = outputs[card.outputs["heatmaps"]]
    if maps.ndim != 4:
        raise ModelError(f"{card.path.name}: heatmaps must be (N, J, h, w), not the shape {maps.shape}")
    count, joints, rows, columns = maps.shape
    fit = fit_gaussians(maps.reshape(-1, rows, columns))
    crop_from_cells = image_from_cells((columns, rows), card.input.size, card.outputs["cells"])
    return crop_keypoints(
        transform_points(crop_from_cells, fit.mean).reshape(count, joints, 2),
        transform_covariance(crop_from_cells, fit.covariance).reshape(count, joints, 2, 2),
        fit.score.reshape(count, joints),
    )
