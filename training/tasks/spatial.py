"""Training of spatial uncertainty: the likelihood of several labellers' 2D labels under a 3D distribution."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from inference.errors import InputError
from inference.shapes import FloatArray

from ..calibration_metrics import calibration_error, coverage, nll, nll_in_other_unit, sharpness
from ..losses import gaussian_heatmap, image_factor, jensen_shannon, student_loss, student_nll
from ..multi_view import JOINT_NAMES, LABELLERS_PX, Rig, multi_view_samples
from ..networks.spatial import SpatialNetwork, SpatialOutput, SpatialSettings
from ..sources import HELD_OUT_SEED, Source
from ..stick_figures import solid_poses
from ..trainer.checkpoint import FILE, read_checkpoint
from ..trainer.settings import TrainingSettings
from ..trainer.task import Batch
from ..triangulation import project_points
from ..view_cache import cached

_POSES = 20_000
_SIGMA_CELLS = 1.0  # of the heatmaps' targets


@dataclass(frozen=True)
class MultiViewSettings:
    """Which simulated views are seen."""

    rig: str = "random"
    views: int = 4  # of a random rig, at most
    size: tuple[int, int] = (64, 64)
    samples: int = 0  # different sets of views that are made; 0 = a new one every time
    cache: str = ""  # folder that keeps ``samples`` sets once they are made; "" = none
    validation_samples: int = 128
    start: str = ""  # folder of a run of this system whose views' network training begins from

    def __post_init__(self) -> None:
        Rig(self.rig, self.views)
        if min(self.size) < 32 or any(edge % 32 for edge in self.size):
            raise InputError(f"[data]: size = {list(self.size)} must be two multiples of 32")
        if self.validation_samples < 1 or self.samples < 0 or bool(self.cache) != bool(self.samples):
            raise InputError("[data]: validation_samples must be above 0; cache and samples go together")


@dataclass(frozen=True)
class SpatialLossSettings:
    """Weights of the parts of the loss."""

    shape: float = 1.0  # divergence of heatmaps from Gaussians at the labels' median
    view: float = 0.1  # likelihood of labels under each view's own Student t; fused alone
    space: float = 0.1  # likelihood of labels under the projected Student t in space
    labellers: float = 0.1  # likelihood of what labellers say differently: tells their noise from ours
    label_noise: bool = True  # false: the labels' noise counts as ours, as in the paper

    def __post_init__(self) -> None:
        if min(self.shape, self.view, self.space, self.labellers) < 0:
            raise InputError("[loss]: weights must not be negative")


class SpatialTask:
    """See `trainer.task.Task`."""

    TABLES: ClassVar[Mapping[str, type]] = {
        "data": MultiViewSettings,
        "network": SpatialSettings,
        "loss": SpatialLossSettings,
    }

    def __init__(self, tables: Mapping[str, Any], seed: int) -> None:
        self.data: MultiViewSettings = tables["data"]
        self._network: SpatialSettings = tables["network"]
        self._loss: SpatialLossSettings = tables["loss"]
        self._seed = seed
        self._source: Source | None = None

    @classmethod
    def smoke(cls, tables: Mapping[str, Any], settings: TrainingSettings) -> tuple[Mapping[str, Any], TrainingSettings]:
        """Two views of few figures, for a few steps."""
        data = dataclasses.replace(tables["data"], views=2, validation_samples=8, start="", samples=0, cache="")
        return {**tables, "data": data}, dataclasses.replace(
            settings,
            steps=40,
            batch_size=4,
            warmup_steps=5,
            learning_rate=3e-3,
            validate_every=0,
            log_every=5,
            workers=0,
        )

    def model(self) -> SpatialNetwork:
        """Build the network, its views' part from another run where one is named."""
        model = SpatialNetwork(self._network, len(JOINT_NAMES), self.data.size, len(LABELLERS_PX))
        if self.data.start:
            start_from(model, Path(self.data.start))
        return model

    def batch(self, first: int, count: int) -> Batch:
        """Draw views and labels."""
        if self._source is None:
            source = self.source(Rig(self.data.rig, self.data.views), held_out=False)
            self._source = self._kept(source) if self.data.cache else source
        return self._source(first, count)

    def _kept(self, source: Source) -> Source:
        rig, size = f"{self.data.rig}{self.data.views}", "x".join(str(edge) for edge in self.data.size)
        return cached(source, Path(self.data.cache) / f"views_{rig}_{size}_{self._seed}", self.data.samples)

    def source(self, rig: Rig, held_out: bool) -> Source:
        """Return what makes samples of a rig, with poses of training or with others."""
        seed = HELD_OUT_SEED if held_out else self._seed
        return multi_view_samples(solid_poses(_POSES // (20 if held_out else 1), seed), rig, self.data.size, seed)

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Weigh the parts; every part is a mean over labels."""
        image = batch["image"].float() / 255
        output: SpatialOutput = model(image, batch["projection"], batch["seen"], batch["centre"])
        noise = output.label_px if self._loss.label_noise else torch.full_like(output.label_px, 0.05)
        parts = {
            "shape": shape_loss(output, batch["labels"], self.data.size),
            "space": space_loss(output, batch, noise),
            "labellers": labeller_loss(batch["labels"], output.label_px),
        }
        if self._network.mode == "fused":
            parts["view"] = view_loss(output, batch["labels"], noise)
        weights = dataclasses.asdict(self._loss)
        total = torch.stack([weights[name] * part.float() for name, part in parts.items()]).sum()
        return total, parts

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Measure errors in space and whether the scale matrices are true, on samples that training never sees."""
        assert isinstance(model, SpatialNetwork)
        source = self.source(Rig(self.data.rig, self.data.views), held_out=True)
        return spatial_scores(judged(model, source, self.data.validation_samples))


def start_from(model: SpatialNetwork, folder: Path) -> None:
    """Take the averaged weights of the views' network from another run.

    Raises:
        InputError: there is no checkpoint, or its views' network is another one.
    """
    weights = read_checkpoint(folder / FILE).part("ema")
    own = {name: value for name, value in weights.items() if name.startswith("views.")}
    mine = {name: value for name, value in model.state_dict().items() if name.startswith("views.")}
    if {name: value.shape for name, value in own.items()} != {name: value.shape for name, value in mine.items()}:
        raise InputError(
            f"[data]: start = {str(folder)!r} holds another network of the views: use that run's [network]"
        )
    model.load_state_dict(own, strict=False)


def shape_loss(output: SpatialOutput, labels: Tensor, size: tuple[int, int]) -> Tensor:
    """Divergence of each heatmap from a Gaussian at the median of the labels."""
    middle = labels.nanmedian(dim=1).values
    columns, rows = output.heatmaps.shape[-1], output.heatmaps.shape[-2]
    known = torch.isfinite(middle).all(dim=-1)
    cells = (torch.where(known[..., None], middle, 0.0) + 0.5) * (columns / size[0]) - 0.5
    limit = torch.tensor([columns - 1.0, rows - 1.0], device=cells.device)
    target = gaussian_heatmap(torch.minimum(cells.clamp(min=0), limit), (columns, rows), _SIGMA_CELLS)
    return (jensen_shannon(output.heatmaps, target) * known).mean()


def view_loss(output: SpatialOutput, labels: Tensor, label_px: Tensor) -> Tensor:
    """Likelihood of every label under its view's own Student t, widened by the labeller's noise."""
    eye = torch.eye(2, device=labels.device)
    factor = image_factor(output.view_factor[:, None], eye, label_px.detach()[None, :, None])
    return student_loss(labels - output.xy[:, None], factor, output.view_nu, torch.isfinite(labels).all(dim=-1))


def space_loss(output: SpatialOutput, batch: Batch, label_px: Tensor) -> Tensor:
    """Likelihood of every label under the projection of its joint's Student t in space."""
    labels = batch["labels"]
    uv, jacobian, _ = project_points(batch["projection"].double(), output.xyz)
    factor = image_factor(jacobian[:, None], output.root[:, None, None], label_px.detach()[None, :, None].double())
    seen = torch.isfinite(labels).all(dim=-1) & output.determined[:, None, None]
    nu = output.nu[:, None, None].expand(seen.shape)
    return student_loss(labels.double() - uv[:, None], factor, nu, seen)


def labeller_loss(labels: Tensor, label_px: Tensor) -> Tensor:
    """Likelihood of the differences between labellers; it knows nothing of the network, and tells s from Σ.

    Labels share the truth, so their differences hold their noise alone. Two labellers give the sum of their variances
    only; three or more give each its own. A labeller on its own says nothing of its noise.
    """
    values = []
    for a in range(labels.shape[1]):
        for b in range(a):
            both = torch.isfinite(labels[:, a]).all(dim=-1) & torch.isfinite(labels[:, b]).all(dim=-1)
            sigma = (label_px[a] ** 2 + label_px[b] ** 2).sqrt()
            factor = (sigma[:, None, None] * torch.eye(2, device=labels.device)).expand(*both.shape, 2, 2)
            values.append(student_loss(labels[:, a] - labels[:, b], factor, 5.0, both))
    return torch.stack(values).mean() if values else label_px.sum() * 0


@dataclass(frozen=True, eq=False)
class Judged:
    """Errors of joints in space with their scale matrices; NaN where a joint was refused."""

    error: FloatArray  # (N, J, 3) m
    scale: FloatArray  # (N, J, 3, 3) m²
    nu: FloatArray  # (N,)
    left_out: FloatArray  # (M,) nats per label of a view that the fusion did not see


def judged(model: SpatialNetwork, source: Source, samples: int, size: int = 16) -> Judged:
    """Run a network over the first samples of a source."""
    device, parts = next(model.parameters()).device, []
    for first in range(0, samples, size):
        batch = {key: value.to(device) for key, value in source(first, min(size, samples - first)).items()}
        with torch.no_grad():
            output = estimated(model, batch)
            left_out = left_out_nll(model, batch)
        good = output.good[..., None]
        error = torch.where(good, output.xyz - batch["xyz"], torch.nan)
        scale = torch.where(good[..., None], output.root @ output.root.mT, torch.nan)
        parts.append([each.double().cpu().numpy() for each in (error, scale, output.nu[:, 0], left_out)])
    return Judged(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def estimated(model: SpatialNetwork, batch: Batch) -> SpatialOutput:
    """Run the network over a batch."""
    return model(batch["image"].float() / 255, batch["projection"], batch["seen"], batch["centre"])


def left_out_nll(model: SpatialNetwork, batch: Batch) -> Tensor:
    """Return nats (M,) of the labels of each sample's last view under what the others say; none where two are left.

    What is both mean and label has no error to learn from; a view that took no part has.
    """
    last = batch["seen"].sum(dim=1) - 1
    enough = last >= 2
    rest = {key: value[enough] for key, value in batch.items()}
    if not len(rest["seen"]):
        return batch["xyz"].new_zeros(0)
    held = nn.functional.one_hot(last[enough], batch["seen"].shape[1]).bool()
    output = estimated(model, {**rest, "seen": rest["seen"] & ~held})
    labels = rest["labels"].transpose(1, 2)[held]
    uv, jacobian, _ = project_points(rest["projection"].double()[held][:, None], output.xyz)
    factor = image_factor(jacobian, output.root[:, None], output.label_px[None].double())
    values = student_nll(labels.double() - uv, factor, output.nu[:, None])
    return values[torch.isfinite(values) & output.good[:, None].expand_as(values)]


def spatial_scores(found: Judged) -> dict[str, float]:
    """Summarise errors and calibration: mm; NLL in nats of 1/mm³; coverage as shares of the joints not refused.

    ``sharpness_mm`` is the geometric mean axis of the covariance, so that Student t and Gaussian compare. Where every
    joint is refused there is ``good`` = 0 alone.
    """
    length = 1000 * np.linalg.norm(found.error, axis=-1)
    if not np.isfinite(length).any():
        return {"good": 0.0}
    inside, eces, nats, sharp, weights = [], [], [], [], []
    for nu in np.unique(found.nu):
        rows = (found.nu == nu) & np.isfinite(length).any(axis=1)
        if not rows.any():
            continue
        weights.append(int(np.isfinite(length[rows]).sum()))
        error, scale = found.error[rows], found.scale[rows]
        inside.append(coverage(error, scale, nu, (0.5, 0.9, 0.95)))
        eces.append(calibration_error(error, scale, nu))
        nats.append(np.nanmean(nll_in_other_unit(nll(error, scale, nu), 3, 1000.0)))
        sharp.append(np.nanmedian(1000 * sharpness(scale * (1.0 if np.isinf(nu) else nu / (nu - 2)))))
    share = np.average(np.array(inside), axis=0, weights=weights)
    return {
        "error_mm": float(np.nanmean(length)),
        "median_mm": float(np.nanmedian(length)),
        "good": float(np.isfinite(length).mean()),
        **{f"coverage_{level}": float(value) for level, value in zip((50, 90, 95), share, strict=True)},
        "ece": float(np.average(eces, weights=weights)),
        "nll": float(np.average(nats, weights=weights)),
        "sharpness_mm": float(np.average(sharp, weights=weights)),
        **({"left_out_nll": float(found.left_out.mean())} if len(found.left_out) else {}),
    }
