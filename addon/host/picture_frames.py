"""In which frames of a scene the pictures of a view's video are shown."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

import glob
import math
import re
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np

from ...inference.errors import InputError
from ...inference.shapes import FloatArray
from .animation import our_actions

# On a camera of ours: the scene frame of its video's first picture, and how many frames a picture lasts.
PICTURES = "sightline_pictures"
_SAME_RATE = 0.01  # frames per second
_WHOLE = 1e-3  # of a frame


@dataclass(frozen=True)
class ViewInTake:
    """Which pictures of a view's video a take uses, and in which frames its result will show them."""

    pictures: tuple[int, int]  # first and last
    first_frame: float  # of picture 0
    per_picture: float  # frames
    fps: float  # of the take, which the solve will set the scene to


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures of a view's video and the scene's frames that show them."""

    numbers: FloatArray  # (N,) counted from 0
    frames: FloatArray  # (N,)
    warnings: tuple[str, ...] = ()


def pictures_of(
    scene: bpy.types.Scene,
    item: bpy.types.Object,
    clip: bpy.types.MovieClip | None,
    solved: bool,
    view: ViewInTake | None,
) -> Pictures:
    """Find the frames that show the pictures of a moving camera's video.

    Convention:
        a camera that Sightline made remembers them. A movie clip, or film behind the camera, is played picture by
        picture from its start frame, whatever its rate. Without one the view lies in time as the result of its take
        will; without a take, picture 0 is the scene's first frame.

    Args:
        scene: of the camera.
        item: the camera.
        clip: the movie clip that belongs to it.
        solved: whether the clip's camera solve moves it, which says nothing where the clip was not tracked.
        view: of the take; None: all pictures.

    Raises:
        InputError: nothing says when a picture is shown, or none of them is.
    """
    per_picture, warnings = 1.0, ()
    played = _played(item, clip)
    if PICTURES in item:
        first, per_picture = (float(value) for value in item[PICTURES])
        low, high = 0, math.floor((scene.frame_end - first) / per_picture + _WHOLE)
    elif played is not None:
        first, low, high = played
        warnings = _elsewhere(item, first, view)
    elif view is not None:
        _check_rate(scene, item, view)
        first, per_picture, low, high = view.first_frame, view.per_picture, *view.pictures
    else:
        first, low, high = float(scene.frame_start), 0, scene.frame_end - scene.frame_start
    low, high = view.pictures if view is not None else (low, high)
    numbers = np.arange(low, high + 1, dtype=float)
    frames = first + numbers * per_picture
    known = _tracked(clip, frames) if solved else _keyed(item, frames)
    if not known.any():
        raise InputError(
            f"camera {item.name!r} moves, and no picture of its video lies in its frames; put the video behind it as a "
            "movie clip that starts at the frame of its first picture"
        )
    frames = np.where(np.abs(frames - np.round(frames)) < _WHOLE, np.round(frames), frames)
    return Pictures(numbers[known], frames[known], warnings)


def _played(item: bpy.types.Object, clip: bpy.types.MovieClip | None) -> tuple[float, int, int] | None:
    """Frame of picture 0 of what is played behind a camera, and the first and last picture; None where nothing is.

    Convention:
        measured in Blender 4.2: frame f shows picture f - start + offset of a movie, counted from 0, and the file of
        that number after the one that was opened (clips), or the file with one more as its number (images). A
        sequence begins with the lowest number in its folder, as the video of a view does.
    """
    if clip is not None:
        low = _before(clip.filepath)[0] if clip.source == "SEQUENCE" else 0
        return float(clip.frame_start - clip.frame_offset - low), low, low + clip.frame_duration - 1
    shown = [b for b in item.data.background_images if b.source == "IMAGE" and b.image is not None]
    found = next((b for b in shown if b.image.source in ("MOVIE", "SEQUENCE")), None)
    if found is None:
        return None
    user = found.image_user
    first = user.frame_start - user.frame_offset
    if found.image.source == "SEQUENCE":
        first += _before(found.image.filepath)[1] - 1
    return float(first), user.frame_start - first, user.frame_start - first + user.frame_duration - 1


def _before(filepath: str) -> tuple[int, int]:
    """How many pictures of a sequence stand before one of its files in the folder, and the lowest number there."""
    path = Path(bpy.path.abspath(filepath))
    prefix, own = re.fullmatch(r"(.*?)(\d*)", path.stem).groups()
    numbers = [int(own or 0)]
    for other in path.parent.glob(f"*{glob.escape(path.suffix)}"):
        rest = other.stem.removeprefix(prefix)
        if other.stem.startswith(prefix) and rest.isdigit():
            numbers.append(int(rest))
    return sum(number < numbers[0] for number in numbers), min(numbers)


def _keyed(item: bpy.types.Object, frames: FloatArray) -> np.ndarray:
    """Which frames have a pose: of a camera that a solve moved, those that were solved; it is held in the others."""
    found = our_actions(item.animation_data) if PICTURES in item and item.animation_data else []
    if not found:
        return np.ones(len(frames), dtype=bool)
    low, high = found[0].frame_range
    return (frames >= low - _WHOLE) & (frames <= high + _WHOLE)


def _tracked(clip: bpy.types.MovieClip, frames: FloatArray) -> np.ndarray:
    """Which frames the camera solve of a clip has a pose for; Blender holds the last one in the others."""
    found = [camera.frame for camera in camera_solve(clip).cameras]
    return np.isin(np.round(frames) - clip.frame_start + 1, found)


def camera_solve(clip: bpy.types.MovieClip) -> bpy.types.MovieTrackingReconstruction:
    """Return the reconstruction of the camera, whichever object's tracks are being edited."""
    return next(item for item in clip.tracking.objects if item.is_camera).reconstruction


def _check_rate(scene: bpy.types.Scene, item: bpy.types.Object, view: ViewInTake) -> None:
    rate = scene.render.fps / scene.render.fps_base
    if abs(rate - view.fps) > _SAME_RATE:
        raise InputError(
            f"camera {item.name!r} moves and has no movie clip behind it, so its frames count in time; but the scene "
            f"has {rate:g} frames per second and the take {view.fps:g}: set the scene to {view.fps:g}, or put the "
            "video behind the camera as a movie clip"
        )


def _elsewhere(item: bpy.types.Object, first: float, view: ViewInTake | None) -> tuple[str, ...]:
    """Warn where the result will not lie in the frames in which the camera's clip is played."""
    if view is None:
        return ()
    number = view.pictures[0]
    played, shown = first + number, view.first_frame + number * view.per_picture
    if abs(played - shown) > 0.5:
        later = "later" if played > shown else "earlier"
        return (
            f"camera {item.name!r} shows picture {number + 1} of its video in frame {played:g}, the result in frame "
            f"{shown:g}: both are right by themselves; to have them together, delete the take's collection, let the "
            f"scene begin {abs(played - shown):g} frames {later} and solve again",
        )
    if abs(view.per_picture - 1) > 1e-3:
        return (
            f"camera {item.name!r} shows a picture of its video in every frame, the result one in {view.per_picture:g} "
            "frames: they run apart, and the camera of the result is the one that fits",
        )
    return ()
