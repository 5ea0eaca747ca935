"""How estimated movement looks: what papers report beyond the judges of `inference.report.judges`.

Jitter as noise (`jitter`), foot slide (`foot_slide`), and the spread of bone lengths (`bone_spread`) are defined there,
and nowhere else.
"""

from __future__ import annotations

import numpy as np

from inference.report.judges import BonePairs, bone_lengths, bone_spread
from inference.shapes import FloatArray
from inference.types import Keypoints3D


def mean_third_difference(joints: Keypoints3D) -> FloatArray:
    """Return the mean length of the third difference over frames, the jitter that papers report.

    Convention:
        not divided by the time step: compare only takes of one rate. For white noise of σ per axis it is
        σ·√20·√(8/π); `inference.report.judges.jitter` gives σ itself.

    Returns:
        (P, J) m; NaN where four frames in a row were never observed.
    """
    third = np.linalg.norm(np.diff(joints.xyz, n=3, axis=0), axis=-1)
    seen = np.isfinite(third)
    count = seen.sum(axis=0)
    return np.where(count > 0, np.where(seen, third, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)


def bone_length_cv(joints: Keypoints3D, bones: BonePairs) -> FloatArray:
    """Return the coefficient of variation of each bone's length: its spread over its mean.

    Returns:
        (P, B); NaN where a bone was measured in fewer than two frames, or the layout lacks it.
    """
    lengths = bone_lengths(joints, bones)
    seen = np.isfinite(lengths)
    mean = np.where(seen, lengths, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    return bone_spread(lengths) / np.where(mean > 0, mean, np.nan)
