"""Few Bézier keys whose curves stay within the uncertainty of the motion: an animator's curves, not a key per frame.

Every curve is a cubic Hermite spline in time (a Bézier curve whose handles reach a third of the way to the next key),
fitted by least squares through keys that are added where the motion still leaves its allowance. Bones are done from
the root outwards, and each one aims at its orientation in the world: what a parent's curve errs in direction is
taken up by the child's, so that errors add along a limb only as far as they must.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solveh_banded
from scipy.spatial.transform import Rotation

from ..shapes import FloatArray, IntArray, check_shapes

_HELD_BACK = 0.5  # share of the allowance that the root may use; the rest is for the bones that hang on it
_UNKNOWN_SIGMA_M = 0.05  # of joints without covariance: held or interpolated there
_SMALLEST_SIGMA_M = 5e-4  # what no eye sees is no reason for a key
_RIDGE = 1e-6  # of slopes towards the path's own, where the frames between two keys do not determine them


@dataclass(frozen=True, eq=False)
class PoseTree:
    """An armature as rotations: ``world[b] = world[parent] · offset[b] · turn[b]``, the root bone first.

    A bone's tail lies ``length[b]`` along its +Y from its head, which is the tail of its parent; the root bone's head
    is the root joint, and so are the heads of the bones that hang on it.
    """

    parents: IntArray  # (1 + B,), -1 for the root bone
    offset: FloatArray  # (1 + B, 4) wxyz, parent's frame from the bone's own at rest; the root's from the world
    length: FloatArray  # (1 + B,) m, 0 for the root bone

    def __post_init__(self) -> None:
        count = len(self.parents)
        check_shapes(offset=(self.offset, f"{count} 4"), length=(self.length, f"{count}"))


@dataclass(frozen=True, eq=False)
class KeyedCurve:
    """Keys of C channels that share their frames."""

    frames: FloatArray  # (K,)
    values: FloatArray  # (K, C)
    slopes: FloatArray  # (K, C) per frame


@dataclass(frozen=True, eq=False)
class ReducedMotion:
    """The keys of one armature."""

    location: KeyedCurve  # of the root joint, m
    rotation: tuple[KeyedCurve, ...]  # one per bone, the root bone first; wxyz, not quite of unit length

    @property
    def key_count(self) -> int:
        """Keys of all channels."""
        curves = (self.location, *self.rotation)
        return sum(curve.values.size for curve in curves)


def reduce_keys(
    tree: PoseTree,
    frames: FloatArray,  # (T,)
    location: FloatArray,  # (T, 3) m, of the root joint
    rotation: FloatArray,  # (T, 1 + B, 4) wxyz, sign continuous
    covariance: FloatArray,  # (T, 1 + B, 3, 3) m², of the root joint and each bone's tail; NaN where unknown
    sigmas: float = 2.0,
    turn_rad: float = 0.06,
) -> ReducedMotion:
    """Find keys such that every joint stays within ``sigmas`` of its place in every frame.

    Convention:
        within means Mahalanobis distance by the joint's covariance; a joint without one counts as known to 5 cm.
        Rotations about a bone, which move no joint, and the root bone's err by at most ``turn_rad``.

    Args:
        tree: the armature.
        frames: increasing, need not be even.
        location: the root's path.
        rotation: of every bone.
        covariance: in the axes of ``location``.
        sigmas: the allowance.
        turn_rad: the allowance of rotations about a bone.

    Returns:
        The keys; a key on every frame where nothing less will do.

    Raises:
        ShapeError: the arrays do not fit each other.
    """
    count = len(tree.parents)
    check_shapes(
        frames=(frames, "T"),
        location=(location, "T 3"),
        rotation=(rotation, f"T {count} 4"),
        covariance=(covariance, f"T {count} 3 3"),
    )
    whitening = whitening_of(covariance) / sigmas
    below, allowed = _subtrees(tree.parents), _allowances(tree.parents)
    world = _world(tree, rotation)

    keyed = _fewest_keys(frames, location, lambda path: _farthest(whitening / allowed[0], path - location))
    root_off = evaluate(keyed, frames) - location
    off: list[FloatArray] = []  # how far each bone's tail is from its place
    turned: list[Rotation] = []
    curves: list[KeyedCurve] = []
    for bone, parent in enumerate(tree.parents):  # a child needs its parent's curve
        before = turned[parent] if parent >= 0 else Rotation.identity(len(frames))
        start = before * _rotation(tree.offset[bone])
        target = _continuous(start.inv() * world[bone])
        head = off[parent] if parent >= 0 else root_off
        aim = _Aim(start, world[bone], tree.length[bone], head, whitening[:, below[bone]] / allowed[bone], turn_rad)
        curve = _fewest_keys(frames, target, aim.excess)
        path = evaluate(curve, frames)
        curves.append(curve)
        turned.append(start * _rotation(path))
        off.append(head + aim.swing(path))
    return ReducedMotion(keyed, tuple(curves))


def reduce_turns(
    frames: FloatArray,  # (T,)
    turns: FloatArray,  # (T, 4) wxyz, sign continuous
    allowed_rad: FloatArray,  # (T,)
) -> KeyedCurve:
    """Find the fewest keys of one bone's rotation that leave it by no more than an angle in any frame.

    Convention:
        evaluated quaternions are normalised before they turn anything, as Blender does.
    """
    own = turns / np.linalg.norm(turns, axis=-1, keepdims=True)

    def excess(path: FloatArray) -> FloatArray:
        length = np.maximum(np.linalg.norm(path, axis=-1), 1e-12)
        return 2 * np.arccos(np.clip(np.abs((own * path).sum(axis=-1)) / length, 0, 1)) / allowed_rad

    return _fewest_keys(frames, turns, excess)


def reduce_path(
    frames: FloatArray,  # (T,)
    path: FloatArray,  # (T, 3) m
    allowed_m: FloatArray,  # (T,)
) -> KeyedCurve:
    """Find the fewest keys of a path that leave it by no more than a distance in any frame."""
    return _fewest_keys(frames, path, lambda found: np.linalg.norm(found - path, axis=-1) / allowed_m)


@dataclass(frozen=True, eq=False)
class _Aim:
    """What one bone's curve is to reach."""

    start: Rotation  # the bone's frame before its own turn, as the reduced parents leave it
    world: Rotation  # where it should come to
    length: float
    head: FloatArray  # (T, 3) m, how far off it starts
    whitening: FloatArray  # (T, N, 3, 3) of the joints that move with it; 1 is allowed
    turn_rad: float

    def swing(self, path: FloatArray) -> FloatArray:
        """(T, 3) m, how much a path (T, 4) adds to how far off the bone's tail is."""
        return self.length * (_along(self.start * _rotation(path)) - _along(self.world))

    def excess(self, path: FloatArray) -> FloatArray:
        """(T,) how far a path uses up what is allowed: more than 1 is too far."""
        turn = (self.world.inv() * self.start * _rotation(path)).as_rotvec()
        turned = np.abs(turn[:, 1]) if self.length > 0 else np.linalg.norm(turn, axis=1)
        still, moved = _farthest(self.whitening, self.head), _farthest(self.whitening, self.head + self.swing(path))
        place = np.where(moved > still + 1e-6, moved, 0.0)  # what the parents left is not this bone's to mend
        return np.maximum(place, turned / self.turn_rad)


