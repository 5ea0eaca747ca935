"""A conditional flow over whitened body poses: what the Gaussian of prior and rays leaves open.

u = (the rest, depth patterns) in units of `inference.perception.flow.PoseGaussians`. A network of the condition shifts
all of u and gives the depth patterns a full covariance; rational-quadratic spline couplings (zuko; Durkan et al. 2019)
bend the depth patterns, and the rest is Gaussian given them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from zuko.distributions import DiagNormal
from zuko.flows.coupling import GeneralCouplingTransform
from zuko.flows.gaussianization import ElementWiseTransform
from zuko.lazy import Flow, UnconditionalDistribution
from zuko.nn import Linear
from zuko.transforms import MonotonicRQSTransform

from inference.errors import InputError
from inference.perception.flow import PosePrior


@dataclass(frozen=True)
class FlowSettings:
    """Size of the flow."""

    couplings: int = 4  # spline couplings of the depth patterns; 0 leaves a Gaussian
    bins: int = 6  # of each spline
    hidden: int = 96  # width of each coupling's network
    context: int = 64  # numbers of the condition that the couplings see
    encoder: int = 512  # width of the network that makes them
    blocks: int = 2  # of that network

    def __post_init__(self) -> None:
        if self.couplings < 0 or min(self.hidden, self.context, self.encoder, self.blocks, self.bins - 1) < 1:
            raise InputError("[network]: couplings must not be negative, bins above 1, the others above 0")


class PoseFlow(nn.Module):
    """p(u | features), and the prior over poses that whitened them."""

    def __init__(self, settings: FlowSettings, joints: int) -> None:
        super().__init__()
        d = 3 * joints
        self.joints = joints
        self.settings = settings
        self.register_buffer("prior_mean", torch.zeros(d))
        self.register_buffer("prior_covariance", torch.eye(d))
        self.register_buffer("prior_patterns", torch.eye(joints))
        self.register_buffer("temperature", torch.ones(2))  # of the depth patterns and of the rest, when sampling
        self.register_buffer("unit", torch.eye(joints), persistent=False)
        self.start = nn.Linear(15 * joints, settings.encoder)
        self.blocks = nn.ModuleList(_block(settings.encoder) for _ in range(settings.blocks))
        self.end = nn.LayerNorm(settings.encoder)
        self.shift = nn.Linear(settings.encoder, d)
        self.factor = nn.Linear(settings.encoder, joints * joints)
        self.context = nn.Linear(settings.encoder, settings.context)
        for head in (self.shift, self.factor):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        wide: Any = {"hidden_features": [settings.hidden]}
        shapes = ((settings.bins,), (settings.bins,), (settings.bins - 1,))
        masks = [torch.arange(joints) % 2 == i % 2 for i in range(settings.couplings)]
        splines: Any = [{"univariate": MonotonicRQSTransform, "shapes": shapes, "mask": mask} for mask in masks]
        layers = [GeneralCouplingTransform(joints, settings.context, **spline, **wide) for spline in splines]
        base = UnconditionalDistribution(DiagNormal, torch.zeros(joints), torch.ones(joints), buffer=True)
        self.depth = Flow(layers, base)
        given = settings.context + (joints if settings.couplings else 0)
        self.rest = ElementWiseTransform(2 * joints, given, **wide)

    def set_prior(self, prior: PosePrior) -> None:
        """Keep the prior that whitens."""
        for name in ("mean", "covariance", "patterns"):
            buffer: Tensor = getattr(self, f"prior_{name}")
            buffer.copy_(torch.tensor(getattr(prior, name)))

    def prior(self) -> PosePrior:
        """Return the prior that whitens."""
        return PosePrior(
            *(getattr(self, f"prior_{name}").double().numpy() for name in ("mean", "covariance", "patterns"))
        )

    def condition(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return shift (N, 3J), lower factor (N, J, J) of the depth patterns, and context (N, C)."""
        h = self.start(features)
        for block in self.blocks:
            h = h + block(h)
        h = torch.nn.functional.silu(self.end(h))
        square = self.factor(h).unflatten(-1, (self.joints, self.joints))
        diagonal = torch.diagonal(square, dim1=-2, dim2=-1).clamp(-6.0, 4.0).exp()
        return self.shift(h), torch.tril(square, -1) + diagonal[..., None] * self.get_buffer("unit"), self.context(h)

    def forward(self, features: Tensor, u: Tensor) -> Tensor:
        """Return the log-density (N,), nats, of whitened poses (N, 3J)."""
        shift, factor, context = self.condition(features)
        apart = u - shift
        near, far = apart[:, : -self.joints], apart[:, -self.joints :]
        v = torch.linalg.solve_triangular(factor, far[..., None], upper=False)[..., 0]
        volume = factor.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
        moved, jacobian = self.rest(self._given(context, v)).call_and_ladj(near)
        gaussian = -0.5 * (moved.square() + _LOG_2_PI).sum(dim=-1)
        return self.depth(context).log_prob(v) - volume + gaussian + jacobian

    def sample(self, features: Tensor, z: Tensor) -> Tensor:
        """Return whitened poses (N, S, 3J) for standard normal numbers; z = 0 gives the middle one.

        Inside, samples come last: every step runs over long rows, several times faster than over many short ones.
        """
        shift, factor, context = self.condition(features)
        temperature = self.get_buffer("temperature")
        numbers = z.transpose(1, 2)
        v = temperature[0] * numbers[:, -self.joints :]
        layers = self.depth.transform.transforms
        assert isinstance(layers, nn.ModuleList)
        for layer in reversed(list(layers)):
            assert isinstance(layer, GeneralCouplingTransform)
            v = _undone(layer, v, context)
        wide = context.shape[-1]
        given = v if self.settings.couplings else v[:, :0]
        raw = _parameters(self.rest.hyper, given, context, slice(wide, None), slice(wide), self.rest.total)
        near = (temperature[1] * numbers[:, : -self.joints] - raw[:, 0]) / _bounded(raw[:, 1], 1.0).exp()
        return torch.cat([near, factor @ v], dim=1).transpose(1, 2) + shift[:, None]

    def _given(self, context: Tensor, v: Tensor) -> Tensor:
        return torch.cat([context, v], dim=-1) if self.settings.couplings else context


