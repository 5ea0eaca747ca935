"""Pictures of a solve: one view at one time, and the contact sheet of all views."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..errors import InputError
from ..footage import nearest_frames, read_frame
from ..geometry.camera_path import before_first_pose, camera_at
from ..types import Footage, Keypoints2D, Solution
from .overlay import (
    Canvas,
    Image,
    Window,
    draw_caption,
    draw_keypoints,
    draw_legend,
    draw_solve,
    fit_canvas,
    subject_window,
)

SHEET_WIDTH = 1920
ROW_HEIGHT = 540  # px, the height that rows of the sheet come near to
PICTURE_HEIGHT = 680  # px, of one drawn picture
GAP = 8
PAPER = 24  # grey value of the sheet, and of pictures without footage


@dataclass(frozen=True, eq=False)
class Scene:
    """A solution with what it came from: all that a picture of it needs."""

    solution: Solution
    views: Sequence[Keypoints2D]  # V, on the solution's times
    footages: Mapping[str, Footage]  # by view name; a view that has keypoints only is absent

    @property
    def bones(self) -> list[tuple[int, int]]:
        """Bones as (parent, child) indices into the solved joints, by name."""
        skeleton = self.solution.motion.skeleton
        where = {name: index for index, name in enumerate(self.solution.solved.joint_names)}
        pairs = [
            (skeleton.joint_names[parent], name)
            for name, parent in zip(skeleton.joint_names[1:], skeleton.parents[1:], strict=True)
        ]
        return [(where[first], where[second]) for first, second in pairs if first in where and second in where]


@dataclass(frozen=True, eq=False)
class Gallery:
    """Drawn pictures of all views at some times."""

    spread: tuple[int, ...]  # frames spread over the take
    frames: tuple[int, ...]  # those, and frames of special interest; ascending
    pictures: Mapping[tuple[int, int], Image]  # by view and frame

    def aspect(self, view: int) -> float:
        """Width over height of a view's pictures."""
        height, width = self.pictures[view, self.frames[0]].shape[:2]
        return width / height


def spread_times(scene: Scene, count: int) -> list[int]:
    """Choose frames of the solution, spread over the take: the middles of equal parts."""
    total = len(scene.solution.solved.timestamps_s)
    return sorted({int((i + 0.5) * total / count) for i in range(count)})


def subject_windows(scene: Scene, frames: Sequence[int]) -> list[Window]:
    """Choose for every view the window that shows the subjects at all the frames."""
    solved = scene.solution.solved
    points, times = solved.xyz[list(frames)], solved.timestamps_s[list(frames)]
    return [subject_window(c, before_first_pose(c, points, times)) for c in scene.solution.rig.cameras]


def view_picture(scene: Scene, view: int, frame: int, width: int, window: Window | None = None) -> Canvas:
    """Draw the solve over one view's frame, or a window of it.

    Convention:
        a view without footage, without a picture within one frame of that time, or whose picture cannot be
        decoded gets an empty dark one of the camera's size; the caption says so.
    """
    time_s = scene.solution.solved.timestamps_s[frame]
    camera = camera_at(scene.solution.rig.cameras[view], time_s)
    found = _footage_frame(scene, view, frame)
    note = "" if found is not None else "  (no picture)"
    if found is None:
        found = np.full((camera.intrinsics.image_size[1], camera.intrinsics.image_size[0], 3), PAPER, dtype=np.uint8)
    canvas = fit_canvas(found, width, window)
    draw_solve(canvas, camera, scene.solution.solved, scene.bones, frame)
    draw_keypoints(canvas, scene.views[view], frame)
    draw_caption(canvas, f"{scene.views[view].view}   {time_s:.2f} s   frame {frame + 1}{note}")
    return canvas


