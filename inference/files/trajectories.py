"""Joint trajectories as CSV, for spreadsheets and scripts: a row per joint, with its covariance.

The NPZ for scripts is the solution itself: plain arrays under the keys of the contract.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from ..types import Keypoints3D
from .whole_file import replacing

_UPPER = ("xx", "xy", "xz", "yy", "yz", "zz")
CSV_COLUMNS = ("time_s", "person", "joint", "x_m", "y_m", "z_m", *(f"cov_{axes}_m2" for axes in _UPPER), "flag")


def write_trajectories_csv(path: Path, keypoints: Keypoints3D) -> None:
    """Write one row per frame, person and joint.

    Convention:
        world axes (Z up), metres; persons count from 0; a joint that is missing has empty cells, its flag stays.
        Covariance: the six numbers of its upper half, m². Nine significant digits.

    Args:
        path: the ``.csv`` file; written whole or not at all.
        keypoints: joints in the world.

    Raises:
        InputError: the folder cannot be written.
    """
    rows, columns = np.triu_indices(3)
    values = np.concatenate([keypoints.xyz, keypoints.covariance[..., rows, columns]], axis=-1)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CSV_COLUMNS)
        for time, frame, flags in zip(keypoints.timestamps_s, values, keypoints.flag, strict=True):  # text goes by rows
            for person, (joints, states) in enumerate(zip(frame, flags, strict=True)):
                for name, cells, state in zip(keypoints.joint_names, joints, states, strict=True):
                    texts = ["" if np.isnan(cell) else f"{cell:.9g}" for cell in cells]
                    writer.writerow([f"{time:.9g}", person, name, *texts, int(state)])
