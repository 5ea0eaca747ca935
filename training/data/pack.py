"""The pack: one file with the bodies, motions and panoramas that synthetic people are made of."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from inference.errors import InputError
from inference.shapes import FloatArray

from .body import Body
from .body_poses import PoseBank, pose_bank
from .motion import POSED_BONES, Clip

VERSION = 1
_KIND = "sightline synthetic pack"


@dataclass(frozen=True, eq=False)
class Panorama:
    """A surrounding scene and the light in it."""

    name: str
    picture: NDArray[np.uint8]  # (h, w, 3), square root of linear light; up is the first row, 2π across
    key_direction: FloatArray  # (3,) towards the brightest place, world axes
    key_colour: FloatArray  # (3,) of that light
    above: FloatArray  # (3,) mean light from above
    below: FloatArray  # (3,) mean light from below


@dataclass(frozen=True, eq=False)
class Pack:
    """Everything that scenes are drawn from."""

    body: Body
    clips: tuple[Clip, ...]
    panoramas: tuple[Panorama, ...]

    def split(self, held_out: bool) -> tuple[PoseBank, tuple[Panorama, ...]]:
        """Poses and panoramas for training, or those kept for tests; what has no kept part gives all it has."""
        clips = [clip for clip in self.clips if clip.held_out == held_out] or list(self.clips)
        kept = max(len(self.panoramas) // 6, 1)
        panoramas = self.panoramas[-kept:] if held_out else self.panoramas[:-kept] or self.panoramas
        return pose_bank(clips, self.body), panoramas


def save_pack(pack: Pack, path: Path) -> None:
    """Write a pack; an interrupted write leaves no file of that name."""
    arrays: dict[str, NDArray] = {"kind": np.array(_KIND), "version": np.array(VERSION)}
    arrays |= {f"body/{field.name}": getattr(pack.body, field.name) for field in fields(Body)}
    quaternions = [Rotation.from_matrix(c.rotations.reshape(-1, 3, 3)).as_quat().astype(np.float16) for c in pack.clips]
    arrays["clips/names"] = np.array([clip.name for clip in pack.clips])
    arrays["clips/frames"] = np.array([len(clip.root) for clip in pack.clips])
    arrays["clips/quaternions"] = np.concatenate(quaternions).reshape(-1, len(POSED_BONES), 4)
    arrays["clips/root"] = np.concatenate([clip.root for clip in pack.clips]).astype(np.float32)
    arrays["panoramas/names"] = np.array([one.name for one in pack.panoramas])
    for index, one in enumerate(pack.panoramas):
        arrays[f"panoramas/{index}/picture"] = one.picture
        arrays[f"panoramas/{index}/light"] = np.stack([one.key_direction, one.key_colour, one.above, one.below])
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(path.name + ".part")
    with half.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    half.replace(path)


def load_pack(path: Path) -> Pack:
    """Read a pack.

    Raises:
        InputError: there is none, it is damaged, or another version wrote it; the message names the command.
    """
    again = "build it with: python -m training.data.make_pack --out FILE"
    if not path.is_file():
        raise InputError(f"{path}: no such pack; {again}")
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        if str(arrays["kind"]) != _KIND:
            raise KeyError("kind")
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a pack of synthetic people, or damaged ({error}); {again}") from None
    if int(arrays["version"]) != VERSION:
        raise InputError(f"{path}: a pack of version {int(arrays['version'])}, this is {VERSION}; {again}")
    return Pack(
        Body(**{field.name: arrays[f"body/{field.name}"] for field in fields(Body)}),
        tuple(_clips(arrays)),
        tuple(_panorama(arrays, index, str(name)) for index, name in enumerate(arrays["panoramas/names"])),
    )


def _clips(arrays: dict[str, NDArray]) -> list[Clip]:
    quaternions = arrays["clips/quaternions"].astype(np.float32)
    matrices = Rotation.from_quat(quaternions.reshape(-1, 4)).as_matrix().astype(np.float32)
    matrices = matrices.reshape(-1, len(POSED_BONES), 3, 3)
    ends = np.cumsum(arrays["clips/frames"])[:-1]
    parts = zip(arrays["clips/names"], np.split(matrices, ends), np.split(arrays["clips/root"], ends), strict=True)
    return [Clip(str(name), rotations, root) for name, rotations, root in parts]


def _panorama(arrays: dict[str, NDArray], index: int, name: str) -> Panorama:
    return Panorama(name, arrays[f"panoramas/{index}/picture"], *arrays[f"panoramas/{index}/light"])