def evaluate(curve: KeyedCurve, frames: FloatArray) -> FloatArray:
    """(T, C) values of the curve at frames between its first and its last key."""
    if len(curve.frames) == 1:
        return np.repeat(curve.values, len(frames), axis=0)
    left, basis = _hermite(curve.frames, frames)
    knots = np.stack([curve.values[left], curve.slopes[left], curve.values[left + 1], curve.slopes[left + 1]], axis=1)
    return np.einsum("tk,tkc->tc", basis, knots)


def _fewest_keys(frames: FloatArray, path: FloatArray, excess: Callable[[FloatArray], FloatArray]) -> KeyedCurve:
    """Add keys where a curve through them leaves the allowance most, until none does."""
    keys = np.unique([0, len(frames) - 1])
    while True:
        curve = _fit(frames, path, keys)
        over = excess(evaluate(curve, frames))
        worst = [
            low + _where_to_split(over[low : high + 1])
            for low, high in zip(keys[:-1], keys[1:], strict=True)
            if high - low > 1 and over[low : high + 1].max() > 1
        ]
        if not worst:
            return curve
        keys = np.union1d(keys, worst)


def _where_to_split(over: FloatArray) -> int:
    """The worst frame between two keys; the middle where a key itself is the worst."""
    worst = int(over.argmax())
    return worst if 0 < worst < len(over) - 1 else (len(over) - 1) // 2


