"""Changes to crops that the keypoints follow: turned, scaled, shifted, mirrored, recoloured, covered.

A batch holds ``image`` (N, 3, H, W) uint8, ``xy`` (N, J, 2) px, ``inside`` and ``visible`` (N, J) bool.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from inference.errors import InputError
from inference.layouts import mirrored

from .random_numbers import sample_numbers
from .trainer.task import Batch

_NUMBERS = 24
_BLOCKS = 2  # coverings at most


@dataclass(frozen=True)
class AugmentationSettings:
    """How much crops are changed; 0 turns a change off."""

    turn_deg: float = 25.0  # standard deviation
    scale: float = 0.2  # half range of the factor
    shift: float = 0.08  # half range, share of the crop's size
    mirror: float = 0.5  # probability
    colour: float = 0.35  # half range of each channel's gain, of contrast and of brightness
    noise: float = 0.03  # largest standard deviation, of 0–1
    blur: float = 0.3  # probability of half the resolution
    cover: float = 0.4  # probability of each of two grey or coloured blocks

    def __post_init__(self) -> None:
        for key in ("mirror", "blur", "cover", "scale", "shift", "colour", "noise"):
            if not 0 <= getattr(self, key) <= 1:
                raise InputError(f"[augmentation]: {key} = {getattr(self, key)} must lie in 0 … 1")


def augmented(batch: Batch, joint_names: Sequence[str], settings: AugmentationSettings, seed: int, first: int) -> Batch:
    """Return a changed batch; sample ``first + i`` is changed in a way that depends on it and the seed alone."""
    numbers = sample_numbers(seed, first, len(batch["image"]), _NUMBERS).to(batch["image"].device)
    image, xy, visible = batch["image"].float() / 255, batch["xy"], batch["visible"]
    image, xy, inside, visible = _mirror(image, xy, batch["inside"], visible, joint_names, numbers, settings)
    image, xy = _moved(image, xy, numbers, settings)
    image = _recoloured(image, numbers, settings)
    image, covered = _covered(image, xy, numbers, settings)
    limits = torch.tensor([image.shape[3], image.shape[2]], device=xy.device) - 0.5
    inside = inside & ((xy > -0.5) & (xy < limits)).all(dim=-1)
    image = (image.clamp(0, 1) * 255).round().byte()
    return {**batch, "image": image, "xy": xy, "inside": inside, "visible": visible & inside & ~covered}


def _mirror(
    image: Tensor,
    xy: Tensor,
    inside: Tensor,
    visible: Tensor,
    names: Sequence[str],
    numbers: Tensor,
    settings: AugmentationSettings,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mirror some: left and right change their names as well as their places."""
    chosen = numbers[:, 0] < settings.mirror
    order = [list(names).index(mirrored(name)) for name in names]
    other_xy = torch.stack([image.shape[3] - 1 - xy[:, order, 0], xy[:, order, 1]], dim=-1)
    return (
        torch.where(chosen[:, None, None, None], image.flip(3), image),
        torch.where(chosen[:, None, None], other_xy, xy),
        torch.where(chosen[:, None], inside[:, order], inside),
        torch.where(chosen[:, None], visible[:, order], visible),
    )


def _moved(image: Tensor, xy: Tensor, numbers: Tensor, settings: AugmentationSettings) -> tuple[Tensor, Tensor]:
    """Turn, scale and shift about the middle; the edge is repeated outside."""
    n, _, height, width = image.shape
    gauss = (-2 * numbers[:, 1].clamp(min=1e-6).log()).sqrt() * (2 * math.pi * numbers[:, 2]).cos()
    angle = math.radians(settings.turn_deg) * gauss.clamp(-2.5, 2.5)
    scale = 1 + settings.scale * (2 * numbers[:, 3] - 1)
    size = torch.tensor([width, height], device=image.device)
    shift = settings.shift * (2 * numbers[:, 4:6] - 1) * size
    middle = (size - 1) / 2
    cosine, sine = angle.cos() * scale, angle.sin() * scale
    forward = torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], -2)
    moved = (xy - middle) @ forward.transpose(1, 2) + (middle + shift)[:, None]
    # grid_sample counts from -1 to 1 over the picture's edges (align_corners False): 2 (u + 0.5) / size - 1.
    inverse = torch.linalg.inv(forward)
    half = size / 2
    linear = inverse * half[None, None, :] / half[None, :, None]
    offset = -(inverse @ shift[:, :, None]) / half[None, :, None]
    grid = functional.affine_grid(torch.cat([linear, offset], dim=-1), [n, 3, height, width], align_corners=False)
    return functional.grid_sample(image, grid, padding_mode="border", align_corners=False), moved


def _recoloured(image: Tensor, numbers: Tensor, settings: AugmentationSettings) -> Tensor:
    """Change gain per channel, contrast, brightness, resolution, noise."""
    spread = settings.colour * (2 * numbers[:, 6:11] - 1)
    gain = (1 + spread[:, :3] / 2)[:, :, None, None]
    mean = image.mean(dim=(1, 2, 3), keepdim=True)
    image = (
        (image * gain - mean) * (1 + spread[:, 3])[:, None, None, None] + mean + spread[:, 4][:, None, None, None] / 2
    )
    height, width = image.shape[2:]
    small = functional.interpolate(image, scale_factor=0.5, mode="bilinear", antialias=True)
    soft = functional.interpolate(small, size=(height, width), mode="bilinear")
    image = torch.where((numbers[:, 11] < settings.blur)[:, None, None, None], soft, image)
    # Noise needs no generator of its own: a fixed pattern, moved by a sample's own numbers.
    pattern = torch.randn(image.shape[1:], generator=torch.Generator().manual_seed(0)).to(image.device)
    rolled = [pattern.roll((int(a * height), int(b * width)), dims=(1, 2)) for a, b in numbers[:, 12:14].tolist()]
    return image + settings.noise * numbers[:, 14][:, None, None, None] * torch.stack(rolled)


def _covered(image: Tensor, xy: Tensor, numbers: Tensor, settings: AugmentationSettings) -> tuple[Tensor, Tensor]:
    """Cover parts with blocks of one colour; return which joints they hide."""
    n, _, height, width = image.shape
    hidden = torch.zeros(xy.shape[:2], dtype=torch.bool, device=xy.device)
    y, x = torch.arange(height, device=image.device), torch.arange(width, device=image.device)
    for block in range(_BLOCKS):
        own = numbers[:, 15 + 4 * block : 19 + 4 * block]
        there = own[:, 0] < settings.cover
        middle = torch.stack([own[:, 1] * width, own[:, 2] * height], dim=-1)
        half = (0.05 + 0.15 * own[:, 3])[:, None] * torch.tensor([width, height], device=image.device)
        across = (x[None] - middle[:, :1]).abs() < half[:, :1]
        down = (y[None] - middle[:, 1:]).abs() < half[:, 1:]
        mask = there[:, None, None] & across[:, None, :] & down[:, :, None]
        colour = torch.stack([own[:, 1], own[:, 3], own[:, 2]], dim=-1)[:, :, None, None]
        image = torch.where(mask[:, None], colour, image)
        hidden |= there[:, None] & ((xy - middle[:, None]).abs() < half[:, None]).all(dim=-1)
    return image, hidden
