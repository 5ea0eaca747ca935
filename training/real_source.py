"""Real people as training samples: crops of `training.data.real_people`, turned, recoloured, put elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn import functional

from inference.errors import InputError
from inference.layouts import layout

from .random_numbers import sample_numbers
from .trainer.task import Batch

_NUMBERS = 33
_ELSEWHERE = 0.6  # share of people that are put before another background
_MARGIN = 1.5  # of a kept crop around what a solve looks at
_TURN_DEG = 20.0
_ANY_TURN = 0.12  # share of crops that are turned by any angle
_CLOSER = 0.25  # share of crops that show the upper body alone
_UPPER = ("nose", "shoulder", "elbow", "hip")


def real_samples(file: Path, size: tuple[int, int], seed: int, layout_name: str) -> Callable[[int, int], Batch]:
    """Return the source of crops of real people; see `sources.keypoint_source`.

    Convention:
        a joint without a label is NaN, neither inside nor visible.

    Raises:
        InputError: the file is missing, damaged, or of another layout.
    """
    kept = read_crops(file, layout_name)
    count = len(kept["image"])
    upper = [i for i, name in enumerate(layout(layout_name).joint_names) if name.endswith(_UPPER)]
    focus = kept["xy"][:, upper].nanmean(dim=1)
    middle = (torch.tensor([kept["image"].shape[3], kept["image"].shape[2]]) - 1) / 2
    focus = torch.where(torch.isfinite(focus), focus, middle)

    def samples(first: int, wanted: int) -> Batch:
        numbers = sample_numbers(seed + 17, first, wanted, _NUMBERS)
        chosen = (numbers[:, 0] * count).long().clamp(max=count - 1)
        person = torch.cat([kept["image"][chosen], kept["alpha"][chosen, None]], dim=1)
        closer = numbers[:, 32] < _CLOSER
        towards = torch.where(closer[:, None], focus[chosen], middle)
        zoom = torch.where(closer, 1.3 + 0.7 * numbers[:, 31], 1.0)
        moved, xy = _looked_at(person.float() / 255, kept["xy"][chosen], size, numbers, (towards, zoom))
        image = _elsewhere(moved[:, :3], moved[:, 3:], behind(kept["backdrops"], size, numbers), numbers)
        limits = torch.tensor(size) - 0.5
        inside = ((xy > -0.5) & (xy < limits)).all(dim=-1)
        picture = (image.clamp(0, 1) * 255).round().byte()
        return {"image": picture, "xy": xy, "inside": inside, "visible": inside & kept["visible"][chosen]}

    return samples


def read_crops(file: Path, layout_name: str) -> dict[str, Tensor]:
    """Read the tensors of a file of crops by name.

    Raises:
        InputError: it is missing, damaged, or of another layout.
    """
    names = ("image", "alpha", "xy", "visible", "backdrops")
    try:
        with safe_open(str(file), framework="pt") as opened:
            said = (opened.metadata() or {}).get("layout", "")
            kept = {name: opened.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"[data]: real = {str(file)!r} is missing or damaged ({error}); make it with "
            "python -m training.data.real_people"
        ) from error
    if said != layout_name or kept["xy"].shape[1] != len(layout(layout_name).joint_names):
        raise InputError(f"[data]: {file} has the layout {said!r}, the network {layout_name!r}")
    return kept


def behind(backdrops: Tensor, size: tuple[int, int], numbers: Tensor) -> Tensor:
    """Return a part (N, 3, H, W) of a background for each sample, some mirrored."""
    rows = []
    for which, mirror, down, across in numbers[:, [1, 2, 30, 31]].tolist():  # each from a place of its own
        backdrop = backdrops[min(int(which * len(backdrops)), len(backdrops) - 1)]
        top, left = int(down * (backdrop.shape[1] - size[1] + 1)), int(across * (backdrop.shape[2] - size[0] + 1))
        part = backdrop[:, top : top + size[1], left : left + size[0]]
        rows.append(part if mirror < 0.5 else part.flip(2))
    return torch.stack(rows).float() / 255


def _elsewhere(image: Tensor, alpha: Tensor, other: Tensor, numbers: Tensor) -> Tensor:
    """Recolour people and what is behind them apart from each other, and put some before another background."""
    behind = torch.where((numbers[:, 3] < _ELSEWHERE)[:, None, None, None], other, image)
    # A mask that is a little too large or too small on purpose: the network shall not learn its edge.
    edge = (0.3 + 0.4 * numbers[:, 4])[:, None, None, None]
    soft = ((alpha - edge) * (3 + 9 * numbers[:, 5])[:, None, None, None] + 0.5).clamp(0, 1)
    return soft * recoloured(image, numbers[:, 6:14]) + (1 - soft) * recoloured(behind, numbers[:, 14:22])


def recoloured(image: Tensor, numbers: Tensor) -> Tensor:
    """Turn hues, mix channels, bend brightness: cloth and skin of few people stand for those of many."""
    angle = 2 * math.pi * (numbers[:, 0] - 0.5) * torch.where(numbers[:, 1] < 0.5, 1.0, 0.12)
    third = 1 / math.sqrt(3.0)
    cosine, sine = angle.cos()[:, None, None], angle.sin()[:, None, None]
    grey = torch.full((3, 3), 1 / 3)
    cross = third * torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
    turn = cosine * torch.eye(3) + (1 - cosine) * grey + sine * cross
    saturation = (1.6 * numbers[:, 2])[:, None, None]
    mix = saturation * turn + (1 - saturation) * grey
    mixed = torch.einsum("nij,njhw->nihw", mix, image).clamp(1e-3, 1)
    gamma = torch.exp(1.4 * (numbers[:, 3:6].mean(dim=1) - 0.5) + 0 * numbers[:, 3])[:, None, None, None]
    gain = torch.exp(0.9 * (numbers[:, 6:7] - 0.5) + 0.4 * (numbers[:, 3:6] - 0.5))[:, :, None, None]
    return (gain * mixed**gamma).clamp(0, 1)


def _looked_at(
    image: Tensor, xy: Tensor, size: tuple[int, int], numbers: Tensor, near: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Return pictures (N, C, H, W) of the network's size, turned, scaled and shifted, and the joints in them.

    ``near`` is where each picture's middle shall be (N, 2), and how much nearer it is (N,).
    """
    n, _, height, width = image.shape
    gauss = (-2 * numbers[:, 22].clamp(min=1e-6).log()).sqrt() * (2 * math.pi * numbers[:, 23]).cos()
    free = 2 * math.pi * (numbers[:, 24] - 0.5)
    angle = torch.where(numbers[:, 25] < _ANY_TURN, free, math.radians(_TURN_DEG) * gauss.clamp(-2.5, 2.5))
    scale = torch.exp(0.55 * (numbers[:, 26] - 0.55)) * _MARGIN * size[0] / width * near[1]  # output px per kept px
    stretch = torch.exp(0.2 * (numbers[:, 27] - 0.5))
    shift = 0.12 * (2 * numbers[:, 28:30] - 1) * torch.tensor(size)
    forward = turn(angle) * scale[:, None, None] * torch.stack([stretch, 1 / stretch], -1)[:, None, :]
    middle, out_middle = torch.tensor([width - 1, height - 1]) / 2, (torch.tensor(size) - 1) / 2
    to = out_middle + shift - ((near[0] - middle)[:, None] @ forward.transpose(1, 2))[:, 0]
    moved = (xy - middle) @ forward.transpose(1, 2) + to[:, None]
    return resampled(image, size, (forward, middle, to), "border"), moved


