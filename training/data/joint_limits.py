"""What joints can do: body poses kept inside, or drawn from, anatomical limits.

A bone's rotation against its parent is split into swing and twist about the bone's own direction (Grassia 1998,
section 4.1, for the split). The swing's two angles are flexion, about the hinge of elbow, knee and their like, and
the sideways angle about the third axis. Right limbs are mirrored to the left, judged there, and mirrored back.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from inference.shapes import FloatArray, check_shapes

from .body import POSED_BONES, Body, bone_index, mirrored_bone
from .motion import bone_direction

# Degrees from the body at rest (arms half raised, elbows a little bent): flexion, sideways, twist; each (least, most).
# Directions: legs forward is negative flexion, knees bend positive; spine forward positive; elbows bend positive.
_LIMITS = {
    "spine_low": ((-16, 40), (-14, 14), (-14, 14)),
    "spine_mid": ((-12, 22), (-14, 14), (-14, 14)),
    "chest": ((-12, 20), (-14, 14), (-16, 16)),
    "neck": ((-30, 30), (-22, 22), (-35, 35)),
    "head": ((-28, 28), (-22, 22), (-40, 40)),
    "clavicle": ((-18, 18), (-12, 30), (-10, 10)),
    "upper_arm": ((-60, 120), (-75, 115), (-80, 80)),
    "forearm": ((-35, 115), (-6, 25), (-80, 80)),
    "hand": ((-65, 65), (-28, 38), (-85, 60)),
    "thigh": ((-125, 28), (-30, 55), (-40, 40)),
    "shin": ((-4, 145), (-5, 5), (-15, 15)),
    "foot": ((-22, 45), (-22, 22), (-15, 15)),
    "toes": ((-45, 25), (-5, 5), (-5, 5)),
}


def limits() -> FloatArray:
    """(len(POSED_BONES) - 1, 3, 2) limits in radians of all bones but the pelvis, which is free."""
    return np.radians([_LIMITS[bone.split(".")[0]] for bone in POSED_BONES[1:]])


def hinge_frames(body: Body) -> FloatArray:
    """(len(POSED_BONES) - 1, 3, 3) rest frames: columns flexion axis, bone direction, sideways axis; right as left."""
    frames = []
    for bone in POSED_BONES[1:]:
        left = bone if not bone.endswith(".R") else mirrored_bone(bone)
        plain = left.split(".")[0]
        if plain in ("spine_low", "spine_mid", "chest", "neck", "head"):
            along, hinge = np.array([0, 0, 1.0]), np.array([1.0, 0, 0])
        elif plain == "clavicle":
            along, hinge = np.array([1.0, 0, 0]), np.array([0, 0, -1.0])
        else:
            along = bone_direction(body, left)
            hinge = np.array([1.0, 0, 0])
            if plain in ("upper_arm", "forearm", "hand"):  # the elbow's axis; for the hand the palm's
                hinge = np.cross(bone_direction(body, "upper_arm.L"), bone_direction(body, "forearm.L"))
        hinge = hinge - (hinge @ along) * along
        hinge /= np.linalg.norm(hinge)
        frames.append(np.column_stack([hinge, along, np.cross(hinge, along)]))
    return np.array(frames)


_RIGHT = np.array([bone.endswith(".R") for bone in POSED_BONES[1:]])
_MIRROR = np.diag([-1.0, 1, 1])


def angles_of(
    local: FloatArray,  # (..., B, 3, 3)
    frames: FloatArray,  # (B, 3, 3)
) -> FloatArray:
    """Split rotations against the parent into (..., B, 3): flexion, sideways, twist in radians."""
    check_shapes(local=(local, "... B 3 3"), frames=(frames, "B 3 3"))
    left = np.where(_RIGHT[:, None, None], _MIRROR @ local @ _MIRROR, local)
    inside = np.swapaxes(frames, -1, -2) @ left @ frames
    x, y, z, w = Rotation.from_matrix(inside.reshape(-1, 3, 3)).as_quat().T
    twist = 2 * np.arctan2(y, w)
    twist = (twist + np.pi) % (2 * np.pi) - np.pi
    swing = Rotation.from_quat(np.stack([x, y, z, w], 1)) * Rotation.from_rotvec(twist[:, None] * [0, -1.0, 0])
    vector = swing.as_rotvec()
    return np.stack([vector[:, 0], vector[:, 2], twist], axis=-1).reshape(*local.shape[:-2], 3)


def rotations_of(
    angles: FloatArray,  # (..., B, 3) rad
    frames: FloatArray,  # (B, 3, 3)
) -> FloatArray:
    """Inverse of `angles_of`: (..., B, 3, 3)."""
    check_shapes(angles=(angles, "... B 3"), frames=(frames, "B 3 3"))
    flat = angles.reshape(-1, 3)
    swing = Rotation.from_rotvec(np.column_stack([flat[:, 0], np.zeros(len(flat)), flat[:, 1]]))
    whole = swing * Rotation.from_rotvec(flat[:, 2:] * [0, 1.0, 0])
    left = frames @ whole.as_matrix().reshape(*angles.shape[:-1], 3, 3) @ np.swapaxes(frames, -1, -2)
    return np.where(_RIGHT[:, None, None], _MIRROR @ left @ _MIRROR, left)


def mirror_pose(
    rotations: FloatArray,  # (..., len(POSED_BONES), 3, 3) in the world or against the parent
) -> FloatArray:
    """Exchange left and right of a body pose."""
    order = [bone_index(mirrored_bone(bone)) for bone in POSED_BONES]
    return _MIRROR @ rotations[..., order, :, :] @ _MIRROR
