"""How tall a person is by what is stated, by the floor and by pins: worked by hand, with what must not count."""

from __future__ import annotations

import numpy as np
import pytest

from inference.layouts import layout
from inference.stature import Stature, by_floor, by_pins, stated

NAMES = layout("sightline_29").joint_names
CAMERA = np.array([[0.0, 0.0, 1.516]])


def standing(drop: float, away: float = 3.0) -> np.ndarray:
    """One body (1, 1, 29, 3) whose lowest toe is ``drop`` below a camera 1.516 m high and ``away`` in front."""
    bodies = np.zeros((1, 1, len(NAMES), 3))
    bodies[..., 1] = away
    bodies[..., 2] = 1.45
    bodies[..., NAMES.index("left_big_toe"), 2] = 1.516 - drop
    return bodies


def test_a_foot_that_hangs_above_the_floor_stands_on_it_farther_away() -> None:
    """A toe 1.2 m below the camera meets the floor (0.016 m for its own thickness) at 1.5 / 1.2 of the distance."""
    found = by_floor(standing(1.2), np.array([[1.4]]), CAMERA, NAMES)
    assert found is not None
    assert found.height_m == pytest.approx(1.4 * 1.25)
    assert found.sigma == pytest.approx(0.02)


def test_feet_in_the_air_do_not_count() -> None:
    bodies = np.concatenate([standing(1.5)] * 5 + [standing(1.2)] * 15)  # a jump most of the time
    found = by_floor(bodies, np.full((20, 1), 1.7), np.repeat(CAMERA, 20, axis=0), NAMES)
    assert found is not None and found.height_m == pytest.approx(1.7)
    always = by_floor(bodies[5:], np.full((15, 1), 1.7), np.repeat(CAMERA, 15, axis=0), NAMES)
    assert always is not None and always.height_m > 2.0  # negative control: who never stands comes out too tall


def test_a_camera_on_the_floor_sees_no_size() -> None:
    assert by_floor(standing(0.1), np.array([[1.7]]), CAMERA, NAMES) is None
    assert by_floor(standing(1.2), np.array([[1.7]]), np.array([[0.0, 0.0, 0.1]]), NAMES) is None


def test_a_pin_twice_as_far_means_a_body_twice_as_tall() -> None:
    bodies, tall = np.repeat(standing(1.2), 2, axis=1), np.array([[0.8, 0.9]])
    pins, sigma = np.full((1, len(NAMES), 3), np.nan), np.full((1, len(NAMES)), np.nan)
    assert by_pins(bodies, tall, CAMERA, pins, sigma) is None
    wrist = NAMES.index("left_wrist")
    pins[0, wrist] = CAMERA[0] + 2 * (bodies[0, 0, wrist] - CAMERA[0])
    sigma[0, wrist] = 0.2
    found = by_pins(bodies, tall, CAMERA, pins, sigma)
    assert found is not None
    assert found.height_m == pytest.approx(2 * np.sqrt(0.8 * 0.9))
    away = np.linalg.norm(pins[0, wrist] - CAMERA[0])
    assert found.sigma == pytest.approx(np.hypot(np.log(0.9 / 0.8) / 2, 0.2 / away))


def test_evidence_multiplies() -> None:
    """Precisions 1/0.06² and 1/0.03² add; the surer one counts four times as much in the logarithm."""
    found = stated(None).times(Stature(1.87, 0.03))
    assert found.sigma == pytest.approx((1 / 0.0036 + 1 / 0.0009) ** -0.5)
    assert np.log(found.height_m) == pytest.approx((np.log(1.70) + 4 * np.log(1.87)) / 5)
    floor = Stature(1.8, 0.1, ("the floor",))
    assert stated(1.6).times(floor).times(stated(None)).told_by == ("the floor",)
    assert stated(1.6) == Stature(1.6, 0.03)
    assert Stature(1.7, 0.03).apart_from(Stature(1.7 * np.exp(0.1), 0.04)) == pytest.approx(2.0)
