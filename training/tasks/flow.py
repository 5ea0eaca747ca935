"""Training of the conditional flow: likelihood of recorded poses given what random views say about them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from inference.config import nearest_key
from inference.errors import InputError

from ..networks.flow import FlowSettings, PoseFlow
from ..pose_views import JOINT_NAMES, load_poses, pose_views, stick_poses
from ..sources import HELD_OUT_SEED
from ..trainer.settings import TrainingSettings
from ..trainer.task import Batch

_SOURCES = ("recorded", "stick_figures")
MODES = ("calibrated",)


@dataclass(frozen=True)
class PoseDataSettings:
    """Which poses are seen."""

    source: str = "recorded"
    pack: str = "out/people.npz"  # training/data/make_pack.py
    validation_poses: int = 512
    noise_m: float = 0.004  # added to the poses: few bodies and rigid parts have no density without

    def __post_init__(self) -> None:
        if self.source not in _SOURCES:
            raise InputError(f"[data]: source = {self.source!r}{nearest_key(self.source, _SOURCES)}")
        if self.validation_poses < 1 or not self.noise_m > 0:
            raise InputError("[data]: validation_poses and noise_m must be above 0")


@dataclass(frozen=True)
class FlowLossSettings:
    """What is minimised."""

    mode: str = "calibrated"  # the likelihood alone: terms that reward the nearest of many samples spoil coverage

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InputError(f"[loss]: mode = {self.mode!r}{nearest_key(self.mode, MODES)}")


class FlowTask:
    """See `trainer.task.Task`."""

    TABLES: ClassVar[Mapping[str, type]] = {"data": PoseDataSettings, "network": FlowSettings, "loss": FlowLossSettings}

    def __init__(self, tables: Mapping[str, Any], seed: int) -> None:
        self.data: PoseDataSettings = tables["data"]
        self._network: FlowSettings = tables["network"]
        self._seed = seed
        self._source: Any = None

    @classmethod
    def smoke(cls, tables: Mapping[str, Any], settings: TrainingSettings) -> tuple[Mapping[str, Any], TrainingSettings]:
        """Flat stick figures, for a few steps."""
        data = dataclasses.replace(tables["data"], source="stick_figures", validation_poses=32)
        return {**tables, "data": data}, dataclasses.replace(
            settings, steps=40, batch_size=32, warmup_steps=5, validate_every=0, log_every=5, workers=0
        )

    def model(self) -> PoseFlow:
        """Build the network."""
        return PoseFlow(self._network, len(JOINT_NAMES))

    def batch(self, first: int, count: int) -> Batch:
        """Make poses with what one to four views say."""
        if self._source is None:
            self._source = pose_views(self.poses(held_out=False), self._seed)
        return self._source(first, count)

    def poses(self, held_out: bool) -> Tensor:
        """Return the (F, 29, 3) m poses of training, or those of the people that training never sees."""
        if self.data.source == "stick_figures":
            return stick_poses(512, self._seed + held_out)
        return load_poses(Path(self.data.pack), held_out)

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the negative log-likelihood per coordinate, nats (poses in m)."""
        xyz = batch["xyz"] + self.data.noise_m * torch.randn_like(batch["xyz"])
        value = -model(batch["mean"], batch["factor"], xyz).mean() / xyz[0].numel()
        return value, {}

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Measure the likelihood and the middle pose's error on held-out people, one view and four."""
        assert isinstance(model, PoseFlow)
        scores, device = {}, next(model.parameters()).device
        poses = self.poses(held_out=True)
        for views in (1, 4):
            batch = pose_views(poses, HELD_OUT_SEED, views)(0, self.data.validation_poses)
            mean, factor, xyz = (batch[key].to(device) for key in ("mean", "factor", "xyz"))
            middle = model.sample(mean, factor, mean.new_zeros(len(mean), 1, mean[0].numel()))[:, 0]
            scores[f"nll_{views}"] = float(-model(mean, factor, xyz).mean() / xyz[0].numel())
            scores[f"middle_mm_{views}"] = float(1000 * (middle - xyz).norm(dim=-1).mean())
        return scores
