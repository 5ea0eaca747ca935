"""2D keypoints as OpenPose writes them: a folder with one JSON file per frame."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..shapes import FloatArray
from ..types import Keypoints2D
from .anipose_toml import natural_order
from .keypoint_table import LONGEST_GAP, MOST_PEOPLE, ImportedView, empty_table, layouts_of_length
from .toml_text import read_text

_FRAME = re.compile(r"([0-9]+)(?:_keypoints)?\.json$", re.IGNORECASE)


def read_openpose(
    folder: Path,
    layout: str,
    view: str,
    fps: float,
    image_size: tuple[int, int],
    keypoint_size: tuple[int, int] | None = None,
    fit: str = "scale",
) -> Keypoints2D:
    """Read a folder of OpenPose JSON.

    Convention:
        frames in the order of the number at the end of the file names; the first file is time 0, a number that is
        missing is a frame without people. Slots are people in file order, not tracks. ``0, 0``, score 0 and NaN are
        missing. Covariance: isotropic, sigma = 0.0015 · larger side / max(score, 0.05) px, a first guess.

    Args:
        folder: where the files lie.
        layout: name of the keypoint layout; the files do not say it.
        view: name of the view.
        fps: its frame rate.
        image_size: (width, height) px of the view's own pictures.
        keypoint_size: (width, height) px of the pictures that the keypoints count in; None: the view's own.
        fit: how the view's picture came out of one of ``keypoint_size``, as in the take; ``exact`` means ``scale``.

    Returns:
        Keypoints in the view's own pixels, P = most people in one file.

    Raises:
        InputError: no files, a file that is broken or absurd, no keypoint at all, or most of them outside the picture.
    """
    target = ImportedView(view, layout, fps, image_size, keypoint_size, fit)
    joints = target.joint_names
    frames = _frame_files(Path(folder), view)
    people = {number: _people(path, len(joints), layout, view) for number, path in frames.items()}
    slots = max(len(found) for found in people.values())
    table = empty_table(max(people) + 1, slots, len(joints), f"view {view!r}: {folder}")
    for number, found in people.items():
        if len(found):
            table[number, : len(found)] = found
    nothing = f"none of the {len(frames)} keypoint files in {folder} holds a keypoint"
    return target.keypoints(table, lambda frame: f"keypoint file {frames[frame]}", nothing)


def _frame_files(folder: Path, view: str) -> dict[int, Path]:
    """Files by frame, counted from the first one."""
    if not folder.is_dir():
        raise InputError(f"view {view!r}: keypoints {folder} is not a folder of JSON files, one per frame")
    files = sorted((p for p in folder.iterdir() if p.suffix.lower() == ".json"), key=lambda p: natural_order(p.name))
    if not files:
        raise InputError(f"view {view!r}: {folder} holds no JSON files")
    matches = [_FRAME.search(path.name) for path in files]
    numbered = {int(match[1]): path for match, path in zip(matches, files, strict=True) if match}
    if len(numbered) < len(files):
        example = next((p.name for p, m in zip(files, matches, strict=True) if not m), None)
        reason = (
            f"{example} ends in no frame number" if example else "frame numbers stand twice: files of several clips?"
        )
        raise InputError(f"view {view!r}: {folder}: {reason}")
    first, last = min(numbered), max(numbered)
    if last - first > len(files) + LONGEST_GAP:
        raise InputError(f"view {view!r}: {folder}: frame numbers jump from {first} to {last} with {len(files)} files")
    return {number - first: path for number, path in numbered.items()}


def _people(path: Path, joints: int, layout: str, view: str) -> FloatArray:
    """(N, J, 3) x, y, score of the people of one file; NaN where missing."""
    where = f"view {view!r}: keypoint file {path}"
    try:
        raw = json.loads(read_text(path, f"view {view!r}: keypoint"))
    except (ValueError, RecursionError) as problem:
        raise InputError(f"{where} is broken: {' '.join(str(problem).split())}") from None
    people = raw.get("people") if isinstance(raw, dict) else None
    if not isinstance(people, list) or not all(isinstance(person, dict) for person in people):
        raise InputError(f"{where} is not OpenPose JSON: it has no list of people")
    if len(people) > MOST_PEOPLE:
        raise InputError(f"{where} holds {len(people)} people; more than {MOST_PEOPLE} is absurd")
    found = np.full((len(people), joints, 3), np.nan)
    for slot, person in enumerate(people):
        values = _keypoint_values(person.get("pose_keypoints_2d"), where, slot)
        if len(values) not in (0, 3 * joints):
            needed = f"{layout} needs {3 * joints} ({joints} keypoints)"
            hint = layouts_of_length(len(values) / 3)
            raise InputError(f"{where}: person {slot} has {len(values)} numbers, {needed}{hint}")
        if len(values):
            found[slot] = values.reshape(joints, 3)
    return found


def _keypoint_values(raw: Any, where: str, slot: int) -> FloatArray:
    if not isinstance(raw, list):
        raise InputError(f"{where}: person {slot} has no pose_keypoints_2d")
    if not all(value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in raw):
        raise InputError(f"{where}: person {slot}: pose_keypoints_2d holds something that is not a number")
    try:
        values = np.array([np.nan if value is None else value for value in raw], dtype=np.float64)
    except OverflowError:
        values = np.array([np.inf])
    if np.isinf(values).any():
        raise InputError(f"{where}: person {slot}: pose_keypoints_2d holds an infinite number")
    return values
