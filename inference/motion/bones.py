"""Bone lengths over a take: which bones can be measured, how long they are, left and right together."""

from __future__ import annotations

import numpy as np

from ..shapes import BoolArray, FloatArray, IntArray

_ASYMMETRY_M = 0.004  # how much left and right bones differ, one sigma


def robust_lengths(
    vectors: FloatArray,  # (T, B, 3) m
    measured: BoolArray,  # (T, B)
) -> tuple[FloatArray, FloatArray]:
    """Length of every bone and its spread over the take: a trimmed mean about the median.

    Convention:
        NaN for a bone that was never measured.

    Returns:
        (B,) length and (B,) standard deviation over frames, m.
    """
    bones = vectors.shape[1]
    length, spread = np.full(bones, np.nan), np.full(bones, np.nan)
    for bone in range(bones):  # few bones, each with its own frames
        values = np.linalg.norm(vectors[measured[:, bone], bone], axis=-1)
        if len(values):
            middle = np.median(values)
            width = 1.4826 * np.median(np.abs(values - middle))
            inner = values[np.abs(values - middle) <= 2.5 * width + 1e-9]
            length[bone], spread[bone] = inner.mean(), width
    return length, spread


def symmetric_lengths(
    length: FloatArray,  # (B,) m
    sigma: FloatArray,  # (B,) m, how well each is known
    mirror: IntArray,  # (B,) index of the other side's bone
) -> FloatArray:
    """Draw the lengths of left and right bones towards their mean, as far as the measurement leaves them free."""
    other = np.where(np.isfinite(length[mirror]), length[mirror], length)
    mean, half = (length + other) / 2, (length - other) / 2
    noise = (sigma**2 + sigma[mirror] ** 2) / 2
    keep = _ASYMMETRY_M**2 / (_ASYMMETRY_M**2 + np.where(np.isfinite(noise), noise, 0.0))
    return mean + keep * half
