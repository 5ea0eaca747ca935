"""What spatial uncertainty has learned reaches a solve through the card, and its table can be measured again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from inference.perception.card import NetworkInput, read_card
from inference.perception.keypoints import calibrated
from inference.perception.regression import decode_regression
from inference.perception.session import Session
from training import evaluate_spatial, export_spatial, train
from training.multi_view import JOINT_NAMES
from training.trainer.checkpoint import FILE, Checkpoint, read_checkpoint, write_checkpoint

CONFIG = """system = "spatial_uncertainty"
name = "tiny"
[training]
steps = 2
batch_size = 2
[data]
views = 2
validation_samples = 2
[network]
channels = [8, 16]
blocks = [1, 1]
mode = "{mode}"
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two steps whose left wrist is said to be four times as wide as the views say."""
    folder = tmp_path_factory.mktemp("spatial")
    (folder / "c.toml").write_text(CONFIG.format(mode="fused"))
    assert train.main([str(folder / "c.toml"), "--out", str(folder / "run"), "--threads", "1"]) == 0
    found = read_checkpoint(folder / "run" / FILE)
    raw = found.tensors["ema/raw_inflation"].clone()
    raw[JOINT_NAMES.index("left_wrist")] = float(torch.log(torch.expm1(torch.tensor(4 * np.log(2)))))
    write_checkpoint(folder / "run" / FILE, Checkpoint({**found.tensors, "ema/raw_inflation": raw}, found.facts))
    return folder / "run"


@pytest.fixture(scope="module")
def card(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("shipped") / "spatial.onnx"
    assert (
        export_spatial.main([str(run), "--out", str(out), "--parity", str(out.with_suffix(".npz")), "--samples", "2"])
        == 0
    )
    return read_card(out.with_suffix(".toml"))


def test_a_solve_reads_the_learned_width_from_the_card(card):
    pictures = np.random.default_rng(1).random((2, 3, 64, 64), dtype=np.float32)
    raw = decode_regression(
        card, Session(card.path, "cpu").run("image", pictures, ["keypoints", "covariance", "scores"])
    )
    wide = calibrated(card, raw).covariance / raw.covariance
    wrist, nose = JOINT_NAMES.index("left_wrist"), JOINT_NAMES.index("nose")
    diagonal = wide[:, :, [0, 1], [0, 1]]
    np.testing.assert_allclose(diagonal[:, wrist], 4.0, rtol=0.02)
    np.testing.assert_allclose(diagonal[:, nose], 1.0, rtol=0.02)
    assert card.input == NetworkInput("image", (64, 64))
    assert card.noise_of("nose").placement_m == pytest.approx(0.05 * np.log1p(np.exp(-2)), rel=0.05)
    assert card.noise_of("nose").view_correlation == pytest.approx(1 / (1 + np.exp(3)), rel=0.05)
    assert card.noise_of("left_wrist").nu > 2.1 and "seen no people" in card.provenance


def test_rows_of_the_table(run, capsys):
    assert evaluate_spatial.main([str(run), "--rig", "antipodal", "--rig", "ring:3", "--samples", "2", "--plain"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6 and "| tiny: plain | ring, 3 views |" in lines[5]


@pytest.mark.parametrize(
    ("rig", "message"), [("rum", "rig = 'rum'"), ("ring:x", "write the number of views"), ("ring:1", "views = 1")]
)
def test_rigs_that_are_none(run, capsys, rig, message):
    assert evaluate_spatial.main([str(run), "--rig", rig]) == 2
    assert message in capsys.readouterr().err


def test_a_pooled_head_is_not_shipped(tmp_path, capsys):
    (tmp_path / "c.toml").write_text(CONFIG.format(mode="paper"))
    assert train.main([str(tmp_path / "c.toml"), "--out", str(tmp_path / "run"), "--threads", "1"]) == 0
    assert export_spatial.main([str(tmp_path / "run"), "--out", str(tmp_path / "p.onnx")]) == 2
    assert "has the mode 'paper'" in capsys.readouterr().err
    assert not (tmp_path / "p.onnx").exists()
