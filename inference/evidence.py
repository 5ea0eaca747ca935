"""Sampled bodies as evidence for the solver: where too few views see a joint, views that nobody filmed.

The solver knows one kind of evidence, a keypoint with a covariance in a view. What the samples say about a joint's
place along the axes of a real camera becomes keypoints of made views: one looks along that camera's x axis and sees
depth and height, one along its own axis and sees x. They stand some way off: nearly parallel rays, yet so near that the
solver, which doubts where cameras look by half a milliradian, does not doubt them by more than a centimetre.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .geometry.camera_path import poses_at
from .geometry.epipolar import focal_length
from .motion.kinematics import forward_kinematics
from .motion.rotation_covariance import rotation_covariance
from .motion.skeleton import joint_sources
from .motion.standing import CENTRE, USUAL_TURN, unstated_cameras
from .moving_cameras import distances_m
from .shapes import BoolArray, FloatArray
from .types import Camera, CameraRig, Flag, Intrinsics, Keypoints2D, Keypoints3D, Reason, SkeletonMotion

_FAR_M = 20.0  # of a made view from the middle of where samples stand
_FOCAL_PX = 20_000.0
_NOTHING_M = 30.0  # sigma of what a made view does not tell
_ALONG_X = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])  # axes of a view that looks along a camera's -x axis


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and covariance of sampled joints, NaN where there are no samples."""

    mean: FloatArray  # (T, P, J, 3) m
    covariance: FloatArray  # (T, P, J, 3, 3) m²


def made_views(
    rig: CameraRig,
    views: Sequence[Keypoints2D],
    wanted: BoolArray,  # (T, P, J) joints for which samples stand
    told: Moments,  # joints of the views
    turn: float = USUAL_TURN,  # rad, by which cameras of unstated accuracy are off
) -> tuple[CameraRig, tuple[Keypoints2D, ...]]:
    """Add the views that tell what the samples say about the wanted joints.

    Convention:
        a joint that one real view shows gets its depth in that view's axes alone, for the samples already hold what
        that view says; a joint that none shows, or several at odds, gets all three coordinates in the axes of the
        view that shows most of the person in that frame. Made views are exact; real ones whose accuracy is not stated
        err by ``turn``, for zeros in a rig's covariance say of all its cameras that theirs is unknown, and beside made
        views the solver would doubt these too.

    Returns:
        Rig and views, the real ones first.
    """
    seen = np.stack([view.observed for view in views])  # (V, T, P, J)
    owner = np.where(seen.any(axis=0), seen.argmax(axis=0), seen.sum(axis=-1).argmax(axis=0)[..., None])
    depth_alone = wanted & (seen.sum(axis=0) == 1)
    whole = wanted & ~depth_alone
    cameras, made = list(rig.cameras), list(views)
    for number, camera in enumerate(rig.cameras):
        own = wanted & (owner == number)
        if not own.any():
            continue
        middle = np.nanmean(told.mean[own], axis=0)
        for kind, axes, spread in (("depth", _ALONG_X, own), ("x", np.eye(3), own & whole)):
            if spread.any():
                made_camera = _far_camera(f"{camera.name} ({kind})", camera, axes, middle)
                cameras.append(made_camera)
                made.append(_told(made_camera, views[number], told, spread, whole if kind == "depth" else None))
    covariance = np.zeros((6 * len(cameras), 6 * len(cameras)))
    real = rig.covariance
    if not real.any():
        poses = np.stack([camera.R for camera in rig.cameras]), np.stack([camera.t for camera in rig.cameras])
        known = np.where(wanted[..., None], told.mean, np.nan)
        basis = unstated_cameras(*poses, distances_m(rig, known, views[0].timestamps_s))
        real = turn**2 * basis @ basis.T
    covariance[: len(real), : len(real)] = real
    return CameraRig(tuple(cameras), covariance, rig.gauge), tuple(made)


def turn_of_cameras(facts: Sequence[Mapping[str, Any]], rig: CameraRig) -> float:
    """How far a solve's facts ``camera_shifts`` say that cameras are off, rad; the usual error where there are none."""
    if not facts:
        return USUAL_TURN
    focal = {camera.name: focal_length(camera) for camera in rig.cameras}
    return turn_from_shifts(np.array([np.hypot(f["shift_px"], f["sigma_px"]) / focal[f["view"]] for f in facts]))


def turn_from_shifts(shifts: FloatArray) -> float:
    """Return how far cameras are off, rad, that move the person by so much in their pictures (V,), normalised."""
    return float(np.sqrt((shifts**2).mean() / (2 * (1 + CENTRE**2))))


def _far_camera(name: str, camera: Camera, axes: FloatArray, middle: FloatArray) -> Camera:
    """Return a camera far off with the axes (3, 3), given in those of the real camera, and turning as that one does."""
    K = np.diag([_FOCAL_PX, _FOCAL_PX, 1.0])

    def placed(R: FloatArray, _: FloatArray) -> tuple[FloatArray, FloatArray]:
        return axes @ R, np.array([0.0, 0.0, _FAR_M]) - (axes @ R) @ middle

    lens = Intrinsics(name, (65536, 65536), K, np.zeros(0), "none")
    return camera.with_lens(lens).with_poses(placed)


