"""The table of measured points: what it says, and one line for everything that is wrong with it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.errors import InputError
from inference.files.scene_points import read_scene_points

FUZZ_CASES = int(os.environ.get("SIGHTLINE_FUZZ", "200"))

GOOD = """name,x_m,y_m,z_m,cam01_u,cam01_v,left side_u,left side_v
door top, 0.0, 2.31, 2.05, 812.5, 240, ,
corner, 1.0, -1.0, 0, 100, 900, 12.25, 33
"""


def write(folder: Path, text: str) -> Path:
    (folder / "points.csv").write_text(text, encoding="utf-8")
    return folder / "points.csv"


def test_what_it_says(tmp_path: Path) -> None:
    points = read_scene_points(write(tmp_path, GOOD))
    assert points.names == ("door top", "corner")
    np.testing.assert_array_equal(points.xyz, [[0, 2.31, 2.05], [1, -1, 0]])
    np.testing.assert_array_equal(points.pixels["cam01"], [[812.5, 240], [100, 900]])
    np.testing.assert_array_equal(points.pixels["left side"], [[np.nan, np.nan], [12.25, 33]])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cam01_v", "cam02_v", "first line must be name,x_m"),
        ("x_m", "x_mm", "first line must be name,x_m"),
        ("left side", "cam01", "a view stands twice"),
        ("corner", "door top", "'door top' is not one"),
        ("12.25, 33", "12.25,", "line 3 needs x, y, z, and both u and v"),
        ("12.25, 33", "12.25", "line 3 has 7 cells, the first line 8"),
        ("12.25, 33", "12,25, 33", "line 3 has 9 cells"),
        ("-1.0", "", "line 3 needs x, y, z"),
        ("-1.0", "one", "line 3 holds something that is not a number"),
        ("-1.0", "nan", "line 3 holds a number that is not finite"),
        ("-1.0", "-1500", "measured in metres"),
        ("33", "1e9", "pixels lie in the picture"),
    ],
)
def test_refusals(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(InputError, match=message) as caught:
        read_scene_points(write(tmp_path, GOOD.replace(old, new)))
    assert "\n" not in str(caught.value) and "points.csv" in str(caught.value)


def test_a_table_without_points(tmp_path: Path) -> None:
    for text in ("", GOOD.splitlines()[0]):
        with pytest.raises(InputError):
            read_scene_points(write(tmp_path, text))


@settings(max_examples=FUZZ_CASES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1), length=st.integers(0, 40), insert=st.text(max_size=12))
def test_mutated_tables_raise_only_our_errors(tmp_path: Path, place: float, length: int, insert: str) -> None:
    at = round(place * len(GOOD))
    (tmp_path / "points.csv").write_bytes((GOOD[:at] + insert + GOOD[at + length :]).encode("utf-8", "surrogatepass"))
    try:
        points = read_scene_points(tmp_path / "points.csv")
    except InputError as problem:
        assert "\n" not in str(problem)
        return
    assert np.isfinite(points.xyz).all() and len(set(points.names)) == len(points.names)
