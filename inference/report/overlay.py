"""Draw a solve over the footage: skeleton, 95 % ellipses, and the keypoints that were found."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, fdtri

from ..errors import ShapeError
from ..geometry.projection import project, project_jacobian
from ..shapes import BoolArray, FloatArray
from ..types import Camera, Keypoints2D, Keypoints3D

Image = NDArray[np.uint8]  # (h, w, 3) RGB
Colour = tuple[int, int, int]
Window = tuple[int, int, int, int]  # left, top, width, height; px of the camera

LEFT: Colour = (255, 150, 30)
RIGHT: Colour = (40, 200, 255)
MIDDLE: Colour = (240, 240, 240)
CROSS: Colour = (190, 255, 60)
INK: Colour = (15, 15, 20)
SHARE = 0.95  # of the places that the joint may have, inside its ellipse
LEGEND = (("left", LEFT), ("right", RIGHT), ("keypoint found in this view", CROSS))
SHIFT = 4  # fractional bits of OpenCV's drawing coordinates


@dataclass(frozen=True)
class Canvas:
    """An image to draw on: a window of one view's picture, scaled."""

    image: Image
    scale: float  # pixels of the picture per pixel of the camera
    corner: tuple[int, int] = (0, 0)  # the camera's pixel that is the window's first

    @property
    def line(self) -> float:
        """Line width that reads well at this size, px."""
        return max(1.0, 0.0028 * math.hypot(*self.image.shape[:2]))

    def place(self, points: FloatArray) -> FloatArray:  # (..., 2) px of the camera
        """Move camera pixels into the picture (centres of pixels are whole numbers in both)."""
        return (points - np.array(self.corner) + 0.5) * self.scale - 0.5


def ellipse_factor(degrees_of_freedom: float, share: float = SHARE) -> float:
    """Return k such that the ellipse x' C⁻¹ x = k² holds the share of a 2D Student t with covariance C.

    Convention:
        scale matrix = C·(ν − 2)/ν, whose squared radius is 2·F(share; 2, ν); ν = ∞ is a Gaussian (χ² with 2).

    Raises:
        ShapeError: ν ≤ 2, where there is no covariance.
    """
    if np.isinf(degrees_of_freedom):
        return float(np.sqrt(chdtri(2, 1 - share)))
    nu = degrees_of_freedom
    if nu <= 2:
        raise ShapeError(f"a Student t with {nu:g} degrees of freedom has no covariance to draw")
    return float(np.sqrt(2 * fdtri(2, nu, share) * (nu - 2) / nu))


def project_covariance(camera: Camera, xyz: FloatArray, covariance: FloatArray) -> FloatArray:  # (N, 3), (N, 3, 3)
    """Carry the covariance of world points into the image, to first order, lens distortion included.

    Returns:
        (N, 2, 2) px²; NaN where the point is behind the camera or outside the lens model.
    """
    jacobian = project_jacobian(camera, xyz)[1]
    return jacobian @ covariance @ np.swapaxes(jacobian, -1, -2)


def fit_canvas(frame: Image, width: int, window: Window | None = None) -> Canvas:
    """Cut a window out of a frame and scale it to the width: lines are drawn at the size at which they are read."""
    left, top, wide, high = window or (0, 0, frame.shape[1], frame.shape[0])
    cut = frame[top : top + high, left : left + wide]
    size = (width, max(1, round(high * width / wide)))
    how = cv2.INTER_AREA if width < wide else cv2.INTER_CUBIC
    return Canvas(np.array(cv2.resize(cut, size, interpolation=how), dtype=np.uint8), width / wide, (left, top))


def subject_window(camera: Camera, points: FloatArray) -> Window:  # (..., 3) m
    """Return the part of a view's picture that shows the points with a margin: at least two fifths of its height.

    Convention:
        whole pixels inside the picture; width : height between 3 : 5 and 9 : 5 where the picture allows it; the
        whole picture where no point is seen.
    """
    size = np.array(camera.intrinsics.image_size)
    points = points.reshape(-1, 3)
    xy = project(camera, points[visible(camera, points)])
    xy = xy[((xy > 0) & (xy < size)).all(axis=-1)]
    if len(xy) == 0:
        return 0, 0, int(size[0]), int(size[1])
    low, high = np.percentile(xy, 1, axis=0), np.percentile(xy, 99, axis=0)
    wide, tall = np.maximum(1.5 * (high - low), 0.4 * size[1])
    wide, tall = max(wide, 0.6 * tall), max(tall, wide / 1.8)
    room = np.minimum(np.array([wide, tall]), size)
    corner = np.clip((low + high) / 2 - room / 2, 0, size - room)
    return int(corner[0]), int(corner[1]), int(room[0]), int(room[1])


