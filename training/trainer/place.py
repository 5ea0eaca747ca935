"""Where a training runs: the device, and this process among several started by ``torchrun``."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from inference.errors import InputError


@dataclass(frozen=True)
class Place:
    """A device, and this process's number among all."""

    device: torch.device
    rank: int = 0
    world: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.rank == 0

    def any(self, condition: bool) -> bool:
        """Tell whether the condition holds in any process; all get the same answer."""
        if self.world == 1:
            return condition
        flag = torch.tensor(float(condition), device=self.device)
        distributed.all_reduce(flag, op=distributed.ReduceOp.MAX)
        return bool(flag.item())

    def mean(self, value: Tensor) -> float:
        """Return the mean of a number over all processes."""
        value = value.detach().float()
        if self.world > 1:
            distributed.all_reduce(value)
        return value.item() / self.world

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.world > 1:
            distributed.barrier()


def open_place(device: str) -> Place:
    """Choose the device, and join the other processes where ``torchrun`` started several.

    Args:
        device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:N``; with ``torchrun`` each process
            takes the GPU of its local rank.

    Raises:
        InputError: the device is not known or not there.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    name = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    try:
        chosen = torch.device(name)
    except RuntimeError:
        raise InputError(f"--device {device!r} is not known; use auto, cpu, cuda or cuda:N") from None
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"--device {device}: this machine or this PyTorch has no CUDA; use --device cpu")
    if chosen.type == "cuda" and world > 1:
        chosen = torch.device("cuda", local)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if world > 1:
        distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    return Place(chosen, distributed.get_rank() if world > 1 else 0, world)


def close_place(place: Place) -> None:
    """Leave the group of processes."""
    if place.world > 1:
        distributed.destroy_process_group()
