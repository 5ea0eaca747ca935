"""2D keypoints as OpenPose writes them: a folder with one JSON file per frame."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..image_fit import image_fit
from ..layouts import LAYOUTS
from ..layouts import layout as layout_of
from ..shapes import FloatArray
from ..types import Keypoints2D
from .anipose_toml import natural_order
from .toml_text import read_text

_FRAME = re.compile(r"([0-9]+)(?:_keypoints)?\.json$", re.IGNORECASE)
_SIGMA = 0.0015  # of the larger picture side, px, at score 1: an initial guess; the solver fits the noise later
_LOWEST_SCORE = 0.05
_ABSURD = 10.0  # image sizes
_MOST_PEOPLE = 200
_LONGEST_GAP = 100_000  # frames that numbering may skip


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
    joints = layout_of(layout).joint_names
    frames = _frame_files(Path(folder), view)
    people = {number: _people(path, len(joints), layout, view) for number, path in frames.items()}
    count, slots = max(people) + 1, max(len(found) for found in people.values())
    table = np.full((count, slots, len(joints), 3), np.nan)
    for number, found in people.items():
        if len(found):
            table[number, : len(found)] = found
    missing = ~np.isfinite(table).all(-1) | (table[..., :2] == 0).all(-1) | (table[..., 2] <= 0)
    table[missing] = np.nan
    if missing.all():
        raise InputError(f"view {view!r}: none of the {len(frames)} keypoint files in {folder} holds a keypoint")
    _check_absurd(table, frames, keypoint_size or image_size, view)
    xy = table[..., :2]
    if keypoint_size is not None:
        where = f"view {view!r}: its picture"
        move = image_fit("scale" if fit == "exact" else fit, keypoint_size, image_size, where, "keypoint_size")
        xy = move.points(xy)
    _check_inside(xy, image_size, view)
    score = np.where(missing, 0.0, np.minimum(table[..., 2], 1.0))
    sigma = _SIGMA * max(image_size) / np.maximum(np.where(missing, np.nan, score), _LOWEST_SCORE)
    covariance = sigma[..., None, None] ** 2 * np.eye(2)
    return Keypoints2D(view, joints, np.arange(count) / fps, xy, covariance, score)


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
    if last - first > len(files) + _LONGEST_GAP:
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
    if len(people) > _MOST_PEOPLE:
        raise InputError(f"{where} holds {len(people)} people; more than {_MOST_PEOPLE} is absurd")
    found = np.full((len(people), joints, 3), np.nan)
    for slot, person in enumerate(people):
        values = _keypoint_values(person.get("pose_keypoints_2d"), where, slot)
        if len(values) not in (0, 3 * joints):
            fitting = [name for name, known in LAYOUTS.items() if 3 * len(known.joint_names) == len(values)]
            hint = f"; as many as {' or '.join(fitting)}" if fitting else ""
            needed = f"{layout} needs {3 * joints} ({joints} keypoints)"
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


def _check_absurd(table: FloatArray, frames: dict[int, Path], size: tuple[int, int], view: str) -> None:
    """Raise where a keypoint lies more than ten image sizes away (NaN compares as near)."""
    far = (np.abs(table[..., :2]) > _ABSURD * np.array(size)).any(-1)
    if far.any():
        frame, slot, joint = (int(index) for index in np.argwhere(far)[0])
        x, y = table[frame, slot, joint, :2]
        raise InputError(
            f"view {view!r}: keypoint file {frames[frame]}: person {slot}, keypoint {joint} lies at "
            f"({x:.6g}, {y:.6g}), beyond ten image sizes of {size[0]}x{size[1]}"
        )


def _check_inside(xy: FloatArray, size: tuple[int, int], view: str) -> None:
    seen = xy[np.isfinite(xy).all(-1)]
    inside = ((seen >= -0.5) & (seen <= np.array(size) - 0.5)).all(-1)
    if inside.mean() < 0.5:
        raise InputError(
            f"view {view!r}: {1 - inside.mean():.0%} of the imported keypoints lie outside its picture of "
            f"{size[0]}x{size[1]}; say which picture they count in: keypoint_size (or size) of the view"
        )
