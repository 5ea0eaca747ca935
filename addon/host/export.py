"""Files for the next tool: FBX, BVH, USD and glTF by Blender's exporters, TRC, C3D and CSV by ours.

Only our own armatures are written, or new ones in another naming, with their rest pose whatever frame is shown.
"""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from ...inference.errors import InputError, SolveError
from ...inference.files.c3d import write_c3d
from ...inference.files.trajectories import write_trajectories_csv
from ...inference.files.trc import write_trc
from ...inference.types import Keypoints3D, Solution
from .export_formats import check_formats, writer
from .parts import CLEANED, PERSON, SOLVED, part_of, parts_in
from .performance import performance_of, take_start
from .rig_files import RigFile
from .rigs import make_rig, remove_rig

_OURS = {"trc": write_trc, "c3d": write_c3d, "csv": write_trajectories_csv}
_NO_UNITS = ("usd", "gltf")  # their exporters take Blender units for metres


@dataclass(frozen=True)
class RigChoice:
    """The naming and rest pose in which armatures go out."""

    target: RigFile
    solution: Solution  # that the scene was made from
    rest_pose: str = ""  # T or A; empty: the target's usual one
    root: str = "hips"  # of retarget.ROOTS


@dataclass(frozen=True)
class Exported:
    """What is exported: a take of the scene, and its joints for the formats that hold joints."""

    take: str
    joints: Keypoints3D
    ellipsoids: bool = False  # also the covariance ellipsoids, where the format has objects
    persons: tuple[int, ...] = ()  # empty: all
    frames: tuple[int, int] | None = None  # first and last, of the scene; None: the whole take
    rig: RigChoice | None = None  # None: our own armatures as they are


def export(context: bpy.types.Context, exported: Exported, name: str, path: Path) -> list[Path]:
    """Write one format; several persons share a file, except in BVH, which holds one.

    Convention:
        a file appears under its name only when it is complete; selection, mode, range and frame stay as they are.

    Args:
        context: its scene holds the take.
        exported: what to write.
        name: one of `export_formats.NAMES`.
        path: the file; with several persons BVH adds ``_person1``, ….

    Returns:
        The files.

    Raises:
        InputError: the format cannot be written here, or the take, person or frames are not in the scene.
        SolveError: Blender's exporter failed.
    """
    check_formats([name])
    path.parent.mkdir(parents=True, exist_ok=True)
    chosen = _chosen_armatures(context.scene, exported)
    frames = _range(context.scene, exported)
    if name in _OURS:
        joints = _chosen_joints(context.scene, exported, frames)
        with _whole(path) as temporary:
            _OURS[name](temporary, joints if name == "csv" else one_person(joints))
        return [path]
    with _as_rigs(context, exported, chosen) as armatures, _scene_range(context.scene, frames):
        files = _files(exported, armatures, name, path, context.scene)
        for target, items in files.items():
            _by_operator(context, items, target, name)
    return list(files)


def _files(
    exported: Exported, armatures: list[bpy.types.Object], name: str, path: Path, scene: bpy.types.Scene
) -> dict[Path, list[bpy.types.Object]]:
    """Return which objects go into which file."""
    if name == "bvh":
        return {path if len(armatures) == 1 else _of_person(path, armature): [armature] for armature in armatures}
    return {path: [*armatures, *(_ellipsoids(scene, exported) if exported.ellipsoids else [])]}


def _chosen_armatures(scene: bpy.types.Scene, exported: Exported) -> list[bpy.types.Object]:
    found = armatures_to_export(scene, exported.take)
    if not found:
        raise InputError(f"take {exported.take!r} has no armature in this scene; solve it first")
    absent = set(exported.persons) - {item[PERSON] for item in found}
    if absent:
        raise InputError(f"take {exported.take!r} has no person {min(absent) + 1}; it has {len(found)}")
    return [item for item in found if not exported.persons or item[PERSON] in exported.persons]


