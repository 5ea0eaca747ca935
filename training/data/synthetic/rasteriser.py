"""A batched triangle rasteriser in plain PyTorch, the same on every device.

Every triangle is expanded to the pixels of its bounding box; a pixel keeps the smallest 64-bit key of depth and
triangle, by ``scatter_reduce``. No order of execution matters, so a run can be repeated exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_NEAR_M = 0.05
_DEPTH_STEPS = 2.0**20  # of the key, per metre
_BLOCK = 1 << 20  # pixels of bounding boxes at a time: what they need stays small
_EMPTY = torch.iinfo(torch.int64).max


@dataclass(frozen=True, eq=False)
class Fragments:
    """What is seen: the nearest triangle's point in each covered pixel of N pictures.

    ``pixel`` counts through pictures, rows and columns: ``(n · height + v) · width + u``.
    """

    size: tuple[int, int]  # (width, height)
    pixel: Tensor  # (M,) int64, rising
    triangle: Tensor  # (M,) int64
    weights: Tensor  # (M, 3) of the triangle's corners, perspective-correct, sum 1
    depth: Tensor  # (M,) m along the optical axis

    def interpolate(self, triangles: Tensor, values: Tensor) -> Tensor:
        """Return (M, C) values at the points, from values (V, C) at the vertices of triangles (F, 3)."""
        corners = triangles[self.triangle]
        result = values[corners[:, 0]] * self.weights[:, 0:1]
        result.addcmul_(values[corners[:, 1]], self.weights[:, 1:2])
        return result.addcmul_(values[corners[:, 2]], self.weights[:, 2:3])


def rasterise(
    points: Tensor,  # (V, 3) px, px, m: pixel coordinates and depth of every vertex of every picture
    triangles: Tensor,  # (F, 3) int64
    pictures: Tensor,  # (F,) int64, the picture of each triangle
    count: int,
    size: tuple[int, int],
) -> Fragments:
    """Find the nearest triangle in every pixel of ``count`` pictures.

    Convention:
        pixel centres at whole numbers. Only triangles whose outside faces the camera are drawn: their corners turn
        clockwise in pixel coordinates, where v points down. Triangles with a corner nearer than 5 cm, or with a
        coordinate that is not finite, are left out. Where two are equally deep the earlier one is seen.

    Args:
        points: of all pictures together.
        triangles: over ``points``.
        pictures: which picture each triangle belongs to.
        count: of pictures.
        size: (width, height) px of each picture.
    """
    width, height = size
    x, y, z = (points[:, axis][triangles] for axis in range(3))  # (F, 3) each
    area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
    low_x, low_y = x.amin(1).ceil().clamp(min=0), y.amin(1).ceil().clamp(min=0)
    high_x, high_y = x.amax(1).floor().clamp(max=width - 1), y.amax(1).floor().clamp(max=height - 1)
    drawn = (area < 0) & (low_x <= high_x) & (low_y <= high_y) & (z.amin(1) > _NEAR_M)
    chosen = drawn.nonzero()[:, 0]  # what is not finite compares as false
    if not len(chosen):
        none = torch.zeros(0, dtype=torch.int64, device=points.device)
        return Fragments(size, none, none, points.new_zeros(0, 3), points.new_zeros(0))
    x, y, z = x[chosen], y[chosen], z[chosen]
    origin = torch.stack([low_x[chosen], low_y[chosen]], dim=1)
    columns = (high_x[chosen] - origin[:, 0]).long() + 1
    rows = (high_y[chosen] - origin[:, 1]).long() + 1
    planes = _planes(x - origin[:, :1], y - origin[:, 1:], z, area[chosen])
    start = (pictures[chosen] * height + origin[:, 1].long()) * width + origin[:, 0].long()
    keys = torch.full((count * height * width,), _EMPTY, dtype=torch.int64, device=points.device)
    _draw(keys, planes, (columns, rows, start), width)
    pixel = (keys != _EMPTY).nonzero()[:, 0]
    nearest = keys[pixel] & 0xFFFFFFFF
    return _fragments(pixel, nearest, chosen, (planes, z, start), size)


def _planes(x: Tensor, y: Tensor, z: Tensor, area: Tensor) -> Tensor:
    """(F, 9) coefficients of u, v, 1 for two barycentric weights and for the inverse depth."""
    second = torch.stack([y[:, 2] - y[:, 0], x[:, 0] - x[:, 2], x[:, 2] * y[:, 0] - x[:, 0] * y[:, 2]], dim=1)
    third = torch.stack([y[:, 0] - y[:, 1], x[:, 1] - x[:, 0], x[:, 0] * y[:, 1] - x[:, 1] * y[:, 0]], dim=1)
    second, third = second / area[:, None], third / area[:, None]
    inverse = 1 / z
    depth = (inverse[:, 1:2] - inverse[:, :1]) * second + (inverse[:, 2:] - inverse[:, :1]) * third
    depth[:, 2] += inverse[:, 0]
    return torch.cat([second, third, depth], dim=1)


def _draw(keys: Tensor, planes: Tensor, boxes: tuple[Tensor, Tensor, Tensor], width: int) -> None:
    """Put the keys of all triangles into the picture, block by block."""
    columns, rows, start = boxes
    ends = (columns * rows).cumsum(0)
    total, first = int(ends[-1]), 0
    marks = torch.searchsorted(ends, torch.arange(_BLOCK, total + _BLOCK, _BLOCK, device=keys.device)).tolist()
    for mark in marks:
        last = min(mark + 1, len(ends))
        if last > first:
            part = slice(first, last)
            _draw_block(keys, planes[part], (columns[part], rows[part], start[part]), first, width)
        first = last


def _draw_block(keys: Tensor, planes: Tensor, boxes: tuple[Tensor, Tensor, Tensor], first: int, width: int) -> None:
    columns, rows, start = boxes
    amount = columns * rows
    before = amount.cumsum(0) - amount
    triangle = torch.repeat_interleave(amount)
    place = torch.arange(len(triangle), device=keys.device) - before[triangle]
    wide = columns[triangle]
    v = torch.div(place, wide, rounding_mode="floor")
    u = place - v * wide
    uf, vf = u.to(planes.dtype), v.to(planes.dtype)
    a = planes[triangle]
    second = a[:, 0] * uf + a[:, 1] * vf + a[:, 2]
    third = a[:, 3] * uf + a[:, 4] * vf + a[:, 5]
    inside = ((second >= 0) & (third >= 0) & (second + third <= 1)).nonzero()[:, 0]
    a, triangle = a[inside], triangle[inside]
    depth = 1 / (a[:, 6] * uf[inside] + a[:, 7] * vf[inside] + a[:, 8])
    key = ((depth * _DEPTH_STEPS).long() << 32) | (triangle + first)
    keys.scatter_reduce_(0, start[triangle] + v[inside] * width + u[inside], key, "amin")


def _fragments(
    pixel: Tensor, nearest: Tensor, chosen: Tensor, drawn: tuple[Tensor, Tensor, Tensor], size: tuple[int, int]
) -> Fragments:
    planes, z, start = drawn
    a, z = planes[nearest], z[nearest]
    offset = pixel - start[nearest]  # rows below the box's corner, times width, plus columns beside it
    left = start[nearest] % size[0]
    v = torch.div(offset + left, size[0], rounding_mode="floor")
    u = offset - v * size[0]
    uf, vf = u.to(a.dtype), v.to(a.dtype)
    second = a[:, 0] * uf + a[:, 1] * vf + a[:, 2]
    third = a[:, 3] * uf + a[:, 4] * vf + a[:, 5]
    weights = torch.stack([1 - second - third, second, third], dim=1) / z
    total = weights.sum(dim=1, keepdim=True)
    return Fragments(size, pixel, chosen[nearest], weights / total, 1 / total[:, 0])
