"""``keypoints.kept``: what a solve starts its 3D work from, kept so that a correction need not detect again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ..errors import InputError, ShapeError
from ..shapes import FloatArray, check_shapes
from ..types import CameraRig, Keypoints2D
from .solution import camera_arrays, load_arrays, read_cameras, save_arrays


@dataclass(frozen=True, eq=False)
class KeptKeypoints:
    """Keypoints of all views on the take's clock, who is who settled, nothing corrected; and the cameras."""

    mark: str  # what the take said when they were made; another text means that they are out of date
    rig: CameraRig  # before the world is moved on the floor
    views: tuple[Keypoints2D, ...]  # in the order of the rig
    offset_s: FloatArray  # (V,)
    drift_ppm: FloatArray  # (V,)
    placement_sigma_m: FloatArray  # (J,) see `placement`


def write_kept(path: Path, kept: KeptKeypoints) -> None:
    """Write kept keypoints; the file appears whole or not at all.

    Raises:
        InputError: the folder cannot be written.
    """
    first = kept.views[0]
    arrays = {
        "mark": np.array(kept.mark),
        "timestamps_s": first.timestamps_s,
        "joint_names": np.array(first.joint_names, dtype=np.str_),
        "keypoint_xy": np.stack([view.xy for view in kept.views]),
        "keypoint_covariance": np.stack([view.covariance for view in kept.views]),
        "keypoint_score": np.stack([view.score for view in kept.views]),
        "placement_sigma_m": kept.placement_sigma_m,
    }
    save_arrays(path, arrays | camera_arrays(kept.rig, kept.offset_s, kept.drift_ppm))


def kept_joint_names(path: Path) -> tuple[str, ...]:
    """Read the names alone, which takes no time however long the take is; none where the file is missing or broken."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return tuple(str(name) for name in archive["joint_names"])
    except (OSError, ValueError, KeyError, TypeError, BadZipFile, EOFError):
        return ()


def read_kept(path: Path) -> KeptKeypoints:
    """Read kept keypoints.

    Raises:
        InputError: the file is missing, broken or something else; the message names it.
    """
    arrays = load_arrays(path, "file of kept keypoints")
    rig = read_cameras(path)
    try:
        names = tuple(str(name) for name in arrays["joint_names"])
        parts = (arrays["keypoint_xy"], arrays["keypoint_covariance"], arrays["keypoint_score"])
        views = tuple(
            Keypoints2D(camera.name, names, arrays["timestamps_s"], *(part[index] for part in parts))
            for index, camera in enumerate(rig.cameras)
        )
        placement = np.asarray(arrays["placement_sigma_m"], float)
        check_shapes(placement_sigma_m=(placement, f"{len(names)}"))
        return KeptKeypoints(str(arrays["mark"]), rig, views, arrays["offset_s"], arrays["drift_ppm"], placement)
    except (KeyError, IndexError, ShapeError, TypeError, ValueError) as problem:
        raise InputError(f"{path} holds no valid kept keypoints ({problem}); solve the take in full") from None
