"""The training loop: it learns, resumes as if nothing had happened, survives a kill, stops in time and at NaN."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from inference.errors import InputError
from tests.training.trainer.tiny_task import TinySettings, TinyTask, settings
from training.trainer.checkpoint import FILE, read_checkpoint
from training.trainer.journal import Journal
from training.trainer.loop import Options, TrainingError, train
from training.trainer.place import Place

SCRIPT = Path(__file__).with_name("tiny_task.py")
CPU = Place(torch.device("cpu"))


def tiny(**changes: object) -> TinyTask:
    return TinyTask({"tiny": TinySettings(**changes)}, 3)


def run_script(*arguments: object, torchrun: bool = False) -> subprocess.CompletedProcess:
    start = [sys.executable]
    if torchrun:
        start += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run([*start, SCRIPT, *map(str, arguments)], capture_output=True, text=True, timeout=200)


def weights(folder: Path, part: str = "ema") -> dict[str, torch.Tensor]:
    return read_checkpoint(folder / FILE).part(part)


def assert_same(first: dict, second: dict, tolerance: float) -> None:
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=tolerance, atol=tolerance)


def test_it_learns_and_says_so(tmp_path, capsys):
    result = train(tiny(), settings(steps=150, learning_rate=0.03), Options(tmp_path), CPU)
    assert result.step == len(result.losses) == 150
    assert sum(result.losses[-20:]) < 0.2 * sum(result.losses[:20])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["kind"] == "train" and lines[0]["loss"] == pytest.approx(result.losses[0], rel=1e-5)
    assert lines[-1]["kind"] == "validation" and lines[-1]["error"] < 0.2
    assert list((tmp_path / "tensorboard").iterdir())


def test_a_resumed_run_is_the_run_that_was_never_stopped(tmp_path):
    train(tiny(), settings(steps=12), Options(tmp_path / "whole"), CPU)
    # The end of the schedule is that of 12 steps: the run is stopped by hand after 6.
    stopped = tmp_path / "parts"
    with pytest.raises(TrainingError, match="step 6"):
        train(tiny(bad_sample=6 * 8 + 3), settings(steps=12), Options(stopped), CPU)
    assert read_checkpoint(stopped / FILE).facts["step"] == 6
    train(tiny(), settings(steps=12), Options(stopped, resume=True), CPU)
    for part in ("model", "ema", "optimiser"):
        assert_same(weights(tmp_path / "whole", part), weights(stopped, part), tolerance=0)


def test_a_loss_that_is_not_finite_stops_and_names_the_batch(tmp_path):
    with pytest.raises(
        TrainingError, match=r"loss of step 5 is not finite \(samples 40 to 47, seed 1\).*last good state"
    ):
        train(tiny(bad_sample=43), settings(), Options(tmp_path), CPU)
    kept = read_checkpoint(tmp_path / FILE)
    assert kept.facts["step"] == 4
    assert all(value.isfinite().all() for value in kept.part("model").values())


def test_before_the_first_checkpoint_it_says_that_there_is_none(tmp_path):
    with pytest.raises(TrainingError, match="there is no checkpoint yet"):
        train(tiny(bad_sample=3), settings(), Options(tmp_path), CPU)


def test_killed_in_the_middle_of_writing_it_loses_one_interval(tmp_path):
    """The third write dies half-way: the state of the second, one interval earlier, stands whole.

    The rest, its batches made by a process of their own, leads to where an uninterrupted run arrives.
    """
    done = run_script(tmp_path / "run", "--kill-at-write", 3)
    assert done.returncode == -9, done.stderr
    assert read_checkpoint(tmp_path / "run" / FILE).facts["step"] == 4
    with pytest.raises(InputError, match="truncated or no safetensors file"):  # what a plain write would have left
        read_checkpoint(tmp_path / "run" / f"{FILE}.part")
    assert run_script(tmp_path / "run", "--resume", "--workers", 1).returncode == 0
    train(tiny(), settings(steps=12), Options(tmp_path / "whole"), CPU)
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "run"), tolerance=1e-6)


def test_killed_at_any_moment_it_goes_on(tmp_path):
    """Two kills at moments that nobody chose; a checkpoint is written after every step."""
    told = 0
    for attempt in range(2):
        arguments = [sys.executable, SCRIPT, tmp_path / "run", "--steps", "100000", "--every", "1"]
        arguments += ["--resume"] if attempt else []
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(25 + 7 * attempt):
                told = json.loads(process.stdout.readline())["step"]
            process.kill()
        step = read_checkpoint(tmp_path / "run" / FILE).facts["step"]
        assert step >= told  # steps count from 0: told of n, n steps were saved, and n + 1 may have been


def test_two_processes_are_one(tmp_path):
    """Each takes half of the samples; the statistics of batch normalisation and the gradients are shared."""
    done = run_script(tmp_path / "two", torchrun=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"kind": "validation"') == 1  # one of them speaks
    train(tiny(), settings(), Options(tmp_path / "one"), CPU)
    for part in ("model", "ema"):
        assert_same(weights(tmp_path / "one", part), weights(tmp_path / "two", part), tolerance=1e-5)


def test_one_process_with_half_of_the_samples_is_not_that(tmp_path):
    """Negative control of the comparison above."""
    train(tiny(), settings(), Options(tmp_path / "one"), CPU)
    train(tiny(), settings(batch_size=4), Options(tmp_path / "half"), CPU)
    with pytest.raises(AssertionError):
        assert_same(weights(tmp_path / "one"), weights(tmp_path / "half"), tolerance=1e-5)


def test_it_ends_in_time_with_a_checkpoint(tmp_path):
    started = time.monotonic()
    result = train(tiny(), settings(steps=10**9, every=10**6), Options(tmp_path, minutes=8 / 60), CPU)
    assert time.monotonic() - started < 8
    assert 0 < result.step == read_checkpoint(tmp_path / FILE).facts["step"]
    assert result.scores


def test_a_checkpoint_of_another_architecture_is_one_line(tmp_path):
    train(tiny(), settings(steps=2), Options(tmp_path), CPU)
    with pytest.raises(
        InputError, match=r"another architecture: 0.weight is \(4, 1, 3, 3\) there and \(6, 1, 3, 3\) in the config"
    ):
        train(tiny(width=6), settings(), Options(tmp_path, resume=True), CPU)


def test_it_starts_from_the_weights_of_another_training(tmp_path):
    train(tiny(), settings(steps=150, learning_rate=0.03), Options(tmp_path / "first"), CPU)
    start = tmp_path / "first" / FILE
    begun = train(tiny(), settings(steps=3), Options(tmp_path / "second", start=start), CPU)
    fresh = train(tiny(), settings(steps=3), Options(tmp_path / "third"), CPU)
    assert begun.step == 3 and sum(begun.losses) < 0.3 * sum(fresh.losses)
    with pytest.raises(InputError, match="holds another architecture"):
        train(tiny(width=6), settings(), Options(tmp_path / "fourth", start=start), CPU)


def test_resuming_from_nothing_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no checkpoint here"):
        train(tiny(), settings(), Options(tmp_path, resume=True), CPU)


def test_a_batch_that_cannot_be_shared_is_an_error(tmp_path):
    with pytest.raises(TrainingError, match="batch_size 9 cannot be shared by 2 processes"):
        from training.trainer.loop import _Steps

        _Steps(tiny(), settings(batch_size=9), Place(torch.device("cpu"), 0, 2))


def test_mixed_precision_learns(tmp_path):
    result = train(tiny(), settings(steps=60, learning_rate=0.03, precision="bf16"), Options(tmp_path), CPU)
    assert sum(result.losses[-10:]) < 0.5 * sum(result.losses[:10])


def test_the_journal_of_a_silent_process_says_nothing(tmp_path):
    out = io.StringIO()
    journal = Journal(tmp_path, 0, 5, speaks=False, out=out)
    journal.tell(0, "train", {"loss": math.pi})
    journal.close()
    assert out.getvalue() == "" and not list(tmp_path.iterdir())
