"""bioCV: by hand, round trip, a folder of cameras, broken files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.errors import CalibrationError, SolveError
from inference.files.calibration import read_calibration
from inference.types import Camera
from tests.calibrations import five_cameras, pixel_error

FUZZ_CASES = int(os.environ.get("SIGHTLINE_FUZZ", "200"))

TEXT = """640
480
900 0 310
0 910 250
0 0 1

0 0 1 1000
0 1 0 2000
-1 0 0 3000
{last}
-0.1 0.02 0.001 0.002 0.003
"""


def write(path: Path, text: str = TEXT, last: str = "0 0 0 1\n") -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text.replace("{last}", last))
    return path


def as_biocv(camera: Camera) -> str:
    def row(values: object) -> str:
        return " ".join(repr(float(value)) for value in np.ravel(np.asarray(values)))

    Rt = np.column_stack([camera.R, np.asarray(camera.t) * 1000])
    size = camera.intrinsics.image_size
    lines = [str(size[0]), str(size[1]), *(row(r) for r in camera.intrinsics.K), "", *(row(r) for r in Rt), ""]
    return "\n".join([*lines, row(camera.intrinsics.distortion), ""])


@pytest.mark.parametrize("last", ["", "0 0 0 1\n", "\n0 0 0 1\n\n"])
def test_by_hand(tmp_path: Path, last: str) -> None:
    """t is mm; C = -R^T t = (3, -2, -1) m."""
    calibration = read_calibration(write(tmp_path / "00.mp4.calib", last=last))
    camera = calibration.cameras["00"]
    np.testing.assert_allclose(camera.centre, [3, -2, -1])
    np.testing.assert_array_equal(camera.intrinsics.K, [[900, 0, 310], [0, 910, 250], [0, 0, 1]])
    np.testing.assert_array_equal(camera.intrinsics.distortion, [-0.1, 0.02, 0.001, 0.002, 0.003])
    assert camera.intrinsics.image_size == (640, 480) and calibration.warnings == []


def test_round_trip_of_a_folder(tmp_path: Path) -> None:
    before = five_cameras()
    for camera in before:
        write(tmp_path / f"{camera.name}.calib", as_biocv(camera))
    calibration = read_calibration(tmp_path)
    assert list(calibration.cameras) == ["07", "7b", "cam_2", "cam_10", "left"]
    assert pixel_error(before, calibration.cameras) < 1e-6


def test_a_camera_twice(tmp_path: Path) -> None:
    for name in ("a.calib", "a.mp4.calib"):
        write(tmp_path / name)
    with pytest.raises(CalibrationError, match="'a' stands twice"):
        read_calibration(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("900 0 310", "0 0 310", "singular"),
        ("900 0 310", "900 0 nan", "not finite"),
        ("900 0 310", "900 0 x", "line 3 holds something"),
        ("-1 0 0 3000", "1 0 0 3000", "mirrored"),
        ("-1 0 0 3000", "-2 0 0 3000", "not orthonormal"),
        ("0 0 1\n", "", "is cut off"),
        ("-0.1 0.02 0.001 0.002 0.003\n", "", "must end with one line of distortion"),
        (" 0.001 0.002 0.003", "", "2 coefficients"),
        ("640\n480", "640\n0", "no picture size"),
    ],
)
def test_broken_files(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(CalibrationError, match=message) as caught:
        read_calibration(write(tmp_path / "a.calib", TEXT.replace(old, new, 1)))
    assert "\n" not in str(caught.value) and "a.calib" in str(caught.value)


@settings(max_examples=FUZZ_CASES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    place=st.floats(0, 1),
    length=st.integers(0, 10),
    insert=st.text(max_size=6) | st.sampled_from(["nan", "inf", "1e999", "\n", ",", " 1 "]),
)
def test_mutated_files_raise_only_our_errors(tmp_path: Path, place: float, length: int, insert: str) -> None:
    text = TEXT.replace("{last}", "0 0 0 1\n")
    at = int(place * len(text))
    path = tmp_path / "a.calib"
    path.write_bytes((text[:at] + insert + text[at + length :]).encode("utf-8", "surrogatepass"))
    try:
        read_calibration(path)
    except SolveError as problem:
        assert isinstance(problem, CalibrationError) and "\n" not in str(problem)
