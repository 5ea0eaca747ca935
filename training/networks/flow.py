"""A conditional flow over 3D poses: coupling layers of zuko about the Gaussian that the views' rays make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from zuko.distributions import DiagNormal
from zuko.flows.coupling import GeneralCouplingTransform
from zuko.flows.gaussianization import ElementWiseTransform
from zuko.lazy import Flow, LazyTransform, UnconditionalDistribution

from inference.errors import InputError


@dataclass(frozen=True)
class FlowSettings:
    """Size of the flow."""

    couplings: int = 8  # affine coupling layers; 0 leaves a Gaussian with conditional mean and scale
    hidden: int = 96  # width of each coupling's network
    context: int = 64  # numbers that the condition is brought down to
    encoder: int = 256  # width of the network that does so

    def __post_init__(self) -> None:
        if self.couplings < 0 or min(self.hidden, self.context, self.encoder) < 1:
            raise InputError("[network]: couplings must not be negative, the widths must be above 0")


class PoseFlow(nn.Module):
    """p(pose | mean, factor): the pose in units of its condition, x = mean + factor r, is what flows."""

    def __init__(self, settings: FlowSettings, joints: int) -> None:
        super().__init__()
        d = 3 * joints
        self.joints = joints
        self.encoder = nn.Sequential(
            *(nn.Linear(9 * joints, settings.encoder), nn.SiLU()),
            *(nn.Linear(settings.encoder, settings.encoder), nn.SiLU()),
            nn.Linear(settings.encoder, settings.context),
        )
        wide = [settings.encoder]
        layers: list[LazyTransform] = []
        numbers = torch.Generator().manual_seed(7)  # of the halves: part of the architecture
        for _ in range((settings.couplings + 1) // 2):
            half = torch.randperm(d, generator=numbers) < d // 2
            for mask in (half, ~half):
                widths: Any = {"hidden_features": [settings.hidden] * 2, "mask": mask}
                layers.append(GeneralCouplingTransform(d, settings.context, **widths))
        del layers[settings.couplings :]
        layers.insert(0, ElementWiseTransform(d, settings.context, hidden_features=wide))
        base = UnconditionalDistribution(DiagNormal, torch.zeros(d), torch.ones(d), buffer=True)
        self.flow = Flow(layers, base)

    def context(self, mean: Tensor, factor: Tensor) -> Tensor:
        """Encode (N, J, 3) m and (N, J, 3, 3) m into (N, context)."""
        diagonal = factor.diagonal(dim1=-2, dim2=-1).clamp(min=1e-6).log() / 2 + 1
        below = torch.stack([factor[..., 1, 0], factor[..., 2, 0], factor[..., 2, 1]], dim=-1)
        return self.encoder(torch.cat([2 * mean, diagonal, 2 * below], dim=-1).flatten(1))

    def forward(self, mean: Tensor, factor: Tensor, xyz: Tensor) -> Tensor:
        """Return the log-density (N,), nats per m^(3J), of poses (N, J, 3) m."""
        r = torch.linalg.solve_triangular(factor, (xyz - mean)[..., None], upper=False)[..., 0]
        volume = factor.diagonal(dim1=-2, dim2=-1).log().sum(dim=(-2, -1))
        return self.flow(self.context(mean, factor)).log_prob(r.flatten(1)) - volume

    def sample(self, mean: Tensor, factor: Tensor, z: Tensor) -> Tensor:
        """Return poses (N, S, J, 3) m for standard normal numbers (N, S, 3J); z = 0 gives the middle one."""
        context = self.context(mean, factor)[:, None].expand(-1, z.shape[1], -1)
        r = z
        layers = self.flow.transform.transforms
        assert isinstance(layers, nn.ModuleList)
        for layer in reversed(list(layers)):
            r = _undone(layer, r, context)
        r = r.unflatten(-1, (self.joints, 3))
        return mean[:, None] + (factor[:, None] @ r[..., None])[..., 0]


def _undone(layer: nn.Module, y: Tensor, context: Tensor) -> Tensor:
    """Invert one layer as zuko does, with gathers instead of writes in place: that is what can be exported."""
    if isinstance(layer, GeneralCouplingTransform):
        assert isinstance(layer.mask, Tensor)
        kept, moved, back = _sides(layer.mask)
        inverse: Tensor = layer.meta(context, y[..., kept]).inv(y[..., moved])  # pyright: ignore
        return torch.cat([y[..., kept], inverse], dim=-1)[..., back]
    return layer(context).inv(y)  # pyright: ignore


def _sides(mask: Tensor) -> tuple[list[int], list[int], list[int]]:
    """Return the places that a coupling keeps, those it moves, and where each place is in the two together."""
    flags = mask.tolist()
    kept = [i for i, flag in enumerate(flags) if flag]
    moved = [i for i, flag in enumerate(flags) if not flag]
    together = kept + moved
    return kept, moved, [together.index(i) for i in range(len(together))]
