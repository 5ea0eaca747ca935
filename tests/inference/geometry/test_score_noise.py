"""What a score is worth is measured: where it tells the error, where it tells nothing, where nothing can be seen."""

from dataclasses import replace

import numpy as np
import pytest

from inference.config import SolveSettings
from inference.geometry.score_noise import with_measured_scores
from inference.geometry.triangulation import triangulate
from inference.types import Keypoints2D
from tests.synthetic import BASE, Scene, make_scene, observe

QUIET = replace(BASE, sigma_px=1e-3, outliers=0.0, swaps=0.0)
SETTINGS = SolveSettings().triangulation


def _detected(scene: Scene, power: float, seed: int) -> tuple[Keypoints2D, ...]:
    """Errors of 2 px / score^power under covariances guessed from 1 / score, as importers make them."""
    rng = np.random.default_rng(seed)
    views = []
    for view in observe(scene, QUIET, seed):
        score = rng.uniform(0.25, 1.0, view.score.shape)
        xy = view.xy + (2.0 / score**power)[..., None] * rng.normal(size=view.xy.shape)
        covariance = (2.0 / score**2)[..., None, None] * np.eye(2)
        seen = view.observed
        views.append(
            Keypoints2D(
                view.view,
                view.joint_names,
                view.timestamps_s,
                xy,
                np.where(seen[..., None, None], covariance, np.nan),
                np.where(seen, score, 0.0),
            )
        )
    return tuple(views)


def _slope(views: tuple[Keypoints2D, ...]) -> float:
    """Power of the score in the stated sigma."""
    seen = np.concatenate([view.observed.ravel() for view in views])
    score = np.concatenate([view.score.ravel() for view in views])[seen]
    sigma = np.sqrt(np.concatenate([view.covariance[..., 0, 0].ravel() for view in views])[seen])
    return -float(np.polyfit(np.log(score), np.log(sigma), 1)[0])


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_the_power_of_the_score_is_found(power: float) -> None:
    scene = make_scene(120, seed=61)
    views = with_measured_scores(scene.rig, _detected(scene, power, 62), [True] * 4, 5.0, 0.1)
    assert _slope(views) == pytest.approx(power, abs=0.25)


def test_it_makes_joints_better_where_scores_tell_more_or_less_than_was_guessed() -> None:
    for power, gain in ((0.0, 0.97), (2.0, 0.99)):
        guess, measured = [], []
        for seed in (63, 64, 65):
            scene = make_scene(120, seed=seed)
            views = _detected(scene, power, seed + 10)
            better = with_measured_scores(scene.rig, views, [True] * 4, 5.0, 0.1)
            for found, used in ((guess, views), (measured, better)):
                raw = triangulate(scene.rig, used, SETTINGS)
                found.append(np.nanmean(np.linalg.norm(raw.xyz - scene.xyz, axis=-1)))
        assert np.mean(measured) < gain * np.mean(guess), power


def test_covariances_that_are_no_guess_stay() -> None:
    scene = make_scene(60, seed=66)
    views = _detected(scene, 0.0, 67)
    result = with_measured_scores(scene.rig, views, [True, True, True, False], 5.0, 0.1)
    assert result[3] is views[3] and result[0] is not views[0]
    untouched = with_measured_scores(scene.rig, views, [False] * 4, 5.0, 0.1)
    assert all(a is b for a, b in zip(untouched, views, strict=True))


def test_scores_that_are_all_alike_and_takes_too_short_change_nothing() -> None:
    scene = make_scene(60, seed=68)
    alike = tuple(replace(view, score=np.where(view.observed, 0.8, 0.0)) for view in observe(scene, BASE, 69))
    short = make_scene(2, seed=70)
    few = _detected(short, 1.0, 71)
    for rig, views in ((scene.rig, alike), (short.rig, few)):
        result = with_measured_scores(rig, views, [True] * 4, 5.0, 0.1)
        assert all(a is b for a, b in zip(result, views, strict=True))
