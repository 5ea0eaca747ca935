"""``keypoints.kept``: what a solve starts its 3D work from, kept so that a correction need not detect again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError, ShapeError
from ..shapes import FloatArray, check_shapes
from ..types import CameraRig, Keypoints2D
from .solution import camera_arrays, load_arrays, numbers, read_cameras, save_arrays

_WHAT = "file of kept keypoints"


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
        return tuple(str(name) for name in load_arrays(path, _WHAT, ("joint_names",))["joint_names"])
    except (InputError, TypeError):
        return ()


def read_kept(path: Path) -> KeptKeypoints:
    """Read kept keypoints.

    Raises:
        InputError: the file is missing, broken or something else; the message names it.
    """
    arrays = load_arrays(path, _WHAT)
    rig = read_cameras(path)
    try:
        names = tuple(str(name) for name in arrays["joint_names"])
        times = numbers(arrays, "timestamps_s")
        parts = [numbers(arrays, key) for key in ("keypoint_xy", "keypoint_covariance", "keypoint_score")]
        views = tuple(
            Keypoints2D(camera.name, names, times, *(part[index] for part in parts))
            for index, camera in enumerate(rig.cameras)
        )
        placement = np.asarray(numbers(arrays, "placement_sigma_m"), float)
        check_shapes(placement_sigma_m=(placement, f"{len(names)}"))
        offset_s, drift_ppm = numbers(arrays, "offset_s"), numbers(arrays, "drift_ppm")
        check_shapes(offset_s=(offset_s, f"{len(views)}"), drift_ppm=(drift_ppm, f"{len(views)}"))
        return KeptKeypoints(str(arrays["mark"]), rig, views, offset_s, drift_ppm, placement)
    except (KeyError, IndexError, ShapeError, TypeError, ValueError) as problem:
        raise InputError(f"{path} holds no valid kept keypoints ({problem}); solve the take in full") from None
