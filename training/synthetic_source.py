"""Synthetic people as training samples: the renderer of `training.data` behind the form that all sources have."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch

from inference.errors import InputError
from inference.layouts import layout

from .data.body import JOINT_NAMES
from .data.pack import Pack, load_pack
from .data.synthetic.settings import SceneSettings
from .data.synthetic.views import SyntheticViews
from .picture_augmentation import boxes_in_picture
from .trainer.task import Batch

_ATONCE = 8  # scenes rendered together; more need more memory and save little time


@lru_cache(maxsize=1)
def _pack(path: Path) -> Pack:
    return load_pack(path)


def keypoint_samples(
    pack: Path, size: tuple[int, int], seed: int, held_out: bool, layout_name: str
) -> Callable[[int, int], Batch]:
    """Return the source of crops around the first person of each scene; see `sources.keypoint_source`."""
    views = SyntheticViews(_pack(pack), SceneSettings(size=size, held_out=held_out), seed)
    names = layout(layout_name).joint_names
    absent = [name for name in names if name not in JOINT_NAMES]
    if absent:
        raise InputError(f"[data]: synthetic people have no joint {absent[0]!r} of the layout {layout_name!r}")
    order = [JOINT_NAMES.index(name) for name in names]

    def samples(first: int, count: int) -> Batch:
        parts = []
        for start in range(first, first + count, _ATONCE):
            made = views.batch(range(start, min(start + _ATONCE, first + count)))
            parts.append(
                {
                    "image": made.images.permute(0, 3, 1, 2).contiguous(),
                    "xy": made.keypoints[:, 0, order],
                    "inside": made.inside[:, 0, order],
                    "visible": made.visible[:, 0, order],
                }
            )
        return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}

    return samples


def person_samples(pack: Path, size: tuple[int, int], seed: int, held_out: bool) -> Callable[[int, int], Batch]:
    """Return the source of whole pictures with the boxes of all people; see `sources.person_source`."""
    settings = SceneSettings(size=size, held_out=held_out, framing="picture")
    views = SyntheticViews(_pack(pack), settings, seed)

    def samples(first: int, count: int) -> Batch:
        images, boxes = [], []
        for start in range(first, first + count, _ATONCE):
            made = views.batch(range(start, min(start + _ATONCE, first + count)))
            images.append(made.images.permute(0, 3, 1, 2))
            found = torch.full((len(made.boxes), settings.most_people, 4), torch.nan)
            found[:, : made.boxes.shape[1]] = boxes_in_picture(made.boxes, size)
            boxes.append(found)
        return {"image": torch.cat(images).contiguous(), "boxes": torch.cat(boxes)}

    return samples
