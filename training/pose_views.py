"""Recorded poses seen by random cameras with a detector's errors: what the conditional flow learns from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from inference.layouts import layout
from inference.perception.flow import PoseGaussians, PosePrior, make_prior, pose_gaussians
from inference.shapes import FloatArray

from . import stick_figures
from .random_numbers import sample_numbers
from .trainer.task import Batch

JOINT_NAMES = layout("sightline_29").joint_names
HIPS = [JOINT_NAMES.index("left_hip"), JOINT_NAMES.index("right_hip")]
MOST_VIEWS = 4
PARTS = ("training", "calibration", "held_out")
_J = len(JOINT_NAMES)
_OWN = 10 + 3 * _J  # random numbers of a sample
_NU = 4.0  # of the detector's errors
_UNSTATED = 0.3  # log-spread of what a view's stated error is wrong by
_MIRROR = [
    JOINT_NAMES.index(n.replace("left", "?").replace("right", "left").replace("?", "right")) for n in JOINT_NAMES
]
# Joints that are lost together, and how often: cut off by the picture's edge, hidden, or not in a detector's layout.
_GROUPS = (
    (0.08, ("knee", "ankle", "toe", "heel")),
    (0.04, ("hip", "knee", "ankle", "toe", "heel")),
    (0.06, ("left_elbow", "left_wrist", "left_index", "left_pinky")),
    (0.06, ("right_elbow", "right_wrist", "right_index", "right_pinky")),
    (0.05, ("left_knee", "left_ankle", "left_big_toe", "left_small_toe", "left_heel")),
    (0.05, ("right_knee", "right_ankle", "right_big_toe", "right_small_toe", "right_heel")),
    (0.15, ("nose", "eye")),
    (0.40, ("neck", "head_top", "pinky", "index", "small_toe")),
    (0.25, ("toe", "heel", "neck", "head_top", "pinky", "index")),
)
_OF_LAYOUT = 2  # so many of the last groups are lost to all views at once
_PER_VIEW = 7 + len(_GROUPS) + 9 * _J  # random numbers of a view
_GROUP_SHARE = np.array([share for share, _ in _GROUPS])
_GROUP_JOINTS = np.array([[any(word in name for word in words) for name in JOINT_NAMES] for _, words in _GROUPS])


@dataclass(frozen=True, eq=False)
class Seen:
    """Poses and what one to four views say about them; see `pose_gaussians` for the axes."""

    xyz: FloatArray  # (N, J, 3) m, reference axes, about the anchor
    uv: FloatArray  # (N, V, J, 2)
    covariance: FloatArray  # (N, V, J, 2, 2)
    rotation: FloatArray  # (N, V, 3, 3)
    anchor: FloatArray  # (N, V, 3)
    anchor_sigma: FloatArray  # (N,)

    def gaussians(self, prior: PosePrior) -> PoseGaussians:
        """Return the flow's condition."""
        return pose_gaussians(self.uv, self.covariance, self.rotation, self.anchor, self.anchor_sigma, prior)


