"""C3D: joint trajectories for motion-capture labs, with our standard deviation in the residual.

The layout is that of the public manual (https://www.c3d.org): a header of 512 bytes, parameters in groups, then frames
of points and analogue samples. A reader and writer of our own: a library would have to come along in every Blender,
and the one at hand fills up files that are cut off without a word.

The fourth word of a point is (camera mask · 256 + residual / |POINT:SCALE|), -1 where the point is missing. The manual
and most readers take the residual from the low byte, ezc3d takes it from the high one. We have no camera mask, so the
residual stands in both.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..shapes import FloatArray
from ..types import Flag, Keypoints3D
from .camera_table import METRES
from .whole_file import replacing

_BLOCK = 512
_KEY = 0x50
_INTEL, _DEC, _MIPS = 84, 85, 86
_LARGEST = 1024**3  # bytes
_LARGEST_16 = 65535
_FILE_FROM_WORLD, _WORLD_FROM_FILE = [1, 2, 0], [2, 0, 1]  # Y-up: (x, y, z) of the file is (Y, Z, X), as in TRC
_MOST_LABELS = 255
_STEP_MM = 0.5  # of the residual; it has 7 bits
_HEADER = "<BBHHHHHfHHf"
_TYPES = {-1: "S1", 1: "u1", 2: "i2", 4: "f4"}

Parameters = dict[tuple[str, str], Any]


def write_c3d(path: Path, keypoints: Keypoints3D, person: int = 0, y_up: bool = True) -> None:
    """Write one person's joints.

    Convention:
        millimetres, floats, frames from 1. Residual: sigma = sqrt(trace(covariance) / 3), rounded up to steps of
        0.5 mm, 63.5 mm where it is larger (steps and limit grow with coordinates beyond 16 m); -1 and coordinates 0
        where a joint is missing. Y-up as in TRC, which X_SCREEN = +Z and Y_SCREEN = +Y say.

    Args:
        path: the ``.c3d`` file; written whole or not at all.
        keypoints: joints in the world.
        person: which person.
        y_up: False leaves our own axes (Z up).

    Raises:
        InputError: there is no such person, no frame, or the folder cannot be written.
    """
    if not 0 <= person < keypoints.xyz.shape[1]:
        raise InputError(f"person {person} is not in the solution, which has {keypoints.xyz.shape[1]}")
    times, names = keypoints.timestamps_s, keypoints.joint_names
    if not len(times) or not names:
        raise InputError(f"{path}: a C3D file needs at least one frame and one joint")
    rate = (len(times) - 1) / float(times[-1] - times[0]) if len(times) > 1 else 1.0
    xyz = keypoints.xyz[:, person][..., _FILE_FROM_WORLD if y_up else [0, 1, 2]] * 1000
    scale = max(_STEP_MM, float(np.nanmax(np.abs(xyz), initial=0.0)) / 32000)
    points = np.zeros((len(times), len(names), 4), "<f4")
    points[..., :3] = np.nan_to_num(xyz)
    points[..., 3] = _words(keypoints.covariance[:, person], keypoints.observed[:, person], scale)
    blocks = math.ceil(len(_parameters(names, len(times), rate, scale, y_up, 0)) / _BLOCK)
    start = 2 + blocks
    parameters = _parameters(names, len(times), rate, scale, y_up, start)
    last = min(len(times), _LARGEST_16)
    header = struct.pack(_HEADER, 2, _KEY, min(len(names), _LARGEST_16), 0, 1, last, 0, -scale, start, 0, rate)
    with replacing(path) as temporary, temporary.open("wb") as file:
        for part in (header, parameters, points.tobytes()):
            file.write(part.ljust(math.ceil(len(part) / _BLOCK) * _BLOCK, b"\0"))


def read_c3d(path: Path) -> Keypoints3D:
    """Read trajectories.

    Convention:
        metres; Z-up: a file whose Y_SCREEN is +Y is turned as TRC is, others are taken as they are. P = 1, frame i is
        at i / rate. A negative residual, NaN and 0, 0, 0 are missing. Covariance: the residual squared on each axis;
        0 where the residual is 0 (it was not measured).

    Args:
        path: the ``.c3d`` file.

    Returns:
        Joints in the world.

    Raises:
        InputError: the file is missing, broken, cut off, of unknown units or axes; the message names it.
    """
    path = Path(path)
    data = _bytes(path)
    try:
        with np.errstate(all="ignore"):  # broken numbers overflow; they are judged afterwards
            return _keypoints(data, path)
    except (struct.error, IndexError, ValueError, OverflowError, TypeError) as problem:
        raise InputError(f"{path} is a damaged C3D file: {' '.join(str(problem).split())}") from None


def _words(covariance: FloatArray, seen: Any, scale: float) -> FloatArray:
    """(T, J) fourth words: the residual in both bytes, -1 where missing."""
    sigma = np.sqrt(np.trace(covariance, axis1=-2, axis2=-1) / 3) * 1000
    steps = np.clip(np.ceil(np.where(seen, sigma, 0) / scale), 1, 127)
    return np.where(seen, steps * 257, -1)


def _parameters(names: tuple[str, ...], frames: int, rate: float, scale: float, y_up: bool, start: int) -> bytes:
    """The parameter section, whose first bytes say how many blocks it has."""
    labels = [names[i : i + _MOST_LABELS] for i in range(0, len(names), _MOST_LABELS)]
    point: list[tuple[str, Any]] = [
        ("USED", np.array(len(names), "<u2")),
        ("SCALE", np.array(-scale, "<f4")),
        ("RATE", np.array(rate, "<f4")),
        ("DATA_START", np.array(start, "<u2")),
        ("FRAMES", np.array(min(frames, _LARGEST_16), "<u2")),
        ("UNITS", ["mm"]),
        ("X_SCREEN", ["+Z" if y_up else "+X"]),
        ("Y_SCREEN", ["+Y" if y_up else "+Z"]),
        *((f"LABELS{n + 1 if n else ''}", list(part)) for n, part in enumerate(labels)),
        *((f"DESCRIPTIONS{n + 1 if n else ''}", [""] * len(part)) for n, part in enumerate(labels)),
    ]
    trial = [
        ("ACTUAL_START_FIELD", np.array([1, 0], "<u2")),
        ("ACTUAL_END_FIELD", np.array([frames & 0xFFFF, frames >> 16], "<u2")),
    ]
    analog = [("USED", np.array(0, "<u2")), ("GEN_SCALE", np.array(1, "<f4")), ("RATE", np.array(rate, "<f4"))]
    groups = {"POINT": point, "ANALOG": analog, "TRIAL": trial, "FORCE_PLATFORM": [("USED", np.array(0, "<u2"))]}
    body = b""
    for number, (group, members) in enumerate(groups.items(), start=1):
        body += struct.pack("<bb", len(group), -number) + group.encode() + struct.pack("<HB", 3, 0)
        for name, value in members:
            content = _value(value)
            body += struct.pack("<bb", len(name), number) + name.encode()
            body += struct.pack("<H", len(content) + 3) + content + b"\0"
    size = math.ceil((len(body) + 6) / _BLOCK)
    if size > 255:
        raise InputError(f"{len(names)} joints are more than the parameters of a C3D file can name")
    return struct.pack("<BBBB", 1, _KEY, size, _INTEL) + body + b"\0\0"


def _value(value: Any) -> bytes:
    """Type, dimensions and data of a parameter."""
    if isinstance(value, list):
        texts = [text.encode("utf-8")[:127] for text in value]
        width = max(max(map(len, texts)), 1)
        return struct.pack("<bBBB", -1, 2, width, len(texts)) + b"".join(text.ljust(width) for text in texts)
    kind = {"u2": 2, "f4": 4}[value.dtype.str[1:]]
    return struct.pack("<bB", kind, value.ndim) + bytes(value.shape) + value.tobytes()


def _bytes(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise InputError(f"C3D file {path} does not exist")
        if path.stat().st_size > _LARGEST:
            raise InputError(f"C3D file {path} is larger than 1 GiB")
        data = path.read_bytes()
    except (OSError, ValueError) as problem:
        raise InputError(f"C3D file {path} cannot be read: {problem}") from None
    if len(data) < 2 * _BLOCK or data[1] != _KEY:
        raise InputError(f"{path} is not a C3D file (its second byte is 0x50), or it is cut off")
    return data


@dataclass(frozen=True)
class _Numbers:
    """How a processor writes numbers."""

    processor: int

    def array(self, data: bytes, kind: str, count: int, offset: int = 0) -> Any:
        order = ">" if self.processor == _MIPS else "<"
        if kind == "f4" and self.processor == _DEC:  # the halves are swapped, the exponent is larger by two
            halves = np.frombuffer(data, "<u2", 2 * count, offset).reshape(-1, 2)[:, ::-1]
            return np.ascontiguousarray(halves).view("<f4")[:, 0] / 4
        return np.frombuffer(data, order + kind, count, offset)


def _keypoints(data: bytes, path: Path) -> Keypoints3D:
    parameter_start = (data[0] - 1) * _BLOCK
    processor = data[parameter_start + 3]
    if processor not in (_INTEL, _DEC, _MIPS):
        raise InputError(f"{path} is a damaged C3D file: processor {processor} is none of 84, 85, 86")
    reading = _Numbers(processor)
    parameters = _read_parameters(data, parameter_start + 4, reading)
    points, analog, first, last = (int(n) for n in reading.array(data, "u2", 4, 2))
    scale = float(reading.array(data, "f4", 1, 12)[0])
    start = int(reading.array(data, "u2", 1, 16)[0])
    rate = _rate(parameters, reading, data, path)
    frames = _frame_count(parameters, first, last)
    names = _names(parameters, points, path)
    width = 4 * points + analog
    kind = "f4" if scale < 0 else "i2"
    offset, size = (start - 1) * _BLOCK, width * int(kind[1])
    if start < 2 or frames * size > len(data) - offset:
        held = max(len(data) - offset, 0) // size
        raise InputError(f"{path} is cut off: it says {frames} frames of {points} points and holds {held}")
    table = reading.array(data, kind, frames * width, offset).reshape(frames, width)[:, : 4 * points]
    values = table.reshape(frames, points, 4).astype(np.float64)
    factor = _metres(parameters, path)
    xyz = values[..., :3] * factor * (1.0 if scale < 0 else scale)
    word = np.nan_to_num(values[..., 3], nan=-1.0, posinf=-1.0, neginf=-1.0)
    missing = (word < 0) | ~np.isfinite(xyz).all(-1) | (xyz == 0).all(-1) | (np.abs(xyz) > 1e6).any(-1)
    sigma = (np.clip(word, 0, 2**15).astype(np.int64) & 0xFF) * abs(scale) * factor
    if not np.isfinite(sigma).all():
        raise InputError(f"{path} is a damaged C3D file: its scale factor is not finite")
    xyz[missing] = np.nan
    xyz = xyz[..., _axes(parameters, path)]
    covariance = np.where(missing[..., None, None], np.nan, sigma[..., None, None] ** 2 * np.eye(3))
    flag = np.where(missing, int(Flag.UNOBSERVED), int(Flag.OBSERVED))
    return Keypoints3D(names, np.arange(frames) / rate, xyz[:, None], covariance[:, None], flag[:, None])


def _read_parameters(data: bytes, at: int, reading: _Numbers) -> Parameters:
    """All parameters by group and name."""
    groups: dict[int, str] = {}
    found: list[tuple[int, str, Any]] = []
    while at + 2 <= len(data):
        length, group = struct.unpack_from("<bb", data, at)
        name_end = at + 2 + abs(length)
        if length == 0 or group == 0:
            break
        name = data[at + 2 : name_end].decode("latin1").strip().upper()
        step = int(reading.array(data, "u2", 1, name_end)[0])
        if group < 0:
            groups[-group] = name
        else:
            found.append((group, name, _read_value(data, name_end + 2, reading)))
        if step < 2:  # 0 marks the last one
            break
        at = name_end + step
    return {(groups.get(group, ""), name): value for group, name, value in found}


def _read_value(data: bytes, at: int, reading: _Numbers) -> Any:
    """One parameter: a list of texts, or an array in file order (first dimension fastest)."""
    kind = struct.unpack_from("<b", data, at)[0]
    if kind not in _TYPES:
        raise ValueError(f"a parameter of type {kind}")
    shape = tuple(data[at + 2 : at + 2 + data[at + 1]])
    count = math.prod(shape)
    start = at + 2 + len(shape)
    if kind == -1:
        raw = data[start : start + count]
        width = shape[0] if shape else 1
        return [raw[i : i + width].decode("latin1").strip(" \0") for i in range(0, len(raw), max(width, 1))]
    return reading.array(data, _TYPES[kind], count, start)


def _first(parameters: Parameters, group: str, name: str) -> Any:
    value = parameters.get((group, name), [])
    return value[0] if len(value) else None


def _rate(parameters: Parameters, reading: _Numbers, data: bytes, path: Path) -> float:
    stated = _first(parameters, "POINT", "RATE")
    rate = float(reading.array(data, "f4", 1, 20)[0] if stated is None else stated)
    if not 1e-3 < rate < 1e6:
        raise InputError(f"{path} is a damaged C3D file: {rate:g} frames per second")
    return rate


def _frame_count(parameters: Parameters, first: int, last: int) -> int:
    """Frames by the header, or where it has no room for them by TRIAL: 16 bits low, 16 bits high."""
    ends = [parameters.get(("TRIAL", f"ACTUAL_{end}_FIELD")) for end in ("START", "END")]
    if last == _LARGEST_16 and all(isinstance(end, np.ndarray) and len(end) == 2 for end in ends):
        low, high = (int(end[0]) % 65536 + 65536 * (int(end[1]) % 65536) for end in ends if end is not None)
        return high - low + 1
    if last < first:
        raise ValueError(f"its last frame {last} comes before its first {first}")
    return last - first + 1


def _names(parameters: Parameters, points: int, path: Path) -> tuple[str, ...]:
    names: list[str] = []
    for number in range(1, 258):
        part = parameters.get(("POINT", f"LABELS{number if number > 1 else ''}"), [])
        names += [str(name) for name in part]
    names = [name or f"point_{n}" for n, name in enumerate(names[:points], start=1)]
    names += [f"point_{n}" for n in range(len(names) + 1, points + 1)]
    if points == 0 or len(set(names)) < points:
        raise InputError(f"{path}: a C3D file must have points, each with a label of its own")
    return tuple(names)


def _metres(parameters: Parameters, path: Path) -> float:
    unit = str(_first(parameters, "POINT", "UNITS") or "mm").lower()
    if unit not in METRES:
        raise InputError(f"{path}: POINT:UNITS = {unit!r} is none of m, cm, mm")
    return METRES[unit]


def _axes(parameters: Parameters, path: Path) -> list[int]:
    up = str(_first(parameters, "POINT", "Y_SCREEN") or "+Z").upper()
    if up not in ("+Y", "+Z"):
        raise InputError(f"{path}: Y_SCREEN = {up!r}: files are read with +Y or +Z up; turn it in the tool it is from")
    return _WORLD_FROM_FILE if up == "+Y" else [0, 1, 2]
