"""Heatmap, SimCC and regression decoders, each through a real session on a generated network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inference.errors import ModelError
from inference.layouts import layout
from inference.perception.card import ModelCard, find_card
from inference.perception.heatmap_decoder import decode_heatmaps
from inference.perception.keypoints import CropKeypoints, calibrated
from inference.perception.regression import decode_regression
from inference.perception.session import Session
from inference.perception.simcc import decode_simcc
from tests.inference.perception.tiny_network import constant_network, write_card

SIZE = (48, 64)
TRUE = np.stack([np.linspace(6.3, 41.2, 17), np.linspace(55.1, 7.7, 17)], axis=1)  # px of the input


def loaded(
    folder: Path, kind: str, outputs: dict[str, np.ndarray], keys: dict[str, str] | None = None, **extra: str
) -> tuple[ModelCard, dict[str, np.ndarray]]:
    """Make network and card, run two pictures through the session, return card and outputs."""
    constant_network(folder / "tiny.onnx", SIZE, outputs)
    write_card(folder, "tiny", kind, {**{name: name for name in outputs}, **(keys or {})}, **extra)
    card = find_card("tiny", (folder,))
    pictures = np.zeros((2, 3, SIZE[1], SIZE[0]), dtype=np.float32)
    return card, Session(card.path, "cpu").run("image", pictures, list(outputs))


def bell(count: int, mean: np.ndarray, sigma: float) -> np.ndarray:
    return np.exp(-((np.arange(count) - mean[:, None]) ** 2) / (2 * sigma**2))


def test_heatmaps_of_half_the_inputs_size(tmp_path: Path) -> None:
    """Cell c is pixel 2 (c + 0.5) - 0.5, so a σ of 1.5 cells is 3 px."""
    cells = (TRUE + 0.5) / 2 - 0.5
    maps = 0.9 * bell(32, cells[:, 1], 1.5)[:, :, None] * bell(24, cells[:, 0], 1.5)[:, None, :]
    maps[3] = 0.0
    card, outputs = loaded(tmp_path, "heatmap", {"heatmaps": maps})
    found = decode_heatmaps(card, outputs)
    seen = np.arange(17) != 3
    np.testing.assert_allclose(found.xy[1, seen], TRUE[seen], atol=1e-3)
    np.testing.assert_allclose(found.covariance[0, seen], np.broadcast_to(9 * np.eye(2), (16, 2, 2)), atol=1e-2)
    assert np.isnan(found.xy[:, 3]).all()
    assert (found.score[:, 3] == 0).all()
    assert found.score[:, seen].min() > 0.7


@pytest.mark.parametrize(("cells", "shift"), [("index", -0.5), ("centre", 0.0)])
def test_the_card_says_what_a_cell_means(tmp_path: Path, cells: str, shift: float) -> None:
    at = (TRUE + 0.5) / 2 - 0.5
    maps = bell(32, at[:, 1], 1.5)[:, :, None] * bell(24, at[:, 0], 1.5)[:, None, :]
    card, outputs = loaded(tmp_path, "heatmap", {"heatmaps": maps}, {"cells": cells})
    np.testing.assert_allclose(decode_heatmaps(card, outputs).xy[0], TRUE + shift, atol=1e-3)


@pytest.mark.parametrize("values", ["density", "logits"])
def test_simcc(tmp_path: Path, values: str) -> None:
    """Two bins a pixel; σ of 4 bins along x and 6 along y are 2 and 3 px."""
    x, y = bell(96, 2 * TRUE[:, 0], 4.0), bell(128, 2 * TRUE[:, 1], 6.0)
    if values == "logits":
        x, y = np.log(np.maximum(x, 1e-30)), np.log(np.maximum(y, 1e-30))
    card, outputs = loaded(tmp_path, "simcc", {"simcc_x": x, "simcc_y": y}, {"values": values})
    found = decode_simcc(card, outputs)
    np.testing.assert_allclose(found.xy[1], TRUE, atol=1e-3)
    np.testing.assert_allclose(found.covariance[0], np.broadcast_to(np.diag([4.0, 9.0]), (17, 2, 2)), rtol=1e-3)
    expected = 1.0 if values == "density" else 1 / (6 * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(found.score, expected, rtol=0.02 if values == "density" else 0.15)


def test_simcc_at_other_bins_per_pixel(tmp_path: Path) -> None:
    x, y = bell(48 * 3, 3 * TRUE[:, 0], 4.0), bell(64 * 3, 3 * TRUE[:, 1], 6.0)
    card, outputs = loaded(tmp_path, "simcc", {"simcc_x": x, "simcc_y": y}, {"split_ratio": 3.0})
    np.testing.assert_allclose(decode_simcc(card, outputs).xy[0], TRUE, atol=1e-3)


def test_simcc_without_a_peak_is_unobserved(tmp_path: Path) -> None:
    x, y = bell(96, 2 * TRUE[:, 0], 4.0), bell(128, 2 * TRUE[:, 1], 6.0)
    x[2], y[5] = 0.4, -1.0
    card, outputs = loaded(tmp_path, "simcc", {"simcc_x": x, "simcc_y": y})
    found = decode_simcc(card, outputs)
    assert set(np.flatnonzero(np.isnan(found.xy[0]).any(axis=1))) == {2, 5}
    assert (found.score[0] > 0).sum() == 15


def test_simcc_bins_can_be_noisy(tmp_path: Path) -> None:
    """White noise of 1 % of the peak moves the mean by less than 0.1 px and the variance by less than 10 %."""
    rng = np.random.default_rng(8)
    x = bell(96, 2 * TRUE[:, 0], 4.0) + 0.01 * rng.normal(size=(17, 96))
    y = bell(128, 2 * TRUE[:, 1], 6.0) + 0.01 * rng.normal(size=(17, 128))
    card, outputs = loaded(tmp_path, "simcc", {"simcc_x": x, "simcc_y": y})
    found = decode_simcc(card, outputs)
    np.testing.assert_allclose(found.xy[0], TRUE, atol=0.1)
    np.testing.assert_allclose(found.covariance[0, :, 0, 0], 4.0, rtol=0.1)


def test_regression_with_its_own_sigma(tmp_path: Path) -> None:
    """In shares of 48 × 64 px: pixel u is (u + 0.5) / 48, and σ 0.05 is 2.4 and 3.2 px."""
    share = np.column_stack([(TRUE + 0.5) / SIZE, np.linspace(0.2, 1.0, 17)])
    outputs = {"keypoints": share, "sigma": np.full((17, 2), 0.05)}
    card, values = loaded(tmp_path, "regression", outputs, {"unit": "share"})
    found = decode_regression(card, values)
    np.testing.assert_allclose(found.xy[0], TRUE, atol=1e-4)
    np.testing.assert_allclose(found.covariance[1, 4], np.diag([2.4**2, 3.2**2]), rtol=1e-4)
    np.testing.assert_allclose(found.score[0], np.linspace(0.2, 1.0, 17), rtol=1e-5)


def test_regression_in_pixels_without_sigma(tmp_path: Path) -> None:
    points = TRUE.copy()
    points[6] = np.nan
    card, outputs = loaded(tmp_path, "regression", {"keypoints": points, "scores": np.full(17, 0.7)})
    found = decode_regression(card, outputs)
    assert np.isnan(found.xy[0, 6]).all()
    np.testing.assert_allclose(found.xy[0, :6], TRUE[:6], atol=1e-4)
    assert (found.covariance[0, 0] == 0).all()
    assert found.score[0, 6] == 0
    assert found.person_score[0] == pytest.approx(0.7 * 16 / 17)


def test_regression_with_its_own_covariance(tmp_path: Path) -> None:
    """In shares of 48 × 64 px: (0.0025, 0.0005, 0.01) become 48² · 0.0025, 48 · 64 · 0.0005, 64² · 0.01 px²."""
    share = (TRUE + 0.5) / SIZE
    own = np.tile(np.array([[0.0025, 0.0005], [0.0005, 0.01]]), (17, 1, 1))
    outputs = {"keypoints": share, "covariance": own, "scores": np.full(17, 0.7)}
    card, values = loaded(tmp_path, "regression", outputs, {"unit": "share"})
    expected = [[5.76, 1.536], [1.536, 40.96]]
    np.testing.assert_allclose(decode_regression(card, values).covariance[1, 4], expected, rtol=1e-4)


def test_a_covariance_of_other_keypoints_is_refused(tmp_path: Path) -> None:
    outputs = {"keypoints": TRUE, "covariance": np.zeros((16, 2, 2)), "scores": np.full(17, 0.7)}
    card, values = loaded(tmp_path, "regression", outputs)
    with pytest.raises(ModelError, match=r"covariance must be \(N, J, 2, 2\).* shape \(2, 16, 2, 2\)"):
        decode_regression(card, values)


@pytest.mark.parametrize(
    ("kind", "outputs", "decode"),
    [
        ("heatmap", {"heatmaps": np.zeros((17, 64))}, decode_heatmaps),
        ("simcc", {"simcc_x": np.zeros(17), "simcc_y": np.zeros(17)}, decode_simcc),
        ("regression", {"keypoints": np.zeros((17, 5))}, decode_regression),
    ],
)
def test_outputs_of_another_shape_are_refused(tmp_path: Path, kind: str, outputs: dict, decode) -> None:
    card, values = loaded(tmp_path, kind, outputs)
    with pytest.raises(ModelError, match=r"tiny\.onnx.* shape"):
        decode(card, values)


def test_the_cards_noise_is_applied_per_joint(tmp_path: Path) -> None:
    """σ² = 4 + 0.25 (C - 9)⁺: eigenvalues 25 and 4 of C become 8 and 4."""
    noise = "[noise.default]\nsigma_px = 2\nheatmap_scale = 0.5\nheatmap_sigma_px = 3\n"
    noise += "[noise.left_eye]\nsigma_px = 1\nheatmap_scale = 0\noffset_px = [1.5, -2]"
    constant_network(tmp_path / "tiny.onnx", SIZE, {"keypoints": np.zeros((17, 2))})
    write_card(tmp_path, "tiny", "regression", {"keypoints": "keypoints"}, noise=noise)
    card = find_card("tiny", (tmp_path,))
    angle = 0.6
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    covariance = np.broadcast_to(turn @ np.diag([25.0, 4.0]) @ turn.T, (1, 17, 2, 2)).copy()
    covariance[0, 5] = np.nan
    raw = CropKeypoints(np.zeros((1, 17, 2)), covariance, np.ones((1, 17)), np.ones(1), np.full((1, 2, 2), np.nan))
    result = calibrated(card, raw)
    eye = layout("coco_17").joint_names.index("left_eye")
    np.testing.assert_allclose(result.covariance[0, 0], turn @ np.diag([8.0, 4.0]) @ turn.T, atol=1e-9)
    np.testing.assert_allclose(result.covariance[0, eye], np.eye(2), atol=1e-9)
    np.testing.assert_allclose(result.xy[0, eye], [-1.5, 2.0])
    assert np.isnan(result.covariance[0, 5]).all()
