"""Corrections on disk: ``take.corrections.toml`` beside ``take.toml``, written by the add-on, readable by a person."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..config import checked_table, nearest_key
from ..corrections import DROP, FARTHEST_M, KINDS, LIMBS, MOVE, PIN, PIN_SIGMA_M, SWAP, WRONG, Correction
from ..errors import InputError
from .toml_text import parse_toml, read_text
from .whole_file import replacing

_KEYS: dict[str, Any] = {
    "kind": str,
    "person": int,
    "view": str,
    "joint": str,
    "limb": str,
    "time": float,
    "start": float,
    "end": float,
    "xy": tuple[float, float],
    "xyz": tuple[float, float, float],
    "sigma_m": float,
}
_NEEDED = {
    MOVE: ("view", "joint", "time", "xy"),
    WRONG: ("view", "start", "end"),
    SWAP: ("view", "limb", "start", "end"),
    DROP: ("view", "start", "end"),
    PIN: ("joint", "time", "xyz"),
}


def corrections_path(take: Path) -> Path:
    """Return the file that holds a take's corrections, which need not exist."""
    return take.with_name(f"{take.stem}.corrections.toml")


def read_corrections(path: Path) -> tuple[Correction, ...]:
    """Read corrections; none where the file does not exist.

    Raises:
        InputError: the file cannot be read, a key is unknown or missing, or a value is impossible.
    """
    return parsed_corrections(read_text(path, "corrections"), path) if path.exists() else ()


def parsed_corrections(text: str, path: Path) -> tuple[Correction, ...]:
    """Read corrections from text of `corrections_text`, found in the file ``path``.

    Raises:
        InputError: as for `read_corrections`.
    """
    raw = parse_toml(text, path, "corrections")
    entries = raw.pop("correction", [])
    if raw or not isinstance(entries, list):
        raise InputError(f"corrections file {path} may hold [[correction]] tables only")
    return tuple(_correction(entry, f"{path}: [[correction]] number {n}") for n, entry in enumerate(entries, start=1))


def write_corrections(path: Path, corrections: Iterable[Correction]) -> None:
    """Write corrections; the file is removed where there are none.

    Raises:
        InputError: the folder cannot be written.
    """
    corrections = list(corrections)
    if not corrections:
        path.unlink(missing_ok=True)
        return
    text = "# Corrections of the keypoints, used by every solve of this take; edited by the add-on.\n"
    text += corrections_text(corrections)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def corrections_text(corrections: Iterable[Correction]) -> str:
    """Write corrections as TOML tables."""
    return "".join(f"\n[[correction]]\n{_lines(correction)}" for correction in corrections)


def _lines(correction: Correction) -> str:
    values: dict[str, Any] = {"kind": correction.kind, "person": correction.person, "view": correction.view}
    values["limb" if correction.kind == SWAP else "joint"] = correction.joint
    if correction.kind in (MOVE, PIN):
        values |= {"time": correction.start_s, "xy" if correction.kind == MOVE else "xyz": list(correction.place)}
    else:
        values |= {"start": correction.start_s, "end": correction.end_s}
    if correction.kind == PIN:
        values["sigma_m"] = correction.sigma_m
    return "".join(
        f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items() if value is not None
    )


def _correction(raw: Any, where: str) -> Correction:
    if not isinstance(raw, Mapping):
        raise InputError(f"{where} must be a table")
    kind = raw.get("kind")
    if kind not in KINDS:
        raise InputError(f"{where}: kind = {kind!r} is unknown{nearest_key(str(kind), KINDS)}")
    for key in _NEEDED[kind]:
        if key not in raw:
            raise InputError(f"{where}: a {kind!r} needs {key}")
    values = checked_table(raw, _KEYS, where)
    if values.get("limb", "body") not in LIMBS:
        raise InputError(f"{where}: limb = {values['limb']!r} is unknown{nearest_key(values['limb'], tuple(LIMBS))}")
    start = values["time"] if "time" in values else values["start"]
    end = values["time"] if "time" in values else values["end"]
    sigma = values.get("sigma_m", PIN_SIGMA_M)
    if end < start:
        raise InputError(f"{where}: end = {end:g} must not come before start = {start:g} (seconds)")
    if not 1e-4 <= sigma <= 10:
        raise InputError(f"{where}: sigma_m = {sigma:g} is out of range; it must lie in 0.0001 … 10")
    joint = values.get("limb") if kind == SWAP else values.get("joint")
    place = values.get("xyz" if kind == PIN else "xy", ())
    if kind == PIN and not all(abs(number) <= FARTHEST_M for number in place):
        raise InputError(f"{where}: xyz = {list(place)} must lie within {FARTHEST_M:g} m of the origin")
    if not all(map(math.isfinite, place)):  # how far beyond its picture, `corrected` judges
        raise InputError(f"{where}: xy = {list(place)} must be finite pixels of the view")
    return Correction(kind, values.get("person", 1), start, end, values.get("view"), joint, place, sigma)
