"""How sure the rotations of bones are, to first order from the covariance of the joints.

A bone's turn is δφ = y × δy + τ y: its direction y follows from its two ends, the twist τ about it from what
`kinematics` takes the twist from, with the same weights: a vector across the bone (the next bone of a bent hinge, the
other side of the body) and the parent's twist. Where nothing across the bone is seen, the parent's twist is a guess:
its error enters with the share that the guess has.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..geometry import rotation
from ..shapes import FloatArray, check_shapes
from ..types import Skeleton
from .kinematics import PARENT_SHARE, Hint, carried_along, rest_frames, root_hints, turns_by_itself, twist_hint
from .splines import interpolated

GUESSED_TWIST = 0.5  # rad: how far a bone may be turned from where its parent carries it; stated, not measured
_BLOCK = 500  # frames at once
_LEAST_WEIGHT = 1e-6  # of a twist: below, its direction is nothing but rounding


class _Turns(NamedTuple):
    """Derivatives of world rotation vectors (left-multiplied, world axes, rad)."""

    joints: FloatArray  # (T, 3, J, 3) by the joints
    guesses: FloatArray  # (T, 3, B) by the error of each bone's guessed twist


def rotation_covariance(
    skeleton: Skeleton,
    joints: FloatArray,  # (T, S, 3) m, finite, of the skeleton
    root: FloatArray,  # (T, 4) world from pelvis
    local: FloatArray,  # (T, B, 4)
    covariance: FloatArray,  # (T, S, 3, 3) m², NaN where unknown
    sources: FloatArray,  # (S, J) what a joint is made of: unit rows, or halves of two joints
    every: int = 1,
) -> FloatArray:
    """Covariance of the local rotations of one person.

    First-order propagation Σ = G C Gᵀ. C is block diagonal over the detector's joints: their errors count as
    independent of each other, and a joint between two others (pelvis, neck) errs with them. What the first order
    leaves out is added as (tr Σ)² / 2 in every direction, since a hinge's covariance would be flat. The twist's
    smoothing over 0.05 s is not counted: errors are taken to last longer.

    Convention:
        the rotation vector turns the local rotation from the left, in the axes of the parent bone (of the world where
        there is no parent): ``local' = exp(δ) local``; rad². The twist about a straight limb, or about a bone that
        shows nothing across it, has the variance of a guess (0.5 rad). Clavicles, hips and the face have no twist of
        their own. NaN where an end of the bone or of its parent
        is not known. Where all is known it is computed for each ``every``-th frame and interpolated between.

    Returns:
        (T, B, 3, 3).
    """
    count = len(skeleton.bone_names)
    check_shapes(joints=(joints, f"T {count + 1} 3"), covariance=(covariance, f"T {count + 1} 3 3"))
    check_shapes(root=(root, "T 4"), local=(local, f"T {count} 4"))
    known = np.isfinite(covariance).all(axis=(-1, -2))
    sure = known[:, 1:] & known[:, skeleton.parents[1:]]
    above = skeleton.bone_parents
    sure = sure & np.where(above >= 0, sure[:, above], True)
    frames = np.arange(len(joints))
    at = np.unique(np.append(frames[:: every if sure.all() else 1], frames[-1:]))
    found = np.empty((len(at), count, 3, 3))
    for start in range(0, len(at), _BLOCK):
        part = at[start : start + _BLOCK]
        safe = np.where(known[part, :, None, None], covariance[part], 0.0)
        found[start : start + _BLOCK] = _propagated(skeleton, joints[part], root[part], local[part], safe, sources)
    result = interpolated(found, at, len(frames)) if len(at) < len(frames) else found
    result[~sure] = np.nan
    return result


def _propagated(
    skeleton: Skeleton,
    joints: FloatArray,
    root: FloatArray,
    local: FloatArray,
    covariance: FloatArray,
    sources: FloatArray,
) -> FloatArray:
    """Σ = G C Gᵀ of some frames."""
    spread = covariance[:, (sources == 1).argmax(axis=0)]  # (T, J, 3, 3) of the detector's joints
    rest = rest_frames(skeleton)
    pelvis = _root_turns(skeleton, joints)
    world = np.empty((*local.shape[:2], 4))
    turns: list[_Turns] = []
    result = np.empty((*local.shape[:2], 3, 3))
    for bone, above in enumerate(skeleton.bone_parents):  # a tree: each bone needs its parent
        world[:, bone] = local[:, bone] if above < 0 else rotation.multiply(world[:, above], local[:, bone])
        parent, frame = (pelvis, root) if above < 0 else (turns[above], world[:, above])
        start = carried_along(rest, bone, above, frame)
        turns.append(_bone_turns(skeleton, bone, joints, start, parent))
        by_joints, by_guess = turns[bone]
        if above >= 0:
            back = rotation.matrix_from_quaternion(frame).swapaxes(-1, -2)
            by_joints = (back @ (by_joints - parent.joints).reshape(len(back), 3, -1)).reshape(by_joints.shape)
            by_guess = back @ (by_guess - parent.guesses)
        by_joints = np.tensordot(by_joints, sources, (2, 0)).swapaxes(2, 3)  # (T, 3, J, 3)
        through = np.einsum("txja,tjab->txjb", by_joints, spread).reshape(len(joints), 3, -1)
        first = through @ by_joints.reshape(through.shape).swapaxes(1, 2)
        second = 0.5 * np.trace(first, axis1=1, axis2=2) ** 2
        result[:, bone] = first + second[:, None, None] * np.eye(3)
        result[:, bone] += GUESSED_TWIST**2 * by_guess @ by_guess.swapaxes(1, 2)
    return result


def _root_turns(skeleton: Skeleton, joints: FloatArray) -> _Turns:
    """How the pelvis turns with the joints."""
    spine, across = root_hints(skeleton)
    turns = _no_turns(skeleton, joints)
    if spine is None or across is None:
        return turns
    y, by_y = _direction(joints, spine)
    twist = _hint_twist(y, by_y, *_direction(joints, across))
    return _Turns(np.cross(y[:, :, None, None], by_y, axis=1) + y[:, :, None, None] * twist.by_angle[:, None], turns[1])


def _no_turns(skeleton: Skeleton, joints: FloatArray) -> _Turns:
    return _Turns(np.zeros((len(joints), 3, *joints.shape[1:])), np.zeros((len(joints), 3, len(skeleton.bone_names))))


def _direction(joints: FloatArray, ends: Hint) -> tuple[FloatArray, FloatArray]:
    """(T, 3) unit vector between two joints, and (T, 3, J, 3) its derivative by all joints."""
    vector = joints[:, ends.stop] - joints[:, ends.start]
    length = np.maximum(np.linalg.norm(vector, axis=-1, keepdims=True), 1e-6)
    unit = vector / length
    across = (np.eye(3) - unit[:, :, None] * unit[:, None]) / length[..., None]
    slope = np.zeros((len(joints), 3, *joints.shape[1:]))
    slope[:, :, ends.stop], slope[:, :, ends.start] = across, -across
    return unit, slope


class _Twist(NamedTuple):
    """A source of the twist, with the weight that `kinematics` gives it; derivatives by all joints."""

    by_angle: FloatArray  # (T, J, 3)
    weight: FloatArray  # (T,)
    by_weight: FloatArray  # (T, J, 3)


def _along(vector: FloatArray, slope: FloatArray) -> FloatArray:
    """(T, J, 3) of vector (T, 3) · slope (T, 3, J, 3)."""
    return np.einsum("tx,txja->tja", vector, slope)


def _hint_twist(y: FloatArray, by_y: FloatArray, hint: FloatArray, by_hint: FloatArray) -> _Twist:
    """The twist of a vector h across the bone: f = h - (h·y) y turns by (y × f)·(δh - (h·y) δy) / f²."""
    along = (hint * y).sum(axis=-1)
    across = hint - along[:, None] * y
    weight = (across**2).sum(axis=-1)
    side = np.cross(y, across) / np.maximum(weight, _LEAST_WEIGHT)[:, None]
    by_angle = _along(side, by_hint) - along[:, None, None] * _along(side, by_y)
    by_weight = -2 * along[:, None, None] * (_along(y, by_hint) + _along(hint, by_y))
    return _Twist(by_angle, weight, by_weight)


def _parent_twist(y: FloatArray, by_y: FloatArray, old: FloatArray, parent: _Turns) -> _Twist:
    """The twist that the parent's turn φ carries over the shortest arc from its direction a (old) to y = b.

    τ = (φ·(a + b) + (b × a)·δb) / (1 + a·b): the area that the arc sweeps over the sphere.
    """
    cosine = (old * y).sum(axis=-1)
    room = np.maximum(1 + cosine, 1e-6)[:, None, None]
    by_angle = (_along(old + y, parent.joints) + _along(np.cross(y, old), by_y)) / room
    by_cosine = _along(np.cross(old, y), parent.joints) + _along(old, by_y)
    half = 0.5 * (1 + cosine)
    return _Twist(by_angle, PARENT_SHARE * half**2, PARENT_SHARE * half[:, None, None] * by_cosine)


def _bone_turns(skeleton: Skeleton, bone: int, joints: FloatArray, start: FloatArray, parent: _Turns) -> _Turns:
    """How a bone turns with the joints, given where the parent's turn alone would take it (start)."""
    y, by_y = _direction(joints, Hint(int(skeleton.parents[bone + 1]), bone + 1, False))
    old = rotation.rotate(start, np.array([0, 1.0, 0]))
    carried = _parent_twist(y, by_y, old, parent)
    ends = twist_hint(skeleton, bone)
    by_angle, guessed = carried.by_angle, np.ones(len(y))
    if ends is not None:
        hint, by_hint = _direction(joints, ends)
        seen = _hint_twist(y, by_y, hint, by_hint)
        followed = rotation.multiply(rotation.shortest_arc(old, y), start)
        shown = np.cross(hint, y) if ends.is_left else hint
        x, z = (rotation.rotate(followed, axis) for axis in (np.array([1.0, 0, 0]), np.array([0, 0, 1.0])))
        turn = np.exp(1j * np.arctan2((shown * x).sum(axis=-1), (shown * z).sum(axis=-1)))
        total = carried.weight + seen.weight * turn
        inverse = total.conj() / np.maximum(np.abs(total) ** 2, _LEAST_WEIGHT)
        guessed = carried.weight * inverse.real
        turned = (turn * inverse)[:, None, None]
        by_angle = guessed[:, None, None] * carried.by_angle + seen.weight[:, None, None] * turned.real * seen.by_angle
        by_angle += inverse.imag[:, None, None] * carried.by_weight + turned.imag * seen.by_weight
    carry = np.einsum("tx,txb->tb", (old + y) / np.maximum(1 + (old * y).sum(axis=-1), 1e-6)[:, None], parent.guesses)
    own = np.eye(len(skeleton.bone_names))[bone] * turns_by_itself(skeleton, bone)
    by_guess = guessed[:, None] * (carry + own)
    swing = np.cross(y[:, :, None, None], by_y, axis=1)
    return _Turns(swing + y[:, :, None, None] * by_angle[:, None], y[:, :, None] * by_guess[:, None])
