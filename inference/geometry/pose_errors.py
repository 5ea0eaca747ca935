"""What errors of where a camera stands and looks are worth as errors of its pose."""

from __future__ import annotations

import numpy as np

from ..shapes import FloatArray


def pose_slopes(
    R: FloatArray,  # (3, 3)
    t: FloatArray,  # (3,) m
) -> FloatArray:
    """(6, 6) slopes of rotation vector (left-multiplied) and t, by a turn d about the camera's centre C and a move dC.

    R' = exp(d) R and t' = -R' C', so the change of t is d x t - R dC.
    """
    x, y, z = t
    slopes = np.eye(6)
    slopes[3:, :3] = [[0, z, -y], [-z, 0, x], [y, -x, 0]]  # d x t as a matrix on d: -[t]x
    slopes[3:, 3:] = -R
    return slopes
