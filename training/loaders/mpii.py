"""MPII Human Pose as the json files that the pose networks use: ``annot/<split>.json``, ``images``.

Andriluka et al. 2014. Joints in the order of mpii_16; pixels count from 1, so that 1 is subtracted; (-1, -1) is
missing. ``center`` and ``scale`` (of 200 px of height) are of the person; the box made of them lies 15 · scale lower.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from inference.errors import InputError
from inference.layouts import layout

from .labelled import LabelledPicture, Picture, existing

_JOINTS = layout("mpii_16").joint_names
_HEIGHT_PX = 200.0  # that scale 1 stands for


def read_mpii(root: Path, split: str = "valid") -> list[LabelledPicture]:
    """Read the people of a split: train, valid, trainval or test (which has no joints).

    Raises:
        InputError: a file is missing, or of another layout.
    """
    file = existing(root / "annot" / f"{split}.json", "MPII's annotations as json (mpii_annotations of the networks)")
    existing(root / "images", "the pictures of MPII (mpii_human_pose_v1)")
    try:
        return [_labelled(person, root / "images") for person in json.loads(file.read_text(encoding="utf-8"))]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file} is no annotation file of MPII: {error!r}") from error


def _labelled(person: dict[str, Any], folder: Path) -> LabelledPicture:
    xy = np.array(person.get("joints", np.full((16, 2), np.nan)), float).reshape(16, 2) - 1.0
    seen = np.array(person.get("joints_vis", np.zeros(16)), float).reshape(16) > 0
    scale = float(person["scale"])
    middle = np.array(person["center"], float) - 1.0 + [0.0, 15.0 * scale]
    half = _HEIGHT_PX * scale * 1.25 / 2
    return LabelledPicture(
        Picture(str(folder / person["image"])),
        _JOINTS,
        np.where(seen[:, None], xy, np.nan),
        seen,
        np.concatenate([middle - half, middle + half]),
    )
