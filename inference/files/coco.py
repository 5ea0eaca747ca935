"""2D keypoints as COCO JSON: annotations (images, categories, annotations), or a list of results.

``keypoints`` holds x, y and v three by three: in annotations v is 0 (missing), 1 (hidden) or 2 (visible), in results
it is a score.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ..errors import InputError
from ..shapes import FloatArray
from ..types import Keypoints2D
from .anipose_toml import natural_order
from .keypoint_table import LONGEST_GAP, ImportedView, columns_of_layout, empty_table, layouts_of_length

_HIDDEN_SCORE = 0.5  # of a keypoint that an annotator placed without seeing it
_FRAME = re.compile(r"([0-9]+)[^0-9]*$")

Entry = dict[str, Any]


def read_coco(text: str, path: Path, target: ImportedView) -> Keypoints2D:
    """Read COCO keypoints of one view.

    Convention:
        annotations: frames in the order of the number in the images' names, the first image is time 0, a number that
        is missing is a frame without people; where only some images lie in a folder named as the view, only those
        count. Results: ``image_id`` is the frame, counted from 0. Slots are people in file order, not tracks.

    Args:
        text: the file's text.
        path: the file, for messages.
        target: the view.

    Returns:
        Keypoints in the view's own pixels.

    Raises:
        InputError: the file is broken or absurd, or holds no keypoint of the view.
    """
    where = f"view {target.name!r}: keypoint file {path}"
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise InputError(f"{where} is broken: {' '.join(str(problem).split())}") from None
    entries = raw.get("annotations") if isinstance(raw, dict) else raw
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{where} is no COCO JSON: it needs a list of annotations or results")
    if isinstance(raw, dict):
        frames = _frames_of_images(raw.get("images"), target, where)
        columns = _columns(raw.get("categories"), target, where)
        entries = [entry for entry in entries if _identity(entry, where) in frames]
    else:
        frames = {identity: _frame(identity, where) for identity in (_identity(entry, where) for entry in entries)}
        columns = None
    people: dict[int, list[FloatArray]] = {}
    for entry in entries:
        frame = frames[_identity(entry, where)]
        people.setdefault(frame, []).append(_person(entry, columns, target, isinstance(raw, dict), where))
    if not people:
        raise InputError(f"{where} holds no people of this view")
    _check_gap(max(frames.values()), len(frames), where)
    table = empty_table(max(frames.values()) + 1, max(map(len, people.values())), len(target.joint_names), where)
    for frame, found in people.items():
        table[frame, : len(found)] = found
    return target.keypoints(table, lambda frame: f"keypoint file {path}: frame {frame}", f"{path} holds no keypoint")


def _identity(entry: Entry, where: str) -> int | str:
    identity = entry.get("image_id")
    if isinstance(identity, bool) or not isinstance(identity, int | str):
        raise InputError(f"{where}: an entry has no image_id")
    return identity


def _frame(identity: int | str, where: str) -> int:
    """The frame of a result: its ``image_id``, or the number in it (``12.jpg``)."""
    number = identity if isinstance(identity, int) else _trailing_number(identity)
    if number is None or not 0 <= number < 10**9:
        raise InputError(f"{where}: image_id {str(identity)[:40]!r} is no frame number")
    return number


def _trailing_number(text: str) -> int | None:
    match = _FRAME.search(PurePosixPath(text).stem)
    return int(match[1]) if match and len(match[1]) < 19 else None


def _check_gap(last: int, count: int, where: str) -> None:
    if last > count + LONGEST_GAP:
        raise InputError(f"{where}: frame numbers reach {last} with {count} pictures; are they of one clip?")


def _frames_of_images(images: Any, target: ImportedView, where: str) -> dict[int | str, int]:
    """Frames by image id, counted from the first image."""
    if not isinstance(images, list) or not all(
        isinstance(i, dict) and isinstance(i.get("id"), int | str) for i in images
    ):
        raise InputError(f"{where}: images must be a list with an id each")
    names = {image["id"]: str(image.get("file_name", image["id"])).replace("\\", "/") for image in images}
    own = {key: name for key, name in names.items() if target.name in PurePosixPath(name).parts[:-1]}
    names = own or names
    numbers = {key: _trailing_number(name) for key, name in names.items()}
    if None in numbers.values() or len(set(numbers.values())) < len(numbers):
        return {key: place for place, key in enumerate(sorted(names, key=lambda key: natural_order(names[key])))}
    first = min((number for number in numbers.values() if number is not None), default=0)
    return {key: number - first for key, number in numbers.items() if number is not None}


def _columns(categories: Any, target: ImportedView, where: str) -> list[int | None] | None:
    """Numbers of the layout's joints by the names in the file; None where the file names none."""
    for category in categories if isinstance(categories, list) else []:
        names = category.get("keypoints") if isinstance(category, dict) else None
        if isinstance(names, list) and names:
            return columns_of_layout([str(name) for name in names], target, where)
    return None


def _person(
    entry: Entry, columns: Sequence[int | None] | None, target: ImportedView, annotated: bool, where: str
) -> FloatArray:
    """(J, 3) x, y, score of one person."""
    raw, joints = entry.get("keypoints"), len(target.joint_names)
    if not isinstance(raw, list) or not all(type(v) in (int, float) or v is None for v in raw):
        raise InputError(f"{where}: the keypoints of image_id {entry['image_id']!r} are not a list of numbers")
    if len(raw) % 3 or (columns is None and len(raw) != 3 * joints):
        raise InputError(
            f"{where}: image_id {entry['image_id']!r} has {len(raw)} numbers, {target.layout} needs {3 * joints}"
            f"{layouts_of_length(len(raw) / 3)}"
        )
    try:
        values = np.array([math.nan if v is None else float(v) for v in raw]).reshape(-1, 3)
    except OverflowError:
        values = np.full((1, 3), math.inf)
    if np.isinf(values).any():
        raise InputError(f"{where}: image_id {entry['image_id']!r} holds an infinite number")
    if annotated and set(np.unique(values[:, 2])) <= {0.0, 1.0, 2.0}:
        values[:, 2] = np.array([0.0, _HIDDEN_SCORE, 1.0])[values[:, 2].astype(int)]
    if columns is None:
        return values
    if any(column is not None and column >= len(values) for column in columns):
        raise InputError(f"{where}: image_id {entry['image_id']!r} has fewer keypoints than the file names")
    missing = np.full(3, math.nan)
    return np.array([missing if column is None else values[column] for column in columns])
