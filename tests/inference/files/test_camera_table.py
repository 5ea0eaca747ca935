"""Checks that every calibration reader shares."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from inference.errors import CalibrationError
from inference.files.camera_table import image_size, lens, numbers, rotation_matrix, scale_to_metres

K = np.array([[900.0, 0, 320], [0, 900, 240], [0, 0, 1]])


@pytest.mark.parametrize("value", ["a", [1, "a"], [[1, 2], [3]], None, {"a": 1}, [1, None], [True], [1, 2, 3]])
def test_what_are_no_two_numbers(value: object) -> None:
    with pytest.raises(CalibrationError, match="x must be 2 numbers"):
        numbers(value, (2,), "x")


@pytest.mark.parametrize("value", [[1, float("nan")], [1, float("inf")], [1, 1e30], [1, 10**400]])
def test_numbers_that_are_absurd(value: object) -> None:
    with pytest.raises(CalibrationError, match="^x "):
        numbers(value, (2,), "x")


def test_picture_sizes() -> None:
    assert image_size([1088.0, 1920.0], "size") == (1088, 1920)
    for wrong in ([0, 10], [10.5, 10], [10, 1e6]):
        with pytest.raises(CalibrationError, match="no picture size"):
            image_size(wrong, "size")


def test_lenses() -> None:
    assert lens("a", (640, 480), K, np.zeros(5), False, "f").distortion_model == "opencv"
    assert lens("a", (640, 480), K, np.zeros(0), False, "f").distortion_model == "none"
    fisheye = lens("a", (640, 480), K, np.array([1.0, 2, 3, 4, 0]), True, "f")
    assert fisheye.distortion_model == "fisheye" and len(fisheye.distortion) == 4
    singular, lower, far = K.copy(), K.copy(), K.copy()
    singular[0, 0], lower[1, 0], far[0, 2] = 0, 5, 20_000
    for wrong, message in ((singular, "singular"), (lower, "is not"), (far, "principal point"), (-K, "K.2,2|positive")):
        with pytest.raises(CalibrationError, match=message):
            lens("a", (640, 480), wrong, np.zeros(5), False, "f")
    with pytest.raises(CalibrationError, match="3 coefficients"):
        lens("a", (640, 480), K, np.zeros(3), False, "f")


def test_rotations() -> None:
    vector = np.array([0.3, -0.2, 1.0])
    R = cv2.Rodrigues(vector)[0]
    np.testing.assert_allclose(rotation_matrix(vector.tolist(), "r"), R)
    np.testing.assert_allclose(rotation_matrix(R.tolist(), "r"), R)
    for wrong in ((R * 1.01).tolist(), (-R).tolist()):
        with pytest.raises(CalibrationError, match="not a rotation"):
            rotation_matrix(wrong, "r")
    for wrong in ([1, 2], R.ravel().tolist(), [[1, 2, 3]] * 2):
        with pytest.raises(CalibrationError, match="must be 3 numbers"):
            rotation_matrix(wrong, "r")


def test_units() -> None:
    centres = np.array([[0.0, 0, 0], [3, 4, 0]])
    assert scale_to_metres(centres, None, "m", "f") == (1.0, [])
    assert scale_to_metres(centres * 1000, None, "mm", "f") == (0.001, [])
    assert scale_to_metres(centres * 100, "cm", None, "f") == (0.01, [])
    scale, warnings = scale_to_metres(centres, None, None, "f")
    assert scale == 1.0 and warnings == [
        "f does not declare its units: taken as metres, the cameras farthest apart are 5.00 m apart"
    ]
    assert scale_to_metres(centres[:0], None, None, "f") == (1.0, [])


@pytest.mark.parametrize(
    ("factor", "units", "declared"),
    [(1000, None, None), (1000, None, "m"), (1000, "m", None), (0.001, None, "mm"), (0.001, None, None)],
)
def test_implausible_units_name_the_key(factor: float, units: str | None, declared: str | None) -> None:
    with pytest.raises(CalibrationError, match="units = "):
        scale_to_metres(np.array([[1.0, 0, 0], [3, 4, 0], [0, 0, 1]]) * factor, units, declared, "f")
