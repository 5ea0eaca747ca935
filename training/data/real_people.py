"""Crops of real people with labels, for training beside synthetic ones.

    python -m training.data.real_people --pack out/people.npz --out out/real.safetensors \
        --take TAKE.toml SOLUTION.npz --views cam01,cam02,cam03 --video clip.mp4 [--every 2]

The labels are BlazePose's. In a solved take all views together decide which side is which, and what is too far from
the solution is no label; in a single video BlazePose is believed. BlazePose's mask cuts people out, so that
`training.real_source` can put them before other backgrounds. Nothing of the result is published: it shows people.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from inference.config import DetectionSettings
from inference.errors import InputError, SolveError
from inference.footage import open_footage, read_frames
from inference.layouts import layout, mirrored, shared_joints
from inference.perception.crop import image_from_crop, region_of_box, transform_points, warp
from inference.perception.detector import Detector, load_detector
from inference.perception.person import Person2D
from inference.shapes import FloatArray

from ..loaders.labelled import LabelledView, in_order
from ..loaders.solved_take import read_solved_take
from .pack import Pack, load_pack
from .person_mask import PersonMask

SIZE = (192, 256)  # (width, height) px of a kept crop
ENLARGE = 1.875  # of the box around the joints: half as much again as a solve looks at, room to turn and shift in
LAYOUT = "sightline_29"
_SURE = 0.5  # BlazePose's score of a joint that counts as seen
_FAR = 0.35  # of the torso: a joint farther than this from the solution is no label
_BACKDROPS = 384


@dataclass(frozen=True, eq=False)
class RealCrop:
    """One person in one picture."""

    image: NDArray[np.uint8]  # (h, w, 3) RGB
    alpha: NDArray[np.uint8]  # (h, w) 255 where the person is
    xy: FloatArray  # (J, 2) px of the crop, NaN where there is no label
    visible: NDArray[np.bool_]  # (J,)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make crops as the command line says; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        cutter = Cutter.ready()
        crops: list[RealCrop] = []
        for take, solution in options.take:
            views = read_solved_take(Path(take), Path(solution), most_sigma_px=60.0, every=options.every)
            crops += cutter.of_views([view for view in views if not options.views or view.camera.name in options.views])
        for video in options.video:
            crops += cutter.of_video(Path(video), options.every)
        if not crops:
            raise InputError("no person was found: name takes with --take, or videos with --video")
        save_crops(crops, backdrops(load_pack(options.pack), _BACKDROPS), options.out)
        sys.stdout.write(f"{options.out}: {len(crops)} crops\n")
        return 0
    except SolveError as error:
        sys.stderr.write(f"real_people: {error}\n")
        return error.exit_code


@dataclass(frozen=True, eq=False)
class Cutter:
    """Finds, labels and cuts out people with BlazePose's networks."""

    detector: Detector
    mask: PersonMask

    @classmethod
    def ready(cls) -> Cutter:
        """Load the networks.

        Raises:
            ModelError: BlazePose is not installed.
        """
        detector = load_detector(DetectionSettings(detector="blazepose"))
        return cls(detector, PersonMask.of(detector.keypoint_card))

    def of_views(self, views: Sequence[LabelledView]) -> Iterator[RealCrop]:
        """Yield the people of solved takes."""
        for image, view in in_order(views):
            known = view.xy[np.isfinite(view.xy).all(axis=1)]
            if len(known) < 8:
                continue
            box = np.concatenate([known.min(axis=0), known.max(axis=0)])
            people = self.detector.settle(image, [region_of_box(box, 1.0, 1.4)])
            agreed = agreement(people[0].xy, view.xy, self.detector.joint_names, view.joint_names) if people else None
            if agreed is not None:
                yield self._crop(image, people[0], agreed)

    def of_video(self, path: Path, every: int) -> Iterator[RealCrop]:
        """Yield the people of a video.

        Raises:
            InputError: it is missing or cannot be read.
        """
        for _, image in read_frames(open_footage(path.name, str(path)), step=every):
            for person in self.detector.detect(image):
                if (person.score > _SURE).mean() > 0.7:
                    yield self._crop(image, person, np.where(person.score[:, None] > _SURE, person.xy, np.nan))

    def _crop(self, image: NDArray[np.uint8], person: Person2D, xy: FloatArray) -> RealCrop:
        known = xy[np.isfinite(xy).all(axis=1)]
        box = np.concatenate([known.min(axis=0), known.max(axis=0)])
        region = region_of_box(box, SIZE[0] / SIZE[1], ENLARGE)
        alpha = self.mask.seen(image, person.region, region, SIZE)
        crop_from_image = np.linalg.inv(np.vstack([image_from_crop(region, SIZE), [0, 0, 1]]))[:2]
        names, ours, theirs = shared_joints(layout(LAYOUT).joint_names, self.detector.joint_names)
        placed = np.full((len(layout(LAYOUT).joint_names), 2), np.nan)
        placed[ours] = transform_points(crop_from_image, xy)[theirs]
        visible = np.zeros(len(placed), bool)
        visible[ours] = person.score[theirs] > _SURE
        return RealCrop(warp(image, region, SIZE), alpha, placed, visible & np.isfinite(placed).all(axis=1))


