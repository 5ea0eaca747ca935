"""Points of a scene that somebody measured, and where each view shows them: one CSV table.

name,x_m,y_m,z_m,cam01_u,cam01_v,cam02_u,cam02_v
door_top,0.000,2.310,2.050,812.5,240.0,,
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..shapes import FloatArray
from .keypoint_csv import csv_rows
from .toml_text import read_text

_HEAD = ("name", "x_m", "y_m", "z_m")
_FARTHEST_M, _LARGEST_PX = 1000.0, 1e6
_MOST_POINTS = 10_000


@dataclass(frozen=True, eq=False)
class ScenePoints:
    """N measured points and their pixels in the views."""

    names: tuple[str, ...]
    xyz: FloatArray  # (N, 3) m
    pixels: dict[str, FloatArray]  # by view: (N, 2) px, NaN where the view does not show the point


def read_scene_points(path: Path) -> ScenePoints:
    """Read the table.

    Convention:
        metres, right-handed, z up; pixels of the views' own videos, the centre of the first one is 0, 0. An empty
        pair of cells: not seen.

    Args:
        path: the CSV file, with commas.

    Returns:
        The points.

    Raises:
        InputError: the file is missing, broken, or says something impossible; the message names the line.
    """
    where = f"measured points {path}"
    rows = csv_rows(read_text(path, "measured points"), where)
    rows = [[cell.strip() for cell in row] for row in rows]
    views = _views(rows[0] if rows else [], where)
    names, numbers = [], []
    for line, row in enumerate(rows[1:], start=2):
        if not any(row):
            continue
        names.append(row[0])
        numbers.append(_numbers(row, len(rows[0]), f"{where}, line {line}"))
    for name in names:
        if not name or names.count(name) > 1:
            raise InputError(f"{where}: every point needs a name of its own, and {name!r} is not one")
    if not 0 < len(names) <= _MOST_POINTS:
        raise InputError(f"{where} holds {len(names)} points; it must hold 1 to {_MOST_POINTS}")
    table = np.array(numbers)
    pixels = {view: table[:, 3 + 2 * index : 5 + 2 * index] for index, view in enumerate(views)}
    return ScenePoints(tuple(names), table[:, :3], pixels)


def _views(head: Sequence[str], where: str) -> list[str]:
    """Names of the views, from the pairs of columns NAME_u, NAME_v."""
    pairs = list(zip(head[4::2], head[5::2], strict=False))
    good = tuple(head[:4]) == _HEAD and len(head) % 2 == 0 and len(pairs) > 0
    if not good or any(u[:-2] != v[:-2] or (u[-2:], v[-2:]) != ("_u", "_v") or len(u) < 3 for u, v in pairs):
        raise InputError(
            f"{where}: the first line must be {','.join(_HEAD)},VIEW_u,VIEW_v,… with a pair for every view"
        )
    views = [u[:-2] for u, _ in pairs]
    if len(set(views)) < len(views):
        raise InputError(f"{where}: a view stands twice in the first line")
    return views


def _numbers(row: Sequence[str], count: int, where: str) -> list[float]:
    """The place and the pixels of one point; NaN for pairs of empty cells."""
    if len(row) != count:
        raise InputError(f"{where} has {len(row)} cells, the first line {count}; write decimal points, not commas")
    try:
        values = [float(cell) if cell else np.nan for cell in row[1:]]
    except ValueError:
        raise InputError(f"{where} holds something that is not a number") from None
    given = [bool(cell) for cell in row[1:]]
    if not all(given[:3]) or given[3::2] != given[4::2]:
        raise InputError(f"{where} needs x, y, z, and both u and v or neither of them for each view")
    if any(not np.isfinite(value) for value, is_given in zip(values, given, strict=True) if is_given):
        raise InputError(f"{where} holds a number that is not finite")
    if max(map(abs, values[:3])) > _FARTHEST_M or np.nanmax([0.0, *map(abs, values[3:])]) > _LARGEST_PX:
        raise InputError(f"{where}: points are measured in metres, and pixels lie in the picture")
    return values
