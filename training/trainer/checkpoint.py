"""Checkpoints: one safetensors file with everything that a training needs to go on, written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from inference.errors import InputError

FILE = "checkpoint.safetensors"
_FORMAT = "sightline training 1"
_WEIGHTS = "sightline weights 1"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Tensors by name (``model/…``, ``ema/…``, ``optimiser/…``, ``random/…``) and facts as plain JSON values."""

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]  # step, config, settings of the optimiser's groups …

    def part(self, name: str) -> dict[str, Tensor]:
        """Return the tensors whose names begin with ``name/``, without it."""
        return {key[len(name) + 1 :]: value for key, value in self.tensors.items() if key.startswith(f"{name}/")}


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint so that a kill at any moment leaves either the old file or the new one, both whole.

    Raises:
        InputError: the folder cannot be written; the old file stands.
    """
    draft = path.with_name(path.name + ".part")
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in checkpoint.tensors.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, str(draft), metadata={"format": _FORMAT, "facts": json.dumps(dict(checkpoint.facts))})
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(draft, path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} cannot be written: {error}; the checkpoint before it still stands") from error


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint onto the CPU.

    Raises:
        InputError: it is missing, truncated, or no checkpoint of ours.
    """
    if not path.is_file():
        raise InputError(f"{path}: no checkpoint here; start the training without --resume")
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} is truncated or no safetensors file ({error}); restore it, or start again") from error
    if metadata.get("format") != _FORMAT:
        raise InputError(f"{path} is no training checkpoint of Sightline; name the folder of a run")
    return Checkpoint(tensors, json.loads(metadata["facts"]))


def write_weights(path: Path, weights: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write a model's weights alone, as float16: what others start their training from.

    Raises:
        InputError: the file cannot be written.
    """
    halved = {key: value.half() if value.is_floating_point() else value for key, value in weights.items()}
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in halved.items()}
    draft = path.with_name(path.name + ".part")
    try:
        save_file(tensors, str(draft), metadata={"format": _WEIGHTS, "facts": json.dumps(dict(facts))})
        os.replace(draft, path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} cannot be written: {error}") from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read weights to start a training from: what `write_weights` wrote, or the averaged ones of a checkpoint.

    Raises:
        InputError: the file is missing, truncated, or neither of the two.
    """
    if not path.is_file():
        raise InputError(f"{path}: no weights here; name a .safetensors file that a training or an export wrote")
    try:
        with safe_open(str(path), framework="pt") as file:
            said = (file.metadata() or {}).get("format")
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} is truncated or no safetensors file ({error}); get it again") from error
    if said == _FORMAT:
        return Checkpoint(tensors, {}).part("ema")
    if said != _WEIGHTS:
        raise InputError(
            f"{path} holds no weights of a model of Sightline; name one that a training or an export wrote"
        )
    return {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}


def read_facts(path: Path) -> dict[str, Any]:
    """Read what a checkpoint or `write_weights` says of where the weights come from: configuration, step, commit.

    Raises:
        InputError: as `read_weights`.
    """
    read_weights(path)
    with safe_open(str(path), framework="pt") as file:
        return json.loads((file.metadata() or {})["facts"])


def load_weights(model: torch.nn.Module, weights: Mapping[str, Tensor], where: str) -> None:
    """Put weights into a model of the same architecture.

    Raises:
        InputError: names or shapes differ; the message names the first that does.
    """
    own = model.state_dict()
    for name in sorted(own.keys() | weights.keys()):
        mine = tuple(own[name].shape) if name in own else "missing"
        theirs = tuple(weights[name].shape) if name in weights else "missing"
        if mine != theirs:
            raise InputError(
                f"{where} holds another architecture: {name} is {theirs} there and {mine} in the config; "
                "use the config of that run, or start without it"
            )
    model.load_state_dict(dict(weights))
