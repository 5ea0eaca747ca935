"""OpenCap's cameras: ``cameraIntrinsicsExtrinsics.pickle``, one per camera, in a folder that bears its name.

Lengths are mm, ``imageSize`` is (height, width), the world is that of the checkerboard. The pickle is read without
running anything of it (`plain_pickle`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CalibrationError
from ..types import Intrinsics
from .anipose_toml import natural_order
from .camera_table import CameraFile, Pose, image_size, lens, numbers, rotation_matrix
from .plain_pickle import read_plain_pickle

FILE = "cameraIntrinsicsExtrinsics.pickle"
_SUFFIXES = (".pickle", ".pkl")


def opencap_files(folder: Path) -> dict[str, Path]:
    """Files by camera: ``NAME/cameraIntrinsicsExtrinsics.pickle``, else ``NAME.pickle``, in natural order."""
    nested = {path.parent.name: path for path in folder.glob(f"*/{FILE}")}
    flat = {path.stem: path for path in folder.iterdir() if path.suffix in _SUFFIXES and path.name != FILE}
    found = nested or flat or ({folder.name: folder / FILE} if (folder / FILE).is_file() else {})
    return {name: found[name] for name in sorted(found, key=natural_order)}


def read_opencap(path: Path) -> CameraFile:
    """Read the cameras of an OpenCap session.

    Convention:
        mm, world→camera, in the checkerboard's world (its axes lie in the board); the picture is upright.

    Args:
        path: the folder of the cameras, or the pickle of one camera.

    Returns:
        Lenses, and the poses of those that have one.

    Raises:
        CalibrationError: a file is broken, runs code, or says something impossible.
    """
    files = opencap_files(path) if path.is_dir() else {path.parent.name if path.name == FILE else path.stem: path}
    lenses: dict[str, Intrinsics] = {}
    poses: dict[str, Pose] = {}
    for name, file in files.items():
        where = f"{file}: camera {name!r}"
        values = read_plain_pickle(file, CalibrationError)
        if not isinstance(values, dict) or not {"intrinsicMat", "distortion", "imageSize"} <= set(values):
            raise CalibrationError(f"{file} is no OpenCap camera: it needs intrinsicMat, distortion and imageSize")
        lenses[name] = _lens(name, values, where, str(file))
        if values.get("rotation") is not None and values.get("translation") is not None:
            t = numbers(values["translation"], None, f"{where}: translation")
            if t.shape != (3,):
                raise CalibrationError(f"{where}: translation must be 3 numbers")
            poses[name] = rotation_matrix(values["rotation"], f"{where}: rotation"), t
    return CameraFile(lenses, poses, "mm")


def _lens(name: str, values: dict[Any, Any], where: str, source: str) -> Intrinsics:
    sides = numbers(values["imageSize"], None, f"{where}: imageSize")
    if sides.shape != (2,):
        raise CalibrationError(f"{where}: imageSize must be height and width")
    K = numbers(values["intrinsicMat"], (3, 3), f"{where}: intrinsicMat")
    distortion = np.array(numbers(values["distortion"], None, f"{where}: distortion"))
    return lens(name, image_size(sides[::-1], f"{where}: imageSize"), K, distortion, False, source)
