"""Corrections of the keypoints in a scene: the list in the panel, and the take's file, which is what the solver reads.

The list is the master once it has read the take's file; every change of it goes to the file, undoing included.
"""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ..inference.corrections import MOVE, PIN, Correction, corrected, frames_of, in_world_of
from ..inference.errors import InputError
from ..inference.files.corrections_toml import corrections_path, read_corrections, write_corrections
from ..inference.files.kept_keypoints import KeptKeypoints, kept_joint_names, read_kept
from ..inference.files.solution import read_cameras
from ..inference.shapes import FloatArray
from ..inference.types import Keypoints2D
from .host.scene import clock_of_times

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Seen:
    """A file of kept keypoints as it was read last."""

    state: tuple[str, int]
    kept: KeptKeypoints
    corrections: tuple[Correction, ...] | None = None
    views: tuple[Keypoints2D, ...] = ()


_seen: list[_Seen] = []  # the one that was read last
_before: dict[str, tuple[Correction, ...]] = {}  # take file -> its corrections as this session found them
_known: dict[str, tuple[Correction, ...]] = {}  # take file -> its corrections as this session read or wrote them last


def solved_take(scene: bpy.types.Scene) -> Path:
    """Return the take file of the scene's solution.

    Raises:
        InputError: nothing was solved here yet.
    """
    known = scene.sightline
    if not known.solution_path or not known.solved_take_path:
        raise InputError("there is nothing to correct yet: solve the take first")
    return Path(bpy.path.abspath(known.solved_take_path))


def kept_path(scene: bpy.types.Scene) -> Path:
    """Return where the last solve left its keypoints."""
    return Path(bpy.path.abspath(scene.sightline.solution_path)).with_name("keypoints.kept")


def kept_keypoints(scene: bpy.types.Scene) -> KeptKeypoints:
    """Read the keypoints that the last solve left; once, while the file stays the same.

    Raises:
        InputError: nothing was solved, or the file is missing or broken; the message says to solve in full.
    """
    solved_take(scene)
    return _look(scene).kept


def _look(scene: bpy.types.Scene) -> _Seen:
    path = kept_path(scene)
    if not path.is_file():
        raise InputError(f"the keypoints of the last solve are gone ({path}): press Solve 3D Pose to solve in full")
    state = (str(path), path.stat().st_mtime_ns)
    if not _seen or _seen[0].state != state:
        _seen[:] = [_Seen(state, read_kept(path))]
    return _seen[0]


def corrected_keypoints(scene: bpy.types.Scene) -> tuple[Keypoints2D, ...]:
    """Return the keypoints of all views with the scene's corrections in them.

    Raises:
        InputError: there are none, or a correction does not fit them.
    """
    seen, wanted = _look(scene), active_corrections(scene)
    if seen.corrections != wanted:
        seen = replace(seen, corrections=wanted, views=corrected(seen.kept.rig, seen.kept.views, wanted))
        _seen[:] = [seen]
    return seen.views


def index_at(scene: bpy.types.Scene, frame: float, times: FloatArray) -> int:
    """Return which of the take's (T,) times a scene frame shows.

    Raises:
        InputError: the take has no such frame.
    """
    start, fps = clock_of_times(scene, scene.sightline.take, times)
    index = int(np.abs(times - times[0] - (frame - start) / fps).argmin())
    if not -0.5 <= frame - start <= (times[-1] - times[0]) * fps + 0.5:
        last = start + round((times[-1] - times[0]) * fps)
        raise InputError(f"frame {frame:g} is not of this take: it has frames {start} to {last}")
    return index


def time_range(scene: bpy.types.Scene) -> tuple[float, float]:
    """Return the times (s) that the panel's choice of frames means.

    Raises:
        InputError: the range is empty, or the take has no such frames.
    """
    known, times = scene.sightline, kept_keypoints(scene).views[0].timestamps_s
    frames = (scene.frame_current, scene.frame_current)
    if known.fix_range == "RANGE":
        frames = (known.fix_from, known.fix_to)
        if frames[1] < frames[0]:
            raise InputError(f"the range of frames ends ({frames[1]}) before it begins ({frames[0]})")
    first, last = (float(times[index_at(scene, frame, times)]) for frame in frames)
    return first, last


