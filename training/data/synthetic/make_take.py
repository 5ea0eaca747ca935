"""Make a take of synthetic people: videos, calibration and truth, ready to be solved.

    python -m training.data.synthetic.make_take --pack FILE --out DIR [--frames 60] [--cameras 4] [--people 1] …
    python -m inference solve DIR/take.toml --out SOLVED
    python tools/compare_truth.py SOLVED/solution.npz DIR/truth.npz

``truth.npz`` holds joint_names (J,), timestamps_s (T,), xyz (T, J, 3) m of the first person, people_xyz (T, P, J, 3) of
everyone, keypoints (T, V, P, J, 2) px of the videos and visible (T, V, P, J).
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from inference.errors import InputError, SolveError
from inference.files.anipose_toml import write_anipose_toml
from inference.perception.crop import whole_image
from inference.shapes import BoolArray, FloatArray
from inference.types import Camera, Intrinsics

from ..body import JOINT_NAMES, bone_index
from ..body_poses import all_bones
from ..motion import FPS, Clip
from ..pack import Pack, load_pack
from .scene import People, draw_scene, look_at
from .sensor import plain_sensor
from .settings import SceneSettings
from .views import SyntheticViews
from .wardrobe import draw_look

_LOG = logging.getLogger(__name__)
_AT_ONCE = 4  # frames that are rendered together
_SPACING_M = 1.1  # between people


@dataclass(frozen=True)
class TakeSettings:
    """What the take shall be."""

    frames: int = 60
    cameras: int = 4
    people: int = 1
    size: tuple[int, int] = (640, 480)  # (width, height) px of the videos; multiples of 16
    held_out: bool = True
    noise: float = 0.01  # of the sensor, share of the full range
    backdrop: str = "room"

    def __post_init__(self) -> None:
        if min(self.frames, self.cameras, self.people) < 1:
            raise InputError("a take needs at least one frame, one camera and one person")
        if min(self.size) < 32 or any(edge % 16 for edge in self.size):
            raise InputError(f"video size {self.size[0]}x{self.size[1]}: both sides must be multiples of 16, from 32")


@dataclass(frozen=True, eq=False)
class Take:
    """What a take's files are written from."""

    cameras: tuple[Camera, ...]
    videos: list[list[NDArray[np.uint8]]]  # by view, then frame: (h, w, 3) RGB
    xyz: FloatArray  # (T, P, J, 3) m
    keypoints: FloatArray  # (T, V, P, J, 2) px
    visible: BoolArray  # (T, V, P, J)


def make_take(pack: Pack, settings: TakeSettings, seed: int) -> Take:
    """Let people of the pack move before a rig of standing cameras and film them."""
    scenes = SceneSettings(
        size=settings.size,
        framing="picture",
        views=settings.cameras,
        held_out=settings.held_out,
        backdrops=(settings.backdrop,),
        occluders=0.0,
        sensor=False,
    )
    views, rng = SyntheticViews(pack, scenes, seed), np.random.default_rng([seed, 0])
    frames = _people_over_time(rng, views, pack, settings)
    places = np.concatenate([people.place for people in frames])
    middle = np.array([*(places.min(axis=0) + places.max(axis=0))[:2] / 2, 0.95])
    reach = float(np.linalg.norm(places[:, :2] - middle[:2], axis=1).max())
    cameras = _rig(rng, settings, middle, reach)
    scene = draw_scene(rng, frames[0], cameras, views.panoramas, middle, replace(scenes, views=settings.cameras))
    regions = [whole_image(settings.size, settings.size)] * settings.cameras
    kernel, values, _ = plain_sensor(1.0)
    values[4] = settings.noise
    videos: list[list[NDArray[np.uint8]]] = [[] for _ in cameras]
    xyz, keypoints, visible = [], [], []
    for start in tqdm(range(0, settings.frames, _AT_ONCE), desc="frames", unit=f" x{_AT_ONCE}"):
        part = frames[start : start + _AT_ONCE]
        staged = [replace(scene, people=people) for people in part]
        sensors = [(kernel, values, rng.integers(0, 256, 2)) for _ in part for _ in cameras]
        batch = views.photograph(staged, views.pose(part), regions * len(part), sensors, range(len(part)))
        for number, picture in enumerate(batch.images.numpy()):
            videos[number % len(cameras)].append(picture)
        shape = (len(part), len(cameras))
        xyz.append(batch.xyz.unflatten(0, shape)[:, 0].numpy())
        keypoints.append(batch.keypoints.unflatten(0, shape).numpy())
        visible.append(batch.visible.unflatten(0, shape).numpy())
    return Take(tuple(cameras), videos, np.concatenate(xyz), np.concatenate(keypoints), np.concatenate(visible))


def _people_over_time(
    rng: np.random.Generator, views: SyntheticViews, pack: Pack, settings: TakeSettings
) -> list[People]:
    """Everyone in every frame: the same shapes and clothes, each with a clip of their own."""
    count = settings.people
    clips = [clip for clip in pack.clips if clip.held_out == settings.held_out] or list(pack.clips)
    long = [clip for clip in clips if len(clip.root) >= settings.frames] or clips
    chosen = [long[rng.integers(len(long))] for _ in range(count)]
    shape, blend = rng.integers(len(pack.body.shapes), size=(count, 2)), rng.uniform(0, 1, count)
    looks = np.stack([draw_look(rng) for _ in range(count)])
    rotations, roots = zip(*(_motion(rng, clip, settings.frames) for clip in chosen), strict=True)
    heads = (
        pack.body.heads[shape[:, 0]] * (1 - blend)[:, None, None] + pack.body.heads[shape[:, 1]] * blend[:, None, None]
    )
    path = [bone_index(f"{name}.L") for name in ("thigh", "shin", "foot")]
    legs = np.linalg.norm(np.diff(heads[:, path], axis=1), axis=2).sum(axis=1)
    places = np.stack(roots, axis=1) * legs[:, None]
    places -= places.mean(axis=0) * [1, 1, 0]
    places[:, :, 0] += (np.arange(count) - (count - 1) / 2) * _SPACING_M
    curl = np.tile(rng.uniform(0.1, 0.8, (count, 2)), (settings.frames, 1, 1))
    turned = all_bones(np.stack(rotations, axis=1), curl)
    afloat = np.zeros(count, dtype=bool)
    frames = [People(shape, blend, turned[t], places[t], afloat, looks) for t in range(settings.frames)]
    lowest = np.full(count, np.inf)
    for start in range(0, settings.frames, 16):
        posed = views.pose(frames[start : start + 16])
        lowest = np.minimum(lowest, posed.crowd.vertices[..., 2].amin(1).reshape(-1, count).amin(0).numpy())
    return [replace(people, place=people.place - np.outer(lowest, [0, 0, 1.0])) for people in frames]


