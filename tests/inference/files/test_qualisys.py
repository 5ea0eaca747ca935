"""Qualisys calibrations: conversion by hand, the real file, and broken ones."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.errors import CalibrationError, SolveError
from inference.files.calibration import read_calibration
from inference.files.qualisys import elements, read_qualisys

FUZZ_CASES = int(os.environ.get("SIGHTLINE_FUZZ", "200"))

CAMERA = """
<camera active="1" model="{model}" serial="{name}" viewrotation="0">
 <fov_marker bottom="1919" left="0" right="1087" top="0"/>
 <fov_video bottom="1019" left="10" right="1089" top="20"/>
 <transform r11="1" r12="0" r13="0" r21="0" r22="0" r23="1" r31="0" r32="-1" r33="0" x="{x}" y="2000" z="1500"/>
 <intrinsic centerPointU="35200" centerPointV="33280" focalLengthU="64000" focalLengthV="64640"
  radialDistortion1="-0.05" radialDistortion2="0.1" radialDistortion3="0.01" skew="0"
  tangentalDistortion1="0.001" tangentalDistortion2="0.002"/>
</camera>"""
TEXT = (
    "<?xml version='1.0' encoding='ASCII'?>\n<calibration source='x'>\n<cameras>"
    + CAMERA.format(model="none", name="cam01", x=1000)
    + CAMERA.format(model="Miqus Hybrid", name="12345", x=-1000)
    + CAMERA.format(model="Oqus 400", name="marker", x=0)
    + "\n</cameras>\n</calibration>\n"
)


def read(text: str, units: str | None = None):
    return read_qualisys(text, Path("c.qca.txt"), units)


def test_by_hand() -> None:
    """f = 64000/64; cx = 35200/64 - 10, cy = 33280/64 - 20; M rows x, z, -y, so R = diag(1,-1,-1) M looks along +y."""
    calibration = read(TEXT)
    assert list(calibration.cameras) == ["cam01", "12345"]
    camera = calibration.cameras["cam01"]
    np.testing.assert_allclose(camera.intrinsics.K, [[1000, 0, 540], [0, 1010, 500], [0, 0, 1]])
    assert camera.intrinsics.image_size == (1080, 1000)
    np.testing.assert_array_equal(camera.intrinsics.distortion, [-0.05, 0.1, 0.001, 0.002, 0.01])
    np.testing.assert_array_equal(camera.R, [[1, 0, 0], [0, 0, -1], [0, 1, 0]])
    np.testing.assert_allclose(camera.centre, [1, 2, 1.5])
    np.testing.assert_allclose(camera.t, [-1, 1.5, -2])
    assert calibration.warnings == ["c.qca.txt: marker cameras are left out: marker"]


def test_real_file_axes_meet(shared_data: Path) -> None:
    """Golden: the optical axes of the four demo cameras meet near (-0.94, -0.02, 0.59) m."""
    calibration = read_calibration(shared_data / "pose2sim_single" / "calibration" / "Calib.qca.txt")
    assert list(calibration.cameras) == ["cam01", "cam02", "cam03", "cam04"] and calibration.warnings == []
    across = [np.eye(3) - np.outer(c.R[2], c.R[2]) for c in calibration.cameras.values()]
    right = sum(A @ c.centre for A, c in zip(across, calibration.cameras.values(), strict=True))
    meeting = np.linalg.solve(sum(across), right)
    np.testing.assert_allclose(meeting, [-0.94, -0.02, 0.59], atol=0.01)
    for camera in calibration.cameras.values():
        assert camera.intrinsics.image_size == (1088, 1920)
        assert camera.R[1] @ [0, 0, 1] < -0.8  # image-down is about world-down
        assert (camera.R @ meeting + camera.t)[2] > 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('r11="1"', 'r11="1.1"', "not orthonormal"),
        ('r11="1"', 'r11="-1"', "mirrored"),
        ('r11="1"', 'r11="nan"', "not finite"),
        ('r11="1"', 'r11="one"', "not a number"),
        ('r11="1" ', "", "<transform> has no 'r11'"),
        ('focalLengthU="64000"', 'focalLengthU="0"', "singular"),
        ('focalLengthU="64000"', 'focalLengthU="-64000"', "must be positive"),
        ("<fov_video", "<fov_other", "has no <fov_video>"),
        ('bottom="1019"', 'bottom="1"', "no picture size"),
        ('serial="12345"', 'serial="cam01"', "needs a serial of its own"),
        ("</cameras>\n</calibration>\n", "", "not well-formed"),
        ("<calibration", "<!DOCTYPE calibration []><calibration", "document type or entities is refused"),
        ("<cameras>", "<cameras>" + "<a>" * 60, "nested deeper"),
        ("calibration", "other", "not a Qualisys calibration"),
        ("camera", "thing", "not a Qualisys calibration"),
    ],
)
def test_broken_files(old: str, new: str, message: str) -> None:
    text = TEXT.replace(old, new) if old in ("calibration", "camera") else TEXT.replace(old, new, 1)
    assert text != TEXT
    with pytest.raises(CalibrationError, match=message) as caught:
        read(text)
    assert "\n" not in str(caught.value) and "c.qca.txt" in str(caught.value)


def test_entities_are_not_expanded() -> None:
    bomb = '<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><calibration><cameras>&b;</cameras></calibration>'
    with pytest.raises(CalibrationError, match="refused"):
        elements(bomb, Path("x"))


def test_only_marker_cameras() -> None:
    with pytest.raises(CalibrationError, match="no video camera"):
        read(TEXT.replace('model="none"', 'model="Oqus"').replace("Miqus Hybrid", "Oqus"))


@settings(max_examples=FUZZ_CASES, deadline=None)
@given(
    place=st.floats(0, 1),
    length=st.integers(0, 10),
    insert=st.text(max_size=6)
    | st.sampled_from(["nan", "inf", "1e999", "<", "/>", '"', "&lt;", "&x;", "<!DOCTYPE a>"]),
)
def test_mutated_files_raise_only_our_errors(place: float, length: int, insert: str) -> None:
    at = int(place * len(TEXT))
    try:
        read(TEXT[:at] + insert + TEXT[at + length :])
    except SolveError as problem:
        assert isinstance(problem, CalibrationError) and "\n" not in str(problem)
