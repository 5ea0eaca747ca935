"""Batches of synthetic pictures with their truth, for training and for takes.

    for batch in SyntheticViews(load_pack(path), SceneSettings(), seed=1).batches(32, count=100): ...

Scene ``index`` of a seed is the same in every process and batch size; `batches_in_processes` makes batches in several.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from inference.geometry.projection import project
from inference.perception.crop import Region, region_of_box, whole_image
from inference.shapes import FloatArray
from inference.types import Camera

from ..body import JOINT_NAMES, PosedBodies, pose_bodies, vertex_normals
from ..pack import Pack, load_pack
from .backdrop import Surroundings
from .lens import Views, make_views
from .render import Crowd, Mesh, Rendered, render
from .scene import LIGHT_WIDTH, SOLID_WIDTH, People, Scene, draw_cameras, draw_people, draw_scene
from .sensor import draw_sensor, expose, gather_sensors, plain_sensor
from .settings import SceneSettings
from .wardrobe import BodyCoordinates, Looks, thickness

_HIDDEN_M = {  # how far a joint lies behind the skin that faces the camera, at most
    **{"nose": 0.03, "eye": 0.03, "ear": 0.05, "shoulder": 0.11, "elbow": 0.075, "wrist": 0.06, "hip": 0.18},
    **{"knee": 0.10, "ankle": 0.075, "neck": 0.11, "head_top": 0.06, "big_toe": 0.05, "small_toe": 0.05, "heel": 0.08},
    **{"index": 0.05, "pinky": 0.05},
}
_MARGIN_M = np.array([_HIDDEN_M[name.removeprefix("left_").removeprefix("right_")] for name in JOINT_NAMES])
_OUTLINE = 7  # every so many vertices stand for the body where its box is sought


@dataclass(frozen=True, eq=False)
class ViewBatch:
    """N pictures with their truth. Views of one scene follow each other.

    Coordinates are pixels of the pictures, centre of the first at 0, 0. People stand in the order of the scene, the
    one that a crop is made around first; missing people are NaN, and not visible.
    """

    images: Tensor  # (N, h, w, 3) uint8 RGB
    keypoints: Tensor  # (N, P, J, 2) px; NaN behind the camera
    visible: Tensor  # (N, P, J) bool: inside the picture, and nothing stands before it
    inside: Tensor  # (N, P, J) bool: inside the picture, seen or not
    boxes: Tensor  # (N, P, 4) x1, y1, x2, y2 px around the whole body, also outside the picture
    mask: Tensor  # (N, h, w) uint8: 1 + the person's number, 0 where no person is seen
    xyz: Tensor  # (N, P, J, 3) m, world
    R: Tensor  # (N, 3, 3) camera from world
    t: Tensor  # (N, 3) m
    K: Tensor  # (N, 3, 3) px of the camera's image
    distortion: Tensor  # (N, 8): OpenCV's first eight, or the four of a fisheye
    fisheye: Tensor  # (N,) bool
    crop_from_image: Tensor  # (N, 2, 3)
    scene: Tensor  # (N,) int64 index of the scene under the seed

    def to(self, device: torch.device | str) -> ViewBatch:
        """Return the batch on another device."""
        return ViewBatch(*(getattr(self, field.name).to(device, non_blocking=True) for field in fields(self)))

    def pin_memory(self) -> ViewBatch:
        """Return the batch in memory that a GPU copies from quickly; the loader calls this."""
        return ViewBatch(*(getattr(self, field.name).pin_memory() for field in fields(self)))


@dataclass(frozen=True, eq=False)
class Posed:
    """People of several scenes, posed and dressed."""

    crowd: Crowd
    joints: Tensor  # (P, J, 3) m, world


class SyntheticViews:
    """Draws scenes by index and renders them."""

    def __init__(self, pack: Pack, settings: SceneSettings, seed: int, device: torch.device | str = "cpu") -> None:
        """Take a pack, what scenes shall be like, and the seed that all chance comes from."""
        self.settings, self.seed, self.device = settings, seed, torch.device(device)
        self.bank, self.panoramas = pack.split(settings.held_out)
        self.body = pack.body
        body = pack.body
        tensors = (body.triangles, body.regions, body.template, body.template_keypoints)
        self.mesh = Mesh(*(torch.as_tensor(array, device=self.device) for array in tensors))
        pictures = [panorama.picture for panorama in self.panoramas]
        sizes = {picture.shape for picture in pictures}
        stacked = np.stack(pictures) if len(sizes) == 1 else np.zeros((0, 1, 1, 3), np.uint8)
        self.pictures = torch.as_tensor(stacked, device=self.device)

    def rng(self, index: int) -> np.random.Generator:
        """All chance of one scene."""
        return np.random.default_rng([self.seed, index])

    def batches(self, scenes: int, count: int | None = None, start: int = 0, step: int = 1) -> Iterator[ViewBatch]:
        """Yield batches of that many scenes: batch ``start``, ``start + step``, …, ``count`` of them or without end."""
        made = 0
        while count is None or made < count:
            first = (start + made * step) * scenes
            yield self.batch(range(first, first + scenes))
            made += 1

    def batch(self, indices: Sequence[int]) -> ViewBatch:
        """Render the scenes with these indices."""
        rngs = [self.rng(index) for index in indices]
        people = [draw_people(rng, self.bank, len(self.body.shapes), self.settings) for rng in rngs]
        posed = self.pose(people)
        scenes, regions = [], []
        for number, rng in enumerate(rngs):
            outline, joints = self.outline(posed, number)
            scene, own = self._stage(rng, people[number], outline, joints)
            scenes.append(scene)
            regions += own
        sensors = [self._sensor(rng, scene) for rng, scene in zip(rngs, scenes, strict=True) for _ in scene.cameras]
        return self.photograph(scenes, posed, regions, sensors, indices)

    def outline(self, posed: Posed, scene: int) -> tuple[FloatArray, FloatArray]:
        """Some vertices (P, n, 3) and the joints (P, J, 3) of one scene's people."""
        own = posed.crowd.scene == scene
        return posed.crowd.vertices[own, ::_OUTLINE].cpu().numpy().astype(float), posed.joints[own].cpu().numpy()

    def _stage(
        self, rng: np.random.Generator, people: People, outline: FloatArray, joints: FloatArray
    ) -> tuple[Scene, list[Region]]:
        low, high = outline[0].min(axis=0), outline[0].max(axis=0)
        middle, reach = (low + high) / 2, float(np.linalg.norm(high - low)) / 2
        cameras = draw_cameras(rng, self.settings, middle, reach)
        scene = draw_scene(rng, people, cameras, self.panoramas, middle, self.settings)
        if self.settings.framing == "picture":
            return scene, [whole_image(camera.intrinsics.image_size, self.settings.size) for camera in cameras]
        return scene, [draw_region(rng, camera, outline[0], joints[0], self.settings.size) for camera in cameras]

    def _sensor(self, rng: np.random.Generator, scene: Scene) -> tuple[FloatArray, FloatArray, FloatArray]:
        return draw_sensor(rng, scene.exposure) if self.settings.sensor else plain_sensor(scene.exposure)

    def pose(self, scenes: Sequence[People]) -> Posed:
        """Shape, pose, dress and place the people of several scenes."""
        body, device = self.body, self.device
        shape = np.concatenate([people.shape for people in scenes])
        blend = np.concatenate([people.blend for people in scenes])[:, None, None]
        tables = (body.shapes, body.heads, body.keypoints)
        mixed = [table[shape[:, 0]] * (1 - blend) + table[shape[:, 1]] * blend for table in tables]
        rest, heads, keypoints = (torch.tensor(one, dtype=torch.float32, device=device) for one in mixed)
        looks = np.concatenate([people.looks for people in scenes])
        looks = Looks(torch.tensor(looks, dtype=torch.float32, device=device))
        count, vertices = rest.shape[:2]
        if self.settings.clothes:
            who = torch.arange(count, device=device).repeat_interleave(vertices)
            at = BodyCoordinates(
                self.mesh.regions.repeat(count, 1), self.mesh.template.repeat(count, 1), self.mesh.template_keypoints
            )
            off = thickness(at, looks, who).reshape(count, vertices, 1)
            rest = rest + vertex_normals(rest, self.mesh.triangles) * off
        rotations = np.concatenate([people.rotations for people in scenes])
        turned = torch.tensor(rotations, dtype=torch.float32, device=device)
        weights = torch.as_tensor(body.weights, device=device)
        posed = pose_bodies(turned, heads, torch.zeros(count, 3, device=device))
        points = posed.points(rest, weights)
        place = np.concatenate([people.place for people in scenes])
        grounded = torch.tensor(np.concatenate([people.grounded for people in scenes]), device=device)
        shift = torch.tensor(place, dtype=torch.float32, device=device)
        shift[:, 2] -= torch.where(grounded, points[..., 2].amin(1), 0.0)
        moved = PosedBodies(posed.rotation, posed.shift + shift[:, None])
        joints = moved.fixed(keypoints, torch.as_tensor(body.keypoint_bones, device=device))
        sizes = torch.tensor([len(people.place) for people in scenes], device=device)
        owner = torch.arange(len(scenes), device=device).repeat_interleave(sizes)
        return Posed(Crowd(points + shift[:, None], moved, looks, owner, self.settings.clothes), joints)

    def photograph(
        self,
        scenes: Sequence[Scene],
        posed: Posed,
        regions: Sequence[Region],
        sensors: list[tuple[FloatArray, FloatArray, FloatArray]],
        indices: Sequence[int],
    ) -> ViewBatch:
        """Render scenes whose people are posed, through given regions of their cameras' images."""
        s, size = self.settings.supersample, self.settings.size
        cameras = [camera for scene in scenes for camera in scene.cameras]
        fine = make_views(cameras, regions, (size[0] * s, size[1] * s), self.device)
        views = make_views(cameras, regions, size, self.device) if s > 1 else fine
        number = [i for i, scene in enumerate(scenes) for _ in scene.cameras]
        owner = torch.tensor(number, device=self.device)
        around = self._surroundings(scenes, number)
        seen = render(self.mesh, posed.crowd, fine, owner, around, self.settings.shadows)
        linear = seen.linear
        if s > 1:
            linear = torch.nn.functional.avg_pool2d(linear.permute(0, 3, 1, 2), s).permute(0, 2, 3, 1)
        images = expose(linear, gather_sensors(sensors))
        images = _edge_repeated(images, cameras, views)
        truth = _truth(posed, owner, views, fine, seen, cameras, s)
        named = dict(R=views.R, t=views.t, K=views.K, distortion=views.distortion, fisheye=views.fisheye)
        scene = torch.tensor([indices[i] for i in number], device=self.device)
        return ViewBatch(images=images, **truth, **named, crop_from_image=views.crop_from_image, scene=scene)

    def _surroundings(self, scenes: Sequence[Scene], number: list[int]) -> Surroundings:
        most = max(len(scene.solids) for scene in scenes)
        solids = np.zeros((len(scenes), most, SOLID_WIDTH))
        solids[:, :, 2] = -1e3
        solids[:, :, 3:12] = np.eye(3).ravel()
        for row, scene in zip(solids, scenes, strict=True):
            row[: len(scene.solids)] = scene.solids

        def tensor(values: FloatArray) -> Tensor:
            return torch.tensor(values[number], dtype=torch.float32, device=self.device)

        assert scenes[0].lights.shape == (2, LIGHT_WIDTH)
        return Surroundings(
            solids=tensor(solids),
            room=tensor(np.stack([scene.room for scene in scenes])),
            panoramas=self.pictures,
            panorama=torch.tensor([scenes[i].panorama for i in number], device=self.device),
            yaw=tensor(np.array([scene.yaw for scene in scenes])),
            phase=tensor(np.array([scene.noise_phase for scene in scenes])),
            lights=tensor(np.stack([scene.lights for scene in scenes])),
            ambient=tensor(np.stack([scene.ambient for scene in scenes])),
        )


