"""The take that the panel's steps describe: what is missing of it, and its file."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import bpy

from ..inference.errors import InputError
from ..inference.files.camera_table import Calibration, find_name
from ..inference.footage import open_footage, read_frame
from ..inference.image_fit import image_fit, shows_bars
from ..inference.views import first_moment
from .host.blender_cameras import export_cameras
from .host.parts import take_collection
from .host.picture_frames import ViewInTake
from .host.scene import FRAME_START
from .take_entry import TakeEntry, ViewEntry, write_take


def missing_footage(scene: bpy.types.Scene) -> str:
    """Say what the step Footage lacks, "" if nothing."""
    views = scene.sightline.views
    broken = [view.name for view in views if view.problem]
    if broken:
        return f"{', '.join(broken)} cannot be used"
    names = [view.name for view in views]
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        return f"Two videos are called {double!r}"
    if not views:
        return "Add the videos of the cameras"
    if scene.sightline.end_s and scene.sightline.end_s <= scene.sightline.start_s:
        return "The take ends before it begins: set From and To"
    return next((said for view in views if (said := fit_problem(scene.sightline, view))), "")


def fit_problem(known: Any, view: Any) -> str:
    """Say why a view's Fit cannot be, given the size that its camera was calibrated at; "" if it can."""
    return "" if known.cameras_from != "FILE" or known.lenses_path else _misfit(view)


def _misfit(view: Any) -> str:
    old, new = tuple(view.calibrated), (view.width, view.height)
    if not (all(old) and all(new)):
        return ""
    try:
        image_fit(view.fit, old, new, view.name)
    except InputError:
        sizes = f"{view.name} is {new[0]}×{new[1]}, its calibration {old[0]}×{old[1]}"
        if new == old[::-1]:
            return f"{sizes}: turn the video back, or calibrate it as it is"
        return f"{sizes}: choose its Fit, Letterboxed where the picture has bars, Cropped where it was cut"
    return ""


def set_calibrated_sizes(scene: bpy.types.Scene, found: Calibration) -> None:
    """Remember at which size each view's camera was calibrated, and find its Fit where that tells it."""
    for view in scene.sightline.views:
        name = find_name(view.name, found.cameras)
        sure = name is not None and name not in found.assumed_sizes and not found.turns.get(name, 0) % 2
        view.calibrated = found.cameras[name].intrinsics.image_size if name is not None and sure else (0, 0)
        if fit_problem(scene.sightline, view):
            _find_fit(view)


def _find_fit(view: Any) -> None:
    """A whole picture in another size is Scaled, no doubt; one with just the bars that Letterboxed means is that."""
    if view.fit == "exact" and _misfit(view):
        view.fit = "scale"
        if _misfit(view):
            view.fit = "letterbox" if _letterboxed(view) else "exact"


def _letterboxed(view: Any) -> bool:
    try:
        footage = open_footage(view.name, bpy.path.abspath(view.video), view.fps or None)
        return shows_bars(read_frame(footage, 0), tuple(view.calibrated))
    except InputError:  # the step Footage says so
        return False


PREVIEW = " preview"  # ends the name of the take that Preview solves
ONE_CAMERA = "One camera says nothing of depth: distances rest on Height or a known Floor, poses on usual bodies"


def next_step(scene: bpy.types.Scene) -> str:
    """Say what is to be done before a solve, "" if nothing."""
    known = scene.sightline
    if not known.views:
        return "" if known.take_path.strip() else "Add your videos below, or load the example first"
    for step, lacks in (("Footage", missing_footage(scene)), ("Cameras", missing_cameras(scene))):
        if lacks:
            return f"Next, {step}: {lacks[0].lower()}{lacks[1:]}"
    return ""


