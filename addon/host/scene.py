"""Enter a solution into a Blender scene: read this file first.

Solving again replaces what the solve before made, if nobody edited it, and touches nothing else.
"""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import bpy

from ...inference.take import Take
from ...inference.types import Solution
from .animation import action_fingerprint
from .armature import armature_fingerprint, build_armature
from .axes import blender_fps, frame_numbers, frame_rate
from .cameras import Backdrop, build_camera, camera_fingerprint, set_resolution, show_footage
from .ellipsoids import build_ellipsoids
from .parts import RAW, SOLVED, Claims, ensure_take_collection, part_of

FRAME_START = "sightline_frame_start"


@dataclass(frozen=True)
class TakeInfo:
    """What the scene needs to know of a take besides its solution."""

    name: str
    videos: Mapping[str, str] = field(default_factory=dict)  # view name -> absolute path or pattern
    video_fps: Mapping[str, float] = field(default_factory=dict)  # where the take states it
    fps: float | None = None  # of a solution of a single frame, whose rate cannot be seen


@dataclass(frozen=True)
class BuiltScene:
    """What was entered."""

    take: str
    cameras: tuple[bpy.types.Object, ...]
    armatures: tuple[bpy.types.Object, ...]
    ellipsoids: tuple[bpy.types.Object, ...]  # of the solved layer
    warnings: tuple[str, ...]


def take_info(take: Take) -> TakeInfo:
    """Pick out of a take what the scene needs."""
    return TakeInfo(
        name=take.name,
        videos={view.name: view.video for view in take.views if view.video},
        video_fps={view.name: view.fps for view in take.views if view.fps},
        fps=take.fps,
    )


def build_scene(context: bpy.types.Context, solution: Solution, info: TakeInfo) -> BuiltScene:
    """Make cameras, armatures and ellipsoids of a solution in the current scene, or update those of this take.

    Convention:
        metres become Blender units by the scene's unit scale; frame = frame_start + t·fps, and the frame at
        which a take starts stays its own through later solves.

    Returns:
        The objects, and warnings for the user.
    """
    scene = context.scene
    fps = frame_rate(solution.solved.timestamps_s) or info.fps or scene.render.fps / scene.render.fps_base
    start = _set_time(scene, info.name, fps, len(solution.solved.timestamps_s))
    frames = frame_numbers(solution.solved.timestamps_s, fps, start)
    units_per_m = 1.0 / scene.unit_settings.scale_length
    claims = Claims(scene, info.name, fingerprint)

    cameras, warnings = [], []
    for camera, offset_s in zip(solution.rig.cameras, solution.offset_s, strict=True):
        item, said = build_camera(claims, info.name, camera, units_per_m)
        if camera.name in info.videos:
            first = start + (offset_s - solution.solved.timestamps_s[0]) * fps
            backdrop = Backdrop(info.videos[camera.name], first, fps, info.video_fps.get(camera.name))
            said += show_footage(item, camera, backdrop)
        cameras.append(item)
        warnings += said
    persons = range(solution.motion.root_translation.shape[1])
    armatures = [build_armature(claims, info.name, solution.motion, p, frames, units_per_m) for p in persons]
    build_ellipsoids(claims, info.name, RAW, solution.raw, frames, units_per_m)
    ellipsoids = build_ellipsoids(claims, info.name, SOLVED, solution.solved, frames, units_per_m)
    claims.remove_leftovers()

    if cameras and (scene.camera is None or part_of(scene.camera) is not None):
        scene.camera = scene.camera or cameras[0]
        set_resolution(scene, scene.camera)
    scene.frame_set(scene.frame_current)
    return BuiltScene(info.name, tuple(cameras), tuple(armatures), tuple(ellipsoids), tuple(warnings))


def fingerprint(item: bpy.types.Object) -> str:
    """Return a hash of what we wrote into one of our objects."""
    if item.type == "CAMERA":
        return camera_fingerprint(item)
    if item.type == "ARMATURE":
        return armature_fingerprint(item)
    return action_fingerprint(item)


def _set_time(scene: bpy.types.Scene, take: str, fps: float, frames: int) -> int:
    home = ensure_take_collection(scene, take)
    start = int(home.get(FRAME_START, scene.frame_start))
    home[FRAME_START] = start
    scene.render.fps, scene.render.fps_base = blender_fps(fps)
    scene.frame_start, scene.frame_end = start, start + frames - 1
    return start