def draw_region(
    rng: np.random.Generator,
    camera: Camera,
    outline: FloatArray,  # (n, 3) m
    joints: FloatArray,  # (J, 3) m
    size: tuple[int, int],
) -> Region:
    """Draw the region of the image that the detector would look at, with a box that is a little wrong.

    Sometimes only the upper body, or a part of the body, is in it.
    """
    points = outline
    if rng.random() < 0.15:
        part = joints[:, 2] > np.quantile(joints[:, 2], rng.uniform(0.2, 0.65))
        points = joints[part]
    pixels = project(camera, points)
    pixels = pixels[np.isfinite(pixels).all(axis=1)]
    width, height = camera.intrinsics.image_size
    if not len(pixels):
        return whole_image((width, height), size)
    low = np.clip(pixels.min(axis=0), 0, [width - 1, height - 1])
    high = np.clip(pixels.max(axis=0), 0, [width - 1, height - 1])
    if ((high - low) < 8).any():
        low, high = pixels.min(axis=0), pixels.max(axis=0)
    extent = high - low
    low, high = low + rng.normal(0, 0.05, 2) * extent, high + rng.normal(0, 0.05, 2) * extent
    region = region_of_box(np.r_[low, high], size[0] / size[1], float(np.exp(rng.normal(np.log(1.2), 0.13))))
    angle = rng.normal(0, 0.2) if rng.random() < 0.5 else (rng.uniform(-np.pi, np.pi) if rng.random() < 0.06 else 0.0)
    return Region(region.centre, region.size, float(angle))


