"""Judging person detectors: their boxes in pictures against boxes that somebody else gave."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.config import DetectionSettings
from inference.errors import InputError
from inference.footage import open_footage, read_frames
from inference.perception.boxes import overlap
from inference.perception.crop import region_of_box
from inference.perception.detector import Detector, load_detector
from inference.shapes import FloatArray

from .data.person_mask import PersonMask
from .loaders.labelled import LabelledPicture

_ENLARGE = 1.6  # of the box around BlazePose's joints: head and hands lie beyond them
_PX = 256  # edge of the mask in which the box is measured
_SURE = 0.6  # BlazePose's score of a person whom it is believed


@dataclass(frozen=True, eq=False)
class BoxedPicture:
    """A picture (h, w, 3) RGB with the boxes (P, 4) x1, y1, x2, y2 px of all people in it."""

    image: NDArray[np.uint8]
    boxes: FloatArray


def judged_boxes(detector: Detector, pictures: Iterable[BoxedPicture]) -> dict[str, float]:
    """Compare a detector's boxes with the true ones, at the score from which a solve looks for a person.

    Convention:
        a person is found where a box that is nobody else's overlaps by half (intersection over union); the surest
        boxes choose first. Each box that finds nobody is false.

    Returns:
        ``recall``, ``overlap`` (mean, of those found), ``false_per_picture``, ``people`` and ``pictures``.

    Raises:
        InputError: there is nobody to find.
    """
    how_well, missed, false, count = [], 0, 0, 0
    for picture in pictures:
        shared = overlap(detector.boxes(picture.image).corners, picture.boxes)
        hits = _hits(shared)
        how_well += hits
        missed += len(picture.boxes) - len(hits)
        false += len(shared) - len(hits)
        count += 1
    people = len(how_well) + missed
    if not people:
        raise InputError("there is nobody in these pictures: nothing can be judged")
    return {
        "recall": len(how_well) / people,
        "overlap": float(np.mean(how_well)) if how_well else 0.0,
        "false_per_picture": false / count,
        "people": float(people),
        "pictures": float(count),
    }


def _hits(
    shared: FloatArray,  # (N, P) of boxes, surest first, with people
) -> list[float]:
    taken: set[int] = set()
    hits = []
    for row in shared:  # greedy by definition: surest first
        free = [person for person in np.argsort(-row) if person not in taken and row[person] >= 0.5]
        if free:
            taken.add(int(free[0]))
            hits.append(float(row[free[0]]))
    return hits


def pictures_of_videos(paths: Sequence[Path], every: int) -> Iterator[BoxedPicture]:
    """Yield frames of videos with the boxes around BlazePose's person masks.

    Raises:
        InputError: a video is missing or cannot be read.
        ModelError: BlazePose is not installed.
    """
    reference = load_detector(DetectionSettings(detector="blazepose"))
    mask = PersonMask.of(reference.keypoint_card)
    for path in paths:
        for _, image in read_frames(open_footage(path.name, str(path)), step=every):
            yield BoxedPicture(image, mask_boxes(reference, mask, image))


def mask_boxes(detector: Detector, mask: PersonMask, image: NDArray[np.uint8]) -> FloatArray:
    """Return the boxes (P, 4) px around what BlazePose's mask covers of each person."""
    boxes = []
    for person in detector.detect(image):
        if person.person_score < _SURE:
            continue
        around = np.concatenate([np.nanmin(person.xy, axis=0), np.nanmax(person.xy, axis=0)])
        region = region_of_box(around, 1.0, _ENLARGE)
        covered = mask.seen(image, person.region, region, (_PX, _PX)) > 127
        rows, columns = (np.flatnonzero(covered.any(axis=axis)) for axis in (1, 0))
        if len(rows):
            corner = np.asarray(region.centre) - np.asarray(region.size) / 2
            edges = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / _PX
            box = (edges.reshape(2, 2) * region.size + corner).reshape(4)
            limits = np.array([image.shape[1], image.shape[0]] * 2) - 1.0
            boxes.append(np.clip(box, 0, limits))
    return np.array(boxes).reshape(-1, 4)


def labelled_pictures(people: Sequence[LabelledPicture]) -> Iterator[BoxedPicture]:
    """Yield each picture of a data set once, with the boxes of all of its people."""
    by_path: dict[str, list[LabelledPicture]] = {}
    for person in people:
        by_path.setdefault(person.picture.path, []).append(person)
    for each in by_path.values():
        yield BoxedPicture(each[0].picture.read(), np.stack([person.box for person in each]))