def pinned_place(scene: bpy.types.Scene, place: Sequence[float]) -> tuple[float, float, float]:
    """Turn a place in the scene (Blender units) into metres in the world of the kept cameras."""
    metres = np.array(place, dtype=float) * scene.unit_settings.scale_length
    x, y, z = in_kept_world(scene, metres[None])[0]
    return round(float(x), 5), round(float(y), 5), round(float(z), 5)


def in_kept_world(
    scene: bpy.types.Scene,
    points: FloatArray,  # (N, 3) m
) -> FloatArray:
    """Turn points of the solution's world into that of the kept cameras, (N, 3) m."""
    solved = read_cameras(Path(bpy.path.abspath(scene.sightline.solution_path)))
    return in_world_of(kept_keypoints(scene).rig, solved, points)


def listed(scene: bpy.types.Scene) -> list[Any]:
    """Return the list's entries of the take that was solved last."""
    return [item for item in scene.sightline.corrections if item.take == scene.sightline.solved_take_path]


def active_corrections(scene: bpy.types.Scene) -> tuple[Correction, ...]:
    """Return the enabled corrections of the take that was solved last."""
    return tuple(_correction(item) for item in listed(scene) if item.enabled)


def load_corrections(scene: bpy.types.Scene, anew: bool = False) -> None:
    """Read the take's file into the list, unless it was read; and which joints there are to choose.

    Args:
        scene: its list.
        anew: read it in any case; disabled corrections are forgotten.

    Raises:
        InputError: nothing was solved, or the file cannot be read.
    """
    take, known = str(solved_take(scene)), scene.sightline
    names = kept_joint_names(kept_path(scene))
    if [item.name for item in known.fix_joints] != list(names):
        known.fix_joints.clear()
        for name in names:
            known.fix_joints.add().name = name
    read = take in known.corrections_read.split("\n")
    if read and take in _known and not anew:
        return
    found = read_corrections(corrections_path(Path(take)))
    _before.setdefault(take, found)
    _known[take] = found
    if not read or found != active_corrections(scene):  # the file is newer than a .blend that was not saved
        disabled = [_correction(item) for item in listed(scene) if not item.enabled]
        _enter_all(scene, [*((item, True) for item in found), *((item, False) for item in disabled)])
    if not read:
        known.corrections_read = f"{known.corrections_read}\n{take}".strip("\n")


def add_correction(scene: bpy.types.Scene, correction: Correction) -> None:
    """Append a correction to the list and the file; another place of the same keypoint replaces the one before.

    Raises:
        InputError: it does not fit the take, or the file cannot be written; nothing has changed then.
    """
    add_corrections(scene, (correction,))


def add_corrections(scene: bpy.types.Scene, added: Sequence[Correction]) -> None:
    """Do what `add_correction` does, for many at once.

    Raises:
        InputError: as there.
    """
    load_corrections(scene)
    kept = kept_keypoints(scene)
    views = kept.views
    places = {_place(correction, views) for correction in added if correction.kind in (MOVE, PIN)}
    others = [(_correction(item), item.enabled) for item in listed(scene)]
    remaining = [
        (other, on) for other, on in others if other.kind not in (MOVE, PIN) or _place(other, views) not in places
    ]
    corrected(kept.rig, views, added)  # refuses what does not fit
    _store(scene, [*remaining, *((correction, True) for correction in added)])
    scene.sightline.correction_index = len(scene.sightline.corrections) - 1


def _place(correction: Correction, views: Sequence[Keypoints2D]) -> tuple[object, ...]:
    """What a moved or pinned joint is told from another by."""
    frame = int(frames_of(correction, views).argmax())
    return (correction.kind, correction.person, correction.view, correction.joint, frame)


