"""Where people are in an image: boxes from a network, and the suppression of repeated ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import ModelError
from ..shapes import BoolArray, FloatArray, IntArray, check_shapes
from .card import ModelCard


@dataclass(frozen=True, eq=False)
class Boxes:
    """People found in one picture, in pixels of the network's input, best first."""

    corners: FloatArray  # (N, 4) x1, y1, x2, y2
    score: FloatArray  # (N,) 0–1
    axis: FloatArray  # (N, 2, 2) points that the body is aligned by: middle of the hips, top of its circle; or NaN


def decode_boxes(card: ModelCard, outputs: dict[str, FloatArray], min_score: float) -> Boxes:
    """Decode a plain box detector's outputs for one picture.

    Convention:
        ``boxes`` is (1, N, 4): x1, y1, x2, y2 in pixels of the network's input; ``scores`` is (1, N) or
        (1, N, C) with the person as the first class.

    Args:
        card: with the tensor names.
        outputs: of the network, by tensor name.
        min_score: boxes below it are left out.

    Raises:
        ModelError: the outputs do not fit the card.
    """
    corners = outputs[card.outputs["boxes"]].astype(np.float64)
    score = outputs[card.outputs["scores"]].astype(np.float64)
    if corners.ndim != 3 or corners.shape[-1] != 4 or score.shape[:2] != corners.shape[:2]:
        raise ModelError(
            f"{card.path.name}: boxes {corners.shape} must be (1, N, 4), and scores {score.shape} (1, N) or (1, N, C)"
        )
    corners, score = corners[0], score[0].reshape(len(corners[0]), -1)[:, 0]
    keep = np.flatnonzero((score >= min_score) & np.isfinite(corners).all(axis=1))
    keep = keep[suppress(corners[keep], score[keep])]
    return Boxes(corners[keep], score[keep], np.full((len(keep), 2, 2), np.nan))


def overlap(
    first: FloatArray,  # (N, 4) x1, y1, x2, y2
    second: FloatArray,  # (M, 4)
) -> FloatArray:
    """Return the (N, M) intersection over union of boxes; 0 where both are empty."""
    check_shapes(first=(first, "N 4"), second=(second, "M 4"))
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.maximum(high - low, 0.0).prod(axis=-1)
    area_first = np.maximum(first[:, 2:] - first[:, :2], 0.0).prod(axis=-1)
    area_second = np.maximum(second[:, 2:] - second[:, :2], 0.0).prod(axis=-1)
    union = area_first[:, None] + area_second[None] - shared
    return np.where(union > 0, shared / np.where(union > 0, union, 1.0), 0.0)


def suppress(
    corners: FloatArray,  # (N, 4)
    score: FloatArray,  # (N,)
    max_overlap: float = 0.45,
) -> IntArray:
    """Return indices of the boxes that no better box overlaps more than max_overlap, best first."""
    order = np.argsort(-score, kind="stable")
    return order[first_of_each(overlap(corners[order], corners[order]) > max_overlap)]


def first_of_each(
    same: BoolArray,  # (N, N) whether two candidates, best first, are one person
) -> IntArray:
    """Return indices of the candidates that no kept earlier one is the same as."""
    kept: list[int] = []
    for index in range(len(same)):  # greedy by nature: a candidate's fate hangs on those kept before it
        if not same[index, kept].any():
            kept.append(index)
    return np.array(kept, dtype=np.int64)
