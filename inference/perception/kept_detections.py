"""Detections kept between solves, so that no frame is looked at twice: after a cancel, or with other cameras.

A file holds one view's `Follower` under a name that is a hash of everything it depends on: the footage, the frames,
the networks and the settings. A file that cannot be read is as good as none.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..files.solution import load_arrays
from ..files.whole_file import replacing
from ..types import Footage

_VERSION = "1"  # of how people are followed; another one makes what is kept worthless
_MOST_BYTES = 2 * 2**30  # in the folder; the oldest files go first
_KEYS = ("done", "look", "active", "length", "frames", "rows", "region")


def cache_folder() -> Path:
    """Return where detections are kept: SIGHTLINE_CACHE, or the user's cache folder."""
    if os.environ.get("SIGHTLINE_CACHE"):
        return Path(os.environ["SIGHTLINE_CACHE"]).expanduser()
    home = Path.home()
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local")) / "Sightline" / "Cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "Sightline"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "sightline"


def kept_file(footage: Footage, frames: tuple[int, int], depends_on: Iterable[object]) -> Path:
    """Return the file of one view's detections.

    Args:
        footage: its files count by path, size and time of change.
        frames: (start, stop).
        depends_on: whatever else another result would follow from; compared by ``repr``.
    """
    files = [(str(path), status.st_size, status.st_mtime_ns) for path in footage.files for status in [path.stat()]]
    text = repr((_VERSION, files, len(footage.files), footage.rotation_deg, frames, *depends_on))
    return cache_folder() / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.npz"


def read_kept_detections(path: Path, joints: int, frames: int) -> Mapping[str, Any] | None:
    """Return a kept `Follower.state` of a view with so many joints and frames, or None."""
    try:
        arrays = load_arrays(path, "file of detections")
        state = {key: arrays[key] for key in _KEYS}
        return state if _is_whole(state, joints, frames) else None
    except (InputError, KeyError, TypeError):
        return None


def _is_whole(state: Mapping[str, Any], joints: int, most: int) -> bool:
    """Tell whether a `Follower` can go on from these arrays."""
    tracks, rows = len(state["length"]), len(state["frames"])
    shapes = ((), (), (tracks,), (tracks,), (rows,), (rows, joints, 7), (tracks, 5))
    for key, kind, shape in zip(_KEYS, "ibbiiff", shapes, strict=True):
        if state[key].shape != shape or state[key].dtype.kind != kind:
            return False
    length, frames, done = state["length"], state["frames"], int(state["done"])
    counted = bool((length > 0).all()) and length.sum() == rows and bool(((frames >= 0) & (frames < done)).all())
    return 0 <= done <= most and counted and bool(np.isfinite(state["region"]).all())


def keep_detections(path: Path, state: Mapping[str, Any]) -> None:
    """Write a `Follower.state`; a folder that cannot be written keeps nothing."""
    with suppress(InputError), replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **state)
        _make_room(path.parent)


def _make_room(folder: Path) -> None:
    found = []
    for path in folder.glob("*.npz"):
        with suppress(OSError):
            status = path.stat()
            found.append((status.st_mtime_ns, status.st_size, path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= _MOST_BYTES:
            return
        with suppress(OSError):
            path.unlink()
        total -= size
