"""Panoramas for the pack: read from Radiance files, or made of noise where there are none."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from inference.errors import InputError
from inference.shapes import FloatArray

from .pack import Panorama

_SIZE = (1024, 512)
_BRIGHTEST = 0.002  # share of the sphere that counts as the key light


def read_panoramas(folder: Path) -> list[Panorama]:
    """Read all ``.hdr`` panoramas of a folder.

    Raises:
        InputError: the folder is missing or has none, or one cannot be read.
    """
    paths = sorted(folder.glob("*.hdr")) if folder.is_dir() else []
    if not paths:
        raise InputError(f"{folder}: no .hdr panoramas there; name the folder that holds them")
    result = []
    for path in paths:
        picture = cv2.imread(str(path), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR)
        if picture is None or picture.dtype != np.float32:
            raise InputError(f"{path}: not a readable Radiance picture; leave it out of the folder")
        small = cv2.resize(picture[..., ::-1], _SIZE, interpolation=cv2.INTER_AREA)
        result.append(panorama(path.stem, np.asarray(small, float)))
    return result


def panorama(name: str, light: FloatArray) -> Panorama:
    """Measure the light of a panorama of linear values (h, w, 3) and store its picture with the median at 0.2."""
    light = np.nan_to_num(np.maximum(light, 0))
    light = light * 0.2 / max(float(np.median(light)), 1e-6)
    directions, area = sphere(light.shape[1], light.shape[0])
    brightness = light.mean(axis=2)
    order = np.argsort(brightness, axis=None)[::-1]
    key = order[np.cumsum(area.ravel()[order]) <= _BRIGHTEST * area.sum()]
    weight = (brightness * area).ravel()[key]
    towards = (directions.reshape(-1, 3)[key] * weight[:, None]).sum(axis=0)
    flux = (light * area[..., None]).reshape(-1, 3)[key].sum(axis=0) / np.pi
    rest = np.minimum(light, 2.0) * area[..., None]
    half = light.shape[0] // 2
    above, below = (part.reshape(-1, 3).sum(axis=0) / (2 * np.pi) for part in (rest[:half], rest[half:]))
    picture = np.clip(np.sqrt(np.clip(light, 0, 1)) * 255, 0, 255).astype(np.uint8)
    direction = towards / max(np.linalg.norm(towards), 1e-9)
    return Panorama(name, picture, direction, np.minimum(flux, 2.5), above, below)


def sphere(width: int, height: int) -> tuple[FloatArray, FloatArray]:
    """Directions (h, w, 3) and solid angles (h, w) of a panorama's pixels; the middle column looks along -Y."""
    elevation = np.pi / 2 - (np.arange(height) + 0.5) * np.pi / height
    azimuth = (np.arange(width) + 0.5) * 2 * np.pi / width - np.pi
    across, up = np.meshgrid(azimuth, elevation)
    directions = np.stack([np.sin(across) * np.cos(up), -np.cos(across) * np.cos(up), np.sin(up)], axis=-1)
    return directions, np.cos(up) * (2 * np.pi / width) * (np.pi / height)


def made_panoramas(count: int, seed: int, size: tuple[int, int] = (256, 128)) -> list[Panorama]:
    """Make panoramas of coloured noise over a bright upper and a darker lower half."""
    rng = np.random.default_rng(seed)
    made = []
    for index in range(count):
        light = np.zeros((size[1], size[0], 3))
        for octave in range(2, 7):
            grid = rng.uniform(size=(2**octave // 2 + 1, 2**octave, 3))
            light += cv2.resize(grid, size, interpolation=cv2.INTER_CUBIC) / 2 ** (0.6 * octave)
        light = np.clip(light - light.min(), 0.02, None) * np.linspace(1.6, 0.5, size[1])[:, None, None]
        place = rng.integers((size[1] // 6, 0), (size[1] // 3, size[0]))
        light[place[0], place[1]] = 60.0
        made.append(panorama(f"made_{index}", light))
    return made