def _told(camera: Camera, like: Keypoints2D, told: Moments, where: BoolArray, height: BoolArray | None) -> Keypoints2D:
    """Keypoints of a made view: its x, and its y where ``height`` says so."""
    R, t = (part[:, None, None] for part in poses_at(camera, like.timestamps_s))
    place = (R @ told.mean[..., None])[..., 0] + t
    px_per_m = _FOCAL_PX / np.maximum(place[..., 2:], 1.0)
    xy = px_per_m * place[..., :2]
    spread = px_per_m[..., None] ** 2 * (R @ told.covariance @ R.swapaxes(-1, -2))[..., :2, :2]
    alone = np.zeros_like(spread)
    alone[..., 0, 0] = spread[..., 0, 0]
    alone[..., 1, 1] = (px_per_m[..., 0] * _NOTHING_M) ** 2
    if height is not None:
        alone = np.where(height[..., None, None], spread, alone)
    return replace(
        like,
        view=camera.name,
        xy=np.where(where[..., None], xy, np.nan),
        covariance=np.where(where[..., None, None], alone, np.nan),
        score=np.where(where, 1.0, 0.0),
    )


def started(raw: Keypoints3D, wanted: BoolArray, told: Moments) -> Keypoints3D:
    """Put the samples' means where single frames have nothing: what the solver starts from, flagged WEAK."""
    return replace(
        raw,
        xyz=np.where(wanted[..., None], told.mean, raw.xyz),
        covariance=np.where(wanted[..., None, None], told.covariance, raw.covariance),
        flag=np.where(wanted, int(Flag.WEAK), raw.flag),
        reason=np.where(wanted, int(Reason.HYPOTHESES), raw.reason),
    )


def about(xyz: FloatArray, told: Moments) -> FloatArray:
    """Covariance (..., 3, 3) m² of points that nothing but samples tell of, where they are not the samples' mean.

    Many frames together put a joint elsewhere than the samples of one frame do. Both may be wrong: half of the square
    between them is counted as the point's own error, as between two estimates of the same quality.
    """
    apart = xyz - told.mean
    return told.covariance + 0.5 * apart[..., :, None] * apart[..., None, :]


def widened(
    solved: Keypoints3D,
    told: FloatArray,  # (T, P, S, 3, 3) m² of the solved joints, NaN where no samples stand
) -> Keypoints3D:
    """Give the solved joints that rest on samples at least the samples' covariance.

    The samples of neighbouring frames are wrong together: what many frames agree on is no surer than one.

    Convention:
        along every axis of the samples' covariance the larger of the two variances; flags OBSERVED become WEAK.
    """
    known = np.isfinite(told).all(axis=(-1, -2)) & solved.observed
    own = np.where(known[..., None, None], solved.covariance, np.eye(3))
    guess = np.where(known[..., None, None], told, np.eye(3))
    root = np.linalg.cholesky(own)
    inverse = np.linalg.inv(root)
    values, axes = np.linalg.eigh(inverse @ guess @ np.swapaxes(inverse, -1, -2))
    larger = root @ axes * np.sqrt(np.maximum(values, 1.0))[..., None, :]
    covariance = np.where(known[..., None, None], larger @ np.swapaxes(larger, -1, -2), solved.covariance)
    flag = np.where(known & (solved.flag == Flag.OBSERVED), int(Flag.WEAK), solved.flag)
    reason = np.where(known, int(Reason.HYPOTHESES), solved.reason)
    return replace(solved, covariance=covariance, flag=flag, reason=reason)


def turned_as_unsure(path: SkeletonMotion, solved: Keypoints3D, names: tuple[str, ...]) -> SkeletonMotion:
    """Make rotations as unsure as joints that rest on samples make them; others stay as they are.

    Convention:
        in frames where some joint rests on samples: to first order from the widened covariances (a wrist turns the
        upper arm too, whose twist it shows).

    Args:
        path: with the rotations' covariance as the solver knows it.
        solved: joints of the skeleton, widened.
        names: the detector's joints.
    """
    skeleton = path.skeleton
    resting = solved.reason == Reason.HYPOTHESES
    if not resting.any():
        return path
    sources = joint_sources(skeleton, names)
    told = np.array(path.rotation_covariance)
    for person in range(told.shape[1]):
        frames = np.flatnonzero(resting[:, person].any(axis=-1))
        root, local = path.root_rotation[frames, person], path.local_rotation[frames, person]
        joints = forward_kinematics(skeleton, path.root_translation[frames, person], local, path.bone_length[person])
        told[frames, person] = rotation_covariance(
            skeleton, joints, root, local, solved.covariance[frames, person], sources
        )
    return replace(path, rotation_covariance=told)
