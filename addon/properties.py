"""What the panel holds: the take, the choices, and the settings of a solve (the only map between them).

Annotations are live objects here: Blender reads its properties from them. None has an update function: with
one, the bpy module of Blender 4.2 crashes when Python ends, even after unregistering.
"""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false, reportInvalidTypeForm=false

import dataclasses
import json
from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, PointerProperty, StringProperty

from ..inference.config import SolveSettings
from .host.export import FORMATS

_PROPERTY_OF = {bool: BoolProperty, int: IntProperty, float: FloatProperty, str: StringProperty}


def setting_names() -> list[tuple[str, str]]:
    """Return (stage, setting) of every setting of a solve."""
    settings = SolveSettings()
    return [
        (stage.name, setting.name)
        for stage in dataclasses.fields(settings)
        for setting in dataclasses.fields(getattr(settings, stage.name))
    ]


def _setting_property(stage: str, name: str) -> Any:
    default = getattr(getattr(SolveSettings(), stage), name)
    text = name.replace("_", " ").capitalize()
    options = {"precision": 4} if type(default) is float else {}
    return _PROPERTY_OF[type(default)](name=text, default=default, description=f"{stage}.{name}", **options)


class SIGHTLINE_PG_settings(bpy.types.PropertyGroup):
    """One property for every setting of `inference.config`, named stage__setting."""

    __annotations__ = {f"{stage}__{name}": _setting_property(stage, name) for stage, name in setting_names()}


def read_settings(group: SIGHTLINE_PG_settings) -> SolveSettings:
    """Return the settings that the properties say; Blender's single precision is rounded away."""
    stages: dict[str, dict[str, Any]] = {}
    for stage, name in setting_names():
        value = getattr(group, f"{stage}__{name}")
        stages.setdefault(stage, {})[name] = float(f"{value:.6g}") if isinstance(value, float) else value
    defaults = SolveSettings()
    changed = {stage: dataclasses.replace(getattr(defaults, stage), **values) for stage, values in stages.items()}
    return SolveSettings(**changed)


def write_settings(group: SIGHTLINE_PG_settings, settings: SolveSettings) -> None:
    """Enter settings into the properties."""
    for stage, name in setting_names():
        setattr(group, f"{stage}__{name}", getattr(getattr(settings, stage), name))


def settings_as_text(settings: SolveSettings) -> dict[str, str]:
    """Return every setting as ``stage.name`` and its value written as in TOML."""
    values = {f"{stage}.{name}": getattr(getattr(settings, stage), name) for stage, name in setting_names()}
    return {key: json.dumps(value) if isinstance(value, bool | str) else repr(value) for key, value in values.items()}


class SIGHTLINE_PG_scene(bpy.types.PropertyGroup):
    """What a scene knows of its takes."""

    take_path: StringProperty(name="Take", subtype="FILE_PATH", description="The take.toml to solve")
    output_path: StringProperty(
        name="Output", subtype="DIR_PATH", description="Folder of the results; empty: beside the take"
    )
    formats: EnumProperty(
        name="Formats",
        options={"ENUM_FLAG"},
        default={"fbx"},
        items=[(name, name.upper(), f"Write {name.upper()}") for name in FORMATS],
    )
    export_ellipsoids: BoolProperty(name="With Ellipsoids", description="Also the ellipsoids, in FBX and USD")
    use_settings: BoolProperty(
        name="Override Settings", description="Use the settings below instead of those in the take"
    )
    settings: PointerProperty(type=SIGHTLINE_PG_settings)
    # What the last solve left:
    take: StringProperty()
    solution_path: StringProperty(subtype="FILE_PATH")
    report_path: StringProperty(subtype="FILE_PATH")
    summary: StringProperty(description="Lines of text")
    looked_through: PointerProperty(type=bpy.types.Object)


class SIGHTLINE_PG_status(bpy.types.PropertyGroup):
    """How far the running solve is; on the window manager, so that no file keeps it."""

    running: BoolProperty()
    share: FloatProperty(min=0, max=1)
    text: StringProperty()


CLASSES = (SIGHTLINE_PG_settings, SIGHTLINE_PG_scene, SIGHTLINE_PG_status)
