"""The detector: cards to networks to people, in pictures of dot people and in real footage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inference.config import DetectionSettings
from inference.errors import ModelError
from inference.perception.detector import Detector, distinct, load_detector
from inference.perception.person import similarity
from tests.inference.perception.dot_people import joints_at, picture, write_networks

LEFT, RIGHT = joints_at(90.3, 60.2, 120), joints_at(210.7, 80.6, 110)
BOXES = np.array([[60, 55, 120, 190], [180, 75, 240, 200], [62, 57, 125, 185], [250, 10, 300, 60]], dtype=float)
SCORES = np.array([0.9, 0.8, 0.7, 0.95])


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIGHTLINE_MODELS", str(tmp_path))
    write_networks(tmp_path, BOXES, SCORES)
    return tmp_path


@pytest.fixture
def detector(models: Path) -> Detector:
    return load_detector(DetectionSettings(detector="dots", provider="cpu"))


def test_it_says_what_it_is(detector: Detector) -> None:
    assert detector.layout == "coco_17"
    assert detector.joint_names[5] == "left_shoulder"
    assert detector.provider == "cpu"
    assert [card.name for card in detector.cards] == ["dots", "tiny_boxes"]


def test_each_person_is_found_once_in_pixels_of_the_picture(detector: Detector) -> None:
    """Boxes 0 and 2 are one person, box 3 is nobody's."""
    people = detector.detect(picture([LEFT, RIGHT]))
    assert len(people) == 2
    people.sort(key=lambda person: person.xy[0, 0])
    for person, joints in zip(people, (LEFT, RIGHT), strict=True):
        # Discs without soft edges are half a pixel off at most, and in the mean over all joints not at all.
        np.testing.assert_allclose(person.xy, joints, atol=0.5)
        np.testing.assert_allclose((person.xy - joints).mean(axis=0), 0.0, atol=0.12)


def test_the_covariance_is_in_pixels_of_the_picture(detector: Detector) -> None:
    """The card says 0.5 px of the input; the region's height over the input's 128 px is the scale."""
    person = detector.detect(picture([LEFT]))[0]
    expected = (0.5 * person.region.size[1] / 128) ** 2
    np.testing.assert_allclose(person.covariance[3], expected * np.eye(2), atol=1e-9)


def test_batches_do_not_change_the_answer(models: Path, tmp_path: Path, detector: Detector) -> None:
    image = picture([LEFT, RIGHT])
    together = detector.detect(image)
    write_networks(models, BOXES, SCORES, batches=False)
    single = load_detector(DetectionSettings(detector="dots")).detect(image)
    for a, b in zip(together, single, strict=True):
        np.testing.assert_allclose(a.xy, b.xy, atol=1e-3)


def test_an_empty_picture_holds_nobody(detector: Detector) -> None:
    assert detector.detect(np.zeros((240, 320, 3), dtype=np.uint8)) == []
    assert detector.estimate(np.zeros((240, 320, 3), dtype=np.uint8), []) == []


def test_no_more_people_than_asked(models: Path) -> None:
    one = load_detector(DetectionSettings(detector="dots", max_people=1))
    assert len(one.detect(picture([LEFT, RIGHT]))) == 1


def test_distinct_keeps_the_surest(detector: Detector) -> None:
    people = detector.detect(picture([LEFT, RIGHT]))
    assert distinct([*people, *people]) == distinct(people)
    assert distinct([]) == []


def test_similarity_of_people() -> None:
    """The spread of the dots is 34 px at height 110: a shift of 10 px (its third) costs about 40 %."""
    assert similarity(LEFT, LEFT) == pytest.approx(1.0)
    assert similarity(LEFT, RIGHT) < 0.01
    assert 0.4 < similarity(LEFT, LEFT + [10, 0]) < 0.8
    assert similarity(LEFT, LEFT + [10, 0], free_shift=1.0) == pytest.approx(1.0)
    missing = LEFT.copy()
    missing[2:] = np.nan
    assert similarity(LEFT, missing) == 0.0


def test_a_keypoint_card_is_no_box_card_and_the_other_way(models: Path) -> None:
    with pytest.raises(ModelError, match="finds boxes, not keypoints"):
        load_detector(DetectionSettings(detector="tiny_boxes"))
    text = (models / "dots.toml").read_text(encoding="utf-8")
    (models / "dots.toml").write_text(text.replace('"tiny_boxes"', '"dots"'), encoding="utf-8")
    with pytest.raises(ModelError, match="its person_detector 'dots' finds no boxes"):
        load_detector(DetectionSettings(detector="dots"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('heatmaps = "heatmaps"', 'heatmaps = "maps"', "has no output 'maps'; it has: heatmaps"),
        ('name = "image"', 'name = "input"', "has no input 'input'; it has: image"),
    ],
)
def test_tensors_that_are_not_there_are_named(models: Path, old: str, new: str, message: str) -> None:
    text = (models / "dots.toml").read_text(encoding="utf-8")
    (models / "dots.toml").write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        load_detector(DetectionSettings(detector="dots"))


def test_another_number_of_joints_than_the_layouts_is_an_error(models: Path) -> None:
    text = (models / "dots.toml").read_text(encoding="utf-8")
    (models / "dots.toml").write_text(text.replace('"coco_17"', '"halpe_26"'), encoding="utf-8")
    detector = load_detector(DetectionSettings(detector="dots"))
    with pytest.raises(ModelError, match="gives 17 keypoints, the layout 'halpe_26' has 26"):
        detector.detect(picture([LEFT]))
