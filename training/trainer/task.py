"""What a task has to be for the trainer to train it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

from .settings import TrainingSettings

Batch = dict[str, Tensor]


class Task(Protocol):
    """A kind of model: its settings, its data, its network, its loss, and how good it is.

    Batches are a function of the sample numbers alone, so that a resumed run, or one on several machines, sees what
    a single one would have seen.
    """

    TABLES: ClassVar[Mapping[str, type]]  # settings dataclass by name of the config's table

    def __init__(self, tables: Mapping[str, Any], seed: int) -> None: ...

    @classmethod
    def smoke(cls, tables: Mapping[str, Any], settings: TrainingSettings) -> tuple[Mapping[str, Any], TrainingSettings]:
        """Return settings of the same model that learn something within a minute of a CPU."""
        ...

    def model(self) -> nn.Module:
        """Build the network with fresh weights."""
        ...

    def batch(self, first: int, count: int) -> Batch:
        """Make the training samples ``first`` … ``first + count - 1``, as tensors with samples on axis 0."""
        ...

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return what is minimised, and its parts.

        A mean over samples with a divisor that does not depend on the data: only then is the mean over
        processes the mean over all samples.
        """
        ...

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Measure a model, in evaluation mode, on samples that training never sees."""
        ...
