"""Detections kept between solves, so that no frame is looked at twice: after a cancel, or with other cameras.

A file holds one view's `Follower` under a name that is a hash of everything it depends on: the footage, the frames,
the networks and the settings. A file that cannot be read is as good as none.
"""

from __future__ import annotations

import hashlib
import os
import sys
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
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


def read_kept_detections(path: Path, joints: int) -> Mapping[str, Any] | None:
    """Return a kept `Follower.state`, or None."""
    try:
        with path.open("rb") as file, zipfile.ZipFile(file):  # np.load leaves a broken archive open
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                state = {key: archive[key] for key in _KEYS}
        whole = state["rows"].shape == (state["length"].sum(), joints, 7) and len(state["frames"]) == len(state["rows"])
        tracks = len(state["length"])
        fits = state["region"].shape == (tracks, 5) and state["active"].shape == (tracks,) and bool(state["done"] >= 0)
        return state if whole and fits else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


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
