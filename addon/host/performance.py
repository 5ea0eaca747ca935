"""What a person does, for other armatures: the solved motion, or what the animator made of it."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np

from ...inference.errors import InputError
from ...inference.shapes import FloatArray
from ...inference.types import SkeletonMotion, Solution
from .armature import root_name
from .axes import continuous, frame_numbers, world_to_local
from .layers import shown_layer
from .parts import FINGERPRINT, PERSON, SOLVED, TAKE, take_collection
from .scene import FRAME_START, clock_of, fingerprint


@dataclass(frozen=True)
class Performance:
    """One person's motion in scene frames."""

    take: str
    motion: SkeletonMotion
    person: int
    frames: FloatArray  # (T,)
    of_take: int | None = None  # the same person's number in the take; None: the same

    @property
    def number(self) -> int:
        """The person's number in the take."""
        return self.person if self.of_take is None else self.of_take


def take_start(scene: bpy.types.Scene, take: str) -> int:
    """Return the scene frame at which a take starts."""
    home = take_collection(scene, take)
    return int(home.get(FRAME_START, scene.frame_start)) if home is not None else scene.frame_start


def performance_of(scene: bpy.types.Scene, item: bpy.types.Object, solution: Solution) -> Performance:
    """Return what one of our armatures does.

    Convention:
        an armature that shows the solved layer as it was entered does what the solution says; another layer, or an
        edited armature, is read off the scene frame by frame.

    Raises:
        InputError: the armature and the solution do not fit each other.
    """
    motion, person = solution.motion, int(item[PERSON])
    names = {root_name(motion.skeleton), *motion.skeleton.bone_names}
    if person >= len(motion.bone_length) or not names <= set(item.data.bones.keys()):
        raise InputError(f"{item.name} and the solution of the take do not fit each other; solve the take again")
    start, fps = clock_of(scene, item[TAKE], solution)
    frames = frame_numbers(motion.timestamps_s, fps, start)
    untouched = shown_layer(item) == SOLVED and item.get(FINGERPRINT) == fingerprint(item)
    if untouched:
        return Performance(item[TAKE], motion, person, frames)
    return Performance(item[TAKE], _read_off(scene, item, motion, frames), 0, frames, person)


def _read_off(
    scene: bpy.types.Scene, item: bpy.types.Object, motion: SkeletonMotion, frames: FloatArray
) -> SkeletonMotion:
    """Return a motion of one person that gives the armature's bones as the scene shows them."""
    skeleton, person = motion.skeleton, int(item[PERSON])
    names = (root_name(skeleton), *skeleton.bone_names)
    metre = scene.unit_settings.scale_length
    shown, axes, place = (scene.frame_current, scene.frame_subframe), [], []
    try:
        for frame in frames:
            whole = int(np.floor(frame))
            scene.frame_set(whole, subframe=float(frame - whole))
            bones = [item.matrix_world @ item.pose.bones[name].matrix for name in names]
            place.append(np.array(bones[0].translation) * metre)
            axes.append([bone.to_quaternion() for bone in bones])
    finally:
        scene.frame_set(shown[0], subframe=shown[1])
    world = continuous(np.array(axes))
    local = world_to_local(world[:, 1:], skeleton.bone_parents)
    lengths = motion.bone_length[person : person + 1]
    return SkeletonMotion(
        skeleton, motion.timestamps_s, np.array(place)[:, None], world[:, None, 0], continuous(local)[:, None], lengths
    )
