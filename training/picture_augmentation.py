"""Changes to whole pictures that the boxes follow: mirrored, nearer or farther, shifted, recoloured.

A batch holds ``image`` (N, 3, H, W) uint8 and ``boxes`` (N, P, 4) px, NaN where nobody is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from inference.errors import InputError

from .random_numbers import sample_numbers
from .real_source import recoloured, resampled
from .trainer.task import Batch

_NUMBERS = 12
_LEAST_SEEN = 0.3  # share of a box that has to lie in the picture for the person to count


@dataclass(frozen=True)
class PictureAugmentationSettings:
    """How much pictures are changed; 0 turns a change off."""

    mirror: float = 0.5  # probability
    zoom: float = 0.3  # half range of the logarithm of the factor
    shift: float = 0.15  # half range, share of the picture's size
    colour: float = 0.5  # probability of other hues, saturation and brightness

    def __post_init__(self) -> None:
        for key in ("mirror", "zoom", "shift", "colour"):
            if not 0 <= getattr(self, key) <= 1:
                raise InputError(f"[augmentation]: {key} = {getattr(self, key)} must lie in 0 … 1")


def changed(batch: Batch, settings: PictureAugmentationSettings, seed: int, first: int) -> Batch:
    """Return a changed batch; picture ``first + i`` is changed in a way that depends on it and the seed alone."""
    numbers = sample_numbers(seed, first, len(batch["image"]), _NUMBERS)
    image = batch["image"].float() / 255
    size = image.shape[3], image.shape[2]
    scale = torch.exp(settings.zoom * (2 * numbers[:, 0] - 1))
    across = torch.where(numbers[:, 1] < settings.mirror, -scale, scale)
    forward = torch.diag_embed(torch.stack([across, scale], dim=-1))
    pivot = (torch.tensor(size) - 1) / 2
    to = pivot + settings.shift * (2 * numbers[:, 2:4] - 1) * torch.tensor(size)
    image = resampled(image, size, (forward, pivot, to), "border")
    other = (numbers[:, 4] < settings.colour)[:, None, None, None]
    image = torch.where(other, recoloured(image, numbers[:, 5:12]), image)
    corners = (batch["boxes"].unflatten(-1, (2, 2)) - pivot) * torch.stack([across, scale], -1)[:, None, None]
    corners = corners + to[:, None, None]
    boxes = torch.cat([corners.amin(dim=-2), corners.amax(dim=-2)], dim=-1)
    return {"image": (image.clamp(0, 1) * 255).round().byte(), "boxes": boxes_in_picture(boxes, size)}


def boxes_in_picture(boxes: Tensor, size: tuple[int, int]) -> Tensor:  # (..., 4) px
    """Cut boxes at the picture's edge; NaN where too little of one is left."""
    limit = torch.tensor([size[0], size[1], size[0], size[1]]) - 1.0
    cut = torch.minimum(boxes.clamp(min=0), limit)

    def area(box: Tensor) -> Tensor:
        return (box[..., 2:] - box[..., :2]).clamp(min=0).prod(dim=-1)

    kept = (area(cut) > _LEAST_SEEN * area(boxes)) & (area(cut) > 0)
    return torch.where(kept[..., None], cut, torch.nan)
