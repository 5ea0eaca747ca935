"""Passages joined where one goes on where another stopped."""

import numpy as np

from inference.geometry.stitching import Passage, end_of, successions

BODY = np.array([[0.0, 0, 0.5], [0.2, 0, 1.0], [-0.2, 0, 1.0], [0, 0, 1.6]])


def passage(start_s: float, stop_s: float, velocity: tuple[float, float], at: tuple[float, float]) -> Passage:
    """A body that moves evenly and is at ``at`` at second 0."""
    times = np.arange(round(start_s * 60), round(stop_s * 60) + 1) / 60
    v = np.array([*velocity, 0.0])
    joints = BODY + times[:, None, None] * v + np.array([*at, 0.0])
    begin, end = end_of(times[:20], joints[:20], False), end_of(times[-20:], joints[-20:], True)
    assert begin is not None
    assert end is not None
    return Passage(begin, end)


def test_an_end_by_hand() -> None:
    one = passage(0.0, 1.0, (0.6, 0.0), (0.0, 0.0))
    assert (one.begin.time_s, one.end.time_s) == (0.0, 1.0)
    np.testing.assert_allclose(one.end.velocity, [0.6, 0, 0], atol=1e-9)
    np.testing.assert_allclose(one.end.joints, BODY + [0.6, 0, 0], atol=1e-9)


def test_too_short_a_time_shows_no_velocity_and_nothing_known_no_end() -> None:
    times = np.arange(5) / 60
    end = end_of(times, np.broadcast_to(BODY, (5, 4, 3)) + times[:, None, None], True)
    assert end is not None
    np.testing.assert_array_equal(end.velocity, 0)
    assert end_of(times, np.full((5, 4, 3), np.nan), True) is None


def test_a_velocity_ignores_a_wild_joint() -> None:
    times = np.arange(20) / 60
    joints = BODY + times[:, None, None] * [0.5, 0, 0]
    joints[:, 2] += np.random.default_rng(1).normal(size=(20, 3))
    end = end_of(times, joints, True)
    assert end is not None
    np.testing.assert_allclose(end.velocity, [0.5, 0, 0], atol=0.1)


def test_two_who_cross_while_unseen_go_on_their_ways() -> None:
    """Half a second unseen at 1 m/s, apart by 0.5 m on either side: only their ways tell who is who."""
    right, left = passage(0, 1, (1, 0), (-1.25, 0)), passage(0, 1, (-1, 0), (1.25, 0))
    right_on, left_on = passage(1.5, 2.5, (1, 0), (-1.25, 0)), passage(1.5, 2.5, (-1, 0), (1.25, 0))
    assert successions([right, left, right_on, left_on])[:2] in ([(0, 2), (1, 3)], [(1, 3), (0, 2)])


def test_far_away_long_ago_or_earlier_is_somebody_else() -> None:
    one = passage(0, 1, (0, 0), (0, 0))
    assert successions([one, passage(1.1, 2, (0, 0), (2.0, 0))]) == []
    assert successions([one, passage(3.0, 4, (0, 0), (0, 0))]) == []
    assert successions([one, passage(0.5, 1.5, (0, 0), (0, 0))]) == []
    assert successions([one, None]) == []
    assert successions([passage(1.1, 2, (0, 0), (0, 0)), one]) == [(1, 0)]
