"""Vicon calibrations (``.xcp``, XML).

``POSITION`` is the camera's centre in mm, ``ORIENTATION`` the quaternion (x, y, z, w) camera from world, lengths of
the picture in px of the sensor; fy = FOCAL_LENGTH / PIXEL_ASPECT_RATIO.

No real file was at hand. Not verified: the rotation's direction (that of Pose2Sim's conversion), the pixel of the
principal point's origin, and the lens: Vicon's polynomial is taken as one of the distorted radius r in px about the
principal point, r_undistorted = r (1 + k1 r² + k2 r⁴ + k3 r⁶). It runs the other way than OpenCV's, so OpenCV's
coefficients are fitted to it. Every import says so in a warning.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..errors import CalibrationError
from ..geometry.rotation import matrix_from_quaternion
from ..shapes import FloatArray
from ..types import Intrinsics
from .camera_table import CameraFile, FramePath, Pose, image_size, lens, numbers
from .qualisys import Element, elements

ROOT = "Cameras"
_VIDEO_SYSTEM = "DV"
_STILL_DEG, _STILL_MM = 0.05, 1.0
_FOR_EVER = 1e6  # pictures
_MOST_SCALE = 2.0  # of the radius at the picture's corner; more is no lens, or coefficients of another unit
_GRID = 25  # samples along each side of the picture for the fit

Attributes = Mapping[str, str]


def looks_like_vicon(text: str) -> bool:
    """Whether an XML text has Vicon's root element."""
    return f"<{ROOT}" in text[:2000]


def read_vicon(text: str, path: Path) -> CameraFile:
    """Read a Vicon calibration.

    Convention:
        mm, the file's own world (Z up); cameras are named by ``DEVICEID``; where some cameras are of the system DV
        (video), the others are left out. A view smaller than the sensor says ``fit = "crop"``.

    Args:
        text: the file's text.
        path: the file, for messages.

    Returns:
        Lenses and poses; a lens whose distortion cannot be meant in px is left out, with a warning.

    Raises:
        CalibrationError: not such a file, or a broken camera.
    """
    cameras = _video_cameras(_cameras(elements(text, path), path))
    lenses: dict[str, Intrinsics] = {}
    poses: dict[str, Pose] = {}
    paths: dict[str, FramePath] = {}
    warnings = [
        f"{path}: Vicon files are read as documented by others, without a real one to test on: check the overlays "
        "of the report before you trust the cameras"
    ]
    for own, frames in cameras:
        name = own.get("DEVICEID", "").strip()
        where = f"{path}: camera {name!r}"
        if not name or name in poses:
            raise CalibrationError(f"{where}: every camera needs a DEVICEID of its own")
        if not frames:
            warnings.append(f"{where} is not calibrated (no KeyFrame): left out")
            continue
        paths |= _path(name, frames, where)
        poses[name] = (paths[name].R[0], paths[name].t[0]) if name in paths else _pose(frames, where)
        found, hint = _lens(name, own, frames[0], str(path))
        warnings.append(hint)
        if found is not None:
            lenses[name] = found
    if not poses:
        raise CalibrationError(f"{path} holds no calibrated camera")
    if paths:
        warnings.append(
            f"{path}: {', '.join(paths)} move: their KeyFrames are taken to count the pictures of their videos, from "
            "0, each holding until the next (unverified convention)"
        )
    return CameraFile(lenses, poses, "mm", warnings=[warning for warning in warnings if warning], paths=paths)


def opencv_radial(
    undistorting: FloatArray,  # (N,) coefficients of r², r⁴, … in px
    focal: float,
    K: FloatArray,  # (3, 3) px
    size: tuple[int, int],
) -> tuple[FloatArray, float]:
    """Fit OpenCV's k1, k2, k3 to a polynomial that undistorts in pixels.

    Convention:
        least squares over a grid of the picture: r_distorted / f = ρ (1 + k1 ρ² + k2 ρ⁴ + k3 ρ⁶) with ρ the
        undistorted radius / f.

    Args:
        undistorting: r_undistorted = r (1 + Σ c_i r^(2i)).
        focal: px, horizontal.
        K: the camera's matrix; its vertical focal length says how tall the pixels are.
        size: (width, height) px.

    Returns:
        (k1, k2, p1 = 0, p2 = 0, k3), and the largest residual, px.

    Raises:
        CalibrationError: the polynomial folds the picture over, or more than doubles a radius.
    """
    u, v = np.meshgrid(np.linspace(-0.5, size[0] - 0.5, _GRID), np.linspace(-0.5, size[1] - 0.5, _GRID))
    x, y = (u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1]
    distorted = np.hypot(x, y).ravel()
    rising = np.linspace(0, distorted.max(), 200)
    scale, along = (_scale(undistorting, radius * focal) for radius in (distorted, rising))
    folds = (np.diff(rising * along) <= 0).any()
    if folds or scale.min() < 1 / _MOST_SCALE or scale.max() > _MOST_SCALE:
        raise CalibrationError("its radial coefficients cannot be meant in pixels")
    rho = distorted * scale
    powers = np.stack([rho**3, rho**5, rho**7], axis=-1)
    k = np.linalg.lstsq(powers, distorted - rho, rcond=None)[0]
    residual = float(np.abs(powers @ k - (distorted - rho)).max() * max(K[0, 0], K[1, 1]))
    return np.array([k[0], k[1], 0.0, 0.0, k[2]]), residual


def _scale(undistorting: FloatArray, radius_px: FloatArray) -> FloatArray:
    powers = np.asarray(radius_px)[:, None] ** (2 * np.arange(1, len(undistorting) + 1))
    return 1 + powers @ np.asarray(undistorting)