def draw_solve(
    canvas: Canvas,
    camera: Camera,
    joints: Keypoints3D,
    parents: Sequence[tuple[int, int]],
    frame: int,
) -> None:
    """Draw every person's skeleton and ellipses of one frame into the canvas.

    Convention:
        joints behind the camera, unobserved, or more than one picture outside are left out; a bone needs both
        ends. The subject's left is orange, its right blue.

    Args:
        canvas: the picture; drawn on in place.
        camera: the view's camera, in the pixels of the unscaled picture.
        joints: the layer to draw.
        parents: bones as (parent, child) indices into the joints.
        frame: index into the joints' frames.
    """
    for xyz, covariance in zip(joints.xyz[frame], joints.covariance[frame], strict=True):
        seen = visible(camera, xyz)
        _draw_ellipses(canvas, camera, joints, xyz, covariance, seen)
        for parent, child in parents:
            if seen[parent] and seen[child]:
                _draw_bone(canvas, camera, xyz[[parent, child]], side_colour(joints.joint_names[child]))
        for j in np.flatnonzero(seen):
            centre = canvas.place(project(camera, xyz[j]))
            _dot(canvas, centre, 1.5 * canvas.line, side_colour(joints.joint_names[j]))


def draw_keypoints(canvas: Canvas, view: Keypoints2D, frame: int, min_score: float = 0.0) -> None:
    """Draw the 2D keypoints of one frame as small crosses."""
    xy = view.xy[frame][view.observed[frame] & (view.score[frame] >= min_score)]
    arm = 1.6 * canvas.line
    for colour, width in ((INK, 1.3 * canvas.line), (CROSS, 0.5 * canvas.line)):
        for centre in canvas.place(xy):
            for direction in ((arm, arm), (arm, -arm)):
                _line(canvas, np.array([centre - direction, centre + direction]), colour, width)


def draw_residuals(canvas: Canvas, seen: FloatArray, predicted: FloatArray) -> None:  # (N, 2) px, twice
    """Draw what a view saw as crosses and where its camera puts it as rings, joined by a line."""
    arm = 1.8 * canvas.line
    ends = canvas.place(seen), canvas.place(predicted)
    for start, end in zip(*ends, strict=True):
        if np.isfinite(end).all():
            _line(canvas, np.array([start, end]), CROSS, 0.7 * canvas.line)
            centre, radius = _fixed(end), round(2.6 * canvas.line * 2**SHIFT)
            for colour, width in ((INK, 1.4 * canvas.line), (RIGHT, 0.7 * canvas.line)):
                cv2.circle(canvas.image, centre.tolist(), radius, colour, max(1, round(width)), cv2.LINE_AA, SHIFT)
    for colour, width in ((INK, 1.2 * canvas.line), (CROSS, 0.5 * canvas.line)):
        for centre in ends[0]:
            for direction in ((arm, arm), (arm, -arm)):
                _line(canvas, np.array([centre - direction, centre + direction]), colour, width)


def draw_caption(canvas: Canvas, text: str) -> None:
    """Write a line of text at the top left, on a dark band. Letters that the font lacks lose their accents."""
    _text_band(canvas, [(text, MIDDLE)], top=True)


def draw_legend(canvas: Canvas) -> None:
    """Explain the colours and marks at the bottom left."""
    _text_band(canvas, [*LEGEND, ("95 % ellipse", MIDDLE)], top=False)


def side_colour(joint_name: str) -> Colour:
    """Return the colour of the joint's side of the body."""
    if joint_name.startswith("left_"):
        return LEFT
    return RIGHT if joint_name.startswith("right_") else MIDDLE


def visible(camera: Camera, xyz: FloatArray) -> BoolArray:  # (J, 3) m
    """Tell which joints are estimated, in front of the camera and at most one picture outside it: (J,)."""
    size = np.array(camera.intrinsics.image_size)
    depth = xyz @ camera.R[2] + camera.t[2]
    ahead = np.isfinite(xyz).all(axis=-1) & (np.nan_to_num(depth, nan=-1.0) > 0.05)
    seen = np.full((len(xyz), 2), np.inf)
    seen[ahead] = project(camera, xyz[ahead])
    return ahead & (np.abs(seen - size / 2) < 1.5 * size).all(axis=-1)


