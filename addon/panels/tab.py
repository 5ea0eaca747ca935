"""Where our panels stand, and how they say things."""

import textwrap
from functools import lru_cache

import bpy

_WIDTH = 36  # letters of a line in a sidebar of the usual width


class Tab:
    """The sidebar tab Sightline of the 3D view."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Sightline"


def step_header(layout: bpy.types.UILayout, missing: str, begun: bool) -> None:
    """Show in a panel's header whether its step is done."""
    done = "CHECKMARK" if not missing else "ERROR" if begun else "RADIOBUT_OFF"
    layout.label(text="", icon=done)


def place_in_list(item: bpy.types.PropertyGroup) -> int:
    """Return where an entry stands in its collection; Blender tells a list's row only as its ninth argument."""
    return int(item.path_from_id().rpartition("[")[2].rstrip("]"))


def say(layout: bpy.types.UILayout, text: str, icon: str = "ERROR", width: int = _WIDTH) -> None:
    """Write a sentence in as many lines as it takes; nothing for an empty one."""
    if not text:
        return
    column = layout.column(align=True)
    column.scale_y = 0.8
    for number, line in enumerate(_lines(text, width)):
        column.label(text=line, icon=icon if number == 0 else "BLANK1")


@lru_cache(maxsize=256)
def _lines(text: str, width: int) -> tuple[str, ...]:
    """Wrap a text; kept, for a panel is drawn at every move of the mouse."""
    return tuple(textwrap.wrap(text, width))
