"""Footage: frames of a video file or an image sequence, with their real times, one frame in memory at a time."""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.stream import Disposition
from numpy.typing import NDArray

from .errors import InputError
from .shapes import FloatArray, IntArray
from .types import Footage

Image = NDArray[np.uint8]  # (h, w, 3) RGB

_PATTERN = re.compile(r"%(0?)(\d*)d")
_IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}
_DURATION = re.compile(r"(\d+):(\d+):(\d+\.?\d*)")  # of an mkv stream
_DURATION_SLACK_S = 0.25  # from the last frame's beginning to the stated end; a frame lasts a while
_THREADS = min(4, os.cpu_count() or 1)  # of one decoder; every one of them holds a frame


@dataclass(frozen=True, eq=False)
class _Index:
    """Where the frames of one video file are."""

    pts: IntArray  # (N,) presentation time of every frame in ticks, ascending
    keys: IntArray  # (K,) those of the frames at which decoding can start
    tick_s: float
    counted: bool  # the file has no presentation times: frames are counted, and found only from the start
    image_size: tuple[int, int]  # (width, height) px as decoded, before turning
    rotation_deg: int


def open_footage(name: str, video: str, fps: float | None = None) -> Footage:
    """Find size, frames and presentation times of a view's video without decoding more than its first frame.

    Convention:
        the size is that after the orientation tag; times are in seconds and the first frame is 0. Variable
        rates and edit lists are kept as they are. ``footage.fps`` is the mean rate where frames are evenly
        spaced (to the clock's tick), else the median rate.

    Args:
        name: the view's name.
        video: path of a video file, or of an image sequence: ``frames/cam01/%06d.png``.
        fps: rate of an image sequence; for a video it replaces the file's rate (a 240/s recording stored at 30).

    Returns:
        The footage; it holds no pixels.

    Raises:
        InputError: the file is missing, truncated, holds no frames or is not a video; a number of the image
            sequence is missing, or its pictures differ in size. The message names view and file.
    """
    path = Path(video)
    if _PATTERN.search(path.name) and not path.is_file():
        return _open_sequence(name, path, fps)
    if not path.is_file():
        raise InputError(f"view {name!r}: {path} {'is a folder' if path.is_dir() else 'does not exist'}")
    if path.suffix.lower() in _IMAGE_SUFFIXES:
        raise InputError(f"view {name!r}: {path} is one picture; write an image sequence as a pattern like %06d.png")
    index = _index_of(name, path)
    times = (index.pts - index.pts[0]) * index.tick_s
    own_fps = _rate(times, index.tick_s)
    if own_fps is None and fps is None:
        raise InputError(f"view {name!r}: {path} has a single frame, so its rate is unknown; give the view fps = …")
    rate = fps or own_fps or 1.0
    width, height = index.image_size
    return Footage(
        name=name,
        files=(path,),
        image_size=(height, width) if index.rotation_deg % 180 else (width, height),
        fps=rate,
        timestamps_s=times * ((own_fps or rate) / rate),
        rotation_deg=index.rotation_deg,
    )


def read_frames(
    footage: Footage, start: int = 0, stop: int | None = None, step: int = 1
) -> Generator[tuple[int, Image], None, None]:
    """Stream the frames ``start, start + step, …`` below ``stop``.

    Convention:
        pictures are (h, w, 3) RGB uint8, upright. Memory: the one frame that is handed out, and what the codec
        keeps itself (its reference frames and one frame for each of at most four threads); it does not grow with
        the clip. Decoding begins at the keyframe before ``start``.

    Args:
        footage: what `open_footage` returned.
        start: first frame, from 0.
        stop: frame before which to end; None: the end.
        step: distance between frames, at least 1.

    Yields:
        Frame number and picture.

    Raises:
        InputError: a frame cannot be decoded, or has another size; the message names view, file and frame.
    """
    stop = len(footage.timestamps_s) if stop is None else stop
    if start < 0 or stop > len(footage.timestamps_s) or step < 1:
        raise InputError(
            f"view {footage.name!r} has {len(footage.timestamps_s)} frames; "
            f"frames {start} … {stop - 1} in steps of {step} are not in it"
        )
    if start >= stop:
        return
    read = _read_sequence if _is_sequence(footage) else _read_video
    width, height = footage.image_size
    for number, image in read(footage, range(start, stop, step)):
        if image.shape != (height, width, 3):
            raise InputError(
                f"view {footage.name!r}: frame {number} is {image.shape[1]}x{image.shape[0]}, "
                f"the first one {width}x{height}; all frames of a view need one size"
            )
        yield number, image


def read_frame(footage: Footage, index: int) -> Image:
    """Read one frame.

    Convention:
        (h, w, 3) RGB uint8, upright.

    Args:
        footage: what `open_footage` returned.
        index: frame number from 0.

    Returns:
        The picture.

    Raises:
        InputError: as `read_frames`.
    """
    return next(read_frames(footage, index, index + 1))[1]


