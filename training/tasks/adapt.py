"""Training of the keypoint detector on one shoot: crops that several views of a frozen teacher have labelled."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from ..augmentation import augmented
from ..shoot import Shoot, ShootSettings, crops_of, shoot_of
from ..trainer.settings import TrainingSettings
from ..trainer.task import Batch
from .keypoints import KeypointTask, keypoint_scores, measured, smoke_settings

EXAMPLE = Path(__file__).resolve().parent.parent.parent / "addon" / "example_take" / "take.toml"
_SMOKE_S = 0.6  # of the example take


class AdaptTask(KeypointTask):
    """See `trainer.task.Task`."""

    TABLES: ClassVar[Mapping[str, type]] = {**KeypointTask.TABLES, "shoot": ShootSettings}

    def __init__(self, tables: Mapping[str, Any], seed: int) -> None:
        super().__init__(tables, seed)
        self.settings: ShootSettings = tables["shoot"]
        self._shoot: Shoot | None = None
        self._crops: Batch | None = None
        self.on_batch: Callable[[], None] = lambda: None  # told of every batch; may raise to stop the training

    @classmethod
    def smoke(cls, tables: Mapping[str, Any], settings: TrainingSettings) -> tuple[Mapping[str, Any], TrainingSettings]:
        """A moment of the example take, in small crops."""
        work = tempfile.mkdtemp(prefix="sightline_shoot_")
        shoot = dataclasses.replace(tables["shoot"], takes=(str(EXAMPLE),), seconds=_SMOKE_S, every=1, work=work)
        data = dataclasses.replace(tables["data"], size=(96, 128))
        return {**tables, "shoot": shoot, "data": data}, smoke_settings(settings)

    @property
    def shoot(self) -> Shoot:
        """The labelled views, made once."""
        if self._shoot is None:
            self._shoot = shoot_of(self.settings)
        return self._shoot

    def use(self, shoot: Shoot) -> None:
        """Take labelled views that were made elsewhere."""
        self._shoot = shoot

    def batch(self, first: int, count: int) -> Batch:
        """Take the next crops, in an order that changes from pass to pass, and change them."""
        self.on_batch()
        if self._crops is None:
            self._crops = crops_of(self.shoot.learn, self.joint_names, self.data.size)
        many = len(self._crops["image"])
        rounds = [
            torch.randperm(many, generator=torch.Generator().manual_seed(self._seed + turn))
            for turn in range(first // many, (first + count - 1) // many + 1)
        ]
        order = torch.cat(rounds)[first % many :][:count]
        chosen = {key: value[order] for key, value in self._crops.items()}
        return augmented(chosen, self.joint_names, self._augmentation, self._seed + 1, first)

    def held_out(self) -> list[Batch]:
        """Return crops of the held-out frames, then of the held-out view."""
        if not self._held_out:
            self._held_out = [
                crops_of(views, self.joint_names, self.data.size) for views in (self.shoot.frames, self.shoot.view)
            ]
        return self._held_out

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Measure held-out frames and the held-out view apart."""
        device, scores = next(model.parameters()).device, {}
        for name, batch in zip(("frames", "view"), self.held_out(), strict=True):
            error, covariance, truth = measured(model, batch, device)
            found = keypoint_scores(error, covariance, truth, self.joint_names)
            scores |= {f"{name}_{key}": found[key] for key in ("pck_02", "median_px", "nll", "coverage_50")}
        return scores
