"""Given cameras adjusted on the person, with priors as tight as they are trusted; only where the evidence is good."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from ..errors import DegenerateError
from ..geometry.pose_errors import pose_slopes
from ..geometry.rotation import log
from ..shapes import FloatArray
from ..types import CameraRig, Keypoints2D
from .bundle_adjustment import BundleModel, BundleResult, Prior, adjust_bundle
from .degeneracy import check_motion, check_pair_motion
from .observations import Observations, gather_observations
from .self_calibration import measured_model, rig_with_poses, start_bundle

_MOST_MOMENTS = 300
_ROTATION_SIGMA_DEG, _CENTRE_SIGMA_M = 0.5, 0.01  # where the take does not say how far the cameras are trusted
_CLEAR = 3.0  # sigmas by which at least one rotation must have moved
_BETTER = 0.95  # of the median residual, that a refinement must leave at most
_FEWEST_MOMENTS = 30  # of 20 moments, 3 of 15 takes moved cameras that were right; of 30 to 90, none of 64
_ROUNDS = 3


@dataclass(frozen=True, eq=False)
class Refinement:
    """The refined rig, and how far every camera moved."""

    rig: CameraRig
    rotation_deg: dict[str, float]
    centre_m: dict[str, float]
    median_error_px: dict[str, tuple[float, float]]  # before and after


@threadpool_limits.wrap(limits=1)  # many small systems: threads only wait there
def refine_cameras(rig: CameraRig, views: Sequence[Keypoints2D]) -> Refinement:
    """Adjust given cameras on the people in front of them.

    The same bundle adjustment as for cameras from the person, with the given poses as Gaussian prior: by the rig's
    covariance, or 0.5 degrees and 10 mm where the cameras are given as exact. Standing offsets per view and joint are
    part of the model, so what a detector always puts in the wrong place moves no camera as far as the joints disagree.

    Convention:
        the world stays the given one (the prior holds it). The result's covariance is the posterior.

    Args:
        rig: given cameras.
        views: the same people in the same slots of every view.

    Returns:
        The refinement.

    Raises:
        DegenerateError: the evidence is too weak to move anything; the message says why.
    """
    observations = gather_observations(rig.lenses, views, _MOST_MOMENTS)
    _check_length(observations)
    check_motion(observations)
    check_pair_motion(observations)
    R, t = np.stack([c.R for c in rig.cameras]), np.stack([c.t for c in rig.cameras])
    prior = Prior(R, t, np.linalg.inv(_prior_covariance(rig)))
    after, model = _settled(observations, prior)
    final = adjust_bundle(observations, after.bundle, measured_model(after, model), prior)
    bundle = final.bundle
    covariance = np.linalg.inv(final.information)
    errors = _errors(observations, R, t), _errors(observations, bundle.R, bundle.t)
    step = log(bundle.R @ np.swapaxes(R, -1, -2))
    by_chance = covariance @ (final.information - prior.information) @ covariance  # of steps, were the cameras right
    sigma = np.sqrt(np.diag(by_chance).reshape(-1, 6)[:, :3])
    _check_evidence(float(np.abs(step / sigma).max()), errors)
    refined = replace(
        rig_with_poses(rig.lenses, bundle.R, bundle.t),
        covariance=(covariance + covariance.T) / 2,
        gauge=f"{rig.gauge}; refined on the person",
    )
    pairs = list(zip(rig.cameras, refined.cameras, strict=True))
    return Refinement(
        refined,
        {a.name: float(np.degrees(np.linalg.norm(log(b.R @ a.R.T)))) for a, b in pairs},
        {a.name: float(np.linalg.norm(b.centre - a.centre)) for a, b in pairs},
        {name: (float(errors[0][v]), float(errors[1][v])) for v, name in enumerate(rig.names)},
    )


def _settled(observations: Observations, prior: Prior) -> tuple[BundleResult, BundleModel]:
    """Adjust in rounds, measuring noise and standing offsets in between."""
    model = BundleModel(iterations=8)
    result = adjust_bundle(observations, start_bundle(observations, prior.R, prior.t), model, prior)
    for _ in range(_ROUNDS):
        model = measured_model(result, model)
        result = adjust_bundle(observations, result.bundle, model, prior)
    return result, model


def _errors(observations: Observations, R: FloatArray, t: FloatArray) -> FloatArray:
    """(V,) median residual, px, of joints that are fitted to cameras that stand firm, without standing offsets."""
    firm = Prior(R, t, 1e12 * np.eye(6 * len(R)))
    model = BundleModel(offset_sigma_px=0, iterations=6)
    found = adjust_bundle(observations, start_bundle(observations, R, t), model, firm)
    return np.nanmedian(np.linalg.norm(found.error_px, axis=-1), axis=(1, 2))


def _check_length(observations: Observations) -> None:
    moments = observations.weight.shape[1]
    if moments < _FEWEST_MOMENTS:
        raise DegenerateError(
            f"two views share the person in only {moments} frames, of {_FEWEST_MOMENTS} that it takes to tell cameras "
            "that are off from a detector that always errs alike; leave refine_cameras out, or give a longer take"
        )


def _check_evidence(moved_sigmas: float, errors: tuple[FloatArray, FloatArray]) -> None:
    before, after = (float(np.mean(e)) for e in errors)
    if after > _BETTER * before or moved_sigmas < _CLEAR:
        raise DegenerateError(
            f"the person gives no good reason to move the cameras: the median residual goes from {before:.1f} to "
            f"{after:.1f} px, no rotation is off by more than {moved_sigmas:.1f} sigmas; leave refine_cameras out"
        )


def _prior_covariance(rig: CameraRig) -> FloatArray:
    """Return the rig's covariance, or what is assumed of cameras that are given as exact."""
    if rig.covariance.any():
        return np.array(rig.covariance) + 1e-12 * np.eye(len(rig.covariance))
    covariance = np.zeros_like(rig.covariance)
    spread = np.diag([np.radians(_ROTATION_SIGMA_DEG) ** 2] * 3 + [_CENTRE_SIGMA_M**2] * 3)
    for number, camera in enumerate(rig.cameras):
        slopes = pose_slopes(camera.R, camera.t)
        block = slice(6 * number, 6 * number + 6)
        covariance[block, block] = slopes @ spread @ slopes.T
    return covariance
