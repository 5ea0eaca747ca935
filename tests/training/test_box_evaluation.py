"""Judging person detectors: who is found, how well, and what is found that is nobody."""

from __future__ import annotations

import json

import numpy as np
import pytest

from inference.errors import InputError
from inference.perception.boxes import Boxes
from inference.perception.card import read_card
from training import evaluate
from training.box_evaluation import BoxedPicture, _hits, judged_boxes

IMAGE = np.zeros((40, 60, 3), np.uint8)


class Saying:
    """A detector that says the same of every picture."""

    def __init__(self, *corners: tuple[float, float, float, float]) -> None:
        count = len(corners)
        self._boxes = Boxes(
            np.array(corners, float).reshape(count, 4), np.linspace(0.9, 0.6, count), np.full((count, 2, 2), np.nan)
        )

    def boxes(self, image: np.ndarray) -> Boxes:
        return self._boxes


def test_by_hand():
    """Of two people one is found exactly, the other missed by a box that overlaps a fifth; one box finds nobody."""
    truth = np.array([[0.0, 0, 10, 10], [20, 0, 30, 10]])
    scores = judged_boxes(Saying((0, 0, 10, 10), (28, 0, 38, 10)), [BoxedPicture(IMAGE, truth)] * 2)
    assert scores == {"recall": 0.5, "overlap": 1.0, "false_per_picture": 1.0, "people": 4.0, "pictures": 2.0}
    scores = judged_boxes(Saying((0, 0, 10, 8)), [BoxedPicture(IMAGE, truth[:1])])
    assert scores["recall"] == 1 and scores["overlap"] == pytest.approx(0.8) and scores["false_per_picture"] == 0
    assert judged_boxes(Saying(), [BoxedPicture(IMAGE, truth)])["recall"] == 0
    with pytest.raises(InputError, match="there is nobody in these pictures"):
        judged_boxes(Saying((0, 0, 10, 10)), [BoxedPicture(IMAGE, truth[:0])])


def test_one_person_is_found_once():
    assert _hits(np.array([[0.9, 0.0], [0.8, 0.0]])) == [0.9]
    assert _hits(np.array([[0.9, 0.6], [0.8, 0.0]])) == [0.9]  # the surer one chose first, and chose its best
    assert _hits(np.array([[0.6, 0.9], [0.8, 0.7]])) == [0.9, 0.8]


def test_the_boxes_of_a_data_set_are_judged_and_kept_in_the_card(shared_data, tmp_path, capsys):
    """COCO's four sample pictures, one box of the network's in each, of the whole picture: nearly all are missed."""
    from tests.inference.perception.tiny_network import constant_network, write_card

    coco = shared_data / "calibration_fixtures" / "mmpose_testdata" / "tests" / "data" / "coco"
    (tmp_path / "annotations").mkdir()
    (tmp_path / "images").mkdir()
    (tmp_path / "annotations" / "person_keypoints_val2017.json").write_bytes((coco / "test_coco.json").read_bytes())
    (tmp_path / "images" / "val2017").symlink_to(coco)
    constant_network(tmp_path / "b.onnx", (32, 32), {"boxes": [[0, 0, 31, 31]], "scores": [0.9]})
    outputs = {"boxes": "boxes", "scores": "scores"}
    card = write_card(tmp_path, "b", "boxes", outputs, (32, 32), accuracy="before = 1.0")
    assert evaluate.main(["boxes", str(card), "--coco", str(tmp_path), "--keep", "coco", "--provider", "cpu"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["pictures"] == 4 and scores["people"] >= 12 and scores["recall"] < 0.2
    assert read_card(card).accuracy["coco_recall"] == pytest.approx(scores["recall"], rel=1e-3, abs=1e-9)
    assert "against boxes made by hand" in card.read_text() and "before = 1.0" in card.read_text()


def test_boxes_lie_around_blazeposes_masks(shared_data, blazepose_card):
    """In camera 4 of the single take the man stands alone; his box holds his joints, and hardly more."""
    from inference.config import DetectionSettings
    from inference.footage import open_footage, read_frame
    from inference.perception.detector import load_detector
    from training.box_evaluation import mask_boxes
    from training.data.person_mask import PersonMask

    video = shared_data / "pose2sim_single" / "videos" / "cam04.mp4"
    image = read_frame(open_footage("cam04", str(video)), 50)
    detector = load_detector(DetectionSettings(detector="blazepose", provider="cpu"))
    boxes = mask_boxes(detector, PersonMask.of(detector.keypoint_card), image)
    person = detector.detect(image)[0]
    assert len(boxes) == 1
    inside = ((person.xy > boxes[0, :2] - 5) & (person.xy < boxes[0, 2:] + 5)).all(axis=1)
    assert inside.mean() > 0.9
    extent = np.nanmax(person.xy, axis=0) - np.nanmin(person.xy, axis=0)
    assert ((boxes[0, 2:] - boxes[0, :2]) < 1.5 * extent).all()


def test_a_card_that_finds_no_boxes_is_one_line(capsys):
    assert evaluate.main(["boxes", "sightline_s", "--video", "film.mp4"]) == 2
    assert "finds no boxes (kind 'regression')" in capsys.readouterr().err
