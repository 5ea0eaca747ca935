"""Training of the conditional flow: likelihood of recorded poses given what random views say about them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from inference.config import nearest_key
from inference.errors import InputError
from inference.perception.flow import PosePrior
from inference.shapes import FloatArray

from ..networks.flow import FlowSettings, PoseFlow
from ..pose_views import (
    HIPS,
    JOINT_NAMES,
    Seen,
    camera_prior,
    part_of_poses,
    pose_views,
    whitened,
    whitened_views,
)
from ..sources import HELD_OUT_SEED
from ..trainer.settings import TrainingSettings
from ..trainer.task import Batch

_SOURCES = ("recorded", "stick_figures")
_WINDOW = 64  # batches
MODES = ("calibrated",)


@dataclass(frozen=True)
class PoseDataSettings:
    """Which poses are seen."""

    source: str = "recorded"
    pack: str = "out/people.npz"  # training/data/make_pack.py
    validation_poses: int = 512
    reuse: int = 3  # steps that a batch serves, `_WINDOW` steps apart: making one costs as much as learning from it
    noise_m: float = 0.004  # added to the poses: few bodies and rigid parts have no density without

    def __post_init__(self) -> None:
        if self.source not in _SOURCES:
            raise InputError(f"[data]: source = {self.source!r}{nearest_key(self.source, _SOURCES)}")
        if min(self.validation_poses, self.reuse) < 1 or not self.noise_m > 0:
            raise InputError("[data]: validation_poses, reuse and noise_m must be above 0")


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
        self._poses: dict[str, Tensor] = {}
        self._kept: dict[int, Batch] = {}  # batches of this window, by number

    @classmethod
    def smoke(cls, tables: Mapping[str, Any], settings: TrainingSettings) -> tuple[Mapping[str, Any], TrainingSettings]:
        """Flat stick figures, for a few steps."""
        data = dataclasses.replace(tables["data"], source="stick_figures", validation_poses=32)
        # the closed-form Gaussian that it starts from leaves little to learn: more steps, and larger ones
        quick = {"steps": 120, "batch_size": 32, "learning_rate": 5e-3, "warmup_steps": 5}
        return {**tables, "data": data}, dataclasses.replace(
            settings, **quick, validate_every=0, log_every=5, workers=0
        )

    def network(self) -> PoseFlow:
        """Build the network without a prior: a checkpoint brings its own."""
        return PoseFlow(self._network, len(JOINT_NAMES))

    def model(self) -> PoseFlow:
        """Build the network around the prior of the poses."""
        model = self.network()
        model.set_prior(camera_prior(self.poses("training"), self.data.noise_m))
        return model

    def batch(self, first: int, count: int) -> Batch:
        """Make poses with what one to four views say."""
        if self._source is None:
            poses = self.poses("training")
            self._source = whitened_views(poses, camera_prior(poses, self.data.noise_m), self._seed, self.data.noise_m)
        window, place = divmod(first // count, _WINDOW * self.data.reuse)
        number = window * _WINDOW + place % _WINDOW
        if number not in self._kept:
            if place % _WINDOW == 0:
                self._kept.clear()
            self._kept[number] = self._source(number * count, count)
        return self._kept[number]

    def poses(self, part: str) -> Tensor:
        """Return the (F, 29, 3) m poses of a part; see `load_poses`."""
        if part not in self._poses:
            self._poses[part] = part_of_poses(self.data.source, self.data.pack, part, self._seed)
        return self._poses[part]

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the negative log-likelihood per coordinate, nats (poses in m)."""
        u = batch["u"]
        return (batch["log_volume"] - model(batch["features"], u)).mean() / u.shape[1], {}

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Measure the likelihood and the middle pose's error on the calibration part, one view and four."""
        assert isinstance(model, PoseFlow)
        scores, prior = {}, model.prior()
        poses = self.poses("calibration")
        for views in (1, 4):
            seen = pose_views(poses, HELD_OUT_SEED, views, self.data.noise_m)(0, self.data.validation_poses)
            batch = whitened(seen, prior)
            middle = middle_poses(model, batch["features"], seen, prior)
            apart = middle - seen.xyz
            apart -= apart[:, HIPS].mean(axis=1, keepdims=True)
            scores[f"nll_{views}"] = float(self.loss(model, batch)[0].detach())
            scores[f"middle_mm_{views}"] = float(1000 * np.linalg.norm(apart, axis=-1).mean())
        return scores


def middle_poses(model: PoseFlow, features: Tensor, seen: Seen, prior: PosePrior) -> FloatArray:
    """Return the poses of z = 0 (N, J, 3) m about the anchor."""
    zero = features.new_zeros(len(features), 1, len(prior.mean))
    return _poses_of(model, features, zero, seen, prior)[:, 0]


def sampled_poses(
    model: PoseFlow, features: Tensor, seen: Seen, prior: PosePrior, samples: int, seed: int
) -> FloatArray:
    """Return sampled poses (N, S, J, 3) m about the anchor."""
    numbers = torch.Generator().manual_seed(seed)
    z = torch.randn(len(features), samples, len(prior.mean), generator=numbers)
    return _poses_of(model, features, z, seen, prior)


def _poses_of(model: PoseFlow, features: Tensor, z: Tensor, seen: Seen, prior: PosePrior) -> FloatArray:
    with torch.no_grad():
        u = model.sample(features, z).double().numpy()
    return seen.gaussians(prior).poses(u, prior)
