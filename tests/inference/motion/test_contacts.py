"""Which feet stand when, on a walker whose stances are known."""

import itertools

import numpy as np
import pytest

from inference.errors import ShapeError
from inference.motion.contacts import _smoothed, contact_probabilities
from inference.types import Keypoints3D
from tests.inference.motion.test_floor import NAMES, STEP_S, joints_of, walker

FLOOR = np.array([0.0, 0.0, 1.0, 0.0])
FEET = ("left_heel", "left_big_toe", "right_heel", "right_big_toe")


def stances(frames: int, fps: float) -> np.ndarray:
    """(T, 4) whether each foot joint of the walker rests."""
    phase = np.arange(frames) / fps / (2 * STEP_S)
    left, right = phase % 1 < 0.5, (phase + 0.5) % 1 < 0.5
    return np.stack([left, left, right, right], axis=1)


@pytest.mark.parametrize("fps", [30.0, 60.0, 240.0])
def test_stances_of_a_walker_are_found_at_any_rate(fps: float) -> None:
    """Wrong only beside lift-off and landing, where the foot is slow and low: 2 x 50 ms of 600, so 92 % are right."""
    frames = int(4 * fps)
    contact, names = contact_probabilities(joints_of(walker(frames, fps), fps=fps), FLOOR)
    assert names == FEET
    assert contact.shape == (frames, 1, 4)
    assert ((contact[:, 0] > 0.5) == stances(frames, fps)).mean() > 0.92


def test_height_alone_and_speed_alone_deny_a_contact() -> None:
    still_and_high, low_and_fast = np.zeros((60, 8, 3)), np.zeros((60, 8, 3))
    still_and_high[..., 2] = 0.4
    low_and_fast[..., 2] = 0.03
    low_and_fast[..., 0] = 1.5 * np.arange(60)[:, None] / 60
    standing = np.zeros((60, 8, 3))
    standing[..., 2] = 0.03
    for xyz, low, high in ((still_and_high, 0.0, 0.1), (low_and_fast, 0.0, 0.1), (standing, 0.9, 1.0)):
        contact, _ = contact_probabilities(joints_of(xyz), FLOOR)
        assert low <= contact.min()
        assert contact.max() <= high


def test_unsure_joints_give_less_decided_contacts() -> None:
    sure, _ = contact_probabilities(joints_of(walker()), FLOOR)
    vague, _ = contact_probabilities(joints_of(walker(), sigma_m=0.3), FLOOR)
    assert np.abs(vague - 0.5).mean() < 0.85 * np.abs(sure - 0.5).mean()


def test_an_unobserved_foot_has_no_contact_and_its_neighbours_keep_theirs() -> None:
    xyz = walker()
    xyz[10:20, 4] = np.nan
    contact, _ = contact_probabilities(joints_of(xyz), FLOOR)
    assert np.isnan(contact[10:20, 0, 0]).all()
    assert np.isfinite(contact[:, 0, 1]).all()
    assert np.isfinite(contact[20:, 0, 0]).all()


def test_without_floor_or_feet_nothing_is_said() -> None:
    assert contact_probabilities(joints_of(walker()), np.full(4, np.nan))[1] == ()
    assert contact_probabilities(joints_of(walker()[:, :4], NAMES[:4]), FLOOR)[0].shape == (240, 1, 0)
    assert contact_probabilities(joints_of(walker(frames=1)), FLOOR)[1] == ()


def test_a_plane_that_is_not_normalised_is_refused() -> None:
    with pytest.raises(ShapeError, match="unit vector"):
        contact_probabilities(joints_of(walker()), 2 * FLOOR)


def test_the_chain_agrees_with_the_sum_over_all_paths() -> None:
    """Five frames, 32 paths: stay or change with probability (1 ± exp(-2 dt / 0.5)) / 2."""
    ratio = np.array([2.0, -1.0, 0.5, 0.0, -3.0])
    step = np.array([0.1, 0.1, 0.3, 0.1, 0.05])
    change = 0.5 * (1 - np.exp(-2 * step / 0.5))
    total, standing = 0.0, np.zeros(5)
    for path in itertools.product((0, 1), repeat=5):
        weight = 0.5 * np.prod([np.exp(r) if state else 1.0 for r, state in zip(ratio, path, strict=True)])
        for t in range(1, 5):
            weight *= change[t] if path[t] != path[t - 1] else 1 - change[t]
        total += weight
        standing += weight * np.array(path)
    np.testing.assert_allclose(_smoothed(ratio[:, None, None], step)[:, 0, 0], standing / total, rtol=1e-9)


def test_two_people_are_told_apart() -> None:
    one, other = walker(), walker()
    other[..., 2] += 0.5
    both = np.stack([one, other], axis=1)
    covariance = np.broadcast_to(0.005**2 * np.eye(3), (*both.shape[:3], 3, 3))
    joints = Keypoints3D(NAMES, np.arange(240) / 60, both, covariance, np.full(both.shape[:3], 3))
    contact, _ = contact_probabilities(joints, FLOOR)
    assert (contact[:, 0] > 0.5).mean() > 0.4
    assert (contact[:, 1] > 0.5).mean() < 0.01