def _cameras(parsed: list[Element], path: Path) -> list[tuple[Attributes, list[Attributes]]]:
    """Every camera's own attributes and those of its key frames."""
    if parsed[0][0] != (ROOT,):
        raise CalibrationError(f"{path} is XML, but not a Vicon calibration (no <{ROOT}>)")
    cameras: list[tuple[Attributes, list[Attributes]]] = []
    for names, attributes in parsed:
        if names[-1] == "Camera":
            cameras.append((attributes, []))
        elif names[-1] == "KeyFrame" and "Camera" in names[:-1]:
            cameras[-1][1].append(attributes)
    return cameras


def _video_cameras(cameras: list[tuple[Attributes, list[Attributes]]]) -> list[tuple[Attributes, list[Attributes]]]:
    video = [camera for camera in cameras if camera[0].get("SYSTEM", "").strip().upper() == _VIDEO_SYSTEM]
    return video or cameras


def _values(attributes: Attributes, key: str, count: int, where: str) -> FloatArray:
    cells = attributes.get(key, "").split()
    try:
        parsed = [float(cell) for cell in cells]
    except ValueError:
        parsed = []
    if len(parsed) != count:
        raise CalibrationError(f"{where}: {key} must be {count} numbers")
    return numbers(parsed, (count,), f"{where}: {key}")


def _pose(frames: list[Attributes], where: str) -> Pose:
    quaternions, centres = _poses(frames, where)
    R = matrix_from_quaternion(quaternions[0])
    return R, -R @ centres[0]


def _path(name: str, frames: list[Attributes], where: str) -> dict[str, FramePath]:
    """Poses of a camera whose key frames differ, each of which holds until the next; nothing for one that stands."""
    quaternions, centres = _poses(frames, where)
    half_turns = np.arccos(np.clip(np.abs(quaternions @ quaternions[0]), 0, 1))
    far = np.linalg.norm(centres - centres[0], axis=-1).max() > _STILL_MM
    if not far and np.degrees(2 * half_turns).max() <= _STILL_DEG:
        return {}
    number = np.array([float(_values(frame, "FRAME", 1, where)[0]) for frame in frames])
    if (np.diff(number) <= 0).any():
        raise CalibrationError(f"{where}: its KeyFrames do not come in rising order of FRAME")
    last = np.r_[number[1:] - 1, number[-1] + _FOR_EVER]
    held = last > number
    times = np.r_[number, last[held]]
    row = np.r_[np.arange(len(number)), np.flatnonzero(held)][np.argsort(times, kind="stable")]
    if number[0] > 0:
        times, row = np.r_[0.0, times], np.r_[0, row]
    R = matrix_from_quaternion(quaternions[row])
    return {name: FramePath(np.sort(times), R, -np.einsum("kij,kj->ki", R, centres[row]))}


def _poses(frames: list[Attributes], where: str) -> tuple[FloatArray, FloatArray]:
    """Unit quaternions (K, 4) wxyz and centres (K, 3) mm of the key frames."""
    quaternions = np.array([_values(frame, "ORIENTATION", 4, where)[[3, 0, 1, 2]] for frame in frames])
    centres = np.array([_values(frame, "POSITION", 3, where) for frame in frames])
    lengths = np.linalg.norm(quaternions, axis=-1)
    if (np.abs(lengths - 1) > 1e-2).any():
        raise CalibrationError(f"{where}: ORIENTATION is not of unit length")
    return quaternions / lengths[:, None], centres


def _lens(name: str, own: Attributes, frame: Attributes, source: str) -> tuple[Intrinsics | None, str]:
    where = f"{source}: camera {name!r}"
    size = image_size(_values(own, "SENSOR_SIZE", 2, where), f"{where}: SENSOR_SIZE")
    focal = float(_values(frame, "FOCAL_LENGTH", 1, where)[0])
    aspect = float(_values(own, "PIXEL_ASPECT_RATIO", 1, where)[0]) if "PIXEL_ASPECT_RATIO" in own else 1.0
    skew = float(_values(own, "SKEW", 1, where)[0]) if "SKEW" in own else 0.0
    if not 0.1 < aspect < 10 or abs(skew) > 1e-6 or focal <= 0:
        raise CalibrationError(f"{where}: focal length, pixel aspect ratio or skew is not that of a camera we can use")
    cx, cy = _values(frame, "PRINCIPAL_POINT", 2, where)
    K = np.array([[focal, 0.0, cx], [0.0, focal / aspect, cy], [0.0, 0.0, 1.0]])
    undistorting = _radial(frame, where)
    if not undistorting.any():
        return lens(name, size, K, np.zeros(5), False, source), ""
    try:
        distortion, residual = opencv_radial(undistorting, focal, K, size)
    except CalibrationError as problem:
        return None, f"{where}: {problem}: its lens is not used, give one with intrinsics = … under [calibration]"
    hint = f"{where}: Vicon's lens was converted by fitting, largest residual {residual:.2g} px (unverified convention)"
    return lens(name, size, K, distortion, False, source), hint


def _radial(frame: Attributes, where: str) -> FloatArray:
    """Coefficients of r², r⁴ (, r⁶); VICON_RADIAL2 has a word and the centre before them."""
    if "VICON_RADIAL2" in frame:
        cells = frame["VICON_RADIAL2"].split()[3:6]
    else:
        cells = frame.get("VICON_RADIAL", "0 0").split()
    try:
        return numbers([float(cell) for cell in cells], (len(cells),), f"{where}: radial distortion")
    except ValueError:
        raise CalibrationError(f"{where}: radial distortion holds something that is not a number") from None
