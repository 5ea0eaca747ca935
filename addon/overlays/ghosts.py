"""Ghosts in the 3D view: the sampled poses of a frame that too few views see, the one that is looked at in orange."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

from functools import lru_cache

import bpy
import numpy as np

from ...inference.shapes import FloatArray
from ..host.hypotheses import Poses, Sampled, poses_of, read_sampled
from .painting import blending, lines
from .shown import ShownTake, read_beside, shown_takes

_GHOST, _CHOSEN = np.array([0.35, 0.65, 1.0, 1.0]), np.array([1.0, 0.55, 0.1, 1.0])
_FAINT = 0.12  # how opaque the least likely ghost is


def sampled_of(shown: ShownTake) -> Sampled | None:
    """Return the samples beside a take's solution, read once; None where it has none.

    Raises:
        InputError: they cannot be read.
    """
    return read_beside(shown, "hypotheses", read_sampled)


@lru_cache(8)
def poses_shown(sampled: Sampled, frame: int, person: int) -> Poses:
    """Return the poses that are shown of a frame and person; computed once."""
    return poses_of(sampled, frame, person)


def draw_ghosts(context: bpy.types.Context) -> None:
    """Draw the poses of the current frame and the chosen person of every take that has samples there."""
    known = context.scene.sightline
    for shown in shown_takes(context.scene):
        sampled, index = sampled_of(shown), shown.index(context.scene.frame_current_final)
        person = known.fix_person - 1
        if sampled is None or index is None or person >= sampled.xyz.shape[1]:
            continue
        points, colour = ghost_lines(shown, poses_shown(sampled, index, person), known.overlay.hypothesis - 1)
        if len(points):
            with blending():
                lines(points / context.scene.unit_settings.scale_length, colour, 2.5)


def ghost_lines(shown: ShownTake, poses: Poses, chosen: int) -> tuple[FloatArray, FloatArray]:
    """Return (2N, 3) ends of the bones of all poses in the world, m, and (2N, 4) colours."""
    if not len(poses.weight):
        return np.zeros((0, 3)), np.zeros((0, 4))
    ends = poses.xyz[:, shown.data.bone_ends].reshape(len(poses.xyz), -1, 3)
    colour = np.tile(_GHOST, (*ends.shape[:2], 1))
    colour[..., 3] = _FAINT + (1 - _FAINT) * (poses.weight / poses.weight.max())[:, None] * 0.6
    if 0 <= chosen < len(colour):
        colour[chosen] = _CHOSEN
    return ends.reshape(-1, 3), colour.reshape(-1, 4)
