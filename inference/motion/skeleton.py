"""The skeleton of any keypoint layout: a tree of joints with names of bones, and what its derived joints are made of.

Layouts without a pelvis or neck get one halfway between the hips or shoulders. The tree's root is the pelvis; where
the hips are not seen (people at desks) it is the neck.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import InputError
from ..layouts import mirrored
from ..shapes import BoolArray, FloatArray, IntArray, check_shapes
from ..types import Keypoints3D, Skeleton

_DERIVED = {"pelvis": ("left_hip", "right_hip"), "neck": ("left_shoulder", "right_shoulder")}
_RARE = 0.2  # a root seen less often than this share of the best-seen joint is passed over

# Joint (sides without their prefix): where it may hang, best first; name of the bone that ends there; place in the
# T pose of a person of 1.78 m, metres, left side: facing -y, left is +x.
_BODY: dict[str, tuple[tuple[str, ...], str, tuple[float, float, float]]] = {
    "pelvis": ((), "", (0, 0, 0.95)),
    "spine": (("pelvis",), "lower_spine", (0, 0, 1.20)),
    "neck": (("spine", "pelvis"), "spine", (0, 0, 1.45)),
    "thorax": (("spine", "pelvis"), "spine", (0, 0, 1.45)),
    "upper_neck": (("neck", "thorax", "spine", "pelvis"), "neck", (0, 0, 1.53)),
    "nose": (("upper_neck", "neck", "thorax", "pelvis"), "head", (0, -0.12, 1.60)),
    "head_top": (("upper_neck", "neck", "thorax", "nose", "pelvis"), "skull", (0, 0, 1.78)),
    "eye": (("nose", "upper_neck", "neck", "thorax"), "eye", (0.032, -0.10, 1.64)),
    "eye_inner": (("nose", "upper_neck", "neck", "thorax"), "eye_inner", (0.018, -0.105, 1.64)),
    "eye_outer": (("nose", "upper_neck", "neck", "thorax"), "eye_outer", (0.046, -0.09, 1.64)),
    "ear": (("nose", "upper_neck", "neck", "thorax"), "ear", (0.075, 0, 1.62)),
    "mouth": (("nose", "upper_neck", "neck", "thorax"), "mouth", (0.025, -0.11, 1.56)),
    "shoulder": (("neck", "thorax", "spine", "pelvis"), "clavicle", (0.18, 0, 1.45)),
    "elbow": (("shoulder", "neck", "thorax"), "upper_arm", (0.47, 0, 1.45)),
    "wrist": (("elbow", "shoulder", "neck", "thorax"), "forearm", (0.73, 0, 1.45)),
    "index": (("wrist", "elbow"), "hand", (0.83, -0.02, 1.45)),
    "pinky": (("wrist", "elbow"), "outer_hand", (0.82, 0.03, 1.45)),
    "thumb": (("wrist", "elbow"), "thumb", (0.78, -0.05, 1.45)),
    "hip": (("pelvis", "spine", "neck", "thorax"), "hip_bone", (0.11, 0, 0.95)),
    "knee": (("hip", "pelvis"), "thigh", (0.11, 0, 0.52)),
    "ankle": (("knee", "hip", "pelvis"), "shin", (0.11, 0, 0.09)),
    "heel": (("ankle", "knee"), "heel", (0.11, 0.05, 0.03)),
    "big_toe": (("ankle", "knee"), "foot", (0.12, -0.18, 0.03)),
    "foot_index": (("ankle", "knee"), "foot", (0.12, -0.18, 0.03)),
    "small_toe": (("ankle", "knee"), "outer_foot", (0.17, -0.14, 0.03)),
}


def build_skeleton(
    joint_names: Sequence[str],
    observed_share: FloatArray | None = None,  # (J,) 0–1
) -> Skeleton:
    """Build the tree of a layout's joints, with pelvis and neck added where the layout lacks them.

    Convention:
        every joint of the layout stays. Joint 0 is the root: the pelvis, or the neck where the hips are (nearly)
        never seen. A joint that is never seen hangs on the tree as a leaf: a seen joint's bone starts at its nearest
        seen ancestor.

    Args:
        joint_names: the layout's joints.
        observed_share: share of frames in which each was seen; all, if left out.

    Returns:
        Joints in topological order; bone b ends at joint b + 1.

    Raises:
        InputError: a joint is not known; the message names it.
    """
    names = list(joint_names)
    share = dict(zip(names, np.ones(len(names)) if observed_share is None else observed_share, strict=True))
    _check_known(names)
    for derived, sources in _DERIVED.items():
        lacking = derived not in names and not (derived == "neck" and "thorax" in names)
        if lacking and all(source in names for source in sources):
            names.append(derived)
            share[derived] = min(share[source] for source in sources)
    seen = {name for name in names if share[name] > 0}
    root = _root(names, share)
    edges = {name: _attachment(name, names, seen, root) for name in names}
    order, parents, bones = _walk(root, names, edges)
    rest = np.stack([_rest_position(name) for name in order])
    directions = rest[1:] - rest[np.array(parents[1:], int)]
    directions /= np.maximum(np.linalg.norm(directions, axis=-1, keepdims=True), 1e-9)
    return Skeleton(tuple(order), np.array(parents), tuple(bones), directions.reshape(-1, 3))


def joint_sources(
    skeleton: Skeleton,
    joint_names: Sequence[str],
) -> FloatArray:
    """Matrix (J of the skeleton, J of the layout) that makes the skeleton's joints from the layout's.

    Rows are unit vectors, or two halves for derived joints.
    """
    matrix = np.zeros((len(skeleton.joint_names), len(joint_names)))
    where = {name: index for index, name in enumerate(joint_names)}
    for row, name in enumerate(skeleton.joint_names):
        sources = (name,) if name in where else _DERIVED[name]
        for source in sources:
            matrix[row, where[source]] = 1 / len(sources)
    return matrix


def with_derived_joints(keypoints: Keypoints3D, skeleton: Skeleton) -> Keypoints3D:
    """Bring 3D keypoints into the skeleton's order, its derived joints included.

    Convention:
        a derived joint is missing where one of its sources is; its covariance is that of the mean of independent
        points, its flag the lower one.
    """
    if keypoints.joint_names == skeleton.joint_names:
        return keypoints
    matrix = joint_sources(skeleton, keypoints.joint_names)
    first = np.array([np.flatnonzero(row)[0] for row in matrix])
    second = np.array([np.flatnonzero(row)[-1] for row in matrix])
    single = (first == second)[:, None, None]
    covariance = keypoints.covariance[:, :, first] + keypoints.covariance[:, :, second]
    return Keypoints3D(
        skeleton.joint_names,
        keypoints.timestamps_s,
        (keypoints.xyz[:, :, first] + keypoints.xyz[:, :, second]) / 2,
        np.where(single, covariance / 2, covariance / 4),
        np.minimum(keypoints.flag[:, :, first], keypoints.flag[:, :, second]),
        keypoints.degrees_of_freedom,
        np.where(
            keypoints.flag[:, :, first] <= keypoints.flag[:, :, second],
            keypoints.reason[:, :, first],
            keypoints.reason[:, :, second],
        ),
    )


def mirrored_bones(skeleton: Skeleton) -> IntArray:
    """(B,) index of the bone on the other side of the body; a bone without one is its own."""
    where = {name: index for index, name in enumerate(skeleton.bone_names)}
    return np.array([where.get(mirrored(name), where[name]) for name in skeleton.bone_names], dtype=np.int64)


def anatomical(skeleton: Skeleton) -> BoolArray:
    """(B,) whether a bone joins neighbours on the body: not so where a joint between its ends was never seen."""
    names = skeleton.joint_names
    result = []
    for child, parent in zip(names[1:], (names[p] for p in skeleton.parents[1:]), strict=True):
        attached = (_attachment(child, names, set(names), names[0]), _attachment(parent, names, set(names), names[0]))
        result.append(attached[0] == parent or attached[1] == child)
    return np.array(result, bool)


def rest_lengths(skeleton: Skeleton) -> FloatArray:
    """(B,) bone lengths in metres of a person of 1.78 m, for bones that were never measured."""
    rest = np.stack([_rest_position(name) for name in skeleton.joint_names])
    check_shapes(rest=(rest, f"{len(skeleton.joint_names)} 3"))
    return np.linalg.norm(rest[1:] - rest[skeleton.parents[1:]], axis=-1)


def _split(name: str) -> tuple[str, str]:
    for side in ("left_", "right_"):
        if name.startswith(side):
            return side, name.removeprefix(side)
    return "", name


def _check_known(names: Sequence[str]) -> None:
    for name in names:
        side, base = _split(name)
        sided = base in _BODY and _BODY[base][2][0] != 0
        if base not in _BODY or sided != bool(side):
            raise InputError(f"joint {name!r} is not known to the skeleton; name joints as in inference/layouts.py")


def _rest_position(name: str) -> FloatArray:
    side, base = _split(name)
    x, y, z = _BODY[base][2]
    return np.array([-x if side == "right_" else x, y, z])


def _root(names: Sequence[str], share: dict[str, float]) -> str:
    best = max(share.values(), default=0)
    for candidate in ("pelvis", "neck", "thorax"):
        if candidate in names and share[candidate] > _RARE * best:
            return candidate
    seen = sorted(names, key=lambda name: (-share[name], names.index(name)))
    central = [name for name in ("pelvis", "neck", "thorax") if name in names and share[name] > 0]
    return central[0] if central else seen[0]


def _attachment(name: str, names: Sequence[str], seen: set[str], root: str) -> str | None:
    """The joint that this one hangs on, before the tree is turned to its root."""
    side, base = _split(name)
    candidates = [c if _BODY[c][2][0] == 0 else side + c for c in _BODY[base][0]]
    usable = [c for c in candidates if c in names and (c in seen or c == root)]
    if usable:
        return usable[0]
    return None if name == root else root


def _walk(root: str, names: Sequence[str], edges: dict[str, str | None]) -> tuple[list[str], list[int], list[str]]:
    """Breadth first from the root: joints, parents, and the names of the bones."""
    # where the root is not the pelvis, the chain between them is turned round
    order, parents, bones = [root], [-1], []
    for joint in order:
        for name in names:
            linked = edges[name] == joint or (edges[joint] == name and edges[name] != joint)
            if linked and name not in order:
                order.append(name)
                parents.append(order.index(joint))
                bones.append(_bone_name(name if edges[name] == joint else joint, edges))
    return order, parents, _unique(bones, order[1:])


def _bone_name(outer: str, edges: dict[str, str | None]) -> str:
    side, base = _split(outer)
    if base in ("neck", "thorax") and edges[outer] == "spine":
        return "upper_spine"
    return side + (_BODY[base][1] or "spine")


def _unique(bones: list[str], ends: list[str]) -> list[str]:
    """Give a bone whose name is taken the name of the joint where it ends."""
    result: list[str] = []
    for bone, end in zip(bones, ends, strict=True):
        result.append(bone if bone not in result else f"{end}_bone")
    return result
