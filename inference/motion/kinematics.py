"""From joint positions to a rigid skeleton: constant lengths, local rotations, and back.

A bone's frame has +y along the bone; at rest +z points forward (for bones that themselves point forward or
backward: up). The turn about the bone's own axis is not seen from its two ends. It follows the next bone where a
hinge is bent (upper arm from forearm, thigh from shin, shin from foot), the knuckles for forearm and hand, heel and
ankle for the foot, the line through both sides of the body for the spine, neck and head, and otherwise the parent;
always smoothly in time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solveh_banded

from ..geometry import rotation
from ..shapes import BoolArray, FloatArray, check_shapes
from ..types import Skeleton

ComplexArray = NDArray[np.complexfloating[Any, Any]]

_FORWARD, _UP = np.array([0.0, -1, 0]), np.array([0, 0, 1.0])
_HINGES = {"upper_arm": ("forearm", 1.0), "thigh": ("shin", -1.0), "shin": ("foot", 1.0)}
_ACROSS = {"forearm": ("pinky", "index"), "hand": ("pinky", "index"), "foot": ("heel", "ankle")}  # from, to: forward
_FACE = ("ear", "eye", "eye_outer", "mouth")
_SIDES = {  # both sides of the body: from the right one to the left one, the first pair that the skeleton has
    "spine": ("shoulder",),
    "lower_spine": ("hip",),
    "upper_spine": ("shoulder",),
    "neck": _FACE,
    "head": _FACE,
    "skull": _FACE,
}
PARENT_SHARE = 0.02  # weight of the parent's twist against a hinge bent by 90 degrees
_TWIST_SMOOTHING_S = 0.05
_PROJECTIONS = 4
_BLOCK = 500  # frames that are made rigid at once


def nearest_rigid(
    skeleton: Skeleton,
    xyz: FloatArray,  # (T, J, 3) m, joints of the skeleton; NaN where nothing is known
    covariance: FloatArray,  # (T, J, 3, 3) m², of the known joints
    lengths: FloatArray,  # (B,) m
    rigid: BoolArray,  # (B,)
) -> FloatArray:
    """Give every bone its length, moving the joints as little as their covariance allows.

    Frame by frame the constrained least squares ``min Σ (x - x̂)ᵀ C⁻¹ (x - x̂)`` with all bones at their lengths, by
    Gauss-Newton on the constraints with Lagrange multipliers. A joint that is well known stays; without this, the
    error of one bone's length would move all that follows it along the limb.

    Convention:
        bones that are not ``rigid`` (a hip and an ankle whose knee was never seen) and bones of unknown joints do
        not pull; what hangs on them follows (`rigid_joints`). Lengths are met exactly. Finite in every frame.

    Returns:
        (T, J, 3).
    """
    check_shapes(xyz=(xyz, f"T {len(skeleton.joint_names)} 3"), lengths=(lengths, f"{len(skeleton.bone_names)}"))
    check_shapes(rigid=(rigid, f"{len(lengths)}"))
    known = np.isfinite(xyz).all(axis=-1)
    moved = np.empty(xyz.shape)
    for start in range(0, len(xyz), _BLOCK):
        block = slice(start, start + _BLOCK)
        pulling = rigid & known[block, 1:] & known[block][:, skeleton.parents[1:]]
        moved[block] = _onto_lengths(skeleton, xyz[block], covariance[block], pulling, lengths)
    return rigid_joints(skeleton, moved, lengths)


def _onto_lengths(
    skeleton: Skeleton, xyz: FloatArray, covariance: FloatArray, active: BoolArray, lengths: FloatArray
) -> FloatArray:
    """Move the known joints of (T, J, 3) onto the lengths of the active bones (T, B); the others stay NaN."""
    bones = np.arange(len(lengths))
    ends, starts = bones + 1, skeleton.parents[1:]
    known = np.isfinite(xyz).all(axis=-1)
    target = np.where(known[..., None], xyz, 0.0)
    give = np.where(known[..., None, None], covariance, 0.0)
    joints = target
    for _ in range(_PROJECTIONS):
        along = np.where(active[..., None], joints[:, ends] - joints[:, starts], 0.0)
        slopes = np.zeros((len(joints), len(bones), joints.shape[1], 3))  # of half the squared lengths
        slopes[:, bones, ends], slopes[:, bones, starts] = along, -along
        given = np.zeros_like(slopes)  # covariance times slopes
        given[:, bones, ends] = (give[:, ends] @ along[..., None])[..., 0]
        given[:, bones, starts] = (give[:, starts] @ -along[..., None])[..., 0]
        given, slopes = (part.reshape(len(joints), len(bones), -1) for part in (given, slopes))
        gap = np.where(active, 0.5 * ((along**2).sum(axis=-1) - lengths**2), 0.0)
        gap = gap + (slopes @ (target - joints).reshape(len(joints), -1, 1))[..., 0]
        matrix = given @ slopes.swapaxes(1, 2)
        matrix[:, bones, bones] = np.where(active, matrix[:, bones, bones] * (1 + 1e-9), 1.0)
        force = np.linalg.solve(matrix, gap[..., None])
        joints = target - (given.swapaxes(1, 2) @ force).reshape(target.shape)
    return np.where(known[..., None], joints, np.nan)


def rigid_joints(
    skeleton: Skeleton,
    xyz: FloatArray,  # (T, J, 3) m, joints of the skeleton; NaN where nothing is known
    lengths: FloatArray,  # (B,) m
) -> FloatArray:
    """Give every bone its length, keeping directions: forward from the root.

    Convention:
        a NaN joint keeps its bone's direction relative to the world from the nearest frames that have it, interpolated;
        a joint that is never known stands in its rest direction. The result is finite in every frame.

    Returns:
        (T, J, 3).
    """
    check_shapes(xyz=(xyz, f"T {len(skeleton.joint_names)} 3"), lengths=(lengths, f"{len(skeleton.bone_names)}"))
    result = np.empty(xyz.shape)
    result[:, 0] = _filled(xyz[:, 0], np.zeros(3))
    for bone, parent in enumerate(skeleton.parents[1:]):  # a tree: each joint needs its parent
        direction = _filled(xyz[:, bone + 1] - xyz[:, parent], skeleton.rest_direction[bone])
        norm = np.linalg.norm(direction, axis=-1, keepdims=True)
        unit = np.where(norm > 1e-6, direction / np.maximum(norm, 1e-6), skeleton.rest_direction[bone])
        result[:, bone + 1] = result[:, parent] + lengths[bone] * unit
    return result


def _filled(values: FloatArray, default: FloatArray) -> FloatArray:
    """(T, 3) with NaN rows interpolated over frames and held at the ends."""
    known = np.isfinite(values).all(axis=-1)
    if not known.any():
        return np.broadcast_to(default, values.shape).copy()
    frames = np.arange(len(values))
    return np.stack([np.interp(frames, frames[known], column[known]) for column in values.T], axis=-1)


def forward_kinematics(
    skeleton: Skeleton,
    root_translation: FloatArray,  # (T, 3) m
    local_rotation: FloatArray,  # (T, B, 4) wxyz
    lengths: FloatArray,  # (B,) m
) -> FloatArray:
    """Joints (T, J, 3) of a motion; see `SkeletonMotion` for the convention."""
    frames = len(root_translation)
    world = np.empty((frames, len(skeleton.bone_names), 4))
    joints = np.empty((frames, len(skeleton.joint_names), 3))
    joints[:, 0] = root_translation
    for bone, above in enumerate(skeleton.bone_parents):
        local = local_rotation[:, bone]
        world[:, bone] = local if above < 0 else rotation.multiply(world[:, above], local)
        tip = rotation.rotate(world[:, bone], np.array([0, lengths[bone], 0]))
        joints[:, bone + 1] = joints[:, skeleton.parents[bone + 1]] + tip
    return joints


def bone_rotations(
    skeleton: Skeleton,
    joints: FloatArray,  # (T, J, 3) m, finite
    times: FloatArray,  # (T,) s
) -> tuple[FloatArray, FloatArray]:
    """Rotations of the root and of every bone that reproduce the joints.

    Args:
        skeleton: the tree.
        joints: as `rigid_joints` gives them.
        times: of the frames.

    Returns:
        (T, 4) world from pelvis, and (T, B, 4) local rotations; signs continuous in time.
    """
    root = root_rotation(skeleton, joints)
    rest = rest_frames(skeleton)
    world = np.empty((len(joints), len(skeleton.bone_names), 4))
    local = np.empty_like(world)
    for bone, above in enumerate(skeleton.bone_parents):  # a tree: each bone needs its parent
        start = carried_along(rest, bone, above, root if above < 0 else world[:, above])
        world[:, bone] = _bone_frames(skeleton, bone, joints, start, times)
        local[:, bone] = (
            world[:, bone] if above < 0 else rotation.multiply(rotation.conjugate(world[:, above]), world[:, bone])
        )
    return rotation.continuous(root), rotation.continuous(local)


def carried_along(
    rest: FloatArray,  # (B, 4) of `rest_frames`
    bone: int,
    above: int,
    parent: FloatArray,  # (T, 4) world from the bone above, or from the pelvis
) -> FloatArray:
    """(T, 4) world from bone where its parent alone would take it, as in the T pose."""
    # the pelvis frame at rest has x left, y up, z forward
    pelvis = rotation.quaternion_from_matrix(np.column_stack([[1, 0, 0], _UP, _FORWARD]))
    parent_rest = pelvis if above < 0 else rest[above]
    return rotation.multiply(parent, rotation.multiply(rotation.conjugate(parent_rest), rest[bone]))


def rest_frames(skeleton: Skeleton) -> FloatArray:
    """(B, 4) world from bone in the T pose."""
    frames = []
    for y in skeleton.rest_direction:
        z = _UP if abs(y @ _FORWARD) > 0.7 else _FORWARD
        z = z - (z @ y) * y
        z = z / np.linalg.norm(z)
        frames.append(np.column_stack([np.cross(y, z), y, z]))
    matrices = np.array(frames).reshape(-1, 3, 3)
    return rotation.quaternion_from_matrix(matrices) if len(matrices) else np.empty((0, 4))


def root_rotation(
    skeleton: Skeleton,
    joints: FloatArray,  # (T, J, 3) m
) -> FloatArray:
    """(T, 4) world from pelvis: x to the subject's left (hips, or shoulders), y up the spine, z forward.

    Convention:
        without both sides the left is that of the rest pose; where the body folds so that spine and hips are parallel
        the left of the frames around is taken.
    """
    spine, across = root_hints(skeleton)
    up = joints[:, spine.stop] - joints[:, spine.start] if spine else np.broadcast_to(_UP, joints[:, 0].shape)
    left = np.broadcast_to([1.0, 0, 0], up.shape)
    if across:
        left = joints[:, across.stop] - joints[:, across.start]
    y = _unit(np.where(np.linalg.norm(up, axis=-1, keepdims=True) > 1e-6, up, _UP))
    x = left - (left * y).sum(axis=-1, keepdims=True) * y
    size = np.linalg.norm(x, axis=-1)
    x = _filled(
        np.where((size > 0.05 * np.linalg.norm(left, axis=-1).max() + 1e-9)[:, None], x, np.nan), np.array([1.0, 0, 0])
    )
    x = x - (x * y).sum(axis=-1, keepdims=True) * y
    spare = np.cross(y, np.where(np.abs(y[:, 2:]) < 0.9, _UP, _FORWARD))
    x = _unit(np.where(np.linalg.norm(x, axis=-1, keepdims=True) > 1e-3, x, spare))
    return rotation.continuous(rotation.quaternion_from_matrix(np.stack([x, y, np.cross(x, y)], axis=-1)))


def root_hints(skeleton: Skeleton) -> tuple[Hint | None, Hint | None]:
    """The joints that show where the pelvis's y (up the spine) and x (left) point; None where there are none."""
    names = skeleton.joint_names
    low, high = _first(names, ("pelvis",)), _first(names, ("neck", "thorax", "nose"))
    spine = Hint(low, high, False) if low is not None and high is not None else None
    sides = ("hip", "shoulder") if names[0] == "pelvis" else ("shoulder", "hip")
    for joint in sides:
        if f"left_{joint}" in names and f"right_{joint}" in names:
            return spine, Hint(names.index(f"right_{joint}"), names.index(f"left_{joint}"), True)
    return spine, None


