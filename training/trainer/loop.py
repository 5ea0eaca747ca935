"""The training loop: what happens from the first step to the last checkpoint.

config = read_config(path, TASKS)
result = train(task, config.training, Options(run=folder, facts={…}), open_place("auto"))
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from inference.errors import SolveError

from .checkpoint import FILE, read_checkpoint, read_weights, write_checkpoint
from .journal import Journal
from .learner import Learner, learning_rate
from .place import Place
from .settings import TrainingSettings
from .task import Batch, Task


class TrainingError(SolveError):
    """The training cannot go on; the last good checkpoint stands."""


@dataclass(frozen=True)
class Options:
    """What does not change the result: where it goes and how long it may take."""

    run: Path  # folder of the checkpoint and of TensorBoard's files
    resume: bool = False
    minutes: float = math.inf  # the whole training ends within this
    facts: dict[str, Any] = field(default_factory=dict)  # kept in the checkpoint, plain JSON values
    start: Path | None = None  # weights to begin with, of the same architecture
    backbone: Path | None = None  # a model whose backbone to begin with; the rest is new


@dataclass(frozen=True)
class Result:
    """How a training ended."""

    step: int
    losses: list[float]  # of the steps of this process's run
    scores: dict[str, float]  # of the last validation
    seconds: float


def train(task: Task, settings: TrainingSettings, options: Options, place: Place) -> Result:
    """Train until the steps or the minutes are over; leave a checkpoint from which one can go on.

    Raises:
        InputError: the checkpoint to go on from, or the weights to start from, are missing, truncated or of another
            architecture.
        TrainingError: the loss or its gradient is not finite.
    """
    started = time.monotonic()
    torch.manual_seed(settings.seed)
    learner = Learner(task.model(), settings, place)
    file = options.run / FILE
    if options.resume:
        learner.restore(read_checkpoint(file), str(file))
    elif options.start:
        learner.start_from(read_weights(options.start), str(options.start))
    elif options.backbone:
        learner.start_backbone_from(read_weights(options.backbone), str(options.backbone))
    journal = Journal(options.run, learner.step, settings.steps, place.leads)
    ending = _Ending(started + 60 * options.minutes)
    saved = learner.step
    try:
        for number, batch in _batches(task, settings, learner.step, place):
            learner.parallel.train()
            with learner.autocast():
                loss, parts = task.loss(learner.parallel, batch)
            _stop_unless_finite(place, math.isfinite(loss.item()), "loss", learner, settings, file)
            length = learner.learn(loss)
            if not learner.scaler.is_enabled():
                _stop_unless_finite(place, math.isfinite(length), "gradient", learner, settings, file)
            journal.step(place.mean(loss))
            if number % settings.log_every == 0 or number + 1 == settings.steps:
                values = {"loss": journal.losses[-1], **{key: place.mean(part) for key, part in parts.items()}}
                pace = (number + 1) * settings.batch_size, learning_rate(settings, number)
                journal.tell(number, "train", {**values, "gradient": length, "samples": pace[0], "rate": pace[1]})
            if learner.step - saved >= settings.checkpoint_every:
                saved = _save(learner, options, place, ending)
            if settings.validate_every and learner.step % settings.validate_every == 0:
                _validate(task, learner, journal, place, ending)
            if place.any(ending.near()):
                break
        _save(learner, options, place, ending)
        scores = _validate(task, learner, journal, place, ending)
    finally:
        journal.close()
    return Result(learner.step, journal.losses, scores, time.monotonic() - started)


class _Steps(Dataset):
    """The batches of this process by step number."""

    def __init__(self, task: Task, settings: TrainingSettings, place: Place) -> None:
        self._task, self._place = task, place
        self._count, rest = divmod(settings.batch_size, place.world)
        if rest:
            raise TrainingError(f"batch_size {settings.batch_size} cannot be shared by {place.world} processes")

    def __getitem__(self, step: int) -> Batch:
        return self._task.batch((step * self._place.world + self._place.rank) * self._count, self._count)


def _batches(task: Task, settings: TrainingSettings, first: int, place: Place) -> Iterator[tuple[int, Batch]]:
    """Yield step and batch, on the device."""
    steps = range(first, settings.steps)
    loader = DataLoader(
        _Steps(task, settings, place),
        batch_size=None,
        sampler=steps,
        num_workers=settings.workers,
        generator=torch.Generator().manual_seed(settings.seed),  # else it would draw from the run's own numbers
    )
    for step, batch in zip(steps, loader, strict=True):
        yield step, {key: value.to(place.device, non_blocking=True) for key, value in batch.items()}


class _Ending:
    """Knows when to stop so that the last checkpoint and validation still fit in the time."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.needed_s = {"save": 1.0, "validate": 5.0}

    def took(self, what: str, seconds: float) -> None:
        self.needed_s[what] = max(self.needed_s[what], 1.5 * seconds)

    def near(self) -> bool:
        return time.monotonic() + sum(self.needed_s.values()) > self.deadline


def _save(learner: Learner, options: Options, place: Place, ending: _Ending) -> int:
    started = time.monotonic()
    if place.leads:
        write_checkpoint(options.run / FILE, learner.checkpoint(options.facts))
    place.wait()
    ending.took("save", time.monotonic() - started)
    return learner.step


def _validate(task: Task, learner: Learner, journal: Journal, place: Place, ending: _Ending) -> dict[str, float]:
    started = time.monotonic()
    scores: dict[str, float] = {}
    if place.leads:
        with torch.no_grad():
            scores = task.validate(learner.averaged_model())
        journal.tell(learner.step, "validation", scores)
    place.wait()
    ending.took("validate", time.monotonic() - started)
    return scores


def _stop_unless_finite(
    place: Place, finite: bool, what: str, learner: Learner, settings: TrainingSettings, file: Path
) -> None:
    if not place.any(not finite):
        return
    first = learner.step * settings.batch_size
    kept = f"{file} holds the last good state" if file.is_file() else "there is no checkpoint yet"
    raise TrainingError(
        f"the {what} of step {learner.step} is not finite (samples {first} to {first + settings.batch_size - 1}, "
        f"seed {settings.seed}); {kept}: look at those samples, or lower learning_rate"
    )
