"""Focal lengths that are only roughly given: solved with the camera poses where the person shows them.

A longer lens from farther away gives nearly the same picture; what tells the two apart is how much the person grows on
coming nearer. So a focal length is known as well as the person changes the distance to the camera, and no better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import InputError
from ..shapes import FloatArray
from ..types import Intrinsics

_ORDER = np.array([2, 4, 1, 1, 6, 2, 4, 6, 1, 3, 1, 3])  # power of a ray: k1 k2 p1 p2 k3 … k6 s1 … s4
_UNSHOWN = 0.5  # of the sigma that was given, above which the person has said little


def check_lenses(lenses: Sequence[Intrinsics]) -> None:
    """Refuse lenses whose distortion says something else at another focal length.

    Raises:
        InputError: a fisheye or the like; the message names the view.
    """
    for lens in lenses:
        if lens.distortion_model not in ("opencv", "none") or len(lens.distortion) > len(_ORDER):
            raise InputError(
                f"view {lens.name}: [calibration] focal_sigma cannot be used with a {lens.distortion_model} lens of "
                f"{len(lens.distortion)} coefficients; calibrate this lens with a board, and leave focal_sigma out"
            )


def zoomed_lens(lens: Intrinsics, zoom: float) -> Intrinsics:
    """Return the lens with another focal length that bends the same pixels to the same pixels.

    Convention:
        ``f' = f exp(zoom)``. A coefficient of the n-th power of a ray grows by ``exp(n zoom)``, so that what distortion
        does is unchanged in pixels; ``K`` else stays.
    """
    K = lens.K @ np.diag([np.exp(zoom), np.exp(zoom), 1.0])
    distortion = lens.distortion * np.exp(zoom * _ORDER[: len(lens.distortion)])
    return replace(lens, K=K, distortion=distortion)


def unshown(
    names: Sequence[str],
    sigma: FloatArray,  # (V,) of the logarithms of the focal lengths
    focal_sigma: float,
) -> list[str]:
    """Warn of the views whose focal length the person does not show."""
    if not focal_sigma:
        return []
    return [
        f"view {name}: the person does not show its focal length (known to {share:.1%} after the solve, given to "
        f"{focal_sigma:.1%}); let the person walk towards and away from this camera, or measure its lens with a board"
        for name, share in zip(names, sigma, strict=True)
        if share > _UNSHOWN * focal_sigma
    ]
