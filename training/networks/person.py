"""The person network: where people are, as a score and a box at every cell."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from inference.errors import InputError

from .backbone import Backbone, NetworkSettings

STRIDE = 8


class PersonOutput(NamedTuple):
    """What the network says of N pictures at each cell of 8×8 pixels."""

    logits: Tensor  # (N, h, w): that a person's middle lies here
    edges: Tensor  # (N, 4, h, w) px from the cell's middle to the left, upper, right, lower edge, > 0


class PersonNetwork(nn.Module):
    """Picture (N, 3, H, W) RGB 0–1 → `PersonOutput`; in the manner of FCOS (Tian et al. 2019), one level."""

    def __init__(self, settings: NetworkSettings, size: tuple[int, int]) -> None:
        super().__init__()
        if len(settings.channels) < 3:
            raise InputError(f"[network]: channels {list(settings.channels)} must be three or more to find people")
        width = settings.channels[1]
        self.backbone = Backbone(settings, finest=1)
        self.head = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 5, 1))
        self.size = size
        last = self.head[-1]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        with torch.no_grad():
            last.bias.copy_(torch.tensor([-4.0, 4.0, 4.0, 4.0, 4.0]))  # few cells hold a middle

    def forward(self, image: Tensor) -> PersonOutput:
        """See the class."""
        rising, _ = self.backbone(image)
        values = self.head(rising[-1]).float()
        return PersonOutput(values[:, 0], functional.softplus(values[:, 1:]) * STRIDE)


class ShippedPersons(nn.Module):
    """What is exported: `PersonNetwork` with boxes (N, M, 4) x1, y1, x2, y2 px and scores (N, M) 0–1 of its peaks.

    A cell counts where no neighbour is surer, so that few boxes are left to suppress.
    """

    def __init__(self, network: PersonNetwork) -> None:
        super().__init__()
        self.network = network
        columns, rows = network.size[0] // STRIDE, network.size[1] // STRIDE
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        middle = torch.stack([x, y]) * STRIDE + (STRIDE - 1) / 2
        self.register_buffer("middle", middle.float(), persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        logits, edges = self.network(image)
        score = torch.sigmoid(logits)
        highest = functional.max_pool2d(score[:, None], 3, stride=1, padding=1)[:, 0]
        score = score * (score >= highest)
        middle = self.get_buffer("middle")
        boxes = torch.cat([middle - edges[:, :2], middle + edges[:, 2:]], dim=1)
        return boxes.flatten(2).transpose(1, 2), score.flatten(1)
