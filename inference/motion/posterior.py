"""One person's joints over the whole take as one Gauss-Newton problem in information form.

Terms: Student-t reprojection residuals (errors with memory enter as larger white ones), third derivatives
in time, bone lengths. Unknown are the
layout's joints; derived joints (pelvis, neck) are linear in them, so bones may end there.
A further soft term (a contact) adds to what `_bone_terms` gives: information (n, 3J, 3J) and pull (n, 3J) per frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..geometry.keypoint_noise import whitened_residuals
from ..geometry.reprojection import Rays, residual
from ..geometry.triangulation import robust_weight
from ..shapes import FloatArray
from .smoothing import LAGS, Blocks, Stretch, solve_stretches

_BLOCK = LAGS  # frames per block of the system
_STRETCH = 72  # blocks solved at a time
_LOOK_AHEAD_S, _LOOK_AHEAD_FRAMES = 0.8, (45, 240)
_LONGEST_LOOK_AHEAD = 600  # frames, where a joint is hidden when a stretch ends
_DAMPING = 1e-2  # 1/m²: joints without any information move by less than metres


@dataclass(frozen=True, eq=False)
class Problem:
    """What is known about one person; frames T, joints J of the layout that were seen at all, bones B."""

    rays: Rays  # T·J points; covariances include the measured noise
    times: FloatArray  # (T,) s
    nu: float  # degrees of freedom of keypoint errors
    offset: FloatArray  # (V, J, 2) standing errors taken off, in sigmas
    prior: FloatArray  # (LAGS + 1, T) bands for density 1
    density: FloatArray  # (J,) m²/s⁵
    surrogate: FloatArray  # (J,) how much larger the rays' covariances are than those of single keypoints
    bones: FloatArray  # (B, J) bone vector = row · joints
    lengths: FloatArray  # (B,) m
    bone_sigma: FloatArray  # (B,) m

    @property
    def shape(self) -> tuple[int, int]:
        """T, J."""
        return len(self.times), len(self.density)


def steps(
    problem: Problem,
    joints: FloatArray,  # (T, J, 3)
    covariance: bool = False,
) -> Iterator[tuple[slice, FloatArray, FloatArray | None]]:
    """One Gauss-Newton step over the take, stretch by stretch.

    With ``covariance`` the t likelihood's observed curvature takes the place of its weights.

    Args:
        problem: the terms.
        joints: where to linearise.
        covariance: whether to give the joint covariance of each frame's joints.

    Yields:
        Frames, their step (n, J, 3), and (n, 3J, 3J) covariance or None.
    """
    frames, count = problem.shape
    pull = _prior_pull(problem, joints)

    def assemble(start: int, stop: int) -> Blocks:
        return _assemble(problem, joints, pull, (start, stop), covariance)

    for stretch in solve_stretches(assemble, _bounds(problem), covariance):
        part = slice(stretch.start * _BLOCK, min(stretch.stop * _BLOCK, frames))
        length = part.stop - part.start
        yield part, stretch.solution.reshape(-1, count, 3)[:length], _marginals(stretch, count, length)


def _marginals(stretch: Stretch, joints: int, length: int) -> FloatArray | None:
    if stretch.inverse is None:
        return None
    size = 3 * joints
    blocks = stretch.inverse.reshape(-1, _BLOCK, size, _BLOCK, size)
    index = np.arange(_BLOCK)
    return blocks[:, index, :, index].swapaxes(0, 1).reshape(-1, size, size)[:length]


def _bounds(problem: Problem) -> list[tuple[int, int, int]]:
    """Stretches in blocks, each looking ahead until every joint has been seen again."""
    frames, joints = problem.shape
    blocks = -(-frames // _BLOCK)
    step = np.median(np.diff(problem.times)) if frames > 1 else 1.0
    ahead = int(np.clip(_LOOK_AHEAD_S / step, *_LOOK_AHEAD_FRAMES))
    seen = problem.rays.seen.any(axis=0).reshape(frames, joints)
    bounds = []
    for start in range(0, blocks, _STRETCH):
        stop = min(start + _STRETCH, blocks)
        later = seen[stop * _BLOCK : stop * _BLOCK + _LONGEST_LOOK_AHEAD]
        hidden = int(np.where(later.any(axis=0), later.argmax(axis=0), len(later)).max()) if len(later) else 0
        bounds.append((start, stop, min(blocks, stop - (-(ahead + hidden) // _BLOCK))))
    return bounds


def _prior_pull(problem: Problem, joints: FloatArray) -> FloatArray:
    bands = problem.prior[:, :, None, None]
    pull = bands[0] * joints
    for lag in range(1, LAGS + 1):
        pull[lag:] += bands[lag, lag:] * joints[:-lag]
        pull[:-lag] += bands[lag, lag:] * joints[lag:]
    return pull / problem.density[:, None]


def _assemble(
    problem: Problem, joints: FloatArray, pull: FloatArray, blocks: tuple[int, int], curvature: bool
) -> Blocks:
    frames, count = problem.shape
    first, last = blocks[0] * _BLOCK, min(blocks[1] * _BLOCK, frames)
    padded = (blocks[1] - blocks[0]) * _BLOCK
    information, right = _data_terms(problem, joints, (first, last), curvature)
    bands = np.zeros((LAGS + 1, *information.shape))
    bands[0] = information
    for lag in range(LAGS + 1):
        strength = problem.prior[lag, first:last, None] / problem.density + (_DAMPING if lag == 0 else 0)
        bands[lag] += strength[..., None, None] * np.eye(3)
    right -= pull[first:last]
    diagonal = np.zeros((padded // _BLOCK, _BLOCK, count, 3, _BLOCK, count, 3))
    below = np.zeros_like(diagonal)
    _place_bands(bands, diagonal, below)
    matrix, push = _bone_terms(problem, joints[first:last])
    size = 3 * count
    square = diagonal.reshape(-1, _BLOCK, size, _BLOCK, size)
    for phase in range(_BLOCK):
        rows = matrix[phase::_BLOCK]
        square[: len(rows), phase, :, phase] += rows
    rest = np.arange(last - first, padded)
    square[rest // _BLOCK, rest % _BLOCK, :, rest % _BLOCK] += np.eye(size)
    full = np.zeros((padded, size))
    full[: last - first] = right.reshape(-1, size) + push
    block = _BLOCK * size
    return Blocks(diagonal.reshape(-1, block, block), below.reshape(-1, block, block), full.reshape(-1, block))


def _place_bands(bands: FloatArray, diagonal: FloatArray, below: FloatArray) -> None:
    """Put (LAGS + 1, n, J, 3, 3) couplings of frames t and t - lag where they belong."""
    joint = np.arange(bands.shape[2])
    for lag in range(LAGS + 1):
        for phase in range(_BLOCK):
            values = bands[lag, phase::_BLOCK].swapaxes(0, 1)  # (J, k, 3, 3)
            column, back = (phase - lag) % _BLOCK, phase < lag
            count = values.shape[1]
            if back:
                below[: count - 1, phase, joint, :, column, joint, :] += values[:, 1:]
                continue
            diagonal[:count, phase, joint, :, column, joint, :] += values
            if lag:
                diagonal[:count, column, joint, :, phase, joint, :] += values.swapaxes(-1, -2)


def _data_terms(
    problem: Problem, joints: FloatArray, frames: tuple[int, int], curvature: bool
) -> tuple[FloatArray, FloatArray]:
    """Information of the keypoints (n, J, 3, 3), and their pull (n, J, 3)."""
    count = problem.shape[1]
    low, high = frames
    rays = problem.rays.take(slice(low * count, high * count))
    points = joints[low:high].reshape(-1, 3).T
    shape = (high - low, count)
    error = whitened_residuals(rays, points).reshape(len(rays.R), *shape, 2) - problem.offset[:, None]
    information, pull = np.zeros((*shape, 3, 3)), np.zeros((*shape, 3))
    for view in range(len(rays.R)):
        slope = _whitened_slope(rays, view, points).reshape(*shape, 2, 3)
        delta = (error[view] ** 2).sum(axis=-1) * problem.surrogate
        root = np.sqrt(robust_weight(delta, problem.nu) * rays.seen[view].reshape(shape))[..., None]
        slope, residuals = root[..., None] * slope, root * error[view]
        pull += (slope.swapaxes(-1, -2) @ residuals[..., None])[..., 0]
        if curvature:
            slope = _curved(slope, residuals, delta, problem.nu)
        information += slope.swapaxes(-1, -2) @ slope
    return information, pull


def _curved(slope: FloatArray, error: FloatArray, delta: FloatArray, nu: float) -> FloatArray:
    """Slopes whose product is the t's observed curvature: shortened along the residual by the root of 1 - cδ."""
    cut = np.minimum(2 * delta / (nu + delta), 1)
    along = error / np.maximum(np.linalg.norm(error, axis=-1, keepdims=True), 1e-12)
    shorten = (1 - np.sqrt(1 - cut))[..., None, None] * along[..., :, None]
    return slope - shorten * (along[..., None, :] @ slope)