def _edge_repeated(images: Tensor, cameras: list[Camera], views: Views) -> Tensor:
    """Repeat the edge of the camera's image where the crop lies outside of it, as the detector's crop does."""
    width, height = views.size
    rows, columns = torch.meshgrid(
        torch.arange(height, dtype=torch.float32, device=images.device),
        torch.arange(width, dtype=torch.float32, device=images.device),
        indexing="ij",
    )
    crop = torch.stack([columns, rows], dim=-1).reshape(1, -1, 2)
    linear, shift = views.crop_from_image[:, :, :2], views.crop_from_image[:, None, :, 2]
    image = (crop - shift) @ torch.linalg.inv(linear).transpose(1, 2)
    most = torch.tensor([c.intrinsics.image_size for c in cameras], dtype=torch.float32, device=images.device) - 1
    held = torch.minimum(image.clamp(min=0), most[:, None])
    back = held @ linear.transpose(1, 2) + shift
    u, v = back[..., 0].round().long().clamp(0, width - 1), back[..., 1].round().long().clamp(0, height - 1)
    flat = images.reshape(len(images), -1, 3)
    place = torch.where((held == image).all(-1), torch.arange(height * width, device=images.device), v * width + u)
    return flat.gather(1, place[..., None].expand(-1, -1, 3)).reshape(images.shape)


