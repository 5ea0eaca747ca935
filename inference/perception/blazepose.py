"""BlazePose: person boxes from anchors, aligned regions, 33 landmarks with heatmaps.

Bazarevsky et al. 2020 (arXiv 2006.10204); anchors, units and activations from the model cards and graphs
that Google publishes with the networks under Apache-2.0.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import expit

from ..errors import ModelError
from ..layouts import layout
from ..shapes import FloatArray, check_shapes
from .boxes import Boxes, overlap
from .card import ModelCard
from .crop import Region, image_from_cells, transform_covariance, transform_points
from .heatmap import fit_gaussians
from .keypoints import CropKeypoints, crop_keypoints

STRIDES = (8, 16, 32, 32, 32)  # px, of the detector's layers; two anchors per cell and layer
_MAX_OVERLAP = 0.3  # of boxes of one person
# Of the circle around the body. Google's graphs use 1.25; at 1.125 the joints are larger in the crop and the
# reprojection error of four real views falls from 9.2 to 7.9 px. At 1.0 limbs leave the crop and tracks are lost.
_ENLARGE = 1.125
_AUXILIARY = (33, 34)  # landmarks that say where to look next: middle of the hips, top of the body's circle
_LANDMARKS = 39
_UNSURE = 1 / 8  # of the crop: standard deviation of a landmark whose heatmap has no peak


def anchors(image_size: int) -> FloatArray:
    """Return the (N, 2) centres of the detector's anchors, in parts of its input.

    All anchors have size 1; layers of one stride share their cells, in order row, column, anchor.
    """
    parts = []
    for stride in sorted(set(STRIDES)):
        cells = -(-image_size // stride)
        per_cell = 2 * STRIDES.count(stride)
        y, x = np.meshgrid(np.arange(cells), np.arange(cells), indexing="ij")
        centres = (np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) / cells
        parts.append(np.repeat(centres, per_cell, axis=0))
    return np.concatenate(parts)


def decode_person_boxes(card: ModelCard, outputs: dict[str, FloatArray], min_score: float) -> Boxes:
    """Decode the person detector's outputs for one picture.

    Convention:
        pixels of the network's input (centre of the first is 0). The box is the head's; the body is given by
        ``axis``: the middle of the hips and the top of the circle around the whole body.

    Args:
        card: with the tensor names ``boxes`` (1, N, 12) and ``scores`` (1, N, 1).
        outputs: of the network, by tensor name.
        min_score: boxes below it are left out.

    Raises:
        ModelError: the outputs do not fit the card.
    """
    width, height = card.input.size
    centres = anchors(width)
    raw = outputs[card.outputs["boxes"]].astype(np.float64)
    logits = outputs[card.outputs["scores"]].astype(np.float64)
    if raw.shape != (1, len(centres), 12) or logits.size != len(centres) or width != height:
        raise ModelError(
            f"{card.path.name}: boxes {raw.shape} and scores {logits.shape} do not fit {len(centres)} anchors"
        )
    score = expit(logits.reshape(-1))
    keep = np.flatnonzero(score >= min_score)
    keep = keep[np.argsort(-score[keep], kind="stable")]
    values = raw[0, keep].reshape(-1, 6, 2)
    values[:, (0, 2, 3, 4, 5)] += (centres[keep] * width)[:, None] - 0.5
    corners = np.concatenate([values[:, 0] - values[:, 1] / 2, values[:, 0] + values[:, 1] / 2], axis=1)
    return _merge(corners, score[keep], values[:, 2:4])


def _merge(corners: FloatArray, score: FloatArray, axis: FloatArray) -> Boxes:
    """Replace each group of overlapping boxes by their mean, weighted by score (best first on entry)."""
    same = overlap(corners, corners) > _MAX_OVERLAP
    left = np.ones(len(score), dtype=bool)
    merged = []
    while left.any():
        best = int(left.argmax())
        group = left & same[best]
        group[best] = True
        weight = score[group] / score[group].sum()
        merged.append((weight @ corners[group], score[best], np.tensordot(weight, axis[group], 1)))
        left &= ~group
    if not merged:
        return Boxes(np.zeros((0, 4)), np.zeros(0), np.zeros((0, 2, 2)))
    return Boxes(*(np.stack(part) for part in zip(*merged, strict=True)))


def aligned_region(
    axis: FloatArray,  # (2, 2) px: middle of the hips, top of the circle around the body
) -> Region:
    """Return the square region around a body, turned so that the axis points up in it."""
    check_shapes(axis=(axis, "2 2"))
    away = axis[1] - axis[0]
    side = 2 * float(np.hypot(*away)) * _ENLARGE
    angle = float(np.arctan2(away[1], away[0]) + np.pi / 2)
    return Region((float(axis[0, 0]), float(axis[0, 1])), (side, side), angle)


def decode_landmarks(card: ModelCard, outputs: dict[str, FloatArray]) -> CropKeypoints:
    """Decode the landmark network's outputs for N crops.

    Position and covariance come from the Gaussian fitted to the landmark's heatmap; a landmark whose map has
    no peak keeps the regressed position with the covariance of somewhere around it. Measured on four views
    of a balancing man, heatmap against regression: reprojection error of the joints 8.7 against 10.6 px,
    distance from OpenPose's detections 13.3 against 18.2 px.

    Convention:
        pixels of the network's input (centre of the first is 0). Regressed values count from the input's
        edge, and cell i of the heatmaps means 4 i counted from there too: on mirrored pictures the two are
        0.5 px and 2.0 px away from the centre convention. The score is the lower of the network's visibility
        and presence of the landmark.

    Args:
        card: with the tensor names ``landmarks`` (N, 195), ``heatmaps`` (N, h, w, 39), ``presence`` (N, 1).
        outputs: of the network, by tensor name.

    Returns:
        The 33 landmarks, with the axis for `aligned_region` in the next frame.

    Raises:
        ModelError: the outputs do not fit the card.
    """
    landmarks = outputs[card.outputs["landmarks"]].astype(np.float64)
    heatmaps = outputs[card.outputs["heatmaps"]]
    count = len(landmarks)
    if landmarks.size != count * _LANDMARKS * 5 or heatmaps.ndim != 4 or heatmaps.shape[-1] != _LANDMARKS:
        raise ModelError(f"{card.path.name}: outputs {landmarks.shape}, {heatmaps.shape} are not BlazePose's landmarks")
    landmarks = landmarks.reshape(count, _LANDMARKS, 5)
    regressed = landmarks[..., :2] - 0.5
    joints = len(layout(card.layout).joint_names)
    xy, covariance = _from_heatmaps(card, heatmaps[..., :joints])
    unsure = np.isnan(xy).any(axis=-1)
    xy = np.where(unsure[..., None], regressed[:, :joints], xy)
    covariance = np.where(unsure[..., None, None], (_UNSURE * card.input.size[0]) ** 2 * np.eye(2), covariance)
    score = expit(landmarks[:, :joints, 3:5].min(axis=-1))
    presence = outputs[card.outputs["presence"]].reshape(count).astype(np.float64)
    return replace(crop_keypoints(xy, covariance, score), person_score=presence, axis=regressed[:, _AUXILIARY])


def _from_heatmaps(card: ModelCard, logits: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return mean (N, J, 2) px and covariance (N, J, 2, 2) px², NaN where a map has no peak."""
    count, rows, columns, joints = logits.shape
    maps = expit(np.ascontiguousarray(np.moveaxis(logits, -1, 1))).reshape(-1, rows, columns)
    fit = fit_gaussians(maps)
    crop_from_cells = image_from_cells((columns, rows), card.input.size, "index")
    mean = transform_points(crop_from_cells, fit.mean) - 0.5
    spread = transform_covariance(crop_from_cells, fit.covariance)
    return mean.reshape(count, joints, 2), spread.reshape(count, joints, 2, 2)
