"""Human3.6M in two layouts: h36m-fetch's ``annot.h5``, and the multi-view labels of Iskakov et al. 2019.

Ionescu et al. 2014. Millimetres become metres. The lens of the labels has its own tangential term,
x (p₁ y + p₂ x) + p₂ r², half of OpenCV's in two of three products: up to 0.5 px at the corners, which the check of
reprojection allows. h36m-fetch gives no lens, only a focal length and a middle per camera, fitted to its points.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from inference.errors import InputError
from inference.geometry.projection import project
from inference.layouts import layout
from inference.shapes import FloatArray
from inference.types import Camera, Intrinsics

from .labelled import NO_BOX, LabelledView, Picture, existing
from .plain_npy import read_plain_npy

CAMERAS = ("54138969", "55011271", "58860488", "60457274")
_SIZES = {"54138969": (1000, 1002), "55011271": (1000, 1000), "58860488": (1000, 1000), "60457274": (1000, 1002)}
_KEPT = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)  # h36m_17 among the 32 raw joints
_JOINTS = layout("h36m_17").joint_names
# Iskakov's 17: MPII-16's order, then the neck/nose and head top of h36m_17 come as 16 and 9.
_ISKAKOV = (
    *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "pelvis", "spine", "thorax"),
    *("head_top", "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist", "nose"),
)
# The same action is named differently from subject to subject.
_ACTIONS = {"TakingPhoto": "Photo", "WalkingDog": "WalkDog", "WalkingTogether": "WalkTogether"}


def action_of(name: str) -> str:
    """Return the common name of an action: without the number of the repetition, one spelling for all subjects.

    ``Sitting 2`` and ``Sitting-2`` are ``Sitting``, which ``SittingDown`` is not.
    """
    plain = re.sub(r"[ -]\d+$", "", name)
    return _ACTIONS.get(plain, plain)


# ---- h36m-fetch ----


def read_fetched(root: Path, subjects: Sequence[str] = ("S9", "S11"), every: int = 64) -> list[LabelledView]:
    """Read ``S*/<Action>-<N>/annot.h5`` and name the pictures beside them.

    Convention:
        3D joints are those of the camera (its axes and centre are the world). ``every`` takes each n-th frame.

    Raises:
        InputError: a file is missing or of another layout.
    """
    views: list[LabelledView] = []
    for subject in subjects:
        folder = existing(root / subject, "a subject as h36m-fetch extracts it")
        files = sorted(folder.glob("*/annot.h5"))
        if not files:
            raise InputError(f"{folder} holds no <Action>-<N>/annot.h5: run h36m-fetch's extraction to the end")
        for file in files:
            views += _read_annotations(file, subject, every)
    return views


def _read_annotations(file: Path, subject: str, every: int) -> list[LabelledView]:
    try:
        with h5py.File(file, "r") as raw:
            flat, solid = (np.asarray(raw[f"pose/{kind}"])[:, _KEPT] for kind in ("2d", "3d"))
            cameras, frames = np.asarray(raw["camera"]).ravel(), np.asarray(raw["frame"]).ravel()
            group = raw["intrinsics"]
            lenses = {str(name): _lens(str(name), np.asarray(group[name])) for name in group}  # type: ignore[union-attr]
    except (OSError, KeyError, ValueError, TypeError, IndexError) as error:
        raise InputError(f"{file} is no annot.h5 of h36m-fetch: {error!r}") from error
    action = action_of(file.parent.name)
    views = []
    for index in np.flatnonzero((frames - 1) % every == 0):
        lens = lenses[str(cameras[index])]
        name = f"img_{int(frames[index]):06d}.jpg"
        picture = Picture(str(file.parent / "imageSequence" / lens.name / name))
        camera = Camera(lens, np.eye(3), np.zeros(3))
        seen = np.isfinite(flat[index]).all(axis=-1)
        views.append(
            LabelledView(
                picture, _JOINTS, flat[index], seen, NO_BOX, subject, action, camera=camera, xyz=solid[index] / 1000
            )
        )
    return views


def _lens(name: str, values: FloatArray) -> Intrinsics:
    ax, x0, ay, y0 = (float(value) for value in np.ravel(values))
    K = np.array([[ax, 0, x0], [0, ay, y0], [0, 0, 1]])
    return Intrinsics(name, _SIZES.get(name, (1000, 1000)), K, np.zeros(0), "none")


# ---- Iskakov et al. ----


def read_multiview(
    root: Path, labels: str = "human36m-multiview-labels-GTbboxes.npy", every: int = 1
) -> list[LabelledView]:
    """Read the multi-view labels: ``extra/<labels>`` beside ``processed``.

    Convention:
        a box of no height means that the view is missing: it is left out. 2D labels are projections with the
        cameras of the file, lens included. Of subject S9 three scenes are damaged (Greeting-2, SittingDown-2,
        Waiting-1): tables without them say so.

    Raises:
        InputError: the file is missing, holds anything but numbers and texts, or is of another layout.
    """
    file = existing(root / "extra" / labels, "the multi-view labels of Human3.6M (generate-labels-npy-multiview.py)")
    raw = read_plain_npy(file)
    try:
        subjects, cameras, actions = (list(raw[key]) for key in ("subject_names", "camera_names", "action_names"))
        rig, table = raw["cameras"], raw["table"]
        rows = range(0, len(table["keypoints"]), every)
        return [
            view
            for row in rows
            for number, name in enumerate(cameras)
            for view in _multiview(root, table, rig, row, (number, str(name)), (subjects, actions))
        ]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"{file} does not hold the multi-view labels of Human3.6M: {error!r}") from error


def _multiview(
    root: Path, table: Any, rig: Any, row: int, view: tuple[int, str], names: tuple[list[str], list[str]]
) -> list[LabelledView]:
    number, camera_name = view
    top, left, bottom, right = (float(edge) for edge in table["bbox_by_camera_tlbr"][row][number])
    if bottom <= top:
        return []
    subject_index = int(table["subject_idx"][row])
    subject, action = names[0][subject_index], names[1][int(table["action_idx"][row])]
    own = rig[subject_index, number]
    camera = Camera(
        Intrinsics(camera_name, _SIZES.get(camera_name, (1000, 1000)), own["K"], np.ravel(own["dist"])),
        own["R"],
        np.ravel(own["t"]) / 1000,
    )
    xyz = np.asarray(table["keypoints"][row], float).reshape(17, 3) / 1000
    frame = int(table["frame_idx"][row])
    picture = root / "processed" / subject / action / "imageSequence" / camera_name / f"img_{frame + 1:06d}.jpg"
    xy = project(camera, xyz)
    box = np.array([left, top, right - 1, bottom - 1])
    seen = np.isfinite(xy).all(axis=-1)
    return [
        LabelledView(Picture(str(picture)), _ISKAKOV, xy, seen, box, subject, action_of(action), camera=camera, xyz=xyz)
    ]
