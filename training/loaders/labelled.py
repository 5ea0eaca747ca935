"""What every loader gives: pictures of one person each with labels in our conventions, and a check that these fit.

Pixels count from the centre of the first one; metres; cameras as in OpenCV; a label that is not there is NaN.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.errors import InputError
from inference.footage import open_footage, read_frame, read_frames
from inference.geometry.projection import project
from inference.shapes import FloatArray, check_shapes, frozen
from inference.types import Camera

UNSTATED = np.zeros((0, 2, 2))  # the covariance of labels that say nothing of it
LIMIT_PX = 1.0  # median distance between labels and projected joints: more is a wrong convention, not noise


@dataclass(frozen=True, eq=False)
class Picture:
    """Where a picture lies: an image file, or a frame of a video or of a numbered sequence."""

    path: str
    frame: int = -1  # of a video or sequence; -1: the file is one picture

    def read(self) -> NDArray[np.uint8]:
        """Return (h, w, 3) RGB.

        Raises:
            InputError: it is missing or cannot be read.
        """
        if not Path(self.path).exists() and "%" not in self.path:
            raise InputError(f"{self.path} is missing: the labels name a picture that is not there")
        if self.frame >= 0:
            return read_frame(open_footage(Path(self.path).name, self.path, fps=1.0), self.frame)
        image = cv2.imread(self.path, cv2.IMREAD_COLOR)
        if image is None:
            raise InputError(f"{self.path} is no picture that can be read")
        return np.ascontiguousarray(image[..., ::-1]).astype(np.uint8, copy=False)


@dataclass(frozen=True, eq=False)
class LabelledPicture:
    """One person in one picture."""

    picture: Picture
    joint_names: tuple[str, ...]
    xy: FloatArray  # (J, 2) px, NaN where not labelled
    visible: FloatArray  # (J,) bool: labelled, and not hidden by anything as far as the data set says
    box: FloatArray  # (4,) x1, y1, x2, y2 px, NaN where the data set gives none
    subject: str = ""
    action: str = ""

    def __post_init__(self) -> None:
        for name, dtype in (("xy", float), ("visible", bool), ("box", float)):
            object.__setattr__(self, name, frozen(getattr(self, name), dtype))
        j = len(self.joint_names)
        check_shapes(xy=(self.xy, f"{j} 2"), visible=(self.visible, f"{j}"), box=(self.box, "4"))


@dataclass(frozen=True, eq=False)
class LabelledView(LabelledPicture):
    """One person in one picture of a known camera, with 3D joints."""

    camera: Camera = field(kw_only=True)
    xyz: FloatArray = field(kw_only=True)  # (J, 3) m, world of the camera
    covariance: FloatArray = field(kw_only=True, default_factory=lambda: UNSTATED)  # (J, 2, 2) px² of the labels

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "xyz", frozen(self.xyz))
        object.__setattr__(self, "covariance", frozen(self.covariance))
        j = len(self.joint_names)
        check_shapes(xyz=(self.xyz, f"{j} 3"))
        if len(self.covariance):
            check_shapes(covariance=(self.covariance, f"{j} 2 2"))

    def reprojection_px(self) -> FloatArray:
        """Return the distance (J,) of each label from the projected 3D joint; NaN where either is missing."""
        return np.linalg.norm(project(self.camera, self.xyz) - self.xy, axis=-1)


def check_reprojection(views: Sequence[LabelledView], where: str, limit_px: float = LIMIT_PX) -> float:
    """Return the median reprojection error of views, px, after making sure that labels, cameras and joints fit.

    Raises:
        InputError: nothing can be compared, or the median is above the limit: the files are of another layout, or a
            convention was misread.
    """
    errors = np.concatenate([view.reprojection_px() for view in views]) if views else np.zeros(0)
    errors = errors[np.isfinite(errors)]
    if not len(errors):
        raise InputError(f"{where}: no joint has both a 2D label and a 3D position: nothing can be checked")
    median = float(np.median(errors))
    if not median < limit_px:
        raise InputError(
            f"{where}: 3D joints project {median:.1f} px from their 2D labels (allowed {limit_px:g}): the files do not "
            "belong together, or are of another layout than this loader reads"
        )
    return median


def existing(path: Path, what: str) -> Path:
    """Return a path that is there.

    Raises:
        InputError: it is not; the message says what it should have been.
    """
    if not path.exists():
        raise InputError(f"{path} is missing: {what}")
    return path


NO_BOX = np.full(4, np.nan)


def in_order(views: Sequence[LabelledView]) -> Iterator[tuple[NDArray[np.uint8], LabelledView]]:
    """Yield views with their pictures; each video is read once from front to back."""
    frames: dict[str, dict[int, list[LabelledView]]] = {}
    for view in views:
        frames.setdefault(view.picture.path, {}).setdefault(view.picture.frame, []).append(view)
    for path, wanted in frames.items():
        footage = open_footage(Path(path).name, path, fps=1.0 if "%" in path else None)
        for number, image in read_frames(footage, min(wanted), max(wanted) + 1):
            for view in wanted.get(number, []):
                yield image, view
