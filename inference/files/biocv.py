"""bioCV calibrations (``.calib``): one text file per camera; width, height, K, [R|t] with t in mm, distortion."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ..errors import CalibrationError
from ..types import Intrinsics
from .anipose_toml import natural_order
from .camera_table import CameraFile, Pose, image_size, lens, numbers, rotation_matrix
from .toml_text import read_text

SUFFIX = ".calib"
_VIDEO = re.compile(r"\.(mp4|avi|mov|mkv|m4v)$", re.IGNORECASE)
_ROWS = [1, 1, 3, 3, 3, 4, 4, 4]  # numbers on each line that is not empty; after it perhaps 0 0 0 1, then distortion


def looks_like_biocv(text: str) -> bool:
    """Whether a text begins with a width and a height on lines of their own, and a row of three numbers."""
    lines = [line.split() for line in text.splitlines() if line.strip()][:3]
    return [len(cells) for cells in lines] == [1, 1, 3] and all(cells[0].isdigit() for cells in lines[:2])


def read_biocv(path: Path) -> CameraFile:
    """Read bioCV cameras.

    Convention:
        mm, world→camera, the file's own world; a camera is named by its file (``cam1.mp4.calib`` is ``cam1``).

    Args:
        path: a folder of ``.calib`` files, or the file of one camera.

    Returns:
        Lenses and poses.

    Raises:
        CalibrationError: a file is broken or says something impossible.
    """
    files = [file for file in path.iterdir() if file.suffix == SUFFIX] if path.is_dir() else [path]
    lenses: dict[str, Intrinsics] = {}
    poses: dict[str, Pose] = {}
    for file in sorted(files, key=lambda item: natural_order(item.name)):
        name = _VIDEO.sub("", file.stem if file.suffix == SUFFIX else file.name)
        if name in lenses:
            raise CalibrationError(f"{file}: camera {name!r} stands twice in {path}")
        lenses[name], poses[name] = _camera(name, file)
    return CameraFile(lenses, poses, "mm")


def _camera(name: str, path: Path) -> tuple[Intrinsics, Pose]:
    rows = _rows(path)
    if [len(row) for row in rows[: len(_ROWS)]] != _ROWS:
        raise CalibrationError(
            f"{path} is cut off or no bioCV calibration: width, height, 3 rows of K, 3 rows of [R|t]"
        )
    rest = rows[len(_ROWS) :]
    if rest and rest[0] == [0.0, 0.0, 0.0, 1.0]:
        rest = rest[1:]
    if len(rest) != 1:
        raise CalibrationError(f"{path} must end with one line of distortion coefficients")
    where = f"{path}: camera {name!r}"
    size = image_size([rows[0][0], rows[1][0]], f"{where}: width, height")
    K = numbers(rows[2:5], (3, 3), f"{where}: K")
    Rt = numbers(rows[5:8], (3, 4), f"{where}: [R|t]")
    distortion = numbers(rest[0], None, f"{where}: distortion")
    R = rotation_matrix(np.array(Rt[:, :3]), f"{where}: R")
    return lens(name, size, K, distortion, False, str(path)), (R, Rt[:, 3])


def _rows(path: Path) -> list[list[float]]:
    rows = []
    for number, line in enumerate(read_text(path, "calibration", CalibrationError).splitlines(), start=1):
        try:
            cells = [float(cell) for cell in line.replace(",", " ").split()]
        except ValueError:
            raise CalibrationError(f"{path}: line {number} holds something that is not a number") from None
        if cells:
            rows.append(cells)
    return rows
