"""A take as the panel holds it, written as a take file. Imports no bpy."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..inference.errors import InputError
from ..inference.files.whole_file import replacing

MARK = "# Written by Sightline's panel, which writes it anew before every solve.\n"
_PROJECT = "# Scene: "


@dataclass(frozen=True)
class ViewEntry:
    """One video of the panel's list."""

    name: str
    video: str  # absolute
    fit: str = "exact"
    fps: float | None = None  # None: what the video says
    offset_s: float | None = 0.0  # None: found from the motion


@dataclass(frozen=True)
class TakeEntry:
    """What the panel's steps say."""

    name: str
    views: tuple[ViewEntry, ...]
    calibration: Mapping[str, Any]  # the keys of [calibration]
    board: Mapping[str, Any] = field(default_factory=dict)  # of [calibration.board]
    persons: int = 1
    height_m: float | None = None
    start_s: float | None = None
    end_s: float | None = None
    fps: float | None = None  # of the solution; None: the highest rate of the views
    settings: Mapping[str, Any] = field(default_factory=dict)  # of [solve]
    project: str = ""  # which scene it belongs to: two may keep takes of one name in one folder


def take_file(entry: TakeEntry, folder: Path) -> Path:
    """Return where the panel's take is written: never over a file of somebody else's, or of another scene."""
    path = folder / f"{entry.name}.toml"
    for number in range(2, 100):
        try:
            if not path.exists() or _is_of(entry.project, path.read_text(encoding="utf-8")):
                return path
        except (OSError, UnicodeDecodeError):
            pass  # not ours, whatever it is
        path = folder / f"{entry.name} {number}.toml"
    raise InputError(f"{folder} is full of files called {entry.name}; give the take another name")


def _is_of(project: str, text: str) -> bool:
    """Tell whether a take file is the panel's, and of this scene; files of before say no scene."""
    said = text.removeprefix(MARK).partition("\n")[0]
    return text.startswith(MARK) and (said == _PROJECT + project or not said.startswith(_PROJECT))


def write_take(entry: TakeEntry, folder: Path) -> Path:
    """Write the take file; paths below its folder are relative, so that both can move together.

    Returns:
        The file.

    Raises:
        InputError: the folder cannot be written.
    """
    path = take_file(entry, folder)
    take = {"name": entry.name, "persons": entry.persons, "height_m": entry.height_m}
    take |= {"start": entry.start_s, "end": entry.end_s, "fps": entry.fps}
    tables = [_table("[take]", take), _table("[calibration]", _relative(entry.calibration, folder))]
    if entry.board:
        tables.append(_table("[calibration.board]", _relative(entry.board, folder)))
    for view in entry.views:
        values: dict[str, Any] = {"name": view.name, "video": _below(view.video, folder), "fit": view.fit}
        values |= {"fps": view.fps, "offset_s": "auto" if view.offset_s is None else view.offset_s}
        tables.append(_table("[[view]]", values))
    if entry.settings:
        tables.append(_table("[solve]", entry.settings))
    with replacing(path) as temporary:
        temporary.write_text(f"{MARK}{_PROJECT}{entry.project}\n" + "\n".join(tables), encoding="utf-8")
    return path


def _table(head: str, values: Mapping[str, Any]) -> str:
    lines = [f"{key} = {_value(value)}\n" for key, value in values.items() if value is not None]
    return f"\n{head}\n" + "".join(lines)


def _value(value: Any) -> str:
    """Write a TOML value; JSON's texts, numbers and lists are TOML's too."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


_PATHS = ("source", "intrinsics", "points", "pictures", "lens_pictures")


def _relative(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    plain = ("self", "board")
    return {
        key: _below(value, folder) if key in _PATHS and value not in plain else value for key, value in values.items()
    }


def _below(path: str, folder: Path) -> str:
    """A path relative to the folder where it lies below it, else as it is; with forward slashes."""
    try:
        return Path(os.path.abspath(path)).relative_to(os.path.abspath(folder)).as_posix()
    except ValueError:
        return Path(path).as_posix()
