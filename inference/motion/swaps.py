"""Left and right exchanged by a detector: found per limb, view and frame against where the joints are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..geometry.reprojection import Rays, squared_distances
from ..layouts import mirrored
from ..shapes import BoolArray, FloatArray

_LIMBS = (
    ("shoulder", "elbow", "wrist", "index", "pinky", "thumb"),
    ("hip", "knee", "ankle", "heel", "big_toe", "small_toe", "foot_index"),
)
_MARGIN_NATS = 6.0  # how much better the exchanged limb must fit
_WILD = 64.0  # squared sigmas from which a keypoint is as bad as any other


def unswapped(
    rays: Rays,  # T·J points
    points: FloatArray,  # (3, T·J) m
    joint_names: Sequence[str],
    nu: float,
) -> tuple[Rays, BoolArray]:
    """Exchange the sides of limbs wherever that fits the joints much better.

    Returns:
        The rays with limbs exchanged, and (V, T, L) which were, L = arms, legs.
    """
    count = len(joint_names)
    shape = (len(rays.R), -1, count)
    mirror = np.array([_index(joint_names, mirrored(name), own) for own, name in enumerate(joint_names)])
    order = (np.arange(rays.u.shape[1]).reshape(-1, count)[:, mirror]).ravel()
    crossed = rays.take(order)
    gain = (_cost(rays, points, nu) - _cost(crossed, points, nu)).reshape(shape)
    exchange = np.zeros(gain.shape, bool)
    found = []
    for limb in _LIMBS:
        members = [j for j, name in enumerate(joint_names) if name.partition("_")[2] in limb and mirror[j] != j]
        swapped = gain[..., members].sum(axis=-1) > _MARGIN_NATS
        exchange[..., members] = swapped[..., None]
        found.append(swapped)
    flat = exchange.reshape(rays.u.shape)
    mixed = {key: np.where(flat, getattr(crossed, key), getattr(rays, key)) for key in Rays.PER_POINT}
    return Rays(rays.R, rays.t, **mixed), np.stack(found, axis=-1)


def _index(names: Sequence[str], wanted: str, default: int) -> int:
    return list(names).index(wanted) if wanted in names else default


def _cost(rays: Rays, points: FloatArray, nu: float) -> FloatArray:
    return 0.5 * (nu + 2) * np.log1p(np.minimum(squared_distances(rays, points), _WILD) / nu)
