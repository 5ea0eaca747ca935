"""What the colours mean, in the lower left corner of the 3D view."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

import bpy
import numpy as np

from ..host.camera_frame import view_looked_through
from ..host.parts import take_collection
from ..host.uncertainty import LIMITS_M, MISSING, colours
from .painting import blending, faces, words
from .plate import SWITCH
from .shown import SOLUTION

_LEFT_PX, _FOOT_PX, _WIDTH_PX, _HEIGHT_PX, _STEPS = 30.0, 62.0, 250.0, 9.0, 48
_BACK = (0.05, 0.05, 0.05, 0.6)


def draw_legend(context: bpy.types.Context) -> None:
    """Draw the scale of colours where something is coloured by it, with what is drawn said in words."""
    known = context.scene.sightline
    home = take_collection(context.scene, known.take)
    if home is None or not home.get(SOLUTION):
        return
    found = view_looked_through(context.space_data, context.region_data, context.scene)
    plate = found is not None and bool(found[0].get(SWITCH)) and known.overlay.plates
    if not (known.overlay.bones or known.overlay.ellipsoids or plate):
        return
    said = ["How sure each joint is (σ, least sure direction)"]
    if plate and known.overlay.keypoints:
        said.append("Crosses: keypoints, red far from the solved joint")
    scale = context.preferences.system.ui_scale
    left, foot, width, height = (n * scale for n in (_LEFT_PX, _FOOT_PX, _WIDTH_PX, _HEIGHT_PX))
    sigma = np.geomspace(LIMITS_M[0] * 0.7, LIMITS_M[-1] * 1.2, _STEPS)
    x = left + width * np.linspace(0, 1, _STEPS)
    margin, top = 10 * scale, foot + height + (8 + 16 * len(said)) * scale
    low, high = (left - margin, foot - 20 * scale), (left + width + 7 * margin, top)
    corners = np.array([low, (high[0], low[1]), high, (low[0], high[1])])
    points = np.concatenate([corners, *(np.column_stack([x, np.full(_STEPS, y)]) for y in (foot, foot + height))])
    grey = left + width + np.array([12, 40, 40, 12]) * scale
    lost = np.column_stack([grey, foot + height * np.array([0, 0, 1, 1])])
    points = np.concatenate([points, lost])
    first = 4 + np.arange(_STEPS - 1)
    quads = np.stack([first, first + 1, first + 1 + _STEPS, first + _STEPS], axis=-1)
    quads = np.concatenate([[[0, 1, 2, 3]], quads, len(points) - 4 + np.arange(4)[None]])
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    with blending():
        tints = [np.tile(_BACK, (4, 1)), np.tile(colours(sigma), (2, 1)), np.tile(MISSING, (4, 1))]
        faces(points, np.concatenate(tints), triangles)
        words("missing", grey[0] - 6 * scale, foot - 14 * scale)
        for metres in (0.01, 0.02, 0.05, 0.08):
            place = np.interp(np.log(metres), np.log(sigma), x)
            words(f"±{metres * 100:.0f} cm", place - 14 * scale, foot - 14 * scale)
        for number, line in enumerate(said):
            words(line, left, foot + height + (7 + 16 * number) * scale)