def _first(names: tuple[str, ...], candidates: tuple[str, ...]) -> int | None:
    return next((names.index(name) for name in candidates if name in names), None)


def _unit(vectors: FloatArray) -> FloatArray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def _bone_frames(skeleton: Skeleton, bone: int, joints: FloatArray, start: FloatArray, times: FloatArray) -> FloatArray:
    """World from bone (T, 4), given where the parent's turn alone would take it (start).

    All in the axes of ``start``: a body that spins as a whole does not turn its bones.
    """
    back, along = rotation.conjugate(start), np.array([0, 1.0, 0])
    y = rotation.rotate(back, _unit(joints[:, bone + 1] - joints[:, skeleton.parents[bone + 1]]))
    followed = rotation.shortest_arc(np.broadcast_to(along, y.shape), y)
    frames = rotation.running_product(np.concatenate([followed[:1], rotation.shortest_arc(y[:-1], y[1:])]))
    x, z = rotation.rotate(frames, np.array([1.0, 0, 0])), rotation.rotate(frames, np.array([0, 0, 1.0]))
    from_parent = _twist(rotation.rotate(followed, np.array([0, 0, 1.0])), x, z)
    target = PARENT_SHARE * (0.5 * (1 + y[:, 1])) ** 2 * from_parent
    hint = twist_hint(skeleton, bone)
    if hint is not None:
        vector = rotation.rotate(back, _unit(joints[:, hint.stop] - joints[:, hint.start]))
        vector = vector - (vector * y).sum(axis=-1, keepdims=True) * y
        forward = np.cross(vector, y) if hint.is_left else vector
        target = target + _twist(forward, x, z)
    angle = np.angle(_smoothed(target, times))
    half = np.stack([np.cos(angle / 2), np.zeros_like(angle), np.sin(angle / 2), np.zeros_like(angle)], axis=-1)
    return rotation.multiply(start, rotation.multiply(frames, half))


