"""TRC: axes by hand, a round trip, other tools' habits, broken files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.errors import InputError, SolveError
from inference.files.trc import read_trc, write_trc
from inference.types import Keypoints3D

FUZZ_CASES = int(os.environ.get("SIGHTLINE_FUZZ", "200"))


def keypoints(frames: int = 4) -> Keypoints3D:
    xyz = np.random.default_rng(1).normal(size=(frames, 2, 3, 3))
    xyz[0, 1, 0] = [1.0, 2.0, 3.0]
    xyz[1, 1, 2] = np.nan
    covariance = np.where(np.isnan(xyz)[..., None], np.nan, np.eye(3))
    flag = np.where(np.isnan(xyz[..., 0]), 0, 3)
    return Keypoints3D(("left_hip", "nose", "neck"), np.arange(frames) / 60, xyz, covariance, flag)


def test_the_file_by_hand(tmp_path: Path) -> None:
    """World (1, 2, 3) is (2, 3, 1) in the file: (x, y, z)_trc = (Y, Z, X)."""
    write_trc(tmp_path / "a.trc", keypoints(), person=1)
    lines = (tmp_path / "a.trc").read_text().split("\n")
    assert lines[0] == "PathFileType\t4\t(X/Y/Z)\ta.trc"
    assert lines[1].split("\t")[:5] == ["DataRate", "CameraRate", "NumFrames", "NumMarkers", "Units"]
    assert lines[2] == "60\t60\t4\t3\tm\t60\t1\t4"
    assert lines[3] == "Frame#\tTime\tleft_hip\t\t\tnose\t\t\tneck\t\t"
    assert lines[4] == "\t\tX1\tY1\tZ1\tX2\tY2\tZ2\tX3\tY3\tZ3" and lines[5] == ""
    assert lines[6].startswith("1\t0.000000\t2.000000\t3.000000\t1.000000\t")
    assert lines[7].endswith("\t\t\t") and lines[7].startswith("2\t0.016667\t") and len(lines[7].split("\t")) == 11
    assert lines[10] == "" and len(lines) == 11


@pytest.mark.parametrize("y_up", [True, False])
def test_round_trip(tmp_path: Path, y_up: bool) -> None:
    written = keypoints()
    write_trc(tmp_path / "a.trc", written, person=1, y_up=y_up)
    read = read_trc(tmp_path / "a.trc", y_up=y_up)
    assert read.joint_names == written.joint_names
    np.testing.assert_allclose(read.xyz[:, 0], written.xyz[:, 1], atol=1e-6)
    np.testing.assert_allclose(read.timestamps_s, written.timestamps_s, atol=1e-6)
    np.testing.assert_array_equal(read.observed[:, 0], written.observed[:, 1])
    if not y_up:
        assert "\t1.000000\t2.000000\t3.000000\t" in (tmp_path / "a.trc").read_text()


def test_no_such_person(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="person 2 is not in the solution, which has 2"):
        write_trc(tmp_path / "a.trc", keypoints(), person=2)
    assert not list(tmp_path.iterdir())


OTHER = (
    "PathFileType\t4\t(X/Y/Z)\tx.trc\n" + "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\n" + "30\t30\t99\t2\tmm\n"
    "Frame#\tTime\tHip\t\t\tNose\t\t\t\n\t\tX1\tY1\tZ1\tX2\tY2\tZ2\n"
    "0\t0.0\t1000\t2000\t3000\tnan\t\t1\n1\t0.5\t1\t2\t3\n"
)


def test_habits_of_other_tools(tmp_path: Path) -> None:
    """No blank line, millimetres, frame 0, NaN and stripped cells, a wrong number of frames in the header."""
    (tmp_path / "x.trc").write_text(OTHER)
    read = read_trc(tmp_path / "x.trc")
    np.testing.assert_allclose(read.xyz[0, 0, 0], [3, 1, 2])
    assert read.observed[:, 0].tolist() == [[True, False], [True, False]]
    np.testing.assert_array_equal(read.timestamps_s, [0, 0.5])
    assert read.joint_names == ("Hip", "Nose")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("PathFileType", "Path", "is not a TRC file"),
        ("\tmm\n", "\tinch\n", "Units = 'inch'"),
        ("Nose", "Hip", "name every marker once"),
        ("1000\t2000", "1000\tx", "line 6 holds something that is not a number"),
        ("\t1\t2\t3\n", "\t1\t2\n", "line 7 has 4 cells, 2 markers need 8"),
        ("\t1\t2\t3\n", "\t1\t2\t3\t4\t5\t6\t7\n", "line 7 has more cells"),
        ("1\t0.5", "1\t0.0", "must be numbers and ascend"),
        ("0\t0.0\t1000\t2000\t3000\tnan\t\t1\n1\t0.5\t1\t2\t3\n", "\n\n", "holds no frames"),
    ],
)
def test_broken_files(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in OTHER
    (tmp_path / "x.trc").write_text(OTHER.replace(old, new))
    with pytest.raises(InputError, match=message) as caught:
        read_trc(tmp_path / "x.trc")
    assert "x.trc" in str(caught.value) and "\n" not in str(caught.value)


def test_real_file(shared_data: Path) -> None:
    folder = shared_data / "pose2sim_single" / "reference_trc"
    read = read_trc(folder / "S00_P00_T01_BalancingTrial_0-100.trc")
    assert read.xyz.shape == (100, 1, 21, 3) and read.joint_names[:2] == ("RHip", "RKnee")
    np.testing.assert_allclose(read.xyz[0, 0, 0], [-1.4005886926, -0.0649721480, 0.9015045551], atol=1e-9)
    head, foot = read.joint_names.index("Head"), read.joint_names.index("RAnkle")
    assert (read.xyz[:, 0, head, 2] - read.xyz[:, 0, foot, 2] > 1.0).all()  # Z is up


@settings(max_examples=FUZZ_CASES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    place=st.floats(0, 1),
    length=st.integers(0, 8),
    insert=st.text(max_size=6) | st.sampled_from(["nan", "inf", "1e999", "\t", "\n", "\t\t", "²"]),
)
def test_mutated_files_raise_only_our_errors(tmp_path: Path, place: float, length: int, insert: str) -> None:
    at = int(place * len(OTHER))
    (tmp_path / "x.trc").write_bytes((OTHER[:at] + insert + OTHER[at + length :]).encode("utf-8", "surrogatepass"))
    try:
        read_trc(tmp_path / "x.trc")
    except SolveError as problem:
        assert isinstance(problem, InputError) and "\n" not in str(problem)
