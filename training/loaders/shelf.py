"""Shelf and Campus: ``actorsGT.mat``, ``calibration_<set>.json``, ``Camera<n>/img_%06d.png``.

Belagiannis et al. 2014. Joints are 14 in metres, cameras R (X − T) with T the centre in millimetres, lenses k1 k2 k3
and p1 p2. 2D labels come with the set, so that the check of reprojection tests cameras and joints against them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from inference.errors import InputError
from inference.shapes import FloatArray
from inference.types import Camera, Intrinsics

from .labelled import NO_BOX, LabelledView, Picture, existing

JOINTS = (
    *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
    *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
    *("upper_neck", "head_top"),
)
SIZES = {"shelf": (1032, 776), "campus": (360, 288)}
EVALUATED = {"shelf": (range(300, 601),), "campus": (range(350, 471), range(650, 751))}  # frames that papers judge


def read_shelf(root: Path, name: str = "shelf") -> list[LabelledView]:
    """Read every labelled person, frame and camera of ``shelf`` or ``campus``.

    Raises:
        InputError: a file is missing or of another layout.
    """
    if name not in SIZES:
        raise InputError(f"unknown set {name!r}; known: shelf, campus")
    truth = existing(root / "actorsGT.mat", f"the labels of {name} (campar.in.tum.de)")
    cameras = read_cameras(
        existing(root / f"calibration_{name}.json", "the calibration as json, as VoxelPose has it"), name
    )
    try:
        raw = loadmat(str(truth))
        actors_3d, actors_2d = raw["actor3D"], raw["actor2D"]
        persons = [(_frames(actors_3d[0, i]), _frames(actors_2d[0, i])) for i in range(actors_3d.shape[1])]
    except (KeyError, ValueError, TypeError, IndexError, OSError) as error:
        raise InputError(f"{truth} does not hold actor3D and actor2D: {error!r}") from error
    return [
        view
        for person, (solid, flat) in enumerate(persons)
        for frame, (xyz, pictures) in enumerate(zip(solid, flat, strict=True))
        if xyz.shape == (14, 3)
        for view in _views(root, cameras, xyz, pictures, person, frame)
    ]


def _frames(cell: Any) -> list[Any]:
    """Unpack MATLAB's nested cells: frames, each an array."""
    while cell.dtype == object and cell.size == 1:
        cell = cell.ravel()[0]
    return list(cell.ravel()) if cell.dtype == object else [cell]


def _views(
    root: Path, cameras: list[Camera], xyz: FloatArray, pictures: Any, person: int, frame: int
) -> list[LabelledView]:
    labels = pictures.ravel() if pictures.dtype == object else [pictures]
    made = []
    for number, (camera, label) in enumerate(zip(cameras, labels, strict=False)):
        xy = np.asarray(label, float)
        if xy.shape != (14, 2):
            continue  # not seen by this camera
        xy = np.where((xy > 0).all(axis=1, keepdims=True), xy, np.nan)
        picture = Picture(str(root / f"Camera{number}" / f"img_{frame:06d}.png"))
        seen = np.isfinite(xy).all(axis=1)
        made.append(LabelledView(picture, JOINTS, xy, seen, NO_BOX, str(person), camera=camera, xyz=xyz))
    return made


def read_cameras(file: Path, name: str) -> list[Camera]:
    """Read the cameras in order, metres."""
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
        return [_camera(number, raw[number], SIZES[name]) for number in sorted(raw, key=int)]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file} is no calibration of {name}: {error!r}") from error


def _camera(number: str, raw: dict[str, Any], size: tuple[int, int]) -> Camera:
    k, p = np.ravel(raw["k"]).astype(float), np.ravel(raw["p"]).astype(float)
    K = np.array([[raw["fx"], 0, raw["cx"]], [0, raw["fy"], raw["cy"]], [0, 0, 1]], float)
    R = np.array(raw["R"], float)
    centre = np.array(raw["T"], float).reshape(3) / 1000
    return Camera(Intrinsics(f"Camera{number}", size, K, np.r_[k[:2], p, k[2]]), R, -R @ centre)
