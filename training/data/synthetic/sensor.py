"""From linear light to a picture as cameras make it: blur, exposure, noise, colour, compression."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from inference.shapes import FloatArray

_KERNEL = 9
_FIELDS = ("exposure", "gamma", "contrast", "saturation", "noise", "grey", "block", "red", "blue", "black")


@dataclass(frozen=True, eq=False)
class Sensor:
    """How each of N pictures is taken."""

    kernels: FloatArray  # (N, 9, 9) blur, sums to 1
    values: FloatArray  # (N, len(_FIELDS))
    noise_start: FloatArray  # (N, 2) where in the field of noise a picture begins


def draw_sensor(rng: np.random.Generator, exposure: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Draw one picture's kernel, values and noise start."""
    values = dict.fromkeys(_FIELDS, 0.0)
    values |= {
        "exposure": exposure,
        "gamma": rng.uniform(0.85, 1.2),
        "contrast": np.exp(rng.normal(0, 0.12)),
        "saturation": max(rng.normal(1.0, 0.25), 0),
        "noise": np.exp(rng.uniform(np.log(0.002), np.log(0.05))),
        "grey": float(rng.random() < 0.04),
        "block": rng.uniform(4, 60) if rng.random() < 0.4 else 0.0,
        "red": np.exp(rng.normal(0, 0.06)),
        "blue": np.exp(rng.normal(0, 0.06)),
        "black": rng.uniform(-0.03, 0.06),
    }
    start = rng.integers(0, 256, 2)
    return _draw_kernel(rng), np.array([values[name] for name in _FIELDS]), start


def plain_sensor(exposure: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """No blur, noise or compression: kernel, values and noise start."""
    kernel = np.zeros((_KERNEL, _KERNEL))
    kernel[_KERNEL // 2, _KERNEL // 2] = 1
    values = {"exposure": exposure, "gamma": 1.0, "contrast": 1.0, "saturation": 1.0, "red": 1.0, "blue": 1.0}
    return kernel, np.array([values.get(name, 0.0) for name in _FIELDS]), np.zeros(2)


def _draw_kernel(rng: np.random.Generator) -> FloatArray:
    """Blur by focus, and along a line by motion."""
    grid = np.arange(_KERNEL) - _KERNEL // 2
    x, y = np.meshgrid(grid, grid)
    sigma = rng.uniform(0.3, 0.7) if rng.random() < 0.6 else rng.uniform(0.7, 2.2)
    long = sigma + (rng.uniform(0, 3) if rng.random() < 0.2 else 0)
    angle = rng.uniform(0, np.pi)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    kernel = np.exp(-0.5 * ((u / long) ** 2 + (v / sigma) ** 2))
    return kernel / kernel.sum()


def gather_sensors(drawn: list[tuple[FloatArray, FloatArray, FloatArray]]) -> Sensor:
    """Stack the sensors of N pictures."""
    kernels, values, starts = zip(*drawn, strict=True)
    return Sensor(np.stack(kernels), np.stack(values), np.stack(starts))


def expose(
    linear: Tensor,  # (N, h, w, 3)
    sensor: Sensor,
) -> Tensor:
    """Return (N, h, w, 3) uint8 pictures."""
    device, count = linear.device, len(linear)
    values = torch.tensor(sensor.values, dtype=torch.float32, device=device)
    get = {name: values[:, index, None, None, None] for index, name in enumerate(_FIELDS)}
    picture = linear.permute(0, 3, 1, 2)
    kernels = torch.tensor(sensor.kernels, dtype=torch.float32, device=device)
    if float(kernels[:, _KERNEL // 2, _KERNEL // 2].min()) < 1:
        half = _KERNEL // 2
        padded = torch.nn.functional.pad(picture, (half, half, half, half), mode="replicate")
        weights = kernels[:, None].repeat_interleave(3, 0)
        shape = (1, 3 * count, *padded.shape[2:])
        picture = torch.nn.functional.conv2d(padded.reshape(shape), weights, groups=3 * count).reshape(picture.shape)
    picture = picture * get["exposure"]
    picture = picture * torch.cat([get["red"], torch.ones_like(get["red"]), get["blue"]], dim=1)
    picture = picture.clamp(min=0) / (1 + 0.15 * picture.clamp(min=0))  # the shoulder of a film's curve
    picture = picture.clamp(1e-4, 1) ** (get["gamma"] / 2.2)
    grey = (picture * picture.new_tensor([0.3, 0.59, 0.11])[:, None, None]).sum(1, keepdim=True)
    picture = grey + (picture - grey) * get["saturation"] * (1 - get["grey"])
    picture = (picture - 0.5) * get["contrast"] + 0.5 + get["black"]
    if bool((get["noise"] > 0).any()):
        picture = picture + get["noise"] * _noise(sensor, picture)
    levels = (picture.clamp(0, 1) * 255).round()
    return _compressed(levels, get["block"]).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def _noise(sensor: Sensor, like: Tensor) -> Tensor:
    """(N, 3, h, w) standard normal noise: windows of one field, by each picture's own start."""
    field = _noise_field(like.device)
    height, width = like.shape[2:]
    starts = sensor.noise_start.astype(int) % [1024 - width, 1024 - height]
    return torch.stack([field[:, v : v + height, u : u + width] for u, v in starts])


@lru_cache(maxsize=2)
def _noise_field(device: torch.device) -> Tensor:
    return torch.randn((3, 1024, 1024), generator=torch.Generator().manual_seed(11)).to(device)


def _compressed(levels: Tensor, step: Tensor) -> Tensor:
    """Quantise the cosine coefficients of 8 × 8 blocks with steps that grow with frequency, as JPEG does."""
    chosen = (step[:, 0, 0, 0] > 0).nonzero()[:, 0]
    if not len(chosen):
        return levels
    n = torch.arange(8, dtype=torch.float32, device=levels.device)
    basis = torch.cos((2 * n[None] + 1) * n[:, None] * torch.pi / 16) / 2
    basis[0] /= 2**0.5
    part = levels[chosen]
    height, width = part.shape[2:]
    blocks = part.reshape(-1, 3, height // 8, 8, width // 8, 8).transpose(3, 4)
    frequencies = basis @ blocks @ basis.T
    table = (step[chosen][..., None, None] * (0.15 + (n[:, None] + n[None]) / 7)).clamp(min=1)
    restored = basis.T @ ((frequencies / table).round() * table) @ basis
    result = levels.clone()
    result[chosen] = restored.transpose(3, 4).reshape(part.shape).round()
    return result
