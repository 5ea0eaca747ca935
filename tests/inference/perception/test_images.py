"""Keypoints of single pictures, in the form of the command."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from inference.config import DetectionSettings
from inference.errors import InputError
from inference.perception.detector import Detector, load_detector
from inference.perception.images import detect_images, read_image
from tests.inference.perception.dot_people import joints_at, picture, write_networks

JOINTS = joints_at(90.3, 60.2, 120)


@pytest.fixture
def detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Detector:
    monkeypatch.setenv("SIGHTLINE_MODELS", str(tmp_path))
    write_networks(tmp_path, np.array([[60.0, 55, 120, 190]]), np.array([0.9]))
    return load_detector(DetectionSettings(detector="dots"))


def written(path: Path, image: np.ndarray) -> Path:
    cv2.imencode(path.suffix, image[..., ::-1])[1].tofile(path)
    return path


def test_people_come_in_input_order_as_plain_json(tmp_path: Path, detector: Detector) -> None:
    empty = written(tmp_path / "leer ü.png", picture([]))
    full = written(tmp_path / "full.png", picture([JOINTS]))
    result = json.loads(json.dumps(detect_images([full, empty, full], detector)))
    assert [entry["image"] for entry in result] == [str(full), str(empty), str(full)]
    assert [len(entry["people"]) for entry in result] == [1, 0, 1]
    person = result[0]["people"][0]
    assert 0.5 < person["score"] <= 1
    assert set(person["keypoints"]) == set(detector.joint_names)
    x, y, score = person["keypoints"]["left_wrist"]
    np.testing.assert_allclose([x, y], JOINTS[9], atol=0.5)
    assert 0 < score <= 1


def test_keypoints_that_were_not_found_are_left_out(tmp_path: Path, detector: Detector) -> None:
    joints = JOINTS.copy()
    joints[16] = (-100, -100)
    path = written(tmp_path / "part.png", picture([joints]))
    assert "right_ankle" not in detect_images([path], detector)[0]["people"][0]["keypoints"]


@pytest.mark.parametrize("content", [None, b"", b"no picture"])
def test_an_image_that_cannot_be_read_is_named(tmp_path: Path, detector: Detector, content: bytes | None) -> None:
    path = tmp_path / "broken.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="image .*broken.png") as error:
        detect_images([path], detector)
    assert "\n" not in str(error.value)


def test_pictures_are_rgb(tmp_path: Path) -> None:
    image = np.zeros((4, 6, 3), dtype=np.uint8)
    image[1, 2] = (250, 100, 3)
    np.testing.assert_array_equal(read_image(written(tmp_path / "colour.png", image)), image)
