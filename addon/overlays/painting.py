"""Lines, faces, crosses and words on the screen, and a state of the graphics card that is left as it was."""
# pyright: reportOptionalSubscript=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import blf
import bpy
import gpu
import numpy as np
from gpu_extras.batch import batch_for_shader

from ...inference.shapes import FloatArray, IntArray

FONT = 0


@contextmanager
def blending() -> Iterator[None]:
    """Draw over what is there, see-through; whatever happens, the state is reset."""
    gpu.state.blend_set("ALPHA")
    gpu.state.depth_test_set("NONE")
    try:
        yield
    finally:
        gpu.state.face_culling_set("NONE")
        gpu.state.blend_set("NONE")


def lines(
    points: FloatArray,  # (2N, 2 or 3): pairs of ends; pairs with NaN are left out
    colour: FloatArray,  # (2N, 4)
    width_px: float,
) -> None:
    """Draw N lines, coloured from end to end."""
    pairs = np.isfinite(points).all(axis=1).reshape(-1, 2).all(axis=1).repeat(2)
    if not pairs.any():
        return
    shader = gpu.shader.from_builtin("POLYLINE_SMOOTH_COLOR")
    shader.uniform_float("viewportSize", gpu.state.viewport_get()[2:])
    shader.uniform_float("lineWidth", width_px * bpy.context.preferences.system.ui_scale)
    content = {"pos": _solid(points[pairs]), "color": np.ascontiguousarray(colour[pairs], dtype=np.float32)}
    batch_for_shader(shader, "LINES", content).draw(shader)


def faces(
    points: FloatArray,  # (N, 2 or 3)
    colour: FloatArray,  # (N, 4)
    triangles: IntArray,  # (M, 3)
) -> None:
    """Draw triangles."""
    face_batch(points, colour, triangles).draw(gpu.shader.from_builtin("SMOOTH_COLOR"))


def face_batch(points: FloatArray, colour: FloatArray, triangles: IntArray) -> gpu.types.GPUBatch:
    """Return triangles to be drawn more than once; arguments as in `faces`."""
    content = {"pos": _solid(points), "color": np.ascontiguousarray(colour, dtype=np.float32)}
    shader = gpu.shader.from_builtin("SMOOTH_COLOR")
    return batch_for_shader(shader, "TRIS", content, indices=np.ascontiguousarray(triangles, dtype=np.int32))


def crosses(
    points: FloatArray,  # (N, 2) px
    colour: FloatArray,  # (N, 4)
    radius_px: float,
    width_px: float,
) -> None:
    """Draw N crosses."""
    reach = radius_px * bpy.context.preferences.system.ui_scale * np.array([[-1, -1], [1, 1], [-1, 1], [1, -1]])
    lines((points[:, None] + reach).reshape(-1, 2), np.repeat(colour, 4, axis=0), width_px)


def words(text: str, x: float, y: float, size: float = 11, alpha: float = 1.0) -> float:
    """Write a line; return how wide it is."""
    blf.size(FONT, size * bpy.context.preferences.system.ui_scale)
    blf.color(FONT, 0.95, 0.95, 0.95, alpha)
    blf.position(FONT, x, y, 0)
    blf.draw(FONT, text)
    return blf.dimensions(FONT, text)[0]


def _solid(points: FloatArray) -> FloatArray:
    """(N, 3) float32."""
    flat = np.zeros((len(points), 3), dtype=np.float32)
    flat[:, : points.shape[1]] = points
    return flat
