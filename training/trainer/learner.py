"""All that changes while training: weights, their running average, the optimiser, the step."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from inference.errors import InputError

from .checkpoint import Checkpoint, load_weights
from .place import Place
from .settings import TrainingSettings

_BACKBONE = "backbone."


class Learner:
    """A model in training."""

    def __init__(self, model: nn.Module, settings: TrainingSettings, place: Place) -> None:
        # Channels last: convolutions in bfloat16 are twice as fast that way on a CPU, and on tensor cores.
        self.model = model.to(place.device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.parallel: nn.Module = self.model
        if place.world > 1:
            devices = [place.device] if place.device.type == "cuda" else None
            self.parallel = DistributedDataParallel(self.model, device_ids=devices)
        self.average = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self.optimiser = torch.optim.AdamW(
            _groups(self.model, settings.weight_decay), lr=settings.learning_rate, fused=True
        )
        self.precision = precision(settings.precision, place.device)
        self.scaler = torch.amp.GradScaler(place.device.type, enabled=self.precision is torch.float16)
        self.settings = settings
        self.step = 0

    def start_from(self, weights: Mapping[str, Tensor], where: str) -> None:
        """Take the weights of another training; everything else begins anew.

        Raises:
            InputError: they are of another architecture.
        """
        load_weights(self.model, weights, where)
        for name, value in self.model.state_dict().items():
            self.average[name].copy_(value)

    def start_backbone_from(self, weights: Mapping[str, Tensor], where: str) -> None:
        """Take the backbone of a model that may have another head; a part of it that this one lacks is left out.

        Raises:
            InputError: it has no such backbone.
        """
        own = self.model.state_dict()
        wanted = {name for name in own if name.startswith(_BACKBONE)}
        if not wanted or not any(name.startswith(_BACKBONE) for name in weights):
            raise InputError(f"{where}: it or the model of the config has no backbone; start with whole weights")
        taken = {name: weights[name] for name in wanted & weights.keys()}
        self.start_from({name: own[name] for name in own.keys() - wanted} | taken, where)

    def autocast(self) -> torch.autocast:
        """Return the context in which the loss is computed."""
        device = next(self.model.parameters()).device.type
        return torch.autocast(device, dtype=self.precision, enabled=self.precision is not torch.float32)

    def learn(self, loss: Tensor) -> float:
        """Go one step down the gradient; return the gradient's length before it was cut."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.settings, self.step)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimiser)
        length = nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.gradient_norm).item()
        # float16 overflows now and then, and its scaler leaves such steps out; elsewhere the caller stops.
        if math.isfinite(length) or self.scaler.is_enabled():
            self.scaler.step(self.optimiser)
            self.scaler.update()
            self._follow()
            self.step += 1
        self.optimiser.zero_grad(set_to_none=True)
        return length

    def _follow(self) -> None:
        """Move the average towards the weights; a young average follows faster."""
        decay = min(self.settings.ema_decay, (1 + self.step) / (10 + self.step))
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value.detach(), 1 - decay)
            else:
                self.average[name].copy_(value)

    def averaged_model(self) -> nn.Module:
        """Return a copy of the model with the averaged weights, ready for use."""
        copied = copy.deepcopy(self.model)
        copied.load_state_dict(self.average)
        return copied.eval()

    def checkpoint(self, facts: dict[str, Any]) -> Checkpoint:
        """Return everything that is needed to go on from here as if nothing had happened."""
        tensors = {f"model/{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"ema/{name}": value for name, value in self.average.items()}
        for index, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser/{index}/{key}": torch.as_tensor(value) for key, value in state.items()}
        tensors["random/cpu"] = torch.get_rng_state()
        if torch.cuda.is_available():
            tensors["random/cuda"] = torch.cuda.get_rng_state()
        return Checkpoint(tensors, {**facts, "step": self.step, "scaler": self.scaler.state_dict()})

    def restore(self, checkpoint: Checkpoint, where: str) -> None:
        """Go on from a checkpoint.

        Raises:
            InputError: it is of another architecture.
        """
        load_weights(self.model, checkpoint.part("model"), where)
        for name, value in checkpoint.part("ema").items():
            self.average[name].copy_(value)
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in checkpoint.part("optimiser").items():
            index, name = key.split("/")
            state.setdefault(int(index), {})[name] = value
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": state})
        random = checkpoint.part("random")
        torch.set_rng_state(random["cpu"])
        if "cuda" in random and torch.cuda.is_available():
            torch.cuda.set_rng_state(random["cuda"])
        if checkpoint.facts["scaler"] and self.scaler.is_enabled():
            self.scaler.load_state_dict(checkpoint.facts["scaler"])
        self.step = checkpoint.facts["step"]


def learning_rate(settings: TrainingSettings, step: int) -> float:
    """Return the rate of a step: a linear warm-up, then half a cosine to a hundredth (Loshchilov & Hutter 2017)."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    share = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    return settings.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * min(1.0, share))) / 2)


def precision(name: str, device: torch.device) -> torch.dtype:
    """Return the type in which convolutions are computed."""
    if name == "auto":
        name = "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name]


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay pulls kernels and matrices towards zero, never biases, scales of norms and degrees of freedom."""
    parameters = [value for value in model.parameters() if value.requires_grad]
    return [
        {"params": [value for value in parameters if value.ndim > 1], "weight_decay": weight_decay},
        {"params": [value for value in parameters if value.ndim <= 1], "weight_decay": 0.0},
    ]
