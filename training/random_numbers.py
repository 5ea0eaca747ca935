"""Random numbers that belong to a sample: the same whoever draws them, in whatever order and company."""

from __future__ import annotations

import torch
from torch import Tensor


def sample_numbers(
    seed: int,
    first: int,  # number of the first sample
    count: int,
    numbers: int,
) -> Tensor:
    """Return (count, numbers) uniform numbers 0–1; row i belongs to sample ``first + i`` of that seed."""
    rows = []
    for index in range(first, first + count):  # each row has a generator of its own
        # Large odd factors keep neighbouring seeds and samples apart; 2**63 is the limit of a seed.
        generator = torch.Generator().manual_seed((seed * 0x9E3779B97F4A7C15 + index * 0xD1B54A32D192ED03 + 1) % 2**63)
        rows.append(torch.rand(numbers, generator=generator))
    return torch.stack(rows) if rows else torch.zeros(0, numbers)
