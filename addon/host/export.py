"""Files for the next tool: FBX, BVH and USD by Blender's exporters, TRC, C3D and CSV by ours.

Only our own armatures are written, in the take's frames, with the T pose as rest whatever frame is shown.
"""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from ...inference.errors import InputError, SolveError
from ...inference.files.c3d import write_c3d
from ...inference.files.trajectories import write_trajectories_csv
from ...inference.files.trc import write_trc
from ...inference.types import Keypoints3D
from .parts import CLEANED, PERSON, SOLVED, part_of, parts_in

FORMATS = ("fbx", "bvh", "usd", "trc", "c3d", "csv")
_OURS = {"trc": write_trc, "c3d": write_c3d, "csv": write_trajectories_csv}  # they hold joints, not armatures
_OPERATORS = {"fbx": ("export_scene", "fbx"), "bvh": ("export_anim", "bvh"), "usd": ("wm", "usd_export")}


@dataclass(frozen=True)
class Exported:
    """What is exported: a take of the scene, and its joints for the formats that hold joints."""

    take: str
    joints: Keypoints3D
    ellipsoids: bool = False  # also the covariance ellipsoids, where the format has objects


def check_formats(formats: Sequence[str]) -> None:
    """Refuse formats that this Blender cannot write, before any work is done.

    Raises:
        InputError: an unknown format, or one whose exporter is missing here; the message names it.
    """
    for name in formats:
        if name not in FORMATS:
            raise InputError(f"unknown export format {name!r}; known: {', '.join(FORMATS)}")
        if name in _OPERATORS and not _available(*_OPERATORS[name]):
            operator = ".".join(_OPERATORS[name])
            raise InputError(
                f"this Blender ({bpy.app.version_string}) cannot write {name}: it has no operator bpy.ops.{operator}; "
                "enable the exporter or leave the format out"
            )


def _available(module: str, operator: str) -> bool:
    """Return whether an operator exists; ``hasattr`` would say yes to anything."""
    return operator in dir(getattr(bpy.ops, module))


def export(context: bpy.types.Context, exported: Exported, name: str, path: Path) -> list[Path]:
    """Write one format; several persons share a file, except in BVH, which holds one.

    Convention:
        a file appears under its name only when it is complete; selection, mode and frame stay as they are.

    Args:
        context: its scene holds the take.
        exported: what to write.
        name: one of FORMATS.
        path: the file; with several persons BVH adds ``_person1``, ….

    Returns:
        The files.

    Raises:
        InputError: the format cannot be written here, or the take is not in the scene.
        SolveError: Blender's exporter failed.
    """
    check_formats([name])
    path.parent.mkdir(parents=True, exist_ok=True)
    armatures = armatures_to_export(context.scene, exported.take)
    if not armatures:
        raise InputError(f"take {exported.take!r} has no armature in this scene; solve it first")
    if name in _OURS:
        with _whole(path) as temporary:
            _OURS[name](temporary, exported.joints if name == "csv" else one_person(exported.joints))
        return [path]
    if name == "bvh":
        names = [path] if len(armatures) == 1 else [_of_person(path, armature) for armature in armatures]
        for armature, target in zip(armatures, names, strict=True):
            _by_operator(context, [armature], target, _write_bvh)
        return names
    items = [*armatures, *(_ellipsoids(context.scene, exported.take) if exported.ellipsoids else [])]
    _by_operator(context, items, path, _write_fbx if name == "fbx" else _write_usd)
    return [path]


def armatures_to_export(scene: bpy.types.Scene, take: str) -> list[bpy.types.Object]:
    """Return one armature per person: the animator's cleaned one if there is one, else the solved one."""
    chosen: dict[int, bpy.types.Object] = {}
    for layer in (SOLVED, CLEANED):
        for item in parts_in(scene, "armature", take):
            part = part_of(item)
            if part and part.layer == layer:
                chosen[item[PERSON]] = item
    return [chosen[person] for person in sorted(chosen)]


def _ellipsoids(scene: bpy.types.Scene, take: str) -> list[bpy.types.Object]:
    parts = [(part_of(item), item) for item in parts_in(scene, "ellipsoid", take)]
    return [item for part, item in parts if part and part.layer == SOLVED]


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


def _by_operator(
    context: bpy.types.Context,
    items: list[bpy.types.Object],
    path: Path,
    write: Callable[[bpy.types.Scene, Path], None],
) -> None:
    with _rest_outside_the_take(context.scene, items), _selected(context, items), _whole(path) as temporary:
        try:
            with redirect_stdout(io.StringIO()):  # the Python exporters talk
                write(context.scene, temporary)
        except RuntimeError as problem:
            raise SolveError(f"Blender could not write {path}: {' '.join(str(problem).split())}") from problem
        if not temporary.is_file():
            raise SolveError(f"Blender's exporter wrote no file for {path}")


def _write_fbx(_scene: bpy.types.Scene, path: Path) -> None:
    bpy.ops.export_scene.fbx(
        filepath=str(path),
        use_selection=True,
        object_types={"ARMATURE", "EMPTY"},
        add_leaf_bones=False,
        bake_anim=True,
        bake_anim_simplify_factor=0.0,
        bake_anim_use_all_actions=False,
        bake_anim_use_nla_strips=False,
    )


def _write_bvh(scene: bpy.types.Scene, path: Path) -> None:
    bpy.ops.export_anim.bvh(filepath=str(path), frame_start=scene.frame_start, frame_end=scene.frame_end)


def _write_usd(_scene: bpy.types.Scene, path: Path) -> None:
    bpy.ops.wm.usd_export(filepath=str(path), selected_objects_only=True, export_animation=True)


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
