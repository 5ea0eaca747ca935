"""A board that moves before cameras that do not expose at the same time: its corners between the frames of a film.

Webcams that are started together still show moments some hundredths of a second apart, and a hand moves a board by many
pixels in that time. How late every view is becomes an unknown of the board's calibration; whole frames of it are taken
out by counting the view's frames anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..shapes import FloatArray
from .board import Corners


@dataclass(frozen=True, eq=False)
class MovingCorners:
    """The corners of one picture and how they move in it."""

    corners: Corners
    velocity: FloatArray  # (N, 2) px a frame
    bend: FloatArray  # (N, 2) px a frame²

    def at(self, late: float) -> FloatArray:
        """(N, 2) px, where the corners are so many frames later."""
        return self.corners.xy + late * self.velocity + late**2 / 2 * self.bend


def still_corners(views: Sequence[Sequence[Corners]]) -> dict[tuple[int, int], MovingCorners]:
    """Return the corners by view and frame, of a board that stands still in each picture."""
    return {
        (v, c.frame): MovingCorners(c, np.zeros_like(c.xy), np.zeros_like(c.xy))
        for v, corners in enumerate(views)
        for c in corners
    }


def moving_corners(views: Sequence[Sequence[Corners]]) -> dict[tuple[int, int], MovingCorners]:
    """Return the corners by view and frame with their motion, from the frames before and after.

    Convention:
        a corner that only one neighbouring frame shows moves evenly; one that no neighbour shows is left out.
    """
    found = {}
    for v, corners in enumerate(views):
        frames = {c.frame: c for c in corners}
        for c in corners:
            before, after = (_positions(frames.get(c.frame + step), c) for step in (-1, 1))
            both = np.isfinite(before) & np.isfinite(after)
            velocity = np.where(both, (after - before) / 2, np.fmax(after - c.xy, c.xy - before))
            bend = np.where(both, after - 2 * c.xy + before, 0.0)
            known = np.isfinite(velocity).all(axis=1)
            if known.any():
                kept = Corners(c.frame, c.ids[known], c.xy[known])
                found[v, c.frame] = MovingCorners(kept, velocity[known], bend[known])
    return found


def _positions(other: Corners | None, like: Corners) -> FloatArray:
    """(N, 2) px of the same corners in another picture, NaN where they are not seen."""
    xy = np.full_like(like.xy, np.nan)
    if other is not None:
        _, here, there = np.intersect1d(like.ids, other.ids, assume_unique=True, return_indices=True)
        xy[here] = other.xy[there]
    return xy


def counted_anew(
    found: Mapping[tuple[int, int], MovingCorners], frames: Sequence[int]
) -> dict[tuple[int, int], MovingCorners]:
    """Take whole frames by which views are late out of their frame numbers."""
    return {
        (v, f - frames[v]): replace(moving, corners=replace(moving.corners, frame=f - frames[v]))
        for (v, f), moving in found.items()
    }
