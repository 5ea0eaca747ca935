"""A training configuration: TOML tables read into frozen dataclasses; every default stands beside its meaning.

system = "detector"        # which family of models; tasks/known.py lists them
task = "keypoints"         # which of the family's; the first one where it is left out
name = "sightline_s"       # of the model card
[training] …               # TrainingSettings
[data] [network] [loss] …  # whatever tables the task has
"""

from __future__ import annotations

import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from inference.config import checked_table, nearest_key
from inference.errors import InputError

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
_POSITIVE = ("steps", "batch_size", "learning_rate", "gradient_norm", "checkpoint_every", "log_every")

Table = TypeVar("Table")


@dataclass(frozen=True)
class TrainingSettings:
    """How a model is trained, whatever it is."""

    steps: int = 20_000
    batch_size: int = 32  # samples of a step, over all processes together
    learning_rate: float = 1e-3  # the highest; cosine to a hundredth of it
    warmup_steps: int = 200
    weight_decay: float = 1e-4  # AdamW; of matrices and kernels alone
    gradient_norm: float = 5.0  # longer gradients are cut to this
    ema_decay: float = 0.999  # of the averaged weights that are validated and shipped
    precision: str = "auto"  # auto: bf16 on CUDA, else fp32
    seed: int = 1
    checkpoint_every: int = 200  # steps
    validate_every: int = 2_000  # steps; 0 = only at the end
    log_every: int = 10  # steps
    workers: int = 0  # processes that make batches ahead

    def __post_init__(self) -> None:
        for key in _POSITIVE:
            if not getattr(self, key) > 0:
                raise InputError(f"[training]: {key} = {getattr(self, key)} must be above 0")
        for key in ("warmup_steps", "weight_decay", "validate_every", "workers", "seed"):
            if getattr(self, key) < 0:
                raise InputError(f"[training]: {key} = {getattr(self, key)} must not be negative")
        if not 0 <= self.ema_decay < 1:
            raise InputError(f"[training]: ema_decay = {self.ema_decay} must lie in 0 … 1, 1 left out")
        if self.precision not in PRECISIONS:
            raise InputError(f"[training]: precision = {self.precision!r}{nearest_key(self.precision, PRECISIONS)}")


@dataclass(frozen=True)
class Config:
    """A configuration file: what is trained, how, and the task's own tables by name."""

    system: str
    task: str
    name: str
    training: TrainingSettings
    tables: Mapping[str, Any]  # name of a table -> its dataclass


def read_config(path: Path, tasks: Mapping[str, Mapping[str, type]]) -> Config:
    """Read a configuration.

    Args:
        path: a TOML file.
        tasks: by system and name, each a class with ``TABLES``: dataclass by name of table.

    Raises:
        InputError: the file cannot be read, or has an unknown key, a wrong type or a senseless value; one line
            that names the nearest known key.
    """
    try:
        return config_from(tomllib.loads(path.read_text(encoding="utf-8")), tasks, str(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML: {error}") from error


def config_from(raw: Mapping[str, Any], tasks: Mapping[str, Mapping[str, type]], where: str) -> Config:
    """Turn the tables of a TOML file into a `Config`; see `read_config`."""
    system = _chosen(raw, "system", tuple(tasks), where)
    task = _chosen(raw, "task", tuple(tasks[system]), where)
    tables: Mapping[str, type] = getattr(tasks[system][task], "TABLES")  # noqa: B009 - a class attribute of every task
    known = {"system", "task", "name", "training", *tables}
    for key in raw:
        if key not in known:
            raise InputError(f"{where}: unknown key {key!r}{nearest_key(key, known)}")
    return Config(
        system,
        task,
        str(raw.get("name", Path(where).stem)),
        read_table(raw.get("training", {}), TrainingSettings, f"{where}: [training]"),
        {name: read_table(raw.get(name, {}), kind, f"{where}: [{name}]") for name, kind in tables.items()},
    )


def read_table(raw: Any, kind: type[Table], where: str) -> Table:
    """Make a settings dataclass from a TOML table; unknown keys and wrong types are errors that name the place."""
    return kind(**checked_table(raw, typing.get_type_hints(kind), where))


def _chosen(raw: Mapping[str, Any], key: str, known: tuple[str, ...], where: str) -> str:
    value = raw.get(key, known[0] if key == "task" else None)
    if value is None:
        raise InputError(f"{where}: missing {key}; known: {', '.join(known)}")
    if value not in known:
        raise InputError(f"{where}: unknown {key} {value!r}{nearest_key(str(value), known)}")
    return value
