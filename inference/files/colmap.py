"""COLMAP reconstructions as text: ``cameras.txt`` with the lenses and ``images.txt`` with the poses, side by side.

Pixels count from the corner of the picture, so cx of ours = cx - 0.5. Quaternions are (w, x, y, z), world→camera,
OpenCV axes. The scale is arbitrary. One of our cameras is one folder of images, or one image; a camera whose images
differ in their pose moves, and their names must number them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from ..errors import CalibrationError, InputError
from ..geometry.rotation import exp, log, matrix_from_quaternion, quaternion_from_matrix
from ..shapes import FloatArray
from ..types import Camera, Intrinsics
from .camera_table import CameraFile, FramePath, Pose, image_size, lens, numbers
from .toml_text import read_text
from .whole_file import replacing

LENS_FILE, POSE_FILE = "cameras.txt", "images.txt"
_MODELS = {  # number of focal lengths, then cx, cy, then so many coefficients in OpenCV's order
    "SIMPLE_PINHOLE": (1, 0),
    "PINHOLE": (2, 0),
    "SIMPLE_RADIAL": (1, 1),
    "RADIAL": (1, 2),
    "OPENCV": (2, 4),
    "FULL_OPENCV": (2, 8),
    "OPENCV_FISHEYE": (2, 4),
}
_PICTURE = re.compile(r"\.(png|jpe?g|tiff?|bmp|webp|exr|p[gp]m)$", re.IGNORECASE)
_FRAME_NUMBER = re.compile(r"[_\-. ]*([0-9]*)$")
_LONGEST_NUMBER = 12  # digits
_STILL_DEG, _STILL_SHARE = 0.5, 0.01  # a camera that turns or moves (as a share of the rig's extent) less stands still
_HALF = np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])


@dataclass(frozen=True)
class _Image:
    path: PurePosixPath
    lens: str
    R: FloatArray
    t: FloatArray

    @property
    def centre(self) -> FloatArray:
        return -self.R.T @ self.t


def read_colmap(path: Path) -> CameraFile:
    """Read a reconstruction.

    Convention:
        the reconstruction's own world and scale; a camera is named by the folder of its images, else by the image
        without its suffix. Images of one camera are averaged where it stands still; where it moves, the number at the
        end of an image's name is that of the picture in its video, counted from the camera's lowest.

    Args:
        path: the folder of ``cameras.txt`` and ``images.txt``, or either file.

    Returns:
        Lenses and poses, without a scale; lenses are named by their number where there are no images.

    Raises:
        CalibrationError: a file is broken, a lens model is unknown, or images of a camera that moves have no number.
    """
    folder = path if path.is_dir() else path.parent
    lens_file, pose_file = folder / LENS_FILE, folder / POSE_FILE
    by_number = _lens_rows(lens_file) if lens_file.is_file() or not pose_file.is_file() else {}
    if not pose_file.is_file():
        return CameraFile({f"cam_{key}": _lens(f"cam_{key}", key, by_number, lens_file) for key in by_number}, {})
    images = _image_rows(pose_file)
    groups = _grouped(images)
    lenses: dict[str, Intrinsics] = {}
    for name, members in groups.items():
        used = {image.lens for image in members}
        if len(used) > 1:
            raise CalibrationError(f"{pose_file}: the images of camera {name!r} use several lenses: {_listed(used)}")
        if by_number:
            lenses[name] = _lens(name, used.pop(), by_number, lens_file)
    extent = _extent(images)
    still = {name: members for name, members in groups.items() if _stands_still(members, extent)}
    paths = {name: _path(name, members, pose_file) for name, members in groups.items() if name not in still}
    poses = {name: _mean_pose(members) for name, members in still.items()}
    poses |= {name: (path.R[0], path.t[0]) for name, path in paths.items()}
    poses = {name: poses[name] for name in groups}
    warnings = [
        f"{pose_file}: camera {name!r} moves: the first of its {len(path.frames)} images is taken as the first picture "
        "of its video; if it only seems to move, leave out the images with the worst poses"
        for name, path in paths.items()
    ]
    return CameraFile(lenses, poses, has_scale=False, warnings=warnings, paths=paths)


def _path(name: str, images: list[_Image], pose_file: Path) -> FramePath:
    """Poses of a camera that moves, by the numbers of its images."""
    digits = [match[1] if (match := _FRAME_NUMBER.search(_stem(image))) else "" for image in images]
    frame = [int(text) if 0 < len(text) <= _LONGEST_NUMBER else -1 for text in digits]
    known = sorted({number for number in frame if number >= 0})
    if len(known) < len(images):
        raise CalibrationError(
            f"{pose_file}: camera {name!r} moves between its {len(images)} images, and their names do not number the "
            "pictures of its video (cam1_0001.png, cam1_0002.png, ...): rename them, or leave out the images of a "
            "camera that was moved"
        )
    order = np.argsort(frame)
    R, t = np.array([image.R for image in images])[order], np.array([image.t for image in images])[order]
    return FramePath(np.array(known, dtype=float) - known[0], R, t)


def write_colmap(folder: Path, cameras: Sequence[Camera], four_coefficients: bool = False) -> list[str]:
    """Write ``cameras.txt``, ``images.txt`` and an empty ``points3D.txt``; one image per camera.

    Convention:
        as read by `read_colmap`, lengths in metres, all digits; the image of camera NAME is called ``NAME.png``.

    Args:
        folder: where to write; made if needed.
        cameras: cameras with distinct names.
        four_coefficients: write the model OPENCV, which more tools read, instead of FULL_OPENCV; k3 is lost.

    Returns:
        Warnings: of coefficients that were lost.

    Raises:
        InputError: a lens or a name that the format cannot hold, or the folder cannot be written.
    """
    warnings: list[str] = []
    lens_lines = ["# Camera list with one line of data per camera:", "#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]"]
    image_lines = [
        "# Image list with two lines of data per image:",
        "#   IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME",
        "#   POINTS2D[] as (X, Y, POINT3D_ID)",
    ]
    for number, camera in enumerate(cameras, start=1):
        if not re.fullmatch(r"[^\s/\\#]+", camera.name):
            raise InputError(f"camera {camera.name!r}: COLMAP's names have no spaces, slashes or #; rename the view")
        model, parameters, lost = _model(camera.intrinsics, four_coefficients)
        warnings += lost
        lens_lines.append(_line(number, model, *camera.intrinsics.image_size, *parameters))
        image_lines += [_line(number, *quaternion_from_matrix(camera.R), *camera.t, number, f"{camera.name}.png"), ""]
    texts = {LENS_FILE: lens_lines, POSE_FILE: image_lines, "points3D.txt": ["# 3D point list: empty"]}
    for file, lines in texts.items():
        with replacing(Path(folder) / file) as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    return warnings


def looks_like_colmap(text: str) -> bool:
    """Whether a text begins as one of the two files do."""
    first = next((line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")), [])
    is_lens = len(first) >= 5 and first[0].isdigit() and re.fullmatch(r"[A-Z][A-Z_]+", first[1]) is not None
    return is_lens or (len(first) >= 10 and first[0].isdigit() and _is_number(first[1]) and not _is_number(first[9]))


def _model(inner: Intrinsics, four_coefficients: bool) -> tuple[str, list[float], list[str]]:
    where, K, distortion = f"camera {inner.name!r}", np.asarray(inner.K) + _HALF, inner.distortion
    if K[0, 1] != 0:
        raise InputError(f"{where}: COLMAP has no lens with skew; write TOML instead")
    base = [K[0, 0], K[1, 1], K[0, 2], K[1, 2]]
    if inner.distortion_model == "fisheye":
        return "OPENCV_FISHEYE", [*base, *distortion], []
    if np.any(distortion[8:]):
        raise InputError(f"{where}: COLMAP has no thin prism and no tilted sensor; write TOML instead")
    if not np.any(distortion):
        return "PINHOLE", base, []
    full = np.pad(distortion[:8], (0, 8 - len(distortion[:8])))
    if not np.any(full[4:]):
        return "OPENCV", [*base, *full[:4]], []
    if four_coefficients:
        return "OPENCV", [*base, *full[:4]], [f"{where}: k3 and what follows are lost in COLMAP's model OPENCV"]
    return "FULL_OPENCV", [*base, *full], []


def _line(*cells: object) -> str:
    return " ".join(repr(float(cell)) if isinstance(cell, float) else str(cell) for cell in cells)


def _rows(path: Path) -> list[tuple[int, str]]:
    """Lines that are no comments, with their numbers; empty ones kept."""
    lines = read_text(path, "calibration", CalibrationError).splitlines()
    return [(number, line) for number, line in enumerate(lines, start=1) if not line.lstrip().startswith("#")]


def _lens_rows(path: Path) -> dict[str, tuple[int, list[str]]]:
    """Line number, and model with everything after it, by the lens's own number."""
    found: dict[str, tuple[int, list[str]]] = {}
    for number, line in _rows(path):
        cells = line.split()
        if not cells:
            continue
        if len(cells) < 5 or cells[0] in found:
            raise CalibrationError(f"{path}: line {number} must be a camera's own number, model, width, height, params")
        found[cells[0]] = number, cells[1:]
    if not found:
        raise CalibrationError(f"{path} holds no camera")
    return found


