"""Samples given a pin, against the Gaussian's own formulas."""

from __future__ import annotations

import numpy as np
import pytest

from inference.pinned import pinned_bodies

SAMPLES = 20_000
TIMES = np.array([0.0, 0.25, 5.0])


@pytest.fixture(scope="module")
def moved():
    """Two joints whose depths err together (1 m and 0.5 m, correlation 0.8); the first is pinned 2 m off in frame 0."""
    rng = np.random.default_rng(1)
    covariance = np.array([[1.0, 0.4], [0.4, 0.25]])
    bodies = 0.01 * rng.standard_normal((3, SAMPLES, 2, 3))
    bodies[..., 2] += rng.multivariate_normal([5.0, 6.0], covariance, size=(3, SAMPLES))
    place, sigma = np.full((3, 2, 3), np.nan), np.full((3, 2), np.nan)
    place[0, 0], sigma[0, 0] = (0.0, 0.0, 7.0), 0.5
    found, changed = pinned_bodies(bodies, TIMES, (place, sigma), seed=1)
    return bodies, found, changed


def test_a_pin_moves_its_joint_and_what_errs_with_it(moved) -> None:
    """Gain of the pinned depth 1 / (1 + 0.25) = 0.8, of the other 0.4 / 1.25 = 0.32."""
    _, found, _ = moved
    depth = found[0, :, :, 2]
    assert depth.mean(axis=0) == pytest.approx([5 + 0.8 * 2, 6 + 0.32 * 2], abs=0.03)
    assert np.cov(depth.T) == pytest.approx(
        np.array([[1 - 0.8 * 1.0, 0.4 - 0.8 * 0.4], [0.4 - 0.8 * 0.4, 0.25 - 0.32 * 0.4]]), abs=0.02
    )


def test_frames_around_take_their_share(moved) -> None:
    """After 0.25 s errors correlate by exp(-1/2) = 0.607: the mean follows by that, the variance by its square."""
    bodies, found, changed = moved
    assert changed.tolist() == [True, True, False]
    share = np.exp(-0.5)
    assert found[1, :, 0, 2].mean() == pytest.approx(5 + share * 0.8 * 2, abs=0.03)
    assert found[1, :, 0, 2].var() == pytest.approx(1 - share**2 * 0.8, abs=0.02)
    np.testing.assert_array_equal(found[2], bodies[2])


def test_without_pins_nothing_moves(moved) -> None:
    bodies, _, _ = moved
    nothing = np.full((3, 2, 3), np.nan), np.full((3, 2), np.nan)
    found, changed = pinned_bodies(bodies, TIMES, nothing, seed=1)
    assert not changed.any()
    np.testing.assert_array_equal(found, bodies)
