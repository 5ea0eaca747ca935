"""Judges of a solve that need no truth: what the footage and the body itself say about the answer.

Each measure is defined here once, with its unit; the report, the bench and the tests read the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..config import TriangulationSettings
from ..geometry.camera_path import before_first_pose
from ..geometry.projection import project
from ..geometry.triangulation import triangulate
from ..keypoints import at_frames
from ..shapes import BoolArray, FloatArray, IntArray, check_shapes
from ..types import CameraRig, Flag, Keypoints2D, Keypoints3D

BonePairs = Sequence[tuple[str, str]]  # (parent joint, child joint)

NEAR_FLOOR_M = 0.03  # a foot this near to its own lowest stand counts as standing, where nobody estimated contacts
STANDING_SPEED = 0.15  # m/s along the vertical, above which a foot near the floor is not standing


@dataclass(frozen=True)
class Spread:
    """How one number varies: the middle, the 95 % point, and how many values stand behind them."""

    median: float  # NaN where nothing was measured
    p95: float
    count: int


def spread(values: FloatArray) -> Spread:  # any shape
    """Summarise the finite values of an array."""
    finite = np.asarray(values)[np.isfinite(values)]
    if finite.size == 0:
        return Spread(float("nan"), float("nan"), 0)
    median, p95 = np.percentile(finite, (50, 95))
    return Spread(float(median), float(p95), int(finite.size))


def reprojection_errors(rig: CameraRig, joints: Keypoints3D, views: Sequence[Keypoints2D]) -> FloatArray:
    """Measure how far every 3D joint falls from the keypoint of the same name, in every view.

    Convention:
        px of the view's own video, lens distortion included; NaN where the view has no keypoint of that
        name, or either is unobserved. Every observed keypoint counts, outliers too.

    Args:
        rig: V cameras.
        joints: T frames, P persons, J joints.
        views: V views on the same times and persons.

    Returns:
        (V, T, P, J) px.

    Raises:
        ShapeError: views and joints differ in times or persons.
    """
    t, p, j = joints.flag.shape
    errors = np.full((len(views), t, p, j), np.nan)
    for v, (camera, view) in enumerate(zip(rig.cameras, views, strict=True)):
        check_shapes(views=(view.xy[:, :, 0], f"{t} {p} 2"))
        mine, theirs = _same_names(joints.joint_names, view.joint_names)
        seen = project(camera, before_first_pose(camera, joints.xyz[:, :, mine], joints.timestamps_s))
        errors[v][:, :, mine] = np.linalg.norm(seen - view.xy[:, :, theirs], axis=-1)
    return errors


def leave_one_out_errors(
    rig: CameraRig,
    views: Sequence[Keypoints2D],
    settings: TriangulationSettings,
    most_frames: int = 200,
) -> FloatArray:
    """Measure how well every view is foretold by the others: triangulate without it, reproject into it.

    Convention:
        px of the view's own video. At most ``most_frames`` frames, spread evenly over the take. With fewer
        than three views nothing is left to triangulate from: all NaN.

    Returns:
        (V, T', P, J) px; T' = frames used; joints as in the views.
    """
    frames = spread_frames(len(views[0].timestamps_s), most_frames)
    chosen = [at_frames(view, frames) for view in views]
    errors = np.full((len(views), *chosen[0].score.shape), np.nan)
    if len(views) < 3:
        return errors
    for v in range(len(views)):
        others = [i for i in range(len(views)) if i != v]
        joints = triangulate(sub_rig(rig, others), [chosen[i] for i in others], settings)
        only = reprojection_errors(sub_rig(rig, [v]), joints, [chosen[v]])[0]
        mine, theirs = _same_names(chosen[v].joint_names, joints.joint_names)
        errors[v][:, :, mine] = only[:, :, theirs]
    return errors


def metres_per_pixel(rig: CameraRig, joints: Keypoints3D) -> FloatArray:
    """Say what one pixel means at the subject: median depth over focal length, in every view.

    Returns:
        (V,) m/px; NaN where no joint lies in front of the camera.
    """
    scale = np.full(len(rig.cameras), np.nan)
    for v, camera in enumerate(rig.cameras):
        points = before_first_pose(camera, joints.xyz, joints.timestamps_s)[joints.observed]
        depth = points @ camera.R[2] + camera.t[2]
        if (depth > 0).any():
            focal = np.sqrt(camera.intrinsics.K[0, 0] * camera.intrinsics.K[1, 1])
            scale[v] = np.median(depth[depth > 0]) / focal
    return scale


def bone_lengths(joints: Keypoints3D, bones: BonePairs) -> FloatArray:
    """Measure every bone in every frame.

    Returns:
        (T, P, B) m; NaN where an end is unobserved or the layout has no such joint.
    """
    where = {name: index for index, name in enumerate(joints.joint_names)}
    lengths = np.full((*joints.flag.shape[:2], len(bones)), np.nan)
    for b, (parent, child) in enumerate(bones):
        if parent in where and child in where:
            lengths[..., b] = np.linalg.norm(joints.xyz[:, :, where[child]] - joints.xyz[:, :, where[parent]], axis=-1)
    return lengths


def bone_spread(lengths: FloatArray) -> FloatArray:  # (T, P, B) m
    """Measure how much each bone breathes: the standard deviation of its length over the frames.

    Convention:
        a bone of the body does not change its length, so this is error. It says something about
        triangulation only: the solved motion has constant bones by construction.

    Returns:
        (P, B) m; NaN where a bone was measured in fewer than two frames.
    """
    seen = np.isfinite(lengths)
    count = seen.sum(axis=0)
    mean = np.where(seen, lengths, 0.0).sum(axis=0) / np.maximum(count, 1)
    square = (np.where(seen, lengths - mean, 0.0) ** 2).sum(axis=0)
    return np.where(count > 1, np.sqrt(square / np.maximum(count - 1, 1)), np.nan)


def flag_shares(flags: IntArray) -> dict[str, FloatArray]:  # (T, P, J) values of Flag
    """Count what stands behind each joint: the share of frames per flag.

    Returns:
        (P, J) share 0–1 for ``observed``, ``weak`` (weak evidence or bridged), ``rejected``, ``unobserved``; sum 1.
    """
    return {flag.name.lower(): np.asarray((flags == flag).mean(axis=0)) for flag in Flag}


def worst_sigma(covariance: FloatArray) -> FloatArray:  # (..., 3, 3) m²
    """Return the standard deviation in the most uncertain direction.

    Returns:
        (...) m; NaN where the covariance is NaN.
    """
    finite = np.isfinite(covariance).all(axis=(-2, -1))
    safe = np.where(finite[..., None, None], covariance, np.eye(3))
    return np.where(finite, np.sqrt(np.maximum(np.linalg.eigvalsh(safe)[..., -1], 0.0)), np.nan)


def accelerations(joints: Keypoints3D) -> FloatArray:
    """Measure the acceleration of every joint by the central second difference.

    Convention:
        uniform timestamps. A walking body stays below about 50 m/s²; far more is noise.

    Returns:
        (T - 2, P, J) m/s², of frames 1 … T - 2; NaN beside unobserved frames.
    """
    times = joints.timestamps_s
    if len(times) < 3:
        return np.full((0, *joints.flag.shape[1:]), np.nan)
    step = (times[-1] - times[0]) / (len(times) - 1)
    return np.linalg.norm(np.diff(joints.xyz, n=2, axis=0), axis=-1) / step**2


def jitter(joints: Keypoints3D) -> FloatArray:
    """Measure frame-to-frame shaking as the white noise per axis that would cause it.

    Convention:
        root mean square of the third difference of the position over the frames, divided by √20 (the gain of
        that difference on white noise) and √3 axes. Slow motion is cancelled up to its third derivative; at a
        low frame rate real motion counts as well, so compare only takes of one rate.

    Returns:
        (P, J) m; NaN where four frames in a row were never observed.
    """
    third = np.linalg.norm(np.diff(joints.xyz, n=3, axis=0), axis=-1)
    seen = np.isfinite(third)
    mean = np.where(seen, third, 0.0) ** 2
    count = seen.sum(axis=0)
    return np.where(count > 0, np.sqrt(mean.sum(axis=0) / np.maximum(count, 1) / 60.0), np.nan)


def standing(joints: Keypoints3D, foot: str, up: FloatArray) -> BoolArray:  # up (3,)
    """Guess from the motion alone when a foot stands: near its lowest height and not rising or sinking.

    Convention:
        lowest height = 5 % point over the take; near = within `NEAR_FLOOR_M`; slow = `STANDING_SPEED`.

    Returns:
        (T, P); all False for a joint that the layout does not have.
    """
    result = np.zeros(joints.flag.shape[:2], dtype=bool)
    if foot not in joints.joint_names or len(joints.timestamps_s) < 2:
        return result
    height = joints.xyz[:, :, joints.joint_names.index(foot)] @ np.asarray(up)
    speed = np.abs(np.gradient(height, joints.timestamps_s, axis=0))
    for person in np.flatnonzero(np.isfinite(height).any(axis=0)):
        low = np.nanpercentile(height[:, person], 5)
        near = height[:, person] < low + NEAR_FLOOR_M
        result[:, person] = near & (speed[:, person] < STANDING_SPEED)
    return result


def foot_slide(joints: Keypoints3D, foot: str, planted: BoolArray, up: FloatArray) -> FloatArray:  # (T, P), (3,)
    """Measure how fast a planted foot moves along the floor: mean speed over the planted frames.

    Returns:
        (P,) m/s; NaN where the foot is never planted for two frames in a row, or the layout has no such joint.
    """
    slide = np.full(joints.flag.shape[1], np.nan)
    if foot not in joints.joint_names:
        return slide
    step = np.diff(joints.xyz[:, :, joints.joint_names.index(foot)], axis=0)
    along = step - (step @ up)[..., None] * np.asarray(up)
    speed = np.linalg.norm(along, axis=-1) / np.diff(joints.timestamps_s)[:, None]
    both = planted[1:] & planted[:-1] & np.isfinite(speed)
    for person in np.flatnonzero(both.any(axis=0)):
        slide[person] = speed[both[:, person], person].mean()
    return slide


def sub_rig(rig: CameraRig, chosen: Sequence[int]) -> CameraRig:
    """Return the rig of some of the cameras, with their share of the covariance."""
    rows = np.concatenate([np.arange(6 * v, 6 * v + 6) for v in chosen])
    cameras = tuple(rig.cameras[v] for v in chosen)
    return CameraRig(cameras, rig.covariance[np.ix_(rows, rows)], rig.gauge)


def spread_frames(count: int, most: int) -> IntArray:
    """Choose at most ``most`` frames of ``count``, evenly spread, each once."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def _same_names(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[IntArray, IntArray]:
    where = {name: index for index, name in enumerate(second)}
    pairs = [(i, where[name]) for i, name in enumerate(first) if name in where]
    both = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]
