"""Keypoints that a network gives as numbers, with its own covariances or standard deviations where it has them."""

from __future__ import annotations

import numpy as np

from ..errors import ModelError
from ..shapes import FloatArray
from .card import ModelCard
from .keypoints import CropKeypoints, crop_keypoints


def decode_regression(card: ModelCard, outputs: dict[str, FloatArray]) -> CropKeypoints:
    """Decode regressed keypoints.

    Convention:
        ``keypoints`` is (N, J, 2), or (N, J, 3) with the score last; ``unit = "share"`` counts from the
        input's edge in parts of its size, ``"px"`` in its pixels (centre of the first is 0). ``sigma``
        (N, J, 1 or 2) is in the same unit, ``covariance`` (N, J, 2, 2) in its square; without either the
        covariance is 0 and the card's noise is all.
        Without scores every finite keypoint has score 1.

    Args:
        card: with the tensor names.
        outputs: of the network, by tensor name.

    Raises:
        ModelError: the outputs do not fit the card.
    """
    points = outputs[card.outputs["keypoints"]].astype(np.float64)
    if points.ndim != 3 or points.shape[-1] not in (2, 3):
        raise ModelError(f"{card.path.name}: keypoints must be (N, J, 2 or 3), not the shape {points.shape}")
    share = card.outputs["unit"] == "share"
    size = np.asarray(card.input.size if share else (1, 1), dtype=float)
    xy = points[..., :2] * size - (0.5 if share else 0.0)
    if "scores" in card.outputs:
        score = outputs[card.outputs["scores"]].astype(np.float64).reshape(points.shape[:2])
    else:
        score = points[..., 2] if points.shape[-1] == 3 else np.ones(points.shape[:2])
    return crop_keypoints(xy, _covariance(card, outputs, points.shape[:2], size), np.nan_to_num(score))


def _covariance(
    card: ModelCard, outputs: dict[str, FloatArray], keypoints: tuple[int, ...], size: FloatArray
) -> FloatArray:
    if "covariance" in card.outputs:
        covariance = outputs[card.outputs["covariance"]].astype(np.float64)
        if covariance.shape != (*keypoints, 2, 2):
            raise ModelError(
                f"{card.path.name}: covariance must be (N, J, 2, 2) of the same keypoints, not the shape "
                f"{covariance.shape}"
            )
        return covariance * size[:, None] * size
    sigma = np.zeros((*keypoints, 1))
    if "sigma" in card.outputs:
        sigma = outputs[card.outputs["sigma"]].astype(np.float64).reshape(*keypoints, -1)
    return (sigma * size)[..., None] ** 2 * np.eye(2)
