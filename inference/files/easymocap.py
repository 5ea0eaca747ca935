"""EasyMocap calibrations: ``intri.yml`` with the lenses and ``extri.yml`` with the poses, side by side.

Keys carry the camera's name: ``K_<name>``, ``dist_<name>`` (older: ``D_``), ``H_``, ``W_``; ``R_`` (rotation vector),
``Rot_`` (matrix), ``T_``; world→camera, metres. Pose2Sim's files list names but number the keys 1, 2, …: both are
read. Without H and W the picture size is that of the view; it is never inferred from the principal point.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from ..errors import CalibrationError, InputError
from ..shapes import FloatArray
from ..types import Camera, Intrinsics
from .anipose_toml import natural_order
from .camera_table import (
    CameraFile,
    Pose,
    Size,
    image_size,
    lens,
    lens_of_assumed_size,
    numbers,
    rotation_matrix,
)
from .opencv_yaml import Value, matrix_text, parse_opencv_yaml
from .toml_text import read_text
from .whole_file import replacing

LENS_FILE, POSE_FILE = "intri.yml", "extri.yml"
_PARTS = {"K": "K_", "dist": "dist_", "D": "D_", "H": "H_", "W": "W_", "R": "R_", "Rot": "Rot_", "T": "T_"}
_SAME_ROTATION = 1e-3  # of a matrix entry; six decimals are written
_LARGEST_NAME = 64

Entry = dict[str, Value]


def read_easymocap(path: Path, sizes: Mapping[str, Size] = {}) -> CameraFile:
    """Read an EasyMocap calibration.

    Convention:
        metres, the file's own world, world→camera; names as texts, so ``07`` is not ``7``.

    Args:
        path: the folder of both files, or either file: the other is read where it lies beside it.
        sizes: (width, height) px of the views, for cameras without ``H_`` and ``W_``.

    Returns:
        Lenses and poses; one kind may be missing where only one file is there.

    Raises:
        CalibrationError: a file is missing, broken, or says something impossible.
    """
    files = _files(path)
    entries: dict[str, Entry] = {}
    for file in files:
        for name, entry in _entries(parse_opencv_yaml(read_text(file, "calibration", CalibrationError), file), file):
            entries.setdefault(name, {}).update(entry)
    if not entries:
        raise CalibrationError(f"{files[0]} holds no camera (no K_<name> and no R_<name>)")
    lenses: dict[str, Intrinsics] = {}
    poses: dict[str, Pose] = {}
    warnings: list[str] = []
    assumed: set[str] = set()
    for name, entry in entries.items():
        if "K" in entry:
            stated = _stated_size(entry, f"{path}: camera {name!r}")
            found, hints = _lens(name, entry, stated, sizes, str(path))
            warnings += hints
            if found is not None:
                lenses[name] = found
                assumed |= set() if stated else {name}
        if "T" in entry:
            poses[name] = _pose(entry, f"{path}: camera {name!r}")
    return CameraFile(lenses, poses, "m", warnings=warnings, assumed_sizes=frozenset(assumed))


def write_easymocap(folder: Path, cameras: Sequence[Camera]) -> list[str]:
    """Write ``intri.yml`` and ``extri.yml``.

    Convention:
        as read by `read_easymocap`, metres, five coefficients, all digits.

    Args:
        folder: where to write; made if needed.
        cameras: cameras with distinct names.

    Returns:
        Warnings: none so far; kept so that all writers of calibrations are called alike.

    Raises:
        InputError: a lens or a name that the format cannot hold, or the folder cannot be written.
    """
    names = [camera.name for camera in cameras]
    head = "%YAML:1.0\n---\nnames:\n" + "".join(f'   - "{name}"\n' for name in names)
    lens_text = pose_text = head
    for camera in cameras:
        name, inner = camera.name, camera.intrinsics
        if not re.fullmatch(r"[\w\-]+", name, re.ASCII):
            raise InputError(f"camera {name!r}: EasyMocap's names are letters, digits, - and _; rename the view")
        lens_text += matrix_text(f"K_{name}", inner.K) + matrix_text(f"dist_{name}", _five(inner)[None])
        lens_text += f"H_{name}: {inner.image_size[1]}\nW_{name}: {inner.image_size[0]}\n"
        vector = np.asarray(cv2.Rodrigues(np.array(camera.R))[0], dtype=np.float64).ravel()
        pose_text += matrix_text(f"R_{name}", vector) + matrix_text(f"Rot_{name}", camera.R)
        pose_text += matrix_text(f"T_{name}", camera.t)
    for file, text in ((LENS_FILE, lens_text), (POSE_FILE, pose_text)):
        with replacing(Path(folder) / file) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
    return []


def _five(inner: Intrinsics) -> FloatArray:
    if inner.distortion_model == "fisheye" or np.any(inner.distortion[5:]):
        raise InputError(
            f"camera {inner.name!r}: EasyMocap knows five coefficients of OpenCV's main model, not its "
            f"{'fisheye' if inner.distortion_model == 'fisheye' else 'rational'} model; write TOML instead"
        )
    return np.pad(inner.distortion[:5], (0, 5 - len(inner.distortion[:5])))


def _files(path: Path) -> list[Path]:
    """The files that make up the calibration, the given one first."""
    path = Path(path)
    if path.is_dir():
        return [file for file in (path / LENS_FILE, path / POSE_FILE) if file.is_file()]
    other = None
    for here, there in (("intri", "extri"), ("extri", "intri")):
        if here in path.name:
            other = path.with_name(path.name.replace(here, there))
    return [path, other] if other is not None and other.is_file() else [path]


def _entries(values: dict[str, Value], path: Path) -> list[tuple[str, Entry]]:
    """Group the keys of one file by camera."""
    keyed = {key for value in _PARTS.values() for key in (k.removeprefix(value) for k in values if k.startswith(value))}
    names = values.get("names", sorted(keyed, key=natural_order))
    if not isinstance(names, list) or not all(0 < len(name) <= _LARGEST_NAME for name in names):
        raise CalibrationError(f"{path}: names must be a list of camera names")
    if len(set(names)) < len(names):
        raise CalibrationError(f"{path}: names holds a camera twice; every camera needs a name of its own")
    numbered = keyed == {str(number) for number in range(1, len(names) + 1)} and not keyed & set(names)
    found = []
    for index, name in enumerate(names):
        suffix = str(index + 1) if numbered else name
        entry = {part: values[key + suffix] for part, key in _PARTS.items() if key + suffix in values}
        if not entry:
            raise CalibrationError(f"{path}: camera {name!r} is listed, but has no K_{name} and no R_{name}")
        found.append((name, entry))
    return found


def _stated_size(entry: Entry, where: str) -> Size | None:
    if "H" not in entry or "W" not in entry:
        return None
    try:
        sides = [float(str(entry[side])) for side in "WH"]
    except ValueError:
        raise CalibrationError(f"{where}: H and W must be numbers of pixels") from None
    return image_size(sides, f"{where}: [W, H]")


def _lens(
    name: str, entry: Entry, stated: Size | None, sizes: Mapping[str, Size], source: str
) -> tuple[Intrinsics | None, list[str]]:
    where = f"{source}: camera {name!r}"
    K = numbers(entry["K"], (3, 3), f"{where}: K")
    distortion = numbers(entry.get("dist", entry.get("D", np.zeros(5))), None, f"{where}: dist")
    if stated is None:
        return lens_of_assumed_size(name, K, distortion, sizes, source)
    return lens(name, stated, K, distortion, False, source), []


def _pose(entry: Entry, where: str) -> Pose:
    t = numbers(entry["T"], None, f"{where}: T")
    rotations = []
    if "R" in entry:
        vector = numbers(entry["R"], None, f"{where}: R")
        rotations.append(rotation_matrix(entry["R"] if vector.size == 9 else vector, f"{where}: R"))
    if "Rot" in entry:
        rotations.append(rotation_matrix(entry["Rot"], f"{where}: Rot"))
    if not rotations or t.shape != (3,):
        raise CalibrationError(f"{where} needs a rotation (R_ or Rot_) and three numbers T_")
    if len(rotations) == 2 and np.abs(rotations[0] - rotations[1]).max() > _SAME_ROTATION:
        raise CalibrationError(f"{where}: R_ and Rot_ are different rotations; one of them is damaged")
    return rotations[0], t
