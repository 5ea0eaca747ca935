"""What stands in a scene and who looks at it: drawn by chance, as plain numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from inference.shapes import BoolArray, FloatArray
from inference.types import Camera, Intrinsics

from ..body_poses import PoseBank, all_bones, draw_pose
from ..pack import Panorama
from .settings import SceneSettings
from .wardrobe import draw_look

SOLID_WIDTH = 3 + 9 + 3 + 1 + 3 + 3 + 2  # centre, axes, half sizes, ball, two colours, scale and kind of pattern
LIGHT_WIDTH = 3 + 3  # direction towards it, colour
_IMAGE_SIZES = ((1920, 1080), (1280, 720), (1080, 1920), (720, 1280), (640, 480), (1440, 1080), (1080, 1080))
_FAR = 100.0  # m: where a solid that is not there stands


@dataclass(frozen=True, eq=False)
class People:
    """Those who stand in a scene, before their shapes are looked up."""

    shape: FloatArray  # (P, 2) indices of two bodies of the pack
    blend: FloatArray  # (P,) share of the second
    rotations: FloatArray  # (P, B, 3, 3) world_from_rest
    place: FloatArray  # (P, 3) m: of the pelvis; for the grounded, z is that of the lowest point of the body
    grounded: BoolArray  # (P,)
    looks: FloatArray  # (P, WIDTH)


@dataclass(frozen=True, eq=False)
class Scene:
    """One scene of V views."""

    people: People
    cameras: tuple[Camera, ...]
    solids: FloatArray  # (S, SOLID_WIDTH)
    room: FloatArray  # (SOLID_WIDTH,) the box that everything stands in; its half sizes are 0 where there is none
    lights: FloatArray  # (2, LIGHT_WIDTH)
    ambient: FloatArray  # (2, 3) from above, from below
    panorama: int  # index into the split's panoramas, -1 for none
    yaw: float  # rad, of the panorama
    exposure: float
    noise_phase: float  # of the backdrop of noise


def draw_people(rng: np.random.Generator, bank: PoseBank, shapes: int, settings: SceneSettings) -> People:
    """Draw the people of a scene; the first one stands in the middle."""
    count = 1 + int(rng.integers(settings.most_people)) * int(rng.random() < 0.5)
    posed = np.stack([draw_pose(rng, bank, settings.variety) for _ in range(count)])
    angle, radius = rng.uniform(0, 2 * np.pi, count), rng.uniform(0.35, 2.2, count)
    lift = np.where(rng.random(count) < 0.15, rng.uniform(0, 0.5, count), 0.0)
    place = np.stack([radius * np.cos(angle), radius * np.sin(angle), lift], axis=1)
    place[0, :2] = 0
    return People(
        rng.integers(shapes, size=(count, 2)),
        rng.uniform(0, 1, count),
        all_bones(posed, rng.beta(1.2, 1.8, (count, 2)) * 1.6),
        place,
        np.ones(count, dtype=bool),
        np.stack([draw_look(rng) for _ in range(count)]),
    )


def draw_cameras(rng: np.random.Generator, settings: SceneSettings, middle: FloatArray, reach: float) -> list[Camera]:
    """Draw a rig that looks at a person.

    Convention:
        one camera stands anywhere, close or far, upright or rolled; several stand around at similar distances.

    Args:
        rng: of this scene.
        settings: how many.
        middle: (3,) m, of the person.
        reach: m, radius of a ball about the person.
    """
    several = settings.views > 1
    start, distance = rng.uniform(0, 2 * np.pi), np.exp(rng.uniform(np.log(1.4), np.log(8.0))) + 0.4
    cameras = []
    for view in range(settings.views):
        azimuth = start + 2 * np.pi * (view + rng.uniform(-0.25, 0.25)) / settings.views
        steep = rng.random() < 0.15
        elevation = np.radians(rng.uniform(-25, 80) if steep else rng.normal(7, 11))
        away = (distance if not several else max(distance, 2.2)) * rng.uniform(0.85, 1.2)
        turn = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
        centre = middle + away * turn
        centre[2] = max(centre[2], 0.1)
        aim = middle + rng.normal(size=3) * (0.35 if not several else 0.1)
        roll = rng.normal(0, 0.06) + (rng.choice([0.5, -0.5, 1]) * np.pi if rng.random() < 0.05 else 0)
        intrinsics = _draw_lens(rng, f"cam{view + 1:02d}", away, reach)
        cameras.append(look_at(intrinsics, centre, aim, roll))
    return cameras


def _draw_lens(rng: np.random.Generator, name: str, away: float, reach: float) -> Intrinsics:
    size = _IMAGE_SIZES[rng.integers(len(_IMAGE_SIZES))]
    share = np.exp(rng.uniform(np.log(0.3), np.log(1.15)))  # of the image's shorter side that the person fills
    focal = np.clip(share * min(size) * away / (2 * reach), 0.45 * max(size), 2.5 * max(size))
    K = np.array([[focal, 0, (size[0] - 1) / 2], [0, focal, (size[1] - 1) / 2], [0, 0, 1]])
    K[:2, 2] += rng.normal(0, 0.01, 2) * min(size)
    kind = rng.random()
    if kind < 0.3:
        return Intrinsics(name, size, K, np.zeros(0), "none")
    if kind < 0.4:
        return Intrinsics(name, size, K, rng.normal(0, 0.02, 4), "fisheye")
    bent = np.array([rng.normal(-0.05, 0.08), rng.normal(0.02, 0.03), *rng.normal(0, 5e-4, 2), rng.normal(0, 0.005)])
    return Intrinsics(name, size, K, bent, "opencv")


def look_at(intrinsics: Intrinsics, centre: FloatArray, aim: FloatArray, roll: float) -> Camera:
    """Place a camera at ``centre`` (3,) m that sees ``aim`` (3,) m in the middle, turned by ``roll`` rad."""
    forward = (aim - centre) / np.linalg.norm(aim - centre)
    up = np.array([0, 0, 1.0]) if abs(forward[2]) < 0.99 else np.array([0, 1.0, 0])
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    level = np.stack([right, np.cross(forward, right), forward])
    R = Rotation.from_rotvec([0, 0, roll]).as_matrix() @ level
    return Camera(intrinsics, R, -R @ centre)


def draw_scene(
    rng: np.random.Generator,
    people: People,
    cameras: list[Camera],
    panoramas: tuple[Panorama, ...],
    middle: FloatArray,
    settings: SceneSettings,
) -> Scene:
    """Draw what surrounds the people: backdrop, solids, light."""
    backdrop = str(rng.choice(settings.backdrops))
    yaw = rng.uniform(0, 2 * np.pi)
    panorama = int(rng.integers(len(panoramas))) if backdrop == "panorama" and panoramas else -1
    lights, ambient = _draw_light(rng)
    if panorama >= 0 and rng.random() < 0.75:
        lights, ambient = _light_of(panoramas[panorama], yaw, lights)
    room = _solid(np.zeros(3), np.eye(3), np.zeros(3), rng, False)
    solids = []
    if backdrop == "room":
        centres = np.stack([camera.centre for camera in cameras])
        low = np.minimum(centres.min(0), -1.5) - rng.uniform(0.3, 2.5, 3)
        high = np.maximum(centres.max(0), [1.5, 1.5, 2.2]) + rng.uniform(0.3, 2.5, 3)
        low[2] = 0
        room = _solid((low + high) / 2, np.eye(3), (high - low) / 2, rng, False)
        solids += [_furniture(rng, low, high, centres) for _ in range(rng.integers(2, 7))]
    if rng.random() < settings.occluders:
        solids += [_occluder(rng, cameras, middle) for _ in range(rng.integers(1, 4))]
    solids = np.array(solids).reshape(-1, SOLID_WIDTH)
    exposure = float(np.exp(rng.normal(0, 0.25)))
    return Scene(
        people, tuple(cameras), solids, room, lights, ambient, panorama, yaw, exposure, float(rng.uniform(0, 100))
    )


def _draw_light(rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Two lamps, the second weaker, and light from above and below."""
    lights = np.empty((2, LIGHT_WIDTH))
    for row, strength in zip(lights, (rng.uniform(0.3, 1.6), rng.uniform(0.0, 0.6)), strict=True):
        direction = rng.normal(size=3) + [0, 0, 1.0]
        row[:3] = direction / np.linalg.norm(direction)
        row[3:] = strength * _tint(rng)
    return lights, np.stack([rng.uniform(0.15, 0.7) * _tint(rng), rng.uniform(0.05, 0.4) * _tint(rng)])