_LOG_2_PI = 1.8378770664093453


def _block(width: int) -> nn.Module:
    last = nn.Linear(width, width)
    nn.init.zeros_(last.weight)
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), last)


def _parameters(hyper: nn.Module, varying: Tensor, context: Tensor, own: slice, others: slice, total: int) -> Tensor:
    """Return a network's numbers (N, total, D, S) for inputs that differ by sample (N, I, S) and others that do not.

    Its columns ``own`` belong to the former, ``others`` to the context (N, C), which is multiplied once a frame.
    """
    first, last = (part for part in hyper.modules() if isinstance(part, Linear))
    assert first.bias is not None and last.bias is not None
    common = context @ first.weight[:, others].T + first.bias
    hidden = torch.relu(first.weight[:, own] @ varying + common[..., None])
    order = torch.arange(last.out_features).unflatten(0, (-1, total)).T.flatten()
    return (last.weight[order] @ hidden + last.bias[order][:, None]).unflatten(1, (total, -1))


def _undone(layer: GeneralCouplingTransform, y: Tensor, context: Tensor) -> Tensor:
    """Invert one coupling as zuko does; y (N, J, S)."""
    assert isinstance(layer.mask, Tensor)
    kept, moved, back = _sides(layer.mask)
    raw = _parameters(layer.hyper, y[:, kept], context, slice(len(kept)), slice(len(kept), None), layer.total)
    return torch.cat([y[:, kept], _spline_inverse(y[:, moved], raw)], dim=1)[:, back]


def _spline_inverse(y: Tensor, raw: Tensor) -> Tensor:
    """Invert a rational-quadratic spline; y (N, D, S), raw (N, 3K − 1, D, S): zuko's parameters and its bounds.

    The bin is found by going up from the lowest, among shares that are not yet divided by their sum: what is only
    needed of the one bin is worked out for that one alone.
    """
    bins = (raw.shape[1] + 1) // 3
    shares = _bounded(raw[:, : 2 * bins], 2.0).exp().unbind(dim=1)
    slopes = raw[:, 2 * bins :].unbind(dim=1)
    wide, high = shares[:bins], shares[bins:]
    all_wide, all_high = sum(wide[1:], wide[0]), sum(high[1:], high[0])
    safe = y.clamp(-_BOUND, _BOUND)
    level = (safe + _BOUND) / (2 * _BOUND) * all_high
    flat = torch.zeros_like(y)  # logarithm of the slope at the ends
    left, below, x0, y0 = flat, flat, flat, flat
    dx, dy, d0, d1 = wide[0], high[0], flat, slopes[0]
    for k in range(1, bins):
        left, below = left + wide[k - 1], below + high[k - 1]
        above = level > below
        x0, y0 = torch.where(above, left, x0), torch.where(above, below, y0)
        dx, dy = torch.where(above, wide[k], dx), torch.where(above, high[k], dy)
        d0 = torch.where(above, slopes[k - 1], d0)
        d1 = torch.where(above, slopes[k] if k < bins - 1 else flat, d1)
    d0, d1 = _bounded(d0, 1.0).exp(), _bounded(d1, 1.0).exp()
    along = (2 * _BOUND) / all_wide
    s, over = dy * (all_wide / all_high) / dx, (level - y0) / dy  # of the bin's height
    bend = over * (d0 + d1 - 2 * s)
    a, b, c = s - d0 + bend, d0 - bend, -s * over
    share = 2 * c / (-b - (b * b - 4 * a * c).clamp(min=0).sqrt())
    return torch.where((y > -_BOUND) & (y < _BOUND), (x0 + share * dx) * along - _BOUND, y)


def _bounded(raw: Tensor, steep: float) -> Tensor:
    """Keep a logarithm within that of the least slope, or of its root where ``steep`` is 2."""
    return raw / (1 + (raw * (steep / _LOG_SLOPE)).abs())


_BOUND = 5.0
_LOG_SLOPE = -6.907755278982137  # of the least slope, 1e-3


def _sides(mask: Tensor) -> tuple[list[int], list[int], list[int]]:
    """Return the places that a coupling keeps, those it moves, and where each place is in the two together."""
    flags = mask.tolist()
    kept = [i for i, flag in enumerate(flags) if flag]
    moved = [i for i, flag in enumerate(flags) if not flag]
    together = kept + moved
    return kept, moved, [together.index(i) for i in range(len(together))]
