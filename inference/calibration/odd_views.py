"""Views that no camera explains, or that the others contradict: late, mirrored, of somebody else."""

from __future__ import annotations

import numpy as np

from ..errors import DegenerateError
from ..shapes import FloatArray
from .bundle_adjustment import BundleResult
from .observations import Observations

_WORST_PX = 0.03  # median residual as a share of the focal length, beyond which the answer is no answer
_FEWEST_JOINTS = 30
# Median residual in sigmas over that of the usual view: healthy 0.2 to 1.1, far away to 1.8, three times as noisy 1.8
# to 2.7, five times 3.3 to 5.6; four frames late (67 ms) 1.2 to 2.8, eight 1.7 to 7, mirrored 1.4 to 2.4, somebody
# else 9 and more.
_EXACT = 1e-6  # sigmas that are none
_ODD, _CONTRADICTED = 2.0, 6.0


def unexplained(observations: Observations, result: BundleResult) -> list[int]:
    """Views whose typical residual is larger than any detector's error."""
    typical = np.nan_to_num(_typical(np.linalg.norm(result.error_px, axis=-1)))
    return [v for v, px in enumerate(typical) if px > _WORST_PX * observations.focal_px[v]]


def check_residuals(observations: Observations, result: BundleResult) -> list[str]:
    """Refuse views that do not fit; return a warning for each that fits badly.

    Raises:
        DegenerateError: a view shares too little, is explained by no camera, or is contradicted by the others.
    """
    error = np.linalg.norm(result.error_px, axis=-1)
    typical = _typical(error)
    for v, name in enumerate(observations.views):
        seen = int(np.isfinite(error[v]).sum())
        if seen < _FEWEST_JOINTS:
            raise DegenerateError(
                f"view {name} shares only {seen} joints with the others, too few to know its camera; "
                "leave it out, or let the person stand where it sees them too"
            )
        if v in unexplained(observations, result):
            raise DegenerateError(
                f"view {name}: no camera explains its keypoints (median error {typical[v]:.0f} px); "
                "check that its lens belongs to this video, and its offset_s"
            )
    sigmas = np.sqrt(_typical(result.squared))
    warnings = []
    for name, times in zip(observations.views, sigmas / max(np.median(sigmas), _EXACT), strict=True):
        told = (
            f"view {name}: its keypoints lie {times:.1f} times as far from the joints as is usual in the other views, "
            "as in a film that is late, mirrored, blurred, or shows somebody else; check its offset_s and lens, "
            "or leave it out"
        )
        if times > _CONTRADICTED:
            raise DegenerateError(told)
        if times > _ODD:
            warnings.append(told)
    return warnings


def _typical(
    numbers: FloatArray,  # (V, F, J)
) -> FloatArray:
    """(V,) medians; NaN where a view has none."""
    return np.array([np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else np.nan for row in numbers])
