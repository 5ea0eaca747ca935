"""Smoothing goes as far as the joints are unsure, and no farther."""

import numpy as np
import pytest

from inference.errors import InputError
from inference.motion.guided_smoothing import smooth_motion
from inference.motion.reposing import joints_of
from tests.standing_person import FPS, standing


def _jerk(joints):
    return np.sqrt((np.diff(joints, 3, axis=0) ** 2).sum(axis=-1).mean()) * FPS**3


@pytest.mark.parametrize("sigmas", [0.5, 2.0])
def test_jitter_goes_and_every_joint_stays_within_its_allowance(sigmas):
    motion, covariance = standing(noise_m=0.005)
    before = joints_of(motion, 0)
    after = joints_of(smooth_motion(motion, 0, covariance, 0.1, sigmas), 0)
    moved = np.linalg.norm(after - before, axis=-1) / 0.01
    assert moved.max() <= sigmas * (1 + 1e-6)
    assert _jerk(after) < (0.2 if sigmas == 2 else 0.9) * _jerk(before)
    bones = np.linalg.norm(after[:, 1:] - after[:, motion.skeleton.parents[1:]], axis=-1)
    assert np.allclose(bones, motion.bone_length[0], atol=1e-9)


def test_what_is_sure_stays_and_what_is_unsure_is_smoothed():
    motion, covariance = standing(noise_m=0.003)
    left = motion.skeleton.joint_names.index("left_wrist")
    right = motion.skeleton.joint_names.index("right_wrist")
    covariance[:] = 0.0005**2 * np.eye(3)
    covariance[:, left] = 0.05**2 * np.eye(3)
    before, after = joints_of(motion, 0), joints_of(smooth_motion(motion, 0, covariance, 0.05), 0)
    assert _jerk(after[:, [right]]) > 0.8 * _jerk(before[:, [right]])
    assert _jerk(after[:, [left]]) < 0.6 * _jerk(before[:, [left]])


def test_frames_outside_of_the_range_are_untouched_and_it_joins_smoothly():
    motion, covariance = standing(noise_m=0.005)
    before, after = joints_of(motion, 0), joints_of(smooth_motion(motion, 0, covariance, 0.1, 2.0, (20, 40)), 0)
    outside = np.r_[0:21, 39:60]
    assert np.allclose(after[outside], before[outside], atol=1e-9)
    assert np.abs(after[25:35] - before[25:35]).max() > 1e-3
    edge = np.linalg.norm(np.diff(after, axis=0), axis=-1)[[20, 21, 37, 38]].max()
    assert edge <= np.linalg.norm(np.diff(before, axis=0), axis=-1).max()


def test_joints_without_covariance_are_smoothed_too():
    motion, covariance = standing(noise_m=0.005)
    covariance[:, 3:6] = np.nan
    after = joints_of(smooth_motion(motion, 0, covariance, 0.1), 0)
    assert np.isfinite(after).all()
    assert _jerk(after[:, 3:6]) < 0.5 * _jerk(joints_of(motion, 0)[:, 3:6])


def test_no_strength_changes_nothing_and_bad_input_is_refused():
    motion, covariance = standing()
    assert smooth_motion(motion, 0, covariance, 0.0) is motion
    with pytest.raises(InputError, match="frames 50 to 90"):
        smooth_motion(motion, 0, covariance, 0.1, 2.0, (50, 90))
    for strength, sigmas in ((-1.0, 2.0), (np.nan, 2.0), (0.1, 0.0)):
        with pytest.raises(InputError, match="allowance"):
            smooth_motion(motion, 0, covariance, strength, sigmas)