def _image_rows(path: Path) -> list[_Image]:
    """All images; the second line of each, its points, is skipped."""
    found = []
    rows = iter(_rows(path))
    for number, line in rows:
        if not line.strip():
            continue
        next(rows, None)
        where = f"{path}: line {number}"
        cells = line.split(maxsplit=9)
        if len(cells) < 10 or not all(_is_number(cell) for cell in cells[:9]):
            raise CalibrationError(
                f"{where} must be IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, and every second line an image's points"
            )
        values = numbers([float(cell) for cell in cells[1:8]], (7,), where)
        if abs(np.linalg.norm(values[:4]) - 1) > 1e-2:
            raise CalibrationError(f"{where}: the quaternion is not of unit length")
        found.append(_Image(PurePosixPath(cells[9].strip()), cells[8], matrix_from_quaternion(values[:4]), values[4:]))
    if not found:
        raise CalibrationError(f"{path} holds no image")
    return found


def _grouped(images: list[_Image]) -> dict[str, list[_Image]]:
    """Images by camera: those of one folder, or those of one lens that agree in their pose, or each its own.

    In a single folder that has a name, images that are called nothing but numbers are pictures of one camera.
    """
    groups: dict[str, list[_Image]] = {}
    folders = {image.path.parent for image in images}
    numbered = len({image.lens for image in images}) == 1 and all(_stem(image).isdecimal() for image in images)
    if len(folders) > 1 or (len(images) > 1 and numbered and next(iter(folders)).name):
        for image in images:
            groups.setdefault(image.path.parent.name or "root", []).append(image)
        return groups
    extent = _extent(images)
    by_lens: dict[str, list[_Image]] = {}
    for image in images:
        by_lens.setdefault(image.lens, []).append(image)
    for number, members in by_lens.items():
        one = len(members) > 1 and _stands_still(members, extent)
        named = {_common_name(members) or f"cam_{number}": members} if one else {}
        for name, some in (named or {_stem(image): [image] for image in members}).items():
            if name in groups:
                raise CalibrationError(f"camera {name!r} stands twice in {POSE_FILE}; every camera needs its own name")
            groups[name] = some
        if not one and len({_stem(image) for image in members}) < len(members):
            raise CalibrationError(f"an image of lens {number} stands twice in {POSE_FILE}")
    return groups