def turn(angle: Tensor) -> Tensor:
    """Return rotations (N, 2, 2) of the plane."""
    cosine, sine = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], -2)


def resampled(image: Tensor, size: tuple[int, int], place: tuple[Tensor, Tensor, Tensor], beyond: str) -> Tensor:
    """Return pictures (N, C, H, W) of a size: ``out = forward (in - pivot) + to``, ``place = (forward, pivot, to)``.

    ``beyond`` the picture lies ``"border"``, its edge repeated, or ``"zeros"``.
    """
    forward, pivot, to = place
    n, channels, height, width = image.shape
    inverse = torch.linalg.inv(forward)
    half_in, half_out = torch.tensor([width, height]) / 2, torch.tensor(size) / 2
    # grid_sample counts from -1 to 1 over the picture's edges (align_corners False): 2 (u + 0.5) / size - 1.
    linear = inverse * half_out[None, None, :] / half_in[None, :, None]
    start = (inverse @ ((torch.tensor(size) - 1) / 2 - to)[:, :, None])[..., 0] + pivot
    offset = (start - (half_in - 0.5)) / half_in
    grid = functional.affine_grid(
        torch.cat([linear, offset[..., None]], dim=-1), [n, channels, size[1], size[0]], align_corners=False
    )
    return functional.grid_sample(image, grid, padding_mode=beyond, align_corners=False)
