"""Keypoints from two one-dimensional distributions each (SimCC; Li et al. 2022, section 3)."""

from __future__ import annotations

import numpy as np

from ..errors import ModelError
from ..shapes import BoolArray, FloatArray, IntArray
from .card import ModelCard
from .keypoints import CropKeypoints, crop_keypoints

_SHARE_OF_PEAK = 0.2  # bins below this share of the highest are not used for the fit
_MAX_SIGMA_SHARE = 0.5  # of the axis; a wider distribution says nothing


def decode_simcc(card: ModelCard, outputs: dict[str, FloatArray]) -> CropKeypoints:
    """Decode SimCC outputs.

    Per axis a Gaussian is fitted to the logarithm of the bins around the highest one, weighted by the
    squared value (Guo 2011): closed form, exact for a Gaussian. Variances are along the axes; the two
    distributions cannot say how x and y hang together.

    Convention:
        pixels of the network's input; bin k means pixel k / split_ratio. The score is the lower of both
        axes' highest values (``values = "density"``) or probabilities (``"logits"``).

    Args:
        card: with tensor names ``simcc_x`` (N, J, bins) and ``simcc_y``.
        outputs: of the network, by tensor name.

    Raises:
        ModelError: the outputs do not fit the card.
    """
    moments = [_fit_axis(outputs[card.outputs[key]], card) for key in ("simcc_x", "simcc_y")]
    xy = np.stack([mean for mean, _, _ in moments], axis=-1)
    covariance = np.stack([variance for _, variance, _ in moments], axis=-1)[..., None] * np.eye(2)
    score = np.minimum(moments[0][2], moments[1][2])
    return crop_keypoints(xy, covariance, score)


def _fit_axis(bins: FloatArray, card: ModelCard) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return mean px, variance px² and score, (N, J) each; NaN where the bins hold no peak."""
    if bins.ndim != 3:
        raise ModelError(f"{card.path.name}: SimCC outputs must have 3 axes, not the shape {bins.shape}")
    bins = bins.astype(np.float64)
    if card.outputs["values"] == "logits":
        bins = np.exp(bins - bins.max(axis=-1, keepdims=True))
        bins /= bins.sum(axis=-1, keepdims=True)
    count = bins.shape[-1]
    first = bins.argmax(axis=-1)
    height = bins.max(axis=-1)
    used = _run_around(bins > _SHARE_OF_PEAK * height[..., None], first)
    # A lone bin still needs its neighbours for a parabola.
    used |= np.abs(np.arange(count) - first[..., None]) <= 1
    value = np.where(used, np.maximum(bins, 1e-6 * np.abs(height[..., None]) + 1e-30), 1.0)
    offset = np.arange(count) - first[..., None]
    weight = np.where(used, value**2, 0.0)
    basis = np.stack([np.ones_like(value), offset, offset**2], axis=-1)
    weighted = basis * weight[..., None]
    normal = np.swapaxes(weighted, -1, -2) @ basis
    right = np.swapaxes(weighted, -1, -2) @ np.log(value)[..., None]
    scale = np.maximum(np.einsum("njkk->njk", normal).max(axis=-1), 1e-300)[..., None, None]
    curve = np.linalg.solve(normal / scale + 1e-15 * np.eye(3), right / scale)[..., 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = -0.5 / curve[..., 2]
        shift = curve[..., 1] * variance
    good = (height > 0) & (variance > 0) & (variance < (_MAX_SIGMA_SHARE * count) ** 2) & (np.abs(shift) < count)
    good &= height > 1.02 * bins.mean(axis=-1)
    mean = np.where(good, (first + shift) / card.split_ratio, np.nan)
    return mean, np.where(good, variance / card.split_ratio**2, np.nan), np.where(good, height, 0.0)


def _run_around(mask: BoolArray, first: IntArray) -> BoolArray:
    """Keep only the unbroken run of True that holds the first index, per row."""
    index = np.arange(mask.shape[-1])
    here = first[..., None]
    left = np.where(~mask & (index < here), index, -1).max(axis=-1, keepdims=True)
    right = np.where(~mask & (index > here), index, mask.shape[-1]).min(axis=-1, keepdims=True)
    return (index > left) & (index < right)