def _stem(image: _Image) -> str:
    return _PICTURE.sub("", image.path.name)


def _common_name(images: list[_Image]) -> str:
    """What the names of a camera's images share, without the frame number: cam01_0004, cam01_0007 → cam01."""
    return _FRAME_NUMBER.sub("", os.path.commonprefix([_stem(image) for image in images]))


def _extent(images: list[_Image]) -> float:
    centres = np.array([image.centre for image in images])
    return float(np.linalg.norm(centres.max(axis=0) - centres.min(axis=0)))


def _stands_still(images: list[_Image], extent: float) -> bool:
    first = images[0]
    turns = log(np.array([image.R for image in images]) @ first.R.T)
    moved = np.linalg.norm(np.array([image.centre for image in images]) - first.centre, axis=-1)
    turned_deg = np.degrees(np.linalg.norm(turns, axis=-1))
    return bool((turned_deg <= _STILL_DEG).all() and (moved <= _STILL_SHARE * extent).all())


def _mean_pose(images: list[_Image]) -> Pose:
    first = images[0]
    if len(images) == 1:
        return first.R, first.t
    R = exp(log(np.array([image.R for image in images]) @ first.R.T).mean(axis=0)) @ first.R
    return R, -(R @ np.mean([image.centre for image in images], axis=0))


def _lens(name: str, number: str, by_number: Mapping[str, tuple[int, list[str]]], path: Path) -> Intrinsics:
    if number not in by_number:
        raise CalibrationError(f"{path} has no lens {number}, which camera {name!r} uses")
    line, cells = by_number[number]
    where = f"{path}: line {line}"
    model = cells[0]
    if model not in _MODELS:
        raise CalibrationError(f"{where}: lens model {model} cannot be read; supported: {', '.join(_MODELS)}")
    focals, coefficients = _MODELS[model]
    if len(cells) != 3 + focals + 2 + coefficients or not all(_is_number(cell) for cell in cells[1:]):
        raise CalibrationError(f"{where}: {model} needs width, height and {focals + 2 + coefficients} numbers")
    values = numbers([float(cell) for cell in cells[1:]], (len(cells) - 1,), where)
    size = image_size(values[:2], f"{where}: width, height")
    fx, fy = values[2], values[1 + focals]
    cx, cy = float(values[2 + focals]) - 0.5, float(values[3 + focals]) - 0.5
    distortion = np.zeros(0) if coefficients == 0 else np.pad(values[4 + focals :], (0, max(4 - coefficients, 0)))
    K = np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
    return lens(name, size, K, distortion, model == "OPENCV_FISHEYE", str(path))


def _is_number(cell: str) -> bool:
    try:
        return bool(np.isfinite(float(cell)))
    except ValueError:
        return False


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
