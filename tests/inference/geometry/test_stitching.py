"""Passages joined where one goes on where another stopped."""

import numpy as np
import pytest

from inference.geometry.stitching import Passage, end_of, limb_lengths, returns, same_body, successions
from inference.layouts import layout
from tests.synthetic import dance

BODY = np.array([[0.0, 0, 0.5], [0.2, 0, 1.0], [-0.2, 0, 1.0], [0, 0, 1.6]])
NO_LIMBS = np.full((12, 2), np.nan)
NAMES = layout("coco_17").joint_names


def passage(
    start_s: float, stop_s: float, velocity: tuple[float, float], at: tuple[float, float], limbs: np.ndarray = NO_LIMBS
) -> Passage:
    """A body that moves evenly and is at ``at`` at second 0."""
    times = np.arange(round(start_s * 60), round(stop_s * 60) + 1) / 60
    v = np.array([*velocity, 0.0])
    joints = BODY + times[:, None, None] * v + np.array([*at, 0.0])
    begin, end = end_of(times[:20], joints[:20], False), end_of(times[-20:], joints[-20:], True)
    assert begin is not None
    assert end is not None
    return Passage(begin, end, limbs)


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


def limbs_of(height: float, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    joints = height * dance(np.arange(40) / 60, NAMES, 3)
    return limb_lengths(NAMES, joints + 0.01 * rng.normal(size=joints.shape))


def test_limb_lengths_by_hand() -> None:
    """A left thigh of 0.42 m in all frames, a right one in four alone: too few."""
    joints = np.full((10, len(NAMES), 3), np.nan)
    at = NAMES.index
    joints[:, at("left_hip")], joints[:, at("left_knee")] = [0, 0, 1.0], [0, 0, 0.58]
    joints[:4, at("right_hip")], joints[:4, at("right_knee")] = [0, 0, 1.0], [0, 0, 0.58]
    found = limb_lengths(NAMES, joints)
    assert np.isfinite(found[:, 0]).sum() == 1
    np.testing.assert_allclose(found[np.isfinite(found[:, 0])], [[np.log(0.42), 0]], atol=1e-12)
    assert np.isnan(limb_lengths(("nose", "neck"), np.ones((9, 2, 3)))).all()


def test_one_body_is_told_from_another_of_other_size() -> None:
    assert same_body(limbs_of(1.0, 1), limbs_of(1.0, 2)) > 4
    assert same_body(limbs_of(1.0), limbs_of(0.88)) < -4
    assert same_body(NO_LIMBS, limbs_of(1.0)) == 0


def test_who_comes_back_is_known_by_the_limbs_alone() -> None:
    long, short = limbs_of(1.0), limbs_of(0.88)
    gone = passage(0, 1, (0, 0), (0, 0), short)
    others = [passage(5, 6, (0, 0), (2, 0), long), passage(5, 6, (0, 0), (-2, 0), limbs_of(0.88, 5))]
    assert successions([gone, *others]) == []
    assert returns([gone, *others]) == [(0, 2)]
    assert returns([gone, passage(0.5, 2, (0, 0), (2, 0), short)]) == []  # seen at the same time
    assert returns([gone, passage(5, 5.2, (0, 0), (2, 0), short), None]) == []  # too short to tell
    assert returns([passage(0, 1, (0, 0), (0, 0)), passage(5, 6, (0, 0), (0, 0))]) == []  # limbs unknown


def test_the_cheapest_pairs_together_are_taken_not_the_nearest_first() -> None:
    """B goes on 0.05 m from where A stops; but C, 0.45 m from B, has nobody else, and A fits D as well."""
    a, b = passage(0, 1, (0, 0), (0.0, 0)), passage(0, 1, (0, 0), (-0.35, 0))
    c, d = passage(1.02, 2, (0, 0), (-0.05, 0)), passage(1.02, 2, (0, 0), (0.3, 0))
    assert sorted(successions([a, b, c, d])) == [(0, 3), (1, 2)]


def test_a_track_that_goes_on_decides_between_equals() -> None:
    one = passage(0, 1, (0, 0), (0, 0))
    two = [passage(1.02, 2, (0, 0), (x, 0)) for x in (0.1, -0.1)]
    for chosen in (0, 1):
        tracked = [
            Passage(p.begin, p.end, NO_LIMBS, frozenset({(0, 3)}) if n == chosen else frozenset())
            for n, p in enumerate(two)
        ]
        first = Passage(one.begin, one.end, NO_LIMBS, frozenset(), frozenset({(0, 3)}))
        assert successions([first, *tracked]) == [(0, 1 + chosen)]


@pytest.mark.parametrize(("overlap_s", "found"), [(0.0, []), (0.25, [(0, 1)])])
def test_overlapping_passages_follow_each_other_if_asked(overlap_s: float, found: list[tuple[int, int]]) -> None:
    assert successions([passage(0, 1, (0, 0), (0, 0)), passage(0.9, 2, (0, 0), (0, 0))], overlap_s) == found