def _truth(
    posed: Posed, owner: Tensor, views: Views, fine: Views, seen: Rendered, cameras: list[Camera], supersample: int
) -> dict[str, Tensor]:
    """Keypoints, visibility, boxes, masks and joints, by person of the scene."""
    scene = posed.crowd.scene
    first = torch.searchsorted(scene, torch.arange(int(scene.max()) + 2, device=scene.device))
    most = int((first[1:] - first[:-1]).max())
    slots = first[owner][:, None] + torch.arange(most, device=scene.device)
    there = slots < first[owner + 1][:, None]
    slots = slots.clamp(max=len(scene) - 1)
    count = len(owner)
    xyz = posed.joints[slots]
    projected = views.project(xyz.reshape(count, -1, 3)).reshape(*xyz.shape)
    keypoints, depth = projected[..., :2], projected[..., 2]
    inside = _inside_picture(keypoints, views, cameras) & there[..., None]
    outline = posed.crowd.vertices[:, ::3][slots]
    corners = views.project(outline.reshape(count, -1, 3)).reshape(outline.shape)[..., :2]
    low = torch.nan_to_num(corners, torch.inf, torch.inf, torch.inf).amin(2)
    high = torch.nan_to_num(corners, -torch.inf, -torch.inf, -torch.inf).amax(2)
    boxes = torch.cat([low, high], dim=-1)
    missing = ~there | ~torch.isfinite(boxes).all(-1)
    boxes = torch.where(missing[..., None], torch.nan, boxes)
    width, height = fine.size
    at = torch.nan_to_num((keypoints + 0.5) * supersample - 0.5).round().long()
    u, v = at[..., 0].clamp(0, width - 1), at[..., 1].clamp(0, height - 1)
    picture = torch.arange(count, device=scene.device)[:, None, None]
    front = seen.depth.reshape(-1)[(picture * height + v) * width + u]
    margin = torch.tensor(_MARGIN_M, dtype=torch.float32, device=scene.device)
    visible = inside & (depth - front < margin)
    number = seen.person[:, ::supersample, ::supersample]
    mask = torch.where(number >= 0, number - first[owner][:, None, None] + 1, 0).to(torch.uint8)
    nowhere = ~there[..., None, None]
    return {
        "keypoints": keypoints.masked_fill(nowhere, torch.nan),
        "visible": visible,
        "inside": inside,
        "boxes": boxes,
        "mask": mask,
        "xyz": xyz.masked_fill(nowhere, torch.nan),
    }


