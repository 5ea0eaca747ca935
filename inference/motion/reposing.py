"""A motion bent to new joints: every bone turns by the shortest arc and keeps its turn about itself.

Tools that clean a motion up change where joints are; what an animator or the estimate made of the turn about a bone's
own axis is not theirs to change.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..geometry import rotation
from ..shapes import FloatArray, check_shapes
from ..types import SkeletonMotion
from .kinematics import forward_kinematics, root_rotation


def joints_of(motion: SkeletonMotion, person: int) -> FloatArray:
    """(T, J, 3) m, the joints of one person of a motion, in the skeleton's order."""
    return forward_kinematics(
        motion.skeleton,
        motion.root_translation[:, person],
        motion.local_rotation[:, person],
        motion.bone_length[person],
    )


def with_joints(
    motion: SkeletonMotion,
    person: int,
    joints: FloatArray,  # (T, J, 3) m, finite, with the motion's bone lengths
) -> SkeletonMotion:
    """Turn the bones of one person so that they end at the joints given.

    Convention:
        a bone turns by the shortest arc from its old direction in the world to its new one; the pelvis turns as the
        joints around it do. Where the joints are the motion's own nothing changes.

    Returns:
        The motion with this person's root and rotations replaced; their covariance stays as it was.

    Raises:
        ShapeError: the joints do not fit the motion.
    """
    skeleton, frames = motion.skeleton, len(motion.timestamps_s)
    check_shapes(joints=(joints, f"{frames} {len(skeleton.joint_names)} 3"))
    before, along = joints_of(motion, person), np.array([0.0, 1.0, 0.0])
    old_local, local = motion.local_rotation[:, person], np.empty_like(motion.local_rotation[:, person])
    old, new = np.empty_like(local), np.empty_like(local)
    for bone, above in enumerate(skeleton.bone_parents):  # a tree: each bone needs its parent
        old[:, bone] = old_local[:, bone] if above < 0 else rotation.multiply(old[:, above], old_local[:, bone])
        direction = joints[:, bone + 1] - joints[:, skeleton.parents[bone + 1]]
        length = np.linalg.norm(direction, axis=-1, keepdims=True)
        was = rotation.rotate(old[:, bone], along)
        unit = np.where(length > 1e-9, direction / np.maximum(length, 1e-9), was)
        new[:, bone] = rotation.multiply(rotation.shortest_arc(was, unit), old[:, bone])
        local[:, bone] = (
            new[:, bone] if above < 0 else rotation.multiply(rotation.conjugate(new[:, above]), new[:, bone])
        )
    turned = rotation.multiply(root_rotation(skeleton, joints), rotation.conjugate(root_rotation(skeleton, before)))
    root = motion.root_rotation.copy()
    root[:, person] = rotation.continuous(rotation.multiply(turned, motion.root_rotation[:, person]))
    translation, locals_ = motion.root_translation.copy(), motion.local_rotation.copy()
    translation[:, person], locals_[:, person] = joints[:, 0], rotation.continuous(local)
    return replace(motion, root_translation=translation, root_rotation=root, local_rotation=locals_)
