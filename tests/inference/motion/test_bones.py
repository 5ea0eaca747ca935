"""Bone lengths by hand and with wild frames."""

import numpy as np

from inference.motion.bones import robust_lengths, symmetric_lengths


def test_wild_and_unmeasured_frames_do_not_count() -> None:
    rng = np.random.default_rng(0)
    vectors = np.zeros((200, 2, 3))
    vectors[:, 0, 0] = 0.3 + 0.005 * rng.normal(size=200)
    vectors[::10, 0, 0] = 1.0
    measured = np.ones((200, 2), bool)
    measured[:, 1] = False
    length, spread = robust_lengths(vectors, measured)
    assert abs(length[0] - 0.3) < 0.001 and abs(spread[0] - 0.005) < 0.002
    assert np.isnan(length[1]) and np.isnan(spread[1])
    assert abs(vectors[:, 0, 0].mean() - 0.3) > 0.05  # negative control: the plain mean is misled


def test_left_and_right_are_drawn_together_by_hand() -> None:
    mirror = np.array([1, 0, 2])
    # sigma equal to the asymmetry of 4 mm: half of the difference stays
    drawn = symmetric_lengths(np.array([0.30, 0.32, 0.5]), np.full(3, 0.004), mirror)
    np.testing.assert_allclose(drawn, [0.305, 0.315, 0.5])
    exact = symmetric_lengths(np.array([0.30, 0.32, 0.5]), np.zeros(3), mirror)
    np.testing.assert_allclose(exact, [0.30, 0.32, 0.5])
    alone = symmetric_lengths(np.array([0.30, np.nan, 0.5]), np.array([0.004, np.nan, 0.004]), mirror)
    np.testing.assert_allclose(alone[[0, 2]], [0.30, 0.5])
