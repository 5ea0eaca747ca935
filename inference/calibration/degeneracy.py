"""Motion that does not determine cameras, named with what to do instead of answered."""

from __future__ import annotations

from itertools import combinations

import cv2
import numpy as np

from ..errors import DegenerateError
from ..shapes import FloatArray
from .observations import Observations

_PLANAR_SHARE = 0.35  # of joints that one homography explains within three sigmas (healthy 0-0.21, planar 0.43-0.85)
_STILL = 0.06  # of the person's size in the picture; a joint that wanders less does not move
_FEWEST_MOVING = 4
_FEWEST_MOMENTS = 10
_FLAT = 0.08  # smallest over largest median spread of the joints (planar with noise of 2 px: 0.05)
_LARGEST_ROTATION_SIGMA_DEG = 2.0
_SEED = 21


def check_motion(observations: Observations) -> None:
    """Refuse a take in which the person does not move, before anything is solved.

    Raises:
        DegenerateError: too few moments, or a static person.
    """
    moments = observations.weight.shape[1]
    if moments < _FEWEST_MOMENTS:
        raise DegenerateError(
            f"two views share the person in only {moments} frames; cameras need at least {_FEWEST_MOMENTS}, better "
            "some hundreds: let the person walk through the volume for ten seconds"
        )
    moving = [_moving_joints(observations, view) for view in range(len(observations.views))]
    if sorted(moving)[-2] < _FEWEST_MOVING:
        told = ", ".join(f"{name}: {count}" for name, count in zip(observations.views, moving, strict=True))
        raise DegenerateError(
            f"the person hardly moves (joints that move, by view: {told}), so the cameras are not determined; "
            "let the person walk through the volume and raise the arms, or give a calibration file"
        )


def check_pair_motion(observations: Observations, noise: float = 1.0) -> None:
    """Refuse a take in which every pair of views sees all joints in one plane.

    Args:
        observations: of the views.
        noise: errors over what the keypoints state; those of detectors that state too much would hide any depth.

    Raises:
        DegenerateError: planar motion.
    """
    shares = []
    for a, b in combinations(range(len(observations.views)), 2):
        both = observations.seen[a] & observations.seen[b]
        if both.sum() >= 16:
            shares.append(homography_share(observations, a, b, noise))
    if shares and min(shares) > _PLANAR_SHARE:
        raise DegenerateError(
            f"all joints lie in one plane (one homography explains {min(shares):.0%} of them), so the cameras are not "
            "determined; let the person turn and walk towards and away from the cameras, or give a calibration file"
        )


def homography_share(observations: Observations, a: int, b: int, noise: float = 1.0) -> float:
    """Share of the joints of two views that one homography explains within three sigmas."""
    both = observations.seen[a] & observations.seen[b]
    scale = [float(np.median(observations.weight[v][both])) * observations.focal_px[v] / noise for v in (a, b)]
    first, second = (observations.rays[v][both] * s for v, s in zip((a, b), scale, strict=True))
    cv2.setRNGSeed(_SEED)
    H, _ = cv2.findHomography(first, second, cv2.LMEDS)  # USAC's give none for a plane seen from both sides
    if H is None:
        return 0.0
    mapped = np.column_stack([first, np.ones(len(first))]) @ H.T
    depth = np.where(np.abs(mapped[:, 2:]) > 1e-12, mapped[:, 2:], np.nan)
    error = np.linalg.norm(mapped[:, :2] / depth - second, axis=-1)
    # an error in the first view is as large as one in the second: 3 sigmas of the difference
    return float((error < 3 * np.sqrt(2)).mean())


def check_spread(
    points: FloatArray,  # (F, J, 3)
) -> None:
    """Refuse joints that fill no volume.

    Raises:
        DegenerateError: the joints of all frames lie in one plane.
    """
    places = points[np.isfinite(points).all(axis=-1)]
    middle = np.median(places, axis=0)
    near = np.linalg.norm(places - middle, axis=-1)
    places = places[near <= np.quantile(near, 0.95)] - middle
    axes = np.linalg.svd(places, full_matrices=False)[2]
    spread = np.median(np.abs(places @ axes.T), axis=0)  # medians: a few badly known joints give no depth
    if spread[-1] < _FLAT * spread[0]:
        raise DegenerateError(
            f"all joints lie within {spread[-1] / spread[0]:.1%} of one plane, so the cameras are not determined; "
            "let the person turn and walk towards and away from the cameras"
        )


def check_certainty(
    rotation_sigma_deg: FloatArray,  # (V,)
    names: tuple[str, ...],
) -> None:
    """Refuse cameras that the motion leaves open.

    Raises:
        DegenerateError: a camera's rotation is not known; the message names it.
    """
    worst = int(np.argmax(rotation_sigma_deg))
    if not rotation_sigma_deg[worst] <= _LARGEST_ROTATION_SIGMA_DEG:
        raise DegenerateError(
            f"view {names[worst]}: its rotation is known to {rotation_sigma_deg[worst]:.1f} degrees only, the motion "
            "fills too little of the volume; let the person walk further about, or give a calibration file"
        )


def _moving_joints(observations: Observations, view: int) -> int:
    """Number of joints that wander over more than a little of the person's size in one view."""
    seen = observations.seen[view]
    rays = np.where(seen[..., None], observations.rays[view], np.nan)
    crowded = seen.sum(axis=1) >= 3
    if not crowded.any():
        return 0
    size = np.median(np.nanmax(rays[crowded], axis=1) - np.nanmin(rays[crowded], axis=1), axis=0).max()
    often = seen.sum(axis=0) >= 5
    if not often.any():
        return 0
    # quartiles: neither swaps of left and right nor wild keypoints are motion
    low, high = np.nanquantile(rays[:, often], [0.1, 0.9], axis=0)
    return int(((high - low).max(axis=-1) > 2.5 * _STILL * size).sum())
