"""Training of the flow as the paper has it: projection, MMD, a critic, the best of many, heatmap variances.

The critic is a part of the model that the trainer's optimiser leaves alone: it has one of its own here, whose state is
not kept, so that a resumed run begins that anew. AdamW and a cosine stand for the paper's Adam and halving.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from inference.config import nearest_key
from inference.errors import InputError

from ..heatmap_poses import H36M, heatmap_poses, rooted
from ..networks.paper_flow import JOINTS_2D, LATENT, Critic, PaperFlow, PaperFlowSettings
from ..paper_losses import BANDWIDTHS, best_of_many, critic_loss, heatmap_loss, median_bandwidths, mmd
from ..pose_views import part_of_poses
from ..sources import HELD_OUT_SEED
from ..trainer.settings import TrainingSettings
from ..trainer.task import Batch
from .flow import PoseDataSettings

# Joints of the 2D pose whose place in the picture is that of a 3D joint, as indices into both.
_TOLD = [(JOINTS_2D.index(n), H36M.index(n)) for n in JOINTS_2D if n in H36M and "hip" not in n and n != "pelvis"]


@dataclass(frozen=True)
class PaperLossSettings:
    """Weights of the terms (equation 9); 0 leaves one out, as the paper's ablations do."""

    mode: str = "paper"
    generator: float = 1.0
    mmd: float = 10.0
    mmd_median: bool = False  # bandwidths from the data beside the paper's, which hardly notice anything
    det: float = 4.0
    best_of_many: float = 4.0
    heatmap: float = 750.0
    samples: int = 200  # hypotheses of each pose
    nearest: int = 5  # of them whose mean counts
    critic_steps: int = 5
    critic_rate: float = 1e-4

    def __post_init__(self) -> None:
        if self.mode != "paper":
            raise InputError(f"[loss]: mode = {self.mode!r}{nearest_key(self.mode, ('paper',))}")
        if not 2 <= self.nearest <= self.samples or self.critic_steps < 1:
            raise InputError("[loss]: nearest must lie in 2 … samples, critic_steps above 0")


