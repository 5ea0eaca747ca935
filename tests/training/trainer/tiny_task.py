"""A task that trains in a second, and a script that trains it, alone, under torchrun, or killed while it writes.

python tiny_task.py OUT [--steps N] [--every N] [--resume] [--workers N] [--kill-at-write N]
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[3])

import torch
from torch import Tensor, nn

from training.networks.normalisation import SharedBatchNorm
from training.random_numbers import sample_numbers
from training.trainer import checkpoint
from training.trainer.loop import Options, train
from training.trainer.place import close_place, open_place
from training.trainer.settings import TrainingSettings
from training.trainer.task import Batch


@dataclass(frozen=True)
class TinySettings:
    width: int = 4
    bad_sample: int = -1  # whose label is NaN


class TinyTask:
    """Find the brightest quarter's share from 4×4 grey pictures."""

    TABLES: ClassVar[Mapping[str, type]] = {"tiny": TinySettings}

    def __init__(self, tables: Mapping[str, Any], seed: int) -> None:
        self.settings: TinySettings = tables["tiny"]
        self.seed = seed

    @classmethod
    def smoke(cls, tables: Mapping[str, Any], settings: TrainingSettings) -> tuple[Mapping[str, Any], TrainingSettings]:
        return tables, settings

    def model(self) -> nn.Module:
        width = self.settings.width
        return nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1, bias=False),
            SharedBatchNorm(width),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * width, 1),
        )

    def batch(self, first: int, count: int) -> Batch:
        picture = sample_numbers(self.seed, first, count, 16)
        label = picture[:, :4].mean(dim=1, keepdim=True)
        numbers = torch.arange(first, first + count)[:, None]
        label = torch.where(numbers == self.settings.bad_sample, torch.nan, label)
        return {"image": picture.reshape(count, 1, 4, 4), "label": label}

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        loss = ((model(batch["image"]) - batch["label"]) ** 2).mean()
        return loss, {"squares": loss}

    def validate(self, model: nn.Module) -> dict[str, float]:
        batch = self.batch(10_000, 64)
        return {"error": float((model(batch["image"]) - batch["label"]).abs().mean())}


def settings(steps: int = 12, every: int = 2, **changes: Any) -> TrainingSettings:
    plain = {"batch_size": 8, "warmup_steps": 2, "learning_rate": 1e-2, "log_every": 1, "ema_decay": 0.9}
    return TrainingSettings(**{**plain, "steps": steps, "checkpoint_every": every, **changes})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--every", type=int, default=2)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--kill-at-write", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.kill_at_write:
        _die_while_writing(given.kill_at_write)
    place = open_place("cpu")
    options = Options(given.out, given.resume, math.inf, {"commit": ""})
    train(
        TinyTask({"tiny": TinySettings()}, 3), settings(given.steps, given.every, workers=given.workers), options, place
    )
    close_place(place)


def _die_while_writing(number: int) -> None:
    """Replace fsync by one that, the n-th time, cuts the draft in half and kills this process as `kill -9` would."""
    sync, count = os.fsync, 0

    def fsync(file: int) -> None:
        nonlocal count
        count += 1
        if count == number:
            draft = Path(f"/proc/self/fd/{file}").resolve()
            os.truncate(draft, draft.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        sync(file)

    checkpoint.os.fsync = fsync


if __name__ == "__main__":
    main()
