"""Qualisys calibrations (``.qca.txt``: XML in spite of its name).

Lengths are mm; focal length and centre count in 1/64 px, from the sensor's corner, so the corner of the video's
field of view is subtracted; distortion is in OpenCV's form and is *not* divided. With M the rows of ``transform``:
R = diag(1, -1, -1) M, C = (x, y, z), t = -R C.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from xml.parsers import expat

import numpy as np

from ..errors import CalibrationError
from ..types import Intrinsics
from .camera_table import Calibration, CameraFile, Pose, image_size, lens, numbers, rotation_matrix

_SUBPIXELS = 64.0
_VIDEO_MODELS = ("video", "hybrid", "none")
_DEEPEST = 50  # levels; a calibration has four

Attributes = Mapping[str, str]
Element = tuple[tuple[str, ...], Attributes]  # names from the root down, attributes


def read_qualisys(text: str, path: Path, units: str | None = None) -> Calibration:
    """Read a Qualisys calibration.

    Convention:
        the file's own world (Z up), in metres; cameras are named by ``serial``; marker cameras are left out.

    Args:
        text: the file's text.
        path: the file, for messages.
        units: m, cm or mm where the user contradicts the format's mm.

    Returns:
        Cameras, lenses, warnings.

    Raises:
        CalibrationError: not such a file, no video camera in it, or a broken camera.
    """
    return qualisys_cameras(text, path).in_metres(str(path), units)


def qualisys_cameras(text: str, path: Path) -> CameraFile:
    """Read a Qualisys calibration in its own mm; the rest as `read_qualisys`.

    Raises:
        CalibrationError: not such a file, no video camera in it, or a broken camera.
    """
    poses: dict[str, Pose] = {}
    lenses: dict[str, Intrinsics] = {}
    warnings: list[str] = []
    skipped: list[str] = []
    for camera in _cameras(elements(text, path), path):
        own = camera["camera"]
        name = own.get("serial", "").strip()
        where = f"{path}: camera {name!r}"
        if not name or name in poses:
            raise CalibrationError(f"{where}: every camera needs a serial of its own")
        if not any(word in own.get("model", "none").lower() for word in _VIDEO_MODELS):
            skipped.append(name)
            continue
        lenses[name] = _lens(name, camera, path)
        M = _values(camera, "transform", [f"r{i}{j}" for i in "123" for j in "123"], where).reshape(3, 3)
        R = rotation_matrix(np.diag([1.0, -1.0, -1.0]) @ M, f"{where}: transform")
        poses[name] = R, -R @ _values(camera, "transform", ["x", "y", "z"], where)
        if own.get("viewrotation", "0").strip() not in ("0", ""):
            warnings.append(f"{where} is shown turned ({own['viewrotation']} degrees); the unturned video is expected")
    if skipped:
        warnings.append(f"{path}: marker cameras are left out: {', '.join(skipped)}")
    if not poses:
        raise CalibrationError(f"{path} holds no video camera")
    return CameraFile(lenses, poses, "mm", warnings=warnings)


def elements(text: str, path: Path) -> list[Element]:
    """Parse XML into its elements, in order; document types and entities are refused (they can grow without bound).

    Args:
        text: the file's text.
        path: the file, for messages.

    Returns:
        Names from the root down to each element, and its attributes.

    Raises:
        CalibrationError: not well-formed, with a document type, or nested too deeply.
    """
    found: list[Element] = []
    stack: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        stack.append(name)
        if len(stack) > _DEEPEST:
            raise CalibrationError(f"{path}: XML nested deeper than {_DEEPEST} levels is no calibration")
        found.append((tuple(stack), attributes))

    def refuse(*_: object) -> None:
        raise CalibrationError(f"{path}: XML with a document type or entities is refused")

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: stack.pop()
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(text.encode("utf-8"), True)
    except (expat.ExpatError, ValueError, LookupError) as problem:
        raise CalibrationError(f"{path} is not well-formed XML ({problem}); it is damaged or truncated") from None
    return found


def _cameras(parsed: list[Element], path: Path) -> list[dict[str, Attributes]]:
    """Group the elements by camera: the camera's own attributes and those of its children, by name."""
    cameras: list[dict[str, Attributes]] = []
    for names, attributes in parsed:
        if names[-1] == "camera":
            cameras.append({"camera": attributes})
        elif "camera" in names[:-1]:
            cameras[-1].setdefault(names[-1], attributes)
    if not cameras or parsed[0][0][0] != "calibration":
        raise CalibrationError(f"{path} is XML, but not a Qualisys calibration (no <calibration> with cameras)")
    return cameras


def _values(camera: Mapping[str, Attributes], element: str, keys: list[str], where: str) -> np.ndarray:
    if element not in camera:
        raise CalibrationError(f"{where} has no <{element}>")
    attributes = camera[element]
    missing = [key for key in keys if key not in attributes]
    if missing:
        raise CalibrationError(f"{where}: <{element}> has no {missing[0]!r}")
    try:
        parsed = [float(attributes[key]) for key in keys]
    except ValueError:
        raise CalibrationError(f"{where}: <{element}> holds something that is not a number") from None
    return numbers(parsed, (len(keys),), f"{where}: <{element}>")


def _lens(name: str, camera: Mapping[str, Attributes], path: Path) -> Intrinsics:
    where = f"{path}: camera {name!r}"
    left, top, right, bottom = _values(camera, "fov_video", ["left", "top", "right", "bottom"], where)
    keys = ["focalLengthU", "focalLengthV", "centerPointU", "centerPointV"]
    fx, fy, u, v = _values(camera, "intrinsic", keys, where) / _SUBPIXELS
    K = np.array([[fx, 0.0, u - left], [0.0, fy, v - top], [0.0, 0.0, 1.0]])
    intrinsic = camera["intrinsic"]
    tangential = "tangentalDistortion" if "tangentalDistortion1" in intrinsic else "tangentialDistortion"
    order = ["radialDistortion1", "radialDistortion2", f"{tangential}1", f"{tangential}2", "radialDistortion3"]
    distortion = _values(camera, "intrinsic", order, where)
    size = image_size([right - left + 1, bottom - top + 1], f"{where}: <fov_video>")
    return lens(name, size, K, distortion, fisheye=False, source=str(path))
