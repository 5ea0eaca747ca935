"""TRC: joint trajectories as tab-separated text, for OpenSim and motion-capture tools.

TRC is Y-up: (x, y, z) of the file is (Y, Z, X) of our world, so X = z, Y = x, Z = y.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..shapes import FloatArray
from ..types import Flag, Keypoints3D
from .camera_table import METRES
from .toml_text import read_text
from .whole_file import replacing

_TRC_FROM_WORLD = [1, 2, 0]
_WORLD_FROM_TRC = [2, 0, 1]
_HEADER = "DataRate CameraRate NumFrames NumMarkers Units OrigDataRate OrigDataStartFrame OrigNumFrames".split()
_UNITS = METRES | {"meters": 1.0, "millimeters": 0.001, "centimeters": 0.01}


def write_trc(path: Path, keypoints: Keypoints3D, person: int = 0, y_up: bool = True) -> None:
    """Write one person's joints.

    Convention:
        metres, Y-up, micrometre digits; frames count from 1; an unobserved joint is three empty cells.

    Args:
        path: the ``.trc`` file; written whole or not at all.
        keypoints: joints in the world.
        person: which person.
        y_up: False leaves our own axes (Z up), as caliscope writes them.

    Raises:
        InputError: there is no such person, or the folder cannot be written.
    """
    if not 0 <= person < keypoints.xyz.shape[1]:
        raise InputError(f"person {person} is not in the solution, which has {keypoints.xyz.shape[1]}")
    times, names = keypoints.timestamps_s, keypoints.joint_names
    rate = f"{_rate(times):.10g}"
    values = [rate, rate, str(len(times)), str(len(names)), "m", rate, "1", str(len(times))]
    axes = [f"{axis}{number}" for number in range(1, len(names) + 1) for axis in "XYZ"]
    lines = [
        "\t".join(["PathFileType", "4", "(X/Y/Z)", Path(path).name]),
        "\t".join(_HEADER),
        "\t".join(values),
        "\t".join(["Frame#", "Time", *(f"{name}\t\t" for name in names)]),
        "\t".join(["", "", *axes]),
        "",
    ]
    xyz = keypoints.xyz[:, person][..., _TRC_FROM_WORLD if y_up else [0, 1, 2]].reshape(len(times), -1)
    for number, (time, row) in enumerate(zip(times, xyz, strict=True), start=1):  # text is written line by line
        cells = ["" if math.isnan(value) else f"{value:.6f}" for value in row]
        lines.append("\t".join([str(number), f"{time:.6f}", *cells]))
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def read_trc(path: Path, y_up: bool = True) -> Keypoints3D:
    """Read trajectories.

    Convention:
        the rows are trusted over the header: number of frames, and the times as they stand in them; unit of the
        header (m, cm, mm). P = 1. TRC knows no covariance: zeros. Empty and NaN cells are missing.

    Args:
        path: the ``.trc`` file.
        y_up: False for files in Z-up axes.

    Returns:
        Joints in the world, metres.

    Raises:
        InputError: the file is missing, broken, of unknown units or without rows; the message names file and line.
    """
    path = Path(path)
    lines = read_text(path, "TRC").splitlines()
    if len(lines) < 6 or not lines[0].startswith("PathFileType"):
        raise InputError(f"{path} is not a TRC file (its first line begins with PathFileType), or it is cut off")
    factor = _unit(lines, path)
    names = tuple(cell.strip() for cell in lines[3].rstrip().split("\t")[2:] if cell.strip())
    if not names or len(set(names)) < len(names):
        raise InputError(f"{path}: line 4 must name every marker once")
    rows = [
        _row(line, len(names), f"{path}: line {number}")
        for number, line in enumerate(lines[5:], start=6)
        if line.strip()
    ]
    if not rows:
        raise InputError(f"{path} holds no frames")
    table = np.array(rows)
    if not np.isfinite(table[:, 1]).all() or (np.diff(table[:, 1]) <= 0).any():
        raise InputError(f"{path}: the times in column 2 must be numbers and ascend")
    xyz = table[:, 2:].reshape(len(rows), 1, len(names), 3) * factor
    xyz[~np.isfinite(xyz).all(-1)] = np.nan
    observed = np.isfinite(xyz).all(-1)
    covariance = np.where(observed[..., None, None], np.zeros((3, 3)), np.nan)
    flag = np.where(observed, int(Flag.OBSERVED), int(Flag.UNOBSERVED))
    return Keypoints3D(names, table[:, 1], xyz[..., _WORLD_FROM_TRC] if y_up else xyz, covariance, flag)


def _rate(times: FloatArray) -> float:
    return (len(times) - 1) / float(times[-1] - times[0]) if len(times) > 1 else 0.0


def _unit(lines: list[str], path: Path) -> float:
    header = dict(zip(lines[1].split("\t"), lines[2].split("\t"), strict=False))
    unit = header.get("Units", "").strip().lower()
    if unit not in _UNITS:
        raise InputError(f"{path}: Units = {unit!r} in line 3 is none of m, cm, mm")
    return _UNITS[unit]


def _row(line: str, markers: int, where: str) -> list[float]:
    cells = line.split("\t")
    wanted = 2 + 3 * markers
    if len(cells) < wanted:  # trailing empty cells may have been stripped, but no marker may be cut in the middle
        if (len(cells) - 2) % 3 or len(cells) < 2:
            raise InputError(f"{where} has {len(cells)} cells, {markers} markers need {wanted}; the file is cut off")
        cells += [""] * (wanted - len(cells))
    if any(cell.strip() for cell in cells[wanted:]):
        raise InputError(f"{where} has more cells than its {markers} markers need ({wanted})")
    try:
        return [float(cell) if cell.strip() else math.nan for cell in cells[:wanted]]
    except ValueError:
        raise InputError(f"{where} holds something that is not a number") from None
