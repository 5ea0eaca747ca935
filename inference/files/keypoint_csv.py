"""2D keypoints as CSV: DeepLabCut's (three or four header rows) and caliscope's (one row per keypoint)."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..types import Keypoints2D
from .keypoint_table import LONGEST_GAP, ImportedView, columns_of_layout, empty_table

_HEADERS = ("scorer", "individuals", "bodyparts", "coords")
_COORDS = ("x", "y", "likelihood")
_CAMERA, _POINT = ("cam_id", "port"), ("keypoint_id", "point_id")
_NUMBER = re.compile(r"([0-9]{1,12})[^0-9]*$")

Rows = list[list[str]]


def csv_rows(text: str, where: str) -> Rows:
    """Split a text into rows of cells; empty rows are left out.

    Raises:
        InputError: not CSV.
    """
    try:
        return [row for row in csv.reader(text.splitlines(), strict=True) if any(cell.strip() for cell in row)]
    except csv.Error as problem:
        raise InputError(f"{where} is no CSV: {problem}") from None


def is_deeplabcut(rows: Rows) -> bool:
    """Whether rows begin as DeepLabCut's do."""
    return len(rows) > 2 and rows[0][0].strip().lower() == "scorer"


def is_caliscope(rows: Rows) -> bool:
    """Whether rows begin as caliscope's do."""
    header = {cell.strip() for cell in rows[0]} if rows else set()
    return {"sync_index", "img_loc_x", "img_loc_y"} <= header


def read_deeplabcut(rows: Rows, path: Path, target: ImportedView) -> Keypoints2D:
    """Read DeepLabCut's predictions or labels of one view.

    Convention:
        body parts are matched to the layout by name; slots are the file's individuals (its own tracks). The first
        column, or the number in the picture's name, is the frame; the first row is time 0, a frame that is missing is
        one without people. Without ``likelihood`` (labels) the score is 1. Empty cells are missing.

    Args:
        rows: the file's cells.
        path: the file, for messages.
        target: the view.

    Returns:
        Keypoints in the view's own pixels.

    Raises:
        InputError: the file is cut off or absurd, or no body part is a joint of the layout.
    """
    where = f"view {target.name!r}: keypoint file {path}"
    headers = {row[0].strip().lower(): row for row in rows[:4] if row[0].strip().lower() in _HEADERS}
    body = rows[len(headers) :]
    if not {"bodyparts", "coords"} <= set(headers) or not body:
        raise InputError(f"{where} is no DeepLabCut CSV: it needs rows scorer, bodyparts, coords, and frames")
    coords = [cell.strip().lower() for cell in headers["coords"]]
    index = next((n for n, cell in enumerate(coords) if cell in _COORDS), len(coords))
    width = len(coords)
    if any(len(row) != width for row in (*headers.values(), *body)):
        raise InputError(f"{where}: every row must have {width} cells; the file is cut off")
    persons = headers.get("individuals", [""] * width)
    keys = list(zip(persons[index:], headers["bodyparts"][index:], coords[index:], strict=True))
    if len(set(keys)) < len(keys) or not all(coord in _COORDS for _, _, coord in keys):
        raise InputError(f"{where}: each body part needs x, y and likelihood once")
    values = _floats([row[index:] for row in body], where)
    slots = list(dict.fromkeys(person for person, _, _ in keys))
    parts = list(dict.fromkeys(part for _, part, _ in keys))
    frames = _frames([row[:index] for row in body], where)
    table = empty_table(int(frames.max()) + 1, len(slots), len(target.joint_names), where)
    columns = {key: number for number, key in enumerate(keys)}
    for joint, number in enumerate(columns_of_layout(parts, target, where)):
        for slot, person in enumerate(slots):
            found = [columns.get((person, parts[number], coord)) for coord in _COORDS] if number is not None else []
            for axis, column in enumerate(found):
                if column is not None:
                    table[frames, slot, joint, axis] = values[:, column]
                elif axis == 2:
                    table[frames, slot, joint, 2] = 1.0
    return target.keypoints(table, lambda frame: f"keypoint file {path}: frame {frame}", f"{path} holds no keypoint")


