"""COLMAP text: half a pixel and quaternions by hand, round trips, scale, several images per camera, broken files."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.cameras import rig_for_take
from inference.config import SolveSettings
from inference.errors import CalibrationError, InputError, SolveError
from inference.files.calibration import read_calibration, read_lenses
from inference.files.camera_table import Distance
from inference.files.colmap import read_colmap, write_colmap
from inference.take import CalibrationSource, Take, View
from inference.types import Camera, Intrinsics
from tests.calibrations import five_cameras, pixel_error

FUZZ_CASES = int(os.environ.get("SIGHTLINE_FUZZ", "200"))

CAMERAS = """# Camera list with one line of data per camera:
#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]
1 OPENCV 640 480 900 910 320.5 240.5 -0.1 0.02 0.001 0.002
2 SIMPLE_RADIAL 1920 1080 1000.0 960.5 540.5 -0.05
"""
IMAGES = """# Image list with two lines of data per image:
#   IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME
#   POINTS2D[] as (X, Y, POINT3D_ID)
1 0.7071067811865476 0 0.7071067811865476 0 1 2 3 1 left.png
2362.39 248.498 58396 1784.7 268.254 59027
2 1 0 0 0 0 0 4 2 right.jpg

"""


def folder(path: Path, cameras: str | None = CAMERAS, images: str | None = IMAGES) -> Path:
    path.mkdir(exist_ok=True)
    for name, text in (("cameras.txt", cameras), ("images.txt", images)):
        if text is not None:
            (path / name).write_text(text)
    return path


@pytest.mark.parametrize("given_path", [".", "cameras.txt", "images.txt"])
def test_by_hand(tmp_path: Path, given_path: str) -> None:
    """q = (cos 45°, 0, sin 45°, 0) is a quarter turn about y; C = -R^T t = (3, -2, -1); cx = 320.5 - 0.5."""
    calibration = read_calibration(folder(tmp_path / "c") / given_path, units="cm")
    camera = calibration.cameras["left"]
    np.testing.assert_allclose(camera.R, [[0, 0, 1], [0, 1, 0], [-1, 0, 0]], atol=1e-12)
    np.testing.assert_allclose(camera.centre, [0.03, -0.02, -0.01], atol=1e-12)
    np.testing.assert_array_equal(camera.intrinsics.K, [[900, 0, 320], [0, 910, 240], [0, 0, 1]])
    np.testing.assert_array_equal(camera.intrinsics.distortion, [-0.1, 0.02, 0.001, 0.002])
    other = calibration.cameras["right"].intrinsics
    np.testing.assert_array_equal(other.K, [[1000, 0, 960], [0, 1000, 540], [0, 0, 1]])
    np.testing.assert_array_equal(other.distortion, [-0.05, 0, 0, 0])


@pytest.mark.parametrize(
    ("row", "model", "distortion"),
    [
        ("SIMPLE_PINHOLE 640 480 900 320 240", "none", []),
        ("PINHOLE 640 480 900 910 320 240", "none", []),
        ("RADIAL 640 480 900 320 240 0.1 0.2", "opencv", [0.1, 0.2, 0, 0]),
        ("FULL_OPENCV 640 480 900 910 320 240 1 2 3 4 5 6 7 8", "opencv", [1, 2, 3, 4, 5, 6, 7, 8]),
        ("OPENCV_FISHEYE 640 480 900 910 320 240 1 2 3 4", "fisheye", [1, 2, 3, 4]),
    ],
)
def test_every_model(tmp_path: Path, row: str, model: str, distortion: list[float]) -> None:
    found = read_lenses(folder(tmp_path / "c", f"7 {row}\n", None)).lenses["cam_7"]
    assert found.distortion_model == model and list(found.distortion) == distortion
    assert found.K[0, 0] == 900 and found.K[1, 1] == (910 if " 910 " in row else 900) and found.K[1, 2] == 239.5


@pytest.mark.parametrize("coefficients", [0, 4, 5])
def test_round_trip(tmp_path: Path, coefficients: int) -> None:
    before = five_cameras(coefficients=coefficients)
    assert write_colmap(tmp_path / "c", before) == []
    calibration = read_calibration(tmp_path / "c", units="m")
    assert list(calibration.cameras) == [camera.name for camera in before] and calibration.warnings == []
    assert pixel_error(before, calibration.cameras) < 1e-6


def test_fisheye_round_trip(tmp_path: Path) -> None:
    camera = five_cameras()[0]
    inner = Intrinsics("f", (1920, 1080), camera.intrinsics.K, np.array([0.05, 0.01, -0.004, 0.001]), "fisheye")
    before = [Camera(inner, camera.R, camera.t)]
    write_colmap(tmp_path / "c", before)
    assert pixel_error(before, read_calibration(tmp_path / "c", units="m").cameras) < 1e-6


def test_k3_is_lost_with_a_warning(tmp_path: Path) -> None:
    before = five_cameras()
    warnings = write_colmap(tmp_path / "c", before, four_coefficients=True)
    assert len(warnings) == 5 and "camera 'cam_2': k3 and what follows are lost" in warnings[0]
    assert pixel_error(before, read_calibration(tmp_path / "c", units="m").cameras) > 0.01


def test_what_cannot_be_written(tmp_path: Path) -> None:
    camera = five_cameras()[0]
    K = np.array(camera.intrinsics.K)
    K[0, 1] = 2.0
    prism = np.array([0.1] * 8 + [0.01] * 4)
    for inner, message in (
        (Intrinsics("a", (640, 480), K, np.zeros(5)), "skew"),
        (Intrinsics("a", (640, 480), camera.intrinsics.K, prism), "thin prism"),
        (Intrinsics("a b", (640, 480), camera.intrinsics.K, np.zeros(5)), "rename the view"),
        (Intrinsics("a/b", (640, 480), camera.intrinsics.K, np.zeros(5)), "rename the view"),
    ):
        with pytest.raises(InputError, match=message):
            write_colmap(tmp_path, [Camera(inner, camera.R, camera.t)])
    assert not list(tmp_path.iterdir())


def test_scale_is_never_guessed(tmp_path: Path) -> None:
    path = folder(tmp_path / "c")
    with pytest.raises(CalibrationError, match='mean nothing by themselves.*height_m.*units = "m"'):
        read_calibration(path)
    assert not read_calibration(path, height_m=1.8).has_scale
    assert read_calibration(path, height_m=1.8, units="m").has_scale


def test_a_distance_gives_the_scale(tmp_path: Path) -> None:
    path = folder(tmp_path / "c")
    left, right = read_calibration(path, units="m").cameras.values()
    found = read_calibration(path, distance=Distance("left", "right", 2.5)).cameras
    assert np.linalg.norm(found["left"].centre - found["right"].centre) == pytest.approx(2.5)
    factor = 2.5 / np.linalg.norm(left.centre - right.centre)
    np.testing.assert_allclose(found["left"].t, factor * left.t)
    for first, second, message in (("left", "rihgt", "no pose of 'rihgt'"), ("left", "left", "one place")):
        with pytest.raises(CalibrationError, match=message):
            read_calibration(path, distance=Distance(first, second, 2.5))
    assert set(read_lenses(path).lenses) == {"left", "right"}


def posed(R: np.ndarray, centre: np.ndarray, lens: int, name: str, number: int = 1) -> str:
    from inference.geometry.rotation import quaternion_from_matrix

    values = " ".join(repr(float(v)) for v in [*quaternion_from_matrix(R), *(-R @ centre)])
    return f"{number} {values} {lens} {name}\n\n"


def still_and_shaken(shake_m: float, names: str) -> str:
    """Two cameras 4 m apart with three images each; the second is shaken."""
    text = ""
    for lens, x in ((1, 0.0), (2, 4.0)):
        for number in range(3):
            R = cv2.Rodrigues(np.array([0.1, 0.2, 0.3]))[0]
            centre = np.array([x + (number - 1) * shake_m * (lens - 1), 1.0, 2.0])
            text += posed(R, centre, lens, names.format(lens=lens, number=number + 1))
    return text


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("cam_{lens}/000{number}.png", ["cam_1", "cam_2"]),
        ("images/cam_{lens}_000{number}.png", ["cam_1", "cam_2"]),
        ("take{lens}a-00{number}.jpeg", ["take1a", "take2a"]),
        ("{lens}{number}00{number}.png", ["1", "2"]),
    ],
)
def test_several_images_of_a_camera_that_stands_still(tmp_path: Path, names: str, expected: list[str]) -> None:
    path = folder(tmp_path / "c", images=still_and_shaken(0.01, names))
    if names.startswith("{lens}"):  # nothing but digits: the lens's number remains
        expected = ["cam_1", "cam_2"]
    cameras = read_calibration(path, units="m").cameras
    assert list(cameras) == expected
    np.testing.assert_allclose(cameras[expected[1]].centre, [4, 1, 2], atol=1e-9)


def test_a_camera_that_moves(tmp_path: Path) -> None:
    path = folder(tmp_path / "c", images=still_and_shaken(0.2, "cam_{lens}/000{number}.png"))
    found = read_colmap(path)
    assert list(found.paths) == ["cam_2"] and "camera 'cam_2' moves: the first of its 3" in found.warnings[0]
    moving = found.paths["cam_2"]
    np.testing.assert_array_equal(moving.frames, [0, 1, 2])  # pictures 1 to 3
    centres = -np.einsum("kji,kj->ki", moving.R, moving.t)
    np.testing.assert_allclose(centres[:, 0], [3.8, 4.0, 4.2], atol=1e-9)
    np.testing.assert_array_equal(found.poses["cam_2"][1], moving.t[0])
    path = folder(tmp_path / "c", images=still_and_shaken(0.2, "cam_{lens}/{number}a.png"))
    with pytest.raises(CalibrationError, match="camera 'cam_2' moves between its 3 images, and their names do not"):
        read_colmap(path)
    path = folder(tmp_path / "c", images=still_and_shaken(0.2, "a_{lens}_{number}.png"))
    assert list(read_colmap(path).poses) == ["a_1", "a_2_1", "a_2_2", "a_2_3"]  # flat: each may be a camera


def test_a_single_camera_that_moves(tmp_path: Path) -> None:
    """Pictures called by numbers alone in one folder; numbers that no video reaches are none."""
    rows = [posed(cv2.Rodrigues(np.zeros(3))[0], np.array([x, 1.0, 2.0]), 1, f"phone/00{x + 4}.png") for x in range(3)]
    found = read_colmap(folder(tmp_path / "c", images="".join(rows)))
    assert list(found.poses) == ["phone"]
    np.testing.assert_array_equal(found.paths["phone"].frames, [0, 1, 2])
    huge = "".join(rows).replace("006.png", "9" * 200 + ".png")
    with pytest.raises(CalibrationError, match="camera 'phone' moves between its 3 images, and their names do not"):
        read_colmap(folder(tmp_path / "c", images=huge))
    flat = "".join(rows).replace("phone/", "")
    assert len(read_colmap(folder(tmp_path / "c", images=flat)).poses) == 3  # each may be a camera


def test_poses_and_lenses_from_different_files(tmp_path: Path) -> None:
    poses, lenses = folder(tmp_path / "p", None), folder(tmp_path / "l")
    views = tuple(View(name, "x.mp4", None, None, None) for name in ("left", "right"))
    source = CalibrationSource(poses, lenses, units="m")
    rig, warnings = rig_for_take(Take(poses, "t", 1, None, 0.0, None, None, source, views, SolveSettings()), {})
    assert rig.names == ("left", "right") and warnings == []


@pytest.mark.parametrize(
    ("which", "old", "new", "message"),
    [
        ("cameras.txt", "OPENCV", "FOV", "line 3: lens model FOV cannot be read; supported: SIMPLE_PINHOLE"),
        ("cameras.txt", " 0.002", "", "line 3: OPENCV needs width, height and 8 numbers"),
        ("cameras.txt", " 900 ", " nan ", "OPENCV needs"),
        ("cameras.txt", " 900 ", " 0 ", "singular"),
        ("cameras.txt", " 640 ", " 0 ", "no picture size"),
        ("cameras.txt", "2 SIMPLE", "1 SIMPLE", "line 4 must be a camera's own number"),
        ("cameras.txt", "2 SIMPLE", "3 SIMPLE", "has no lens 2, which camera 'right' uses"),
        ("cameras.txt", CAMERAS, "# nothing\n", "holds no camera"),
        ("images.txt", IMAGES, "# nothing\n", "holds no image"),
        ("images.txt", "2 1 0 0 0", "2 3 0 0 0", "not of unit length"),
        ("images.txt", "2 1 0 0 0 0", "2 1 0 0 0", "line 6 must be IMAGE_ID"),
        ("images.txt", "2 right.jpg", "1 left.png", "stands twice"),
        ("images.txt", "2 right.jpg", "2 left.png", "'left' stands twice"),
        ("images.txt", "1 0.7071", "1 inf0.7071", "line 4 must be IMAGE_ID"),
    ],
)
def test_broken_files(tmp_path: Path, which: str, old: str, new: str, message: str) -> None:
    path = folder(tmp_path / "c")
    text = (path / which).read_text()
    assert old in text
    (path / which).write_text(text.replace(old, new, 1))
    with pytest.raises(CalibrationError, match=message) as caught:
        read_calibration(path, units="m")
    assert "\n" not in str(caught.value)


@settings(max_examples=FUZZ_CASES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    which=st.sampled_from(["cameras.txt", "images.txt"]),
    place=st.floats(0, 1),
    length=st.integers(0, 30),
    insert=st.text(max_size=6) | st.sampled_from(["nan", "inf", "1e999", "\n", "#", " 1 ", "../", "/", "1e9 "]),
)
def test_mutated_files_raise_only_our_errors(tmp_path: Path, which: str, place: float, length: int, insert) -> None:
    path = folder(tmp_path / "c")
    text = CAMERAS if which == "cameras.txt" else IMAGES
    at = int(place * len(text))
    (path / which).write_bytes((text[:at] + insert + text[at + length :]).encode("utf-8", "surrogatepass"))
    for given_path in (path, path / which):
        try:
            read_calibration(given_path, units="m")
        except SolveError as problem:
            assert isinstance(problem, CalibrationError) and "\n" not in str(problem)
