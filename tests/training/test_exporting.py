"""From a smoke run to a model card that `inference` reads, through the commands a user types."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from inference.config import DetectionSettings
from inference.errors import ModelError
from inference.perception.card import read_card
from inference.perception.detector import Detector, load_detector
from inference.perception.session import Session
from training import export_onnx, train
from training.exporting import check_parity
from training.shipping import Findings, card_facts, fitted_noise, judged, open_run
from training.stick_figures import keypoint_samples, person_samples
from training.trainer.checkpoint import FILE, Checkpoint, read_checkpoint, read_weights, write_checkpoint


def export(*arguments: object) -> int:
    return export_onnx.main([*map(str, arguments)])


@pytest.fixture(scope="module")
def trained(tmp_path_factory, request) -> Path:
    """A smoke run of the small detector, made with the command itself."""
    root = Path(request.config.rootpath)
    folder = tmp_path_factory.mktemp("runs") / "s"
    command = [sys.executable, "training/train.py", "training/configs/detector_s.toml", "--smoke", "--out", folder]
    done = subprocess.run([*map(str, command)], cwd=root, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    losses = [line["loss"] for line in map(json.loads, done.stdout.splitlines()) if line["kind"] == "train"]
    assert losses[-1] < 0.8 * losses[0]
    return folder


@pytest.fixture(scope="module")
def exported(trained) -> Path:
    out = trained.parent / "exported" / "tiny_person.onnx"
    assert export(trained, "--out", out, "--parity", out.with_suffix(".npz")) == 0
    return out


def test_the_file_gives_what_the_torch_model_gives(exported):
    parity = np.load(exported.with_suffix(".npz"))
    names = [key.removeprefix("out_") for key in parity.files if key.startswith("out_")]
    assert sorted(names) == ["covariance", "keypoints", "scores"]
    session = Session(exported, "cpu")
    for pictures in (parity["in_image"], parity["in_image"][:1]):  # the batch axis is free
        found = session.run("image", pictures, names)
        for name in names:
            np.testing.assert_allclose(found[name], parity[f"out_{name}"][: len(pictures)], rtol=1e-4, atol=1e-4)


def test_the_card_says_what_is_known(exported, trained):
    card = read_card(exported.with_suffix(".toml"))
    assert (card.name, card.kind, card.layout) == ("tiny_person", "regression", "sightline_29")
    assert "stick figures" in card.provenance and "40 steps of 4 views" in card.provenance
    assert card.licence == "CC0-1.0"
    for key in ("pck_02", "error_px", "coverage_50", "coverage_90", "coverage_95", "ece", "nll"):
        assert np.isfinite(card.accuracy[f"held_out_{key}"])
    assert set(card.noise) == set(open_run(trained).task.joint_names)


def test_a_detector_made_of_it_finds_stick_figures(exported, monkeypatch):
    """Through the regions, crops and decoder of a solve; the box is the person's own, so nobody searches."""
    from inference.perception.crop import Region
    from inference.perception.session import Session as Loaded

    card = read_card(exported.with_suffix(".toml"))
    session = Loaded(card.path, "cpu")
    detector = Detector(card, card, session, session, min_person_score=0.2, max_people=1)
    sample = keypoint_samples(0, 1, (96, 128), 1)
    image = np.ascontiguousarray(np.moveaxis(sample["image"][0].numpy(), 0, -1))
    whole = Region((47.5, 63.5), (96.0, 128.0))
    person = detector.estimate(image, [whole])[0]
    assert person is not None
    error = np.linalg.norm(person.xy - sample["xy"][0].numpy(), axis=1)
    assert np.median(error) < 12  # of 128 px, after forty steps
    assert (np.linalg.eigvalsh(person.covariance) > 0).all()
    assert np.ptp(person.covariance[:, 0, 0]) > 0  # the network's own, not one number for all


def test_a_keypoint_model_needs_a_person_detector(exported, monkeypatch):
    monkeypatch.setenv("SIGHTLINE_MODELS", str(exported.parent))
    text = exported.with_suffix(".toml").read_text()
    exported.with_suffix(".toml").write_text(text.replace('"blazepose_detector"', '"tiny_person"'))
    try:
        with pytest.raises(ModelError, match="finds no boxes"):
            load_detector(DetectionSettings(detector="tiny_person"))
    finally:
        exported.with_suffix(".toml").write_text(text)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_smaller_files_say_what_they_cost(exported, trained, tmp_path, precision):
    out = tmp_path / "small.onnx"
    assert export(trained, "--out", out, "--precision", precision) == 0
    card = read_card(out.with_suffix(".toml"))
    assert card.accuracy["precision"] == precision
    change = card.accuracy["held_out_pck_02"] - card.accuracy["held_out_fp32_pck_02"]
    assert card.accuracy["held_out_change_of_pck_02"] == pytest.approx(change, abs=2e-3)
    assert abs(change) < 0.1
    assert out.stat().st_size < {"fp16": 0.6, "int8": 0.35}[precision] * exported.stat().st_size