def change_corrections(scene: bpy.types.Scene, index: int | None, enabled: bool | None = None) -> None:
    """Enable, disable or remove a correction of the list, or all of the take.

    Args:
        scene: its list.
        index: in the whole list; None: all corrections of the take.
        enabled: None: remove.

    Raises:
        InputError: there is none, or the file cannot be written; nothing has changed then.
    """
    load_corrections(scene)
    entries = listed(scene)
    known = scene.sightline
    if index is not None and (index >= len(known.corrections) or known.corrections[index] not in entries):
        raise InputError("choose a correction of this take in the list first")
    wanted = entries if index is None else [known.corrections[index]]
    kept = [(_correction(item), item.enabled, item in wanted) for item in entries]
    if enabled is None:
        _store(scene, [(correction, on) for correction, on, chosen in kept if not chosen])
    else:
        _store(scene, [(correction, enabled if chosen else on) for correction, on, chosen in kept])
    known.correction_index = max(0, min(known.correction_index, len(known.corrections) - 1))


def follow_undo(scene: bpy.types.Scene) -> None:
    """After undo and redo, let the files that this session has read say what the list says now."""
    known = scene.sightline
    for take, before in _before.items():
        entries = [item for item in known.corrections if str(Path(bpy.path.abspath(item.take))) == take]
        read = take in known.corrections_read.split("\n")
        wanted = tuple(_correction(item) for item in entries if item.enabled) if read else before
        try:
            if wanted != _known[take]:
                _write(take, wanted)
        except (InputError, OSError) as problem:
            log.warning("%s", problem)


def forget_session() -> None:
    """Another file is loaded: what was read before stands for nothing any more."""
    _seen.clear()
    _before.clear()
    _known.clear()


def _store(scene: bpy.types.Scene, wanted: list[tuple[Correction, bool]]) -> None:
    """Write the file, then the list: a file that cannot be written leaves both as they were."""
    _write(str(solved_take(scene)), tuple(correction for correction, on in wanted if on))
    _enter_all(scene, wanted)


def _write(take: str, corrections: tuple[Correction, ...]) -> None:
    path = corrections_path(Path(take))
    if not path.parent.is_dir():
        raise InputError(f"the take's folder {path.parent} is gone: put it back, or solve the take where it is now")
    if read_corrections(path) != _known[take]:
        raise InputError(f"{path} was changed by somebody else: press Reload in the panel Fix, then try again")
    if path.exists() or corrections:
        write_corrections(path, corrections)
    _known[take] = corrections


def _enter_all(scene: bpy.types.Scene, wanted: list[tuple[Correction, bool]]) -> None:
    known = scene.sightline
    for index in reversed(range(len(known.corrections))):
        if known.corrections[index].take == known.solved_take_path:
            known.corrections.remove(index)
    for correction, on in wanted:
        item = known.corrections.add()
        _enter(item, correction, known.solved_take_path)
        item.name = label(scene, correction)
        item.enabled = on


def _enter(item: Any, correction: Correction, take: str) -> None:
    item.take, item.kind, item.person = take, correction.kind, correction.person
    item.view, item.joint = correction.view or "", correction.joint or ""
    item.numbers = json.dumps([correction.start_s, correction.end_s, correction.sigma_m, *correction.place])


def label(scene: bpy.types.Scene, correction: Correction) -> str:
    """Say a correction as briefly as a line of the list is wide, with the frames of the scene first."""
    parts = (correction.kind, (correction.joint or "all").replace("_", " "), correction.view)
    try:
        times = kept_keypoints(scene).views[0].timestamps_s
    except InputError:  # of another solve: only the times are known
        start, end, unit = f"{correction.start_s:.2f}", f"{correction.end_s:.2f}", " s"
    else:
        first, fps = clock_of_times(scene, scene.sightline.take, times)
        start, end = (str(first + round((at - times[0]) * fps)) for at in (correction.start_s, correction.end_s))
        unit = ""
    return ", ".join([start + unit if start == end else f"{start}-{end}{unit}", *(part for part in parts if part)])


def _correction(item: Any) -> Correction:
    start, end, sigma, *place = json.loads(item.numbers)
    return Correction(item.kind, item.person, start, end, item.view or None, item.joint or None, tuple(place), sigma)
