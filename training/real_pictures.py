"""Whole pictures of real people for the person detector: crops of `training.data.real_people` before backgrounds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from .random_numbers import sample_numbers
from .real_source import behind, read_crops, recoloured, resampled, turn
from .trainer.task import Batch

_AT_LEAST = (0.92, 0.4, 0.15)  # probability of at least one, two, three people
_AT_HOME = 0.3  # share of pictures that show the first person where that person was filmed
_HEIGHTS = (0.2, 1.0)  # of a person, share of the picture's
_SEEN = 0.3  # share of a person that has to be seen to count
_TURN_DEG = 6.0
_NUMBERS = 33  # of a picture
_OF_PERSON = 18  # numbers


@dataclass(frozen=True, eq=False)
class _Bodies:
    """People of the crops: what is seen of them, and where in the crop."""

    cut: Tensor  # (M, 4, h, w) uint8 red, green, blue, mask
    middle: Tensor  # (M, 2) px
    height: Tensor  # (M,) px
    area: Tensor  # (M,) px²


def real_pictures(file: Path, size: tuple[int, int], seed: int, layout_name: str) -> Callable[[int, int], Batch]:
    """Return the source of pictures of none to three real people; see `sources.person_source`.

    Convention:
        a box holds what the person's mask covers of the picture. Somebody of whom less than a third is seen, because
        of the picture's edge or of others in front, has none.

    Raises:
        InputError: the file is missing, damaged, or of another layout.
    """
    kept = read_crops(file, layout_name)
    bodies = _bodies(kept["image"], kept["alpha"])
    backdrops = _large_enough(kept["backdrops"], size)

    def samples(first: int, wanted: int) -> Batch:
        numbers = sample_numbers(seed + 29, first, wanted, _NUMBERS + len(_AT_LEAST) * _OF_PERSON)
        image = recoloured(behind(backdrops, size, numbers), numbers[:, 14:22])
        boxes, seen, whole = [], [], []
        for person, least in enumerate(_AT_LEAST):  # each before those that were put there already
            own = numbers[:, _NUMBERS + person * _OF_PERSON :][:, :_OF_PERSON]
            there = numbers[:, 4] < least
            home = there & (numbers[:, 3] < _AT_HOME) & (person == 0)
            shown, full = _placed(bodies, size, own, home)
            mask = shown[:, 3] * there[:, None, None]
            # A mask that is a little too large or too small on purpose: the network shall not learn its edge.
            edge, steep = 0.3 + 0.4 * own[:, 1], 3 + 9 * own[:, 2]
            soft = ((mask - edge[:, None, None]) * steep[:, None, None] + 0.5).clamp(0, 1) * (mask > 0)
            image = torch.where(home[:, None, None, None], recoloured(shown[:, :3], numbers[:, 14:22]), image)
            image = torch.lerp(image, recoloured(shown[:, :3], own[:, 3:10]), soft[:, None])
            seen = [before * (1 - mask) for before in seen] + [mask]
            boxes.append(_around(mask))
            whole.append(full)
        share = torch.stack([left.sum(dim=(1, 2)) for left in seen], 1) / torch.stack(whole, 1)
        found = torch.where((share > _SEEN)[..., None], torch.stack(boxes, 1), torch.nan)
        return {"image": (image.clamp(0, 1) * 255).round().byte(), "boxes": found}

    return samples


def _bodies(image: Tensor, alpha: Tensor) -> _Bodies:
    mask = alpha.float() / 255
    box = _around(mask)
    known = torch.isfinite(box).all(dim=1)  # a crop without a mask shows nobody
    box = box[known]
    cut = torch.cat([image, alpha[:, None]], dim=1)[known]
    return _Bodies(cut, (box[:, :2] + box[:, 2:]) / 2, box[:, 3] - box[:, 1], mask[known].sum(dim=(1, 2)))


def _around(
    mask: Tensor,  # (N, h, w) 0–1
) -> Tensor:
    """Return the box (N, 4) px around what is more than half covered; NaN where nothing is."""
    rows, columns = (mask > 0.5).any(dim=2), (mask > 0.5).any(dim=1)
    sides = []
    for line in (columns, rows):
        place = torch.arange(line.shape[1], dtype=torch.float32)
        sides.append((torch.where(line, place, torch.inf).amin(1), torch.where(line, place, -torch.inf).amax(1)))
    (left, right), (upper, lower) = sides
    box = torch.stack([left, upper, right, lower], dim=1)
    return torch.where(rows.any(dim=1)[:, None], box, torch.nan)


def _large_enough(backdrops: Tensor, size: tuple[int, int]) -> Tensor:
    """Enlarge backgrounds that are smaller than a picture."""
    factor = max(1.0, size[0] / backdrops.shape[3], size[1] / backdrops.shape[2])
    if factor == 1:
        return backdrops
    shape = math.ceil(factor * backdrops.shape[2]), math.ceil(factor * backdrops.shape[3])
    return functional.interpolate(backdrops.float(), size=shape, mode="bilinear").round().byte()


def _placed(bodies: _Bodies, size: tuple[int, int], own: Tensor, home: Tensor) -> tuple[Tensor, Tensor]:
    """Put a person of the crops somewhere into each picture, mirrored, turned a little, larger or smaller.

    Where ``home`` is True the whole crop fills the picture, so that the person stands where it was filmed.

    Returns:
        the pictures (N, 4, H, W) 0–1, and the area (N,) px² that the whole person would have.
    """
    chosen = (own[:, 0] * len(bodies.cut)).long().clamp(max=len(bodies.cut) - 1)
    cut = bodies.cut[chosen].float() / 255
    crop = torch.tensor([cut.shape[3], cut.shape[2]])
    extent = torch.tensor(size)
    smallest, largest = _HEIGHTS
    height = size[1] * smallest * (largest / smallest) ** own[:, 10]
    fills = float((extent / crop).max()) * (1.02 + 0.3 * own[:, 10])
    scale = torch.where(home, fills, height / bodies.height[chosen])
    gauss = (-2 * own[:, 11].clamp(min=1e-6).log()).sqrt() * (2 * math.pi * own[:, 12]).cos()
    angle = torch.where(home, 0.0, math.radians(_TURN_DEG) * gauss)
    stretch = torch.where(home, 1.0, torch.exp(0.2 * (own[:, 13] - 0.5)))
    mirror = torch.where(own[:, 14] < 0.5, 1.0, -1.0)
    forward = turn(angle) * scale[:, None, None] * torch.stack([mirror * stretch, 1 / stretch], -1)[:, None, :]
    pivot = torch.where(home[:, None], (crop - 1) / 2, bodies.middle[chosen])
    free = torch.stack([0.1 + 0.8 * own[:, 15], 0.2 + 0.6 * own[:, 16]], dim=-1) * extent
    slack = (scale[:, None] * crop - extent) / 2 * (2 * own[:, 15:17] - 1)
    to = torch.where(home[:, None], (extent - 1) / 2 + slack, free)
    return resampled(cut, size, (forward, pivot, to), "zeros"), bodies.area[chosen] * scale**2
