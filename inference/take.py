"""Read a take: the file that says which videos, cameras and settings make one recording."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .config import SolveSettings, checked_table, nearest_key, settings_from
from .corrections import Correction
from .errors import InputError
from .files.camera_table import Distance
from .files.corrections_toml import corrections_path, read_corrections
from .files.toml_text import parse_toml, read_text
from .layouts import layout

FITS = ("exact", "scale", "crop", "letterbox")
UNITS = ("m", "mm", "cm")
PATTERN = re.compile(r"%(0?\d*)d")  # the frame number in the name of an image sequence

_TOP_KEYS = ("take", "calibration", "view", "solve")
_TAKE_KEYS = {"name": str, "persons": int, "height_m": float, "start": float, "end": float, "fps": float}
_CALIBRATION_KEYS = {
    "source": str,
    "intrinsics": str,
    "units": str,
    "rotation_sigma_deg": float,
    "centre_sigma_m": float,
    "floor": str,
    "refine_cameras": bool,
    "points": str,
    "distance_m": float,
    "distance_between": tuple[str, str],
    "bone": str,
    "length_m": float,
    "focal_sigma": float,
}
_BOARD_KEYS = {
    "kind": str,
    "columns": int,
    "rows": int,
    "square_m": float,
    "marker_m": float,
    "dictionary": str,
    "inverted": bool,
    "legacy": bool,
    "pictures": str,
    "lens_pictures": str,
}
_VIEW_KEYS: dict[str, Any] = {
    "name": str,
    "video": str,
    "keypoints": str,
    "keypoint_layout": str,
    "keypoint_size": tuple[int, int],
    "fit": str,
    "fps": float,
    "size": tuple[int, int],
}
_LARGEST_SIZE = 65536  # px


@dataclass(frozen=True)
class CalibrationSource:
    """Where the cameras come from, and how far they are trusted."""

    path: Path | None  # None: the cameras are solved: from the person, a board, or measured points
    intrinsics: Path | None = None  # a second source, for the lenses alone
    units: str | None = None  # m | mm | cm; None: what the file says
    rotation_sigma_deg: float | None = None  # None or 0: not stated, the solver finds it
    centre_sigma_m: float | None = None  # None or 0: not stated
    floor: str = "keep"  # keep | auto | zero
    board: Mapping[str, Any] | None = None  # the table [calibration.board]: cameras are solved from a board
    refine_cameras: bool = False  # adjust given cameras on the person, within how far they are trusted
    points: Path | None = None  # measured points and where the views see them: poses are solved from these
    distance: Distance | None = None  # that gives a calibration its scale
    bone: Distance | None = None  # of the first person, that gives cameras solved from the person their scale
    focal_sigma: float = 0.0  # share by which the lenses' focal lengths may be off; cameras from the person solve them

    @property
    def from_person(self) -> bool:
        """Whether the cameras are to be solved from the person."""
        return self.path is None and self.board is None and self.points is None


@dataclass(frozen=True)
class View:
    """One camera's recording: a video or image sequence, keypoints, or both."""

    name: str
    video: str | None  # absolute path, or pattern of an image sequence
    keypoints: Path | None
    keypoint_layout: str | None
    keypoint_size: tuple[int, int] | None  # (width, height) px in which the keypoints count; None: the view's own
    fit: str = "exact"  # how the video relates to the calibrated image size, one of FITS
    offset_s: float | None = 0.0  # None: found from the motion
    fps: float | None = None
    size: tuple[int, int] | None = None  # (width, height) px of a view without a video


@dataclass(frozen=True)
class Take:
    """One recording and how to solve it."""

    path: Path
    name: str
    persons: int  # 0: everyone seen
    height_m: float | None
    start_s: float
    end_s: float | None
    fps: float | None  # of the solution; None: the highest rate of the views
    calibration: CalibrationSource
    views: tuple[View, ...]
    settings: SolveSettings
    corrections: tuple[Correction, ...] = ()


