"""Hypotheses: the nearest of M, and scores that do not reward spreading them."""

import numpy as np
import pytest

from inference.errors import InputError, ShapeError
from training.hypothesis_metrics import energy_score, hypothesis_bone_spread, hypothesis_errors, rank_histogram


def test_errors_by_hand():
    errors = np.array([[[1.0, 3], [8, 8]], [[4, 4], [2, 2]], [[9, 9], [3, np.nan]]])
    found = hypothesis_errors(errors)
    assert (found.hypotheses, found.best, found.mean, found.median, found.worst) == (
        3,
        2.0,
        pytest.approx((5 + 13 / 3) / 2),
        3.5,
        8.5,
    )


def test_the_nearest_of_m_rewards_spreading():
    """Why it is never reported alone: depths spread 1.3 times too far have a nearer nearest one, and a worse score."""
    rng = np.random.default_rng(4)
    truth, samples = rng.normal(size=(4000, 1)), rng.normal(size=(50, 4000, 1))
    best = [hypothesis_errors(np.linalg.norm(w * samples - truth, axis=-1)[..., None]).best for w in (1.0, 1.3)]
    scores = [energy_score(w * samples, truth).mean() for w in (1.0, 1.3, 0.6)]
    assert best[1] < best[0]
    assert scores[0] < min(scores[1:])


def test_energy_score_by_hand():
    samples, truth = np.array([[0.0, 0], [6.0, 8]]), np.array([3.0, 4])
    assert energy_score(samples, truth) == pytest.approx(5 - 10 / 2)
    assert energy_score(samples, truth, mode="v_statistic") == pytest.approx(5 - 10 / 4)
    assert energy_score(samples[:1], truth) == 5


def test_energy_score_is_the_plain_double_sum():
    rng = np.random.default_rng(5)
    samples, truth = rng.normal(size=(7, 4, 3)), rng.normal(size=(4, 3))
    pairs = np.linalg.norm(samples[:, None] - samples[None], axis=-1)
    near = np.linalg.norm(samples - truth, axis=-1).mean(axis=0)
    np.testing.assert_allclose(energy_score(samples, truth), near - pairs.sum(axis=(0, 1)) / (7 * 6) / 2)
    np.testing.assert_allclose(energy_score(samples, truth, "v_statistic"), near - pairs.mean(axis=(0, 1)) / 2)


def test_the_fair_score_does_not_depend_on_m():
    """Bound: five standard errors of 20 000 scores; the V-statistic is off by far more."""
    rng = np.random.default_rng(6)
    truth, samples = rng.normal(size=(20_000, 3)), rng.normal(size=(20, 20_000, 3))
    few, many = energy_score(samples[:3], truth), energy_score(samples, truth)
    bound = 5 * (few - many).std() / np.sqrt(len(truth))
    assert abs(few.mean() - many.mean()) < bound
    assert energy_score(samples[:3], truth, "v_statistic").mean() - many.mean() > 5 * bound


@pytest.mark.parametrize(("width", "shape"), [(1.0, "flat"), (0.5, "bowl"), (2.0, "hill")])
def test_rank_histogram(width, shape):
    rng = np.random.default_rng(7)
    counts = rank_histogram(width * rng.normal(size=(9, 50_000)), rng.normal(size=50_000), rng)
    assert counts.sum() == 50_000 and len(counts) == 10
    edges, middle = counts[[0, -1]].mean(), counts[4:6].mean()
    assert {"flat": abs(edges / middle - 1) < 0.06, "bowl": edges > 2 * middle, "hill": middle > 2 * edges}[shape]


def test_ties_are_broken_at_random_and_gaps_left_out():
    counts = rank_histogram(np.zeros((3, 8001)), np.append(np.zeros(8000), np.nan), np.random.default_rng(8))
    assert counts.sum() == 8000 and abs(counts - 2000).max() < 200


def test_bones_of_hypotheses():
    hypotheses = np.zeros((2, 1, 3, 3))
    hypotheses[:, 0, 1, 0] = [1.0, 3.0]
    hypotheses[:, 0, 2, 1] = 2.0
    spread = hypothesis_bone_spread(hypotheses, np.array([[0, 1], [0, 2]]))
    np.testing.assert_allclose(spread, [[np.sqrt(2), 0]])
    assert np.isnan(hypothesis_bone_spread(hypotheses[:1], np.array([[0, 1]]))).all()


def test_poses_without_errors_are_left_out():
    assert np.isnan(hypothesis_errors(np.full((2, 3, 4), np.nan)).best)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: hypothesis_errors(np.zeros((0, 3, 4))), ShapeError, "no hypothesis"),
        (lambda: hypothesis_errors(np.zeros((3, 4))), ShapeError, "errors has shape"),
        (lambda: energy_score(np.zeros((2, 3)), np.zeros(2)), ShapeError, "are not M times"),
        (lambda: energy_score(np.zeros((2, 3)), np.zeros(3), "biased"), InputError, "unknown mode 'biased'"),
        (lambda: rank_histogram(np.zeros((2, 3)), np.zeros(2), np.random.default_rng()), ShapeError, "are not M times"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()
