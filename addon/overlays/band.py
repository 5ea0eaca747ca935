"""A band of sigma over time at the bottom of the timeline and the dope sheet, with the spans of doubt above it."""
# pyright: reportGeneralTypeIssues=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

import math

import bpy
import gpu
import numpy as np

from ...inference.shapes import FloatArray, IntArray
from ..host.uncertainty import MISSING, band_doubt, band_sigma, colours, pooled
from .painting import blending, face_batch
from .shown import ShownTake, shown_takes

_HEIGHT_PX, _MARK_PX, _FOOT_PX = 7.0, 4.0, 18.0  # the band, the marks above it, the scroll bar below
_LOW_PX = 90.0  # a timeline less high shows no scroll bar
_WEAK, _LOST = (1.0, 1.0, 1.0, 0.75), (1.0, 0.2, 0.2, 1.0)
_BATCHES: dict[tuple[object, ...], tuple[object, gpu.types.GPUBatch]] = {}


def draw_band(context: bpy.types.Context) -> None:
    """Draw the band of every take, one above the other; a hidden one, as that of a preview, would cover the frames."""
    view = context.region.view2d
    left = view.view_to_region(0.0, 0.0, clip=False)[0]
    per_frame = (view.view_to_region(1000.0, 0.0, clip=False)[0] - left) / 1000.0
    if per_frame <= 0:
        return
    count = 2 ** max(0, math.ceil(-math.log2(per_frame)))  # so many frames share a pixel
    middle = context.scene.sightline.overlay.band_of == "MEDIAN"
    scale = context.preferences.system.ui_scale
    foot = (_FOOT_PX if context.region.height > _LOW_PX * scale else 1.0) * scale
    for number, shown in enumerate(one for one in shown_takes(context.scene) if not one.home.hide_viewport):
        batch = _batch(shown, middle, count)
        with blending(), gpu.matrix.push_pop():
            height = (_HEIGHT_PX + _MARK_PX + 3) * scale
            gpu.matrix.translate((left + (shown.start - 0.5) * per_frame, foot + number * height))
            gpu.matrix.scale((per_frame, scale))
            batch.draw(gpu.shader.from_builtin("SMOOTH_COLOR"))
    if len(_BATCHES) > 16:
        _BATCHES.clear()


def _batch(shown: ShownTake, middle: bool, count: int) -> gpu.types.GPUBatch:
    """Return the faces of a take's band, made once for a solve and a zoom."""
    key = (shown.take, middle, count)
    before = _BATCHES.get(key)
    if before is not None and before[0] is shown.data:
        return before[1]
    batch = face_batch(*band_faces(shown, middle, count))
    _BATCHES[key] = shown.data, batch
    return batch


def band_faces(shown: ShownTake, middle: bool, count: int) -> tuple[FloatArray, FloatArray, IntArray]:
    """Return points (N, 2) in frames from the start and px from the foot, colours (N, 4), triangles (M, 3).

    Convention:
        ``count`` neighbouring frames share a cell, which shows the worst of them.
    """
    sigma = pooled(band_sigma(shown.data, middle), count)
    doubt = pooled(band_doubt(shown.data), count)
    edges = np.minimum(np.arange(len(sigma) + 1) * count, len(shown.data.sigma)).astype(float)
    cells = _boxes(edges, 0.0, _HEIGHT_PX)
    marked = np.flatnonzero(doubt)
    marks = _boxes(edges, _HEIGHT_PX + 1, _HEIGHT_PX + 1 + _MARK_PX)[marked]
    back = _boxes(edges[[0, -1]], -1.0, _HEIGHT_PX + 2 + _MARK_PX)
    tints = np.where((doubt[marked] > 1)[:, None], _LOST, _WEAK)
    colour = np.concatenate(
        [[(0.05, 0.05, 0.05, 0.7)], np.where(np.isfinite(sigma)[:, None], colours(sigma), MISSING), tints]
    )
    points = np.concatenate([back, cells, marks])
    first = 4 * np.arange(len(points))[:, None]
    triangles = np.concatenate([first + [0, 1, 2], first + [0, 2, 3]])
    order = np.arange(len(points)).repeat(2).reshape(-1, 2) + [0, len(points)]
    return points.reshape(-1, 2), np.repeat(colour, 4, axis=0), triangles[order.ravel()]


def _boxes(edges: FloatArray, low: float, high: float) -> FloatArray:
    """(N, 4, 2) corners of the boxes between neighbouring edges."""
    left, right = edges[:-1], edges[1:]
    x = np.stack([left, right, right, left], axis=-1)
    y = np.broadcast_to([low, low, high, high], x.shape)
    return np.stack([x, y], axis=-1)


def forget() -> None:
    """Drop what was made for the graphics card."""
    _BATCHES.clear()
