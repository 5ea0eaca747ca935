"""BlazePose: anchors, box decoding, aligned regions, and the landmark decoder on made-up outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import logit

from inference.errors import ModelError
from inference.perception.blazepose import aligned_region, anchors, decode_landmarks, decode_person_boxes
from inference.perception.card import ModelCard, NetworkInput
from inference.perception.crop import image_from_crop, transform_points


def made_card(kind: str, size: int) -> ModelCard:
    names = ("boxes", "scores") if "boxes" in kind else ("landmarks", "heatmaps", "presence")
    return ModelCard(
        name="made",
        kind=kind,
        path=Path("made.onnx"),
        sha256="",
        layout="blazepose_33",
        licence="",
        provenance="",
        person_detector="",
        input=NetworkInput("image", (size, size)),
        outputs={name: name for name in names},
    )


def test_the_published_number_of_anchors_in_their_order() -> None:
    """224 px at strides 8, 16, 32, 32, 32: 28²·2 + 14²·2 + 7²·6 = 2254, cells row by row."""
    centres = anchors(224)
    assert centres.shape == (2254, 2)
    np.testing.assert_allclose(centres[:3], [[0.5 / 28, 0.5 / 28]] * 2 + [[1.5 / 28, 0.5 / 28]])
    np.testing.assert_allclose(centres[56], [0.5 / 28, 1.5 / 28])
    np.testing.assert_allclose(centres[1568], [0.5 / 14, 0.5 / 14])
    np.testing.assert_allclose(centres[-6:], [[6.5 / 7, 6.5 / 7]] * 6)


def test_a_box_is_decoded_by_hand() -> None:
    """Anchor 1568 is at 8 px; offsets count from it, and from the edge to the first pixel's centre is 0.5."""
    boxes, scores = np.zeros((1, 2254, 12)), np.full((1, 2254, 1), -1000.0)
    boxes[0, 1568] = [10, 20, 30, 40, 1, 2, 3, -4, 0, 0, 0, 0]
    scores[0, 1568] = logit(0.8)
    found = decode_person_boxes(made_card("blazepose_boxes", 224), {"boxes": boxes, "scores": scores}, 0.5)
    np.testing.assert_allclose(found.corners, [[17.5 - 15, 27.5 - 20, 17.5 + 15, 27.5 + 20]])
    np.testing.assert_allclose(found.axis, [[[8.5, 9.5], [10.5, 3.5]]])
    np.testing.assert_allclose(found.score, [0.8])


def test_overlapping_boxes_are_averaged_by_score() -> None:
    boxes, scores = np.zeros((1, 2254, 12)), np.full((1, 2254, 1), -200.0)
    boxes[0, :, 2:4] = 50.0
    boxes[0, 1568, 4], boxes[0, 1569, 4] = 1.0, 4.0
    scores[0, [1568, 1569], 0] = logit(np.array([0.6, 0.9]))
    scores[0, -1] = logit(0.7)
    found = decode_person_boxes(made_card("blazepose_boxes", 224), {"boxes": boxes, "scores": scores}, 0.5)
    np.testing.assert_allclose(found.score, [0.9, 0.7])
    assert found.axis[0, 0, 0] == pytest.approx(7.5 + (0.6 * 1 + 0.9 * 4) / 1.5)


def test_nobody_is_nobody() -> None:
    outputs = {"boxes": np.zeros((1, 2254, 12)), "scores": np.full((1, 2254, 1), -5.0)}
    assert decode_person_boxes(made_card("blazepose_boxes", 224), outputs, 0.5).corners.shape == (0, 4)


def test_another_number_of_boxes_is_refused() -> None:
    outputs = {"boxes": np.zeros((1, 896, 12)), "scores": np.zeros((1, 896, 1))}
    with pytest.raises(ModelError, match="do not fit 2254 anchors"):
        decode_person_boxes(made_card("blazepose_boxes", 224), outputs, 0.5)


@pytest.mark.parametrize("top", [(0.0, -80.0), (80.0, 0.0), (-30.0, 50.0)])
def test_the_axis_points_up_in_the_aligned_region(top: tuple[float, float]) -> None:
    axis = np.array([[300.0, 200.0], [300.0 + top[0], 200.0 + top[1]]])
    region = aligned_region(axis)
    image_from = image_from_crop(region, (256, 256))
    linear = np.linalg.inv(image_from[:, :2])
    inside = (axis - image_from[:, 2]) @ linear.T
    np.testing.assert_allclose(inside[0], [127.5, 127.5], atol=1e-9)
    np.testing.assert_allclose(inside[1], [127.5, 127.5 - 128 / 1.125], atol=1e-9)
    np.testing.assert_allclose(transform_points(image_from, inside), axis)


def made_outputs(xy: np.ndarray, sigma_cells: float = 1.3) -> dict[str, np.ndarray]:
    """Outputs for 39 landmarks at xy px (centre convention), heatmaps where cell i means 4 i - 0.5."""
    landmarks = np.zeros((1, 39, 5))
    landmarks[0, :, :2] = xy + 0.5
    landmarks[0, :, 3:] = (3.0, 2.0)
    cells = (xy + 0.5) / 4
    i = np.arange(64)
    bell_x = np.exp(-((i - cells[:, :1]) ** 2) / (2 * sigma_cells**2))
    bell_y = np.exp(-((i - cells[:, 1:]) ** 2) / (2 * sigma_cells**2))
    maps = 0.9 * bell_y[:, :, None] * bell_x[:, None, :]
    heatmaps = logit(np.clip(maps, 1e-12, None))
    return {
        "landmarks": landmarks.reshape(1, -1).astype(np.float32),
        "heatmaps": np.moveaxis(heatmaps, 0, -1)[None].astype(np.float32),
        "presence": np.array([[0.97]], dtype=np.float32),
    }


def test_landmarks_come_from_the_heatmaps() -> None:
    rng = np.random.default_rng(9)
    xy = rng.uniform(20, 235, (39, 2))
    outputs = made_outputs(xy)
    outputs["landmarks"].reshape(39, 5)[:33, :2] += 6.0
    found = decode_landmarks(made_card("blazepose_landmarks", 256), outputs)
    np.testing.assert_allclose(found.xy[0], xy[:33], atol=0.01)
    np.testing.assert_allclose(found.covariance[0], np.broadcast_to((4 * 1.3) ** 2 * np.eye(2), (33, 2, 2)), atol=0.01)
    np.testing.assert_allclose(found.axis[0], xy[33:35], atol=1e-4)
    np.testing.assert_allclose(found.score, 1 / (1 + np.exp(-2.0)), rtol=1e-5)
    np.testing.assert_allclose(found.person_score, 0.97)


def test_a_landmark_without_a_peak_keeps_the_regressed_place_and_is_unsure() -> None:
    xy = np.full((39, 2), 100.0)
    outputs = made_outputs(xy)
    outputs["heatmaps"][..., 7] = -20.0
    found = decode_landmarks(made_card("blazepose_landmarks", 256), outputs)
    np.testing.assert_allclose(found.xy[0, 7], [100, 100], atol=1e-4)
    np.testing.assert_allclose(found.covariance[0, 7], 32.0**2 * np.eye(2))


def test_other_outputs_are_refused() -> None:
    outputs = made_outputs(np.full((39, 2), 100.0))
    outputs["landmarks"] = outputs["landmarks"][:, :-1]
    with pytest.raises(ModelError, match="are not BlazePose's landmarks"):
        decode_landmarks(made_card("blazepose_landmarks", 256), outputs)
