"""TOML calibrations of the Anipose family: aniposelib, Pose2Sim, FreeMoCap 2, caliscope, and our own.

One table per camera; ``rotation`` is a rotation vector or matrix world→camera, ``translation`` is t.

    dialect                  told by                              unit of t
    caliscope                ``cam_id`` or ``port``, or [cameras.N]  m
    FreeMoCap 2              ``world_position``, board in mm      mm
    ours, caliscope's export, aniposelib, Pose2Sim                ``metadata.units``, else undeclared

Ours alone: a camera that moves has ``path_frames`` (numbers of its video's pictures, from 0), ``path_rotations``
(rotation vectors) and ``path_translations``; its ``rotation`` and ``translation`` are the first of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..errors import CalibrationError
from ..geometry.rotation import log
from ..shapes import FloatArray
from ..types import Camera, Intrinsics
from .camera_table import (
    METRES,
    Calibration,
    CameraFile,
    FramePath,
    Pose,
    frame_path,
    image_size,
    lens,
    numbers,
    rotation_matrix,
)
from .toml_text import parse_toml
from .whole_file import replacing

_CAMERA_KEYS = {"size", "matrix", "distortions", "rotation", "translation"}
_PATH_KEYS = ("path_frames", "path_rotations", "path_translations")
_NOT_CAMERAS = {"metadata", "capture_volume", "charuco", "checkerboard"}


def read_anipose_toml(text: str, path: Path, units: str | None = None) -> Calibration:
    """Read a TOML calibration of any dialect.

    Convention:
        cameras come in natural order of their keys (``cam_2`` before ``cam_10``); a number N as key becomes
        ``cam_N``; cameras without a pose are lenses only. ``rotation_count`` is kept as a turn and not applied.

    Args:
        text: the file's text.
        path: the file, for messages.
        units: m, cm or mm where the user says so.

    Returns:
        Cameras in metres, lenses, warnings.

    Raises:
        CalibrationError: not TOML, no camera in it, a broken camera, or implausible lengths.
    """
    return anipose_cameras(text, path).in_metres(str(path), units)


def anipose_cameras(text: str, path: Path) -> CameraFile:
    """Read a TOML calibration of any dialect in its own unit; the rest as `read_anipose_toml`.

    Raises:
        CalibrationError: not TOML, no camera in it, or a broken camera.
    """
    raw = parse_toml(text, path, "calibration", CalibrationError)
    tables, native = _camera_tables(raw, path)
    warnings: list[str] = []
    lenses: dict[str, Intrinsics] = {}
    poses: dict[str, Pose] = {}
    turns: dict[str, int] = {}
    paths: dict[str, FramePath] = {}
    for key, table in tables.items():
        name = _name(key, table)
        where = f"{path}: camera {name!r}"
        if name in lenses:
            raise CalibrationError(f"{where} stands twice; every camera needs a name of its own")
        if native and "matrix" not in table:
            warnings.append(f"{where} has no intrinsics yet: left out")
            continue
        lenses[name] = _lens(name, table, path)
        if any(key.startswith("path_") for key in table):
            paths[name] = _path(table, where)
            poses[name] = (paths[name].R[0], paths[name].t[0])
        elif "rotation" in table and "translation" in table:
            poses[name] = (
                rotation_matrix(table["rotation"], f"{where}: rotation"),
                numbers(table["translation"], (3,), f"{where}: translation"),
            )
            _check_position(table, *poses[name], where, warnings)
        turns |= _turn(name, table, where)
    declared = _declared_units(raw, tables, native, path)
    warnings += _divided_distortion(lenses, path) + _lost_k3(lenses, declared, path)
    return CameraFile(lenses, poses, declared, warnings=warnings, turns=turns, paths=paths)


def write_anipose_toml(path: Path, cameras: Sequence[Camera], paths: Mapping[str, FramePath] = {}) -> None:
    """Write cameras in the aniposelib dialect, in metres, with ``metadata.units = "m"``.

    Convention:
        as read by `read_anipose_toml`; numbers keep all digits; a lens without distortion gets five zeros.

    Args:
        path: the ``.toml`` file; written whole or not at all.
        cameras: cameras with distinct names.
        paths: of those that move, m; other tools read them as standing in their first pose.

    Raises:
        InputError: the folder cannot be written.
    """
    lines: list[str] = []
    for number, camera in enumerate(cameras):
        inner, path_of = camera.intrinsics, paths.get(camera.name)
        R, t = (camera.R, camera.t) if path_of is None else (path_of.R[0], path_of.t[0])
        distortion = inner.distortion if inner.distortion_model != "none" else np.zeros(5)
        lines += [
            f"[cam_{number}]",
            f"name = {_quoted(camera.name)}",
            f"size = [{inner.image_size[0]}, {inner.image_size[1]}]",
            f"matrix = [{', '.join(_listed(row) for row in inner.K)}]",
            f"distortions = {_listed(distortion)}",
            f"rotation = {_listed(np.ravel(cv2.Rodrigues(np.asarray(R))[0]))}",
            f"translation = {_listed(t)}",
            f"fisheye = {'true' if inner.distortion_model == 'fisheye' else 'false'}",
            *_path_lines(path_of),
            "",
        ]
    lines += ["[metadata]", 'units = "m"', "adjusted = false", "error = 0.0", ""]
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines), encoding="utf-8")


def _path_lines(path: FramePath | None) -> list[str]:
    if path is None:
        return []
    return [
        f"path_frames = {_listed(path.frames)}",
        f"path_rotations = [{', '.join(_listed(row) for row in log(path.R))}]",
        f"path_translations = [{', '.join(_listed(row) for row in path.t)}]",
    ]


def _path(table: Mapping[str, Any], where: str) -> FramePath:
    """Read the poses of a camera that moves."""
    found = {key for key in table if key.startswith("path_")}
    if found != set(_PATH_KEYS):
        told = ", ".join(sorted(found))
        raise CalibrationError(f"{where}: a camera that moves has {', '.join(_PATH_KEYS)}; this one has {told}")
    frames, turns, moves = (table[key] for key in _PATH_KEYS)
    path = frame_path(frames, turns, moves, where)
    if "translation" in table:
        stated = numbers(table["translation"], (3,), f"{where}: translation")
        if np.linalg.norm(stated - path.t[0]) > 1e-3 * max(float(np.linalg.norm(stated)), 1e-6):
            raise CalibrationError(
                f"{where}: translation is not the first of path_translations; some program changed one and not the "
                "other: write both anew, or take the lines path_… out for a camera that stands still"
            )
    return path


def natural_order(text: str) -> tuple[Any, ...]:
    """Return a key that sorts numbers inside texts by value: ``cam_2`` before ``cam_10``."""
    parts = re.split(r"([0-9]+)", text)
    return tuple((int(part), part) if index % 2 else part for index, part in enumerate(parts))


def _camera_tables(raw: Mapping[str, Any], path: Path) -> tuple[dict[str, dict[str, Any]], bool]:
    """Return the camera tables in natural order, and whether the file is caliscope's own."""
    nested = raw.get("cameras")
    if isinstance(nested, Mapping):
        candidates = dict(nested)
        if any(not isinstance(table, Mapping) for table in candidates.values()):
            raise CalibrationError(f"{path}: [cameras] must hold one table per camera")
    else:
        candidates = {
            key: table
            for key, table in raw.items()
            if key not in _NOT_CAMERAS and isinstance(table, Mapping) and _CAMERA_KEYS & set(table)
        }
    if not candidates:
        raise CalibrationError(f"{path} holds no cameras; a camera is a table with name, size, matrix, distortions")
    native = any("cam_id" in table or "port" in table for table in candidates.values())
    return {key: dict(candidates[key]) for key in sorted(candidates, key=natural_order)}, native


