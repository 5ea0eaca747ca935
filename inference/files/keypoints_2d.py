"""The door to imported 2D keypoints: the format is recognised from the content."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from ..layouts import layout as layout_of
from ..types import Keypoints2D
from .coco import read_coco
from .keypoint_csv import csv_rows, is_caliscope, is_deeplabcut, read_caliscope, read_deeplabcut
from .keypoint_table import ImportedView
from .openpose import read_openpose
from .toml_text import read_text

SUPPORTED = "a folder of OpenPose JSON, COCO JSON, DeepLabCut CSV, caliscope CSV"


def read_keypoints(
    path: Path,
    layout: str,
    view: str,
    fps: float,
    image_size: tuple[int, int],
    keypoint_size: tuple[int, int] | None = None,
    fit: str = "scale",
) -> Keypoints2D:
    """Read the 2D keypoints of one view.

    Convention:
        the view's own pixels; missing is NaN; the first frame of the file is time 0 (see each format's reader);
        covariance is a first guess from the score.

    Args:
        path: a folder of OpenPose JSON, or a file of another format.
        layout: name of the keypoint layout.
        view: name of the view.
        fps: its frame rate.
        image_size: (width, height) px of the view's own pictures.
        keypoint_size: (width, height) px of the pictures that the keypoints count in; None: the view's own.
        fit: how the view's picture came out of one of ``keypoint_size``; ``exact`` means ``scale``.

    Returns:
        Keypoints; P = most people at once.

    Raises:
        InputError: the file is missing, broken, absurd, or of an unknown format; the message names view and file.
    """
    path = Path(path)
    layout_of(layout)
    if not path.is_file():
        return read_openpose(path, layout, view, fps, image_size, keypoint_size, fit)
    target = ImportedView(view, layout, fps, image_size, keypoint_size, fit)
    text = read_text(path, f"view {view!r}: keypoint")
    where = f"view {view!r}: keypoint file {path}"
    if text.lstrip()[:1] in ("{", "["):
        if '"pose_keypoints_2d"' in text[:10_000]:
            raise InputError(f"{where} is one frame of OpenPose JSON; name the folder of all frames")
        return read_coco(text, path, target)
    rows = csv_rows(text, where) if "," in text[:10_000] else []
    if is_deeplabcut(rows):
        return read_deeplabcut(rows, path, target)
    if is_caliscope(rows):
        return read_caliscope(rows, path, target)
    raise InputError(f"{where} has no format that can be read; supported: {SUPPORTED}")
