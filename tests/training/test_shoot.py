"""Adapting to a shoot: labels where teachers agree, noise as measured, and what is kept."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from inference.errors import InputError
from inference.layouts import layout
from inference.perception.card import KeypointNoise, ModelCard, NetworkInput, find_card, read_card, sha256_of
from inference.progress import Progress
from inference.types import Flag, Keypoints3D
from training import adapt
from training.augmentation import AugmentationSettings
from training.card_noise import card_with_noise, likeliest_factor, measured_noise, memory_frames, standing_error
from training.evaluation import ViewErrors, errors_on_views
from training.exporting import noise_lines
from training.loaders.labelled import in_order
from training.networks.backbone import NetworkSettings
from training.shoot import ShootSettings, agreed_joints, crops_of, shoot_of
from training.sources import DataSettings
from training.tasks.keypoints import KeypointLossSettings, KeypointTask
from training.trainer.checkpoint import FILE, read_checkpoint, write_weights

NAMES = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")


# ---- teachers ----


def joints(xyz):
    xyz = np.asarray(xyz, float)
    covariance = np.broadcast_to(1e-4 * np.eye(3), (*xyz.shape, 3)).copy()
    return Keypoints3D(NAMES, np.arange(len(xyz)) / 30, xyz, covariance, np.full(xyz.shape[:3], Flag.OBSERVED, np.int8))


def test_a_joint_counts_where_the_teachers_agree():
    first, second = np.zeros((2, 1, 4, 3)), np.zeros((2, 1, 4, 3))
    second[0, 0, 1] = [0.02, 0, 0]
    second[1, 0, 2] = [0.2, 0, 0]
    both = agreed_joints([joints(first), joints(second)], agree_m=0.05)
    np.testing.assert_allclose(both.xyz[0, 0, 1], [0.01, 0, 0])
    assert both.flag[0, 0, 1] == Flag.OBSERVED and both.flag[1, 0, 2] == Flag.WEAK
    assert (both.flag == Flag.OBSERVED).sum() == 7
    alone = agreed_joints([joints(first)], agree_m=0.05)
    np.testing.assert_array_equal(alone.xyz, first)


def test_teachers_of_different_takes_are_refused():
    with pytest.raises(InputError, match="differ in frames or persons"):
        agreed_joints([joints(np.zeros((2, 1, 4, 3))), joints(np.zeros((3, 1, 4, 3)))], 0.05)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"held_out_share": 0.9}, "held_out_share"),
        ({"every": 0}, "above 0"),
        ({"teachers": ()}, "one teacher be named"),
    ],
)
def test_settings_that_make_no_sense(values, message):
    with pytest.raises(InputError, match=message):
        ShootSettings(**values)


# ---- noise ----


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_likeliest_factor_is_the_true_one(factor):
    """Student t of ν = 5 with the stated covariance times factor²: within 5 %, 4,000 errors."""
    rng = np.random.default_rng(2)
    covariance = np.broadcast_to(np.array([[4.0, 1.0], [1.0, 2.0]]), (4000, 2, 2))
    scale = np.linalg.cholesky(covariance[0] * 3 / 5)
    error = factor * (rng.normal(size=(4000, 2)) @ scale.T) / np.sqrt(rng.chisquare(5, (4000, 1)) / 5)
    error[::10] = np.nan
    nothing = np.zeros_like(covariance)
    assert likeliest_factor(error, covariance, nothing) == pytest.approx(factor, rel=0.06)
    assert likeliest_factor(np.full((3, 2), np.nan), covariance[:3], nothing[:3]) == 1.0


def test_the_noise_of_the_labels_is_no_noise_of_the_detector():
    """Errors of 2 px, labels wrong by 3 px: with the labels' covariance the factor is 2, without the root of 13."""
    rng = np.random.default_rng(2)
    eye = np.broadcast_to(np.eye(2), (4000, 2, 2))
    error = rng.normal(size=(4000, 2)) * np.sqrt(13)
    flattened = likeliest_factor(np.sqrt(13) * rng.normal(size=(4000, 2)), 13 * eye, 0 * eye)  # of a Gaussian: 1.11
    assert likeliest_factor(error, eye, 0 * eye) == pytest.approx(np.sqrt(13) * flattened, rel=0.06)
    assert likeliest_factor(error, eye, 9 * eye * flattened**2) == pytest.approx(2 * flattened, rel=0.1)