def _inside_picture(keypoints: Tensor, views: Views, cameras: list[Camera]) -> Tensor:
    """Whether points (N, P, J, 2) lie within the picture and within the camera's own image."""
    width, height = views.size
    linear, shift = views.crop_from_image[:, None, :, :2], views.crop_from_image[:, None, None, :, 2]
    image = (keypoints - shift) @ torch.linalg.inv(linear).transpose(-1, -2)
    sizes = torch.tensor([c.intrinsics.image_size for c in cameras], dtype=torch.float32, device=keypoints.device)
    own = torch.tensor([width, height], dtype=torch.float32, device=keypoints.device)
    in_crop = (keypoints >= -0.5) & (keypoints < own - 0.5)
    return (in_crop & (image >= -0.5) & (image < sizes[:, None, None] - 0.5)).all(-1)


class _Batches(Dataset):
    """Batches by number; every process reads the pack when it makes its first one."""

    def __init__(self, pack: Path, settings: SceneSettings, seed: int, scenes: int) -> None:
        self.pack, self.settings, self.seed, self.scenes = pack, settings, seed, scenes
        self.views: SyntheticViews | None = None

    def __getitem__(self, number: int) -> ViewBatch:
        if self.views is None:
            self.views = SyntheticViews(load_pack(self.pack), self.settings, self.seed)
        return self.views.batch(range(number * self.scenes, (number + 1) * self.scenes))


def batches_in_processes(
    pack: Path, settings: SceneSettings, seed: int, scenes: int, numbers: range, workers: int
) -> DataLoader:
    """Return a loader of batches made by processes of one thread each.

    Convention:
        batch ``n`` holds scenes ``n · scenes`` onwards: the same for any number of workers, so that a training can
        go on where it stopped. A process per core is fastest; 0 makes the batches in this one.

    Args:
        pack: file that every process reads.
        settings: of the scenes.
        seed: of the scenes.
        scenes: per batch.
        numbers: which batches, in order.
        workers: processes.

    Raises:
        InputError: the pack is missing, damaged or of another version.
    """
    load_pack(pack)  # a bad one is refused here, not in a process
    return DataLoader(
        _Batches(pack, settings, seed, scenes),
        batch_size=None,
        sampler=numbers,
        num_workers=workers,
        worker_init_fn=_one_thread,
        prefetch_factor=2 if workers else None,
        persistent_workers=False,
    )


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)
