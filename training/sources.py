"""Where training samples come from: a function of the sample numbers for every source that a config can name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from inference.config import nearest_key
from inference.errors import InputError
from inference.layouts import layout

from . import stick_figures
from .trainer.task import Batch
from .view_cache import SHARD, cached

HELD_OUT_SEED = 900_000_001  # of validation; no config's seed comes near it
SOURCES = ("synthetic", "stick_figures")


@dataclass(frozen=True)
class Origin:
    """Where the samples of a source come from, and what that means for a model trained on them."""

    what: str
    licence: str  # of such a model


ORIGINS = {
    "synthetic": Origin(
        "synthetic people rendered by training/data (bodies: MakeHuman, CC0; motion: CMU Graphics Lab, free for any "
        "use, created with funding from NSF EIA-0196217; panoramas: Poly Haven, CC0)",
        "GPL-3.0-or-later",
    ),
    "stick_figures": Origin("stick figures drawn by training/stick_figures.py; for tests alone", "CC0-1.0"),
}

Source = Callable[[int, int], Batch]  # number of the first sample, how many


@dataclass(frozen=True)
class DataSettings:
    """What the network sees."""

    source: str = "synthetic"
    layout: str = "sightline_29"
    size: tuple[int, int] = (192, 256)  # (width, height) px of the network's input
    views: int = 0  # different samples that are made; 0 = a new one every time
    validation_views: int = 256
    pack: str = "out/people.npz"  # what synthetic people are made of: training/data/make_pack.py
    cache: str = ""  # folder that keeps ``views`` samples once they are made; "" = none
    real: str = ""  # crops of real people, mixed into training alone: training/data/real_people.py; "" = none
    real_share: float = 0.4  # of the samples, where ``real`` is given
    real_origin: str = ""  # whose pictures they are and under which licence, for the model card

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise InputError(f"[data]: source = {self.source!r}{nearest_key(self.source, SOURCES)}")
        layout(self.layout)
        if min(self.size) < 32 or any(edge % 32 for edge in self.size):
            raise InputError(f"[data]: size = {list(self.size)} must be two multiples of 32")
        if self.views < 0 or self.validation_views < 1:
            raise InputError("[data]: views must not be negative, and validation_views must be above 0")
        if not 0 < self.real_share < 1:
            raise InputError(f"[data]: real_share = {self.real_share} must lie between 0 and 1")
        if self.real and not self.real_origin.strip():
            raise InputError("[data]: real needs real_origin: whose pictures these are, and under which licence")


def keypoint_source(settings: DataSettings, seed: int, held_out: bool = False) -> Source:
    """Return what makes crops of single people with their keypoints.

    Batches hold ``image`` (N, 3, H, W) uint8 RGB, ``xy`` (N, J, 2) px, ``inside`` and ``visible`` (N, J) bool.

    Raises:
        InputError: the source needs something that is not there.
    """
    if settings.source == "stick_figures":
        if settings.layout != stick_figures.LAYOUT:
            raise InputError(f"[data]: stick figures have the layout {stick_figures.LAYOUT!r} alone")
        made = partial(stick_figures.keypoint_samples, size=settings.size, seed=seed)
    else:
        from . import synthetic_source  # here: smoke runs and tests need no renderer

        made = synthetic_source.keypoint_samples(Path(settings.pack), settings.size, seed, held_out, settings.layout)
    source = _kept(made, settings, seed, "held_out" if held_out else "crops")
    if not settings.real or held_out:
        return source
    from .real_source import real_samples  # here: synthetic people need no file of crops

    real = real_samples(Path(settings.real), settings.size, seed, settings.layout)
    return mixed(source, real, settings.real_share)


def mixed(first_source: Source, second_source: Source, share: float) -> Source:
    """Return a source of which that share of the samples, evenly spread, is of the second."""
    per_mille = round(1000 * share)

    def samples(first: int, count: int) -> Batch:
        before = [index * per_mille // 1000 for index in range(first, first + count + 1)]
        second = torch.tensor([after > now for now, after in zip(before[:-1], before[1:], strict=True)])
        parts = [(~second, first_source(first - before[0], count - before[-1] + before[0]))] if not second.all() else []
        if second.any():
            parts.append((second, second_source(before[0], before[-1] - before[0])))
        rows = torch.cat([where.nonzero()[:, 0] for where, _ in parts]).argsort()
        return {key: torch.cat([part[key] for _, part in parts])[rows] for key in parts[0][1]}

    return samples


def person_source(settings: DataSettings, seed: int, held_out: bool = False) -> Source:
    """Return what makes pictures of several people: ``image``, and ``boxes`` (N, P, 4) px, NaN where nobody is.

    Raises:
        InputError: the source needs something that is not there.
    """
    if settings.source == "stick_figures":
        made = partial(stick_figures.person_samples, size=settings.size, seed=seed)
    else:
        from . import synthetic_source  # here: smoke runs and tests need no renderer

        made = synthetic_source.person_samples(Path(settings.pack), settings.size, seed, held_out)
    source = _kept(made, settings, seed, "held_out_pictures" if held_out else "pictures")
    if not settings.real or held_out:
        return source
    from .real_pictures import real_pictures  # here: synthetic people need no file of crops

    real = real_pictures(Path(settings.real), settings.size, seed, settings.layout)
    return mixed(source, real, settings.real_share)


def held_out_settings(settings: DataSettings) -> DataSettings:
    """Return the settings of the validation samples: as many different ones as are wanted, kept where samples are."""
    whole_files = -(-settings.validation_views // SHARD) * SHARD
    return dataclasses.replace(settings, views=whole_files if settings.cache else 0)


def validation_batches(source: Source, views: int, size: int = 16) -> Iterator[Batch]:
    """Yield the first samples of a source in batches."""
    for first in range(0, views, size):
        yield source(first, min(size, views - first))


def _kept(source: Source, settings: DataSettings, seed: int, what: str) -> Source:
    if settings.cache and settings.views:
        name = f"{settings.source}_{what}_{settings.size[0]}x{settings.size[1]}_{seed}"
        return cached(source, Path(settings.cache) / name, settings.views)
    return _limited(source, settings.views)


def _limited(source: Source, views: int) -> Source:
    """Let sample numbers run around a limited number of views."""
    if not views:
        return source

    def around(first: int, count: int) -> Batch:
        parts, left = [], count
        while left:
            start = (first + count - left) % views
            step = min(left, views - start)
            parts.append(source(start, step))
            left -= step
        return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}

    return around
