"""The backbone of our detectors: a small U-Net of plain 3×3 convolutions.

Ronneberger et al. 2015, with residual blocks (He et al. 2016), sums instead of concatenations, and nearest-neighbour
upsampling before a convolution instead of transposed convolutions, which gain nothing from int8.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from inference.errors import InputError

from .normalisation import SharedBatchNorm


@dataclass(frozen=True)
class NetworkSettings:
    """Size of the network."""

    channels: tuple[int, ...] = (32, 64, 128, 192)  # at 1/4, 1/8 … of the input
    blocks: tuple[int, ...] = (1, 2, 2, 1)  # residual blocks at each of them, going down

    def __post_init__(self) -> None:
        if len(self.channels) != len(self.blocks) or len(self.channels) < 2 or min(self.channels, default=0) < 1:
            raise InputError(
                f"[network]: channels {list(self.channels)} and blocks {list(self.blocks)} must be as many, two or more"
            )


class Backbone(nn.Module):
    """Picture (N, 3, H, W) 0–1 → features going up again, to 1/4 (N, channels[0], H/4, W/4), and the coarsest ones.

    With ``finest`` 1 they end at 1/8, with 2 at 1/16 …: what nobody reads is neither made nor trained.
    """

    def __init__(self, settings: NetworkSettings, finest: int = 0) -> None:
        super().__init__()
        channels = settings.channels
        self.stem = nn.Sequential(_convolution(3, channels[0] // 2, 2), _convolution(channels[0] // 2, channels[0], 2))
        self.down = nn.ModuleList()
        before = channels[0]
        for level, (width, blocks) in enumerate(zip(channels, settings.blocks, strict=True)):
            layers: list[nn.Module] = [_convolution(before, width, 2)] if level else []
            self.down.append(nn.Sequential(*layers, *(Residual(width) for _ in range(blocks))))
            before = width
        pairs = list(zip(channels[1:], channels[:-1], strict=True))[finest:][::-1]
        self.narrow = nn.ModuleList(nn.Conv2d(wide, narrow, 1) for wide, narrow in pairs)
        self.up = nn.ModuleList(Residual(narrow) for _, narrow in pairs)

    def forward(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the features going up, coarse to fine, and those of the coarsest level."""
        features = self.stem((image - 0.5) * 4)  # brings pictures near mean 0 and deviation 1
        levels = []
        for stage in self.down:
            features = stage(features)
            levels.append(features)
        coarse = features
        rising = []
        for narrow, block, skip in zip(self.narrow, self.up, levels[-2::-1][: len(self.up)], strict=True):
            features = block(functional.interpolate(narrow(features), scale_factor=2.0, mode="nearest") + skip)
            rising.append(features)
        return rising, coarse


class Residual(nn.Module):
    """Two convolutions beside an identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _convolution(width, width, 1)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = SharedBatchNorm(width)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) → the same."""
        return torch.relu(features + self.norm(self.second(self.first(features))))


def _convolution(before: int, after: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, SharedBatchNorm(after), nn.ReLU())
