"""Real webcams put in step by a person's keypoints, against their moving board; skipped without the footage."""

from pathlib import Path

import numpy as np
import pytest

from inference.clocks.synchronisation import synchronise
from inference.files.calibration import read_calibration
from inference.layouts import layout
from inference.types import CameraRig, Keypoints2D

FPS = 6.0
BOARD_S = (0.0, -0.107, 0.031, 0.026)  # `calibrate` with source = "board" on the same films; sigmas 6, 4, 1 ms


def view(shared_data: Path, number: int, dropped: int) -> Keypoints2D:
    """BlazePose's keypoints of one webcam, whose first frames are left out; its clock starts at what is left."""
    landmarks = np.load(shared_data / "blazepose_2d" / "mp_blazepose.npz")
    xyv = landmarks[f"caliscope|tests|sessions|charuco_calibration|calibration|extrinsic|cam_{number}.mp4"]
    xyv = xyv[dropped:, None]
    good = np.isfinite(xyv[..., :2]).all(axis=-1) & (xyv[..., 2] > 0.5)
    return Keypoints2D(
        f"cam_{number}",
        layout("blazepose_33").joint_names,
        np.arange(len(xyv)) / FPS,
        np.where(good[..., None], xyv[..., :2], np.nan),
        np.where(good[..., None, None], 25.0 * np.eye(2), np.nan),
        np.where(good, xyv[..., 2], 0.0),
    )


@pytest.mark.parametrize("late", [1, 2, 3])
def test_a_known_shift_of_real_video_is_found(shared_data: Path, late: int) -> None:
    """111 frames at 6 a second, of which one view loses 0, 5 and 13 (16 to 18 s are left).

    Measured: 30 to 42 ms from the board's clock for cam_1, 6 to 8 for cam_2, 13 to 15 for cam_3, a quarter of a frame
    at most: BlazePose errs by its view. How far the answer must move is known exactly; it errs by 13, 1 and 2 ms.
    """
    read = read_calibration(shared_data / "desk_charuco" / "config.toml").cameras
    rig = CameraRig(tuple(read[name] for name in sorted(read)), np.zeros((24, 24)))
    assert rig.names == ("cam_0", "cam_1", "cam_2", "cam_3")
    given = [None if number == late else BOARD_S[number] for number in range(4)]
    errors = []
    for dropped in (0, 5, 13):
        views = [view(shared_data, number, dropped if number == late else 0) for number in range(4)]
        found = synchronise(rig, views, given)
        errors.append(found.offset_s[late] - BOARD_S[late] - dropped / FPS)
    assert np.abs(errors).max() < 0.06
    assert np.ptp(errors) < 0.02
