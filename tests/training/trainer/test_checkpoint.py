"""Checkpoints: whole or not there, and never a pickle."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from inference.errors import InputError
from training.trainer.checkpoint import (
    FILE,
    Checkpoint,
    load_weights,
    read_checkpoint,
    read_weights,
    write_checkpoint,
    write_weights,
)

PLAIN = Checkpoint({"model/a": torch.arange(6.0).reshape(2, 3), "random/cpu": torch.get_rng_state()}, {"step": 3})


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "deep" / FILE
    write_checkpoint(path, PLAIN)
    found = read_checkpoint(path)
    assert found.facts == {"step": 3}
    torch.testing.assert_close(found.part("model")["a"], PLAIN.tensors["model/a"])
    assert [each.name for each in path.parent.iterdir()] == [FILE]


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_truncated_file_is_one_line(tmp_path, keep):
    write_checkpoint(tmp_path / FILE, PLAIN)
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[:keep])
    with pytest.raises(InputError, match="is truncated or no safetensors file") as caught:
        read_checkpoint(tmp_path / FILE)
    assert "\n" not in str(caught.value)


def test_foreign_files_are_refused(tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / FILE)
    with pytest.raises(InputError, match="no training checkpoint of Sightline"):
        read_checkpoint(tmp_path / FILE)
    torch.save({"a": torch.zeros(2)}, tmp_path / FILE)  # a pickle inside a zip
    with pytest.raises(InputError, match="no safetensors file"):
        read_checkpoint(tmp_path / FILE)


def test_a_folder_that_cannot_be_written_keeps_the_old_file(tmp_path):
    write_checkpoint(tmp_path / FILE, PLAIN)
    (tmp_path / f"{FILE}.part").mkdir()
    with pytest.raises(InputError, match="cannot be written.*still stands"):
        write_checkpoint(tmp_path / FILE, Checkpoint(PLAIN.tensors, {"step": 4}))
    assert read_checkpoint(tmp_path / FILE).facts["step"] == 3


def test_missing_weights_are_named():
    model = torch.nn.Linear(2, 1)
    with pytest.raises(InputError, match=r"x holds another architecture: bias is missing there and \(1,\) in the"):
        load_weights(model, {"weight": torch.zeros(1, 2)}, "x")


def test_weights_alone_are_half_as_large_and_come_back(tmp_path):
    weights = {"a": torch.linspace(-1, 1, 12).reshape(3, 4), "count": torch.tensor(7)}
    write_weights(tmp_path / "w.safetensors", weights, {"commit": "c"})
    found = read_weights(tmp_path / "w.safetensors")
    assert found["a"].dtype is torch.float32 and found["count"] == 7
    torch.testing.assert_close(found["a"], weights["a"], rtol=1e-3, atol=1e-3)
    write_checkpoint(tmp_path / FILE, Checkpoint({"model/a": torch.zeros(1), "ema/a": torch.ones(1)}, {"step": 3}))
    assert read_weights(tmp_path / FILE)["a"] == 1  # of a training: the averaged ones


def test_weights_that_are_none_are_one_line(tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    (tmp_path / "half.safetensors").write_bytes((tmp_path / "foreign.safetensors").read_bytes()[:30])
    for name, message in (("foreign", "holds no weights"), ("half", "is truncated"), ("none", "no weights here")):
        with pytest.raises(InputError, match=message) as caught:
            read_weights(tmp_path / f"{name}.safetensors")
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="cannot be written"):
        write_weights(tmp_path / "no" / "w.safetensors", {"a": torch.zeros(1)}, {})