def nearest_frames(footage: Footage, times_s: FloatArray, offset_s: float = 0.0) -> IntArray:
    """Find the frame that stands nearest to each time.

    Convention:
        a frame of timestamp s shows the take's time ``s + offset_s``; -1 where the view has no frame within
        0.75 frame intervals (before its beginning, after its end, in a gap of its own).

    Args:
        footage: the view's footage.
        times_s: (T,) times of the take.
        offset_s: when the view's first frame was taken.

    Returns:
        (T,) frame numbers.
    """
    own = np.asarray(footage.timestamps_s)
    wanted = np.asarray(times_s, dtype=np.float64) - offset_s
    right = np.clip(np.searchsorted(own, wanted), 1, max(len(own) - 1, 1))
    left = right - 1
    right = np.minimum(right, len(own) - 1)
    nearest = np.where(wanted - own[left] <= own[right] - wanted, left, right)
    return np.where(np.abs(own[nearest] - wanted) <= 0.75 / footage.fps, nearest, -1)


def _rate(times: FloatArray, tick_s: float) -> float | None:
    """Frames per second: the mean where intervals differ by clock ticks only, else the median."""
    steps = np.diff(times)
    if not len(steps):
        return None
    median = float(np.median(steps))
    even = np.abs(steps - median).max() <= 1.5 * tick_s
    return 1.0 / (float(times[-1]) / len(steps) if even else median)


@contextmanager
def _reported(name: str, path: Path) -> Iterator[None]:
    try:
        yield
    except (FFmpegError, OSError) as problem:
        reason = " ".join(str(getattr(problem, "strerror", None) or problem).split())
        raise InputError(
            f"view {name!r}: {path} cannot be decoded ({reason}); it is damaged, truncated or not a video"
        ) from None


def _open_container(path: Path) -> Any:
    # The whitelist keeps a playlist in disguise from opening other places.
    return av.open(str(path), metadata_errors="replace", options={"protocol_whitelist": "file"})


def _video_stream(container: Any, name: str, path: Path) -> Any:
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        raise InputError(f"view {name!r}: {path} has no video in it; it is truncated, damaged or sound alone")
    stream = streams[0]
    if stream.codec_context is None:
        raise InputError(f"view {name!r}: {path} is damaged, or its codec is unknown; export it as H.264 in .mp4")
    stream.thread_type = "AUTO"
    stream.codec_context.thread_count = _THREADS
    return stream


def _index_of(name: str, path: Path) -> _Index:
    status = path.stat()
    return _cached_index(name, path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=64)
def _cached_index(name: str, path: Path, _changed: int, _size: int) -> _Index:
    with _reported(name, path), _open_container(path) as container:
        stream = _video_stream(container, name, path)
        packets = [packet for packet in container.demux(stream) if packet.size]
        if not packets:
            raise InputError(f"view {name!r}: {path} holds no frames")
        _check_complete(packets, stream, f"view {name!r}: {path}")
        shown = [packet for packet in packets if not packet.is_discard]
        counted = any(packet.pts is None for packet in shown)
        if counted and any(packet.dts is None for packet in shown):
            raise InputError(f"view {name!r}: {path} has no timestamps; put it into an .mp4 (ffmpeg -i … -c copy)")
        pts = np.unique([packet.dts if counted else packet.pts for packet in shown])
        keys = np.unique([packet.pts for packet in packets if packet.is_keyframe and packet.pts is not None])
        if not counted and len(keys):
            pts = pts[pts >= keys[0]]  # pictures before the first keyframe cannot be decoded
        if not len(pts):
            raise InputError(f"view {name!r}: {path} holds no frames")
        tick_s = float(stream.time_base)
    size, rotation = _first_frame(name, path)
    return _Index(pts, keys, tick_s, counted, size, rotation)


def _check_complete(packets: list[Any], stream: Any, where: str) -> None:
    """Raise if the file holds less than its header says (mp4, mov: frames; mkv: duration), or a frame is cut off."""
    formats = stream.container.format.name.split(",")
    if "mov" in formats and len(packets) < stream.frames:
        raise InputError(f"{where} is truncated: its header says {stream.frames} frames, the file holds {len(packets)}")
    stated = _DURATION.match(stream.metadata.get("DURATION", "")) if "matroska" in formats else None
    if stated:
        stated_s = int(stated[1]) * 3600 + int(stated[2]) * 60 + float(stated[3])
        last_s = max(float((packet.pts or 0) * stream.time_base) for packet in packets)
        if last_s < stated_s - _DURATION_SLACK_S:
            raise InputError(
                f"{where} is truncated: its header says {stated_s:.2f} s, the last frame is at {last_s:.2f} s"
            )
    if any(packet.is_corrupt for packet in packets):
        raise InputError(f"{where} is damaged or truncated: a frame is cut off; copy or export it again")


def _first_frame(name: str, path: Path) -> tuple[tuple[int, int], int]:
    """Return size as decoded and the clockwise turn (degrees) of the orientation tag."""
    with _reported(name, path), _open_container(path) as container:
        frame = next(container.decode(_video_stream(container, name, path)), None)
        if frame is None:
            raise InputError(f"view {name!r}: {path} holds no frame that can be decoded")
        return (frame.width, frame.height), _clockwise_turn(frame, f"view {name!r}: {path}")