def read_take(path: Path, overrides: Mapping[str, str] = {}) -> Take:
    """Read and check a take file.

    Convention:
        paths are relative to the take file and come back absolute; times are seconds, 0 is the first
        frame of a view with offset 0. Corrections stand beside the take: `corrections_path`.

    Args:
        path: the TOML file.
        overrides: settings of ``[solve]`` from the command line; each value is written as in TOML,
            a single word may stand without quotes.

    Returns:
        The take; every file it names exists.

    Raises:
        InputError: the file cannot be read, a key is unknown, or a value is impossible.
    """
    path = Path(path)
    raw = parse_toml(read_text(path, "take"), path, "take")
    for key in raw:
        if key not in _TOP_KEYS:
            raise InputError(f"take file {path}: unknown table [{key}]{nearest_key(key, _TOP_KEYS)}")
    folder = path.absolute().parent
    values = checked_table(raw.get("take", {}), _TAKE_KEYS, "[take]")
    settings = _with_card(settings_from(_table(raw.get("solve", {}), "[solve]")), folder)
    take = Take(
        path=path.absolute(),
        name=_name(values.get("name", folder.name if path.stem == "take" else path.stem), "[take]: name"),
        persons=int(_within(values.get("persons", 1), 0, 100, "[take]: persons")),
        height_m=_height(values),
        start_s=values.get("start", 0.0),
        end_s=_end(values),
        fps=_rate(values, "[take]"),
        calibration=_calibration(raw.get("calibration"), folder),
        views=_views(raw.get("view"), folder, path),
        settings=settings_from(parse_overrides(overrides), settings, "--set"),
        corrections=read_corrections(corrections_path(path.absolute())),
    )
    _check_one_view(take)
    return take


def _check_one_view(take: Take) -> None:
    """Raise where a single view cannot be solved: hypotheses give the depth, but nobody gives the camera."""
    if len(take.views) > 1:
        return
    if take.settings.unseen.hypotheses == "off":
        raise InputError(
            f'take file {take.path} has 1 view; a solve needs at least two, or hypotheses = "auto" under [solve]'
        )
    if take.calibration.from_person:
        raise InputError(
            f"take file {take.path} has 1 view; cameras are solved from the person with at least two: give this "
            "camera's calibration under [calibration]"
        )


def _with_card(settings: SolveSettings, folder: Path) -> SolveSettings:
    """Make the path of a model card absolute; a name stays a name."""
    name = settings.detection.detector
    if not name.endswith(".toml"):
        return settings
    card = str(_existing(folder, name, "[solve] detector"))
    return dataclasses.replace(settings, detection=dataclasses.replace(settings.detection, detector=card))


