"""Enter a solution into a Blender scene: read this file first.

Solving again replaces what the solve before made, if nobody edited it, and touches nothing else.
"""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import bpy

from ...inference.shapes import FloatArray
from ...inference.take import Take
from ...inference.types import Solution
from .animation import action_fingerprint
from .armature import armature_fingerprint, build_armature
from .axes import blender_fps, frame_numbers, frame_rate
from .cameras import Backdrop, Clock, build_camera, camera_fingerprint, remember_pictures, set_resolution, show_footage
from .ellipsoids import Ellipsoids, build_ellipsoids, build_points, ellipsoids_of
from .parts import Claims, ensure_take_collection, part_of, take_collection

Built = TypeVar("Built")
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


@dataclass(frozen=True, eq=False)
class Prepared:
    """A solution with everything that is computed before Blender is touched."""

    solution: Solution
    ellipsoids: Ellipsoids


def prepare(solution: Solution) -> Prepared:
    """Compute what the scene shows; free of bpy, so it may run in a thread."""
    return Prepared(solution, ellipsoids_of(solution.solved))


def build_scene(context: bpy.types.Context, solution: Solution, info: TakeInfo) -> BuiltScene:
    """Make cameras, armatures and ellipsoids of a solution in the current scene, or update those of this take.

    Convention:
        metres become Blender units by the scene's unit scale; frame = frame_start + t·fps, and the frame at
        which a take starts stays its own through later solves.

    Returns:
        The objects, and warnings for the user.
    """
    steps = build_steps(context, prepare(solution), info)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def build_steps(context: bpy.types.Context, prepared: Prepared, info: TakeInfo) -> Generator[float, None, BuiltScene]:
    """Do what `build_scene` does in short steps; yields the share that is done and returns what was built."""
    scene, solution = context.scene, prepared.solution
    times = solution.solved.timestamps_s
    fps = frame_rate(times) or info.fps or scene.render.fps / scene.render.fps_base
    start = _set_time(scene, info.name, fps, len(times))
    frames = frame_numbers(times, fps, start)
    units_per_m = 1.0 / scene.unit_settings.scale_length
    claims = Claims(scene, info.name, fingerprint)

    cameras, warnings = _build_cameras(claims, solution, info, Clock(times, frames), (fps, units_per_m))
    armatures, ellipsoids = [], []
    bones = len(solution.motion.skeleton.bone_names) + 1
    done, steps = 0, solution.motion.root_translation.shape[1] * (bones + 2 * len(solution.solved.joint_names))
    for person in range(solution.motion.root_translation.shape[1]):
        building = build_armature(claims, info.name, solution.motion, person, frames, units_per_m)
        armatures.append((yield from _shares(building, done, steps)))
        done += bones
    for item in build_ellipsoids(claims, info.name, prepared.ellipsoids, frames, units_per_m):
        ellipsoids.append(item)
        done += 1
        yield done / steps
    for _ in build_points(claims, info.name, solution.raw, frames, units_per_m):
        done += 1
        yield min(done / steps, 1.0)
    claims.remove_leftovers()

    if cameras and (scene.camera is None or part_of(scene.camera) is not None):
        scene.camera = scene.camera or cameras[0]
        set_resolution(scene, scene.camera)
    scene.frame_set(scene.frame_current)
    return BuiltScene(info.name, tuple(cameras), tuple(armatures), tuple(ellipsoids), tuple(warnings))


def _shares(building: Generator[None, None, Built], done: int, steps: int) -> Generator[float, None, Built]:
    """Pass the pauses of one object's making on as shares of the whole."""
    while True:
        try:
            next(building)
        except StopIteration as end:
            return end.value
        done += 1
        yield done / steps


def _build_cameras(
    claims: Claims, solution: Solution, info: TakeInfo, clock: Clock, rates: tuple[float, float]
) -> tuple[list[bpy.types.Object], list[str]]:
    """Make the cameras with their footage; the rates are frames per second, and units per metre."""
    cameras, warnings = [], []
    fps, units_per_m = rates
    frame_at_zero = clock.frames[0] - clock.times_s[0] * fps
    for camera, offset_s, drift_ppm in zip(solution.rig.cameras, solution.offset_s, solution.drift_ppm, strict=True):
        item, said = build_camera(claims, info.name, camera, clock, units_per_m)
        first = frame_at_zero + offset_s * fps
        backdrop = Backdrop(info.videos.get(camera.name), first, fps, info.video_fps.get(camera.name))
        said += show_footage(item, camera, backdrop)
        remember_pictures(item, backdrop, drift_ppm)
        cameras.append(item)
        warnings += said
    return cameras, warnings


def fingerprint(item: bpy.types.Object) -> str:
    """Return a hash of what we wrote into one of our objects."""
    if item.type == "CAMERA":
        return camera_fingerprint(item)
    if item.type == "ARMATURE":
        return armature_fingerprint(item)
    return action_fingerprint(item)


def clock_of(scene: bpy.types.Scene, take: str, solution: Solution) -> tuple[int, float]:
    """Return the frame at which a take starts in a scene, and its frames per second."""
    return clock_of_times(scene, take, solution.solved.timestamps_s)


def clock_of_times(
    scene: bpy.types.Scene,
    take: str,
    timestamps_s: FloatArray,  # (T,)
) -> tuple[int, float]:
    """Do what `clock_of` does, from the times of a solution; changes nothing, so drawing may call it."""
    home = take_collection(scene, take)
    fps = frame_rate(timestamps_s) or scene.render.fps / scene.render.fps_base
    return int((home or {}).get(FRAME_START, scene.frame_start)), fps


def _set_time(scene: bpy.types.Scene, take: str, fps: float, frames: int) -> int:
    home = ensure_take_collection(scene, take)
    start = int(home.get(FRAME_START, scene.frame_start))
    home[FRAME_START] = start
    scene.render.fps, scene.render.fps_base = blender_fps(fps)
    scene.frame_start, scene.frame_end = start, start + frames - 1
    return start
