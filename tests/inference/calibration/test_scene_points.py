"""Cameras from measured points: the truth is known, every way in which points do not determine a camera is refused."""

from __future__ import annotations

import numpy as np
import pytest

from inference.calibration.scene_points import PointsRig, solve_points
from inference.errors import DegenerateError
from inference.geometry.projection import project
from inference.geometry.rotation import log
from inference.shapes import FloatArray
from tests.synthetic import make_scene

RIG = make_scene(frames=2, cameras=3, seed=4).rig
ROOM = np.random.default_rng(2).uniform((-1.5, -1.5, 0), (1.5, 1.5, 2.2), (12, 3))


def clicked(points: FloatArray, sigma_px: float = 0.0, seed: int = 1) -> FloatArray:
    rng = np.random.default_rng(seed)
    return np.stack([project(camera, points) for camera in RIG.cameras]) + rng.normal(
        scale=sigma_px or 1e-12, size=(3, len(points), 2)
    )


def errors(found: PointsRig) -> tuple[float, float]:
    """Largest error of rotation, degrees, and of position, m."""
    pairs = list(zip(found.rig.cameras, RIG.cameras, strict=True))
    turn = max(float(np.degrees(np.linalg.norm(log(a.R @ b.R.T)))) for a, b in pairs)
    return turn, max(float(np.linalg.norm(a.centre - b.centre)) for a, b in pairs)


@pytest.mark.parametrize("count", [4, 5, 6, 12])
def test_exact_points_give_exact_cameras(count: int) -> None:
    turn, move = errors(solve_points(RIG.lenses, ROOM[:count], clicked(ROOM[:count])))
    assert turn < 1e-4 and move < 1e-5


def test_a_wild_click_and_a_wrong_measurement_have_little_weight() -> None:
    pixels = clicked(ROOM, 1.0)
    pixels[1, 3] += (60.0, -40.0)
    measured = ROOM.copy()
    measured[5] += (0.0, 0.0, 0.25)
    found = solve_points(RIG.lenses, measured, pixels)
    turn, move = errors(found)
    assert turn < 0.2 and move < 0.02
    off = np.linalg.norm(found.predicted - pixels, axis=-1)
    assert off[1, 3] > 50 and np.linalg.norm(found.xyz[5] - measured[5]) > 0.2
    assert np.median(off) < 2


def test_the_covariance_holds_what_it_says() -> None:
    """20 seeds of 1.5 px and 5 mm, 240 numbers; 68 and 95 % of a Gaussian, somewhat more under a t."""
    scores = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        measured = ROOM[:8] + rng.normal(scale=0.005, size=(8, 3))
        found = solve_points(RIG.lenses[:2], measured, clicked(ROOM[:8], 1.5, seed)[:2])
        sigma = np.sqrt(np.diag(found.rig.covariance)).reshape(-1, 6)
        for a, b, spread in zip(found.rig.cameras, RIG.cameras[:2], sigma, strict=True):
            turn = log(a.R @ b.R.T)
            scores.append(np.concatenate([turn / spread[:3], (a.t - b.t) / spread[3:]]))
    share = [float((np.abs(scores) < k).mean()) for k in (1, 2)]
    assert 0.58 < share[0] < 0.85 and share[1] > 0.9


def test_views_may_see_different_points() -> None:
    pixels = clicked(ROOM)
    pixels[0, 8:], pixels[2, :4] = np.nan, np.nan
    found = solve_points(RIG.lenses, ROOM, pixels)
    assert errors(found)[1] < 1e-5
    assert np.isnan(found.predicted[0, 8:]).all() and np.isfinite(found.predicted[1]).all()


@pytest.mark.parametrize(
    ("points", "sigma_px", "message"),
    [
        (ROOM[:3], 0.0, "cam01 shows 3 measured points; a camera needs 4"),
        (np.linspace((-1, 0, 1), (1, 0.5, 1), 8), 0.0, "cam01: its measured points lie in one line"),
        (ROOM[:8] * (0.05, 0.05, 0), 1.0, "two poses, .* fit its 8 points alike"),
    ],
)
def test_points_that_do_not_determine_a_camera(points: FloatArray, sigma_px: float, message: str) -> None:
    with pytest.raises(DegenerateError, match=message):
        solve_points(RIG.lenses, points, clicked(points, sigma_px))


def test_a_large_plane_determines_its_cameras() -> None:
    """The control of the refusal: near a wide plane the perspective tells the two poses apart."""
    floor = ROOM[:8] * (1, 1, 0)
    assert errors(solve_points(RIG.lenses, floor, clicked(floor, 1.0)))[1] < 0.05


def test_left_handed_axes_and_swapped_columns_are_explained() -> None:
    with pytest.raises(DegenerateError, match="left-handed"):
        solve_points(RIG.lenses, ROOM * (1, -1, 1), clicked(ROOM))
    with pytest.raises(DegenerateError, match="no camera explains its clicks.*check names, u, v"):
        solve_points(RIG.lenses, ROOM[::-1], clicked(ROOM))