@pytest.mark.parametrize("memory", [3.0, 12.0])
def test_memory_of_errors_that_remember(memory):
    """First-order memory over every second of 4,000 frames, beside an offset: within 25 %; white noise has none."""
    rng = np.random.default_rng(3)
    rho = np.exp(-2 / memory)
    error = np.zeros((2000, 2))
    for i in range(1, 2000):
        error[i] = rho * error[i - 1] + np.sqrt(1 - rho**2) * rng.normal(size=2)
    frames = 2 * np.arange(2000)
    assert memory_frames(error + 40, ["a"] * 2000, frames) == pytest.approx(memory, rel=0.25)
    assert memory_frames(rng.normal(size=(2000, 2)), ["a"] * 2000, frames) < 1.0


def view_errors(turn_deg, offset, count=400, scale=2.0):
    """Errors in a picture twice as large as the network's input, seen through turned regions."""
    rng = np.random.default_rng(4)
    angle = np.radians(turn_deg) * np.ones(count)
    crop_from_image = (
        np.stack([np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle)], -1).reshape(-1, 2, 2) / scale
    )
    in_crop = np.asarray(offset) + rng.normal(size=(count, 4, 2))
    error = (np.linalg.inv(crop_from_image)[:, None] @ in_crop[..., None])[..., 0]
    covariance = np.broadcast_to(scale**2 * np.eye(2), (count, 4, 2, 2))
    truth = np.broadcast_to(np.array([[0.0, 0], [50, 0], [0, 80], [50, 80]]), (count, 4, 2))
    return ViewErrors(NAMES, error, covariance, truth, crop_from_image, NAMES, np.zeros_like(covariance))


def card(tmp_path, noise):
    return ModelCard(
        "tiny",
        "regression",
        tmp_path / "n.onnx",
        "",
        "coco_17",
        "",
        "",
        "",
        NetworkInput("image", (192, 256)),
        {},
        noise=noise,
    )


def test_a_standing_error_is_found_in_the_network_s_axes(tmp_path):
    before = {"default": KeypointNoise(1.0, offset_px=(0.5, 0.0), heatmap_sigma_px=3.0)}
    turned = measured_noise(view_errors(30, (2.0, -1.0)), card(tmp_path, before), ["a"] * 400, range(400))
    found = turned["left_hip"]
    assert found.offset_px == pytest.approx((2.5, -1.0), abs=0.2)
    # Gaussian errors of 1 under a Student t of ν = 5: 0.86 · sqrt(5/3) of the deviation.
    assert found.sigma_px == pytest.approx(1.0, rel=0.15) and found.heatmap_sigma_px == 3.0
    assert turned["default"].offset_px == (0.5, 0.0)


def test_what_stands_in_one_view_alone_is_no_standing_error_of_the_detector():
    rng = np.random.default_rng(5)
    error = rng.normal(size=(400, 2)) * 0.5
    streams = ["a"] * 200 + ["b"] * 200
    error[:200] += [4.0, 2.0]
    error[200:] += [-3.0, 3.0]
    assert standing_error(error, streams) == pytest.approx((0.0, 2.0), abs=0.2)
    assert standing_error(error[:200], streams[:200]) == pytest.approx((4.0, 2.0), abs=0.2)
    assert (standing_error(np.full((5, 2), np.nan), ["a"] * 5) == 0).all()


def test_a_mean_error_within_chance_is_left_alone(tmp_path):
    noise = measured_noise(view_errors(0, (0.05, 0.0)), card(tmp_path, {}), ["a"] * 400, range(400))
    assert noise["left_hip"].offset_px == (0.0, 0.0)


def test_a_card_with_other_noise_is_read_back(tmp_path):
    network = tmp_path / "n.onnx"
    network.write_bytes(b"network")
    old = "\n".join(
        [
            *('name = "tiny"', 'kind = "regression"', 'file = "n.onnx"', f'sha256 = "{sha256_of(network)}"'),
            *('layout = "coco_17"', 'licence = "x"', 'provenance = "made"', 'person_detector = "p"', "[input]"),
            *(
                'name = "image"',
                "size = [192, 256]",
                "[outputs]",
                'keypoints = "k"',
                "",
                "# Of another shoot.",
                "[noise]",
            ),
            "sigma_px = 9.0",
        ]
    )
    noise = KeypointNoise(1.25, heatmap_scale=0.5, nu=5.0, memory_frames=7.0, offset_px=(1.0, -2.0))
    text = card_with_noise(old, "shoot", "noise measured", {"noise.left_hip": noise_lines(noise)})
    (tmp_path / "shoot.toml").write_text(text)
    found = read_card(tmp_path / "shoot.toml")
    assert found.name == "shoot" and found.provenance == "made; noise measured"
    assert found.noise_of("left_hip") == noise and found.noise_of("nose").sigma_px == 1.92
    assert "Of another shoot" not in text


