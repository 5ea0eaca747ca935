"""Joints in space with their uncertainty from any number of views: Williams et al. (spatial uncertainty), corrected.

Keypoints of every view → triangulation that gradients pass through → a Student t in space for each joint. Its scale
matrix comes from one of two heads:

* ``fused``: each view states a 2×2 matrix; their information is added up through the projections, so that geometry
  orients the ellipsoid for any cameras. A factor per joint says how much wider the truth is, a correlation how far
  views are wrong together (a joint that is hidden in one is often hidden in the next), and a deviation what all of them
  get wrong alike. Without the last two one factor cannot fit two views and eight.
* ``paper``: one matrix in world axes read from the mean of all views' features, which do not know their cameras. It can
  only fit one fixed studio, and stands here for the comparison.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from inference.config import nearest_key
from inference.errors import InputError

from ..losses import cholesky_factor
from ..triangulation import MOST_SIGMA_M, Points, linear_points, refined_points
from .backbone import NetworkSettings
from .keypoints import KeypointNetwork

MODES = ("fused", "paper")
PAPER_NU = 5.0
_FLOOR_CM = 0.1  # of the pooled factor's diagonal
_START_CM = 2.0  # its diagonal before anything is learned
_LEAST_LABEL_PX = 0.05
_SHARED_M = 0.05


@dataclass(frozen=True)
class SpatialSettings(NetworkSettings):
    """Size and kind of the network."""

    channels: tuple[int, ...] = (16, 32, 64)
    blocks: tuple[int, ...] = (1, 1, 1)
    mode: str = "fused"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mode not in MODES:
            raise InputError(f"[network]: mode = {self.mode!r}{nearest_key(self.mode, MODES)}")


class SpatialOutput(NamedTuple):
    """What the network says of N samples with V views."""

    heatmaps: Tensor  # (N, V, J, h, w)
    xy: Tensor  # (N, V, J, 2) px
    view_factor: Tensor  # (N, V, J, 2, 2) px, of each view's own Student t
    view_nu: Tensor  # (J,)
    xyz: Tensor  # (N, J, 3) m
    root: Tensor  # (N, J, 3, 3) m, lower Cholesky factor of the scale matrix in world axes
    nu: Tensor  # (N, J) degrees of freedom of the Student t in space
    determined: Tensor  # (N, J) bool: the views fix the point; the others hold placeholders
    good: Tensor  # (N, J) bool: and it is sure enough to be told
    label_px: Tensor  # (L, J) standard deviation of each labeller, the scale of its Student t


class SpatialNetwork(nn.Module):
    """Crops (N, V, 3, H, W) 0–1 with projections (N, V, 3, 4) → `SpatialOutput`."""

    def __init__(self, settings: SpatialSettings, joints: int, size: tuple[int, int], labellers: int) -> None:
        super().__init__()
        self.mode, self.joints = settings.mode, joints
        self.views = KeypointNetwork(settings, joints, size)
        self.raw_label = nn.Parameter(torch.zeros(labellers, joints))
        self.raw_inflation = nn.Parameter(torch.zeros(joints))
        self.raw_shared = nn.Parameter(torch.full((joints,), -2.0))
        self.raw_correlation = nn.Parameter(torch.full((joints,), -3.0))
        self.raw_prior = nn.Parameter(torch.tensor([3.0]))
        self.raw_freedom = nn.Parameter(torch.tensor([5.0]))
        if settings.mode == "paper":
            wide = settings.channels[-1]
            self.embed = nn.Linear(wide, 128)
            self.phi = nn.Sequential(nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU())
            self.rho = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 6 * joints))

    def inflation(self) -> Tensor:
        """Return by how much (J,) each joint's covariance exceeds what the views' information says."""
        return functional.softplus(self.raw_inflation) / functional.softplus(torch.zeros(()))

    def shared_m(self) -> Tensor:
        """Return the deviation (J,) m of what all views get wrong alike: no number of views takes it away."""
        return _SHARED_M * functional.softplus(self.raw_shared)

    def correlation(self) -> Tensor:
        """Return ρ (J,) 0–1 of two views' errors of a joint: n views tell no more than n / (1 + ρ (n − 1)) would."""
        return torch.sigmoid(self.raw_correlation)

    def freedom(self) -> Tensor:
        """Return ν (1,) of the Student t in space. It does not grow with the views: what they share has heavy tails."""
        return 2.1 + functional.softplus(self.raw_freedom)

    def prior_freedom(self) -> Tensor:
        """Return ν₀ (1,): what residuals say of one joint's own noise counts against so many degrees of freedom."""
        return 2.1 + functional.softplus(self.raw_prior)

    def label_px(self) -> Tensor:
        """Return the scale (L, J) of each labeller's noise, px."""
        return _LEAST_LABEL_PX + functional.softplus(self.raw_label)

    def forward(self, image: Tensor, projection: Tensor, seen: Tensor, centre: Tensor) -> SpatialOutput:
        """See the class; ``seen`` (N, V) says which views there are, ``centre`` (N, 3) m lies near the person."""
        n, v = image.shape[:2]
        rising, coarse = self.views.backbone(image.flatten(0, 1))
        found = self.views.read(rising[-1], coarse)
        maps, xy, factor = (part.unflatten(0, (n, v)) for part in (found.heatmaps, found.xy, found.factor))
        start = linear_points(projection, xy, seen, centre)
        if self.mode == "paper":
            root = self._pooled(coarse.float().mean(dim=(2, 3)).unflatten(0, (n, v)), seen)
            xyz, determined, nu = start.xyz, start.good, torch.full_like(start.deviance, PAPER_NU)
        else:
            points = refined_points(start, projection, xy, factor, found.nu, seen)
            stated = self.stated(points._replace(good=start.good & points.good), seen.sum(dim=1, keepdim=True))
            xyz, root, nu, determined = stated
        longest = torch.linalg.eigvalsh((root @ root.mT).detach())[..., -1]
        good = determined & (longest < MOST_SIGMA_M**2)
        return SpatialOutput(maps, xy, factor, found.nu, xyz, root, nu, determined, good, self.label_px())

    def stated(self, points: Points, count: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return what ``count`` (N, 1) views say of their points: xyz, root, nu and determined of `SpatialOutput`."""
        eye = torch.eye(3, dtype=points.matrix.dtype, device=points.matrix.device)
        wider = self.wider(points, count)[..., None, None]
        matrix = points.matrix * wider + self.shared_m()[:, None, None] ** 2 * eye
        root = torch.linalg.cholesky(torch.where(points.good[..., None, None], matrix, eye))
        return points.xyz, root, self.freedom().double().expand(points.freedom.shape), points.good

    def wider(self, points: Points, count: Tensor) -> Tensor:
        """Return the factor (N, J) on what ``count`` (N, 1) views' information says.

        The posterior of a noise level of which ν₀ and the residuals know (Gelman et al., section 3.2), the joint's own
        factor, and 1 + ρ (n − 1) for views that are wrong together.
        """
        prior = self.prior_freedom()
        own = self.inflation() * (prior + points.deviance) / (prior + points.freedom)
        return own * (1 + self.correlation() * (count - 1).clamp(min=0))

    def _pooled(self, features: Tensor, seen: Tensor) -> Tensor:
        """Return the factor (N, J, 3, 3) m in world axes, from the mean of what each view's features say."""
        each = self.phi(self.embed(features)) * seen[..., None]
        mean = each.sum(dim=1) / seen.sum(dim=1, keepdim=True).clamp(min=1)
        raw = self.rho(mean).unflatten(-1, (self.joints, 6))
        diagonal = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0, 1.0], device=raw.device) * _START_CM
        return cholesky_factor(raw + diagonal, 3, _FLOOR_CM).double() / 100