def draw_gallery(scene: Scene, also: Sequence[int] = ()) -> Gallery:
    """Draw all views at up to three times spread over the take, and at ``also``; each picture is decoded once.

    Convention:
        pictures are cut to the subjects, the same window of a view at all times, about `PICTURE_HEIGHT` high.
        Fewer times where there are many views.
    """
    spread = spread_times(scene, max(1, min(3, 4 // len(_rows([1.0] * len(scene.views))))))
    frames = sorted({*spread, *also})
    windows = subject_windows(scene, frames)
    pictures = {}
    for v, (_, _, wide, high) in enumerate(windows):
        width = round(min(1.6, wide / high) * PICTURE_HEIGHT)
        for frame in frames:
            pictures[v, frame] = view_picture(scene, v, frame, width, windows[v]).image
    return Gallery(tuple(spread), tuple(frames), pictures)


def write_preview(path: Path, gallery: Gallery) -> None:
    """Write the contact sheet of all views as a PNG, at least 1,200 px wide.

    Convention:
        written to a temporary name beside it, then renamed.
    """
    save_image(path, contact_sheet(gallery))


def contact_sheet(gallery: Gallery) -> Image:
    """Put all views at the spread times side by side, with a legend."""
    views = sorted({view for view, _ in gallery.pictures})
    rows = _rows([gallery.aspect(view) for view in views])
    strips = [_strip([gallery.pictures[v, frame] for v in row]) for frame in gallery.spread for row in rows]
    legend = Canvas(np.full((64, SHEET_WIDTH, 3), PAPER, dtype=np.uint8), 1.0)
    draw_legend(legend)
    return np.concatenate([*strips, legend.image])


def jpeg(image: Image, quality: int = 82) -> bytes:
    """Encode an RGB picture as JPEG."""
    return _encoded(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])


def save_image(path: Path, image: Image) -> None:
    """Write an RGB picture as PNG, to a temporary name first."""
    draft = path.with_name(path.name + ".part")
    draft.write_bytes(_encoded(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 6]))
    os.replace(draft, path)


def _footage_frame(scene: Scene, view: int, frame: int) -> Image | None:
    """Return the picture that the view took nearest to a frame of the solution."""
    footage = scene.footages.get(scene.views[view].view)
    if footage is None:
        return None
    own_time = (scene.solution.solved.timestamps_s[[frame]] - scene.solution.offset_s[view]) / (
        1 + 1e-6 * scene.solution.drift_ppm[view]
    )
    nearest = int(nearest_frames(footage, own_time)[0])
    if nearest < 0:
        return None
    try:
        return read_frame(footage, nearest)
    except InputError:
        return None


def _rows(aspects: Sequence[float]) -> list[list[int]]:
    """Break the views into rows whose height, filled to the sheet's width, comes nearest to `ROW_HEIGHT`."""
    mean = float(np.mean(aspects))
    most = min(len(aspects), max(1, round(SHEET_WIDTH / (ROW_HEIGHT * mean))))
    count = -(-len(aspects) // most)
    return [[int(v) for v in part] for part in np.array_split(np.arange(len(aspects)), count)]


def _strip(pictures: Sequence[Image]) -> Image:
    """Put pictures side by side at one height, padded to the sheet's width."""
    aspects = [picture.shape[1] / picture.shape[0] for picture in pictures]
    room = SHEET_WIDTH - GAP * (len(pictures) + 1)
    height = int(min(room / sum(aspects), 1.7 * ROW_HEIGHT))
    widths = [int(height * aspect) for aspect in aspects]
    strip = np.full((height + GAP, SHEET_WIDTH, 3), PAPER, dtype=np.uint8)
    left = (SHEET_WIDTH - sum(widths) - GAP * (len(pictures) - 1)) // 2
    for picture, width in zip(pictures, widths, strict=True):
        how = cv2.INTER_AREA if height < picture.shape[0] else cv2.INTER_CUBIC
        strip[GAP:, left : left + width] = cv2.resize(picture, (width, height), interpolation=how)
        left += width + GAP
    return strip


def _encoded(kind: str, image: Image, options: Sequence[int]) -> bytes:
    done, data = cv2.imencode(kind, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise InputError(f"a picture of {image.shape[1]}×{image.shape[0]} px cannot be encoded as {kind}")
    return data.tobytes()
