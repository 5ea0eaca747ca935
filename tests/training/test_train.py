"""The command `training/train.py`: every configuration passes its smoke run, and mistakes end with one line."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from training import train as command
from training.tasks.known import TASKS
from training.trainer.checkpoint import FILE, load_weights, read_checkpoint, read_weights, write_weights
from training.trainer.loop import Result, TrainingError
from training.trainer.settings import read_config

# detector_s: test_exporting.py, as a process of its own
CONFIGS = ("detector_m", "person", "person_cpu", "detector_s_cpu", "flow", "spatial_uncertainty", "adapt", "flow_paper")


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_passes_its_smoke_run(project_root, tmp_path, capsys, name):
    config = project_root / "training" / "configs" / f"{name}.toml"
    assert command.main([str(config), "--smoke", "--out", str(tmp_path)]) == 0
    losses = [json.loads(line)["loss"] for line in capsys.readouterr().out.splitlines() if '"loss"' in line]
    first, last = (sum(part) / 3 for part in (losses[:3], losses[-3:]))  # single steps of few samples are noise
    assert last < first - 0.05 * abs(first)


def test_no_config_is_forgotten(project_root):
    assert {path.stem for path in (project_root / "training" / "configs").glob("*.toml")} == {*CONFIGS, "detector_s"}


def test_a_loss_that_does_not_fall_fails():
    """Negative control of the smoke run."""
    with pytest.raises(TrainingError, match="the loss did not fall: 1 over the first 4 steps, 0.99 over the last"):
        command.check_fall(Result(20, [1.0] * 10 + [0.99] * 10, {}, 3.0))
    with pytest.raises(TrainingError, match="did not fall"):
        command.check_fall(Result(3, [3.0, 2.0, 1.0], {}, 3.0))
    command.check_fall(Result(20, [1.0] * 10 + [0.9] * 10, {}, 3.0))


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("system = 'detektor'", [], "unknown system 'detektor'; did you mean 'detector'?"),
        ("system = 'detector'", ["--device", "cuda:7"], "has no CUDA; use --device cpu"),
        ("system = 'detector'", ["--device", "gpu"], "--device 'gpu' is not known"),
        ("system = 'detector'", ["--resume"], "no checkpoint here"),
        ("system = 'detector'\n[data]\npack = 'nothing.npz'", [], "nothing.npz: no such pack"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, text, arguments, message):
    (tmp_path / "c.toml").write_text(text)
    assert command.main([str(tmp_path / "c.toml"), "--out", str(tmp_path / "run"), *arguments]) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1


def test_a_finished_run_is_not_overwritten(tmp_path, capsys):
    (tmp_path / "c.toml").write_text("system = 'detector'")
    (tmp_path / "checkpoint.safetensors").write_bytes(b"x")
    assert command.main([str(tmp_path / "c.toml"), "--out", str(tmp_path)]) == 2
    assert "holds a checkpoint already" in capsys.readouterr().err


SMALL = """
system = 'detector'
task = '{task}'
[training]
steps = {steps}
batch_size = 4
log_every = 1
[data]
source = 'stick_figures'
size = [64, 64]
validation_views = 2
[network]
channels = [8, 8, 8]
blocks = [1, 1, 1]
"""


@pytest.mark.parametrize("task", ["keypoints", "person"])
def test_two_processes_train_a_detector_as_one(tmp_path, task):
    """All of a network's parameters have a gradient, and no loss depends on who holds which samples."""
    config = tmp_path / "c.toml"
    config.write_text(SMALL.format(task=task, steps=3))
    assert command.main([str(config), "--out", str(tmp_path / "one")]) == 0
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    arguments = [command.__file__, config, "--out", tmp_path / "two", "--device", "cpu", "--threads", "1"]
    done = subprocess.run([*start, *map(str, arguments)], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    one, two = (read_checkpoint(tmp_path / name / FILE).part("model") for name in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(value, two[name], rtol=1e-4, atol=1e-4)


def test_a_person_detector_begins_with_the_backbone_of_a_keypoint_detector(tmp_path, capsys):
    for task in ("keypoints", "person"):
        (tmp_path / f"{task}.toml").write_text(SMALL.format(task=task, steps=1))
    given = ["--out", str(tmp_path / "first")]
    assert command.main([str(tmp_path / "keypoints.toml"), *given]) == 0
    start = tmp_path / "first" / FILE
    still = (tmp_path / "person.toml").read_text().replace("log_every = 1", "log_every = 1\nlearning_rate = 1e-12")
    (tmp_path / "still.toml").write_text(still)
    arguments = [str(tmp_path / "still.toml"), "--out", str(tmp_path / "second"), "--backbone", str(start)]
    assert command.main(arguments) == 0
    second = read_checkpoint(tmp_path / "second" / FILE)
    assert second.facts["started_from"] == f"{start} (its backbone)"
    given_weights, taken = read_checkpoint(start).part("ema"), second.part("model")
    kernels = [name for name in taken if name.startswith("backbone.") and taken[name].ndim == 4]
    assert len(kernels) > 5
    for name in kernels:
        torch.testing.assert_close(taken[name], given_weights[name], rtol=0, atol=1e-6)
    assert "backbone.up.1.first.0.weight" in given_weights and "backbone.up.1.first.0.weight" not in taken

    wide = still.replace("channels = [8, 8, 8]", "channels = [16, 8, 8]")
    (tmp_path / "wide.toml").write_text(wide)
    arguments = [str(tmp_path / "wide.toml"), "--out", str(tmp_path / "third"), "--backbone", str(start)]
    assert command.main(arguments) == 2
    assert "holds another architecture" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("detector_s_cpu", "inference/models/sightline_s.safetensors"),
        ("person_cpu", "training/weights/sightline_person.safetensors"),
    ],
)
def test_the_kept_weights_fit_the_config_that_goes_on_from_them(project_root, name, weights):
    config = read_config(project_root / "training" / "configs" / f"{name}.toml", TASKS)
    model = TASKS[config.system][config.task](config.tables, 1).model()
    load_weights(model, read_weights(project_root / weights), weights)


def test_weights_without_a_backbone_are_one_line(tmp_path, capsys):
    (tmp_path / "c.toml").write_text(SMALL.format(task="person", steps=1))
    write_weights(tmp_path / "w.safetensors", {"other": torch.zeros(2)}, {})
    arguments = [str(tmp_path / "c.toml"), "--out", str(tmp_path / "r"), "--backbone", str(tmp_path / "w.safetensors")]
    assert command.main(arguments) == 2
    assert "has no backbone" in capsys.readouterr().err


def test_a_training_that_goes_on_remembers_the_weights_that_it_started_from(project_root, tmp_path):
    config = tmp_path / "c.toml"
    config.write_text(
        "system = 'detector'\n[training]\nsteps = 1\nbatch_size = 2\n[data]\nsource = 'stick_figures'\n"
        "size = [32, 32]\nvalidation_views = 2\n[network]\nchannels = [8, 8]\nblocks = [1, 1]\n"
    )
    assert command.main([str(config), "--out", str(tmp_path / "first")]) == 0
    start = tmp_path / "first" / FILE
    assert command.main([str(config), "--out", str(tmp_path / "second"), "--start", str(start)]) == 0
    assert command.main([str(config), "--out", str(tmp_path / "second"), "--resume"]) == 0
    assert read_checkpoint(tmp_path / "second" / FILE).facts["started_from"] == str(start)
    assert "started_from" not in read_checkpoint(start).facts
