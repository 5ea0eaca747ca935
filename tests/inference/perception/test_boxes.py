"""Boxes: overlap, suppression, and the plain box decoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inference.errors import ModelError
from inference.perception.boxes import decode_boxes, overlap, suppress
from inference.perception.card import ModelCard, find_card
from tests.inference.perception.tiny_network import constant_network, write_card

BOXES = np.array([[0, 0, 10, 20], [1, 0, 11, 20], [30, 5, 40, 25], [0, 10, 10, 30], [5, 5, 6, 6]], dtype=float)


@pytest.fixture
def card(tmp_path: Path) -> ModelCard:
    constant_network(tmp_path / "tiny_boxes.onnx", (48, 64), {"b": BOXES, "s": np.zeros(5)})
    write_card(tmp_path, "tiny_boxes", "boxes", {"boxes": "b", "scores": "s"})
    return find_card("tiny_boxes", (tmp_path,))


def test_overlap_by_hand() -> None:
    """9 × 20 shared of 200 + 200 - 180; 10 × 10 shared of 300; an empty box shares nothing."""
    np.testing.assert_allclose(overlap(BOXES[:1], BOXES[:4])[0], [1, 180 / 220, 0, 100 / 300])
    assert overlap(np.zeros((1, 4)), np.zeros((1, 4)))[0, 0] == 0


def test_the_best_of_each_group_stays() -> None:
    kept = suppress(BOXES[:4], np.array([0.6, 0.9, 0.7, 0.5]))
    np.testing.assert_array_equal(kept, [1, 2, 3])


def test_boxes_are_decoded_best_first(card: ModelCard) -> None:
    scores = np.array([[0.6, 0.9, 0.7, 0.2, 0.95]])
    found = decode_boxes(card, {"b": BOXES[None], "s": scores}, min_score=0.5)
    np.testing.assert_array_equal(found.corners, BOXES[[4, 1, 2]])
    np.testing.assert_array_equal(found.score, [0.95, 0.9, 0.7])
    assert np.isnan(found.axis).all()


def test_the_first_class_is_the_person(card: ModelCard) -> None:
    scores = np.array([[0.1, 0.9]] * 4 + [[0.8, 0.1]])[None]
    found = decode_boxes(card, {"b": BOXES[None], "s": scores}, min_score=0.5)
    np.testing.assert_array_equal(found.corners, BOXES[4:])


def test_no_boxes_are_no_boxes(card: ModelCard) -> None:
    assert decode_boxes(card, {"b": BOXES[None], "s": np.zeros((1, 5))}, 0.5).corners.shape == (0, 4)


def test_other_shapes_are_refused(card: ModelCard) -> None:
    with pytest.raises(ModelError, match=r"boxes \(1, 5, 3\) must be"):
        decode_boxes(card, {"b": BOXES[None, :, :3], "s": np.zeros((1, 5))}, 0.5)
