"""The similarity: recovers what was applied, never mirrors unless asked, agrees with scipy."""

import numpy as np
import pytest
from scipy.spatial import procrustes

from inference.errors import ShapeError
from inference.geometry.rotation import exp
from training.alignment import fit_similarity

rng = np.random.default_rng(1)
POINTS = rng.normal(size=(6, 17, 3))


def test_recovers_what_was_applied():
    rotation, scale, shift = exp(rng.normal(size=(6, 3))), rng.uniform(0.5, 2, 6), rng.normal(size=(6, 3))
    target = scale[:, None, None] * POINTS @ np.swapaxes(rotation, -1, -2) + shift[:, None]
    found = fit_similarity(POINTS, target)
    np.testing.assert_allclose(found.rotation, rotation, atol=1e-12)
    np.testing.assert_allclose(found.scale, scale)
    np.testing.assert_allclose(found.apply(POINTS), target, atol=1e-12)


def test_with_reflection_it_is_scipys():
    target = POINTS + 0.3 * rng.normal(size=POINTS.shape)
    left = fit_similarity(POINTS[0], target[0], allow_reflection=True).apply(POINTS[0]) - target[0]
    size = np.linalg.norm(target[0] - target[0].mean(axis=0))
    assert (left**2).sum() / size**2 == pytest.approx(procrustes(target[0], POINTS[0])[2])


def test_a_mirrored_set_is_not_mirrored_back_unless_asked():
    mirrored = POINTS * [-1, 1, 1]
    proper = fit_similarity(mirrored, POINTS)
    assert np.linalg.det(proper.rotation) == pytest.approx(1)
    assert np.abs(proper.apply(mirrored) - POINTS).max() > 0.5
    allowed = fit_similarity(mirrored, POINTS, allow_reflection=True)  # negative control
    np.testing.assert_allclose(allowed.apply(mirrored), POINTS, atol=1e-12)


def test_no_rotation_or_scale_near_it_does_better():
    target = POINTS[0] + 0.3 * rng.normal(size=(17, 3))
    best = fit_similarity(POINTS[0], target)

    def left(turn, scale):
        centred = (POINTS[0] - POINTS[0].mean(axis=0)) @ (exp(turn) @ best.rotation).T * best.scale * scale
        return ((centred - target + target.mean(axis=0)) ** 2).sum()

    least = left(np.zeros(3), 1.0)
    tries = [left(step, 1 + s) for step in 0.01 * np.vstack([np.eye(3), -np.eye(3)]) for s in (-0.01, 0.0, 0.01)]
    assert min(tries) > least


def test_missing_points_take_no_part():
    partial = POINTS.copy()
    partial[:, 3] = np.nan
    target = 2 * POINTS + 1
    target[:, 5] = np.nan
    np.testing.assert_allclose(fit_similarity(partial, target).scale, 2)


def test_planar_and_collinear_points():
    flat = POINTS[0] * [1, 1, 0]
    np.testing.assert_allclose(fit_similarity(flat, 3 * flat).apply(flat), 3 * flat, atol=1e-12)
    line = POINTS[0] * [1, 0, 0]
    np.testing.assert_allclose(fit_similarity(line, 3 * line).apply(line), 3 * line, atol=1e-12)


@pytest.mark.parametrize("points", [POINTS[0, :2], np.ones((5, 3)), np.full((5, 3), np.nan)])
def test_two_points_one_place_or_nothing_is_nan(points):
    assert np.isnan(fit_similarity(points, points + 1).apply(points)).all()


def test_refuses_other_shapes():
    with pytest.raises(ShapeError, match="target has shape"):
        fit_similarity(POINTS, POINTS[:, :5])