def _name(key: str, table: Mapping[str, Any]) -> str:
    name = table.get("name", table.get("id"))
    if isinstance(name, str) and name.strip():
        return name
    return f"cam_{key}" if key.isdigit() else key


def _lens(name: str, table: Mapping[str, Any], path: Path) -> Intrinsics:
    where = f"{path}: camera {name!r}"
    for key in ("size", "matrix", "distortions"):
        if key not in table:
            raise CalibrationError(f"{where} has no {key!r}")
    fisheye = table.get("fisheye", False)
    if not isinstance(fisheye, bool):
        raise CalibrationError(f"{where}: fisheye must be true or false")
    K = numbers(table["matrix"], (3, 3), f"{where}: matrix")
    distortion = numbers(table["distortions"], None, f"{where}: distortions")
    size = image_size(table["size"], f"{where}: size")
    return lens(name, size, K, distortion, fisheye, str(path))


def _check_position(table: Mapping[str, Any], R: FloatArray, t: FloatArray, where: str, warnings: list[str]) -> None:
    """FreeMoCap also writes where the camera stands; warn where the two disagree."""
    if "world_position" not in table:
        return
    stated = numbers(table["world_position"], (3,), f"{where}: world_position")
    centre = -R.T @ t
    if np.linalg.norm(stated - centre) > 1e-3 * max(float(np.linalg.norm(centre)), 1.0):
        warnings.append(f"{where}: world_position disagrees with rotation and translation, which are used")


