"""Samples kept on disk: made once, read again in every later pass; for machines on which making them takes longest."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from inference.errors import InputError

from .trainer.task import Batch

SHARD = 64  # samples of a file
_STRIDE = 7919  # prime: neighbours in training are strangers in the files


def cached(source: Callable[[int, int], Batch], folder: Path, views: int) -> Callable[[int, int], Batch]:
    """Return a source of ``views`` different samples that makes each once and then reads it from a folder.

    Convention:
        sample i of the result is sample ``7919 i mod views`` of the source, so that a batch holds others in each pass.
        Files that are not there yet are made when needed; several processes may share a folder. A folder belongs to
        one source: the caller names it after everything that the samples depend on.

    Raises:
        InputError: ``views`` is no multiple of the file's samples, or a file is damaged.
    """
    if views <= 0 or views % SHARD or views % _STRIDE == 0:
        raise InputError(f"[data]: with a cache, views = {views} must be a multiple of {SHARD} above 0")
    opened: dict[int, safe_open] = {}

    def read(first: int, count: int) -> Batch:
        rows: list[Batch] = []
        for index in range(first, first + count):
            shard, row = divmod(index * _STRIDE % views, SHARD)
            if shard not in opened:
                opened[shard] = _open(source, folder, shard)
            rows.append({key: opened[shard].get_slice(key)[row : row + 1] for key in opened[shard].keys()})
        return {key: torch.cat([row[key] for row in rows]) for key in rows[0]}

    return read


def make_shard(source: Callable[[int, int], Batch], folder: Path, shard: int) -> Path:
    """Make one file of samples unless it is there; return its path. A kill leaves no half-written file."""
    path = folder / f"{shard:06d}.safetensors"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}.part")
        save_file({key: value.contiguous() for key, value in source(shard * SHARD, SHARD).items()}, str(draft))
        os.replace(draft, path)
    return path


def _open(source: Callable[[int, int], Batch], folder: Path, shard: int) -> safe_open:
    path = make_shard(source, folder, shard)
    try:
        return safe_open(str(path), framework="pt")
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} is damaged ({error}): delete it, and it is made again") from error
