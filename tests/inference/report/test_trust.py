"""Grades and doubtful spans, on takes where the doubt was put in by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inference.report.trust import Grade, doubts, grades, in_words, reason_counts, unusable_joints
from inference.types import Flag, Keypoints3D, Reason
from tests.report_scene import solved_scene


def sure(frames: int = 30, joints: int = 3, sigma: float = 0.005) -> Keypoints3D:
    shape = (frames, 1, joints)
    return Keypoints3D(
        tuple(f"joint_{j}" for j in range(joints)),
        np.arange(frames) / 30,
        np.zeros((*shape, 3)),
        np.broadcast_to(sigma**2 * np.eye(3), (*shape, 3, 3)),
        np.full(shape, Flag.OBSERVED),
    )


def with_sigma(layer: Keypoints3D, frames: slice, joint: int, sigma: float, flag: Flag) -> Keypoints3D:
    covariance, flags = layer.covariance.copy(), layer.flag.copy()
    covariance[frames, 0, joint] = sigma**2 * np.eye(3)
    flags[frames, 0, joint] = flag
    return replace(layer, covariance=covariance, flag=flags)


@pytest.mark.parametrize(
    ("sigma", "grade"), [(0.019, Grade.GOOD), (0.021, Grade.CHECK), (0.049, Grade.CHECK), (0.051, Grade.POOR)]
)
def test_grades_turn_at_their_limits(sigma: float, grade: Grade) -> None:
    assert (grades(sure(sigma=sigma)) == grade).all()


def test_what_is_not_estimated_is_missing() -> None:
    layer = sure()
    xyz = layer.xyz.copy()
    xyz[3, 0, 1] = np.nan
    grade = grades(replace(layer, xyz=xyz))
    assert grade[3, 0, 1] == Grade.MISSING and (grade == Grade.GOOD).sum() == grade.size - 1


def test_a_sure_take_has_no_doubts() -> None:
    assert doubts(sure(), 0) == []


def test_a_span_is_found_with_its_frames_reason_and_worst_sigma() -> None:
    (doubt,) = doubts(with_sigma(sure(), slice(10, 20), 1, 0.08, Flag.WEAK), 0)
    assert (doubt.joints, doubt.first, doubt.last) == (("joint_1",), 10, 19)
    assert "bridged" in doubt.reason
    assert doubt.worst_sigma_m == pytest.approx(0.08)


def test_near_spans_are_joined_and_single_frames_dropped() -> None:
    layer = with_sigma(sure(), slice(5, 10), 0, 0.08, Flag.WEAK)
    layer = with_sigma(layer, slice(12, 16), 0, 0.08, Flag.WEAK)
    layer = with_sigma(layer, slice(25, 26), 0, 0.08, Flag.WEAK)
    assert [(one.first, one.last) for one in doubts(layer, 0)] == [(5, 15)]


def test_a_told_reason_is_said_and_counted() -> None:
    layer = with_sigma(sure(), slice(10, 20), 1, 0.08, Flag.WEAK)
    reason = np.zeros(layer.flag.shape)
    reason[10:20, :, 1] = Reason.ONE_VIEW
    told = replace(layer, reason=reason)
    assert doubts(told, 0)[0].reason == "one view alone sees it"
    assert reason_counts(told.reason[:, 0, 1]) == {"one_view": 10}
    assert reason_counts(told.reason[:, 0, 0]) == {}


def test_joints_doubtful_together_share_a_span_and_the_heaviest_comes_first() -> None:
    layer = with_sigma(sure(), slice(10, 20), 0, 0.08, Flag.WEAK)
    layer = with_sigma(layer, slice(11, 20), 2, 0.09, Flag.WEAK)
    layer = with_sigma(layer, slice(22, 28), 1, 0.30, Flag.OBSERVED)
    first, second = doubts(layer, 0)
    assert first.joints == ("joint_0", "joint_2") and (first.first, first.last) == (10, 19)
    assert second.joints == ("joint_1",) and "badly" in second.reason


def test_a_joint_that_is_never_usable_is_named_once_and_not_as_spans() -> None:
    layer = with_sigma(sure(), slice(0, 30), 2, 0.2, Flag.OBSERVED)
    assert unusable_joints(grades(layer)[:, 0], layer.joint_names) == ("joint_2",)
    assert doubts(layer, 0) == []


def test_the_doubts_of_the_example_are_those_put_in() -> None:
    found = doubts(solved_scene().solution.solved, 0)
    assert [set(one.joints) for one in found] == [{"left_wrist", "left_elbow"}, {"right_ankle"}]
    assert "too few views" in found[1].reason and np.isnan(found[1].worst_sigma_m)


def test_one_frame_alone_can_be_in_doubt() -> None:
    layer = with_sigma(sure(frames=1), slice(0, 1), 0, 0.2, Flag.OBSERVED)
    assert unusable_joints(grades(layer)[:, 0], layer.joint_names) == ("joint_0",)


def test_names_in_words() -> None:
    assert in_words(("left_wrist",)) == "left wrist"
    assert in_words(("left_wrist", "nose", "right_big_toe")) == "left wrist, nose and right big toe"
