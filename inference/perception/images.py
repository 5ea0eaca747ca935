"""Keypoints of single pictures, as `python -m inference detect` writes them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .detector import Detector
from .person import Person2D


def detect_images(paths: Iterable[Path], detector: Detector) -> list[dict[str, Any]]:
    """Find all people in pictures, each picture by itself.

    Convention:
        input order; people best first; coordinates in pixels of the picture as displayed (its orientation tag
        applied), the centre of the first pixel is (0, 0); keypoints that were not found are left out.

    Args:
        paths: picture files.
        detector: loaded networks.

    Returns:
        Plain JSON values: ``[{"image", "people": [{"score", "keypoints": {name: [x, y, score]}}]}]``.

    Raises:
        InputError: a picture cannot be read; the message names it.
    """
    return [
        {"image": str(path), "people": [_plain(person, detector) for person in detector.detect(read_image(path))]}
        for path in paths
    ]


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read a picture as (h, w, 3) RGB, turned by its orientation tag.

    Raises:
        InputError: the file is missing or no picture.
    """
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise InputError(f"image {path} cannot be read: {error.strerror or error}") from error
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        raise InputError(f"image {path} is not a picture that can be read; give a PNG or JPEG file")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _plain(person: Person2D, detector: Detector) -> dict[str, Any]:
    values = np.column_stack([person.xy, person.score])
    keypoints = {
        name: [round(float(value), 4) for value in row]
        for name, row in zip(detector.joint_names, values, strict=True)
        if np.isfinite(row).all()
    }
    return {"score": round(person.person_score, 4), "keypoints": keypoints}
