"""TOML calibrations: every dialect, a round trip to the last digit, and broken files by name."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.errors import CalibrationError, SolveError
from inference.files.anipose_toml import natural_order, read_anipose_toml, write_anipose_toml
from inference.files.calibration import read_calibration
from inference.types import Camera, Intrinsics

FUZZ_CASES = int(os.environ.get("SIGHTLINE_FUZZ", "200"))

ANIPOSE = """
[cam_0]
name = "left"
size = [640, 480]
matrix = [[900.0, 0.0, 320.0], [0.0, 900.0, 240.0], [0.0, 0.0, 1.0]]
distortions = [-0.1, 0.02, 0.0, 0.0, 0.0]
rotation = [0.0, 0.0, 0.0]
translation = [0.0, 0.0, 0.0]

[cam_1]
name = "right"
size = [640, 480]
matrix = [[900.0, 0.0, 320.0], [0.0, 900.0, 240.0], [0.0, 0.0, 1.0]]
distortions = [-0.1, 0.02, 0.0, 0.0, 0.0]
rotation = [0.0, 1.5707963267948966, 0.0]
translation = [1.0, 2.0, 3.0]

[metadata]
adjusted = false
error = 0.1
"""

MOVING = ANIPOSE.replace(
    "translation = [1.0, 2.0, 3.0]",
    "path_frames = [0.0, 2.5]\npath_rotations = [[0.0, 0.1, 0.0], [0.0, 0.2, 0.0]]\n"
    "path_translations = [[1.0, 2.0, 3.0], [1.0, 2.0, 3.5]]",
)
POSE2SIM = ANIPOSE.replace("[640, 480]", "[ 640.0, 480.0]").replace("-0.1, 0.02, 0.0, 0.0, 0.0", "-0.1, 0.02, 0.0, 0.0")
POSE2SIM += "\n[capture_volume]\nstage = 2\n[charuco]\ncolumns = 4\n[checkerboard]\nrows = 3\n"

FREEMOCAP = """
[metadata]
reprojection_error_px = 0.4
[metadata.board]
square_length_mm = 54.0
""" + ANIPOSE.replace("[metadata]\nadjusted = false\nerror = 0.1\n", "").replace(
    "[1.0, 2.0, 3.0]", '[1000.0, 2000.0, 3000.0]\nworld_position = [3000.0, -2000.0, -1000.0]\nid = "b"\nindex = 1'
)

CALISCOPE = """
[cameras.10]
cam_id = 10
rotation_count = 0
error = 0.5
exposure = -8
grid_count = 39
size = [1280, 720]
matrix = [[900.0, 0.0, 640.0], [0.0, 900.0, 360.0], [0.0, 0.0, 1.0]]
distortions = [-0.1, 0.02, 0.0, 0.0, 0.0]
translation = [1.0, 2.0, 3.0]
rotation = [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
[cameras.2]
cam_id = 2
rotation_count = -1
size = [1280, 720]
matrix = [[900.0, 0.0, 640.0], [0.0, 900.0, 360.0], [0.0, 0.0, 1.0]]
distortions = [0.1, 0.2, 0.3, 0.4]
fisheye = true
translation = [0.0, 0.0, 0.0]
rotation = [0.0, 0.0, 0.0]
[cameras.3]
cam_id = 3
rotation_count = 0
size = [1280, 720]
matrix = [[900.0, 0.0, 640.0], [0.0, 900.0, 360.0], [0.0, 0.0, 1.0]]
distortions = [-0.1, 0.02, 0.0, 0.0, 0.0]
[cameras.4]
cam_id = 4
size = [1280, 720]
"""


def read(text: str, units: str | None = None):
    return read_anipose_toml(text, Path("cams.toml"), units)


def test_aniposelib_by_hand() -> None:
    """A quarter turn about y: R = [[0,0,1],[0,1,0],[-1,0,0]], C = -R^T t = (3, -2, -1)."""
    calibration = read(ANIPOSE)
    camera = calibration.cameras["right"]
    np.testing.assert_allclose(camera.R, [[0, 0, 1], [0, 1, 0], [-1, 0, 0]], atol=1e-12)
    np.testing.assert_allclose(camera.centre, [3, -2, -1], atol=1e-12)
    assert camera.intrinsics.image_size == (640, 480) and list(calibration.cameras) == ["left", "right"]
    assert "taken as metres, the cameras farthest apart are 3.74 m" in calibration.warnings[0]


def test_pose2sim_has_float_sizes_and_other_tables() -> None:
    calibration = read(POSE2SIM)
    assert list(calibration.cameras) == ["left", "right"]
    assert calibration.lenses["left"].image_size == (640, 480) and len(calibration.lenses["left"].distortion) == 4


def test_freemocap_is_in_millimetres() -> None:
    calibration = read(FREEMOCAP)
    np.testing.assert_allclose(calibration.cameras["right"].centre, [3, -2, -1], atol=1e-12)
    assert calibration.warnings == []
    wrong = read(FREEMOCAP.replace("[3000.0, -2000.0, -1000.0]", "[3000.0, 2000.0, -1000.0]"))
    assert "world_position disagrees" in wrong.warnings[0]


def test_caliscope() -> None:
    calibration = read(CALISCOPE)
    assert list(calibration.cameras) == ["cam_2", "cam_10"]  # natural order, by number
    assert list(calibration.lenses) == ["cam_2", "cam_3", "cam_10"]  # cam_3 has no pose, cam_4 no lens either
    assert calibration.turns == {"cam_2": 3}
    assert calibration.lenses["cam_2"].distortion_model == "fisheye"
    assert len(calibration.warnings) == 1 and "'cam_4' has no intrinsics" in calibration.warnings[0]
    np.testing.assert_array_equal(calibration.cameras["cam_10"].R, [[0, -1, 0], [1, 0, 0], [0, 0, 1]])


def test_caliscopes_export_and_quoted_numbers() -> None:
    export = ANIPOSE.replace('name = "left"\n', "").replace('name = "right"\n', "")
    assert list(read(export.replace("error = 0.1", "error = 0.0")).cameras) == ["cam_0", "cam_1"]
    assert list(read(export.replace("[cam_0]", "['7']").replace("[cam_1]", '["07"]')).cameras) == ["cam_07", "cam_7"]


def test_cameras_in_a_nested_table() -> None:
    assert list(read(ANIPOSE.replace("[cam_", "[cameras.cam_")).cameras) == ["left", "right"]


@pytest.mark.parametrize(("units", "factor"), [("m", 1.0), ("mm", 1000.0), ("cm", 100.0)])
def test_units(units: str, factor: float) -> None:
    text = ANIPOSE.replace("[1.0, 2.0, 3.0]", str([factor, 2 * factor, 3 * factor]))
    declared = text.replace("adjusted = false", f'units = "{units}"')
    for calibration in (read(text, units), read(declared)):
        np.testing.assert_allclose(calibration.cameras["right"].centre, [3, -2, -1], atol=1e-12)
        assert calibration.warnings == []


def test_undeclared_millimetres_name_the_key() -> None:
    text = ANIPOSE.replace("[1.0, 2.0, 3.0]", "[1000.0, 2000.0, 3000.0]").replace(
        "[0.0, 0.0, 0.0]\n\n", "[900.0, 0.0, 0.0]\n\n"
    )
    with pytest.raises(CalibrationError, match='units = "mm"'):
        read(text)


def test_divided_qualisys_distortion_is_noticed() -> None:
    """-0.046183 / 64 = -0.000721609375: multiplied by 64 it has six decimals again."""
    divided = POSE2SIM.replace("-0.1, 0.02, 0.0, 0.0", "-0.000721609375, 0.002187234375, 9.5e-06, 1.078125e-05")
    assert any("divided by 64" in warning for warning in read(divided).warnings)
    small = POSE2SIM.replace("-0.1, 0.02, 0.0, 0.0", "-0.0007216, 0.0021872, 9.5e-06, 1.1e-05")
    assert not any("divided by 64" in warning for warning in read(small).warnings)
    assert not any("divided by 64" in warning for warning in read(POSE2SIM).warnings)


def test_k3_lost_in_a_four_coefficient_dialect_is_a_warning() -> None:
    assert any("no place for k3" in warning for warning in read(POSE2SIM).warnings)
    assert not any("k3" in warning for warning in read(ANIPOSE).warnings)  # five coefficients
    ours = POSE2SIM.replace("adjusted = false", 'units = "m"')
    assert not any("k3" in warning for warning in read(ours).warnings)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[[900.0, 0.0, 320.0], ", "[[0.0, 0.0, 320.0], ", "singular"),
        ("[[900.0, 0.0, 320.0], ", "[[nan, 0.0, 320.0], ", "not finite"),
        ("[[900.0, 0.0, 320.0], ", "[", "matrix must be 3x3 numbers"),
        ("[0.0, 1.5707963267948966, 0.0]", "[[1, 0, 0], [0, 1, 0], [0, 0, -1]]", "mirrored"),
        ("[0.0, 1.5707963267948966, 0.0]", "[[1, 0, 0], [0, 2, 0], [0, 0, 1]]", "not orthonormal"),
        ("[0.0, 1.5707963267948966, 0.0]", "[nan, 0.0, 0.0]", "rotation holds values that are not finite"),
        ("[1.0, 2.0, 3.0]", "[1.0, 2.0]", "translation must be 3 numbers"),
        ("[1.0, 2.0, 3.0]", '"far"', "translation must be 3 numbers"),
        ('name = "right"', 'name = "left"', "'left' stands twice"),
        ("[-0.1, 0.02, 0.0, 0.0, 0.0]", "[-0.1, 0.02, 0.0]", "3 coefficients do not fit"),
        ("size = [640, 480]\n", "", "has no 'size'"),
        ("size = [640, 480]", "size = [640, -480]", "no picture size"),
        ("size = [640, 480]", "size = [640, 480]\nfisheye = 1", "fisheye must be true or false"),
        ("size = [640, 480]", 'size = [640, 480]\nrotation_count = "one"', "rotation_count must be"),
        ("adjusted = false", 'units = "inch"', "metadata.units = 'inch'"),
        ("adjusted = false", "units = [1]", r"metadata.units = \[1\] is none of m"),
        ("[cam_1]", "[cam_1", "not valid TOML: .*line"),
    ],
)
def test_broken_files(old: str, new: str, message: str) -> None:
    assert old in ANIPOSE
    with pytest.raises(CalibrationError, match=message) as caught:
        read(ANIPOSE.replace(old, new, 1))
    assert "cams.toml" in str(caught.value) and "\n" not in str(caught.value)


def test_no_cameras() -> None:
    with pytest.raises(CalibrationError, match="holds no cameras"):
        read("[metadata]\nerror = 0.0")
    with pytest.raises(CalibrationError, match="one table per camera"):
        read("[cameras]\na = 1")


def random_cameras() -> list[Camera]:
    """Portrait and landscape, fx ≠ fy, off-centre, every length of distortion."""
    rng = np.random.default_rng(11)
    cameras = []
    for name, size, count in [
        ("cam_2", (1920, 1080), 5),
        ("cam_10", (1080, 1920), 4),
        ("07", (640, 480), 8),
        ('K"ä\\fig', (1088, 1920), 12),
        ("x", (800, 600), 0),
    ]:
        K = np.diag([*rng.uniform(600, 1700, 2), 1.0])
        K[:2, 2] = np.array(size) * rng.uniform(0.4, 0.6, 2)
        model = "opencv" if count else "none"
        lens = Intrinsics(name, size, K, rng.normal(scale=0.01, size=count), model)
        cameras.append(Camera(lens, cv2.Rodrigues(rng.normal(size=3))[0], rng.normal(size=3) * 3))
    fish = Intrinsics("fish", (640, 640), K, rng.normal(scale=0.01, size=4), "fisheye")
    return [*cameras, Camera(fish, np.eye(3), np.array([0.1, 0.2, 3]))]


def pixels(camera: Camera, points: np.ndarray) -> np.ndarray:
    inner = camera.intrinsics
    rvec = cv2.Rodrigues(np.array(camera.R))[0]
    K, distortion, t = np.array(inner.K), np.array(inner.distortion), np.array(camera.t)
    if inner.distortion_model == "fisheye":
        return cv2.fisheye.projectPoints(points[:, None], rvec, t, K, distortion)[0][:, 0]
    return cv2.projectPoints(points, rvec, t, K, distortion)[0][:, 0]


def test_round_trip_projects_to_the_same_pixels(tmp_path: Path) -> None:
    written = random_cameras()
    write_anipose_toml(tmp_path / "cams.toml", written)
    calibration = read_calibration(tmp_path / "cams.toml")
    assert calibration.warnings == [] and list(calibration.cameras) == [c.name for c in written]
    rng = np.random.default_rng(4)
    for before in written:
        after = calibration.cameras[before.name]
        in_camera = np.column_stack([rng.uniform(-0.4, 0.4, (200, 2)), np.ones(200)]) * rng.uniform(2, 6, (200, 1))
        points = (in_camera - before.t) @ before.R
        np.testing.assert_allclose(pixels(after, points), pixels(before, points), atol=1e-6)
        assert after.intrinsics.image_size == before.intrinsics.image_size


def test_natural_order() -> None:
    assert sorted(["cam_10", "cam_2", "a", "cam_02"], key=natural_order) == ["a", "cam_02", "cam_2", "cam_10"]


def test_a_camera_that_moves_comes_back_as_it_was_written(tmp_path: Path) -> None:
    found = read_anipose_toml(MOVING, Path("moving.toml"), "cm")
    path = found.paths["right"]
    np.testing.assert_array_equal(path.frames, [0, 2.5])
    np.testing.assert_allclose(path.t, [[0.01, 0.02, 0.03], [0.01, 0.02, 0.035]])  # with the file's unit
    np.testing.assert_array_equal(found.cameras["right"].t, path.t[0])
    write_anipose_toml(tmp_path / "m.toml", tuple(found.cameras.values()), found.paths)
    again = read_calibration(tmp_path / "m.toml").paths["right"]
    np.testing.assert_allclose(again.R, path.R, atol=1e-12)
    np.testing.assert_array_equal(again.t, path.t)


@settings(max_examples=FUZZ_CASES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.sampled_from([ANIPOSE, POSE2SIM, FREEMOCAP, CALISCOPE, MOVING]),
    place=st.floats(0, 1),
    length=st.integers(0, 10),
    insert=st.text(max_size=6)
    | st.sampled_from(["nan", "-inf", "1e999", "[]", "{}", '"', "true", "0", "-1", "²", "cameras = 1", "1979-05-27"]),
)
def test_mutated_files_raise_only_our_errors(text: str, place: float, length: int, insert: str) -> None:
    at = int(place * len(text))
    try:
        read(text[:at] + insert + text[at + length :])
    except SolveError as problem:
        assert isinstance(problem, CalibrationError) and "\n" not in str(problem)
