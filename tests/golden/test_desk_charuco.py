"""A printed board seen by four real webcams measures what it should, through our takes, footage and cameras."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from inference.cameras import rig_for_take
from inference.footage import open_footage, read_frames
from inference.geometry.projection import project
from inference.geometry.triangulation import linear_triangulation
from inference.take import Take, read_take
from inference.types import Keypoints2D

COLUMNS, ROWS = 4, 5  # squares; corners stand between them
CORNERS = (COLUMNS - 1) * (ROWS - 1)
FIRST, STEP = 68, 2  # the board is in hand from here on
FEWEST = 6  # corners; fewer are reflections and fingers


def take_of(folder: Path, calibration: str, into: Path) -> Take:
    views = "".join(
        f'[[view]]\nname = "cam_{n}"\nvideo = "{(folder / "calibration" / "extrinsic" / f"cam_{n}.mp4").as_posix()}"\n'
        for n in range(4)
    )
    path = into / "take.toml"
    path.write_text(f'[calibration]\nsource = "{(folder / calibration).as_posix()}"\n{views}', encoding="utf-8")
    return read_take(path)


def detect(name: str, video: str) -> tuple[Keypoints2D, tuple[int, int]]:
    """Corners of the board in every second frame; light on dark, with the pattern of OpenCV before 4.6."""
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_1000)
    board = cv2.aruco.CharucoBoard((COLUMNS, ROWS), 0.054, 0.75 * 0.054, dictionary)
    board.setLegacyPattern(True)
    detector = cv2.aruco.CharucoDetector(board)
    footage = open_footage(name, video)
    rows = []
    for _, image in read_frames(footage, FIRST, None, STEP):
        corners, ids, _, _ = detector.detectBoard(255 - cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
        row = np.full((CORNERS, 2), np.nan)
        if ids is not None and len(ids) >= FEWEST:
            row[ids.ravel()] = corners.reshape(-1, 2)
        rows.append(row)
    xy = np.array(rows)[:, None]
    seen = np.isfinite(xy).all(-1)
    keypoints = Keypoints2D(
        view=name,
        joint_names=tuple(f"corner_{n}" for n in range(CORNERS)),
        timestamps_s=footage.timestamps_s[FIRST::STEP],
        xy=xy,
        covariance=np.where(seen[..., None, None], np.eye(2), np.nan),
        score=seen.astype(float),
    )
    return keypoints, footage.image_size


@pytest.fixture(scope="module")
def seen(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Keypoints2D, tuple[int, int]]]:
    take = take_of(shared_data / "desk_charuco", "config.toml", tmp_path_factory.mktemp("take"))
    return [detect(view.name, str(view.video)) for view in take.views]


@pytest.mark.parametrize("calibration", ["config.toml", "camera_array.toml"])
def test_the_board_measures_54_mm(
    shared_data: Path, tmp_path: Path, calibration: str, seen: list[tuple[Keypoints2D, tuple[int, int]]]
) -> None:
    views = [keypoints for keypoints, _ in seen]
    take = take_of(shared_data / "desk_charuco", calibration, tmp_path)
    rig, warnings = rig_for_take(take, {keypoints.view: size for keypoints, size in seen})
    assert warnings == []
    points = linear_triangulation(rig, views)
    errors = [
        np.linalg.norm(project(camera, points) - keypoints.xy, axis=-1)
        for camera, keypoints in zip(rig.cameras, views, strict=True)
    ]
    flat = np.concatenate([error[np.isfinite(error)] for error in errors])
    assert len(flat) > 600
    assert np.median(flat) < 1.0
    grid = points.reshape(len(points), ROWS - 1, COLUMNS - 1, 3)
    sides = [np.linalg.norm(np.diff(grid, axis=axis), axis=-1).ravel() for axis in (1, 2)]
    side_mm = 1000 * np.concatenate(sides)
    side_mm = side_mm[np.isfinite(side_mm)]
    assert len(side_mm) > 200
    assert np.median(side_mm) == pytest.approx(54.0, abs=0.5)


def test_swapped_cameras_are_noticed(
    shared_data: Path, tmp_path: Path, seen: list[tuple[Keypoints2D, tuple[int, int]]]
) -> None:
    """Negative control: with two cameras exchanged the same corners miss by far more than a pixel."""
    views = [keypoints for keypoints, _ in seen]
    rig, _ = rig_for_take(take_of(shared_data / "desk_charuco", "config.toml", tmp_path), {})
    swapped = [dataclasses.replace(views[1], view="cam_0"), dataclasses.replace(views[0], view="cam_1"), *views[2:]]
    points = linear_triangulation(rig, swapped)
    error = np.linalg.norm(project(rig.cameras[2], points) - views[2].xy, axis=-1)
    assert np.nanmedian(error) > 10