class PaperFlowTask:
    """See `trainer.task.Task`."""

    TABLES: ClassVar[Mapping[str, type]] = {
        "data": PoseDataSettings,
        "network": PaperFlowSettings,
        "loss": PaperLossSettings,
    }

    def __init__(self, tables: Mapping[str, Any], seed: int) -> None:
        self.data: PoseDataSettings = tables["data"]
        self._network: PaperFlowSettings = tables["network"]
        self._loss: PaperLossSettings = tables["loss"]
        self._seed = seed
        self._source: Any = None
        self._optimiser: Any = None

    @classmethod
    def smoke(cls, tables: Mapping[str, Any], settings: TrainingSettings) -> tuple[Mapping[str, Any], TrainingSettings]:
        """Stick figures, a small network, for a few steps; without the critic, against whom the loss rises."""
        data = dataclasses.replace(tables["data"], source="stick_figures", validation_poses=32)
        network = dataclasses.replace(tables["network"], hidden=64, blocks=4)
        loss = dataclasses.replace(tables["loss"], generator=0.0, samples=8, nearest=2, critic_steps=1)
        return {"data": data, "network": network, "loss": loss}, dataclasses.replace(
            settings,
            steps=40,
            batch_size=16,
            warmup_steps=5,
            learning_rate=2e-3,
            validate_every=0,
            log_every=5,
            workers=0,
        )

    def network(self) -> PaperFlow:
        """Build the network."""
        return PaperFlow(self._network)

    def model(self) -> PaperFlow:
        """Build the network."""
        return self.network()

    def poses(self, part: str) -> Tensor:
        """Return the (F, 29, 3) m poses of a part; see `pose_views.load_poses`."""
        return part_of_poses(self.data.source, self.data.pack, part, self._seed)

    def batch(self, first: int, count: int) -> Batch:
        """Make poses with the Gaussians of their heatmaps."""
        if self._source is None:
            self._source = heatmap_poses(self.poses("training"), self._seed, self.data.noise_m)
        return self._source(first, count)

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted sum (equation 9) and its terms; the critic learns on the way."""
        flow = getattr(model, "module", model)
        assert isinstance(flow, PaperFlow)
        weights, x, y, n = self._loss, batch["x"], batch["y"], len(batch["x"])
        context = flow.context(batch["condition"])
        both, _ = flow(x, context)
        terms = {"2d": (both[:, LATENT:] - y).abs().mean()}
        wanted = torch.cat([torch.randn(n, LATENT), y], dim=-1)
        found = torch.cat([both[:, :LATENT], both[:, LATENT:].detach()], dim=-1)
        bandwidths = median_bandwidths(wanted) if weights.mmd_median else BANDWIDTHS
        terms["mmd"] = weights.mmd * mmd(found, wanted, bandwidths)
        again = flow.inverse(torch.cat([both[:, :LATENT].detach(), y], dim=-1), context)
        terms["det"] = weights.det * (again - x).abs().mean()
        if weights.generator:
            self._teach_critic(flow.critic, x, y, flow, context.detach())
            made = flow.inverse(torch.cat([torch.randn(n, LATENT), y], dim=-1), context)
            terms["generator"] = -weights.generator * flow.critic(made).mean()
        if weights.best_of_many or weights.heatmap:
            samples = rooted(sampled(flow, y, context, torch.randn(n, weights.samples, LATENT)))
            terms["best"] = weights.best_of_many * best_of_many(samples, batch["truth"], weights.nearest)
            two, three = (list(indices) for indices in zip(*_TOLD, strict=True))
            spread = heatmap_loss(samples[:, :, three, :2], batch["covariance"][:, two], batch["unsure"][:, two])
            terms["heatmap"] = weights.heatmap * spread
        return torch.stack(list(terms.values())).sum(), {key: value.detach() for key, value in terms.items()}

    def _teach_critic(self, critic: Critic, x: Tensor, y: Tensor, flow: PaperFlow, context: Tensor) -> None:
        critic.requires_grad_(True)
        if self._optimiser is None:
            self._optimiser = torch.optim.Adam(critic.parameters(), lr=self._loss.critic_rate, betas=(0.5, 0.9))
        for _ in range(self._loss.critic_steps):
            with torch.no_grad():
                made = flow.inverse(torch.cat([torch.randn(len(x), LATENT), y], dim=-1), context)
            real = x[torch.randperm(len(x))]
            value = critic_loss(critic, real, made, torch.rand(len(x), 1))
            self._optimiser.zero_grad(set_to_none=True)
            value.backward()
            self._optimiser.step()
        critic.requires_grad_(False)

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Measure the middle pose and the nearest of 50 on the calibration part, mm about the pelvis."""
        assert isinstance(model, PaperFlow)
        batch = heatmap_poses(self.poses("calibration"), HELD_OUT_SEED, self.data.noise_m)(
            0, self.data.validation_poses
        )
        numbers = torch.randn(len(batch["x"]), 51, LATENT, generator=torch.Generator().manual_seed(1))
        numbers[:, 0] = 0
        with torch.no_grad():
            poses = rooted(sampled(model, batch["y"], model.context(batch["condition"]), numbers))
        errors = 1000 * (poses - batch["truth"][:, None]).norm(dim=-1).mean(dim=-1)
        return {"middle_mm": float(errors[:, 0].mean()), "best_mm": float(errors[:, 1:].min(dim=1).values.mean())}


def sampled(flow: PaperFlow, y: Tensor, context: Tensor, z: Tensor) -> Tensor:
    """Return poses (N, M, 48) for latents (N, M, 16)."""
    m = z.shape[1]
    both = torch.cat([z, y[:, None].expand(-1, m, -1)], dim=-1)
    return flow.inverse(both.flatten(0, 1), context.repeat_interleave(m, dim=0)).unflatten(0, (-1, m))