# ---- the verdict ----

GOOD = {"nll": 5.0, "pck_02": 0.9, "median_px": 10.0}


def candidate(**changed):
    scores = {"frames": dict(GOOD), "view": dict(GOOD)}
    for key, value in changed.items():
        scores[key] = {**scores[key], **value}
    return adapt.Candidate(Path("x.toml"), scores)


def test_better_on_both_sets_is_kept():
    kept, why = adapt.verdict(candidate(), candidate(frames={"nll": 4.0}, view={"nll": 4.9}))
    assert kept and "held-out frames: NLL 5.00 -> 4.00" in why


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"frames": {"nll": 4.0}}, "the held-out camera: labels no likelier (NLL 5.00 -> 5.00)"),
        (
            {"frames": {"nll": 4.0}, "view": {"nll": 4.0, "pck_02": 0.88}},
            "the held-out camera: fewer joints right (PCK 0.900 -> 0.880)",
        ),
        (
            {"frames": {"nll": 4.0, "median_px": 11.0}, "view": {"nll": 4.0}},
            "held-out frames: larger error (median 10.0 -> 11.0 px)",
        ),
        (
            {"frames": {"nll": float("nan")}, "view": {"nll": 4.0}},
            "held-out frames: labels no likelier (NLL 5.00 -> nan)",
        ),
    ],
)
def test_worse_anywhere_is_not_kept(changed, why):
    kept, said = adapt.verdict(candidate(), candidate(**changed))
    assert not kept and why in said


# ---- the command ----


@pytest.fixture(scope="module")
def moment(example_take, blazepose_card, tmp_path_factory):
    """Labels of eight tenths of a second of the example take."""
    work = tmp_path_factory.mktemp("work")
    return shoot_of(ShootSettings(takes=(str(example_take),), seconds=0.8, work=str(work)))


def run(moment, example_take, out, *more):
    """Adapt as the command does once it has the labels; return evidence and what is said."""
    options = adapt._parser().parse_args([str(example_take), "--out", str(out), *more])
    out.mkdir()
    said = adapt.learn_and_judge(adapt._config(options), options, moment, Progress())
    return json.loads((out / "evidence.json").read_text()), said


def test_the_detector_s_card_learns_from_the_example_take(moment, tmp_path, capsys, example_take):
    """The evidence decides, whichever way; a folder is used once."""
    evidence, said = run(moment, example_take, tmp_path / "a")
    assert said["verdict"].startswith("kept" if evidence["kept"] else "not kept")
    assert evidence["pictures"]["view"] >= 4 and 0.3 < evidence["agreed"] <= 1
    assert evidence["scores"]["before"]["view"]["median_px"] < 12
    made = tmp_path / "a" / "example_take_adapted.toml"
    assert made.exists() == evidence["kept"] == ("card" in said)
    if evidence["kept"]:
        found = read_card(made)
        assert found.accuracy["after_view_nll"] < found.accuracy["before_view_nll"]
    assert adapt.main([str(example_take), "--out", str(tmp_path / "a")]) == 2
    assert "holds an adaptation already" in capsys.readouterr().err


def test_a_network_of_ours_learns_from_the_example_take(moment, tmp_path, example_take, capsys):
    """Fresh weights of a tiny network: its size comes from the weights' own configuration."""
    data = DataSettings(source="stick_figures", size=(64, 96))
    tables = {"data": data, "augmentation": AugmentationSettings(), "network": NetworkSettings((8, 16), (1, 1))}
    torch.manual_seed(1)
    model = KeypointTask({**tables, "loss": KeypointLossSettings()}, 1).model()
    config = {key: dataclasses.asdict(table) for key, table in tables.items()}
    write_weights(tmp_path / "w.safetensors", model.state_dict(), {"config": config})
    arguments = ("--start", str(tmp_path / "w.safetensors"), "--steps", "3")
    evidence, said = run(moment, example_take, tmp_path / "a", *arguments)
    assert set(evidence["scores"]) == {"teacher", "before", "after"}
    assert evidence["scores"]["teacher"]["view"]["median_px"] < evidence["scores"]["after"]["view"]["median_px"]
    assert read_checkpoint(tmp_path / "a" / "run" / FILE).facts["step"] == 3
    left = {path.name for path in (tmp_path / "a").iterdir()}
    kept = {"example_take_adapted.toml", "example_take_adapted.onnx"}
    assert left == {"evidence.json", "run", *(kept if evidence["kept"] else ())}
    assert ("card" in said) == evidence["kept"]
    assert not evidence["kept"] or "still worse than its teacher blazepose" in said["verdict"]


