"""Training of the keypoint detector: heatmaps, covariance and visibility of one person's joints in a crop."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from inference.config import nearest_key
from inference.errors import InputError
from inference.layouts import layout
from inference.shapes import BoolArray, FloatArray

from ..augmentation import AugmentationSettings, augmented
from ..calibration_metrics import calibration_error, coverage, nll
from ..losses import gaussian_heatmap, jensen_shannon, kullback_leibler, student_loss
from ..metrics import pck
from ..networks.backbone import NetworkSettings
from ..networks.keypoints import KeypointNetwork
from ..sources import HELD_OUT_SEED, DataSettings, Source, held_out_settings, keypoint_source, validation_batches
from ..trainer.settings import TrainingSettings
from ..trainer.task import Batch

_HIDDEN_SCORE = 0.4
_DIVERGENCES = {"jensen_shannon": jensen_shannon, "kullback_leibler": kullback_leibler}


@dataclass(frozen=True)
class KeypointLossSettings:
    """Weights of the parts of the loss."""

    shape: float = 1.0  # divergence of the heatmap from a Gaussian at the joint
    divergence: str = "jensen_shannon"  # or "kullback_leibler", which does not flatten out where the two lie apart
    target_sigma: float = 1.0  # of that Gaussian, cells
    likelihood: float = 0.1  # Student t of the error
    visibility: float = 0.1

    def __post_init__(self) -> None:
        if self.divergence not in _DIVERGENCES:
            raise InputError(f"[loss]: divergence = {self.divergence!r}{nearest_key(self.divergence, _DIVERGENCES)}")
        if self.target_sigma <= 0 or min(self.shape, self.likelihood, self.visibility) < 0:
            raise InputError("[loss]: weights must not be negative, and target_sigma must be above 0")


class KeypointTask:
    """See `trainer.task.Task`."""

    TABLES: ClassVar[Mapping[str, type]] = {
        "data": DataSettings,
        "augmentation": AugmentationSettings,
        "network": NetworkSettings,
        "loss": KeypointLossSettings,
    }

    def __init__(self, tables: Mapping[str, Any], seed: int) -> None:
        self.data: DataSettings = tables["data"]
        self._augmentation: AugmentationSettings = tables["augmentation"]
        self._network: NetworkSettings = tables["network"]
        self._loss: KeypointLossSettings = tables["loss"]
        self._seed = seed
        self.joint_names = layout(self.data.layout).joint_names
        self._source: Source | None = None
        self._held_out: list[Batch] = []

    @classmethod
    def smoke(cls, tables: Mapping[str, Any], settings: TrainingSettings) -> tuple[Mapping[str, Any], TrainingSettings]:
        """Few small stick figures, seen again and again."""
        data = dataclasses.replace(
            tables["data"],
            source="stick_figures",
            cache="",
            real="",
            size=(96, 128),
            views=12,
            validation_views=8,
            layout="sightline_29",
        )
        plain = AugmentationSettings(turn_deg=0, scale=0, shift=0, mirror=0, colour=0.1, noise=0.01, blur=0, cover=0)
        return {**tables, "data": data, "augmentation": plain}, smoke_settings(settings)

    def model(self) -> KeypointNetwork:
        """Build the network."""
        return KeypointNetwork(self._network, len(self.joint_names), self.data.size)

    def batch(self, first: int, count: int) -> Batch:
        """Make crops and change them."""
        if self._source is None:  # made where it is used: with workers, in each of them
            self._source = keypoint_source(self.data, self._seed)
        batch = self._source(first, count)
        return augmented(batch, self.joint_names, self._augmentation, self._seed + 1, first)

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Weigh divergence of heatmaps, likelihood of errors, and visibility, over the joints inside of the crop."""
        output = model(pictures(batch))
        inside = batch["inside"]
        share = inside.float().mean()  # the divisor is the number of all joints: it does not depend on the data
        columns = output.heatmaps.shape[-1]
        scale = self.data.size[0] / columns
        cells = (torch.where(inside[..., None], batch["xy"], 0.0) + 0.5) / scale - 0.5
        target = gaussian_heatmap(cells, (columns, output.heatmaps.shape[-2]), self._loss.target_sigma)
        shape = (_DIVERGENCES[self._loss.divergence](output.heatmaps, target) * inside).mean()
        likelihood = student_loss(batch["xy"] - output.xy, output.factor, output.nu, inside) * share
        labelled = torch.isfinite(batch["xy"]).all(dim=-1).float()
        seen = functional.binary_cross_entropy_with_logits(output.visibility.float(), seen_share(batch), labelled)
        total = self._loss.shape * shape + self._loss.likelihood * likelihood + self._loss.visibility * seen
        return total, {"shape": shape, "nll": likelihood, "visibility": seen}

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Measure errors, and whether the covariance is true, on crops that training never sees."""
        device = next(model.parameters()).device
        found = [measured(model, batch, device) for batch in self.held_out()]
        error, covariance, truth = (np.concatenate(part) for part in zip(*found, strict=True))
        return keypoint_scores(error, covariance, truth, self.joint_names)

    def held_out(self) -> list[Batch]:
        """Return the validation crops, unchanged, in batches, made once."""
        if not self._held_out:
            source = keypoint_source(held_out_settings(self.data), HELD_OUT_SEED, held_out=True)
            self._held_out = list(validation_batches(source, self.data.validation_views))
        return self._held_out


def smoke_settings(settings: TrainingSettings) -> TrainingSettings:
    """Return settings with which any network learns something from few samples in less than a minute."""
    return dataclasses.replace(
        settings,
        steps=40,
        batch_size=4,
        warmup_steps=5,
        learning_rate=max(settings.learning_rate, 2e-3),
        checkpoint_every=20,
        validate_every=0,
        log_every=5,
        workers=0,
    )


def seen_share(batch: Batch) -> Tensor:
    """Return what the score of a joint (N, J) should be: 1 seen, 0 outside; a joint that something hides is in between.

    The mean over the joints then tells a person from none, though half of a body's joints are hidden from any side.
    """
    return torch.where(batch["visible"], 1.0, torch.where(batch["inside"], _HIDDEN_SCORE, 0.0))


def pictures(batch: Batch) -> Tensor:
    """Return the pictures of a batch as the network takes them: 0–1."""
    return (batch["image"].float() / 255).contiguous(memory_format=torch.channels_last)


def measured(model: nn.Module, batch: Batch, device: torch.device) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return errors (N, J, 2) px, NaN where a joint is not in the crop; covariance (N, J, 2, 2) px²; limits (N, 1)."""
    with torch.no_grad():
        output = model(pictures({"image": batch["image"].to(device)}))
    xy = torch.where(batch["inside"][..., None], batch["xy"], torch.nan).double().numpy()
    error = output.xy.cpu().double().numpy() - xy
    factor = output.factor.cpu().double()
    nu = output.nu.cpu().double()[:, None, None]
    return error, (factor @ factor.mT * (nu / (nu - 2))).numpy(), batch["xy"].double().numpy()