def _fit(frames: FloatArray, path: FloatArray, keys: IntArray) -> KeyedCurve:
    """The least-squares Hermite spline (T, C) with keys at these frames: a banded system of values and slopes."""
    at, count = frames[keys], len(keys)
    own = np.gradient(path, frames, axis=0)[keys] if len(frames) > 1 else np.zeros_like(path)
    if count == 1:
        return KeyedCurve(at, path[keys], own)
    left, basis = _hermite(at, frames)
    span = np.repeat(np.diff(at), 2).mean()  # brings slopes to the size of values
    basis = basis * [1, 1 / span, 1, 1 / span]
    bands, right = np.zeros((4, 2 * count)), np.zeros((2 * count, path.shape[1]))
    for i in range(4):
        np.add.at(right, 2 * left + i, basis[:, i, None] * path)
        for k in range(i, 4):
            np.add.at(bands[k - i], 2 * left + i, basis[:, i] * basis[:, k])
    bands[0] += _RIDGE
    right[0::2] += _RIDGE * path[keys]
    right[1::2] += _RIDGE * span * own
    found = solveh_banded(bands, right, lower=True)
    return KeyedCurve(at, found[0::2], found[1::2] / span)


def _hermite(keys: FloatArray, frames: FloatArray) -> tuple[IntArray, FloatArray]:
    """(T,) key before each frame and (T, 4) weights of its value and slope and of those of the key after it."""
    left = np.clip(np.searchsorted(keys, frames, side="right") - 1, 0, len(keys) - 2)
    span = keys[left + 1] - keys[left]
    s = (frames - keys[left]) / span
    near, far = (1 + 2 * s) * (1 - s) ** 2, s * s * (3 - 2 * s)
    return left, np.stack([near, s * (1 - s) ** 2 * span, far, s * s * (s - 1) * span], axis=1)


def whitening_of(covariance: FloatArray) -> FloatArray:
    """Matrices W (T, N, 3, 3) with |W e| the Mahalanobis length of an error e (m); NaN covariance counts as 5 cm."""
    known = np.isfinite(covariance).all(axis=(-1, -2), keepdims=True)
    values, axes = np.linalg.eigh(np.where(known, covariance, _UNKNOWN_SIGMA_M**2 * np.eye(3)))
    return axes.swapaxes(-1, -2) / np.sqrt(np.maximum(values, _SMALLEST_SIGMA_M**2))[..., None]


def _farthest(whitening: FloatArray, error: FloatArray) -> FloatArray:
    """(T,) largest of the whitened lengths of (T, 3) errors over (T, N, 3, 3) joints."""
    return np.linalg.norm(np.einsum("tnij,tj->tni", whitening, error), axis=-1).max(axis=-1)


def _subtrees(parents: IntArray) -> list[IntArray]:
    """Bones that move with each bone: itself and all below it."""
    above = np.eye(len(parents), dtype=bool)
    for bone in range(len(parents) - 1, 0, -1):  # children stand after their parents
        above[parents[bone]] |= above[bone]
    return [np.flatnonzero(row) for row in above]


def _allowances(parents: IntArray) -> FloatArray:
    """(1 + B,) share of the allowance that the path down to each bone may use up; it grows along every limb."""
    depth = np.zeros(len(parents))
    for bone, parent in enumerate(parents):
        depth[bone] = depth[parent] + 1 if parent >= 0 else 0
    deepest = np.array([depth[below].max() for below in _subtrees(parents)])
    return _HELD_BACK + (1 - _HELD_BACK) * depth / np.maximum(deepest, 1)


def _world(tree: PoseTree, rotation: FloatArray) -> list[Rotation]:
    """Each bone's orientation in the world in every frame."""
    found: list[Rotation] = []
    for bone, parent in enumerate(tree.parents):
        own = _rotation(tree.offset[bone]) * _rotation(rotation[:, bone])
        found.append(found[parent] * own if parent >= 0 else own)
    return found


def _along(rotation: Rotation) -> FloatArray:
    return rotation.as_matrix()[..., 1]


def _rotation(quaternion: FloatArray) -> Rotation:
    return Rotation.from_quat(np.roll(quaternion, -1, axis=-1))  # scipy's order is xyzw; it normalises


def _continuous(rotation: Rotation) -> FloatArray:
    """(T, 4) wxyz whose neighbours lie on one side."""
    found = np.roll(rotation.as_quat(), 1, axis=-1)
    flips = np.where((found[1:] * found[:-1]).sum(axis=-1) < 0, -1.0, 1.0)
    return found * np.cumprod(np.concatenate([[1.0], flips]))[:, None]
