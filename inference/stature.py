"""How tall a person is, where one view alone sees them: to it a larger body farther away looks the same.

What is stated, where the feet stand on a known floor, and where a pinned joint is each say something of the height;
they are multiplied as log-normals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .shapes import FloatArray

_STATED_SIGMA = 0.03  # of a stated height, share
_ADULT_M, _ADULT_SIGMA = 1.70, 0.06  # of whoever is filmed, where no height is stated
_BONES_TO_CROWN_M = 0.031  # of the sole below the ankle, less what bones in a row are longer than a straight line
_SOLE_M = 0.016  # of the lowest toe or heel above the floor: 256 bodies of training at rest, 1 mm apart
_FEET = tuple(f"{side}_{part}" for side in ("left", "right") for part in ("heel", "big_toe", "small_toe"))
# Joints that a flow has to have for a body of it to have a size.
MEASURED = tuple(f"{side}_{part}" for side in ("left", "right") for part in ("shoulder", "hip", "knee", "ankle"))
MEASURED += ("neck", "head_top", *_FEET)
_LOW = 0.1  # share of frames whose feet stand lowest: there they rest
_LEAST_DROP_M = 0.3  # from the camera to the feet; below, the floor says nothing
_FLOOR_SIGMA = 0.02  # of the height by the floor: what resting feet and bodies differ in beside the samples' spread


@dataclass(frozen=True, eq=False)
class BodySize:
    """What a take says of how large a person is and where."""

    height_m: float | None = None  # stated
    on_floor: bool = False  # z = 0 of the world is the floor that they stand on
    pins: tuple[FloatArray, FloatArray] | None = None  # (T, P, J, 3) and sigma (T, P, J) m; NaN where nothing is pinned


@dataclass(frozen=True)
class Stature:
    """A log-normal height."""

    height_m: float
    sigma: float  # share
    told_by: tuple[str, ...] = ()  # what it rests on beside what is stated: "the floor", "what is pinned"

    def times(self, other: Stature) -> Stature:
        """Multiply two pieces of evidence that know nothing of each other."""
        ours, theirs = self.sigma**-2, other.sigma**-2
        mean = (ours * np.log(self.height_m) + theirs * np.log(other.height_m)) / (ours + theirs)
        return Stature(float(np.exp(mean)), float((ours + theirs) ** -0.5), self.told_by + other.told_by)

    def apart_from(self, other: Stature) -> float:
        """Return how many standard deviations two heights differ by."""
        return float(abs(np.log(self.height_m / other.height_m)) / np.hypot(self.sigma, other.sigma))


def stated(height_m: float | None) -> Stature:
    """What the take states; a grown person's height where it states none."""
    return Stature(height_m, _STATED_SIGMA) if height_m else Stature(_ADULT_M, _ADULT_SIGMA)


def by_floor(
    bodies: FloatArray,  # (N, S, J, 3) m, of any size about their camera
    tall: FloatArray,  # (N, S) m
    camera: FloatArray,  # (N, 3) m
    names: Sequence[str],
) -> Stature | None:
    """Find how tall bodies are whose lowest foot stands on z = 0; None where camera or feet say nothing.

    A foot in the air would meet the floor farther away and make its body too tall, so the lowest tenth of the frames
    counts.
    """
    feet = [names.index(name) for name in _FEET]
    drop = camera[:, None, 2] - bodies[:, :, feet, 2].min(axis=-1)
    usable = (drop > _LEAST_DROP_M).all(axis=1) & (camera[:, 2] > _LEAST_DROP_M)
    if not usable.any():
        return None
    heights = np.log(tall[usable] * (camera[usable, None, 2] - _SOLE_M) / drop[usable])
    spread = float(np.hypot(np.median(heights.std(axis=1)), _FLOOR_SIGMA))
    return Stature(float(np.exp(np.quantile(heights.mean(axis=1), _LOW))), spread, ("the floor",))


def by_pins(
    bodies: FloatArray,  # (N, S, J, 3) m, of any size about their camera
    tall: FloatArray,  # (N, S) m
    camera: FloatArray,  # (N, 3) m
    pins: FloatArray,  # (N, J, 3) m, NaN where nothing is pinned
    sigma_m: FloatArray,  # (N, J)
) -> Stature | None:
    """Find how tall bodies are whose joints are as far from the camera as they are pinned; None without pins."""
    frame, joint = np.nonzero(np.isfinite(pins).all(axis=-1))
    if not len(frame):
        return None
    away = np.linalg.norm(bodies[frame, :, joint] - camera[frame, None], axis=-1)
    pinned = np.linalg.norm(pins[frame, joint] - camera[frame], axis=-1)
    heights = np.log(tall[frame] * pinned[:, None] / away)
    sigma = np.hypot(heights.std(axis=1), sigma_m[frame, joint] / pinned)
    weight = sigma**-2 / (sigma**-2).sum()
    # Bodies of several frames are wrong alike: many pins are no surer than the surest of them.
    return Stature(float(np.exp(weight @ heights.mean(axis=1))), float(max(sigma.min(), 1e-3)), ("what is pinned",))


def stature_weights(
    tall: FloatArray,  # (N, S) m
    height_m: float | None,
) -> FloatArray:
    """Weigh bodies by how well they fit a stated height; logarithms that sum to one over samples (N, S)."""
    if height_m is None:
        return np.full(tall.shape, -np.log(tall.shape[1]))
    weight = -0.5 * (np.log(tall / height_m) / _STATED_SIGMA) ** 2
    return weight - np.logaddexp.reduce(weight, axis=1, keepdims=True)


def statures(bodies: FloatArray, names: tuple[str, ...]) -> FloatArray:
    """How tall bodies (..., J, 3) stand upright, m: the lengths of shin, thigh, trunk, neck and head in a row.

    Measured on the 256 bodies of training standing at rest: within 6 mm (one sigma) from heel to crown.
    """
    joint = {name: bodies[..., index, :] for index, name in enumerate(names)}
    hips, shoulders = ((joint[f"left_{n}"] + joint[f"right_{n}"]) / 2 for n in ("hip", "shoulder"))
    legs = [
        np.linalg.norm(joint[f"{s}_{a}"] - joint[f"{s}_{b}"], axis=-1)
        for s in ("left", "right")
        for a, b in (("hip", "knee"), ("knee", "ankle"))
    ]
    trunk = np.linalg.norm(shoulders - hips, axis=-1)
    head = np.linalg.norm(joint["head_top"] - joint["neck"], axis=-1)
    neck = np.linalg.norm(joint["neck"] - shoulders, axis=-1)
    return np.sum(legs, axis=0) / 2 + trunk + neck + head + _BONES_TO_CROWN_M
