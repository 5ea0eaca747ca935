"""Errors of joints: by hand, by invariance, and next to the other numbers of the same name."""

import numpy as np
import pytest

from inference.errors import InputError, ShapeError
from inference.geometry.rotation import exp
from inference.layouts import layout
from training.metrics import (
    JOINT_SETS,
    absolute_errors,
    aligned_errors,
    auc,
    cps,
    joint_indices,
    missed,
    pck,
    pcp,
    percent_mse,
    pose_means,
    root_errors,
    scaled_errors,
    summarise,
)

H36M = layout("h36m_17").joint_names
rng = np.random.default_rng(2)
TRUTH = rng.normal(size=(20, 17, 3)) * 0.4
PREDICTED = TRUTH + 0.05 * rng.normal(size=TRUTH.shape)
HAND_TRUTH = np.array([[1.0, 0, 0], [1, 2, 0], [1, 0, 4]])
HAND = np.array([[2.0, 0, 0], [2, 1, 0], [2, 0, 2]])


# ---- errors ----


def test_by_hand():
    np.testing.assert_allclose(absolute_errors(HAND, HAND_TRUTH), [1, np.sqrt(2), np.sqrt(5)])
    np.testing.assert_allclose(root_errors(HAND, HAND_TRUTH), [0, 1, 2])
    np.testing.assert_allclose(scaled_errors(HAND, HAND_TRUTH), [0, 0, 0], atol=1e-15)


def test_the_root_may_be_the_mean_of_joints():
    np.testing.assert_allclose(root_errors(HAND, HAND_TRUTH, root=[1, 2]), [np.sqrt(1.25)] * 3)


def test_moving_the_estimate_changes_only_the_absolute_error():
    moved = PREDICTED + [1.0, 2.0, 3.0]
    np.testing.assert_allclose(root_errors(moved, TRUTH), root_errors(PREDICTED, TRUTH), atol=1e-12)
    assert absolute_errors(moved, TRUTH).min() > 2


def test_least_squares_scale_is_the_best_one():
    def left(factor):
        return (scaled_by(factor) ** 2).sum()

    def scaled_by(factor):
        mine, theirs = PREDICTED[0] - PREDICTED[0, 0], TRUTH[0] - TRUTH[0, 0]
        s = (mine * theirs).sum() / (mine**2).sum()
        return np.linalg.norm(factor * s * mine - theirs, axis=-1)

    np.testing.assert_allclose(scaled_errors(PREDICTED[0], TRUTH[0]), scaled_by(1.0))
    assert left(1.0) < min(left(0.99), left(1.01))


def test_the_scale_of_the_similarity_is_another_one():
    """A turned estimate: the least squares scale shrinks by the cosine, the other does not."""
    turned = (TRUTH - TRUTH[:, :1]) @ exp(np.array([0.0, 0.0, 1.0])).T
    compat = scaled_errors(turned, TRUTH, mode="epipolarpose_compat")
    np.testing.assert_allclose(compat, root_errors(turned, TRUTH), atol=1e-12)
    ours = scaled_errors(turned, TRUTH)
    assert (np.square(ours).sum(axis=-1) < np.square(compat).sum(axis=-1)).all()


def test_a_scale_does_not_mirror_through_the_root():
    errors = scaled_errors(-TRUTH, TRUTH)
    np.testing.assert_allclose(errors, np.linalg.norm(TRUTH - TRUTH[:, :1], axis=-1))


def test_aligned_errors_ignore_a_similarity():
    moved = 1.7 * PREDICTED @ exp(np.array([0.3, -1.0, 2.0])).T + 5
    np.testing.assert_allclose(aligned_errors(moved, TRUTH), aligned_errors(PREDICTED, TRUTH), atol=1e-12)
    np.testing.assert_allclose(aligned_errors(2 * TRUTH - 1, TRUTH), 0, atol=1e-12)


def test_a_mirrored_pose_is_wrong_except_in_margiposes_way():
    mirrored = TRUTH * [-1, 1, 1]
    assert aligned_errors(mirrored, TRUTH).mean() > 0.1
    np.testing.assert_allclose(aligned_errors(mirrored, TRUTH, mode="margipose_compat"), 0, atol=1e-12)


def test_fitted_joints_are_the_measured_ones_except_in_margiposes_way():
    chosen = joint_indices(H36M, "pck_14")
    alone = aligned_errors(PREDICTED[:, chosen], TRUTH[:, chosen])
    np.testing.assert_allclose(aligned_errors(PREDICTED, TRUTH, chosen), alone)
    compat = aligned_errors(PREDICTED, TRUTH, chosen, mode="margipose_compat")
    assert compat.shape == alone.shape and not np.allclose(compat, alone)
    assert np.square(compat).sum() > np.square(alone).sum()


def test_missing_joints_are_nan_and_told_apart():
    predicted, truth = PREDICTED.copy(), TRUTH.copy()
    predicted[0, 4] = truth[0, 5] = np.nan
    for errors in (root_errors, scaled_errors, aligned_errors, absolute_errors):
        assert np.argwhere(np.isnan(errors(predicted, truth))).tolist() == [[0, 4], [0, 5]]
    assert np.argwhere(missed(predicted, truth)).tolist() == [[0, 4]]


# ---- summaries ----


