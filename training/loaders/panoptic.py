"""CMU Panoptic: ``calibration_<sequence>.json``, ``hdPose3d_stage1_coco19/body3DScene_<frame>.json``, ``hdImgs``.

Joo et al. 2015. Centimetres, world y down: ours is (x, z, -y) / 100. Cameras are x_cam = R X + t, OpenCV distortion.
A joint below the confidence is missing. 2D labels are projections of the 3D joints: the data set has no others.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inference.errors import InputError
from inference.geometry.projection import project
from inference.shapes import FloatArray
from inference.types import Camera, Intrinsics

from .labelled import NO_BOX, LabelledView, Picture, existing

JOINTS = (
    *("neck", "nose", "pelvis", "left_shoulder", "left_elbow", "left_wrist", "left_hip", "left_knee", "left_ankle"),
    *("right_shoulder", "right_elbow", "right_wrist", "right_hip", "right_knee", "right_ankle"),
    *("left_eye", "left_ear", "right_eye", "right_ear"),
)
_OURS_FROM_THEIRS = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
USUAL_CAMERAS = ("00_03", "00_06", "00_12", "00_13", "00_23")  # HD, as VoxelPose takes them
_LEAST_CONFIDENCE = 0.1


def read_panoptic(root: Path, sequence: str, cameras: Sequence[str] = USUAL_CAMERAS) -> list[LabelledView]:
    """Read every person, frame and camera of a sequence.

    Raises:
        InputError: a file is missing or of another layout, or a camera is not in the calibration.
    """
    folder = existing(root / sequence, "a sequence of CMU Panoptic (domedb.perception.cs.cmu.edu)")
    rig = read_cameras(folder / f"calibration_{sequence}.json", cameras)
    poses = existing(folder / "hdPose3d_stage1_coco19", "the 3D joints (extract hdPose3d_stage1_coco19.tar)")
    views = []
    for file in sorted(poses.glob("body3DScene_*.json")):
        frame = file.stem.removeprefix("body3DScene_")
        for person, xyz in _people(file):
            for camera in rig:
                name = camera.name
                picture = Picture(str(folder / "hdImgs" / name / f"{name}_{frame}.jpg"))
                xy = project(camera, xyz)
                seen = _inside(xy, camera)
                views.append(LabelledView(picture, JOINTS, xy, seen, NO_BOX, person, sequence, camera=camera, xyz=xyz))
    if not views:
        raise InputError(f"{poses} holds no body3DScene_*.json: extract the 3D joints of {sequence} there")
    return views


def read_cameras(file: Path, names: Sequence[str]) -> list[Camera]:
    """Read cameras of a calibration, in metres and our world."""
    existing(file, "the calibration of the sequence")
    try:
        known = {camera["name"]: camera for camera in json.loads(file.read_text(encoding="utf-8"))["cameras"]}
        absent = [name for name in names if name not in known]
        if absent:
            raise InputError(f"{file} has no camera {absent[0]!r}")
        return [_camera(known[name]) for name in names]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file} is no calibration of CMU Panoptic: {error!r}") from error


def _camera(raw: dict[str, Any]) -> Camera:
    size = (int(raw["resolution"][0]), int(raw["resolution"][1]))
    lens = Intrinsics(raw["name"], size, np.array(raw["K"], float), np.array(raw["distCoef"], float))
    return Camera(lens, np.array(raw["R"], float) @ _OURS_FROM_THEIRS.T, np.array(raw["t"], float).reshape(3) / 100)


def _people(file: Path) -> list[tuple[str, FloatArray]]:
    try:
        bodies = json.loads(file.read_text(encoding="utf-8"))["bodies"]
        rows = [(str(body["id"]), np.array(body["joints19"], float).reshape(19, 4)) for body in bodies]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file} holds no 3D joints of CMU Panoptic: {error!r}") from error
    return [
        (name, np.where(row[:, 3:] > _LEAST_CONFIDENCE, row[:, :3] @ _OURS_FROM_THEIRS.T / 100, np.nan))
        for name, row in rows
    ]


def _inside(xy: FloatArray, camera: Camera) -> FloatArray:
    return (np.isfinite(xy) & (xy > -0.5) & (xy < np.array(camera.intrinsics.image_size) - 0.5)).all(axis=-1)