def test_the_crops_hold_their_labels(moment):
    """Labels fall inside of the crops, and agree with the detector in the picture that they were cut from."""
    names = layout("sightline_29").joint_names
    batch = crops_of(moment.learn[:6], names, (96, 128))
    assert batch["image"].shape == (6, 3, 128, 96) and batch["image"].dtype == torch.uint8
    known = torch.isfinite(batch["xy"]).all(dim=-1)
    assert (batch["inside"] == known).float().mean() > 0.99 and known.float().mean() > 0.4
    extent = batch["xy"][0][known[0]].amax(dim=0) - batch["xy"][0][known[0]].amin(dim=0)
    assert 128 / 1.25 * 0.8 < extent[1] < 128 / 1.25 * 1.05 or 96 / 1.25 * 0.8 < extent[0] < 96 / 1.25 * 1.05


def test_where_on_the_body_the_teacher_sets_a_joint_is_no_doubt_about_the_label(moment, blazepose_card):
    """Its card says that a hip may lie so many mm elsewhere: that is in a solve's ellipsoids, not in labels."""
    placement_m = find_card("blazepose").noise_of("left_hip").placement_m
    assert placement_m > 0.005
    sigma, placed = [], []
    for view in moment.learn:
        hip = view.joint_names.index("left_hip")
        if np.isfinite(view.xy[hip]).all():
            depth = (view.camera.R @ view.xyz[hip] + view.camera.t)[2]
            sigma.append(np.sqrt(np.linalg.eigvalsh(view.covariance[hip])[1]))
            placed.append(placement_m * view.camera.intrinsics.K[0, 0] / depth)
    assert len(sigma) > 5 and np.median(np.array(sigma) / placed) < 0.9


def test_labels_of_the_other_views_are_farther_from_the_detector_than_those_it_made_itself(moment):
    """Trap 1n: a keypoint pulls its own label. Median distance in the same pictures, labels by all and by others."""
    detector = adapt._detector(adapt._card_file("blazepose"))
    pictures = {(view.picture.path, view.picture.frame) for view in moment.others}
    both = [view for view in moment.learn if (view.picture.path, view.picture.frame) in pictures]
    own, other = (
        float(np.nanmedian(np.linalg.norm(errors_on_views(detector, in_order(views)).error, axis=-1)))
        for views in (both, moment.others)
    )
    assert len(moment.others) > 6 and other > 1.2 * own


def test_held_out_frames_come_later_and_the_held_out_view_never_teaches(moment):
    videos = {path.rpartition("/")[2] for path in (view.picture.path for view in moment.learn)}
    assert videos == {"cam01.mp4", "cam02.mp4", "cam03.mp4"}
    assert {view.picture.path.rpartition("/")[2] for view in moment.view} == {"cam04.mp4"}
    assert max(view.picture.frame for view in moment.learn) < min(view.picture.frame for view in moment.frames)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[: text.index('[[view]]\nname = "cam03"')], "adapting needs given cameras and four views"),
        (lambda text: text.replace('source = "calibration.toml"', 'source = "self"'), "adapting needs given cameras"),
    ],
)
def test_a_take_that_cannot_teach_is_one_line(tmp_path, capsys, example_take, change, message):
    text = example_take.read_text().replace('"videos/', f'"{example_take.parent}/videos/')
    text = change(text).replace('"calibration.toml"', f'"{example_take.parent}/calibration.toml"')
    (tmp_path / "take.toml").write_text(text)
    assert adapt.main([str(tmp_path / "take.toml"), "--out", str(tmp_path / "a")]) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1


def test_a_view_that_is_not_there(tmp_path, capsys, example_take):
    arguments = [str(example_take), "--out", str(tmp_path / "a"), "--held-out-view", "cam9"]
    assert adapt.main(arguments) == 2
    assert "no view is called 'cam9'" in capsys.readouterr().err


def test_another_system_s_config_is_refused(tmp_path, capsys, example_take, project_root):
    config = project_root / "training" / "configs" / "flow.toml"
    assert adapt.main([str(example_take), "--out", str(tmp_path / "a"), "--config", str(config)]) == 2
    assert "must be 'detector' and 'adapt'" in capsys.readouterr().err
