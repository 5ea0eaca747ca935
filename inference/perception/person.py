"""A person in one picture, and how alike two of them are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..shapes import FloatArray, check_shapes, frozen
from .crop import Region

_TOLERANCE = 0.3  # of the body's spread: a joint this far off is 0.6 alike


@dataclass(frozen=True, eq=False)
class Person2D:
    """Keypoints of one person in one picture, in its pixels; NaN and score 0 where none was found."""

    xy: FloatArray  # (J, 2) px
    covariance: FloatArray  # (J, 2, 2) px²
    score: FloatArray  # (J,) 0–1
    person_score: float  # 0–1
    region: Region  # where the network looked
    next_region: Region  # where it should look in the next frame

    def __post_init__(self) -> None:
        for name in ("xy", "covariance", "score"):
            object.__setattr__(self, name, frozen(getattr(self, name)))
        check_shapes(xy=(self.xy, "J 2"), covariance=(self.covariance, "J 2 2"), score=(self.score, "J"))


def spread(
    xy: FloatArray,  # (J, 2) px
) -> float:
    """Return the root mean square distance of the keypoints from their middle, px; 0 if there are none."""
    seen = xy[np.isfinite(xy).all(axis=1)]
    return float(np.sqrt(((seen - seen.mean(axis=0)) ** 2).sum(axis=1).mean())) if len(seen) else 0.0


def similarity(
    first: FloatArray,  # (J, 2) px
    second: FloatArray,  # (J, 2) px
    free_shift: float = 0.0,
) -> float:
    """Return how surely two sets of keypoints are one person: 1 the same, 0 another.

    Mean over shared joints of ``exp(-d² / 2σ²)`` with σ a share of the body's size, in the manner of COCO's
    object keypoint similarity.

    Convention:
        pixels; without three shared joints the answer is 0.

    Args:
        first: keypoints, NaN where missing.
        second: the same joints.
        free_shift: the body may have moved this far as a whole, in units of its spread, at no cost.
    """
    check_shapes(first=(first, "J 2"), second=(second, "J 2"))
    shared = np.isfinite(first).all(axis=1) & np.isfinite(second).all(axis=1)
    size = max(spread(first), spread(second))
    if shared.sum() < 3 or size <= 0:
        return 0.0
    moved = second[shared] - first[shared]
    shift = np.median(moved, axis=0)
    length = float(np.hypot(*shift))
    if length > 0:
        moved = moved - shift * min(1.0, free_shift * size / length)
    return float(np.exp(-0.5 * (moved**2).sum(axis=1) / (_TOLERANCE * size) ** 2).mean())
