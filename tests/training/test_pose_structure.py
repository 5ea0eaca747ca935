"""Pose Structure Score: neither place nor size counts, noise does, and the centres stay what they were."""

import numpy as np
import pytest

from inference.errors import DegenerateError, InputError, ShapeError
from training.pose_structure import kinds_of, make_centres, normalised, read_centres, structure_score, write_centres

NAMES = ("pelvis", "a", "b", "c", "d")
rng = np.random.default_rng(10)
POSES = np.concatenate([rng.normal(size=(1, 5, 3)) + 0.05 * rng.normal(size=(100, 5, 3)) for _ in range(6)])


@pytest.fixture(scope="module")
def centres():
    return make_centres(POSES, NAMES, k=6, seed=1)


def test_six_kinds_are_found(centres):
    kinds = kinds_of(POSES, centres).reshape(6, 100)
    assert (kinds == kinds[:, :1]).all() and len(set(kinds[:, 0])) == 6


def test_place_and_size_do_not_count(centres):
    found = structure_score(3.0 * POSES + [1, 2, 3], POSES, centres)
    assert (found.score, found.k) == (1.0, 6)
    assert found.chance == pytest.approx(1 / 6)


def test_noise_lowers_the_score_towards_chance(centres):
    scores = [
        structure_score(POSES + s * np.random.default_rng(2).normal(size=POSES.shape), POSES, centres).score
        for s in (0.0, 0.5, 1.0, 50.0)
    ]
    assert scores[0] == 1.0 and scores == sorted(scores, reverse=True)
    assert scores[-1] < 0.35


def test_another_kind_of_pose_scores_nothing(centres):
    shuffled = np.roll(POSES, 100, axis=0)
    assert structure_score(shuffled, POSES, centres).score == 0.0


def test_same_seed_same_centres(centres):
    np.testing.assert_array_equal(make_centres(POSES, NAMES, k=6, seed=1).centres, centres.centres)


def test_incomplete_poses(centres):
    gaps = POSES.copy()
    gaps[:60, 2] = np.nan
    assert (kinds_of(gaps, centres)[:60] == -1).all()
    assert structure_score(gaps, POSES, centres).score == pytest.approx(0.9)  # a missing estimate is wrong
    assert structure_score(POSES, gaps, centres).score == 1.0  # a missing truth does not count
    assert np.isnan(structure_score(POSES, gaps * np.nan, centres).score)
    assert np.isnan(normalised(np.zeros((1, 5, 3)))).all()


def test_frozen_in_a_file(tmp_path, centres):
    path = tmp_path / "centres.npz"
    write_centres(path, centres)
    back = read_centres(path)
    np.testing.assert_array_equal(back.centres, centres.centres)
    assert (back.joint_names, back.seed, back.starts) == (NAMES, 1, 10)


def test_files_that_are_no_centres(tmp_path, centres):
    path = tmp_path / "centres.npz"
    with pytest.raises(InputError, match="no pose centres"):
        read_centres(path)
    write_centres(path, centres)
    whole = path.read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(InputError, match="no pose centres"):
            read_centres(path)
    with np.load(_written(path, whole)) as data:
        values = {**data, "normalisation": np.array("none")}
    np.savez(path, **values)
    with pytest.raises(InputError, match="made with 'none'"):
        read_centres(path)


def _written(path, content):
    path.write_bytes(content)
    return path


def test_refusals(centres):
    with pytest.raises(DegenerateError, match="do not make 50 clusters"):
        make_centres(POSES[:20], NAMES, k=50, seed=1)
    with pytest.raises(ShapeError, match="poses has shape"):
        kinds_of(POSES[:, :4], centres)
