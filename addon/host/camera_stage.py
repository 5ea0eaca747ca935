"""Cameras of a scene evaluated in many frames, without whatever else is heavy in it."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import bpy
import numpy as np

from ...inference.shapes import FloatArray

_SAME = 1e-5  # of matrices that are compared: single precision


@dataclass(frozen=True, eq=False)
class Seen:
    """Cameras as Blender evaluates them, in N frames."""

    matrix_world: FloatArray  # (V, N, 4, 4) in the scene's units
    projection: FloatArray  # (V, N, 4, 4)


@dataclass(frozen=True)
class Lens:
    """What a projection needs besides the camera."""

    size: tuple[int, int]  # px
    aspect: tuple[float, float]


def see(
    context: bpy.types.Context, cameras: Sequence[bpy.types.Object], lenses: Sequence[Lens], frames: FloatArray
) -> Seen:
    """Evaluate cameras in frames (N,), also between whole ones.

    Convention:
        done in a scene of its own that holds nothing but what the cameras depend on; where that shows another pose
        than the real scene in the first, middle or last frame (something rests on the scene itself), the real one is
        played. Hidden cameras are evaluated too. The scene and its frame stay as they are.
    """
    scene = context.scene
    few = np.unique(frames[[0, len(frames) // 2, -1]])
    with _keeping_frame(scene), _probes(scene, cameras):
        real = _played(scene, context.view_layer, cameras, lenses, few)
        if len(few) == len(frames):
            return real
        with _beside(scene) as other, _probes(other, cameras):
            layer = other.view_layers[0]
            alike = _played(other, layer, cameras, lenses, few)
            if all(np.allclose(getattr(real, key), getattr(alike, key), rtol=_SAME, atol=_SAME) for key in vars(real)):
                return _played(other, layer, cameras, lenses, frames)
        return _played(scene, context.view_layer, cameras, lenses, frames)


def _played(
    scene: bpy.types.Scene,
    layer: bpy.types.ViewLayer,
    cameras: Sequence[bpy.types.Object],
    lenses: Sequence[Lens],
    frames: FloatArray,
) -> Seen:
    matrices, projections = np.empty((2, len(cameras), len(frames), 4, 4))
    for n, frame in enumerate(frames):  # Blender evaluates one frame at a time
        whole = math.floor(frame)
        scene.frame_set(whole, subframe=float(frame - whole))
        depsgraph = layer.depsgraph
        for v, (camera, lens) in enumerate(zip(cameras, lenses, strict=True)):
            shown = camera.evaluated_get(depsgraph)
            (width, height), (wide, tall) = lens.size, lens.aspect
            matrices[v, n] = shown.matrix_world
            projections[v, n] = shown.calc_matrix_camera(depsgraph, x=width, y=height, scale_x=wide, scale_y=tall)
    return Seen(matrices, projections)


@contextmanager
def _keeping_frame(scene: bpy.types.Scene) -> Iterator[None]:
    before = scene.frame_current, scene.frame_subframe
    try:
        yield
    finally:
        scene.frame_set(before[0], subframe=before[1])


@contextmanager
def _beside(scene: bpy.types.Scene) -> Iterator[bpy.types.Scene]:
    """An empty scene in which time goes as in another."""
    made = bpy.data.scenes.new(scene.name)
    try:
        made.active_clip = scene.active_clip
        made.render.frame_map_old, made.render.frame_map_new = scene.render.frame_map_old, scene.render.frame_map_new
        yield made
    finally:
        bpy.data.scenes.remove(made)


@contextmanager
def _probes(scene: bpy.types.Scene, cameras: Sequence[bpy.types.Object]) -> Iterator[None]:
    """Empties that follow cameras: Blender evaluates what something visible depends on, hidden or elsewhere or not."""
    made = []
    try:
        for camera in cameras:
            probe = bpy.data.objects.new("probe", None)
            made.append(probe)
            scene.collection.objects.link(probe)
            probe.constraints.new("COPY_TRANSFORMS").target = camera
        yield
    finally:
        bpy.data.batch_remove(made)
