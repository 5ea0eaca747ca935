"""Configurations: defaults, and every mistake as one line that names the place."""

from __future__ import annotations

import pytest

from inference.errors import InputError
from training.tasks.known import TASKS
from training.trainer.settings import TrainingSettings, config_from, read_config


def test_the_tables_become_dataclasses():
    raw = {"system": "detector", "training": {"steps": 7}, "data": {"size": [96, 128]}, "network": {}}
    config = config_from(raw, TASKS, "run.toml")
    assert (config.task, config.name, config.training.steps) == ("keypoints", "run", 7)
    assert config.training.batch_size == TrainingSettings().batch_size
    assert config.tables["data"].size == (96, 128)
    assert set(config.tables) == {"data", "augmentation", "network", "loss"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"system": "detektor"}, "run.toml: unknown system 'detektor'; did you mean 'detector'?"),
        ({"task": "keypoint"}, "unknown task 'keypoint'; did you mean 'keypoints'?"),
        ({"traning": {}}, "run.toml: unknown key 'traning'; did you mean 'training'?"),
        (
            {"training": {"batchsize": 3}},
            r"run.toml: \[training\]: unknown key 'batchsize'; did you mean 'batch_size'?",
        ),
        ({"training": {"steps": "many"}}, r"\[training\]: steps must be a whole number, not 'many'"),
        ({"training": {"steps": 0}}, "steps = 0 must be above 0"),
        ({"training": {"warmup_steps": -1}}, "warmup_steps = -1 must not be negative"),
        ({"training": {"ema_decay": 1.0}}, "ema_decay = 1.0 must lie in"),
        ({"training": {"precision": "fp61"}}, "precision = 'fp61'; did you mean 'fp16'?"),
        ({"data": {"source": "syntetic"}}, "source = 'syntetic'; did you mean 'synthetic'?"),
        ({"data": {"size": [100, 128]}}, r"size = \[100, 128\] must be two multiples of 32"),
        ({"data": {"views": -1}}, "views must not be negative"),
        ({"data": {"layout": "coco"}}, "unknown keypoint layout 'coco'"),
        ({"network": {"channels": [8, 16]}}, "must be as many"),
        ({"augmentation": {"mirror": 2.0}}, "mirror = 2.0 must lie in"),
        ({"loss": {"target_sigma": 0.0}}, "target_sigma must be above 0"),
    ],
)
def test_mistakes_are_named(change, message):
    with pytest.raises(InputError, match=message.replace("?", r"\?")) as caught:
        config_from({"system": "detector", **change}, TASKS, "run.toml")
    assert "\n" not in str(caught.value)


def test_files_that_are_none(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_config(tmp_path / "none.toml", TASKS)
    (tmp_path / "bad.toml").write_text("system = ")
    with pytest.raises(InputError, match="not valid TOML"):
        read_config(tmp_path / "bad.toml", TASKS)
    (tmp_path / "empty.toml").write_text("")
    with pytest.raises(InputError, match="missing system; known: detector"):
        read_config(tmp_path / "empty.toml", TASKS)


def test_every_config_is_sound(project_root):
    paths = sorted((project_root / "training" / "configs").glob("*.toml"))
    assert {path.stem for path in paths} >= {"detector_s", "detector_m", "person"}
    for path in paths:
        read_config(path, TASKS)