def _range(scene: bpy.types.Scene, exported: Exported) -> tuple[int, int]:
    """Return the first and last frame that are written: the whole take, or what of it was asked for."""
    first = take_start(scene, exported.take)
    last = first + len(exported.joints.timestamps_s) - 1
    if exported.frames is None:
        return first, last
    wanted = max(first, exported.frames[0]), min(last, exported.frames[1])
    if wanted[0] > wanted[1]:
        asked = f"{exported.frames[0]} to {exported.frames[1]}"
        raise InputError(f"frames {asked} are outside of take {exported.take!r}, which is frames {first} to {last}")
    return wanted


def _chosen_joints(scene: bpy.types.Scene, exported: Exported, frames: tuple[int, int]) -> Keypoints3D:
    joints, first = exported.joints, take_start(scene, exported.take)
    time = slice(frames[0] - first, frames[1] - first + 1)
    persons = list(exported.persons) or slice(None)
    return Keypoints3D(
        joints.joint_names,
        joints.timestamps_s[time],
        joints.xyz[time][:, persons],
        joints.covariance[time][:, persons],
        joints.flag[time][:, persons],
        joints.degrees_of_freedom,
        joints.reason[time][:, persons],
    )


@contextmanager
def _as_rigs(
    context: bpy.types.Context, exported: Exported, armatures: list[bpy.types.Object]
) -> Iterator[list[bpy.types.Object]]:
    """Give the armatures in the chosen naming; they are made for the export and removed after it."""
    choice = exported.rig
    if choice is None:
        yield armatures
        return
    made: list[bpy.types.Object] = []
    try:
        for item in armatures:
            shown = performance_of(context.scene, item, choice.solution)
            made.append(make_rig(context, shown, choice.target, choice.rest_pose, choice.root, temporary=True))
        yield made
    finally:
        for item in made:
            remove_rig(item)


@contextmanager
def _scene_range(scene: bpy.types.Scene, frames: tuple[int, int]) -> Iterator[None]:
    """Let the scene's range be the frames that are written; exporters know no other."""
    before = scene.frame_start, scene.frame_end, scene.use_preview_range
    scene.frame_start, scene.frame_end = frames
    scene.use_preview_range = False
    try:
        yield
    finally:
        scene.frame_start, scene.frame_end, scene.use_preview_range = before


def armatures_to_export(scene: bpy.types.Scene, take: str) -> list[bpy.types.Object]:
    """Return one armature per person: the animator's cleaned one if there is one, else the solved one."""
    chosen: dict[int, bpy.types.Object] = {}
    for layer in (SOLVED, CLEANED):
        for item in parts_in(scene, "armature", take):
            part = part_of(item)
            if part and part.layer == layer:
                chosen[item[PERSON]] = item
    return [chosen[person] for person in sorted(chosen)]


def _ellipsoids(scene: bpy.types.Scene, exported: Exported) -> list[bpy.types.Object]:
    parts = [(part_of(item), item) for item in parts_in(scene, "ellipsoid", exported.take)]
    chosen = [(part, item) for part, item in parts if part and part.layer == SOLVED]
    return [item for part, item in chosen if not exported.persons or part.person in exported.persons]


def one_person(joints: Keypoints3D) -> Keypoints3D:
    """Put all persons' joints into one slot, as ``person1_left_knee``; with one person nothing changes."""
    frames, persons, count = joints.xyz.shape[:3]
    if persons == 1:
        return joints
    names = tuple(f"person{p + 1}_{joint}" for p in range(persons) for joint in joints.joint_names)
    return Keypoints3D(
        names,
        joints.timestamps_s,
        joints.xyz.reshape(frames, 1, persons * count, 3),
        joints.covariance.reshape(frames, 1, persons * count, 3, 3),
        joints.flag.reshape(frames, 1, persons * count),
        joints.degrees_of_freedom,
    )


def _of_person(path: Path, armature: bpy.types.Object) -> Path:
    return path.with_name(f"{path.stem}_person{armature[PERSON] + 1}{path.suffix}")


