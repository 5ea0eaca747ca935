"""Poses as the paper's flow sees them: 16 joints in 3D, another 16 in 2D, and Gaussians as fitted to heatmaps.

3D: H36M-17 without the pelvis, m, mean of the pose removed, y and z negated, all x then all y then all z. 2D: MPII-16
in cells of a 64×64 heatmap of the person's box, mean removed per axis, divided by the deviation of all 32 numbers, y
negated. The heatmaps themselves are not drawn: a Gaussian is made as a detector's would be, 2 cells wide where it is
sure and wider, and off, where it is not.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from inference.layouts import layout
from inference.shapes import FloatArray

from .networks.paper_flow import JOINTS_2D, JOINTS_3D
from .pose_views import HIPS, JOINT_NAMES, _cameras, _mirrored, _normal
from .random_numbers import sample_numbers
from .trainer.task import Batch

CELLS = 64
SIGMA_CELLS = 2.0  # of the detector's training targets
UNSURE = 1.05 * SIGMA_CELLS
H36M = layout("h36m_17").joint_names
_SHARES: dict[str, dict[str, float]] = {  # joints that the motion lacks, as means of those that it has
    "pelvis": {"left_hip": 0.5, "right_hip": 0.5},
    "spine": {"left_hip": 0.25, "right_hip": 0.25, "neck": 0.5},
    "thorax": {"neck": 1.0},
    "upper_neck": {"neck": 0.7, "head_top": 0.3},
}
_UNSURE_SHARE = 0.08  # of the joints


def joint_matrix(names: tuple[str, ...]) -> FloatArray:
    """(len(names), 29): what makes these joints from the motion's."""
    matrix = np.zeros((len(names), len(JOINT_NAMES)))
    for row, name in enumerate(names):
        for source, share in _SHARES.get(name, {name: 1.0}).items():
            matrix[row, JOINT_NAMES.index(source)] = share
    return matrix


def heatmap_poses(poses: Tensor, seed: int, noise_m: float) -> Callable[[int, int], Batch]:
    """Return what makes batches, a function of sample numbers.

    ``x`` (N, 48), ``y`` (N, 32), ``condition`` (N, 78), ``covariance`` (N, 16, 2, 2) m² of the 2D joints in the
    picture's plane (y negated as the poses), ``unsure`` (N, 16), ``truth`` (N, 17, 3) m about the pelvis.
    """
    j2 = len(JOINTS_2D)
    per_sample = 16 + 3 * len(JOINT_NAMES) + 6 * j2

    def batch(first: int, count: int) -> Batch:
        numbers = sample_numbers(seed, first, count, per_sample).double().numpy()
        world = poses[(numbers[:, 0] * len(poses)).astype(int)].double().numpy()
        world = _mirrored(world, numbers[:, 1] < 0.5)
        world = world + noise_m * _normal(numbers[:, 16 : 16 + world[0].size]).reshape(world.shape)
        world = world - world[:, HIPS].mean(axis=1, keepdims=True)
        rotation, pelvis = _cameras(numbers[:, 2], numbers[:, None, 3:10].repeat(4, axis=1))
        camera = np.einsum("nij,nkj->nki", rotation[:, 0], world) + pelvis[:, :1]
        return _seen(camera, numbers[:, -6 * j2 :].reshape(count, 6, j2))

    return batch


def _seen(camera: FloatArray, free: FloatArray) -> Batch:
    flip = np.array([1.0, -1.0, -1.0])
    full = np.einsum("kj,njc->nkc", joint_matrix(H36M), camera)
    truth = (full - full[:, :1]) * flip
    body = truth[:, 1:] - truth[:, 1:].mean(axis=1, keepdims=True)
    flat = np.einsum("kj,njc->nkc", joint_matrix(JOINTS_2D), camera)
    uv = flat[..., :2] / flat[..., 2:]
    box = 1.25 * (uv.max(axis=1) - uv.min(axis=1)).max(axis=-1)[:, None, None]
    cells = (uv - uv.mean(axis=1, keepdims=True)) / box * CELLS + CELLS / 2
    wide = np.where(free[:, 0] < _UNSURE_SHARE, UNSURE + 5.0 * free[:, 1], SIGMA_CELLS * (1 + 0.03 * free[:, 1]))
    sigma = np.stack([wide, wide * np.exp(0.2 * _normal(free[:, 2]) * (wide > UNSURE))], axis=-1)
    off = np.sqrt(0.5**2 + np.maximum(sigma**2 - SIGMA_CELLS**2, 0.0))
    found = cells + off * np.stack([_normal(free[:, 3]), _normal(free[:, 4])], axis=-1)
    centred = found - found.mean(axis=1, keepdims=True)
    y = centred / centred.reshape(len(found), -1).std(axis=1)[:, None, None] * [1.0, -1.0]
    metres = (full[:, :1, 2:] * box / CELLS)[..., None]  # per cell, at the pelvis' depth
    covariance = np.eye(2) * (sigma**2)[..., None]
    kept = [i for i, name in enumerate(JOINTS_2D) if "hip" not in name and name != "pelvis"]
    amplitude = SIGMA_CELLS**2 / sigma.prod(axis=-1)
    entries = (covariance / 20.0**2)[..., [0, 0, 1], [0, 1, 1]]
    condition = np.concatenate([amplitude[..., None], y, entries], axis=-1)[:, kept]
    parts = {
        "x": body.transpose(0, 2, 1).reshape(len(body), -1),
        "y": y.transpose(0, 2, 1).reshape(len(y), -1),
        "condition": condition.reshape(len(condition), -1),
        "covariance": covariance * metres**2,
        "unsure": (sigma > UNSURE).any(axis=-1),
        "truth": truth,
    }
    return {key: torch.as_tensor(value, dtype=torch.float32) for key, value in parts.items()}


def rooted(x: Tensor) -> Tensor:
    """Return poses (..., 48) as (..., 17, 3) m about the middle of the hips, which becomes the pelvis."""
    body = x.unflatten(-1, (3, -1)).transpose(-1, -2)
    hips = [JOINTS_3D.index("left_hip"), JOINTS_3D.index("right_hip")]
    pelvis = body[..., hips, :].mean(dim=-2, keepdim=True)
    return torch.cat([torch.zeros_like(pelvis), body - pelvis], dim=-2)
