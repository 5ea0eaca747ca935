"""The keypoints of one view over the 3D view that looks through its camera, and which of them the mouse means."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

from dataclasses import dataclass

import blf
import bpy
import gpu
import numpy as np
from gpu_extras.batch import batch_for_shader

from ...inference.shapes import BoolArray, FloatArray

REACH_PX = 18.0  # how far from a keypoint the mouse may be, at Blender's usual size
_DOT_PX, _RING_PX, _TEXT_PX = 4.0, 7.0, 13
_SEEN, _CORRECTED, _GRABBED = (0.1, 0.85, 1.0, 0.9), (1.0, 0.6, 0.1, 1.0), (1.0, 1.0, 1.0, 1.0)
_BACK = (0.0, 0.0, 0.0, 0.6)
_CORNERS = 12


@dataclass(frozen=True, eq=False)
class Overlay:
    """What is drawn: keypoints in region pixels."""

    places: FloatArray  # (P, J, 2) region px, NaN where there is none
    corrected: BoolArray  # (P, J) put there by a person
    names: tuple[str, ...]
    hovered: tuple[int, int] | None = None  # (person, joint)
    people: bool = False  # more than one: labels say whose


def nearest(
    places: FloatArray,  # (P, J, 2) region px
    mouse: FloatArray,  # (2,) region px
    reach: float = REACH_PX,
) -> tuple[int, int] | None:
    """Return (person, joint) of the keypoint nearest to the mouse; None where none is in reach."""
    distance = np.linalg.norm(places - mouse, axis=-1)
    if not (distance <= reach).any():  # NaN is not
        return None
    person, joint = np.unravel_index(np.nanargmin(distance), distance.shape)
    return int(person), int(joint)


def draw_overlay(overlay: Overlay) -> None:
    """Draw in the current region; call it from a handler of POST_PIXEL."""
    scale = bpy.context.preferences.system.ui_scale
    seen = np.isfinite(overlay.places).all(axis=-1)
    gpu.state.blend_set("ALPHA")
    _discs(overlay.places[seen], (_DOT_PX + 1.5) * scale, _BACK)
    _discs(overlay.places[seen & ~overlay.corrected], _DOT_PX * scale, _SEEN)
    _discs(overlay.places[seen & overlay.corrected], _DOT_PX * scale, _CORRECTED)
    if overlay.hovered is not None and seen[overlay.hovered]:
        x, y = overlay.places[overlay.hovered]
        _discs(overlay.places[overlay.hovered][None], _RING_PX * scale, _BACK)
        _discs(overlay.places[overlay.hovered][None], _DOT_PX * scale, _GRABBED)
        person, joint = overlay.hovered
        whose = f" of person {person + 1}" if overlay.people else ""
        _label(overlay.names[joint].replace("_", " ") + whose, x + 10 * scale, y + 8 * scale, scale)
    gpu.state.blend_set("NONE")


def _discs(places: FloatArray, radius: float, colour: tuple[float, ...]) -> None:
    if not len(places):
        return
    angles = np.arange(_CORNERS + 1) * 2 * np.pi / _CORNERS
    rim = radius * np.column_stack([np.cos(angles), np.sin(angles)])
    fan = np.stack([np.zeros((_CORNERS, 2)), rim[:-1], rim[1:]], axis=1).reshape(-1, 2)  # (3·corners, 2)
    points = (places[:, None] + fan).reshape(-1, 2)
    shader = gpu.shader.from_builtin("UNIFORM_COLOR")
    shader.uniform_float("color", colour)
    flat = np.column_stack([points, np.zeros(len(points))]).astype(np.float32)
    batch_for_shader(shader, "TRIS", {"pos": flat}).draw(shader)


def _label(text: str, x: float, y: float, scale: float) -> None:
    blf.size(0, _TEXT_PX * scale)
    blf.enable(0, blf.SHADOW)
    blf.shadow(0, 5, 0.0, 0.0, 0.0, 0.9)
    blf.color(0, 1.0, 1.0, 1.0, 1.0)
    blf.position(0, x, y, 0)
    blf.draw(0, text)
    blf.disable(0, blf.SHADOW)
