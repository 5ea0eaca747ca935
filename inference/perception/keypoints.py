"""What every keypoint decoder gives: points and covariances in pixels of the network's input."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..layouts import layout
from ..shapes import FloatArray
from .card import ModelCard


@dataclass(frozen=True, eq=False)
class CropKeypoints:
    """Keypoints of N crops, in pixels of the network's input; NaN and score 0 where none was found."""

    xy: FloatArray  # (N, J, 2) px
    covariance: FloatArray  # (N, J, 2, 2) px², what the network's output says by itself
    score: FloatArray  # (N, J) 0–1
    person_score: FloatArray  # (N,) 0–1, how surely the crop holds a person
    axis: FloatArray  # (N, 2, 2) px, middle of the hips and top of the circle around the body; NaN if not known


def calibrated(card: ModelCard, keypoints: CropKeypoints) -> CropKeypoints:
    """Apply the card's noise: remove the mean error, and turn the network's covariance into that of the error.

    Convention:
        covariance = sigma_px² I + heatmap_scale² (C - heatmap_sigma_px² I)⁺ per joint, px² of the network's
        input, with ⁺ the part that is not negative. The width of a sure peak is set by the training targets
        and is not accuracy; the card holds what was measured.
    """
    noise = [card.noise_of(joint) for joint in layout(card.layout).joint_names]
    floor = np.array([each.sigma_px**2 for each in noise])
    scale = np.array([each.heatmap_scale**2 for each in noise])
    width = np.array([each.heatmap_sigma_px**2 for each in noise])
    offset = np.array([each.offset_px for each in noise])
    missing = np.isnan(keypoints.covariance).any(axis=(-1, -2))
    values, vectors = np.linalg.eigh(np.where(missing[..., None, None], np.eye(2), keypoints.covariance))
    values = floor[:, None] + scale[:, None] * np.maximum(values - width[:, None], 0.0)
    covariance = (vectors * values[..., None, :]) @ np.swapaxes(vectors, -1, -2)
    covariance[missing] = np.nan
    return replace(keypoints, xy=keypoints.xy - offset, covariance=covariance)


def crop_keypoints(
    xy: FloatArray,  # (N, J, 2) px
    covariance: FloatArray,  # (N, J, 2, 2) px²
    score: FloatArray,  # (N, J)
) -> CropKeypoints:
    """Make keypoints from a network's values, with NaN and 0 where the score is not positive or a value not finite.

    The person's score is the mean score of the keypoints.
    """
    seen = (score > 0) & np.isfinite(xy).all(axis=-1) & np.isfinite(covariance).all(axis=(-1, -2))
    score = np.where(seen, np.clip(score, 0.0, 1.0), 0.0)
    return CropKeypoints(
        np.where(seen[..., None], xy, np.nan),
        np.where(seen[..., None, None], covariance, np.nan),
        score,
        score.mean(axis=1),
        np.full((len(xy), 2, 2), np.nan),
    )
