"""Training of the person detector: boxes of all people in a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from inference.errors import InputError
from inference.perception.boxes import overlap, suppress
from inference.shapes import FloatArray

from ..networks.backbone import NetworkSettings
from ..networks.person import STRIDE, PersonNetwork, ShippedPersons
from ..picture_augmentation import PictureAugmentationSettings, changed
from ..sources import HELD_OUT_SEED, DataSettings, Source, held_out_settings, person_source, validation_batches
from ..trainer.settings import TrainingSettings
from ..trainer.task import Batch
from .keypoints import pictures, smoke_settings

OPERATING = 0.5  # score from which on a solve looks for a person


@dataclass(frozen=True)
class PersonLossSettings:
    """Weights of the parts of the loss."""

    centre: float = 1.0
    box: float = 0.5

    def __post_init__(self) -> None:
        if min(self.centre, self.box) < 0:
            raise InputError("[loss]: weights must not be negative")


class PersonTask:
    """See `trainer.task.Task`."""

    TABLES: ClassVar[Mapping[str, type]] = {
        "data": DataSettings,
        "augmentation": PictureAugmentationSettings,
        "network": NetworkSettings,
        "loss": PersonLossSettings,
    }

    def __init__(self, tables: Mapping[str, Any], seed: int) -> None:
        self.data: DataSettings = tables["data"]
        self._augmentation: PictureAugmentationSettings = tables["augmentation"]
        self._network: NetworkSettings = tables["network"]
        self._loss: PersonLossSettings = tables["loss"]
        self._seed = seed
        self._source: Source | None = None
        self._held_out: list[Batch] = []

    @classmethod
    def smoke(cls, tables: Mapping[str, Any], settings: TrainingSettings) -> tuple[Mapping[str, Any], TrainingSettings]:
        """Few small pictures of stick figures, seen again and again."""
        data = dataclasses.replace(
            tables["data"], source="stick_figures", cache="", size=(128, 128), views=12, validation_views=8, real=""
        )
        plain = PictureAugmentationSettings(mirror=0, zoom=0, shift=0, colour=0)
        return {**tables, "data": data, "augmentation": plain}, smoke_settings(settings)

    def model(self) -> PersonNetwork:
        """Build the network."""
        return PersonNetwork(self._network, self.data.size)

    def batch(self, first: int, count: int) -> Batch:
        """Make pictures with boxes and change them."""
        if self._source is None:  # made where it is used: with workers, in each of them
            self._source = person_source(self.data, self._seed)
        return changed(self._source(first, count), self._augmentation, self._seed + 1, first)

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum the focal loss of the middles (Zhou et al. 2019, equation 1) and 1 − GIoU of the boxes there."""
        output = model(pictures(batch))
        boxes = batch["boxes"]
        there = torch.isfinite(boxes).all(dim=-1)
        safe = torch.where(there[..., None], boxes, 0.0)
        centre = focal(output.logits, middles(safe, there, output.logits.shape[-2:]))
        predicted = boxes_at(safe, output.edges)
        apart = torch.where(there, 1 - generalised_overlap(predicted, safe + torch.eye(4, device=boxes.device)[2]), 0.0)
        box = apart.mean()  # over all places where somebody might be: the divisor does not depend on the data
        return self._loss.centre * centre + self._loss.box * box, {"centre": centre, "box": box}

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Measure average precision at half overlap, and the overlap of those found."""
        assert isinstance(model, PersonNetwork)
        shipped = ShippedPersons(model).eval()
        device = next(model.parameters()).device
        parts = []
        for batch in self.held_out():
            with torch.no_grad():
                corners, score = (part.cpu().double().numpy() for part in shipped(pictures(batch).to(device)))
            parts.append((corners, score, batch["boxes"].double().numpy()))
        corners, score, truth = (np.concatenate(part) for part in zip(*parts, strict=True))
        return person_scores(corners, score, truth)

    def held_out(self) -> list[Batch]:
        """Return the validation pictures in batches, made once."""
        if not self._held_out:
            source = person_source(held_out_settings(self.data), HELD_OUT_SEED, held_out=True)
            self._held_out = list(validation_batches(source, self.data.validation_views))
        return self._held_out


def middles(
    boxes: Tensor,  # (N, P, 4) px
    there: Tensor,  # (N, P) bool
    cells: torch.Size | tuple[int, int],  # (rows, columns)
) -> Tensor:
    """Return (N, rows, columns): 1 at the cell of each middle, falling off around it with the size of the box."""
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    column, row = cell_of(middle).unbind(dim=-1)
    size = (boxes[..., 2:] - boxes[..., :2]).clamp(min=STRIDE) / STRIDE
    sigma = (size / 10).clamp(min=0.4)
    x = torch.arange(cells[1], device=boxes.device) - column[..., None]
    y = torch.arange(cells[0], device=boxes.device) - row[..., None]
    across = torch.exp(-(x**2) / (2 * sigma[..., :1] ** 2))
    down = torch.exp(-(y**2) / (2 * sigma[..., 1:] ** 2))
    return (down[..., :, None] * across[..., None, :] * there[..., None, None]).amax(dim=1)


def cell_of(points: Tensor) -> Tensor:
    """Return (…, 2) column and row of the cell that holds each point."""
    return ((points + 0.5) / STRIDE).floor().long()


def focal(logits: Tensor, target: Tensor) -> Tensor:
    """Return the penalty-reduced focal loss per picture: cells near a middle count less as mistakes."""
    p = torch.sigmoid(logits.float()).clamp(1e-6, 1 - 1e-6)
    middle = (target > 0.999).float()
    hit = middle * (1 - p) ** 2 * p.log()
    false = (1 - middle) * (1 - target) ** 4 * p**2 * (1 - p).log()
    return -(hit + false).sum() / len(logits)


def boxes_at(truth: Tensor, edges: Tensor) -> Tensor:
    """Return the (N, P, 4) boxes that the network gives at the cells of the true middles."""
    rows, columns = edges.shape[-2:]
    cell = cell_of((truth[..., :2] + truth[..., 2:]) / 2)
    column, row = cell[..., 0].clamp(0, columns - 1), cell[..., 1].clamp(0, rows - 1)
    flat = edges.flatten(2).transpose(1, 2)
    there = torch.gather(flat, 1, (row * columns + column)[..., None].expand(-1, -1, 4))
    middle = torch.stack([column, row], dim=-1) * STRIDE + (STRIDE - 1) / 2
    return torch.cat([middle - there[..., :2], middle + there[..., 2:]], dim=-1)


def generalised_overlap(first: Tensor, second: Tensor) -> Tensor:
    """Return the GIoU (…) of boxes (…, 4): -1 far apart, 1 the same (Rezatofighi et al. 2019)."""
    low, high = torch.maximum(first[..., :2], second[..., :2]), torch.minimum(first[..., 2:], second[..., 2:])
    shared = (high - low).clamp(min=0).prod(dim=-1)
    union = sum((box[..., 2:] - box[..., :2]).clamp(min=0).prod(dim=-1) for box in (first, second)) - shared
    low, high = torch.minimum(first[..., :2], second[..., :2]), torch.maximum(first[..., 2:], second[..., 2:])
    around = (high - low).prod(dim=-1).clamp(min=1e-6)
    return shared / union.clamp(min=1e-6) - (around - union) / around


def person_scores(
    corners: FloatArray,  # (N, M, 4) px
    score: FloatArray,  # (N, M)
    truth: FloatArray,  # (N, P, 4) px, NaN where nobody is
) -> dict[str, float]:
    """Summarise boxes: average precision at half overlap, the mean overlap of those found, and both at score 0.5."""
    scores, correct, overlaps, people = _all_matched(corners, score, truth)
    sure = scores >= OPERATING
    return {
        "ap_50": average_precision(scores, correct, people),
        "overlap": float(overlaps[correct].mean()) if correct.any() else 0.0,
        "recall": float(correct[sure].sum() / people) if people else float("nan"),
        "precision": float(correct[sure].mean()) if sure.any() else float("nan"),
    }


def operating_score(
    corners: FloatArray,  # (N, M, 4) px
    score: FloatArray,  # (N, M)
    truth: FloatArray,  # (N, P, 4) px, NaN where nobody is
) -> float:
    """Return the score from which on recall and precision have the largest harmonic mean; `OPERATING` without a hit."""
    scores, correct, _, people = _all_matched(corners, score, truth)
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(correct[order])
    if not len(hits) or not hits[-1]:
        return OPERATING
    return float(scores[order][np.argmax(2 * hits / (people + np.arange(1, len(hits) + 1)))])


def _all_matched(
    corners: FloatArray, score: FloatArray, truth: FloatArray
) -> tuple[FloatArray, np.ndarray, FloatArray, int]:
    """Return score, hit and overlap of every box of every picture, and how many people there are."""
    scores, correct, overlaps, people = [], [], [], 0
    for found, sure, true in zip(corners, score, truth, strict=True):
        known = true[np.isfinite(true).all(axis=1)]
        people += len(known)
        hit, how_well, confidence = _matched(found, sure, known)
        scores.append(confidence)
        correct.append(hit)
        overlaps.append(how_well)
    return np.concatenate(scores), np.concatenate(correct), np.concatenate(overlaps), people


def average_precision(score: np.ndarray, correct: np.ndarray, people: int) -> float:
    """Return the area under precision over recall, precision made monotonous (Everingham et al. 2010)."""
    if not people:
        return float("nan")
    hits = correct[np.argsort(-score, kind="stable")].astype(float)
    recall = np.cumsum(hits) / people
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def _matched(corners: np.ndarray, score: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Match the best boxes of a picture to people, each person once: hit, overlap, score."""
    keep = np.flatnonzero(score > 0.01)
    keep = keep[np.argsort(-score[keep])][:50]
    keep = keep[suppress(corners[keep], score[keep])]
    hit, how_well = np.zeros(len(keep), bool), np.zeros(len(keep))
    if len(truth):
        shared = overlap(corners[keep], truth)
        taken: set[int] = set()
        for index in range(len(keep)):  # greedy by definition: surest first
            best = int(shared[index].argmax())
            how_well[index] = shared[index, best]
            hit[index] = how_well[index] >= 0.5 and best not in taken
            taken |= {best} if hit[index] else set()
    return hit, how_well, score[keep]