def _by_operator(context: bpy.types.Context, items: list[bpy.types.Object], path: Path, name: str) -> None:
    scene = context.scene
    metres = scene.unit_settings.scale_length if name in _NO_UNITS else 1.0
    with (
        _rest_outside_the_take(scene, items),
        _selected(context, items),
        _scaled(context, items, metres),
        _whole(path) as temporary,
    ):
        try:
            with redirect_stdout(io.StringIO()):  # the Python exporters talk
                writer(name)(scene, temporary)
        except RuntimeError as problem:
            raise SolveError(f"Blender could not write {path}: {' '.join(str(problem).split())}") from problem
        if not temporary.is_file():
            raise SolveError(f"Blender's exporter wrote no file for {path}")


@contextmanager
def _scaled(context: bpy.types.Context, items: list[bpy.types.Object], factor: float) -> Iterator[None]:
    """Scale objects about the world's origin while they are written."""
    if factor == 1.0:
        yield
        return
    frame = bpy.data.objects.new("metres", None)
    context.scene.collection.objects.link(frame)
    frame.scale = (factor, factor, factor)
    parents = [
        (item, item.parent, item.parent_type, item.parent_bone, item.matrix_parent_inverse.copy()) for item in items
    ]
    try:
        for item in items:
            item.parent = frame
            item.matrix_parent_inverse.identity()
        frame.select_set(True)
        context.view_layer.update()
        yield
    finally:
        for item, parent, kind, bone, inverse in parents:
            item.parent, item.parent_type, item.parent_bone = parent, kind, bone
            item.matrix_parent_inverse = inverse
        bpy.data.objects.remove(frame)


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Give a temporary path with the name of ``path``; what is written there takes its place at the end."""
    with tempfile.TemporaryDirectory(prefix=f".{path.stem}-", dir=path.parent) as folder:
        temporary = Path(folder) / path.name
        yield temporary
        os.replace(temporary, path)


@contextmanager
def _selected(context: bpy.types.Context, items: list[bpy.types.Object]) -> Iterator[None]:
    """Select exactly these objects, in object mode, and put everything back afterwards.

    They stand in the scene's own collection meanwhile: in an excluded or hidden one nothing can be selected.
    """
    layer, home = context.view_layer, context.scene.collection
    active = layer.objects.active
    mode = active.mode if active else "OBJECT"
    if mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")
    guests = [item for item in items if item.name not in home.objects]
    for item in guests:
        home.objects.link(item)
    layer.update()
    before = [
        _Shown(item, item.select_get(), item.hide_get(), item.hide_select, item.hide_viewport) for item in layer.objects
    ]
    try:
        for item in layer.objects:
            if item in items:
                _Shown(item, True, False, False, False).apply()
            else:
                item.select_set(False)
        layer.objects.active = items[0]
        yield
    finally:
        for shown in before:
            shown.apply()
        for item in guests:
            home.objects.unlink(item)
        layer.objects.active = active
        if mode != "OBJECT":
            bpy.ops.object.mode_set(mode=mode)


@dataclass(frozen=True)
class _Shown:
    """How an object is shown and selected."""

    item: bpy.types.Object
    selected: bool
    hidden: bool
    unselectable: bool
    disabled: bool

    def apply(self) -> None:
        self.item.hide_viewport = self.disabled
        self.item.hide_select = self.unselectable
        self.item.hide_set(self.hidden)
        self.item.select_set(self.selected)


@contextmanager
def _rest_outside_the_take(scene: bpy.types.Scene, items: list[bpy.types.Object]) -> Iterator[None]:
    """Show the frame before the take, and there the rest pose.

    Exporters write the pose of the shown frame as that of the file's skeleton; it has to be the T pose.
    """
    shown, outside = scene.frame_current, scene.frame_start - 1
    armatures = [item.data for item in items if item.type == "ARMATURE"]

    def pose_by_frame(changed: bpy.types.Scene, *_: Any) -> None:
        for data in armatures:
            data.pose_position = "REST" if changed.frame_current == outside else "POSE"

    before = [data.pose_position for data in armatures]
    bpy.app.handlers.frame_change_pre.append(pose_by_frame)
    try:
        scene.frame_set(outside)
        yield
    finally:
        bpy.app.handlers.frame_change_pre.remove(pose_by_frame)
        for data, position in zip(armatures, before, strict=True):
            data.pose_position = position
        scene.frame_set(shown)