def test_per_frame_and_per_action_are_different_numbers():
    errors = np.array([[1.0, 1.0], [2.0, 2.0], [9.0, np.nan]])
    summary = summarise(errors, ["walk", "walk", "sit"])
    assert summary.actions == {"walk": 1.5, "sit": 9.0}
    assert (summary.per_frame, summary.per_action) == (4.0, 5.25)
    assert (summary.poses, summary.missing) == (3, pytest.approx(1 / 6))


def test_a_pose_without_errors_has_no_mean():
    assert np.isnan(pose_means(np.array([[np.nan, np.nan]]))).all()
    summary = summarise(np.array([[np.nan], [2.0]]), ["walk", "sit"])
    assert np.isnan(summary.actions["walk"]) and (summary.per_frame, summary.per_action) == (2.0, 2.0)


def test_pck_is_strict():
    errors = np.array([0.149, 0.150, 0.151, np.nan])
    assert pck(errors, 0.150) == pytest.approx(1 / 3)
    assert np.isnan(pck(np.array([np.nan]), 1.0))


def test_pck_counts_a_missed_joint_as_wrong():
    errors = np.array([0.1, np.nan, np.nan])
    assert pck(errors, 0.15, missed=np.array([False, True, False])) == 0.5
    assert pck(errors, 0.15) == 1.0  # negative control: without saying so it does not count


def test_pck_with_a_threshold_per_pose():
    assert pck(np.array([[1.0, 3.0], [1.0, 3.0]]), np.array([[2.0], [4.0]])) == 0.75


def test_auc_by_hand():
    assert auc(np.zeros((3, 4)), 1e-3) == pytest.approx(30 / 31)  # nothing is nearer than 0
    assert auc(np.full((3, 4), 0.0999), 1e-3) == pytest.approx(11 / 31)  # 100, 105 … 150
    assert auc(np.full((3, 4), 99.9), 1.0) == pytest.approx(11 / 31)


def test_cps_by_hand():
    assert cps(np.zeros((1, 5, 16)), 1e-3) == 299
    assert cps(np.full((1, 5, 16), 0.4), 1e-3) == 0
    assert cps(np.full((1, 5, 16), 100.5), 1.0) == 199.5  # correct from 101 on; half a trapezoid before
    half = np.zeros((1, 2, 16))
    half[0, 1, 7] = np.nan
    assert cps(half, 1e-3) == 149.5


def test_cps_takes_the_best_hypothesis():
    errors = np.full((2, 1, 16), 500.0)
    errors[1] = 0
    assert cps(errors, 1.0) == 299
    errors[1, 0, 3] = 500  # one joint spoils a pose
    assert cps(errors, 1.0) == 0


def test_pcp_by_hand():
    truth = np.array([[[0.0, 0, 0], [0, 0, 1.0]], [[0, 0, 0], [0, 0, 1.0]]])
    predicted = truth.copy()
    predicted[0, 0, 0] = 0.9  # ends 0.9 and 0 away: 0.45 on average
    predicted[1, :, 0] = 0.6
    assert pcp(predicted, truth, [(0, 1)]).tolist() == [0.5]
    assert pcp(predicted, truth, [(0, 1)], mode="both_ends").tolist() == [0.0]
    predicted[0, 0] = np.nan
    assert pcp(predicted, truth, [(0, 1)]).tolist() == [0.0]
    assert np.isnan(pcp(predicted, truth * np.nan, [(0, 1)])).all()


def test_pcp_at_exactly_half_is_correct():
    truth = np.array([[[0.0, 0, 0], [0, 0, 1.0]]])
    assert pcp(truth + [0.5, 0, 0], truth, [(0, 1)]).tolist() == [1.0]


def test_percent_mse_by_hand():
    truth = np.zeros((2, 1, 2))
    assert percent_mse(truth + [3.0, 4.0], truth, 50.0) == pytest.approx(1.0)


# ---- names ----


def test_joint_sets_by_number():
    assert joint_indices(H36M, "pck_14").tolist() == [*range(1, 7), 8, *range(10, 17)]
    assert joint_indices(H36M, "cps_16").tolist() == [*range(7), *range(8, 17)]
    assert [len(names) for names in JOINT_SETS.values()] == [17, 14, 16, 12]


def test_order_is_by_name():
    assert joint_indices(("b", "a"), ("a", "b")).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: joint_indices(H36M, "pck_15"), InputError, "unknown joint set 'pck_15'"),
        (lambda: joint_indices(("nose",), ("neck",)), InputError, "joint 'neck' is not among"),
        (lambda: scaled_errors(TRUTH, TRUTH, mode="procrustes"), InputError, "unknown mode 'procrustes'"),  # type: ignore
        (lambda: aligned_errors(TRUTH, TRUTH, mode="mirror"), InputError, "unknown mode 'mirror'"),  # type: ignore
        (lambda: pcp(TRUTH, TRUTH, [(0, 1)], mode="loose"), InputError, "unknown mode 'loose'"),  # type: ignore
        (lambda: absolute_errors(TRUTH, TRUTH[:, :3]), ShapeError, "truth has shape"),
        (lambda: summarise(np.zeros((3, 2)), ["walk"]), ShapeError, "errors has shape"),
        (lambda: cps(np.zeros((5, 16)), 1.0), ShapeError, "errors has shape"),
        (lambda: percent_mse(np.zeros((1, 2)), np.zeros((1, 2)), 0.0), ShapeError, "image_edge_px is 0.0"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()
