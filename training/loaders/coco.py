"""COCO person keypoints: ``annotations/person_keypoints_<split>2017.json``, ``images/<split>2017`` or ``<split>2017``.

Lin et al. 2014. Keypoints are (x, y, v) with v 0 not labelled, 1 labelled but hidden, 2 seen; pixels count from 0 at
the centre of the first one, boxes are x, y, width, height.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from inference.errors import InputError
from inference.layouts import layout

from .labelled import LabelledPicture, Picture, existing

_JOINTS = layout("coco_17").joint_names


def read_coco(root: Path, split: str = "val", least_keypoints: int = 1) -> list[LabelledPicture]:
    """Read the people of a split that have keypoints; crowds are left out.

    Raises:
        InputError: a file is missing, or of another layout.
    """
    annotations = root / "annotations" / f"person_keypoints_{split}2017.json"
    existing(annotations, "COCO's person keypoints; get annotations_trainval2017.zip from cocodataset.org")
    folders = [root / "images" / f"{split}2017", root / f"{split}2017"]
    folder = next((each for each in folders if each.is_dir()), None)
    if folder is None:
        raise InputError(f"{folders[0]} is missing: the pictures of COCO {split}2017")
    return read_coco_file(annotations, folder, least_keypoints)


def read_coco_file(annotations: Path, pictures: Path, least_keypoints: int = 1) -> list[LabelledPicture]:
    """Read one annotation file in COCO's form; see `read_coco`."""
    try:
        raw = json.loads(annotations.read_text(encoding="utf-8"))
        files = {image["id"]: image["file_name"] for image in raw["images"]}
        people = [
            a for a in raw["annotations"] if not a.get("iscrowd") and a.get("num_keypoints", 0) >= least_keypoints
        ]
        return [_labelled(person, pictures / files[person["image_id"]]) for person in people]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{annotations} is no annotation file of COCO keypoints: {error!r}") from error


def _labelled(person: dict[str, Any], picture: Path) -> LabelledPicture:
    values = np.array(person["keypoints"], float).reshape(len(_JOINTS), 3)
    x, y, width, height = person["bbox"]
    box = np.array([x, y, x + width - 1, y + height - 1])  # edges become centres of the outermost pixels
    xy = np.where(values[:, 2:] > 0, values[:, :2], np.nan)
    return LabelledPicture(Picture(str(picture)), _JOINTS, xy, values[:, 2] == 2, box, subject=str(person["id"]))