def missing_cameras(scene: bpy.types.Scene) -> str:
    """Say what the step Cameras lacks, "" if nothing."""
    known = scene.sightline
    if len(known.views) == 1 and known.cameras_from == "PERSON":
        return "A single camera cannot be solved from the person: give it by File, Scene or Board"
    if known.cameras_from == "FILE":
        if not known.calibration_path.strip():
            return "Choose a calibration file"
        return known.calibration_problem
    if known.cameras_from == "SCENE":
        cameras = {item.get("sightline_view", item.name) for item in scene.objects if item.type == "CAMERA"}
        lacking = [view.name for view in known.views if view.name not in cameras]
        return f"The scene has no camera called {', '.join(lacking)}" if lacking else ""
    if known.cameras_from == "PERSON":
        if not known.lenses_path.strip():
            return "Choose a file with the lenses of the cameras"
        ends = {known.distance_from, known.distance_to}
        if known.distance_m and (len(ends) < 2 or not ends <= {view.name for view in known.views}):
            return "Name the two cameras of the measured distance"
    return ""


def take_folder(scene: bpy.types.Scene) -> Path:
    """Return where the panel's take is written: where it was solved before, else beside the .blend, or beside the first
    video while that is not saved.
    """  # noqa: D205
    solved = scene.sightline.solved_take_path
    if solved:  # where its corrections and results are
        path, name = Path(bpy.path.abspath(solved)), scene.sightline.take_name.strip() or "take"
        if path.is_file() and re.fullmatch(rf"{re.escape(name)}( preview)?( \d+)?", path.stem):
            return path.parent
    if bpy.data.filepath:
        return Path(bpy.data.filepath).parent
    return Path(bpy.path.abspath(scene.sightline.views[0].video)).parent


def write_scene_take(context: bpy.types.Context, seconds: float | None = None) -> Path:
    """Write the take that the panel describes.

    Args:
        context: its scene holds the panel's fields.
        seconds: only the first ones; None: all.

    Returns:
        The take file.

    Raises:
        InputError: a step lacks something, or the folder cannot be written.
    """
    scene = context.scene
    for step, lacks in (("Footage", missing_footage(scene)), ("Cameras", missing_cameras(scene))):
        if lacks:
            raise InputError(f"{step}: {lacks[0].lower()}{lacks[1:]}")
    folder = take_folder(scene)
    known = scene.sightline
    name = known.take_name.strip() or "take"
    name = name + PREVIEW if seconds is not None else name
    known.project = known.project or uuid4().hex
    end_s = _end(known, seconds)
    calibration, board = _calibration(context, folder, name, end_s)
    entry = TakeEntry(
        name=name,
        views=tuple(_view(view) for view in known.views),
        calibration=calibration,
        board=board,
        persons=known.persons,
        height_m=_clean(known.height_m) or None,
        start_s=_clean(known.start_s) or None,
        end_s=end_s,
        fps=_clean(known.take_fps) or None,
        settings={} if known.detector in ("", "blazepose") else {"detector": known.detector},
        project=known.project,
    )
    return write_take(entry, folder)


def _view(view: Any) -> ViewEntry:
    offset = None if view.offset_mode == "AUTO" else _clean(view.offset_s)
    return ViewEntry(view.name, _absolute(view.video), view.fit, _clean(view.fps) or None, offset)


def _end(known: Any, seconds: float | None) -> float | None:
    """Where the take ends: at the end of the preview, at the one that is set, or with the footage."""
    if seconds is None:
        return _clean(known.end_s) or None
    preview = _clean(known.start_s + seconds)
    return min(preview, _clean(known.end_s)) if known.end_s else preview