def _clockwise_turn(frame: Any, where: str) -> int:
    tag = frame.side_data.get("DISPLAYMATRIX")
    if tag is None:
        return 0
    matrix = np.frombuffer(bytes(tag), dtype=np.int32).reshape(3, 3)[:2, :2].astype(float)
    if np.linalg.det(matrix) < 0:
        raise InputError(f"{where} is marked to be shown mirrored; export it again without mirroring")
    # The tag's first row is where the picture's x axis goes, in pixel axes (y down): clockwise is positive.
    angle = math.degrees(math.atan2(matrix[0, 1], matrix[0, 0]))
    turn = round(angle / 90) * 90
    if abs(angle - turn) > 1:
        raise InputError(f"{where} is marked to be turned by {angle:.1f} degrees; only quarter turns are supported")
    return turn % 360


def _is_sequence(footage: Footage) -> bool:
    return footage.files[0].suffix.lower() in _IMAGE_SUFFIXES


def _read_video(footage: Footage, wanted: range) -> Iterator[tuple[int, Image]]:
    path = footage.files[0]
    index = _index_of(footage.name, path)
    where = f"view {footage.name!r}: {path}"
    with _reported(footage.name, path), _open_container(path) as container:
        stream = _video_stream(container, footage.name, path)
        expected = wanted.start
        for number, frame in _frames_from(container, stream, index, wanted.start):
            if number < expected:
                continue
            if number > expected:
                raise InputError(f"{where}: frame {expected} cannot be decoded; the file is damaged there")
            if number in wanted:
                yield number, _upright(frame.to_ndarray(format="rgb24"), footage.rotation_deg)
            expected += 1
            if expected > wanted[-1]:
                return
    raise InputError(f"{where} ends after {expected} of {len(index.pts)} frames; it is truncated or damaged")


def _frames_from(container: Any, stream: Any, index: _Index, start: int) -> Iterator[tuple[int, Any]]:
    """Give numbered frames from a keyframe at or before ``start``, from the beginning where seeking misses."""
    if index.counted:
        return enumerate(container.decode(stream))
    keys = index.keys[index.keys <= index.pts[start]]
    for target in ([int(keys[-1])] if len(keys) > 1 else []) + [int(index.pts[0])]:
        if start > 0:
            container.seek(target, stream=stream)
        frames = _numbered(container.decode(stream), index.pts)
        first = next(frames, None)
        if first is not None and first[0] <= start:
            return itertools.chain([first], frames)
    return iter(())


def _numbered(frames: Iterator[Any], pts: IntArray) -> Iterator[tuple[int, Any]]:
    for frame in frames:
        number = int(np.searchsorted(pts, frame.pts)) if frame.pts is not None else len(pts)
        if number < len(pts) and pts[number] == frame.pts:
            yield number, frame


def _upright(image: Image, rotation_deg: int) -> Image:
    return np.ascontiguousarray(np.rot90(image, -rotation_deg // 90)) if rotation_deg else image


def _open_sequence(name: str, pattern: Path, fps: float | None) -> Footage:
    where = f"view {name!r}: image sequence {pattern}"
    if fps is None:
        raise InputError(f"{where} has no rate of its own; give the view fps = …")
    match = _PATTERN.search(pattern.name)
    if match is None or not pattern.parent.is_dir():
        raise InputError(f"view {name!r}: folder {pattern.parent} does not exist")
    digits = rf"\d{{{match[2]},}}" if match[2] else r"\d+"
    form = re.compile(re.escape(pattern.name[: match.start()]) + f"({digits})" + re.escape(pattern.name[match.end() :]))
    found = {int(m[1]): entry for entry in pattern.parent.iterdir() if (m := form.fullmatch(entry.name))}
    if not found:
        raise InputError(f"{where}: no file of that name")
    numbers = sorted(found)
    missing = next((a + 1 for a, b in itertools.pairwise(numbers) if b != a + 1), None)
    if missing is not None:
        raise InputError(f"{where}: number {missing} is missing between {numbers[0]} and {numbers[-1]}")
    files = tuple(found[number] for number in numbers)
    first, last = _read_image(name, files[0]), _read_image(name, files[-1])
    if first.shape != last.shape:
        raise InputError(f"{where}: {files[0].name} and {files[-1].name} differ in size")
    return Footage(name, files, (first.shape[1], first.shape[0]), fps, np.arange(len(files)) / fps)


def _read_sequence(footage: Footage, wanted: range) -> Iterator[tuple[int, Image]]:
    for number in wanted:
        yield number, _read_image(footage.name, footage.files[number])


def _read_image(name: str, path: Path) -> Image:
    try:
        data = np.fromfile(path, dtype=np.uint8)  # not cv2.imread: it fails on some file names
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    except (OSError, cv2.error):
        image = None
    if image is None:
        raise InputError(f"view {name!r}: picture {path} cannot be read; it is damaged or not a picture")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
