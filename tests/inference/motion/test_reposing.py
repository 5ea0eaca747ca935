"""Bones that turn to new joints, and nothing that turns without need."""

import numpy as np
import pytest

from inference.errors import ShapeError
from inference.motion.kinematics import rigid_joints
from inference.motion.reposing import joints_of, with_joints
from tests.standing_person import standing


def test_the_joints_are_met_and_the_rest_stays():
    motion, _ = standing()
    joints = joints_of(motion, 0)
    wrist = motion.skeleton.joint_names.index("left_wrist")
    wanted = joints.copy()
    wanted[20:30, wrist] += [0.05, 0.02, 0.1]
    wanted = rigid_joints(motion.skeleton, wanted, motion.bone_length[0])
    bent = with_joints(motion, 0, wanted)
    assert np.allclose(joints_of(bent, 0), wanted, atol=1e-12)
    changed = np.abs(np.abs((bent.local_rotation * motion.local_rotation).sum(axis=-1)) - 1) > 1e-9
    assert changed[20:30, 0, wrist - 1].all() and changed.sum() == 10


def test_a_motion_bent_to_its_own_joints_is_itself():
    motion, _ = standing()
    again = with_joints(motion, 0, joints_of(motion, 0))
    for name in ("root_translation", "root_rotation", "local_rotation"):
        assert np.allclose(getattr(again, name), getattr(motion, name), atol=1e-9), name


def test_joints_of_another_skeleton_are_refused():
    motion, _ = standing()
    with pytest.raises(ShapeError):
        with_joints(motion, 0, joints_of(motion, 0)[:, 1:])