def _calibration(
    context: bpy.types.Context, folder: Path, name: str, end_s: float | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the tables [calibration] and [calibration.board] of a take; what is not stated stays away."""
    known = context.scene.sightline
    lenses = {"intrinsics": _absolute(known.lenses_path)} if known.lenses_path.strip() else {}
    floor = {"floor": known.floor} if known.floor != "keep" else {}
    if known.cameras_from == "PERSON":
        return {"source": "self"} | lenses | _scale(known), {}
    if known.cameras_from == "BOARD":
        return {"source": "board"} | lenses | floor, _board(known.board)
    if known.cameras_from == "SCENE":
        own = folder / f"{name} cameras.toml"
        found = export_cameras(context, own, [v.name for v in known.views], views=_in_take(context.scene, name, end_s))
        for view, camera in zip(known.views, found.cameras, strict=True):
            view.calibrated = camera.intrinsics.image_size
            _find_fit(view)
            if _misfit(view):
                raise InputError(
                    f"{view.name} is {view.width}×{view.height}, its camera shows {view.calibrated[0]}×"
                    f"{view.calibrated[1]}: give the scene the video's Resolution, the camera its video as background "
                    "clip, or choose its Fit"
                )
        auto = [view.name for view in known.views if view.offset_mode == "AUTO"]
        if found.paths and auto:
            raise InputError(
                f"view {auto[0]!r}: its Start cannot be found from the motion while cameras move "
                f"({', '.join(found.paths)}); choose Known, and its Offset (step Footage)"
            )
        said = [f"moving: {', '.join(found.paths)}"] if found.paths else []
        known.scene_cameras_note = " ".join(f"{line[0].upper()}{line[1:]}." for line in (*said, *found.warnings))
        return {"source": str(own)} | floor | _trust(known), {}
    units = {} if known.units == "AUTO" else {"units": known.units}
    return {"source": _absolute(known.calibration_path)} | lenses | units | floor | _trust(known), {}


def _in_take(scene: bpy.types.Scene, take: str, end_s: float | None) -> dict[str, ViewInTake]:
    """Say of every view which of its pictures the take uses, and in which frames the result will lie.

    Convention:
        rates are constant; a second more on either side, where the range of the take does not leave all.
    """
    known = scene.sightline
    views = [view for view in known.views if view.frames]
    rates = {view.name: _clean(view.fps or view.found_fps) for view in views}
    offsets = {view.name: 0.0 if view.offset_mode == "AUTO" else _clean(view.offset_s) for view in views}
    fps, start_s = _clean(known.take_fps) or max(rates.values(), default=0.0), _clean(known.start_s)
    spans = [(offsets[view.name], offsets[view.name] + (view.frames - 1) / rates[view.name]) for view in views]
    start = int((take_collection(scene, take) or {}).get(FRAME_START, scene.frame_start))
    found = {}
    for view in views:
        rate, offset_s = rates[view.name], offsets[view.name]
        low, high = 0, view.frames - 1
        if view.offset_mode != "AUTO":
            low = max(low, math.floor((start_s - offset_s - 1) * rate))
            high = high if end_s is None else min(high, math.ceil((end_s - offset_s + 1) * rate))
        frame = start + (offset_s - first_moment(spans, start_s, fps)) * fps
        found[view.name] = ViewInTake((low, high), frame, fps / rate, fps)
    return found


def _trust(known: Any) -> dict[str, Any]:
    """How far given cameras are trusted."""
    sigmas = {"rotation_sigma_deg": _clean(known.rotation_sigma_deg), "centre_sigma_m": _clean(known.centre_sigma_m)}
    refine = {"refine_cameras": True} if known.refine_cameras else {}
    return refine | {key: value for key, value in sigmas.items() if value}


def _scale(known: Any) -> dict[str, Any]:
    """What cameras from the person take from a tape measure, and how far their lenses are trusted."""
    focal = {"focal_sigma": _clean(known.focal_sigma)} if known.focal_sigma else {}
    if not known.distance_m:
        return focal
    ends = [known.distance_from, known.distance_to]
    return focal | {"distance_m": _clean(known.distance_m), "distance_between": ends}


def _board(board: Any) -> dict[str, Any]:
    values = {"kind": board.kind, "columns": board.columns, "rows": board.rows, "square_m": _clean(board.square_m)}
    if board.kind == "charuco":
        values |= {"marker_m": _clean(board.marker_m), "dictionary": board.dictionary, "legacy": board.legacy}
    paths = {key: getattr(board, key).strip() for key in ("pictures", "lens_pictures")}
    files = {key: bpy.path.abspath(path) if path.startswith("//") else path for key, path in paths.items() if path}
    return values | {"inverted": board.inverted} | files


def _absolute(path: str) -> str:
    return str(Path(bpy.path.abspath(path)))


def _clean(value: float) -> float:
    """Blender's properties have single precision: 29.97 comes back as 29.969999."""
    return float(f"{value:.6g}")
