"""Bones and ellipsoids in the 3D view, coloured by sigma in the current frame."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

from functools import lru_cache

import bpy
import numpy as np

from ...inference.shapes import FloatArray, IntArray
from .painting import blending, faces, lines
from .shown import ShownTake, matrix_of, shown_takes

_BONE_PX = 6.0
_FILL = 0.35  # how opaque an ellipsoid is
_AROUND, _UP = 12, 6  # faces of a ball


def draw_bones(context: bpy.types.Context) -> None:
    """Draw every bone of our armatures as a line, in the colours of the joints at its ends."""
    for shown in shown_takes(context.scene):
        index = shown.index(context.scene.frame_current_final)
        if index is None:
            continue
        points, colour = bone_lines(shown, index)
        if len(points):
            with blending():
                lines(points, np.full_like(colour, (0.02, 0.02, 0.02, 0.8)), _BONE_PX + 2.5)
                lines(points, colour, _BONE_PX)


def bone_lines(shown: ShownTake, index: int) -> tuple[FloatArray, FloatArray]:
    """Return (2N, 3) ends of the bones of all visible armatures in the world, and (2N, 4) colours."""
    points, colours = [], []
    for person in range(shown.data.sigma.shape[1]):
        item = shown.armature(person)
        if item is None:
            continue
        bones = item.pose.bones
        found = [(b, bones.get(name)) for b, name in enumerate(shown.data.bone_names)]
        there = [(b, bone) for b, bone in found if bone is not None]
        if not there:
            continue
        ends = np.array([tuple(end) for _, bone in there for end in (bone.head, bone.tail)])
        world = matrix_of(item)
        points.append(ends @ world[:3, :3].T + world[:3, 3])
        joints = shown.data.bone_ends[[b for b, _ in there]].ravel()
        colours.append(shown.data.colour[index, person, joints])
    if not points:
        return np.zeros((0, 3)), np.zeros((0, 4))
    return np.concatenate(points), np.concatenate(colours)


def draw_ellipsoids(context: bpy.types.Context) -> None:
    """Fill the visible ellipsoids with the colour of their size."""
    for shown in shown_takes(context.scene):
        index = shown.index(context.scene.frame_current_final)
        if index is None:
            continue
        matrices, colour = ellipsoid_places(shown, index)
        if len(matrices):
            ball, triangles = unit_ball()
            points = ball @ np.swapaxes(matrices[:, :3, :3], 1, 2) + matrices[:, None, :3, 3]
            colour[:, 3] = _FILL
            with blending():
                faces(points.reshape(-1, 3), np.repeat(colour, len(ball), axis=0), many_balls(len(matrices)))


def ellipsoid_places(shown: ShownTake, index: int) -> tuple[FloatArray, FloatArray]:
    """Return (N, 4, 4) world from unit ball of the visible ellipsoids, and (N, 4) colours."""
    matrices, colours = [], []
    for person, joint in np.ndindex(shown.data.sigma.shape[1:]):
        item = shown.ellipsoid(person, joint)
        if item is not None:
            matrix = matrix_of(item)
            matrix[:3, :3] *= item.empty_display_size
            matrices.append(matrix)
            colours.append(shown.data.colour[index, person, joint])
    return np.array(matrices).reshape(-1, 4, 4), np.array(colours).reshape(-1, 4)


@lru_cache(1)
def unit_ball() -> tuple[FloatArray, IntArray]:
    """Return (N, 3) points of a unit ball and (M, 3) triangles."""
    around = np.arange(_AROUND) * 2 * np.pi / _AROUND
    up = np.linspace(-np.pi / 2, np.pi / 2, _UP + 1)
    ring = np.stack([np.cos(around), np.sin(around)], axis=-1)
    rows = [np.column_stack([ring * np.cos(a), np.full(_AROUND, np.sin(a))]) for a in up]
    first = np.arange(_UP * _AROUND)
    right = first - first % _AROUND + (first + 1) % _AROUND
    quads = np.stack([first, right, right + _AROUND, first + _AROUND], axis=-1)
    return np.concatenate(rows), np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


@lru_cache(4)
def many_balls(count: int) -> IntArray:
    """Return the triangles of as many balls, one after the other."""
    ball, triangles = unit_ball()
    return (np.arange(count)[:, None, None] * len(ball) + triangles).reshape(-1, 3).astype(np.int32)