def _twist(forward: FloatArray, x: FloatArray, z: FloatArray) -> ComplexArray:
    """Complex number whose angle turns z towards ``forward`` about y; its size is squared length (0 … 1)."""
    along = (forward * z).sum(axis=-1) + 1j * (forward * x).sum(axis=-1)
    return along * np.abs(along)


class Hint(NamedTuple):
    """What shows the turn about a bone: the unit vector from one joint to another."""

    start: int
    stop: int
    is_left: bool  # it points to the left of the bone's frame (x), not forward (z)


def twist_hint(skeleton: Skeleton, bone: int) -> Hint | None:
    """The joints that show a bone's turn about itself; None where the skeleton has none."""
    side, base = _split(skeleton.bone_names[bone])
    names = skeleton.joint_names
    if base in _HINGES and side + _HINGES[base][0] in skeleton.bone_names:
        partner = skeleton.bone_names.index(side + _HINGES[base][0])
        if skeleton.parents[partner + 1] != bone + 1:
            return None
        ends = bone + 1, partner + 1
        start, stop = ends if _HINGES[base][1] > 0 else ends[::-1]
        return Hint(start, stop, False)
    if base in _ACROSS and all(side + joint in names for joint in _ACROSS[base]):
        start, stop = (names.index(side + joint) for joint in _ACROSS[base])
        return Hint(start, stop, False)
    for joint in _SIDES.get(base, ()):
        if f"left_{joint}" in names and f"right_{joint}" in names:
            return Hint(names.index(f"right_{joint}"), names.index(f"left_{joint}"), True)
    return None


def turns_by_itself(skeleton: Skeleton, bone: int) -> bool:
    """Whether a bone has a turn of its own; others (clavicles, bones of the face) take their parent's by convention."""
    base = _split(skeleton.bone_names[bone])[1]
    return base in _HINGES or base in _ACROSS or base in _SIDES


def _split(name: str) -> tuple[str, str]:
    side = name[: name.index("_") + 1] if name.startswith(("left_", "right_")) else ""
    return side, name.removeprefix(side)


def _smoothed(target: ComplexArray, times: FloatArray) -> ComplexArray:
    """Follow a complex signal whose size is its weight: min Σ |z - target/size|²·size + Σ (τ/h)² |Δz|²·(mean size)."""
    if len(target) < 2:
        return target
    weight = np.abs(target)
    stiffness = (_TWIST_SMOOTHING_S / np.diff(times)) ** 2 * max(float(weight.mean()), 1e-6)
    bands = np.zeros((2, len(target)))
    bands[1] = weight + 1e-9
    bands[1, :-1] += stiffness
    bands[1, 1:] += stiffness
    bands[0, 1:] = -stiffness
    parts = solveh_banded(bands, np.stack([target.real, target.imag], axis=-1))
    return parts[:, 0] + 1j * parts[:, 1]
