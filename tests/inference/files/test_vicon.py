"""Vicon: by hand, the fitted lens against Vicon's own polynomial, moving cameras, broken files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.errors import CalibrationError, SolveError
from inference.files.calibration import read_calibration
from inference.files.vicon import opencv_radial, read_vicon
from inference.geometry.projection import undistort_points
from inference.geometry.rotation import quaternion_from_matrix
from inference.types import Camera, Intrinsics
from tests.calibrations import five_cameras, pixel_error

FUZZ_CASES = int(os.environ.get("SIGHTLINE_FUZZ", "200"))

CAMERA = """
 <Camera DEVICEID="{name}" SYSTEM="{system}" SENSOR_SIZE="{size}" PIXEL_ASPECT_RATIO="{aspect}" SKEW="0" TYPE="x">
  <ThresholdGrid BYTES="0"/>
  <KeyFrames>
   <KeyFrame FRAME="0" ORIENTATION="{q}" POSITION="{centre}" FOCAL_LENGTH="{f}" PRINCIPAL_POINT="{pp}"
     VICON_RADIAL2="ViconRadial2 960 540 {radial}" WORLD_ERROR="0.2" IMAGE_ERROR="0.1"/>
  </KeyFrames>
 </Camera>"""
FIRST = {
    "name": "2107510",
    "system": "DV",
    "size": "1920 1080",
    "aspect": "0.5",
    "q": "0 0.7071067811865476 0 0.7071067811865476",
    "centre": "3000 -2000 -1000",
    "f": "1500",
    "pp": "950 530",
    "radial": "0 0 0",
}
SECOND = FIRST | {"name": "7", "centre": "0 0 2000", "radial": "-3e-08 1e-15 0"}
MARKERS = FIRST | {"name": "9", "system": "MX"}


def text(*cameras: dict[str, str]) -> str:
    body = "".join(CAMERA.format(**camera) for camera in cameras)
    return (
        f'<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n<Cameras BATCHID="a" VERSION="2">{body}\n</Cameras>\n'
    )


TEXT = text(FIRST, SECOND, MARKERS)


def read(content: str):
    return read_vicon(content, Path("a.xcp"))


def test_by_hand(tmp_path: Path) -> None:
    """Quaternion (x, y, z, w) of a quarter turn about y; POSITION is C in mm, t = -R C; fy = 1500 / 0.5."""
    (tmp_path / "a.xcp").write_text(TEXT)
    calibration = read_calibration(tmp_path / "a.xcp")
    assert list(calibration.cameras) == ["2107510", "7"]
    camera = calibration.cameras["2107510"]
    np.testing.assert_allclose(camera.R, [[0, 0, 1], [0, 1, 0], [-1, 0, 0]], atol=1e-12)
    np.testing.assert_allclose(camera.centre, [3, -2, -1])
    np.testing.assert_allclose(camera.t, [1, 2, 3])
    np.testing.assert_array_equal(camera.intrinsics.K, [[1500, 0, 950], [0, 3000, 530], [0, 0, 1]])
    assert camera.intrinsics.image_size == (1920, 1080)
    assert "without a real one to test on" in calibration.warnings[0]
    assert "camera '7': Vicon's lens was converted by fitting, largest residual" in calibration.warnings[1]


def test_cameras_are_all_read_where_none_says_video() -> None:
    assert list(read(text(MARKERS)).poses) == ["9"]


def test_round_trip_of_pinholes(tmp_path: Path) -> None:
    before = five_cameras(coefficients=0)
    cameras = []
    for camera in before:
        K, q = camera.intrinsics.K, quaternion_from_matrix(camera.R)[[1, 2, 3, 0]]
        numbers = {
            "q": q,
            "centre": camera.centre * 1000,
            "pp": K[:2, 2],
            "f": [K[0, 0]],
            "aspect": [K[0, 0] / K[1, 1]],
        }
        own = {key: " ".join(repr(float(v)) for v in value) for key, value in numbers.items()}
        cameras.append(FIRST | own | {"name": camera.name, "size": "{} {}".format(*camera.intrinsics.image_size)})
    (tmp_path / "a.xcp").write_text(text(*cameras))
    assert pixel_error(before, read_calibration(tmp_path / "a.xcp").cameras) < 1e-6


def test_the_fitted_lens_undistorts_as_the_polynomial() -> None:
    """r' = r (1 + k1 r² + k2 r⁴), pixels about the principal point; OpenCV's lens must agree within its residual."""
    K = np.array([[1500.0, 0, 950], [0, 1500.0, 530], [0, 0, 1]])
    k1, k2 = -3e-8, 1e-15  # 3 % at the corner
    distortion, residual = opencv_radial(np.array([k1, k2]), 1500.0, K, (1920, 1080))
    assert residual < 0.01
    pixels = np.random.default_rng(2).uniform(0, 1, (200, 2)) * (1919, 1079)
    away = pixels - K[:2, 2]
    r = np.linalg.norm(away, axis=-1, keepdims=True)
    expected = away * (1 + k1 * r**2 + k2 * r**4) / 1500
    found = undistort_points(Intrinsics("a", (1920, 1080), K, distortion), pixels)
    assert np.abs(found - expected).max() * 1500 < 0.02
    wrong = undistort_points(Intrinsics("a", (1920, 1080), K, -distortion), pixels)
    assert np.abs(wrong - expected).max() * 1500 > 5  # the control: the direction matters


def test_coefficients_that_cannot_be_pixels_leave_the_lens_out() -> None:
    found = read(text(FIRST | {"radial": "-0.1 0.02 0"}))
    assert found.lenses == {} and list(found.poses) == ["2107510"]
    assert "cannot be meant in pixels: its lens is not used, give one with intrinsics" in found.warnings[1]
    lens = Intrinsics("2107510", (1920, 1080), np.array([[900.0, 0, 960], [0, 900, 540], [0, 0, 1]]), np.zeros(5))
    with pytest.raises(CalibrationError, match="no lens .* for the pose of 2107510.*cannot be meant in pixels"):
        found.in_metres("a.xcp")
    camera = found.in_metres("a.xcp", lenses={"2107510": lens}).cameras["2107510"]
    assert isinstance(camera, Camera) and camera.intrinsics is lens


def test_several_key_frames() -> None:
    frame = TEXT[TEXT.index("<KeyFrame ") : TEXT.index("/>", TEXT.index("<KeyFrame ")) + 2]
    assert list(read(TEXT.replace(frame, frame + frame.replace('FRAME="0"', 'FRAME="9"'), 1)).poses)
    moved = frame.replace('FRAME="0"', 'FRAME="9"').replace("3000 ", "3100 ")
    found = read(TEXT.replace(frame, frame + moved, 1))
    path = found.paths["2107510"]
    assert path.frames[:3].tolist() == [0, 8, 9] and path.frames[3] > 1e5  # the first until the second, that for ever
    centres = -np.einsum("kji,kj->ki", path.R, path.t)
    np.testing.assert_allclose(centres, [[x, -2000, -1000] for x in (3000, 3000, 3100, 3100)], atol=1e-9)
    np.testing.assert_array_equal(found.poses["2107510"][1], path.t[0])
    assert list(found.paths) == ["2107510"] and any("2107510 move:" in warning for warning in found.warnings)
    with pytest.raises(CalibrationError, match="do not come in rising order of FRAME"):
        read(TEXT.replace(frame, frame + moved.replace('FRAME="9"', 'FRAME="0"'), 1))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('ORIENTATION="0 0.7071067811865476', 'ORIENTATION="0 0', "not of unit length"),
        ('ORIENTATION="0 0.7071067811865476 0', 'ORIENTATION="0 0.7071067811865476', "ORIENTATION must be 4 numbers"),
        ('POSITION="3000', 'POSITION="nan', "not finite"),
        ('FOCAL_LENGTH="1500"', 'FOCAL_LENGTH="0"', "not that of a camera"),
        ('FOCAL_LENGTH="1500"', "", "FOCAL_LENGTH must be 1"),
        ('SKEW="0"', 'SKEW="0.1"', "not that of a camera"),
        ('SENSOR_SIZE="1920 1080"', 'SENSOR_SIZE="0 0"', "no picture size"),
        ("ViconRadial2 960 540 0 0 0", "ViconRadial2 960 540 x", "radial distortion holds"),
        ('DEVICEID="7"', 'DEVICEID="2107510"', "needs a DEVICEID of its own"),
        ("</Cameras>", "", "not well-formed"),
        ("<Cameras", "<!DOCTYPE x []><Cameras", "document type or entities is refused"),
        ("Cameras", "Cams", "not a Vicon calibration"),
        ("KeyFrame ", "Frame ", "no calibrated camera"),
    ],
)
def test_broken_files(old: str, new: str, message: str) -> None:
    assert old in TEXT
    everywhere = old in ("Cameras", "KeyFrame ")
    with pytest.raises(CalibrationError, match=message) as caught:
        read(TEXT.replace(old, new) if everywhere else TEXT.replace(old, new, 1))
    assert "\n" not in str(caught.value) and "a.xcp" in str(caught.value)


def test_entities_do_not_expand(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><Cameras><Camera>&b;</Camera></Cameras>'
    (tmp_path / "a.xcp").write_text(bomb)
    with pytest.raises(CalibrationError, match="refused"):
        read_calibration(tmp_path / "a.xcp")


@settings(max_examples=FUZZ_CASES, deadline=None)
@given(
    place=st.floats(0, 1),
    length=st.integers(0, 10),
    insert=st.text(max_size=6) | st.sampled_from(["nan", "inf", "1e999", "<", "/>", '"', "&lt;", "&x;", "-9e99"]),
)
def test_mutated_files_raise_only_our_errors(place: float, length: int, insert: str) -> None:
    at = int(place * len(TEXT))
    try:
        read(TEXT[:at] + insert + TEXT[at + length :]).in_metres("a.xcp")
    except SolveError as problem:
        assert isinstance(problem, CalibrationError) and "\n" not in str(problem)
