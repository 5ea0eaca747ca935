"""Trajectories as CSV, by hand."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from inference.files.trajectories import CSV_COLUMNS, write_trajectories_csv
from inference.types import Keypoints3D


def keypoints() -> Keypoints3D:
    xyz = np.arange(24.0).reshape(2, 2, 2, 3) / 10
    xyz[1, 1, 0] = np.nan
    covariance = np.tile(np.array([[1, 2, 3], [2, 4, 5], [3, 5, 6.0]]) * 1e-4, (2, 2, 2, 1, 1))
    covariance[1, 1, 0] = np.nan
    return Keypoints3D(
        ("nose", "left_hip"), np.array([0, 0.5]), xyz, covariance, np.where(np.isnan(xyz[..., 0]), 1, 3), 5
    )


def test_csv_by_hand(tmp_path: Path) -> None:
    write_trajectories_csv(tmp_path / "a.csv", keypoints())
    rows = list(csv.reader((tmp_path / "a.csv").read_text().splitlines()))
    assert tuple(rows[0]) == CSV_COLUMNS and len(rows) == 9
    cells = "0 1 left_hip 0.9 1 1.1 0.0001 0.0002 0.0003 0.0004 0.0005 0.0006 3".split()
    assert rows[4] == cells
    assert rows[7] == ["0.5", "1", "nose", *[""] * 9, "1"]