def _motion(rng: np.random.Generator, clip: Clip, frames: int) -> tuple[FloatArray, FloatArray]:
    """A part of a clip, turned to a random heading; a short clip runs forwards and backwards."""
    start = int(rng.integers(max(len(clip.root) - frames, 0) + 1))
    there = np.arange(start, start + frames) % (2 * len(clip.root))
    there = np.minimum(there, 2 * len(clip.root) - 1 - there)
    turn = Rotation.from_euler("z", rng.uniform(0, 2 * np.pi)).as_matrix()
    return turn @ clip.rotations[there].astype(float), clip.root[there].astype(float) @ turn.T


def _rig(rng: np.random.Generator, settings: TakeSettings, middle: FloatArray, reach: float) -> list[Camera]:
    """Cameras on a circle that keep everyone in the picture."""
    start, cameras = rng.uniform(0, 2 * np.pi), []
    size = settings.size
    focal = 1.05 * max(size)
    away = (reach + 1.25) * focal / (0.5 * min(size)) + reach
    for view in range(settings.cameras):
        azimuth = start + 2 * np.pi * (view + rng.uniform(-0.15, 0.15)) / settings.cameras
        flat = np.array([np.cos(azimuth), np.sin(azimuth), 0]) * away * rng.uniform(0.95, 1.1)
        centre = middle * [1, 1, 0] + flat + [0, 0, rng.uniform(1.0, 2.2)]
        K = np.array(
            [[focal, 0, (size[0] - 1) / 2], [0, focal * rng.uniform(0.997, 1.003), (size[1] - 1) / 2], [0, 0, 1]]
        )
        K[:2, 2] += rng.normal(0, 3, 2)
        bent = np.array([rng.uniform(-0.12, -0.04), rng.uniform(0, 0.03), *rng.normal(0, 3e-4, 2), 0])
        lens = Intrinsics(f"cam{view + 1:02d}", size, K, bent)
        cameras.append(look_at(lens, centre, middle + rng.normal(0, 0.05, 3), rng.normal(0, 0.03)))
    return cameras


def write_take(take: Take, out: Path) -> None:
    """Write take.toml, calibration.toml, truth.npz and the videos into a new folder, whole or not at all.

    Raises:
        InputError: the folder exists already.
    """
    if out.exists():
        raise InputError(f"{out} exists already; name a new folder, or remove it")
    half = out.with_name(out.name + ".part")
    shutil.rmtree(half, ignore_errors=True)
    (half / "videos").mkdir(parents=True)
    lines = ["[take]", 'name = "synthetic"', f"persons = {take.xyz.shape[1]}", "", "[calibration]"]
    lines.append('source = "calibration.toml"')
    for camera, pictures in zip(take.cameras, take.videos, strict=True):
        encode(pictures, half / "videos" / f"{camera.name}.mp4")
        lines += ["", "[[view]]", f'name = "{camera.name}"', f'video = "videos/{camera.name}.mp4"']
    (half / "take.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_anipose_toml(half / "calibration.toml", take.cameras)
    np.savez_compressed(
        half / "truth.npz",
        joint_names=np.array(JOINT_NAMES),
        timestamps_s=np.arange(len(take.xyz)) / FPS,
        xyz=take.xyz[:, 0].astype(float),
        people_xyz=take.xyz.astype(float),
        keypoints=take.keypoints,
        visible=take.visible,
    )
    half.replace(out)


def encode(pictures: Sequence[NDArray[np.uint8]], path: Path) -> None:
    """Write pictures (h, w, 3) RGB as H.264."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=round(FPS), options={"crf": "16", "preset": "fast"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="make_take", description=(__doc__ or "").splitlines()[0])
    default = TakeSettings()
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument("--frames", type=int, default=default.frames)
    parser.add_argument("--cameras", type=int, default=default.cameras)
    parser.add_argument("--people", type=int, default=default.people)
    parser.add_argument("--size", type=int, nargs=2, default=default.size, metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backdrop", choices=["room", "panorama", "noise"], default=default.backdrop)
    parser.add_argument("--training-motions", action="store_true", help="instead of those kept for tests")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    try:
        if options.out.exists():
            raise InputError(f"{options.out} exists already; name a new folder, or remove it")
        settings = TakeSettings(
            *(options.frames, options.cameras, options.people, tuple(options.size)),
            held_out=not options.training_motions,
            backdrop=options.backdrop,
        )
        write_take(make_take(load_pack(options.pack), settings, options.seed), options.out)
    except SolveError as error:
        _LOG.error("%s", error)
        return error.exit_code
    _LOG.info("%s: %d frames of %d cameras", options.out / "take.toml", options.frames, options.cameras)
    return 0


if __name__ == "__main__":
    sys.exit(main())
