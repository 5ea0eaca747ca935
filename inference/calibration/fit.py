"""What the views saw of that from which their cameras were solved, and where the cameras put it: for the report."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..shapes import FloatArray, IntArray, check_shapes, frozen
from ..types import CameraRig, Footage


@dataclass(frozen=True, eq=False)
class Fit:
    """One view's evidence: N corners of a board, joints of people, or measured points."""

    view: str
    film: Footage | None  # the pictures that it was seen in
    frame: IntArray  # (N,) index into the film
    seen: FloatArray  # (N, 2) px
    predicted: FloatArray  # (N, 2) px, NaN where the camera cannot say
    names: tuple[str, ...] = field(default=())  # of the points, where they have any

    def __post_init__(self) -> None:
        object.__setattr__(self, "frame", frozen(self.frame, np.int64))
        object.__setattr__(self, "seen", frozen(self.seen))
        object.__setattr__(self, "predicted", frozen(self.predicted))
        count = len(self.frame)
        check_shapes(frame=(self.frame, "N"), seen=(self.seen, f"{count} 2"), predicted=(self.predicted, f"{count} 2"))

    @property
    def error_px(self) -> FloatArray:
        """(N,) distance between the two."""
        return np.linalg.norm(self.predicted - self.seen, axis=-1)


@dataclass(frozen=True, eq=False)
class SolvedCameras:
    """A rig and what it was solved from, or checked by."""

    rig: CameraRig
    fits: tuple[Fit, ...] = ()
