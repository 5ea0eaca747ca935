"""Batch normalisation over the samples of all processes, on any device."""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_reduce


class SharedBatchNorm(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d`, with mean and variance of all processes' samples where there are several.

    Ioffe & Szegedy 2015. PyTorch's own SyncBatchNorm is for GPUs alone. Processes hold equally many samples.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (N, C, H, W)."""
        if not (self.training and distributed.is_available() and distributed.is_initialized()):
            return super().forward(input)
        world = distributed.get_world_size()
        wide = input.float()
        moments = torch.stack([wide.mean(dim=(0, 2, 3)), (wide**2).mean(dim=(0, 2, 3))])
        moments = all_reduce(moments) / world
        mean, variance = moments[0], (moments[1] - moments[0] ** 2).clamp(min=0)
        self._remember(mean, variance, world * input.numel() // input.shape[1])
        scale = self.weight * torch.rsqrt(variance + self.eps)
        shift = self.bias - mean * scale
        return (wide * scale[:, None, None] + shift[:, None, None]).to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.running_mean is not None and self.running_var is not None  # as constructed
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * count / max(1, count - 1), self.momentum)