def _table(raw: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        raise InputError(f"{where} must be a table, not {raw!r}")
    return raw


def split_overrides(pairs: Iterable[str]) -> dict[str, str]:
    """Split the ``KEY=VALUE`` texts of ``--set``.

    Raises:
        InputError: a text has no ``=``.
    """
    split = [pair.partition("=") for pair in pairs]
    for key, equals, _ in split:
        if not equals or not key.strip():
            raise InputError(f"--set {key!r}: write KEY=VALUE")
    return {key.strip(): value.strip() for key, _, value in split}


def parse_overrides(overrides: Mapping[str, str]) -> dict[str, Any]:
    """Read each value as TOML; a single word may stand without quotes.

    Raises:
        InputError: a value is not TOML.
    """
    parsed = {}
    for key, text in overrides.items():
        if re.fullmatch(r"[A-Za-z_][\w.\-/]*", text) and text not in ("true", "false", "inf", "nan"):
            parsed[key] = text
            continue
        try:
            value = parse_toml(f"value = {text}", Path(key), "--set")
        except InputError:
            value = {}
        if set(value) != {"value"}:
            raise InputError(f"--set {key}: {text!r} is not a TOML value; write texts with spaces in quotes")
        parsed[key] = value["value"]
    return parsed


def _name(text: str, where: str) -> str:
    if not text.strip() or text in (".", "..") or re.search(r"[/\\\x00-\x1f]", text):
        raise InputError(f"{where} = {text!r} cannot name a folder: leave out slashes and control characters")
    return text


def _within(value: float, low: float, high: float, where: str) -> float:
    if not low <= value <= high:
        raise InputError(f"{where} = {value:g} is out of range; it must lie in {low:g} … {high:g}")
    return value


def _height(values: Mapping[str, Any]) -> float | None:
    height = values.get("height_m")
    if height is not None and not 0.3 <= height <= 3:
        raise InputError(f"[take]: height_m = {height:g} is no person's height in metres; write e.g. 1.80")
    return height


def _end(values: Mapping[str, Any]) -> float | None:
    start, end = values.get("start", 0.0), values.get("end")
    if end is not None and end <= start:
        raise InputError(f"[take]: end = {end:g} must come after start = {start:g} (seconds)")
    return end


def _rate(values: Mapping[str, Any], where: str) -> float | None:
    fps = values.get("fps")
    return None if fps is None else _within(fps, 0.01, 100_000, f"{where}: fps")


def _calibration(raw: Any, folder: Path) -> CalibrationSource:
    where = "[calibration]"
    if raw is None or (isinstance(raw, Mapping) and "source" not in raw):
        raise InputError(f'{where} source is missing: name a calibration file, or "self" to solve it from the person')
    raw = dict(_table(raw, where))
    board = _board(raw, folder)
    values = checked_table(raw, _CALIBRATION_KEYS, where)
    solved = values["source"] in ("self", "board", "points")
    intrinsics = values.get("intrinsics")
    for key, high in (("rotation_sigma_deg", 180.0), ("centre_sigma_m", 1000.0)):
        if key in values:
            _within(values[key], 0, high, f"{where}: {key}")
    return CalibrationSource(
        path=None if solved else _existing(folder, values["source"], f"{where} source"),
        intrinsics=None if intrinsics is None else _existing(folder, intrinsics, f"{where} intrinsics"),
        units=_choice(values.get("units"), UNITS, f"{where}: units"),
        rotation_sigma_deg=values.get("rotation_sigma_deg"),
        centre_sigma_m=values.get("centre_sigma_m"),
        floor=_choice(values.get("floor", "keep"), ("keep", "auto", "zero"), f"{where}: floor") or "keep",
        board=board,
        refine_cameras=values.get("refine_cameras", False),
        points=_points(values, folder),
        distance=_distance(values),
        bone=_bone(values),
        focal_sigma=_focal_sigma(values),
    )


def _points(values: Mapping[str, Any], folder: Path) -> Path | None:
    """Return the file of measured points, which stands if and only if the source is "points"."""
    if (values["source"] == "points") != ("points" in values):
        raise InputError('[calibration]: source = "points" and points = "points.csv" belong together')
    return _existing(folder, values["points"], "[calibration] points") if "points" in values else None


def _distance(values: Mapping[str, Any]) -> Distance | None:
    keys = [key for key in ("distance_m", "distance_between", "units") if key in values]
    if not keys or keys == ["units"]:
        return None
    if keys != ["distance_m", "distance_between"]:
        raise InputError(
            '[calibration]: a scale is distance_m = 3.42 with distance_between = ["cam01", "cam02"], without units'
        )
    metres = _within(values["distance_m"], 0.01, 1000, "[calibration]: distance_m")
    first, second = values["distance_between"]
    return Distance(first, second, metres)


def _bone(values: Mapping[str, Any]) -> Distance | None:
    keys = [key for key in ("bone", "length_m") if key in values]
    if not keys:
        return None
    first, dash, second = values.get("bone", "").partition("-")
    if len(keys) < 2 or not (first and dash and second) or values["source"] != "self" or "distance_m" in values:
        raise InputError(
            '[calibration]: a measured bone is bone = "left_knee-left_ankle" with length_m = 0.42, for source = "self" '
            "without distance_m"
        )
    return Distance(first, second, _within(values["length_m"], 0.01, 3, "[calibration]: length_m"))


def _focal_sigma(values: Mapping[str, Any]) -> float:
    if "focal_sigma" not in values:
        return 0.0
    if values["source"] != "self":
        raise InputError(
            '[calibration]: focal_sigma is for source = "self", which solves focal lengths with the camera poses; '
            "leave it out"
        )
    return _within(values["focal_sigma"], 0, 0.3, "[calibration]: focal_sigma")


def _board(raw: dict[str, Any], folder: Path) -> Mapping[str, Any] | None:
    """Take the table of the board out of ``[calibration]``; patterns of pictures become absolute."""
    table = raw.pop("board", None)
    if raw.get("source") != "board":
        if table is not None:
            raise InputError('[calibration.board] stands, but source is not "board"; write source = "board"')
        return None
    where = "[calibration.board]"
    values = checked_table(table or {}, _BOARD_KEYS, where)
    for key in ("kind", "columns", "rows", "square_m"):
        if key not in values:
            raise InputError(f'{where} {key} is missing; e.g. kind = "charuco", columns = 7, rows = 5, square_m = 0.04')
    for key in ("pictures", "lens_pictures"):
        if key in values:
            values[key] = str(folder / values[key])
    return values


def _choice(value: str | None, known: tuple[str, ...], where: str) -> str | None:
    if value is not None and value not in known:
        raise InputError(f"{where} = {value!r} is unknown{nearest_key(value, known)}")
    return value


def _existing(folder: Path, text: str, where: str) -> Path:
    path = folder / text
    if not text or re.search(r"[\x00-\x1f]", text):
        raise InputError(f"{where}: {text!r} is not a path")
    if not _exists(path):
        raise InputError(f"{where}: {path} does not exist; paths are relative to the take file")
    return path


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # for example: the name is too long
        return False


def _views(raw: Any, folder: Path, path: Path) -> tuple[View, ...]:
    if isinstance(raw, Mapping):
        raise InputError("[view] must be written [[view]], once per camera")
    if not raw or not isinstance(raw, list):
        raise InputError(f"take file {path} has no [[view]]; write one per camera")
    views = tuple(_view(table, number, folder) for number, table in enumerate(raw, start=1))
    names = [view.name for view in views]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"view {name!r} stands twice in {path}; every view needs a name of its own")
    return views


