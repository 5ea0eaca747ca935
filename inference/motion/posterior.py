"""One person's joints over the whole take as one Gauss-Newton problem in information form.

Terms: Student-t reprojection residuals with error memory, third derivatives in time, bone lengths. Unknown are the
layout's joints; derived joints (pelvis, neck) are linear in them, so bones may end there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..geometry.keypoint_noise import whitened_residuals
from ..geometry.reprojection import Rays, residual
from ..geometry.triangulation import robust_weight
from ..shapes import BoolArray, FloatArray
from .smoothing import LAGS, Blocks, Stretch, frame_correlation, memory_precision, solve_stretches

_BLOCK = LAGS  # frames per block of the system
_STRETCH = 72  # blocks solved at a time
_LOOK_AHEAD_S, _LOOK_AHEAD_FRAMES = 0.8, (45, 240)
_LONGEST_LOOK_AHEAD = 600  # frames, where a joint is hidden when a stretch ends
_TAME = 10.0  # squared sigmas; wilder keypoints do not take part in the memory of errors
_DAMPING = 1e-2  # 1/m²: joints without any information move by less than metres


@dataclass(frozen=True, eq=False)
class Problem:
    """What is known about one person; frames T, joints J of the layout that were seen at all, bones B."""

    rays: Rays  # T·J points; covariances include the measured noise
    times: FloatArray  # (T,) s
    memory: float  # of keypoint errors from frame to frame
    nu: float  # degrees of freedom of keypoint errors
    offset: FloatArray  # (V, J, 2) standing errors taken off, in sigmas
    prior: FloatArray  # (LAGS + 1, T) bands for density 1
    density: FloatArray  # (J,) m²/s⁵
    bones: FloatArray  # (B, J) bone vector = row · joints
    lengths: FloatArray  # (B,) m
    bone_sigma: float  # m

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
    bands, right = _data_terms(problem, joints, (first, last), curvature)
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
    """Information of the keypoints as bands (LAGS + 1, n, J, 3, 3), and their pull (n, J, 3)."""
    total, count = problem.shape
    margin = 2 * LAGS  # so that the links over the ends are the same in every stretch
    low, high = max(frames[0] - margin, 0), min(frames[1] + margin, total)
    rays = problem.rays.take(slice(low * count, high * count))
    points = joints[low:high].reshape(-1, 3).T
    correlation = frame_correlation(problem.times, problem.memory)[:, low:high]
    bands, pull = np.zeros((LAGS + 1, high - low, count, 3, 3)), np.zeros((high - low, count, 3))
    error = whitened_residuals(rays, points).reshape(len(rays.R), high - low, count, 2) - problem.offset[:, None]
    for view in range(len(rays.R)):
        slope = _whitened_slope(rays, view, points).reshape(high - low, count, 2, 3)
        seen = rays.seen[view].reshape(high - low, count)
        _add_view(bands, pull, (slope, error[view], seen), correlation, problem.nu, curvature)
    inner = slice(frames[0] - low, frames[1] - low)
    return bands[:, inner], pull[inner]


def _add_view(
    bands: FloatArray,
    pull: FloatArray,
    terms: tuple[FloatArray, FloatArray, BoolArray],
    correlation: FloatArray,
    nu: float,
    curvature: bool,
) -> None:
    slope, error, seen = terms
    delta = (error**2).sum(axis=-1)
    tame = seen & (delta < _TAME)
    root = np.sqrt(np.where(seen, keypoint_weight(delta, nu, correlation), 0.0))
    links = memory_precision(tame, correlation)
    links[0] += seen & ~tame
    slope, error = root[..., None, None] * slope, root[..., None] * error
    informative = slope
    if curvature:
        curved = _curved(slope, error, delta, nu)
        informative = np.where((tame & correlation.any())[..., None, None], slope, curved)
    across = informative.swapaxes(-1, -2)
    turned = slope.swapaxes(-1, -2)
    bands[0] += links[0][..., None, None] * (across @ informative)
    pull += links[0][..., None] * (turned @ error[..., None])[..., 0]
    for lag in range(1, LAGS + 1 if correlation.any() else 1):
        link = links[lag, lag:]
        bands[lag, lag:] += link[..., None, None] * (across[lag:] @ informative[:-lag])
        pull[lag:] += link[..., None] * (turned[lag:] @ error[:-lag, ..., None])[..., 0]
        pull[:-lag] += link[..., None] * (turned[:-lag] @ error[lag:, ..., None])[..., 0]


def keypoint_weight(delta: FloatArray, nu: float, correlation: FloatArray) -> FloatArray:
    """The t's weight; where errors have memory, 1 for all but wild keypoints.

    Neighbouring errors with memory enter by their difference, and weights that change from frame to frame would make
    a difference, and so information, out of an error that stays.
    """
    weight = robust_weight(delta, nu)
    return np.where(delta < _TAME, 1.0, weight) if correlation.any() else weight


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
    rows = problem.bones[..., None] * (vectors / length[..., None])[:, :, None, :] / problem.bone_sigma
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
