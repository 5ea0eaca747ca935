"""Cameras from real footage, against calibrations that others made; skipped where the footage is not there."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from inference.calibrate import calibrate
from inference.calibration.board import Board, find_corners
from inference.calibration.board_calibration import solve_lens
from inference.files.calibration import read_calibration
from inference.geometry.rotation import log
from inference.take import read_take
from inference.types import Camera

_TAKE = """[take]
name = "balancing"
height_m = 1.75
[calibration]
source = "{source}"
intrinsics = "{folder}/calibration/Calib.qca.txt"
"""
_VIEW = """[[view]]
name = "cam0{i}"
video = "{folder}/videos/cam0{i}.mp4"
keypoints = "{folder}/openpose_body25b/cam0{i}_json"
keypoint_layout = "body_25b"
"""
_SCALED = 'fit = "letterbox"\nkeypoint_size = [1088, 1920]\n'


def take_file(path: Path, folder: Path, source: str) -> Path:
    text = _TAKE.format(source=source, folder=folder)
    for i in (1, 2, 3, 4):
        text += _VIEW.format(i=i, folder=folder) + (_SCALED if i < 3 else "")
    path.write_text(text)
    return path


def rotations(cameras: tuple[Camera, ...]) -> np.ndarray:
    return np.stack([camera.R for camera in cameras])


def test_the_man_on_the_beam_gives_the_cameras(shared_data: Path, tmp_path: Path) -> None:
    """100 frames of OpenPose with bystanders: 0.74 degrees from a calibration that is itself off by 0.6-0.8 degrees."""
    folder = shared_data / "pose2sim_single"
    ours = calibrate(read_take(take_file(tmp_path / "self.toml", folder, "self")), tmp_path / "self")
    source = str(folder / "calibration" / "Calib.qca.txt")
    given = calibrate(read_take(take_file(tmp_path / "given.toml", folder, source)), tmp_path / "given")
    found, true = rotations(ours.cameras), rotations(given.cameras)
    U, _, Vt = np.linalg.svd(np.einsum("vba,vbc->ac", true, found))
    world = U @ np.diag([1, 1, np.linalg.det(U @ Vt)]) @ Vt
    error = np.degrees(np.linalg.norm(log(found @ np.swapaxes(true @ world, 1, 2)), axis=-1))
    assert error.mean() < 1.1
    assert error.max() < 1.5
    apart = [np.linalg.norm(rig.cameras[0].centre - rig.cameras[2].centre) for rig in (ours, given)]
    assert apart[0] == pytest.approx(apart[1], rel=0.1)  # the stature is a guess
    assert set(read_calibration(tmp_path / "self" / "cameras.toml").cameras) == {f"cam0{i}" for i in (1, 2, 3, 4)}


@pytest.mark.parametrize("camera", [2, 4])
def test_lens_photos(shared_data: Path, camera: int) -> None:
    """Seven photos of a chessboard; the Qualisys lenses have k1 = -0.048."""
    folder = shared_data / "pose2sim_single" / "calibration" / "intrinsics" / f"int_cam0{camera}_img"
    board = Board("chessboard", 5, 8, 0.06)
    pictures = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in sorted(folder.glob("*.jpg"))]
    corners = [find_corners(board, np.asarray(p, np.uint8), i) for i, p in enumerate(pictures) if p is not None]
    found = solve_lens(board, f"cam0{camera}", (1088, 1920), [c for c in corners if c is not None])
    assert -0.055 < found.lens.distortion[0] < -0.035
    assert found.lens.K[0, 0] == pytest.approx(1675, rel=0.012)
    assert found.median_error_px < 0.4


_DESK_BOARD = """[calibration]
source = "board"
intrinsics = "{lenses}"
[calibration.board]
kind = "charuco"
columns = 4
rows = 5
square_m = 0.054
marker_m = 0.0405
dictionary = "DICT_4X4_1000"
inverted = true
legacy = true
"""


def test_the_webcams_by_their_own_board(shared_data: Path, tmp_path: Path) -> None:
    """Medians 0.34-0.43 px with the given lenses, squares 54.0 mm; cam_1 is 0.1 s late.

    Taken as in step, cam_1 stays at 1.30 px, which was not understood for long.
    """
    folder = shared_data / "desk_charuco"
    text = _DESK_BOARD.format(lenses=f"{folder}/camera_array.toml")
    for n in range(4):
        text += f'[[view]]\nname = "cam_{n}"\nvideo = "{folder}/calibration/extrinsic/cam_{n}.mp4"\n'
    path = tmp_path / "take.toml"
    path.write_text(text)
    calibrate(read_take(path), tmp_path / "out")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    board = report["facts"]["board"]
    assert max(board["median_error_px"].values()) < 0.8
    assert board["measured_square_m"] == pytest.approx(0.054, abs=0.0003)
    late = {name: row["seconds"] for name, row in board["late_s"].items()}
    assert late["cam_1"] == pytest.approx(0.105, abs=0.03)
    assert late["cam_2"] == pytest.approx(-0.03, abs=0.015)
    assert any("cam_1: it shows a moment" in warning for warning in report["warnings"])
