"""The formats that Blender's own exporters write, and how each preset calls them."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy

from ...inference.errors import InputError

JOINTS = {"trc": "TRC", "c3d": "C3D", "csv": "CSV"}  # ours: they hold joints, not armatures


@dataclass(frozen=True)
class Format:
    """One way to write armatures."""

    label: str
    suffix: str
    operator: tuple[str, str]  # module and name in bpy.ops
    options: Mapping[str, Any] = field(default_factory=dict)
    about: str = ""


_FBX: dict[str, Any] = {
    "use_selection": True,
    "object_types": {"ARMATURE", "EMPTY"},
    "add_leaf_bones": False,
    "bake_anim": True,
    "bake_anim_simplify_factor": 0.0,
    "bake_anim_use_all_actions": False,
    "bake_anim_use_nla_strips": False,
}


def _fbx(label: str, about: str, **options: Any) -> Format:
    return Format(label, "fbx", ("export_scene", "fbx"), _FBX | options, about)


FORMATS: Mapping[str, Format] = {
    "fbx": _fbx("FBX", "Blender's own axes and scale"),
    "fbx_unreal": _fbx(
        "FBX for Unreal",
        "Z up, facing -Y, the unit stated in the file; no leaf bones",
        axis_forward="-Y",
        axis_up="Z",
        apply_scale_options="FBX_SCALE_UNITS",
    ),
    "fbx_unity": _fbx(
        "FBX for Unity",
        "Y up, facing Z, scale in the file and not on the objects; no leaf bones",
        axis_forward="-Z",
        axis_up="Y",
        apply_scale_options="FBX_SCALE_ALL",
    ),
    "fbx_maya": _fbx(
        "FBX for Maya",
        "Y up, joints with X along the bone, end joints at the last bones",
        axis_forward="-Z",
        axis_up="Y",
        apply_scale_options="FBX_SCALE_UNITS",
        primary_bone_axis="X",
        secondary_bone_axis="Y",
        add_leaf_bones=True,
    ),
    "bvh": Format("BVH", "bvh", ("export_anim", "bvh"), about="One person a file, metres, Y up"),
    "usd": Format(
        "USD", "usd", ("wm", "usd_export"), {"selected_objects_only": True, "export_animation": True}, "Z up, metres"
    ),
    "gltf": Format(
        "glTF",
        "glb",
        ("export_scene", "gltf"),
        {
            "export_format": "GLB",
            "use_selection": True,
            "export_animations": True,
            "export_animation_mode": "SCENE",
            "export_frame_range": True,
            "export_force_sampling": True,
            "export_optimize_animation_size": False,
            "export_rest_position_armature": True,
            "export_extras": False,
        },
        "Binary glTF, Y up, metres",
    ),
}
NAMES = (*FORMATS, *JOINTS)


def label_of(name: str) -> str:
    """Return what the panel calls a format."""
    return FORMATS[name].label if name in FORMATS else JOINTS[name]


def about(name: str) -> str:
    """Return one line on what a format holds."""
    if name in JOINTS:
        return "Joints of the solve, with their uncertainty where the format has a place for it"
    return f"Armatures with their motion: {FORMATS[name].about}"


def file_name(stem: str, name: str) -> str:
    """Return the name of a format's file; presets of one format have names of their own."""
    if name in JOINTS:
        return f"{stem}.{name}"
    preset = name.partition("_")[2]
    return f"{stem}{'_' + preset if preset else ''}.{FORMATS[name].suffix}"


def parse_format(text: str) -> str:
    """Return the name of a format as the command line writes it: ``fbx:unreal``, ``gltf``, ``glb``."""
    name = text.strip().lower().replace(":", "_")
    return "gltf" if name == "glb" else name


def missing_exporter(name: str) -> str:
    """Return why this Blender cannot write a format; empty if it can."""
    if name in JOINTS:
        return ""
    module, operator = FORMATS[name].operator
    try:  # hasattr says yes to anything, and dir lists every operator of Blender, which a panel has no time for
        getattr(getattr(bpy.ops, module), operator).get_rna_type()
    except KeyError:
        return f"this Blender ({bpy.app.version_string}) has no operator bpy.ops.{module}.{operator}"
    return ""


def check_formats(names: Sequence[str]) -> None:
    """Refuse formats that this Blender cannot write, before any work is done.

    Raises:
        InputError: an unknown format, or one whose exporter is missing here; the message names it.
    """
    for name in names:
        if name not in NAMES:
            known = ", ".join(known.replace("_", ":") for known in NAMES)
            raise InputError(f"unknown export format {name.replace('_', ':')!r}; known: {known}")
        missing = missing_exporter(name)
        if missing:
            raise InputError(f"cannot write {label_of(name)}: {missing}; enable the exporter or leave the format out")


def writer(name: str) -> Callable[[bpy.types.Scene, Path], None]:
    """Return the function that writes the selected objects in a format, over the scene's frames."""
    form = FORMATS[name]

    def write(scene: bpy.types.Scene, path: Path) -> None:
        options = dict(form.options)
        if name == "bvh":
            options |= {"frame_start": scene.frame_start, "frame_end": scene.frame_end}
            options |= {"global_scale": scene.unit_settings.scale_length}
        module, operator = form.operator
        getattr(getattr(bpy.ops, module), operator)(filepath=str(path), **options)

    return write