def load_poses(pack: Path, part: str) -> Tensor:
    """Pose every third recorded frame of a part of the pack, in each of three bodies: (F, 29, 3) m, z up.

    ``held_out`` are the clips of `HELD_OUT` subjects on bodies of their own; ``calibration`` every twelfth of the
    other clips, again on bodies of their own; ``training`` what is left.
    """
    from .data.pack import load_pack

    content = load_pack(pack)
    others = [clip for clip in content.clips if not clip.held_out]
    clips = {
        "held_out": [clip for clip in content.clips if clip.held_out],
        "calibration": others[::12],
        "training": [clip for i, clip in enumerate(others) if i % 12],
    }[part]
    shapes = len(content.body.shapes)
    own = {"held_out": (shapes - shapes // 8, shapes), "calibration": (shapes - shapes // 4, shapes - shapes // 8)}
    low, high = own.get(part, (0, max(shapes - shapes // 4, 1)))
    rotations = np.concatenate([clip.rotations[::3] for clip in clips])
    rng = np.random.default_rng(11 + PARTS.index(part))
    return torch.cat([
        _posed(content.body, rotations, rng.integers(low, high, size=len(rotations)))
        for _ in range(3 if part == "training" else 1)
    ])  # fmt: skip


def _posed(body: object, rotations: FloatArray, shape: np.ndarray) -> Tensor:
    from .data.body import Body, pose_bodies
    from .data.body_poses import all_bones

    assert isinstance(body, Body)
    parts = []
    bones = torch.as_tensor(body.keypoint_bones)
    for first in range(0, len(rotations), 2000):
        some = slice(first, first + 2000)
        chosen = shape[some]
        turned = torch.as_tensor(all_bones(rotations[some], np.zeros((len(chosen), 2))), dtype=torch.float32)
        heads = torch.as_tensor(body.heads[chosen], dtype=torch.float32)
        posed = pose_bodies(turned, heads, torch.zeros(len(chosen), 3))
        parts.append(posed.fixed(torch.as_tensor(body.keypoints[chosen], dtype=torch.float32), bones))
    return torch.cat(parts)


def part_of_poses(source: str, pack: str, part: str, seed: int) -> Tensor:
    """Return the (F, 29, 3) m poses of a part of the recorded ones, or of stick figures."""
    return stick_poses(512, seed + (part == "held_out")) if source == "stick_figures" else load_poses(Path(pack), part)


def stick_poses(count: int, seed: int) -> Tensor:
    """Return (count, 29, 3) m flat stick figures, upright; for tests and smoke runs."""
    return stick_figures.poses(count, seed)


def camera_prior(poses: Tensor, noise_m: float, count: int = 6000) -> PosePrior:
    """Return the prior of poses (F, 29, 3) m, z up, in the axes of random cameras about their pelvis."""
    own, by_view = _numbers(77, 0, count)
    seen = _seen(poses, own, by_view, 1, noise_m)
    return make_prior(seen.xyz - seen.xyz[:, HIPS].mean(axis=1, keepdims=True))


def pose_views(poses: Tensor, seed: int, views: int = 0, noise_m: float = 0.0) -> Callable[[int, int], Seen]:
    """Return what makes samples, a function of their numbers.

    Args:
        poses: (F, 29, 3) m, z up.
        seed: of the draws.
        views: how many see each pose; 0: one to four by chance, one as often as not.
        noise_m: added to the poses: few bodies and rigid parts have no density without.
    """

    def seen(first: int, count: int) -> Seen:
        return _seen(poses, *_numbers(seed, first, count), views, noise_m)

    return seen


def whitened_views(poses: Tensor, prior: PosePrior, seed: int, noise_m: float) -> Callable[[int, int], Batch]:
    """Return what makes batches: ``features`` (N, 15J), ``u`` (N, 3J) and ``log_volume`` (N,) of the whitening."""
    source = pose_views(poses, seed, 0, noise_m)
    return lambda first, count: whitened(source(first, count), prior)


def whitened(seen: Seen, prior: PosePrior) -> Batch:
    """Return the flow's condition and target of some samples, float32."""
    gaussians = seen.gaussians(prior)
    volume = -np.log(gaussians.whitener.diagonal(axis1=-2, axis2=-1)).sum(axis=-1)
    parts = {"features": gaussians.features, "u": gaussians.whitened(seen.xyz, prior), "log_volume": volume}
    return {key: torch.as_tensor(value, dtype=torch.float32) for key, value in parts.items()}


def _numbers(seed: int, first: int, count: int) -> tuple[FloatArray, FloatArray]:
    numbers = sample_numbers(seed, first, count, _OWN + MOST_VIEWS * _PER_VIEW).double().numpy()
    return numbers[:, :_OWN], numbers[:, _OWN:].reshape(count, MOST_VIEWS, _PER_VIEW)


def _seen(poses: Tensor, own: FloatArray, by_view: FloatArray, views: int, noise_m: float) -> Seen:
    world = poses[(own[:, 0] * len(poses)).astype(int)].double().numpy()
    world = _mirrored(world, own[:, 5] < 0.5)
    world = world + noise_m * _normal(own[:, 10:]).reshape(world.shape)
    world = world - world[:, HIPS].mean(axis=1, keepdims=True)
    rotation, pelvis = _cameras(own[:, 1], by_view)
    camera = np.einsum("nvij,nkj->nvki", rotation, world) + pelvis[:, :, None]
    uv, covariance = _noisy(camera, own[:, 2], by_view)
    drawn = np.where(own[:, 3] < 0.5, 1, 2 + ((own[:, 3] - 0.5) * 2 * (MOST_VIEWS - 1)).astype(int))
    many = np.full(len(world), views) if views else drawn
    uv[np.arange(MOST_VIEWS) >= many[:, None]] = np.nan
    # A rough place of the pelvis: its distance is known to 2-16 % with one view, to 1-4 % with several; across the
    # ray to 10 cm at best.
    distance = np.linalg.norm(pelvis[:, 0], axis=-1)
    sigma = np.where(many == 1, 0.02 * 8.0 ** own[:, 9], 0.01 * 4.0 ** own[:, 9]) * distance
    ray = pelvis[:, 0] / distance[:, None]
    across = np.minimum(0.1, sigma)[:, None] * _normal(own[:, 6:9])
    across = across - (across * ray).sum(axis=-1, keepdims=True) * ray
    shift = np.einsum("nji,nj->ni", rotation[:, 0], ray * (sigma * _normal(own[:, 4]))[:, None] + across)
    anchor = pelvis + np.einsum("nvij,nj->nvi", rotation, shift)
    to_reference = np.swapaxes(rotation[:, :1], -1, -2)
    return Seen(camera[:, 0] - anchor[:, :1], uv, covariance, rotation @ to_reference, anchor, sigma)


def _mirrored(world: FloatArray, which: np.ndarray) -> FloatArray:
    """Exchange left and right of some poses (N, 29, 3)."""
    other = (world * [-1.0, 1.0, 1.0])[:, _MIRROR]
    return np.where(which[:, None, None], other, world)


def _cameras(heading: FloatArray, by_view: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Draw view_from_world (N, V, 3, 3) and the pelvis in each view's axes (N, V, 3) m."""
    azimuth = 2 * np.pi * np.where(np.arange(MOST_VIEWS) == 0, heading[:, None], by_view[..., 0])
    distance = 1.8 * 5.0 ** by_view[..., 1]
    height = -0.8 + 2.6 * by_view[..., 2]
    roll = np.radians(5) * _normal(by_view[..., 3])
    forward = np.stack([np.cos(azimuth) * distance, np.sin(azimuth) * distance, -height], axis=-1)
    forward /= np.linalg.norm(forward, axis=-1, keepdims=True)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    down = np.cross(forward, right)
    c, s = np.cos(roll)[..., None], np.sin(roll)[..., None]
    rotation = np.stack([c * right + s * down, c * down - s * right, forward], axis=-2)
    aim = 0.25 * (2 * by_view[..., 4:6] - 1)
    return rotation, np.concatenate([aim, np.ones_like(aim[..., :1])], axis=-1) * distance[..., None]


def _noisy(camera: FloatArray, level: FloatArray, by_view: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Project with errors of about the stated covariance, and lose joints singly and in groups.

    Student t errors (ν = 4) of 0.3 to 2.5 % of the person's height, different from joint to joint; each view's errors
    are a factor away from what is stated, and half of a joint's variance is a standing offset, which one frame
    cannot tell from chance.
    """
    n, v, j = camera.shape[:3]
    free = by_view[..., 7 + len(_GROUPS) :].reshape(n, v, 9, j)
    size = 1.7 / np.maximum(camera[..., HIPS, 2].mean(axis=-1), 0.5)
    sigma = (0.003 * 8.0**level)[:, None, None] * size[..., None] * np.exp(0.3 * _normal(free[:, :, 0]))
    shape = np.exp(0.25 * _normal(free[:, :, 1]))[..., None] ** np.array([1, -1])
    axes = sigma[..., None] * shape
    wrong = np.exp(_UNSTATED * _normal(by_view[..., 6]))[..., None, None]
    offset = np.stack([_normal(free[:, :, 2]), _normal(free[:, :, 3])], axis=-1)
    chi2 = -2 * np.log(np.maximum(free[:, :, 4] * free[:, :, 8], 1e-6))  # of 4 degrees of freedom, exactly
    tail = np.sqrt((_NU - 2) / np.maximum(chi2, 0.02))[..., None]  # one of a joint: an error is large in both axes
    chance = tail * np.stack([_normal(free[:, :, 5]), _normal(free[:, :, 6])], axis=-1)
    uv = camera[..., :2] / np.maximum(camera[..., 2:], 0.1) + wrong * axes * (offset + chance) / 2**0.5
    lost = by_view[..., 7 : 7 + len(_GROUPS)] < _GROUP_SHARE
    lost[..., -_OF_LAYOUT:] = lost[:, :1, -_OF_LAYOUT:]
    uv[(free[:, :, 7] < 0.04) | (lost.astype(float) @ _GROUP_JOINTS > 0)] = np.nan
    return uv, axes[..., None] ** 2 * np.eye(2)


def _normal(uniform: FloatArray) -> FloatArray:
    """Standard normal numbers from uniform ones."""
    from scipy.special import ndtri

    return ndtri(np.clip(uniform, 1e-7, 1 - 1e-7))