def agreement(
    found: FloatArray,  # (J, 2) px
    solved: FloatArray,  # (K, 2) px, NaN where not known
    names: tuple[str, ...],  # (J,)
    solved_names: tuple[str, ...],  # (K,)
) -> FloatArray | None:
    """Return detected joints with the sides that a solution says, NaN where the two disagree; None if most do.

    The detection stays where it is: the solution's cameras may be a little off, and that must not move labels.
    """
    _, ours, theirs = shared_joints(names, solved_names)
    where = {name: index for index, name in enumerate(names)}
    swapped = found[[where[mirrored(name)] for name in names]]
    reference = np.full_like(found, np.nan)
    reference[ours] = solved[theirs]
    torso = [reference[where[a]] - reference[where[b]] for a, b in (("left_shoulder", "right_hip"),)]
    torso += [reference[where["right_shoulder"]] - reference[where["left_hip"]]]
    size = float(np.nanmax([np.hypot(*side) for side in torso])) if np.isfinite(torso).any() else float("nan")
    if not np.isfinite(size):
        return None
    away = [np.linalg.norm(each - reference, axis=1) for each in (found, swapped)]
    best = found if np.nanmedian(away[0]) <= np.nanmedian(away[1]) else swapped
    distance = np.linalg.norm(best - reference, axis=1)
    # Joints that the solution lacks (inner eyes, mouth) are believed where their neighbours are.
    good = np.where(np.isfinite(distance), distance <= _FAR * size, np.nanmedian(distance) <= _FAR * size / 2)
    return np.where(good[:, None], best, np.nan) if good[ours].mean() > 0.6 else None


def backdrops(pack: Pack, count: int) -> NDArray[np.uint8]:
    """Return (count, h, w, 3) pictures of the training panoramas, each from a direction and lens of its own."""
    rng = np.random.default_rng(7)
    _, panoramas = pack.split(held_out=False)
    width, height = SIZE
    x, y = np.meshgrid(np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2)
    made = []
    for _ in range(count):
        picture = panoramas[rng.integers(len(panoramas))].picture
        focal = rng.uniform(0.5, 2.0) * height
        roll, pitch, yaw = rng.normal(0, 0.15), rng.normal(0.1, 0.35), rng.uniform(-np.pi, np.pi)
        rays = np.stack([np.cos(roll) * x - np.sin(roll) * y, np.sin(roll) * x + np.cos(roll) * y, 0 * x + focal], -1)
        rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
        down = np.cos(pitch) * rays[..., 1] + np.sin(pitch) * rays[..., 2]
        ahead = -np.sin(pitch) * rays[..., 1] + np.cos(pitch) * rays[..., 2]
        column = ((np.arctan2(rays[..., 0], ahead) + yaw) / (2 * np.pi) + 0.5) % 1 * (picture.shape[1] - 1)
        row = (np.arcsin(np.clip(down, -1, 1)) / np.pi + 0.5) * (picture.shape[0] - 1)
        seen = cv2.remap(picture, column.astype(np.float32), row.astype(np.float32), cv2.INTER_LINEAR)
        made.append(np.clip(seen * rng.uniform(0.7, 1.3), 0, 255).astype(np.uint8))
    return np.stack(made)


def save_crops(crops: Sequence[RealCrop], behind: NDArray[np.uint8], path: Path) -> None:
    """Write crops and backgrounds as one safetensors file."""
    tensors = {
        "image": torch.from_numpy(np.stack([np.moveaxis(crop.image, -1, 0) for crop in crops]).copy()),
        "alpha": torch.from_numpy(np.stack([crop.alpha for crop in crops])),
        "xy": torch.from_numpy(np.stack([crop.xy for crop in crops]).astype(np.float32)),
        "visible": torch.from_numpy(np.stack([crop.visible for crop in crops])),
        "backdrops": torch.from_numpy(np.moveaxis(behind, -1, 1).copy()),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    save_file(tensors, str(draft), metadata={"layout": LAYOUT})
    draft.replace(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.data.real_people", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--take", nargs=2, action="append", default=[], metavar=("TAKE.toml", "SOLUTION.npz"))
    parser.add_argument("--views", type=lambda text: text.split(","), default=[], help="of the takes; default: all")
    parser.add_argument("--video", action="append", default=[], metavar="F.mp4")
    parser.add_argument("--every", type=int, default=2, help="take each n-th frame")
    parser.add_argument("--pack", type=Path, required=True, help="training.data.make_pack's; for its panoramas")
    parser.add_argument("--out", type=Path, required=True, metavar="F.safetensors")
    return parser


if __name__ == "__main__":
    sys.exit(main())
