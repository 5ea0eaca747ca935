"""Names of joints however they are spelled, and tables that no clip has."""

from __future__ import annotations

import numpy as np
import pytest

from inference.errors import InputError
from inference.files.keypoint_table import ImportedView, columns_of_layout, empty_table, layouts_of_length

TARGET = ImportedView("cam01", "coco_17", 50.0, (640, 480), None, "scale")


@pytest.mark.parametrize(
    "name", ["left_knee", "LeftKnee", "left-knee", "L_knee", "knee_left", "LKnee", "Knee.L", "knee l"]
)
def test_spellings_of_one_joint(name: str) -> None:
    found = columns_of_layout(["Nose", name], TARGET, "x")
    assert found[TARGET.joint_names.index("left_knee")] == 1 and found[0] == 0
    assert sum(number is not None for number in found) == 2


def test_names_that_mean_nothing_or_the_same() -> None:
    with pytest.raises(InputError, match="none of its names .snout, tail.* is a joint of coco_17"):
        columns_of_layout(["snout", "tail"], TARGET, "x")
    with pytest.raises(InputError, match="'LKnee' and 'left_knee' mean the same joint"):
        columns_of_layout(["LKnee", "left_knee"], TARGET, "x")


def test_a_table_beyond_any_clip() -> None:
    assert empty_table(2, 3, 17, "x").shape == (2, 3, 17, 3)
    with pytest.raises(InputError, match="more than can be read"):
        empty_table(100_000, 200, 17, "x")
    with pytest.raises(InputError, match="201 people"):
        empty_table(1, 201, 17, "x")


def test_layouts_of_a_length() -> None:
    assert layouts_of_length(17) == "; as many as coco_17 or h36m_17" and layouts_of_length(18.5) == ""


def test_nothing_is_an_error() -> None:
    with pytest.raises(InputError, match="view 'cam01': nothing here"):
        TARGET.keypoints(np.full((1, 1, 17, 3), np.nan), str, "nothing here")