def _tint(rng: np.random.Generator) -> FloatArray:
    warm = rng.normal(0, 0.12)
    return np.array([1 + warm, 1 + rng.normal(0, 0.03), 1 - warm])


def _light_of(panorama: Panorama, yaw: float, lights: FloatArray) -> tuple[FloatArray, FloatArray]:
    turn = Rotation.from_euler("z", yaw).as_matrix()
    key = np.concatenate([turn @ panorama.key_direction, panorama.key_colour])
    return np.stack([key, np.r_[lights[1, :3], 0.3 * lights[1, 3:]]]), np.stack([panorama.above, panorama.below])


def _solid(centre: FloatArray, axes: FloatArray, half: FloatArray, rng: np.random.Generator, ball: bool) -> FloatArray:
    colours = rng.uniform(0.02, 0.75, (2, 1)) * (1 - rng.uniform(0, 0.75) * rng.uniform(0, 1, (2, 3)))
    if rng.random() < 0.35:
        colours[1] = colours[0]
    pattern = [np.exp(rng.uniform(np.log(1.5), np.log(25))), rng.integers(4)]
    return np.concatenate([centre, axes.ravel(), half, [float(ball)], colours.ravel(), pattern])


def _furniture(rng: np.random.Generator, low: FloatArray, high: FloatArray, cameras: FloatArray) -> FloatArray:
    """A box on the floor near a wall, or hung on it, that no camera stands in."""
    half = rng.uniform([0.1, 0.1, 0.1], [0.9, 0.9, 1.1])
    axis, side = rng.integers(2), rng.random() < 0.5
    centre = rng.uniform(low + half, np.maximum(high - half, low + half + 1e-3))
    centre[axis] = (low + half)[axis] if side else (high - half)[axis]
    if rng.random() < 0.4:
        half[axis] = 0.03
        centre[axis] = low[axis] + 0.02 if side else high[axis] - 0.02
    else:
        centre[2] = half[2]
    near = (np.abs(cameras - centre) < half + 0.3).all(axis=1).any() or (np.abs(centre[:2]) < half[:2] + 0.6).all()
    if near:
        centre = np.array([0, 0, -_FAR])
    return _solid(centre, np.eye(3), half, rng, False)


def _occluder(rng: np.random.Generator, cameras: list[Camera], middle: FloatArray) -> FloatArray:
    """A box or ball between a camera and the person, beside the line of sight rather than on it."""
    centre = cameras[rng.integers(len(cameras))].centre
    way = middle - centre
    share = rng.uniform(0.35, 0.85)
    half = np.exp(rng.uniform(np.log(0.02), np.log(0.28), 3)) * (0.4 + share)
    aside = rng.normal(size=3)
    aside -= (aside @ way) * way / (way @ way)
    place = centre + share * way + aside / np.linalg.norm(aside) * rng.uniform(0.05, 0.75) * (0.2 + share)
    return _solid(place, Rotation.from_quat(rng.normal(size=4)).as_matrix(), half, rng, rng.random() < 0.3)
