"""Recorded poses seen by random cameras with a detector's noise: what the conditional flow learns from.

Root-relative poses in the axes of the first camera, and what one to four views say about them (`fused_views`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from inference.layouts import layout
from inference.perception.flow import fused_views
from inference.shapes import FloatArray

from . import stick_figures
from .random_numbers import sample_numbers
from .trainer.task import Batch

JOINT_NAMES = layout("sightline_29").joint_names
HIPS = [JOINT_NAMES.index("left_hip"), JOINT_NAMES.index("right_hip")]
MOST_VIEWS = 4
_PER_VIEW = 7 + 6 * len(JOINT_NAMES)


def load_poses(pack: Path, held_out: bool) -> Tensor:
    """Pose every third recorded frame of the pack with one of its bodies: (F, 29, 3) m, z up."""
    from .data.body import pose_bodies
    from .data.body_poses import all_bones
    from .data.pack import load_pack

    content = load_pack(pack)
    body = content.body
    rotations = content.split(held_out)[0].rotations
    rng = np.random.default_rng(11 + held_out)
    shape = rng.integers(len(body.shapes), size=len(rotations))
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


def stick_poses(count: int, seed: int) -> Tensor:
    """Return (count, 29, 3) m flat stick figures, upright; for tests and smoke runs."""
    return stick_figures.poses(count, seed)


def pose_views(poses: Tensor, seed: int, views: int = 0) -> Callable[[int, int], Batch]:
    """Return what makes samples: ``xyz`` (N, 29, 3), ``mean`` (N, 29, 3), ``factor`` (N, 29, 3, 3), ``views`` (N,).

    Args:
        poses: (F, 29, 3) m, z up.
        seed: of the draws.
        views: how many see each pose; 0: one to four by chance, one as often as not.
    """

    def batch(first: int, count: int) -> Batch:
        numbers = sample_numbers(seed, first, count, 8 + MOST_VIEWS * _PER_VIEW).double().numpy()
        return _samples(poses, numbers, views)

    return batch


def _samples(poses: Tensor, numbers: FloatArray, views: int) -> Batch:
    own, by_view = numbers[:, :8], numbers[:, 8:].reshape(len(numbers), MOST_VIEWS, _PER_VIEW)
    world = poses[(own[:, 0] * len(poses)).astype(int)].double().numpy()
    world = world - world[:, HIPS].mean(axis=1, keepdims=True)
    rotation, pelvis = _cameras(own[:, 1], by_view)
    camera = np.einsum("nvij,nkj->nvki", rotation, world) + pelvis[:, :, None]
    uv, covariance = _noisy(camera, own[:, 2], by_view)
    drawn = np.where(own[:, 3] < 0.5, 1, 2 + ((own[:, 3] - 0.5) * 2 * (MOST_VIEWS - 1)).astype(int))
    many = np.full(len(world), views) if views else drawn
    uv[np.arange(MOST_VIEWS) >= many[:, None]] = np.nan
    # The pelvis as one knows it: along the ray with the distance known to 6 % from one view, 1 % from several.
    far = np.where(many == 1, 0.06, 0.01) * _normal(own[:, 4])
    to_reference = rotation[:, :1]
    shift = np.einsum("nji,nj->ni", rotation[:, 0], pelvis[:, 0] * far[:, None])
    root = pelvis + np.einsum("nvij,nj->nvi", rotation, shift)
    mean, factor = fused_views(uv, covariance, rotation @ np.swapaxes(to_reference, -1, -2), root)
    parts = {"xyz": camera[:, 0] - pelvis[:, :1], "mean": mean, "factor": factor, "views": many.astype(float)}
    return {key: torch.as_tensor(value, dtype=torch.float32) for key, value in parts.items()}


def _cameras(heading: FloatArray, by_view: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Draw view_from_world (N, V, 3, 3) and the pelvis in each view's axes (N, V, 3) m."""
    azimuth = 2 * np.pi * np.where(np.arange(MOST_VIEWS) == 0, heading[:, None], by_view[..., 0])
    distance = 2.0 * 4.0 ** by_view[..., 1]
    height = -0.7 + 2.2 * by_view[..., 2]
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
    """Project with noise of a stated covariance: 0.4 to 2.5 % of the person's height, one in ten three times as far.

    5 % of the joints are lost. A person's views are about equally good, joints differ by a factor.
    """
    n, v, j = camera.shape[:3]
    free = by_view[..., 7:].reshape(n, v, 6, j)
    size = 1.7 / camera[..., HIPS, 2].mean(axis=-1)
    sigma = (0.004 * 6.0**level)[:, None, None] * size[..., None] * np.exp(0.3 * _normal(free[:, :, 0]))
    shape = np.exp(0.25 * _normal(free[:, :, 1]))[..., None] ** np.array([1, -1])
    axes = sigma[..., None] * shape
    tail = np.where(free[:, :, 4] < 0.1, 3.0, 1.0)[..., None]
    noise = np.stack([_normal(free[:, :, 2]), _normal(free[:, :, 3])], axis=-1)
    uv = camera[..., :2] / camera[..., 2:] + axes * tail * noise
    uv[free[:, :, 5] < 0.05] = np.nan
    return uv, axes[..., None] ** 2 * np.eye(2) * 1.8  # the mixture's variance: 0.9 + 0.1 · 9


def _normal(uniform: FloatArray) -> FloatArray:
    """Standard normal numbers from uniform ones."""
    from scipy.special import ndtri

    return ndtri(np.clip(uniform, 1e-7, 1 - 1e-7))
