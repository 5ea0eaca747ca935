"""Sampled poses of a solution, as few of them as a person can look at, and which belong together over time.

Imports no bpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...inference.errors import InputError
from ...inference.shapes import BoolArray, FloatArray, IntArray

MOST_SHOWN = 8
APART_M = 0.05  # poses nearer to each other than this, on average over the joints, are shown as one
_CLEAR_M = 0.03  # a joint whose samples lie closer together is not in doubt
_NARROW_M, _WIDE_M = 0.01, 0.1  # bounds on how sure a chosen pose is taken to be


@dataclass(frozen=True, eq=False)
class Sampled:
    """The samples of every frame: NaN where a frame has none."""

    xyz: FloatArray  # (T, P, S, J, 3) m
    log_weight: FloatArray  # (T, P, S)

    @property
    def there(self) -> BoolArray:
        """(T, P) where samples stand."""
        return np.isfinite(self.log_weight).any(axis=-1)


@dataclass(frozen=True, eq=False)
class Poses:
    """The poses of one frame and person that are shown, the likeliest first."""

    xyz: FloatArray  # (N, J, 3) m
    weight: FloatArray  # (N,) share of all samples' weight that is near to each
    samples: IntArray  # (N,) their numbers


def read_sampled(path: Path) -> Sampled | None:
    """Read the samples alone of a solution; None where it has none.

    Raises:
        InputError: they cannot be read, or are of the wrong shape.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if "hypotheses" not in arrays or not arrays["hypotheses"].size:
                return None
            xyz, weight, joints = arrays["hypotheses"], arrays["log_weight"], arrays["xyz"]
    except (OSError, ValueError, KeyError, EOFError) as problem:
        raise InputError(f"the hypotheses of {path} cannot be read: {' '.join(str(problem).split())}") from None
    right = xyz.ndim == 5 and weight.shape == xyz.shape[:3] and xyz.shape[:2] + xyz.shape[3:] == joints.shape
    if not right:
        raise InputError(f"the hypotheses of {path} do not fit its joints: {xyz.shape}, {weight.shape}, {joints.shape}")
    sampled = Sampled(xyz, weight)
    return sampled if sampled.there.any() else None


def spans_of(sampled: Sampled, person: int) -> list[tuple[int, int]]:
    """Return first and last frame of every stretch with samples of a person."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], sampled.there[:, person].astype(int), [0]])))
    return [(int(first), int(end) - 1) for first, end in edges.reshape(-1, 2)]


def poses_of(sampled: Sampled, frame: int, person: int) -> Poses:
    """Return the poses to show: far from each other, each with the weight of the samples nearest to it."""
    xyz, log_weight = sampled.xyz[frame, person].astype(float), sampled.log_weight[frame, person].astype(float)
    usable = np.flatnonzero(np.isfinite(log_weight) & np.isfinite(xyz).all(axis=-1).any(axis=-1))
    if not len(usable):
        return Poses(xyz[:0], log_weight[:0], usable)
    weight = np.exp(log_weight[usable] - log_weight[usable].max())
    weight /= weight.sum()
    chosen = [int(weight.argmax())]
    away = [distances(xyz[usable], xyz[usable[chosen[0]]])]
    while len(chosen) < MOST_SHOWN and np.min(away, axis=0).max() > APART_M:
        chosen.append(int(np.min(away, axis=0).argmax()))
        away.append(distances(xyz[usable], xyz[usable[chosen[-1]]]))
    share = np.bincount(np.argmin(away, axis=0), weight, len(chosen))
    order = np.argsort(-share, kind="stable")
    numbers = usable[np.array(chosen)[order]]
    return Poses(xyz[numbers], share[order], numbers)


def distances(
    poses: FloatArray,  # (N, J, 3)
    pose: FloatArray,  # (J, 3)
) -> FloatArray:
    """(N,) m, mean over the joints that both have; inf where there are none."""
    apart = np.linalg.norm(poses - pose, axis=-1)
    known = np.isfinite(apart)
    total = np.where(known, apart, 0.0).sum(axis=-1)
    return np.where(known.any(axis=-1), total / np.maximum(known.sum(axis=-1), 1), np.inf)


def followed(sampled: Sampled, frame: int, person: int, sample: int) -> dict[int, int]:
    """Follow a sample into the frames on both sides: in each the one nearest to that of the frame before it.

    Convention:
        until the samples of the person end.

    Returns:
        Numbers of samples by frame, the frame's own included.
    """
    found = {frame: sample}
    there = sampled.there[:, person]
    for step in (-1, 1):
        pose, at = sampled.xyz[frame, person, sample], frame + step
        while 0 <= at < len(there) and there[at]:
            away = distances(sampled.xyz[at, person], pose)
            away[~np.isfinite(sampled.log_weight[at, person])] = np.inf
            found[at] = int(away.argmin())
            pose, at = sampled.xyz[at, person, found[at]], at + step
    return found


def in_doubt(sampled: Sampled, frame: int, person: int) -> BoolArray:
    """(J,) joints on which the samples of a frame disagree."""
    usable = np.isfinite(sampled.log_weight[frame, person])
    xyz = sampled.xyz[frame, person][usable].astype(float)
    known = np.isfinite(xyz).all(axis=(0, 2))
    spread = np.sqrt(np.where(known[:, None], np.var(np.where(known[:, None], xyz, 0.0), axis=0), 0.0).sum(axis=-1))
    return known & (spread > _CLEAR_M)


def sureness(sampled: Sampled, frame: int, person: int, sample: int) -> float:
    """Return how sure a chosen pose is, m: the distance to the samples nearest to it, a tenth of them."""
    usable = np.isfinite(sampled.log_weight[frame, person])
    away = np.sort(distances(sampled.xyz[frame, person][usable], sampled.xyz[frame, person, sample]))
    return float(np.clip(away[min(max(len(away) // 10, 1), len(away) - 1)], _NARROW_M, _WIDE_M))
