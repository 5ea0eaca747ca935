"""What cameras are solved from: a few hundred well-spread moments of the same people in all views, as rays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..clocks.ray_stream import ray_velocity
from ..errors import ShapeError
from ..geometry.projection import undistort_points
from ..layouts import place
from ..shapes import BoolArray, FloatArray, IntArray
from ..types import Intrinsics, Keypoints2D

_MIN_SCORE = 0.3  # of a keypoint that has a say
_SMALLEST_SIGMA_PX = 0.3

# Joints whose detections lie on the body itself; fingers and the corners of eyes and mouth add cost, not evidence.
_SIDED = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle", "heel", "big_toe")
USED = ("nose", *(f"{side}_{joint}" for joint in _SIDED for side in ("left", "right")))

# Pairs of joints that keep their distance whatever the person does.
_SIDED_BONES = (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"), ("ankle", "heel"))
BONES = (
    *((f"{side}_{a}", f"{side}_{b}") for a, b in _SIDED_BONES for side in ("left", "right")),
    *(("left_shoulder", "right_shoulder"), ("left_hip", "right_hip")),
)


@dataclass(frozen=True, eq=False)
class Observations:
    """Rays of the same joints in all views; F moments, each one frame of one person."""

    views: tuple[str, ...]
    joint_names: tuple[str, ...]  # by place on the body
    rays: FloatArray  # (V, F, J, 2) normalised coordinates, 0 where not seen
    weight: FloatArray  # (V, F, J) 1 / sigma in px, 0 where not seen
    focal_px: FloatArray  # (V,)
    frame: IntArray  # (F,) which frame a moment is of
    velocity: FloatArray  # (V, F, J, 2) of the rays, per second; 0 where no clock is asked for

    @property
    def seen(self) -> BoolArray:
        """(V, F, J) whether a view sees the joint."""
        return self.weight > 0

    @property
    def bones(self) -> IntArray:
        """(B, 2) numbers of the joints that keep their distance."""
        where = {name: index for index, name in enumerate(self.joint_names)}
        pairs = [(where[a], where[b]) for a, b in BONES if a in where and b in where]
        return np.array(pairs, dtype=np.int64).reshape(-1, 2)

    def subset(self, moments: IntArray) -> Observations:
        """Return some of the moments."""
        return replace(
            self,
            rays=self.rays[:, moments],
            weight=self.weight[:, moments],
            frame=np.asarray(self.frame)[moments],
            velocity=self.velocity[:, moments],
        )


def gather_observations(
    lenses: Sequence[Intrinsics],
    views: Sequence[Keypoints2D],
    most_frames: int = 300,
    clocks: Sequence[int] = (),
) -> Observations:
    """Bring keypoints of the same people in all views to rays, thinned to a few hundred moments.

    Convention:
        views share times, joints and persons (slots). Moments in which fewer than two views share three joints are
        left out; of the rest every n-th is taken, so that they spread over the whole take.

    Args:
        lenses: of the views, in order.
        views: keypoints on common times, slot p the same person in every view.
        most_frames: how many moments are kept at most.
        clocks: views whose velocities are measured, because their clocks are to be found; a keypoint of theirs whose
            velocity is not known is left out.

    Returns:
        The observations.

    Raises:
        ShapeError: views differ in joints or times.
    """
    first = views[0]
    if any(v.joint_names != first.joint_names or v.xy.shape != first.xy.shape for v in views):
        raise ShapeError("the views differ in their joints, times or persons")
    where = {place(name): index for index, name in enumerate(first.joint_names)}
    names = tuple(name for name in USED if name in where)
    joints = [where[name] for name in names]
    frames, people = first.xy.shape[:2]
    seen = np.stack([v.observed[:, :, joints] & (v.score[:, :, joints] >= _MIN_SCORE) for v in views])
    moments = _spread_moments(seen.reshape(len(views), frames * people, -1), most_frames)
    rays, weight, velocity = [], [], []
    for lens, view, mask in zip(lenses, views, seen, strict=True):
        xy = np.where(mask[..., None], view.xy[:, :, joints], np.nan).reshape(frames * people, -1, 2)[moments]
        covariance = view.covariance[:, :, joints].reshape(frames * people, -1, 2, 2)[moments]
        ray = undistort_points(lens, xy)
        speed = np.zeros_like(ray)
        if len(rays) in clocks:
            every = undistort_points(lens, np.where(mask[..., None], view.xy[:, :, joints], np.nan))
            speed = ray_velocity(np.asarray(view.timestamps_s), every).reshape(frames * people, -1, 2)[moments]
        good = np.isfinite(ray).all(axis=-1) & np.isfinite(speed).all(axis=-1)
        velocity.append(np.where(good[..., None], speed, 0.0))
        sigma = np.sqrt(np.maximum(np.trace(covariance, axis1=-2, axis2=-1) / 2, _SMALLEST_SIGMA_PX**2))
        rays.append(np.where(good[..., None], ray, 0.0))
        weight.append(np.where(good, 1 / np.where(good, sigma, 1.0), 0.0))
    focal = np.array([np.sqrt(lens.K[0, 0] * lens.K[1, 1]) for lens in lenses])
    names_of_views = tuple(view.view for view in views)
    frame = moments // people
    return Observations(names_of_views, names, np.stack(rays), np.stack(weight), focal, frame, np.stack(velocity))


def _spread_moments(seen: BoolArray, most: int) -> IntArray:
    """Numbers of the moments that two views share, at most so many, evenly spread."""
    shared = (seen.sum(axis=0) >= 2).sum(axis=-1) >= 3
    usable = np.flatnonzero(shared)
    if len(usable) <= most:
        return usable
    return usable[np.linspace(0, len(usable) - 1, most).round().astype(int)]
