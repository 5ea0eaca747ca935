"""DeepLabCut's and caliscope's CSV: by hand, several animals, labels, cameras on one clock, broken files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.errors import InputError, SolveError
from inference.files.keypoints_2d import read_keypoints
from inference.types import Keypoints2D

FUZZ_CASES = int(os.environ.get("SIGHTLINE_FUZZ", "200"))

SINGLE = """scorer,DLC,DLC,DLC,DLC,DLC,DLC,DLC,DLC,DLC
bodyparts,Nose,Nose,Nose,LeftKnee,LeftKnee,LeftKnee,tail,tail,tail
coords,x,y,likelihood,x,y,likelihood,x,y,likelihood
0,100.5,50.25,0.9,110,60,0.5,1,1,1
1,101.5,51.25,0.8,,,,1,1,1
3,102.5,52.25,0.7,112,62,0.4,1,1,1
"""
MULTI = """scorer,DLC,DLC,DLC,DLC,DLC,DLC
individuals,ann,ann,ann,bob,bob,bob
bodyparts,nose,nose,nose,nose,nose,nose
coords,x,y,likelihood,x,y,likelihood
0,100,50,0.9,200,60,0.5
1,,,,201,61,0.5
"""
LABELS = """scorer,,,me,me,me,me
bodyparts,,,nose,nose,right_hip,right_hip
coords,,,x,y,x,y
labeled-data,clip,img0010.png,100,50,110,60
labeled-data,clip,img0012.png,,,111,61
"""
CALISCOPE = """sync_index,cam_id,frame_index,frame_time,object_id,keypoint_id,img_loc_x,img_loc_y,obj_loc_x
4,0,0,0.1,0,0,10,20,
5,0,1,0.2,0,0,11,21,
5,1,0,0.2,0,0,235.5,424.25,
7,1,1,0.3,0,2,236.5,425.25,
7,1,1,0.3,0,99,236.5,425.25,
"""


def read(folder: Path, text: str, view: str = "cam_1", size: tuple[int, int] = (640, 480)) -> Keypoints2D:
    (folder / "k.csv").write_text(text, encoding="utf-8")
    return read_keypoints(folder / "k.csv", "coco_17", view, 50.0, size)


def test_deeplabcut_by_hand(tmp_path: Path) -> None:
    found = read(tmp_path, SINGLE)
    nose, knee = found.joint_names.index("nose"), found.joint_names.index("left_knee")
    assert found.xy.shape == (4, 1, 17, 2) and found.observed.sum() == 5
    np.testing.assert_array_equal(found.xy[3, 0, nose], [102.5, 52.25])
    np.testing.assert_array_equal(found.score[:, 0, knee], [0.5, 0, 0, 0.4])
    np.testing.assert_allclose(found.timestamps_s, [0, 0.02, 0.04, 0.06])


def test_deeplabcuts_individuals_are_slots(tmp_path: Path) -> None:
    found = read(tmp_path, MULTI)
    assert found.observed[..., 0].tolist() == [[True, True], [False, True]]
    np.testing.assert_array_equal(found.xy[1, 1, 0], [201, 61])


def test_deeplabcuts_labels(tmp_path: Path) -> None:
    found = read(tmp_path, LABELS)
    hip = found.joint_names.index("right_hip")
    assert found.xy.shape == (3, 1, 17, 2) and found.score[2, 0, hip] == 1 and not found.observed[2, 0, 0]


def test_caliscope_by_hand(tmp_path: Path) -> None:
    """The file begins at sync_index 4, so camera 1 is first seen in frame 1; keypoint 99 is no joint of the layout."""
    found = read(tmp_path, CALISCOPE)
    assert found.xy.shape == (4, 1, 17, 2) and found.observed.sum() == 2
    np.testing.assert_array_equal(found.xy[1, 0, 0], [235.5, 424.25])
    np.testing.assert_array_equal(found.xy[3, 0, 2], [236.5, 425.25])
    assert len(read(tmp_path, CALISCOPE, "0").timestamps_s) == 2
    old = CALISCOPE.replace("cam_id", "port").replace("keypoint_id", "point_id")
    np.testing.assert_array_equal(read(tmp_path, old).xy, found.xy)


def test_real_caliscope_file(shared_data: Path) -> None:
    path = shared_data / "sideways_cameras" / "calibration" / "intrinsic" / "CHARUCO" / "xy_CHARUCO.csv"
    found = read_keypoints(path, "blazepose_33", "cam_0", 6.0, (1280, 1280))
    np.testing.assert_allclose(found.xy[0, 0, 1], [312.229492, 425.801666])  # board corners are what the file holds


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("bodyparts,", "parts,", "needs rows scorer, bodyparts, coords"),
        (SINGLE[SINGLE.index("0,100") :], "", "needs rows"),
        ("0.7,112,62,0.4,1,1,1\n", "0.7,112\n", "every row must have 10 cells; the file is cut off"),
        ("100.5", "x", "not a number"),
        ("100.5", "1e999", "infinite"),
        ("100.5", "99999", "beyond ten image sizes"),
        ("Nose,Nose,Nose", "Nose,Nose,tail", "each body part needs x, y and likelihood once"),
        ("\n1,", "\n0,", "must number the frames, each once"),
        ("\n1,", "\nx,", "must number the frames"),
        ("\n3,", "\n999999999,", "frame numbers reach 999999999"),
        ("Nose,Nose,Nose,LeftKnee,LeftKnee,LeftKnee", "a,a,a,b,b,b", "none of its names .a, b, tail"),
        ("coords,x", 'coords,"x', "is no CSV|needs rows"),
    ],
)
def test_broken_deeplabcut(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in SINGLE
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, SINGLE.replace(old, new, 1))
    assert "cam_1" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("keypoint_id", "other", "needs the columns cam_id and keypoint_id"),
        ("7,1,1,0.3,0,2,236.5", "7,1,1,0.3", "every row must have 9 cells"),
        ("5,1,0,0.2,0,0,235.5", "5,1,0,0.2,0,0,a", "not a number"),
        ("4,0,0,0.1", ",0,0,0.1", "must be whole numbers in every row"),
        ("4,0,0,0.1", "-9999999999,0,0,0.1", "frame numbers reach"),
        (",1,", ",3,", "holds no points of this camera; its cameras: 0, 3"),
    ],
)
def test_broken_caliscope(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = CALISCOPE.replace(old, new) if old == ",1," else CALISCOPE.replace(old, new, 1)
    assert text != CALISCOPE
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, text)
    assert "cam_1" in str(caught.value) and "\n" not in str(caught.value)


def test_views_of_caliscope_have_numbers(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="view 'left': .*numbers its cameras; call the view cam_N"):
        read(tmp_path, CALISCOPE, "left")


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "nothing", "scorer\nbodyparts\n"])
def test_other_files(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="no format that can be read; supported: a folder of OpenPose JSON, COCO JSON"):
        read(tmp_path, text)


@settings(max_examples=FUZZ_CASES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.sampled_from([SINGLE, MULTI, LABELS, CALISCOPE]),
    place=st.floats(0, 1),
    length=st.integers(0, 12),
    insert=st.text(max_size=6) | st.sampled_from(["nan", "inf", "1e999", ",", "\n", '"', ",,", "1e18", "\x00"]),
)
def test_mutated_files_raise_only_our_errors(tmp_path: Path, text: str, place: float, length: int, insert: str) -> None:
    at = int(place * len(text))
    (tmp_path / "k.csv").write_bytes((text[:at] + insert + text[at + length :]).encode("utf-8", "surrogatepass"))
    try:
        read_keypoints(tmp_path / "k.csv", "coco_17", "cam_1", 50.0, (640, 480))
    except SolveError as problem:
        assert isinstance(problem, InputError) and "\n" not in str(problem)
