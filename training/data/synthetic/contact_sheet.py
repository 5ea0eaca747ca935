"""A picture to look at: many synthetic pictures with their keypoints.

    python -m training.data.synthetic.contact_sheet --pack FILE --out sheet.png [--views 4] [--plain] …

Keypoints: the subject's left is orange, the right is blue, the middle white; filled where visible, a ring where hidden.
"""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from inference.errors import InputError, SolveError

from ..body import JOINT_NAMES
from ..pack import load_pack
from .settings import BASIC, EVERYTHING, SceneSettings
from .views import SyntheticViews, ViewBatch

_COLOURS = {"l": (255, 140, 0), "r": (40, 110, 255), "": (255, 255, 255)}
_LIMBS = (
    *(f"{s}_{a}-{s}_{b}" for s in ("left", "right") for a, b in (("shoulder", "elbow"), ("elbow", "wrist"))),
    *(f"{s}_{a}-{s}_{b}" for s in ("left", "right") for a, b in (("hip", "knee"), ("knee", "ankle"))),
    *("left_shoulder-right_shoulder", "left_hip-right_hip", "neck-head_top", "left_ankle-left_big_toe"),
    *("right_ankle-right_big_toe", "left_wrist-left_index", "right_wrist-right_index"),
)
_LOG = logging.getLogger(__name__)


def tile(batch: ViewBatch, number: int, marks: bool) -> NDArray[np.uint8]:
    """Return one picture (h, w, 3) of a batch, with everyone's keypoints drawn on top."""
    picture = batch.images[number].cpu().numpy().copy()
    if not marks:
        return picture
    for person in range(batch.keypoints.shape[1]):
        xy = batch.keypoints[number, person].cpu().numpy()
        seen = batch.visible[number, person].cpu().numpy()
        for limb in _LIMBS:
            ends = [JOINT_NAMES.index(name) for name in limb.split("-")]
            if np.isfinite(xy[ends]).all() and np.abs(xy[ends]).max() < 4000:
                a, b = (tuple(int(round(v)) for v in xy[end]) for end in ends)
                cv2.line(picture, a, b, _colour(limb), 1, cv2.LINE_AA)
        for joint, name in enumerate(JOINT_NAMES):
            if np.isfinite(xy[joint]).all() and np.abs(xy[joint]).max() < 4000:
                at = tuple(int(round(v)) for v in xy[joint])
                cv2.circle(picture, at, 2, _colour(name), -1 if seen[joint] else 1, cv2.LINE_AA)
    return picture


def _colour(name: str) -> tuple[int, int, int]:
    first, last = name.split("-")[0], name.split("-")[-1]
    same = first.split("_")[0] == last.split("_")[0]
    return _COLOURS[name[0] if same and name.startswith(("left", "right")) else ""]


def sheet(tiles: list[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Lay tiles of one size out in rows."""
    blank = np.zeros_like(tiles[0])
    tiles = tiles + [blank] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)]
    return np.vstack(rows)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="contact_sheet", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the picture, .png or .jpg")
    parser.add_argument("--scenes", type=int, default=32)
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--views", type=int, default=1, help="cameras of each scene")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plain", action="store_true", help="without keypoints")
    parser.add_argument("--basic", action="store_true", help="the basic setting instead of every feature")
    parser.add_argument("--picture", action="store_true", help="whole camera pictures instead of crops")
    parser.add_argument("--held-out", action="store_true", help="motions and panoramas that are kept for tests")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings: SceneSettings = BASIC if options.basic else EVERYTHING
    settings = replace(settings, views=options.views, held_out=options.held_out)
    if options.picture:
        settings = replace(settings, framing="picture", size=(256, 192))
    torch.set_num_threads(1)
    try:
        if min(options.scenes, options.columns, options.views) < 1:
            raise InputError("--scenes, --columns and --views must be at least 1")
        views = SyntheticViews(load_pack(options.pack), settings, options.seed)
        tiles = []
        for start in range(0, options.scenes, 8):
            batch = views.batch(range(start, min(start + 8, options.scenes)))
            tiles += [tile(batch, number, not options.plain) for number in range(len(batch.images))]
        if not cv2.imwrite(str(options.out), sheet(tiles, options.columns)[..., ::-1]):
            raise InputError(f"{options.out}: cannot be written; check the folder and the suffix")
    except (SolveError, cv2.error) as error:
        _LOG.error("%s", error)
        return getattr(error, "exit_code", 2)
    _LOG.info("%s: %d pictures", options.out, len(tiles))
    return 0


if __name__ == "__main__":
    sys.exit(main())
