"""Slopes of a pose are those of moving the camera itself."""

import numpy as np

from inference.geometry.pose_errors import pose_slopes
from inference.geometry.rotation import exp, log


def test_slopes_are_those_of_a_camera_that_turns_and_moves() -> None:
    rng = np.random.default_rng(3)
    R, centre, step = exp(rng.normal(size=3)), rng.normal(size=3), 1e-6 * rng.normal(size=6)
    t = -R @ centre
    turned = exp(step[:3]) @ R
    change = np.concatenate([log(turned @ R.T), -turned @ (centre + step[3:]) - t])
    np.testing.assert_allclose(pose_slopes(R, t) @ step, change, atol=1e-11)