def _view(raw: Any, number: int, folder: Path) -> View:
    where = f"[[view]] number {number}"
    name = _name(raw["name"], f"{where}: name") if isinstance(_table(raw, where).get("name"), str) else None
    if name is None:
        raise InputError(f"{where}: name is missing; it must be the camera's name in the calibration")
    where = f"view {name!r}"
    types = _VIEW_KEYS | {"offset_s": str if isinstance(raw.get("offset_s"), str) else float}
    values = checked_table(raw, types, where)
    if "video" not in values and "keypoints" not in values:
        raise InputError(f"{where} has neither video nor keypoints; give one of them")
    if values.get("offset_s") not in (None, "auto") and isinstance(values["offset_s"], str):
        raise InputError(f'{where}: offset_s must be a number of seconds or "auto", not {values["offset_s"]!r}')
    offset = values.get("offset_s", 0.0)
    return View(
        name=name,
        video=_video(values.get("video"), folder, where),
        keypoints=_existing(folder, values["keypoints"], f"{where}: keypoints") if "keypoints" in values else None,
        keypoint_layout=_keypoint_layout(values, where),
        keypoint_size=_size(values, "keypoint_size", where),
        fit=_choice(values.get("fit", "exact"), FITS, f"{where}: fit") or "exact",
        offset_s=None if offset == "auto" else offset,
        fps=_view_rate(values, where),
        size=_size(values, "size", where),
    )


def _view_rate(values: Mapping[str, Any], where: str) -> float | None:
    if "video" not in values and "fps" not in values:
        raise InputError(f"{where} has keypoints but no video, so it must say its rate: fps = …")
    return _rate(values, where)


def _video(text: str | None, folder: Path, where: str) -> str | None:
    if text is None:
        return None
    path = folder / text
    if PATTERN.search(path.name) and not _exists(path):
        _existing(path.parent, ".", f"{where}: folder of the image sequence")
        return str(path)
    _existing(folder, text, f"{where}: video")
    return str(path)


def _keypoint_layout(values: Mapping[str, Any], where: str) -> str | None:
    name = values.get("keypoint_layout")
    if name is None and "keypoints" in values:
        raise InputError(f"{where}: keypoints need keypoint_layout (body_25b, coco_17, …): the files do not say it")
    try:
        return None if name is None else layout(name).name
    except InputError as problem:
        raise InputError(f"{where}: {problem}") from None


def _size(values: Mapping[str, Any], key: str, where: str) -> tuple[int, int] | None:
    size = values.get(key)
    if size is not None and not all(1 <= side <= _LARGEST_SIZE for side in size):
        raise InputError(f"{where}: {key} = {list(size)} is no picture size; write [width, height] in pixels")
    return size
