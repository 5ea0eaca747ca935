"""EasyMocap: conversion by hand, round trip, sizes that are not stated, Pose2Sim's numbering, broken files."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.cameras import rig_for_take
from inference.config import SolveSettings
from inference.errors import CalibrationError, InputError, SolveError
from inference.files.calibration import read_calibration, read_lenses
from inference.files.easymocap import write_easymocap
from inference.take import CalibrationSource, Take, View
from inference.types import Camera, Intrinsics
from tests.calibrations import five_cameras, pixel_error

FUZZ_CASES = int(os.environ.get("SIGHTLINE_FUZZ", "200"))

INTRI = """%YAML:1.0
---
names:
  - "1"
  - "07"
K_1: !!opencv-matrix
  rows: 3
  cols: 3
  dt: d
  data: [900.000000, 0.000000, 310.000000, 0.000000, 910.000000, 250.000000, 0.000000, 0.000000, 1.000000]
dist_1: !!opencv-matrix
  rows: 1
  cols: 5
  dt: d
  data: [-0.100000, 0.020000, 0.001000, 0.002000, 0.003000]
H_1: 480
W_1: 640
K_07: !!opencv-matrix
  rows: 3
  cols: 3
  dt: d
  data: [800.000000, 0.000000, 320.000000, 0.000000, 800.000000, 240.000000, 0.000000, 0.000000, 1.000000]
D_07: !!opencv-matrix
  rows: 1
  cols: 4
  dt: d
  data: [-0.100000, 0.020000, 0.001000, 0.002000]
H_07: 480
W_07: 640
"""
EXTRI = """%YAML:1.0
---
names:
  - "1"
  - "07"
R_1: !!opencv-matrix
  rows: 3
  cols: 1
  dt: d
  data: [0.000000, 1.570796, 0.000000]
Rot_1: !!opencv-matrix
  rows: 3
  cols: 3
  dt: d
  data: [0.000000, 0.000000, 1.000000, 0.000000, 1.000000, 0.000000, -1.000000, 0.000000, 0.000000]
T_1: !!opencv-matrix
  rows: 3
  cols: 1
  dt: d
  data: [1.000000, 2.000000, 3.000000]
Rot_07: !!opencv-matrix
  rows: 3
  cols: 3
  dt: d
  data: [1.000000, 0.000000, 0.000000, 0.000000, 1.000000, 0.000000, 0.000000, 0.000000, 1.000000]
T_07: !!opencv-matrix
  rows: 3
  cols: 1
  dt: d
  data: [0.000000, 0.000000, 4.000000]