def _turn(name: str, table: Mapping[str, Any], where: str) -> dict[str, int]:
    count = table.get("rotation_count", 0)
    if not isinstance(count, int) or isinstance(count, bool) or abs(count) > 1000:
        raise CalibrationError(f"{where}: rotation_count must be a whole number of quarter turns")
    return {name: count % 4} if count % 4 else {}


def _declared_units(
    raw: Mapping[str, Any], tables: Mapping[str, Mapping[str, Any]], native: bool, path: Path
) -> str | None:
    metadata = raw.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    if "units" in metadata:
        if metadata["units"] not in tuple(METRES):  # it may be a list, which has no hash
            raise CalibrationError(f"{path}: metadata.units = {metadata['units']!r} is none of m, cm, mm")
        return metadata["units"]
    board = metadata.get("board")
    in_mm = isinstance(board, Mapping) and "square_length_mm" in board
    if in_mm or "square_length_mm" in metadata or any("world_position" in table for table in tables.values()):
        return "mm"
    return "m" if native else None


def _divided_distortion(lenses: Mapping[str, Intrinsics], path: Path) -> list[str]:
    """Recognise Qualisys distortion divided by 64: six decimals appear once it is multiplied again."""
    found = [
        item.distortion for item in lenses.values() if item.distortion_model == "opencv" and len(item.distortion) == 4
    ]
    if not found or len(found) != len(lenses):
        return []
    micro = np.array(found) * 1e6
    divided = np.abs(micro * 64 - np.round(micro * 64)).max() < 1e-3 and np.abs(micro - np.round(micro)).max() > 1e-2
    if not divided or not 0 < np.abs(found).max() < 0.02:
        return []
    return [
        f"{path}: the distortion looks like that of a Qualisys file divided by 64 (a fault of Pose2Sim's conversion): "
        f"almost no distortion is left; use the .qca.txt file instead"
    ]


def _lost_k3(lenses: Mapping[str, Intrinsics], declared: str | None, path: Path) -> list[str]:
    """Pose2Sim keeps four coefficients whatever the calibration had; files that declare their unit are not its."""
    if declared is not None or any(item.distortion_model == "fisheye" for item in lenses.values()):
        return []
    if not lenses or any(len(item.distortion) != 4 for item in lenses.values()):
        return []
    return [
        f"{path}: four distortion coefficients per camera: this dialect has no place for k3; if the lenses were "
        f"calibrated with k3, it is lost here, so prefer the original calibration file"
    ]


def _listed(values: Iterable[Any]) -> str:
    return "[" + ", ".join(repr(float(value)) for value in values) + "]"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if ord(c) >= 32 and ord(c) != 127 else f"\\u{ord(c):04x}" for c in escaped) + '"'