def keypoint_scores(
    error: FloatArray,  # (N, J, 2) px
    covariance: FloatArray,  # (N, J, 2, 2) px²
    truth: FloatArray,  # (N, J, 2) px
    joint_names: tuple[str, ...],
    nu: float = 5.0,
) -> dict[str, float]:
    """Summarise keypoints of crops.

    Convention:
        ``pck_02``: nearer than 0.2 of the torso, the longer of its diagonals (shoulder to the other side's hip).
        A person of whom neither diagonal is known does not count there.
        Coverage and NLL take the covariance as that of a Student t with ``nu``.
    """
    length = np.linalg.norm(error, axis=-1)
    limit = 0.2 * torso_px(truth, joint_names)[:, None]
    measurable = np.where(np.isfinite(limit), length, np.nan)
    scale = covariance * (nu - 2) / nu
    inside = coverage(error, scale, nu, (0.5, 0.9, 0.95))
    return {
        "pck_02": pck(measurable, limit),
        "pck_01": pck(measurable, limit / 2),
        "error_px": float(np.nanmean(length)),
        "median_px": float(np.nanmedian(length)),
        "nll": float(np.nanmean(nll(error, scale, nu))),
        "ece": calibration_error(error, scale, nu),
        "coverage_50": float(inside[0]),
        "coverage_90": float(inside[1]),
        "coverage_95": float(inside[2]),
    }


def torso_px(xy: FloatArray, joint_names: tuple[str, ...]) -> FloatArray:  # (N, J, 2)
    """Return the longer diagonal of each torso: (N,) px, NaN where both lack a joint."""
    where = {name: index for index, name in enumerate(joint_names)}
    pairs = (("left_shoulder", "right_hip"), ("right_shoulder", "left_hip"))
    lengths = np.stack([np.linalg.norm(xy[:, where[a]] - xy[:, where[b]], axis=-1) for a, b in pairs])
    known: BoolArray = np.isfinite(lengths).any(axis=0)
    return np.where(known, np.where(np.isfinite(lengths), lengths, 0.0).max(axis=0), np.nan)