"""
NO_SIZE = INTRI.replace("H_1: 480\nW_1: 640\n", "").replace("H_07: 480\nW_07: 640\n", "")


def folder(path: Path, intri: str | None = INTRI, extri: str | None = EXTRI) -> Path:
    path.mkdir(exist_ok=True)
    for name, text in (("intri.yml", intri), ("extri.yml", extri)):
        if text is not None:
            (path / name).write_bytes(text.replace("\n", "\r\n").encode())  # EasyMocap's line ends
    return path


def take(path: Path, *names: str, fit: str = "exact", **source: object) -> Take:
    views = tuple(View(name, "x.mp4", None, None, None, fit=fit) for name in names)
    return Take(path, "t", 1, None, 0.0, None, None, CalibrationSource(path, **source), views, SolveSettings())


@pytest.mark.parametrize("given_path", [".", "intri.yml", "extri.yml"])
def test_by_hand(tmp_path: Path, given_path: str) -> None:
    """A quarter turn about y: R = [[0,0,1],[0,1,0],[-1,0,0]], C = -R^T t = (3, -2, -1) m."""
    calibration = read_calibration(folder(tmp_path / "c") / given_path)
    assert list(calibration.cameras) == ["1", "07"] and calibration.warnings == []
    camera = calibration.cameras["1"]
    np.testing.assert_allclose(camera.intrinsics.K, [[900, 0, 310], [0, 910, 250], [0, 0, 1]])
    np.testing.assert_allclose(camera.intrinsics.distortion, [-0.1, 0.02, 0.001, 0.002, 0.003])
    assert camera.intrinsics.image_size == (640, 480)
    np.testing.assert_allclose(camera.centre, [3, -2, -1], atol=1e-5)
    np.testing.assert_array_equal(calibration.cameras["07"].intrinsics.distortion, [-0.1, 0.02, 0.001, 0.002])
    np.testing.assert_array_equal(calibration.cameras["07"].centre, [0, 0, -4])


def test_round_trip(tmp_path: Path) -> None:
    """0.05 px is what six decimals allow; we write all digits."""
    before = five_cameras()
    assert write_easymocap(tmp_path / "c", before) == []
    calibration = read_calibration(tmp_path / "c")
    assert list(calibration.cameras) == [camera.name for camera in before] and calibration.warnings == []
    assert pixel_error(before, calibration.cameras) < 1e-6


def test_round_trip_with_six_decimals_as_easymocap_writes(tmp_path: Path) -> None:
    before = five_cameras()
    write_easymocap(tmp_path / "c", before)
    for name in ("intri.yml", "extri.yml"):
        text = (tmp_path / "c" / name).read_text()
        rounded = re.sub(r"-?\d+\.\d+(e-?\d+)?", lambda number: f"{float(number[0]):.6f}", text)
        (tmp_path / "c" / name).write_text(rounded)
    assert 1e-6 < pixel_error(before, read_calibration(tmp_path / "c").cameras) < 0.05


def test_what_cannot_be_written(tmp_path: Path) -> None:
    camera = five_cameras()[0]
    fish = Intrinsics("a", (640, 480), camera.intrinsics.K, np.zeros(4), "fisheye")
    rational = Intrinsics("a", (640, 480), camera.intrinsics.K, np.full(8, 0.1))
    odd = Intrinsics("a b", (640, 480), camera.intrinsics.K, np.zeros(5))
    for inner, message in ((fish, "not its fisheye"), (rational, "not its rational"), (odd, "rename the view")):
        with pytest.raises(InputError, match=message):
            write_easymocap(tmp_path, [Camera(inner, camera.R, camera.t)])
    assert not list(tmp_path.iterdir())


def test_numbers_in_place_of_names(tmp_path: Path) -> None:
    """Pose2Sim lists names, but numbers the keys from 1."""
    swap = [("_1:", "_@:"), ("_07:", "_2:"), ("_@:", "_1:"), ('"1"', '"left"'), ('"07"', '"right"')]
    intri, extri = INTRI, EXTRI
    for old, new in swap:
        intri, extri = intri.replace(old, new), extri.replace(old, new)
    calibration = read_calibration(folder(tmp_path / "c", intri, extri))
    assert list(calibration.cameras) == ["left", "right"]
    assert calibration.cameras["left"].intrinsics.K[0, 0] == 900
    np.testing.assert_array_equal(calibration.cameras["right"].t, [0, 0, 4])


def test_names_may_be_missing(tmp_path: Path) -> None:
    names = 'names:\n  - "1"\n  - "07"\n'
    calibration = read_calibration(folder(tmp_path / "c", INTRI.replace(names, ""), EXTRI.replace(names, "")))
    assert set(calibration.cameras) == {"1", "07"}


def test_size_comes_from_the_view_and_is_never_guessed(tmp_path: Path) -> None:
    path = folder(tmp_path / "c", NO_SIZE)
    with pytest.raises(CalibrationError, match="no picture size.*'1'.*no view of that name"):
        read_calibration(path)
    calibration = read_calibration(path, sizes={"cam_1": (640, 480)})
    assert list(calibration.cameras) == ["1"] and calibration.assumed_sizes == {"1"}
    assert "'07' has no picture size" in calibration.warnings[0] and "left out" in calibration.warnings[1]
    rig, warnings = rig_for_take(take(path, "1", "07"), {"1": (640, 480), "07": (640, 480)})
    assert rig.names == ("1", "07") and warnings == []
    assert rig.cameras[0].intrinsics.image_size == (640, 480)
    with pytest.raises(CalibrationError, match="no picture size"):
        rig_for_take(take(path, "1", "07"), {})
    with pytest.raises(InputError, match="view '1': fit = \"scale\" cannot be.*does not state a picture size"):
        rig_for_take(take(path, "1", "07", fit="scale"), {"1": (640, 480), "07": (640, 480)})
    _, warnings = rig_for_take(take(path, "1", "07"), {"1": (1920, 1080), "07": (640, 480)})
    assert len(warnings) == 1 and "far from the middle of the view's picture of 1920x1080" in warnings[0]


def test_lens_and_pose_from_different_places(tmp_path: Path) -> None:
    poses, lenses = folder(tmp_path / "poses", None), folder(tmp_path / "lenses", INTRI, None)
    with pytest.raises(CalibrationError, match="no lens .* for the pose of 1, 07; give the lenses with intrinsics"):
        rig_for_take(take(poses, "1", "07"), {})
    rig, warnings = rig_for_take(take(poses, "1", "07", intrinsics=lenses / "intri.yml"), {})
    assert rig.names == ("1", "07") and warnings == []
    assert rig.cameras[0].intrinsics.K[1, 1] == 910
    assert set(read_lenses(lenses).lenses) == {"1", "07"} and read_calibration(lenses).cameras == {}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("data: [900.000000", "data: [0.000000", "singular"),
        ("data: [900.000000", "data: [-900.000000", "must be positive"),
        ("data: [900.000000, ", "data: [", "says 3x3 but holds 8"),
        ('- "07"', '- "1"', "names holds a camera twice"),
        ('- "07"', '- "08"', "'08' is listed"),
        ("H_1: 480", "H_1: tall", "H and W must be numbers"),
        ("H_1: 480", "H_1: -1", "no picture size"),
        ("data: [900.000000", "data: [.Nan", "not finite"),
        ("rows: 3\n  cols: 3", "rows: 9\n  cols: 1", "K must be 3x3"),
        ("cols: 5\n  dt: d\n  data: [-0.100000, ", "cols: 4\n  dt: d\n  data: [", None),
    ],
)
def test_broken_lenses(tmp_path: Path, old: str, new: str, message: str | None) -> None:
    assert old in INTRI
    path = folder(tmp_path / "c", INTRI.replace(old, new, 1))
    if message is None:
        assert len(read_calibration(path).lenses["1"].distortion) == 4
        return
    with pytest.raises(CalibrationError, match=message) as caught:
        read_calibration(path)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("data: [1.000000, 0.000000, 0.000000, 0", "data: [-1.000000, 0.000000, 0.000000, 0", "mirrored"),
        ("data: [1.000000, 0.000000, 0.000000, 0", "data: [1.100000, 0.000000, 0.000000, 0", "not orthonormal"),
        ("data: [0.000000, 1.570796", "data: [0.000000, 1.470796", "R_ and Rot_ are different"),
        ("Rot_07", "Other_07", "needs a rotation"),
        ("4.000000", "4000.000000", "which cannot be metres|implausible"),
        ("data: [0.000000, 0.000000, 4.000000]", "data: [0.0", "lacks rows, cols or data"),
    ],
)
def test_broken_poses(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in EXTRI
    with pytest.raises(CalibrationError, match=message) as caught:
        read_calibration(folder(tmp_path / "c", extri=EXTRI.replace(old, new, 1)))
    assert "\n" not in str(caught.value)


@settings(max_examples=FUZZ_CASES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    which=st.sampled_from(["intri.yml", "extri.yml"]),
    place=st.floats(0, 1),
    length=st.integers(0, 30),
    insert=st.text(max_size=6) | st.sampled_from(["nan", ".Inf", "1e999", "[", "]", "\n", "names: []", "*a", "&a"]),
)
def test_mutated_files_raise_only_our_errors(
    tmp_path: Path, which: str, place: float, length: int, insert: str
) -> None:
    path = folder(tmp_path / "c")
    text = INTRI if which == "intri.yml" else EXTRI
    at = int(place * len(text))
    (path / which).write_bytes((text[:at] + insert + text[at + length :]).encode("utf-8", "surrogatepass"))
    try:
        read_calibration(path)
    except SolveError as problem:
        assert isinstance(problem, CalibrationError) and "\n" not in str(problem)