def test_a_training_can_start_from_what_was_exported(trained, tmp_path):
    out = tmp_path / "half.onnx"
    assert export(trained, "--out", out, "--precision", "fp16", "--weights") == 0
    kept = read_weights(out.with_suffix(".safetensors"))
    for name, value in read_checkpoint(trained / FILE).part("ema").items():
        torch.testing.assert_close(kept[name], value, rtol=1e-3, atol=1e-3)
    assert out.with_suffix(".safetensors").stat().st_size < 1.1 * out.stat().st_size


def test_the_card_names_real_people(trained):
    run = open_run(trained)
    plain = card_facts(run, "s", "fp32", "", Findings({}, {}))
    run.task.data = dataclasses.replace(run.task.data, real="r.safetensors", real_share=0.25, real_origin="A's (MIT)")
    said = card_facts(run, "s", "fp32", "", Findings({}, {})).provenance
    assert said == plain.provenance + "; and 25% of the views real people, labelled by BlazePose: A's (MIT)"


def test_another_network_than_the_torch_model_is_refused(exported, trained):
    """Negative control of the parity: a run whose weights were changed after the export."""
    other = open_run(trained)
    with torch.no_grad():
        other.shipped.module.network.head[-1].bias[3] += 1.0
        other.shipped.module.network.head[-1].weight[3] *= 3.0
    with pytest.raises(ModelError, match="output 'keypoints' differs from the torch model"):
        check_parity(other.shipped, exported, other.pictures[0][:2])


def test_the_noise_fit_makes_half_of_the_errors_fall_into_the_middle_half():
    """Student t with ν = 4 whose network says half of the true σ: the factor is 2 (20,000 samples, seed 5)."""
    rng = np.random.default_rng(5)
    nu, count = 4.0, 20_000
    error = 3.0 * rng.normal(size=(count, 1, 2)) / np.sqrt(rng.chisquare(nu, (count, 1, 1)) / nu)
    covariance = np.tile(1.5**2 * nu / (nu - 2) * np.eye(2), (count, 1, 1, 1))
    noise = fitted_noise(error, covariance, ("nose",), np.array([nu]))["nose"]
    assert noise.heatmap_scale == pytest.approx(2.0, rel=0.02)
    assert noise.nu == 4.0


PERSONS = """
system = 'detector'
task = 'person'
[training]
steps = 2
batch_size = 4
[data]
source = 'stick_figures'
size = [64, 96]
validation_views = 8
[network]
channels = [8, 8, 8]
blocks = [1, 1, 1]
"""


def test_a_person_detector_is_exported_in_every_precision(tmp_path):
    """The file's boxes reach the picture's pixels: here those of a picture twice as large as the network's input."""
    (tmp_path / "c.toml").write_text(PERSONS)
    assert train.main([str(tmp_path / "c.toml"), "--out", str(tmp_path / "run")]) == 0
    for precision in ("fp32", "fp16", "int8"):
        out = tmp_path / f"people_{precision}.onnx"
        assert export(tmp_path / "run", "--out", out, "--precision", precision) == 0
        card = read_card(out.with_suffix(".toml"))
        assert (card.kind, card.layout, card.person_detector) == ("boxes", "", "")
        assert 0 <= card.accuracy["held_out_ap_50"] <= 1
        assert ("held_out_change_of_ap_50" in card.accuracy) == (precision != "fp32")
    card = read_card(tmp_path / "people_fp32.toml")
    session = Session(card.path, "cpu")
    detector = Detector(card, card, session, session, min_person_score=0.0, max_people=6)
    small = person_samples(0, 1, (64, 96), 1)["image"][0].numpy().transpose(1, 2, 0)
    found = detector.boxes(np.ascontiguousarray(small.repeat(2, axis=0).repeat(2, axis=1)))
    raw = session.run("image", np.ascontiguousarray(small.transpose(2, 0, 1)[None] / np.float32(255)), ["boxes"])
    best = raw["boxes"][0][np.abs(raw["boxes"][0] * 2 + 0.5 - found.corners[0]).sum(axis=1).argmin()]
    # Edges of the network's pixels are those of every second one of the picture's: u becomes 2 u + 0.5.
    np.testing.assert_allclose(found.corners[0], best * 2 + 0.5, atol=0.5)


def test_wrong_runs_are_one_line(trained, tmp_path, capsys):
    for folder, message in (
        (tmp_path, "no checkpoint here"),
        (_damaged(trained, tmp_path / "d"), "another architecture"),
    ):
        assert export(folder, "--out", tmp_path / "x.onnx") == 2
        told = capsys.readouterr().err
        assert message in told and told.count("\n") == 1
    assert not (tmp_path / "x.onnx").exists()


def _damaged(trained: Path, folder: Path) -> Path:
    checkpoint = read_checkpoint(trained / FILE)
    tensors = {key: value for key, value in checkpoint.tensors.items() if key != "ema/head.0.bias"}
    write_checkpoint(folder / FILE, Checkpoint(tensors, checkpoint.facts))
    return folder


def test_the_judge_reads_the_covariance_of_the_file(exported, trained):
    found = judged(open_run(trained), exported, None)
    assert found.scores["pck_02"] == pytest.approx(
        read_card(exported.with_suffix(".toml")).accuracy["held_out_pck_02"], abs=1e-3
    )
