"""One armature per person: the T pose from the person's bone lengths, the motion as one action."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager

import bpy
import numpy as np
from mathutils import Vector

from ...inference.shapes import FloatArray
from ...inference.types import Skeleton, SkeletonMotion
from .animation import action_fingerprint, replace_action, write_curves
from .axes import RestPose, pose_curves, rest_pose
from .parts import Claims, Part, digest, ensure_group

ROOT_LENGTH_M = 0.1
ROOT_NAMES = ("hips", "root", "sightline_root")


def build_armature(
    claims: Claims,
    take: str,
    motion: SkeletonMotion,
    person: int,
    frames: FloatArray,  # (T,)
    units_per_m: float,
) -> Generator[None, None, bpy.types.Object]:
    """Make or update the armature of one person and its action; pauses after every bone, returns the armature.

    Convention:
        the rest pose comes from bone lengths alone. The root bone stands at the skeleton's root joint and
        carries the pelvis; every other bone turns only, so its length never changes.
    """
    skeleton = motion.skeleton
    name = f"{take} person {person + 1}"
    part = Part("armature", take, person=person)
    item = claims.claim(part, ensure_group(claims.home, "people"), name, lambda: bpy.data.armatures.new(name))
    rest = rest_pose(skeleton, motion.bone_length[person])
    names = (root_name(skeleton), *skeleton.bone_names)
    item.data.pose_position = "POSE"
    _write_rest(item.data, skeleton, rest, units_per_m)
    bones = [item.data.bones[bone] for bone in names]
    rest_rotation = np.array([bone.matrix_local.to_3x3() for bone in bones])
    curves = pose_curves(motion, person, np.array(bones[0].head_local) / units_per_m, rest_rotation)
    bag = replace_action(item)
    for index, bone in enumerate(names):
        item.pose.bones[bone].rotation_mode = "QUATERNION"
        path = f'pose.bones["{bpy.utils.escape_identifier(bone)}"]'
        if index == 0:
            write_curves(bag, f"{path}.location", frames, curves.root_location * units_per_m, bone)
        write_curves(bag, f"{path}.rotation_quaternion", frames, curves.rotation[:, index], bone)
        yield
    item.show_in_front = True
    claims.seal(item)
    return item


def root_name(skeleton: Skeleton) -> str:
    """Return the name of the root bone: the first usual one that no bone of the skeleton has."""
    return next(name for name in ROOT_NAMES if name not in skeleton.bone_names)


def armature_fingerprint(item: bpy.types.Object) -> str:
    """Return a hash of an armature's bones, rest pose, constraints and action."""
    rest = [f"{bone.name} {_rounded(bone.matrix_local)} {bone.length:.5g}" for bone in item.data.bones]
    constraints = str(sum(len(bone.constraints) for bone in item.pose.bones))
    return digest(*rest, constraints, action_fingerprint(item))


def _rounded(matrix: object) -> str:
    return " ".join(f"{value + 0.0:.4f}" for row in matrix for value in row)  # type: ignore[attr-defined]


def _write_rest(data: bpy.types.Armature, skeleton: Skeleton, rest: RestPose, units_per_m: float) -> None:
    """Make the armature's bones exactly those of the skeleton; bones that stay keep what hangs on them."""
    root = root_name(skeleton)
    joined = np.linalg.norm(rest.tails[skeleton.bone_parents] - rest.heads, axis=1) < 1e-9
    with edit_bones(data) as bones:
        for bone in [b for b in bones if b.name not in (root, *skeleton.bone_names)]:
            bones.remove(bone)
        made = [bones.get(name) or bones.new(name) for name in (root, *skeleton.bone_names)]
        for bone in made:
            bone.use_connect = False
        up, forward = rest.root_rotation[:, 1], rest.root_rotation[:, 2]
        place_bone(made[0], rest.root, rest.root + ROOT_LENGTH_M * up, forward, units_per_m)
        for index, parent in enumerate(skeleton.bone_parents):
            bone = made[index + 1]
            bone.parent = made[parent + 1]
            place_bone(bone, rest.heads[index], rest.tails[index], rest.z_axes[index], units_per_m)
        for index, parent in enumerate(skeleton.bone_parents):
            made[index + 1].use_connect = bool(parent >= 0 and joined[index])


def place_bone(
    bone: bpy.types.EditBone, head: FloatArray, tail: FloatArray, z_axis: FloatArray, units_per_m: float
) -> None:
    """Enter where a bone lies at rest, m, and how it is rolled."""
    bone.head, bone.tail = Vector(head) * units_per_m, Vector(tail) * units_per_m
    bone.align_roll(Vector(z_axis))


@contextmanager
def edit_bones(data: bpy.types.Armature) -> Iterator[bpy.types.ArmatureEditBones]:
    """Open an armature's bones for editing, whatever the mode, the active object and the visibility are.

    A second, short-lived object carries the armature into edit mode: the real one may be hidden.
    """
    layer = bpy.context.view_layer
    active = layer.objects.active
    mode = active.mode if active else "OBJECT"
    if mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")
    chosen = [item for item in layer.objects if item and item.select_get()]
    for item in chosen:  # selected armatures would enter edit mode too
        item.select_set(False)
    carrier = bpy.data.objects.new("carrier", data)
    bpy.context.scene.collection.objects.link(carrier)
    try:
        layer.objects.active = carrier
        # Named, because operators see nothing active in a scene that no window shows.
        with bpy.context.temp_override(active_object=carrier, object=carrier):
            bpy.ops.object.mode_set(mode="EDIT")
        yield data.edit_bones
    finally:
        if carrier.mode == "EDIT":
            with bpy.context.temp_override(active_object=carrier, object=carrier, edit_object=carrier):
                bpy.ops.object.mode_set(mode="OBJECT")
        bpy.data.objects.remove(carrier)
        layer.objects.active = active
        for item in chosen:
            item.select_set(True)
        if mode != "OBJECT":
            bpy.ops.object.mode_set(mode=mode)
