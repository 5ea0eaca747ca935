"""Read a calibration file of any supported tool; the format is recognised from the content, not the name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ..errors import CalibrationError
from ..types import Intrinsics
from .anipose_toml import anipose_cameras
from .biocv import SUFFIX as BIOCV_SUFFIX
from .biocv import looks_like_biocv, read_biocv
from .camera_table import METRES, Calibration, CameraFile, Distance, Size
from .colmap import LENS_FILE as COLMAP_LENSES
from .colmap import POSE_FILE as COLMAP_POSES
from .colmap import looks_like_colmap, read_colmap
from .easymocap import LENS_FILE, POSE_FILE, read_easymocap
from .opencap import opencap_files, read_opencap
from .qualisys import qualisys_cameras
from .solution import read_cameras
from .toml_text import read_text
from .vicon import looks_like_vicon, read_vicon

SUPPORTED = "TOML (aniposelib, Pose2Sim, FreeMoCap, caliscope), Qualisys .qca.txt, EasyMocap intri.yml and extri.yml, "
SUPPORTED += "COLMAP cameras.txt and images.txt, Vicon .xcp, OpenCap pickles, bioCV .calib, and our own cameras.npz"
_PICKLE = b"\x80"
_ZIP = b"PK\x03\x04"


def read_calibration(
    path: Path,
    units: str | None = None,
    height_m: float | None = None,
    sizes: Mapping[str, Size] = {},
    lenses: Mapping[str, Intrinsics] = {},
    distance: Distance | None = None,
) -> Calibration:
    """Read the cameras of a calibration.

    Convention:
        metres, the file's own world, pixels of the calibrated image size; camera axes as OpenCV.

    Args:
        path: the file, or a folder where a format has several files.
        units: m, cm or mm; None: what the dialect or its metadata says.
        height_m: the person's height, for formats without a scale.
        sizes: (width, height) px of the views by name, for formats that do not state the calibrated size.
        lenses: lenses of a second source, for poses that come without.
        distance: of two cameras, which gives the scale whatever the file says.

    Returns:
        Cameras with a pose, lenses of all cameras, warnings.

    Raises:
        CalibrationError: the file is missing, broken, of an unknown format, or says something impossible.
    """
    path = Path(path)
    if units is not None and units not in METRES:
        raise CalibrationError(f"units = {units!r} is none of {', '.join(METRES)}")
    return _camera_file(path, sizes).in_metres(str(path), units, height_m, lenses, distance)


def read_lenses(path: Path, sizes: Mapping[str, Size] = {}) -> CameraFile:
    """Read a calibration for its lenses alone: poses, and what their lengths mean, do not matter.

    Args:
        path: the file, or folder.
        sizes: as in `read_calibration`.

    Returns:
        The file's cameras; poses in the file's own unit.

    Raises:
        CalibrationError: as `read_calibration`.
    """
    return _camera_file(Path(path), sizes)


def _camera_file(path: Path, sizes: Mapping[str, Size]) -> CameraFile:
    if path.is_dir():
        return _folder(path, sizes)
    head = _head(path)
    if head.startswith(_ZIP):
        return _solved_cameras(path)
    if head.startswith(_PICKLE):
        return read_opencap(path)
    text = read_text(path, "calibration", CalibrationError)
    begin = text.lstrip()[:200]
    if not begin:
        raise CalibrationError(f"calibration file {path} is empty")
    if begin.startswith("<"):
        return read_vicon(text, path) if looks_like_vicon(text) else qualisys_cameras(text, path)
    if begin.startswith("%YAML") or re.search(r"^(K|R|Rot)_.*: *!!opencv-matrix", text, re.MULTILINE):
        return read_easymocap(path, sizes)
    if looks_like_colmap(text):
        return read_colmap(path)
    if looks_like_biocv(text):
        return read_biocv(path)
    if begin.startswith("{") or (path.suffix.lower() != ".toml" and not _looks_like_toml(text)):
        raise CalibrationError(f"{path} has no format that can be read; supported: {SUPPORTED}")
    return anipose_cameras(text, path)


def _solved_cameras(path: Path) -> CameraFile:
    """Cameras of our own ``.npz``."""
    rig = read_cameras(path)
    if rig.moving:
        raise CalibrationError(
            f"{path}: {', '.join(rig.moving)} move, by the clock of the take that was solved; give the file that their "
            "poses came from"
        )
    return CameraFile({c.name: c.intrinsics for c in rig.cameras}, {c.name: (c.R, c.t) for c in rig.cameras}, "m")


def _folder(path: Path, sizes: Mapping[str, Size]) -> CameraFile:
    if any((path / name).is_file() for name in (LENS_FILE, POSE_FILE)):
        return read_easymocap(path, sizes)
    if (path / COLMAP_POSES).is_file() or (path / COLMAP_LENSES).is_file():
        return read_colmap(path)
    if opencap_files(path):
        return read_opencap(path)
    if any(file.suffix == BIOCV_SUFFIX for file in path.iterdir()):
        return read_biocv(path)
    raise CalibrationError(f"{path} is a folder without a calibration that can be read; supported: {SUPPORTED}")


def _head(path: Path) -> bytes:
    try:
        if path.is_file():
            with path.open("rb") as file:
                return file.read(4)
    except (OSError, ValueError):  # read_text says what is wrong
        pass
    return b""


def _looks_like_toml(text: str) -> bool:
    """Whether some line begins a table."""
    return any(line.lstrip().startswith("[") for line in text.splitlines())
