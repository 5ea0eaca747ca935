"""The figures of the clean-up tools: what the truth's own motion gives, and bad input."""

import numpy as np
from numpy.testing import assert_allclose

from inference.motion.reposing import joints_of
from inference.types import CameraRig, Flag, Keypoints3D, Solution
from tests.standing_person import FEET, FRAMES, standing
from tools.compare_truth import Truth
from tools.measure_cleanup import main, rows


def test_feet_that_slide_are_measured_before_and_after():
    motion, covariance = standing(noise_m=0.002, slide_m=0.02)
    still, _ = standing(noise_m=0.0, slide_m=0.0)
    names, times = motion.skeleton.joint_names, motion.timestamps_s
    joints = joints_of(motion, 0)[:, None]
    solved = Keypoints3D(names, times, joints, covariance[:, None], np.full(joints.shape[:3], Flag.OBSERVED))
    contact = np.zeros((FRAMES, 1, 4))
    contact[15:45] = 0.9
    rig = CameraRig((), np.zeros((0, 0)))
    solution = Solution(rig, solved, solved, motion, contact, FEET, np.zeros(0), np.zeros(0), np.array([0, 0, 1.0, 0]))
    found = rows(solution, Truth(names, times, joints_of(still, 0)))
    assert found["solved"]["slide_max_mm"] > 15
    assert found["locked, 5 cm"]["slide_max_mm"] < 1
    assert found["smoothed, 0.04 s"]["jerk"] < 0.6 * found["solved"]["jerk"]
    assert_allclose(found["solved"]["moved_sigmas"], 0)
    assert found["locked, 3 sigma"]["moved_sigmas"] <= 3.001


def test_a_missing_file_is_said_in_one_line(tmp_path, capsys):
    assert main([str(tmp_path / "none.npz"), str(tmp_path / "none.npz")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