def read_caliscope(rows: Rows, path: Path, target: ImportedView) -> Keypoints2D:
    """Read the points of one camera from caliscope's CSV of all cameras.

    Convention:
        the view is called ``cam_N`` or ``N``; ``sync_index`` is the frame on the clock that all cameras share, and its
        smallest value in the file is time 0 in every view. ``keypoint_id`` counts the layout's joints from 0; ids
        beyond it are left out. The score is 1. Slots are the values of ``object_id``.

    Args:
        rows: the file's cells.
        path: the file, for messages.
        target: the view.

    Returns:
        Keypoints in the view's own pixels.

    Raises:
        InputError: the file is cut off or absurd, or does not hold the camera.
    """
    where = f"view {target.name!r}: keypoint file {path}"
    header = [cell.strip() for cell in rows[0]]
    camera, point = (next((n for n in names if n in header), None) for names in (_CAMERA, _POINT))
    match = re.fullmatch(r"(?:cam_)?([0-9]{1,9})", target.name)
    if camera is None or point is None or len(set(header)) < len(header):
        raise InputError(f"{where} needs the columns cam_id and keypoint_id")
    if match is None:
        raise InputError(f"{where} numbers its cameras; call the view cam_N")
    wanted = ["sync_index", camera, point, "img_loc_x", "img_loc_y"]
    if any(len(row) < len(header) for row in rows):
        raise InputError(f"{where}: every row must have {len(header)} cells; the file is cut off")
    places = [header.index(name) for name in wanted]
    object_place = header.index("object_id") if "object_id" in header else None
    values = _floats([[row[place] for place in places] for row in rows[1:]], where)
    if not len(values) or not np.isfinite(values[:, :3]).all() or (np.abs(values[:, :3]) > 1e12).any():
        raise InputError(f"{where}: sync_index, {camera} and {point} must be whole numbers in every row")
    own = values[:, 1] == int(match[1])
    if not own.any():
        cameras = ", ".join(f"{number:g}" for number in np.unique(values[:, 1])[:20])
        raise InputError(f"{where} holds no points of this camera; its cameras: {cameras}")
    frames = (values[:, 0] - values[:, 0].min())[own].astype(np.int64)
    _check_gap(frames, len(np.unique(values[:, 0])), where)
    objects = ["" if object_place is None else row[object_place] for row in rows[1:]]
    mine = [name for name, use in zip(objects, own, strict=True) if use]
    slots = {name: slot for slot, name in enumerate(dict.fromkeys(mine))}
    joints = values[own, 2].astype(np.int64)
    known = (joints >= 0) & (joints < len(target.joint_names))
    table = empty_table(int(frames.max()) + 1, len(slots), len(target.joint_names), where)
    slot = np.array([slots[name] for name in mine])
    table[frames[known], slot[known], joints[known]] = np.column_stack([values[own, 3:], np.ones(own.sum())])[known]
    return target.keypoints(table, lambda frame: f"keypoint file {path}: frame {frame}", f"{path} holds no keypoint")


def _floats(rows: Sequence[Sequence[str]], where: str) -> np.ndarray:
    try:
        values = np.array([[float(cell) if cell.strip() else math.nan for cell in row] for row in rows])
    except ValueError:
        raise InputError(f"{where} holds something that is not a number") from None
    if np.isinf(values).any():
        raise InputError(f"{where} holds an infinite number")
    return values


def _frames(indices: Rows, where: str) -> np.ndarray:
    """Frame of each row, counted from the first one."""
    matches = [_NUMBER.search(row[-1].removesuffix(".0")) if row else None for row in indices]
    numbers = [int(match[1]) for match in matches if match]
    if len(numbers) < len(indices) or len(set(numbers)) < len(numbers):
        raise InputError(f"{where}: the first column must number the frames, each once")
    frames = np.array(numbers) - min(numbers)
    _check_gap(frames, len(frames), where)
    return frames


def _check_gap(frames: np.ndarray, count: int, where: str) -> None:
    if frames.max() > count + LONGEST_GAP:
        raise InputError(f"{where}: frame numbers reach {frames.max()} with {count} frames; are they of one clip?")
