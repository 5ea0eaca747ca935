"""Body poses sampled for frames that too few views see: what the flow knows of bodies, in the world of the take.

Per person and frame: a rough place of the pelvis from the size of the body in the pictures, the rays of all views about
it, samples of the flow given both, and a weight for what else is known of the person.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .geometry.reprojection import Rays
from .layouts import shared_joints
from .perception.flow import PosePrior, pose_gaussians
from .perception.pose_flow import PoseFlow
from .shapes import BoolArray, FloatArray, IntArray
from .stature import BodySize, Stature, by_floor, by_pins, stated, stature_weights, statures

LEAST_JOINTS = 4  # that a view must show of a person to say anything about the body
_ONE_VIEW, _MORE_VIEWS = 0.12, 0.02  # of the distance, by which the rough place of the pelvis is off
_ROUGH = 0.3  # the same while it is looked for
_ROUNDS = 6
_NU = 4.0  # of keypoint errors, as in training
_STRAY = 12.0  # times the middle squared distance from the middle of the body: farther keypoints do not count
_BLOCK = 64  # frames at once


@dataclass(frozen=True, eq=False)
class Seen:
    """What V views show of one body in N frames, joints of the flow."""

    uv: FloatArray  # (N, V, J, 2) normalised, NaN = not seen
    covariance: FloatArray  # (N, V, J, 2, 2)
    R: FloatArray  # (N, V, 3, 3) view from world
    t: FloatArray  # (N, V, 3) m

    def take(self, frames: IntArray | slice) -> Seen:
        """The same of some frames."""
        return Seen(self.uv[frames], self.covariance[frames], self.R[frames], self.t[frames])

    def poses_of(self, view: IntArray) -> tuple[FloatArray, FloatArray]:
        """(N, 3, 3) and (N, 3) of one view (N,) in every frame."""
        return self.R[np.arange(len(view)), view], self.t[np.arange(len(view)), view]

    @property
    def counts(self) -> IntArray:
        """(N, V) joints that each view shows."""
        return np.isfinite(self.uv[..., 0]).sum(axis=-1)


@dataclass(frozen=True, eq=False)
class Sampled:
    """Bodies of N frames; NaN and weight -inf in frames without."""

    bodies: FloatArray  # (N, S, J, 3) m float32
    log_weight: FloatArray  # (N, S)
    mean: FloatArray  # (N, J, 3) m, of all samples at the middle height: what is alike in all frames is left out
    covariance: FloatArray  # (N, J, 3, 3) m²
    stature: Stature  # of the person, as far as it rests on one view


def joints_of_flow(flow_names: tuple[str, ...], names: tuple[str, ...]) -> tuple[IntArray, IntArray]:
    """Return which joints of the flow a layout has, and where they stand in the layout."""
    _, own, theirs = shared_joints(flow_names, names)
    return own, theirs


def seen_by_views(
    rays: Rays,  # of N · J points, joints of the layout
    frames: int,
    names: tuple[str, ...],  # of the layout
    flow_names: tuple[str, ...],
) -> Seen:
    """Bring one person's keypoints onto the flow's joints."""
    v = len(rays.seen)
    own, theirs = joints_of_flow(flow_names, names)
    parts = {key: getattr(rays, key).reshape(v, frames, len(names))[..., theirs] for key in Rays.PER_POINT}
    shape = (frames, v, len(flow_names))
    uv, covariance = np.full((*shape, 2), np.nan), np.full((*shape, 2, 2), np.nan)
    determinant = parts["uu"] * parts["vv"] - parts["uv"] ** 2
    seen = parts["seen"] & (determinant > 0)
    entries = np.stack([parts["vv"], -parts["uv"], -parts["uv"], parts["uu"]], axis=-1)
    entries = entries / np.where(seen, determinant, np.nan)[..., None]
    place = np.where(seen[..., None], np.stack([parts["u"], parts["v"]], axis=-1), np.nan)
    uv[:, :, own] = np.moveaxis(place, 0, 1)
    covariance[:, :, own] = np.moveaxis(entries.reshape(*seen.shape, 2, 2), 0, 1)
    R, t = rays.take(np.arange(frames) * len(names)).poses
    return Seen(uv, covariance, R.swapaxes(0, 1), t.swapaxes(0, 1))


def sample_bodies(
    flow: PoseFlow,
    seen: Seen,
    samples: int,
    size: BodySize,  # pins of N frames, joints of the flow
    seed: int,
) -> Sampled:
    """Draw bodies for every frame in which a view shows enough of the person.

    Convention:
        world axes, m; NaN and weight -inf where no view shows `LEAST_JOINTS` joints. Weights are logarithms and sum
        to one over a frame's samples. All views are in the condition under which samples are drawn, so they do not
        weigh again. What is known besides is the height (a grown person's where none is stated): to one view a body
        of another size in proportion farther away looks the same, so there every sample gets a height, the same in
        all frames; the floor and pinned joints tell of it too (`stature`). Several views know the size, and there a
        stated height weighs.

    Args:
        flow: the trained flow.
        seen: what the views show, N frames.
        samples: S of each frame.
        size: what the take says of the person's size.
        seed: of the first frame.

    Returns:
        N frames.
    """
    n, j = len(seen.uv), len(flow.joint_names)
    bodies = np.full((n, samples, j, 3), np.nan, np.float32)
    counts = seen.counts
    usable = np.flatnonzero(counts.max(axis=1) >= LEAST_JOINTS)
    for start in range(0, len(usable), _BLOCK):
        frames = usable[start : start + _BLOCK]
        bodies[frames] = _sampled(flow, seen.take(frames), samples, seed + start)
    single = (counts >= LEAST_JOINTS).sum(axis=1) == 1
    reference = counts.argmax(axis=1)
    R, t = seen.poses_of(reference)
    camera = (-t[:, None] @ R)[:, 0]
    tall = statures(bodies, flow.joint_names)
    stature = _stature(bodies, tall, camera, size, single, flow.joint_names)
    number = np.random.default_rng(seed).standard_normal(samples)
    heights = stature.height_m * np.exp(stature.sigma * number)
    weight = np.full((n, samples), -np.inf)
    weight[usable] = np.where(single[usable, None], -np.log(samples), stature_weights(tall[usable], size.height_m))
    mean, covariance = np.full((n, j, 3), np.nan), np.full((n, j, 3, 3), np.nan)
    for start in range(0, len(usable), _BLOCK):
        frames = usable[start : start + _BLOCK]
        alone, place = single[frames, None], camera[frames, None]
        alike = _scaled(bodies[frames], place, np.where(alone, stature.height_m / tall[frames], 1.0))
        mean[frames], covariance[frames] = weighted_moments(alike, weight[frames])
        bodies[frames] = _scaled(bodies[frames], place, np.where(alone, heights / tall[frames], 1.0))
    return Sampled(bodies, weight, mean, covariance, stature)


def _stature(
    bodies: FloatArray, tall: FloatArray, camera: FloatArray, size: BodySize, single: BoolArray, names: tuple[str, ...]
) -> Stature:
    """How tall the person is, by all that tells of it in the frames of a single view."""
    found = stated(size.height_m)
    if not single.any():
        return found
    parts = bodies[single].astype(float), tall[single].astype(float), camera[single]
    floor = by_floor(*parts, names) if size.on_floor else None
    pins = None if size.pins is None else by_pins(*parts, *(each[single] for each in size.pins))
    for evidence in (floor, pins):
        found = found if evidence is None else found.times(evidence)
    return found


def _scaled(bodies: FloatArray, camera: FloatArray, factor: FloatArray) -> FloatArray:
    """Scale bodies (N, S, J, 3) about a camera (N, 1, 3) by (N, S), in the bodies' own precision."""
    scale = factor.astype(bodies.dtype)[..., None, None]
    return bodies * scale + camera[:, :, None].astype(bodies.dtype) * (1 - scale)


def weighted_moments(bodies: FloatArray, log_weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return mean (..., J, 3) m and covariance (..., J, 3, 3) m² over samples (..., S, J, 3) with weights (..., S)."""
    weight = np.exp(log_weight).astype(bodies.dtype)
    *many, samples, joints, _ = bodies.shape
    flat = bodies.reshape(*many, samples, 3 * joints)
    mean = weight[..., None, :] @ flat
    apart = (flat - mean) * np.sqrt(weight)[..., None]
    rows = np.moveaxis(apart.reshape(bodies.shape), -3, -1)  # (..., J, 3, S)
    return mean.reshape(*many, joints, 3).astype(float), (rows @ np.swapaxes(rows, -1, -2)).astype(float)


def _sampled(flow: PoseFlow, seen: Seen, samples: int, seed: int) -> FloatArray:
    counts = seen.counts
    reference = counts.argmax(axis=1)
    R, t = seen.poses_of(reference)
    rotation = seen.R @ np.swapaxes(R, -1, -2)[:, None]  # view from reference
    place = rough_place(seen, reference, flow.prior)
    several = (counts >= LEAST_JOINTS).sum(axis=1) > 1
    wide = np.ones(seen.uv.shape[:-1])  # factor on each keypoint's variance: wild ones say little
    for last in [False] * _ROUNDS + [True]:
        world = ((place - t)[:, None] @ R)[:, 0]
        anchor = np.einsum("nvij,nj->nvi", seen.R, world) + seen.t
        share = np.where(several, _MORE_VIEWS if last else _ROUGH, _ONE_VIEW)
        sigma = share * np.linalg.norm(place, axis=-1)
        found = pose_gaussians(seen.uv, seen.covariance * wide[..., None, None], rotation, anchor, sigma, flow.prior)
        if not last:
            middle = found.mean.reshape(len(place), -1, 3)
            wide = _wildness(seen, np.einsum("nvij,nkj->nvki", rotation, middle) + anchor[:, :, None])
            moved = place + middle[:, _hips(flow.joint_names)].mean(axis=1)
            moved[:, 2] = np.maximum(moved[:, 2], 0.3)
            # Of one view the depth stays: the mean of all headings is a thin body, which would come nearer and nearer.
            place = np.where(several[:, None], moved, moved * (place[:, 2:] / moved[:, 2:]))
    about = flow.sample(found, samples, seed)
    offset = (place - t)[:, None] @ R
    world = about.reshape(len(about), -1, 3) @ R.astype(np.float32) + offset.astype(np.float32)
    return world.reshape(about.shape)


def _wildness(seen: Seen, points: FloatArray) -> FloatArray:  # (N, V, J, 3) m, in each view's axes
    """(N, V, J) inverse weights of Student t residuals, at least 1: what a pose of the prior cannot explain is wild."""
    residual = seen.uv - points[..., :2] / np.maximum(points[..., 2:], 0.1)
    known = np.isfinite(residual).all(axis=-1)
    spread = np.where(known[..., None, None], seen.covariance, np.eye(2))
    residual = np.where(known[..., None], residual, 0.0)
    squared = (residual * np.linalg.solve(spread, residual[..., None])[..., 0]).sum(axis=-1)
    return np.maximum((_NU + squared) / (_NU + 2), 1.0)


def _hips(names: tuple[str, ...]) -> list[int]:
    return [names.index("left_hip"), names.index("right_hip")]


def rough_place(seen: Seen, reference: IntArray, prior: PosePrior) -> FloatArray:
    """Guess the pelvis in the reference view's axes (N, 3) m: a body of the usual size, seen that large."""
    n = len(seen.uv)
    uv = seen.uv[np.arange(n), reference]
    shown = np.isfinite(uv[..., 0])
    second = (prior.covariance + np.outer(prior.mean, prior.mean)).reshape(len(prior.patterns), 3, -1, 3)
    across = second[:, 0, :, 0] + second[:, 1, :, 1]  # (J, J) mean product of two joints' places in the picture plane
    middle = np.nanmedian(uv, axis=1)
    squared = np.nansum((uv - middle[:, None]) ** 2, axis=-1)
    usual = np.nanmedian(np.where(shown, squared, np.nan), axis=1, keepdims=True)
    near = shown & (squared <= _STRAY * usual)
    weight = near / near.sum(axis=1, keepdims=True)
    spread = weight @ np.diag(across) - np.einsum("ni,ij,nj->n", weight, across, weight)
    middle = (weight[..., None] * np.where(near[..., None], uv, 0.0)).sum(axis=1)
    apparent = (weight * np.nansum((uv - middle[:, None]) ** 2, axis=-1)).sum(axis=1)
    depth = np.sqrt(spread / np.maximum(apparent, 1e-8))
    return np.concatenate([middle * depth[:, None], depth[:, None]], axis=-1)