def _draw_ellipses(
    canvas: Canvas,
    camera: Camera,
    joints: Keypoints3D,
    xyz: FloatArray,
    covariance: FloatArray,
    seen: BoolArray,
) -> None:
    chosen = np.flatnonzero(seen & np.isfinite(covariance).all(axis=(-2, -1)))
    if chosen.size == 0:
        return
    spread = project_covariance(camera, xyz[chosen], covariance[chosen]) * canvas.scale**2
    values, vectors = np.linalg.eigh(spread)
    radii = ellipse_factor(joints.degrees_of_freedom) * np.sqrt(np.maximum(values, 0.0))
    circle = np.stack([np.cos(a := np.linspace(0, 2 * np.pi, 49)), np.sin(a)])
    outlines = np.swapaxes(vectors @ (radii[:, :, None] * circle), -1, -2)
    outlines += canvas.place(project(camera, xyz[chosen]))[:, None]
    filled = canvas.image.copy()
    for j, outline in zip(chosen, outlines, strict=True):
        cv2.fillPoly(filled, [_fixed(outline)], side_colour(joints.joint_names[j]), cv2.LINE_AA, SHIFT)
    cv2.addWeighted(filled, 0.4, canvas.image, 0.6, 0, dst=canvas.image)
    for j, outline in zip(chosen, outlines, strict=True):
        _line(canvas, outline, side_colour(joints.joint_names[j]), 0.4 * canvas.line)


def _draw_bone(canvas: Canvas, camera: Camera, ends: FloatArray, colour: Colour) -> None:
    """Draw a bone as the lens bends it, with a dark border that keeps it legible on any footage."""
    along = np.linspace(0, 1, 9)[:, None]
    path = canvas.place(project(camera, ends[0] + along * (ends[1] - ends[0])))
    path = path[np.isfinite(path).all(axis=-1)]
    if len(path) < 2:
        return
    _line(canvas, path, INK, 2.0 * canvas.line)
    _line(canvas, path, colour, canvas.line)


def _fixed(points: FloatArray) -> NDArray[np.int32]:
    """Return coordinates as OpenCV's fixed-point numbers."""
    return np.clip(points * 2**SHIFT, -(2**20), 2**20).round().astype(np.int32)


def _line(canvas: Canvas, path: FloatArray, colour: Colour, width: float) -> None:
    cv2.polylines(canvas.image, [_fixed(path)], False, colour, max(1, round(width)), cv2.LINE_AA, SHIFT)


def _dot(canvas: Canvas, centre: FloatArray, radius: float, colour: Colour) -> None:
    x, y = (int(value) for value in _fixed(centre))
    for grow, fill in ((1.4, INK), (1.0, colour)):
        cv2.circle(canvas.image, (x, y), round(grow * radius * 2**SHIFT), fill, -1, cv2.LINE_AA, SHIFT)


def _text_band(canvas: Canvas, parts: Sequence[tuple[str, Colour]], top: bool) -> None:
    """Write coloured parts on one or more lines on a dark translucent band."""
    height, width = canvas.image.shape[:2]
    size = max(0.38, 0.00062 * math.hypot(height, width))
    thick = max(1, round(1.6 * size))
    (_, tall), _ = cv2.getTextSize("Ag", cv2.FONT_HERSHEY_SIMPLEX, size, thick)
    row, pad = round(1.9 * tall), round(0.9 * tall)
    placed: list[tuple[str, Colour, int, int]] = []
    x, line = pad, 0
    for text, colour in parts:
        plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode() or "?"
        (wide, _), _ = cv2.getTextSize(plain, cv2.FONT_HERSHEY_SIMPLEX, size, thick)
        if x > pad and x + wide > width - pad:
            x, line = pad, line + 1
        placed.append((plain, colour, x, line))
        x += wide + 2 * pad
    deep = min(height, (line + 1) * row + pad)
    start = 0 if top else height - deep
    band = canvas.image[start : start + deep]
    band[:] = (band * 0.35).astype(np.uint8)
    for plain, colour, x, line in placed:
        baseline = start + pad // 2 + line * row + round(1.4 * tall)
        cv2.putText(canvas.image, plain, (x, baseline), cv2.FONT_HERSHEY_SIMPLEX, size, colour, thick, cv2.LINE_AA)
