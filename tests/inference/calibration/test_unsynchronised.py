"""Cameras and offsets from the person at once, on views that begin at known moments between frames."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from inference.calibration.self_calibration import SelfCalibration, calibrate_from_person
from inference.calibration.unsynchronised import calibrate_unsynchronised, start_offsets
from inference.errors import DegenerateError
from inference.keypoints import resample
from inference.shapes import FloatArray
from inference.types import Keypoints2D
from tests.inference.calibration.test_self_calibration import QUIET, rotation_errors_deg
from tests.synthetic import dance, make_scene, observe

FPS, FRAMES = 30.0, 150
TRUE_S = np.array([0.0, 0.37, -0.2213])
SCENE = make_scene(FRAMES, 3, FPS, seed=1)


def recorded(still: bool = False) -> list[Keypoints2D]:
    """Three views of one dance; each counts from its own first frame."""
    views = []
    for number, camera in enumerate(SCENE.rig.cameras):
        moments = 1.0 + TRUE_S[number] + np.arange(FRAMES) / FPS
        joints = dance(0 * moments if still else moments, SCENE.joint_names, 1)[:, None]
        rig = replace(SCENE.rig, cameras=(camera,), covariance=np.zeros((6, 6)))
        views += observe(replace(SCENE, rig=rig, xyz=joints), QUIET, seed=10 + number)
    return views


def test_offsets_between_frames_and_cameras_are_found_together() -> None:
    """A frame is 33 ms."""
    views = recorded()

    def solve(offsets: Sequence[float] | FloatArray, clocks: Sequence[int]) -> SelfCalibration:
        first, last = max(offsets), min(offsets) + (FRAMES - 1) / FPS
        times = np.arange(np.ceil(first * FPS), np.floor(last * FPS)) / FPS
        common = [resample(view, times, float(offset), 0.0) for view, offset in zip(views, offsets, strict=True)]
        return calibrate_from_person(SCENE.rig.lenses, common, 1, 1.75, clocks=clocks)

    joint = calibrate_unsynchronised(SCENE.rig.lenses, views, [0.0, None, None], solve)
    assert np.abs(np.array(joint.offset_s) - TRUE_S).max() < 0.004
    assert rotation_errors_deg(joint.found.rig, SCENE.rig).max() < 0.3


def test_motion_that_shows_no_clock_is_named() -> None:
    with pytest.raises(DegenerateError, match="offset_s"):
        start_offsets(SCENE.rig.lenses, recorded(still=True), [0.0, None, None])
