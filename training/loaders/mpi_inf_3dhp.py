"""MPI-INF-3DHP: ``S<n>/Seq<m>/annot.mat`` with ``camera.calibration``; test set ``TS<n>/annot_data.mat``.

Mehta et al. 2017. Millimetres become metres. 3D joints are in the axes of each camera. ``annot3`` are true positions;
``univ_annot3`` are those scaled to one skeleton size: numbers that were published on either differ, so that the caller
names which. Camera and joint numbers count as in the files, from 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy.io import loadmat

from inference.errors import InputError
from inference.shapes import FloatArray
from inference.types import Camera, Intrinsics

from .labelled import NO_BOX, LabelledView, Picture, existing

TRAIN_JOINTS = (
    *("spine3", "spine4", "spine2", "spine", "pelvis", "neck", "nose", "head_top", "left_clavicle", "left_shoulder"),
    *("left_elbow", "left_wrist", "left_hand", "right_clavicle", "right_shoulder", "right_elbow", "right_wrist"),
    *("right_hand", "left_hip", "left_knee", "left_ankle", "left_foot", "left_toe", "right_hip", "right_knee"),
    *("right_ankle", "right_foot", "right_toe"),
)
TEST_JOINTS = (
    *("head_top", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist"),
    *("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "pelvis", "spine", "nose"),
)
CHEST_CAMERAS = (0, 2, 4, 7, 8)
ANNOTATIONS = ("annot3", "univ_annot3")
_TEST_SIZES = {"TS5": (1920, 1080), "TS6": (1920, 1080)}


def read_training(
    root: Path, subject: int, sequence: int, cameras: Sequence[int] = CHEST_CAMERAS, every: int = 1
) -> list[LabelledView]:
    """Read one training sequence, true positions (``annot3``).

    Raises:
        InputError: a file is missing or of another layout.
    """
    folder = existing(root / f"S{subject}" / f"Seq{sequence}", "a training sequence of MPI-INF-3DHP")
    rig = read_calibration(existing(folder / "camera.calibration", "its cameras"))
    file = existing(folder / "annot.mat", "its labels")
    try:
        raw = loadmat(str(file))
        flat = [np.asarray(cell, float).reshape(-1, 28, 2) for cell in raw["annot2"].ravel()]
        solid = [np.asarray(cell, float).reshape(-1, 28, 3) / 1000 for cell in raw["annot3"].ravel()]
    except (KeyError, ValueError, OSError, NotImplementedError) as error:
        raise InputError(f"{file} does not hold annot2 and annot3: {error!r}") from error
    views = []
    for number in cameras:
        video = str(folder / "imageSequence" / f"video_{number}.avi")
        if number not in rig or number >= len(flat):
            raise InputError(f"{folder}: there is no camera {number}")
        for frame in range(0, len(flat[number]), every):
            views.append(
                _view(
                    Picture(video, frame),
                    TRAIN_JOINTS,
                    flat[number][frame],
                    solid[number][frame],
                    rig[number],
                    f"S{subject}",
                )
            )
    return views


def read_test(root: Path, subject: int, annotation: str = "annot3") -> list[LabelledView]:
    """Read the valid frames of a test sequence.

    Convention:
        ``univ_annot3`` does not project onto the picture: it is for the protocol's metric alone, and the check
        of reprojection refuses it. The lens is fitted to the sequence's own labels: the set gives none.

    Raises:
        InputError: a file is missing or of another layout, or the annotation is unknown.
    """
    if annotation not in ANNOTATIONS:
        raise InputError(f"unknown annotation {annotation!r}; known: {', '.join(ANNOTATIONS)}")
    folder = existing(root / f"TS{subject}", "a test sequence of MPI-INF-3DHP")
    file = existing(folder / "annot_data.mat", "its labels")
    try:
        with h5py.File(file, "r") as raw:
            valid = raw["valid_frame"][()].ravel() > 0  # type: ignore[index]
            flat = raw["annot2"][()].reshape(-1, 17, 2)  # type: ignore[index]
            true = raw["annot3"][()].reshape(-1, 17, 3) / 1000  # type: ignore[index]
            wanted = raw[annotation][()].reshape(-1, 17, 3) / 1000  # type: ignore[index]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{file} is no annot_data.mat of the test set: {error!r}") from error
    size = _TEST_SIZES.get(folder.name, (2048, 2048))
    camera = Camera(fitted_lens(folder.name, size, true[valid], flat[valid]), np.eye(3), np.zeros(3))
    return [
        _view(
            Picture(str(folder / "imageSequence" / f"img_{frame + 1:06d}.jpg")),
            TEST_JOINTS,
            flat[frame],
            wanted[frame],
            camera,
            folder.name,
        )
        for frame in np.flatnonzero(valid)
    ]


def fitted_lens(
    name: str,
    size: tuple[int, int],
    xyz: FloatArray,  # (..., 3) camera axes
    xy: FloatArray,  # (..., 2) px
) -> Intrinsics:
    """Fit focal lengths and the middle to points and their pixels by least squares."""
    rays = xyz[..., :2] / xyz[..., 2:]
    columns = [np.polyfit(rays[..., axis].ravel(), xy[..., axis].ravel(), 1) for axis in (0, 1)]
    (fx, cx), (fy, cy) = columns
    return Intrinsics(name, size, np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), np.zeros(0), "none")


def read_calibration(file: Path) -> dict[int, Camera]:
    """Read ``camera.calibration``: the lenses, each camera with its own axes as the world."""
    cameras: dict[int, Camera] = {}
    name, size = -1, (2048, 2048)
    try:
        for line in file.read_text(encoding="utf-8").splitlines():
            key, *values = line.split()[:1], *line.split()[1:]
            if key == ["name"]:
                name = int(values[0])
            elif key == ["size"]:
                size = (int(values[0]), int(values[1]))
            elif key == ["intrinsic"]:
                K = np.array(values, float).reshape(4, 4)[:3, :3]
                lens = Intrinsics(f"video_{name}", size, K, np.zeros(0), "none")
                cameras[name] = Camera(lens, np.eye(3), np.zeros(3))
    except (ValueError, IndexError) as error:
        raise InputError(f"{file} is no camera.calibration of MPI-INF-3DHP: {error}") from error
    if not cameras:
        raise InputError(f"{file} holds no camera")
    return cameras


def _view(picture: Picture, names: tuple[str, ...], xy: Any, xyz: Any, camera: Camera, subject: str) -> LabelledView:

    seen = ((xy > -0.5) & (xy < np.array(camera.intrinsics.image_size) - 0.5)).all(axis=-1)
    return LabelledView(picture, names, xy, seen, NO_BOX, subject, camera=camera, xyz=xyz)