def _whitened_slope(rays: Rays, view: int, points: FloatArray) -> FloatArray:
    """(N, 2, 3) derivative of the whitened prediction by the point; see `whitened_residuals`."""
    r = residual(rays, view, points)
    root = np.sqrt(np.where(rays.uu[view] > 0, rays.uu[view], 1.0))
    rest = np.sqrt(np.maximum(rays.vv[view] - (rays.uv[view] / root) ** 2, 0))
    return np.stack([root * r.slope_u + rays.uv[view] / root * r.slope_v, rest * r.slope_v]).transpose(2, 0, 1)


def _bone_terms(problem: Problem, joints: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Information (n, 3J, 3J) of the bone lengths and their pull (n, 3J)."""
    count = joints.shape[1]
    vectors = np.einsum("bj,tjx->tbx", problem.bones, joints)
    length = np.maximum(np.linalg.norm(vectors, axis=-1), 1e-6)
    rows = problem.bones[..., None] * (vectors / (length * problem.bone_sigma)[..., None])[:, :, None, :]
    rows = rows.reshape(len(joints), -1, 3 * count)
    off = (length - problem.lengths) / problem.bone_sigma
    return rows.swapaxes(1, 2) @ rows, -(off[:, None] @ rows)[:, 0]


def single_frame_information(
    problem: Problem,
    joints: FloatArray,  # (T, J, 3)
) -> FloatArray:
    """(T, J, 3, 3) information of each frame's keypoints alone, without memory."""
    points, frames = joints.reshape(-1, 3).T, problem.shape
    error = whitened_residuals(problem.rays, points).reshape(-1, *frames, 2) - problem.offset[:, None]
    total = np.zeros((*frames, 3, 3))
    for view in range(len(problem.rays.R)):
        slope = _whitened_slope(problem.rays, view, points).reshape(*frames, 2, 3)
        weight = robust_weight((error[view] ** 2).sum(axis=-1), problem.nu) * problem.rays.seen[view].reshape(frames)
        total += np.minimum(weight, 1.0)[..., None, None] * (slope.swapaxes(-1, -2) @ slope)
    return total
