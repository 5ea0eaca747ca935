"""The networks of Wehrbein et al. 2021: a coupling flow between poses and (latent, picture), and RepNet's critic.

    y, z: the forward direction maps a 3D pose to the 2D pose and a latent; backwards any latent gives a pose.

Two things differ from the released code and follow the paper: the clamp is 2α/π · atan(r/α), and hidden widths are
those of the configuration. See SEEDS of the settings for what the paper used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from inference.errors import InputError
from inference.layouts import layout

JOINTS_3D = tuple(name for name in layout("h36m_17").joint_names if name != "pelvis")  # 16
JOINTS_2D = layout("mpii_16").joint_names  # 16, others than the 3D ones
D = 3 * len(JOINTS_3D)
LATENT = D - 2 * len(JOINTS_2D)
CONDITION = 6 * (len(JOINTS_2D) - 3)  # amplitude, mean and covariance of each joint but the hips and the pelvis
_ALPHA = 2.0  # of the clamp
_INIT = 0.05  # sigma of all weights of the flow
# RepNet's bones, and those that the flow's released code adds: start, end.
BONES = (
    *(
        ("right_hip", "right_knee"),
        ("right_knee", "right_ankle"),
        ("left_hip", "left_knee"),
        ("left_knee", "left_ankle"),
    ),
    *(("spine", "thorax"), ("thorax", "nose"), ("nose", "head_top"), ("thorax", "left_shoulder")),
    *(("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist"), ("thorax", "right_shoulder")),
    *(("right_shoulder", "right_elbow"), ("right_elbow", "right_wrist")),
    *(("right_hip", "left_hip"), ("right_hip", "spine"), ("left_hip", "spine")),
)


@dataclass(frozen=True)
class PaperFlowSettings:
    """Size of the flow; the defaults are the paper's."""

    blocks: int = 8
    hidden: int = 1024  # of each coupling's network
    encoder: int = 256  # of the condition's network
    context: int = 56  # its output
    condition: bool = True  # whether the fitted Gaussians are told; False is the ablation

    def __post_init__(self) -> None:
        if min(self.blocks, self.hidden, self.encoder, self.context) < 1:
            raise InputError("[network]: blocks and widths must be above 0")


class PaperFlow(nn.Module):
    """x (N, 48) ↔ (z (N, 16), y (N, 32)), given the Gaussians fitted to the heatmaps (N, 78)."""

    def __init__(self, settings: PaperFlowSettings) -> None:
        super().__init__()
        self.settings = settings
        self.encoder = nn.Sequential(
            nn.Linear(CONDITION, settings.encoder), nn.ReLU(), nn.Linear(settings.encoder, settings.context)
        )
        half = D // 2
        nets = [
            nn.Sequential(nn.Linear(half + settings.context, settings.hidden), nn.ReLU(), nn.Linear(settings.hidden, D))
            for _ in range(2 * settings.blocks)
        ]
        self.nets = nn.ModuleList(nets)
        for net in nets:
            for parameter in net.parameters():
                nn.init.normal_(parameter, std=_INIT)
        orders = [torch.randperm(D, generator=torch.Generator().manual_seed(k)) for k in range(settings.blocks)]
        self.register_buffer("orders", torch.stack(orders), persistent=False)
        # The critic is trained by the task's own optimiser: to the trainer's it is a constant.
        self.critic = Critic().requires_grad_(False)

    def context(self, condition: Tensor) -> Tensor:
        """Encode (N, 78); zeros where the condition is left out."""
        found = self.encoder(condition)
        return found if self.settings.condition else torch.zeros_like(found)

    def forward(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return (z, y) together (N, 48), and the logarithm of the Jacobian's determinant (N,)."""
        volume = torch.zeros_like(x[:, 0])
        for block, order in enumerate(self.get_buffer("orders")):
            a, b = x.chunk(2, dim=-1)
            scale, shift = self._step(2 * block, b, context)
            a = a * scale.exp() + shift
            volume = volume + scale.sum(dim=-1)
            scale, shift = self._step(2 * block + 1, a, context)
            b = b * scale.exp() + shift
            volume = volume + scale.sum(dim=-1)
            x = torch.cat([a, b], dim=-1)[:, order]
        return x, volume

    def inverse(self, both: Tensor, context: Tensor) -> Tensor:
        """Return the poses (N, 48) of (z, y) together."""
        orders: Tensor = self.get_buffer("orders")
        for block in reversed(range(len(orders))):
            a, b = both[:, torch.argsort(orders[block])].chunk(2, dim=-1)
            scale, shift = self._step(2 * block + 1, a, context)
            b = (b - shift) * (-scale).exp()
            scale, shift = self._step(2 * block, b, context)
            a = (a - shift) * (-scale).exp()
            both = torch.cat([a, b], dim=-1)
        return both

    def _step(self, number: int, given: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        scale, shift = self.nets[number](torch.cat([given, context], dim=-1)).chunk(2, dim=-1)
        return clamped(scale), shift


def clamped(r: Tensor) -> Tensor:
    """Return 2α/π · atan(r/α) (equation 2): slope 1 at 0, and never beyond ±α."""
    return 2 * _ALPHA / math.pi * torch.atan(r / _ALPHA)


class Critic(nn.Module):
    """RepNet's critic (Wandt & Rosenhahn 2019): the pose as it is, and its bones' lengths and angles (KCS)."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("bones", bone_matrix(), persistent=False)
        b = len(BONES)
        self.pose = nn.ModuleList([nn.Linear(D, 100), nn.Linear(100, 100), nn.Linear(100, 100)])
        self.chain = nn.ModuleList([nn.Linear(b * b, 1000), nn.Linear(1000, 1000), nn.Linear(1000, 1000)])
        self.end = nn.Sequential(nn.Linear(1100, 100), nn.LeakyReLU(0.01), nn.Linear(100, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N,): high for poses as those of the training set."""
        chain = kinematic_chain(x, self.get_buffer("bones")).flatten(1)
        return self.end(torch.cat([_path(self.pose, x), _path(self.chain, chain)], dim=-1))[:, 0]


def _path(layers: nn.ModuleList, x: Tensor) -> Tensor:
    first = nn.functional.leaky_relu(layers[0](x), 0.01)
    return nn.functional.leaky_relu(layers[2](nn.functional.leaky_relu(layers[1](first), 0.01)), 0.01) + first


def bone_matrix() -> Tensor:
    """Return C (16 joints, 16 bones): +1 at a bone's end, -1 at its start."""
    matrix = torch.zeros(len(JOINTS_3D), len(BONES))
    for column, (start, end) in enumerate(BONES):
        matrix[JOINTS_3D.index(end), column] = 1.0
        matrix[JOINTS_3D.index(start), column] = -1.0
    return matrix


def kinematic_chain(x: Tensor, bones: Tensor) -> Tensor:
    """Return Ψ = Bᵀ B (N, bones, bones) with B = X C, for poses (N, 48): lengths squared and inner products."""
    b = x.unflatten(-1, (3, -1)) @ bones
    return b.transpose(-1, -2) @ b
