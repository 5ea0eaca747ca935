"""The person detector's loss and scores: by hand, and that a true picture of people costs least."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from inference.errors import InputError
from training.networks.backbone import NetworkSettings
from training.networks.person import STRIDE, PersonNetwork, ShippedPersons
from training.tasks.persons import (
    average_precision,
    boxes_at,
    focal,
    generalised_overlap,
    middles,
    operating_score,
    person_scores,
)

NOBODY = [np.nan] * 4
# Two people in the first picture, one in the second; the second picture's best box finds nobody.
TRUTH = np.array([[[0, 0, 20, 40], [60, 0, 80, 40.0]], [[0, 0, 20, 40], NOBODY]])
CORNERS = np.array([[[0, 0, 20, 40], [60, 0, 80, 30.0]], [[70, 70, 90, 90], [0, 0, 20, 40]]])
SCORE = np.array([[0.9, 0.3], [0.6, 0.4]])


def test_scores_by_hand():
    """Surest first: hit, miss, hit, hit. Precision 1, 2/3, 3/4 at recall 1/3, 2/3, 1: 1/3 + 3/4 · 2/3 = 5/6."""
    scores = person_scores(CORNERS, SCORE, TRUTH)
    assert scores["ap_50"] == pytest.approx(5 / 6)
    assert scores["overlap"] == pytest.approx((1 + 0.75 + 1) / 3)
    assert (scores["recall"], scores["precision"]) == (pytest.approx(1 / 3), 0.5)
    assert average_precision(np.array([0.9]), np.array([True]), 2) == 0.5
    assert np.isnan(average_precision(np.array([0.9]), np.array([False]), 0))


def test_the_operating_score_is_where_both_are_best():
    """With all four boxes: recall 1, precision 3/4, harmonic mean 6/7; with fewer it is 1/2, 2/5 and 2/3."""
    assert operating_score(CORNERS, SCORE, TRUTH) == 0.3
    assert operating_score(CORNERS, np.array([[0.9, 0.05], [0.6, 0.05]]), TRUTH) == 0.05
    assert operating_score(CORNERS[1:, :1], SCORE[1:, :1], TRUTH[1:]) == 0.5  # no box finds anybody


def test_generalised_overlap_by_hand():
    """The same: 1. Half overlapping: 1/3, and nothing around both that neither covers. Apart: minus the empty share."""
    box = torch.tensor([0.0, 0, 10, 10])
    others = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 0, 30, 10]])
    torch.testing.assert_close(generalised_overlap(box, others), torch.tensor([1.0, 1 / 3, -1 / 3]))


def test_the_target_lies_at_the_middles():
    boxes = torch.tensor([[[8.0, 8, 24, 104], [0, 0, 0, 0]]])
    target = middles(boxes, torch.tensor([[True, False]]), (16, 8))
    assert target[0, 7, 2] == 1 and (target == 1).sum() == 1  # the middle (16, 56) lies in column 2, row 7
    assert target[0, 7, 3] < target[0, 8, 2]  # higher than wide, and so is its target


def test_the_loss_is_least_for_the_truth():
    boxes = torch.tensor([[[8.0, 8, 24, 40]]])
    target = middles(boxes, torch.tensor([[True]]), (8, 8))
    right = torch.where(target == 1, 9.0, -9.0)
    assert focal(right, target) < 0.01
    for wrong in (torch.full_like(target, -9.0), -right, right.roll(2, dims=2)):
        assert focal(wrong, target) > 1
    edges = torch.zeros(1, 4, 8, 8)
    middle = torch.tensor([2, 3]) * STRIDE + (STRIDE - 1) / 2
    edges[0, :, 3, 2] = torch.cat([middle - boxes[0, 0, :2], boxes[0, 0, 2:] - middle])
    torch.testing.assert_close(boxes_at(boxes, edges), boxes)


def test_what_is_shipped_are_peaks_in_pixels():
    """One cell surer than its neighbours: they count nothing, and its box is edges away from its middle."""
    torch.manual_seed(0)
    shipped = ShippedPersons(PersonNetwork(NetworkSettings((8, 8, 8), (1, 1, 1)), (64, 96))).eval()
    with torch.no_grad():
        boxes, score = shipped(torch.rand(2, 3, 96, 64))
        logits, edges = shipped.network(torch.rand(2, 3, 96, 64))
    assert boxes.shape == (2, 96, 4) and score.shape == (2, 96) and logits.shape == (2, 12, 8)
    assert ((score > 0).sum(dim=1) < 40).all() and (score > 0).any()
    assert (boxes[..., 2:] > boxes[..., :2]).all() and (edges > 0).all()
    torch.testing.assert_close(
        (boxes[..., :2] + boxes[..., 2:]).mean(dim=(0, 1)) / 2, torch.tensor([31.5, 47.5]), atol=9, rtol=0
    )
    with pytest.raises(InputError, match="must be three or more to find people"):
        PersonNetwork(NetworkSettings((8, 8), (1, 1)), (64, 96))
