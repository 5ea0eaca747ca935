"""Read a calibration file of any supported tool; the format is recognised from the content, not the name."""

from __future__ import annotations

from pathlib import Path

from ..errors import CalibrationError
from .anipose_toml import read_anipose_toml
from .camera_table import METRES, Calibration
from .qualisys import read_qualisys
from .solution import read_cameras
from .toml_text import read_text

SUPPORTED = "TOML (aniposelib, Pose2Sim, FreeMoCap, caliscope), Qualisys .qca.txt, and our own cameras.npz"
_PICKLE = b"\x80"
_ZIP = b"PK\x03\x04"


def read_calibration(path: Path, units: str | None = None, height_m: float | None = None) -> Calibration:
    """Read the cameras of a calibration file.

    Convention:
        metres, the file's own world, pixels of the calibrated image size; camera axes as OpenCV.

    Args:
        path: the file.
        units: m, cm or mm; None: what the dialect or its metadata says.
        height_m: the person's height; no format that is read now needs it.

    Returns:
        Cameras with a pose, lenses of all cameras, warnings.

    Raises:
        CalibrationError: the file is missing, broken, of an unknown format, or says something impossible.
    """
    path = Path(path)
    if units is not None and units not in METRES:
        raise CalibrationError(f"units = {units!r} is none of {', '.join(METRES)}")
    head = _head(path)
    if head.startswith(_ZIP):
        cameras = {camera.name: camera for camera in read_cameras(path).cameras}
        return Calibration(cameras, {name: camera.intrinsics for name, camera in cameras.items()})
    if head.startswith(_PICKLE):
        raise CalibrationError(f"{path} is a pickle, which can run code when opened; supported: {SUPPORTED}")
    text = read_text(path, "calibration", CalibrationError)
    begin = text.lstrip()[:200]
    if not begin:
        raise CalibrationError(f"calibration file {path} is empty")
    if begin.startswith("<"):
        return read_qualisys(text, path, units)
    if begin.startswith(("%YAML", "{")) or (path.suffix.lower() != ".toml" and not _looks_like_toml(text)):
        raise CalibrationError(f"{path} has no format that can be read; supported: {SUPPORTED}")
    return read_anipose_toml(text, path, units)


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
