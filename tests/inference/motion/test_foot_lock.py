"""Feet that stand stay where they stand, as far as the budget allows and not a step farther."""

import numpy as np
import pytest

from inference.errors import InputError
from inference.motion.foot_lock import Budget, PlantedSpan, lock_feet, planted_spans
from inference.motion.reposing import joints_of
from tests.standing_person import FEET, FRAMES, standing

BOTH = [PlantedSpan(joint, 15, 45) for joint in FEET]


def _travel(motion, span):
    path = joints_of(motion, 0)[span.start : span.stop, motion.skeleton.joint_names.index(span.joint)]
    return np.linalg.norm(path[:, None] - path, axis=-1).max()


def test_heel_and_toe_stand_still_bones_stay_rigid_and_the_rest_of_the_body_stays():
    motion, covariance = standing(noise_m=0.001, slide_m=0.02)
    locked, held = lock_feet(motion, 0, covariance, BOTH, Budget(metres=0.1), blend_s=0.2)
    assert all(one.within_budget for one in held)
    assert min(_travel(motion, span) for span in BOTH) > 0.02
    assert max(_travel(locked, span) for span in BOTH) < 1e-3
    assert all(one.slide_after_m < 1e-3 < 0.01 < one.slide_before_m for one in held)
    before, after, names = joints_of(motion, 0), joints_of(locked, 0), motion.skeleton.joint_names
    bones = np.linalg.norm(after[:, 1:] - after[:, motion.skeleton.parents[1:]], axis=-1)
    assert np.allclose(bones, motion.bone_length[0], atol=1e-9)
    still = [i for i, name in enumerate(names) if not name.endswith(("knee", "ankle", "heel", "foot_index"))]
    assert np.allclose(after[:, still], before[:, still], atol=1e-9)
    far = np.r_[0:9, 51:FRAMES]  # the blend of 0.2 s is six frames
    assert np.allclose(after[far], before[far], atol=1e-9)


def test_the_pull_fades_in_without_a_jump():
    motion, covariance = standing(noise_m=0.0, slide_m=0.02)
    locked, _ = lock_feet(motion, 0, covariance, BOTH, Budget(metres=0.1), blend_s=0.2)
    step = np.linalg.norm(np.diff(joints_of(locked, 0) - joints_of(motion, 0), axis=0), axis=-1)
    assert step.max() < 0.012


@pytest.mark.parametrize(("budget", "limit_m"), [(Budget(sigmas=1.0), 0.01), (Budget(metres=0.005), 0.005)])
def test_no_joint_moves_farther_than_the_budget_and_the_span_is_named(budget, limit_m):
    motion, covariance = standing(noise_m=0.001, slide_m=0.04)
    locked, held = lock_feet(motion, 0, covariance, BOTH, budget)
    moved = np.linalg.norm(joints_of(locked, 0) - joints_of(motion, 0), axis=-1)
    assert 0.9 * limit_m < moved.max() <= limit_m * (1 + 1e-6)
    assert [one.span for one in held] == BOTH
    assert not any(one.within_budget for one in held)
    assert all(0.001 < one.slide_after_m < one.slide_before_m for one in held)


def test_a_foot_out_of_reach_is_drawn_only_as_far_as_the_leg_is_long():
    motion, covariance = standing(noise_m=0.0, slide_m=0.6)
    locked, _ = lock_feet(motion, 0, covariance, BOTH, Budget(metres=10.0))
    assert np.isfinite(joints_of(locked, 0)).all()


def test_unknown_covariance_is_no_obstacle():
    motion, covariance = standing(noise_m=0.001, slide_m=0.02)
    covariance[:30] = np.nan
    _, held = lock_feet(motion, 0, covariance, BOTH, Budget(sigmas=8.0))
    assert all(np.isfinite(one.slide_after_m) for one in held)


def test_spans_come_from_probabilities():
    contact = np.zeros((FRAMES, 2))
    contact[10:30, 0], contact[40:42, 0], contact[50:, 1] = 0.9, 0.9, 0.8
    contact[15, 0], contact[0:5, 1] = np.nan, 0.4
    spans = planted_spans(contact, ("left_heel", "right_heel"), np.arange(FRAMES) / 30)
    assert spans == [
        PlantedSpan("left_heel", 10, 15), PlantedSpan("left_heel", 16, 30), PlantedSpan("right_heel", 50, 60)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("spans", "budget", "message"),
    [
        ([PlantedSpan("left_wrist", 1, 9)], Budget(1.0), "left_wrist cannot be locked"),
        ([PlantedSpan("left_heel", 50, 99)], Budget(1.0), "frames 50 to 99"),
        ([PlantedSpan("left_heel", 1, 9), PlantedSpan("left_heel", 8, 20)], Budget(1.0), "overlap"),
        ([PlantedSpan("left_heel", 1, 9)], Budget(), "budget"),
        ([PlantedSpan("left_heel", 1, 9)], Budget(metres=-1.0), "budget"),
    ],
)
def test_what_cannot_be_done_is_named(spans, budget, message):
    motion, covariance = standing()
    with pytest.raises(InputError, match=message):
        lock_feet(motion, 0, covariance, spans, budget)
