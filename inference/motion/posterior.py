"""One person's joints over the whole take as one Gauss-Newton problem in information form.

Terms: Student-t reprojection residuals (errors with memory enter as larger white ones), third derivatives
in time, bone lengths. Unknown are the coefficients of one cubic spline per joint of the layout (`splines`); derived
joints (pelvis, neck) are linear in the joints, so bones may end there. Joints that no bone ties to each other are
solved each by itself. The terms of a frame are kept for pairs of joints that they couple, few of all: `_Pairs`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from ..geometry.keypoint_noise import whitened_residuals
from ..geometry.reprojection import PointRays, Rays, residual
from ..geometry.triangulation import robust_weight
from ..shapes import FloatArray, IntArray
from .block_tridiagonal import Blocks, Stretch, solve_banded, solve_stretches
from .splines import ORDER, Spline, fitted_coefficients, spline_basis

_BLOCK = ORDER - 1  # coefficients per block of the system, and knot intervals per cell: a cell touches two blocks
_STRETCH = 40  # cells solved at a time
_LOOK_AHEAD = 8  # cells that a stretch looks ahead
_LONGEST_LOOK_AHEAD = 60  # cells, where a joint is hidden when a stretch ends
_FEW = 2  # joints that are solved as a band matrix over the whole take: blocks as small are slower
_LOOSE_M = 1.0  # a bone of this sigma says nothing
_DAMPING = 1e-2  # 1/m²: coefficients without any information move by less than metres
# Places of the coefficients' couplings in a block row: rows i, columns j of the diagonal block, then of the one below.
_DIAGONAL = [(i, j) for i in range(_BLOCK) for j in range(i + 1)]
_BELOW = [(i, j) for j in range(_BLOCK) for i in range(j + 1)]
_SLOTS = len(_DIAGONAL) + len(_BELOW)
_SLOT = np.zeros((2 * _BLOCK, 2 * _BLOCK), int)
for _number, (_i, _j) in enumerate(_DIAGONAL):
    _SLOT[_i, _j] = _SLOT[_BLOCK + _i, _BLOCK + _j] = _number
for _number, (_i, _j) in enumerate(_BELOW):
    _SLOT[_BLOCK + _i, _j] = len(_DIAGONAL) + _number


@dataclass(frozen=True, eq=False)
class Problem:
    """What is known about one person; frames T, joints J of the layout that were seen at all, bones B."""

    rays: PointRays  # T·J points; covariances include the measured noise
    times: FloatArray  # (T,) s
    nu: float  # degrees of freedom of keypoint errors
    knots: FloatArray  # (K + 1,) s, of the splines
    density: FloatArray  # (J,) m²/s⁵
    surrogate: FloatArray  # (J,) how much larger the rays' covariances are than those of single keypoints
    bones: FloatArray  # (B, J) bone vector = row · joints
    lengths: FloatArray  # (B,) m
    bone_sigma: FloatArray  # (B,) m

    @property
    def shape(self) -> tuple[int, int]:
        """T, J."""
        return len(self.times), len(self.density)


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Joints that are solved together, and those pairs of them that a term couples."""

    joints: IntArray  # (n,) numbers in the problem
    bones: IntArray  # (b,) numbers in the problem of the bones between them
    first: IntArray  # (P,) of each pair, counted within ``joints``; the first n pairs are the joints with themselves
    second: IntArray  # (P,)
    share: FloatArray  # (P, b) product of a bone's factors on both joints of a pair, over the bone's variance

    @property
    def size(self) -> int:
        """Unknowns per coefficient."""
        return 3 * len(self.joints)


def steps(
    problem: Problem,
    joints: FloatArray,  # (T, J, 3)
    couples: IntArray | None = None,  # (C, 2) numbers of joints
) -> Iterator[tuple[slice, FloatArray, FloatArray | None]]:
    """One Gauss-Newton step over the take, stretch by stretch.

    With ``couples`` the t likelihood's observed curvature takes the place of its weights.

    Convention:
        everything before a stretch counts, and of what follows it as many knots as matter: against one stretch over
        the whole take, steps differ by less than a thousandth of a sigma. A bone of a sigma of 1 m or more is left out.

    Args:
        problem: the terms.
        joints: where to linearise.
        couples: joints, twice the same or two, whose covariance in the same frame is wanted.

    Yields:
        Frames, their step (n, J, 3), and the couples' covariance (n, C, 3, 3), rows of the first joint, or None.
    """
    spline = spline_basis(problem.times, problem.knots)
    coefficients = fitted_coefficients(spline, joints)
    covariance = couples is not None
    systems = [
        _System(problem, spline, coefficients[:, pairs.joints], pairs, covariance) for pairs in _components(problem)
    ]
    cells = -(-(len(problem.knots) - 1) // _BLOCK)
    bounds = _bounds(problem, spline, cells)
    edges = np.searchsorted(spline.first // _BLOCK, np.arange(cells + 1))
    count = problem.shape[1]
    blocks = [(a, b + 1, c + 1) for a, b, c in bounds]
    solutions = [
        solve_stretches(system.blocks, blocks, covariance)
        if covariance or len(system.pairs.joints) > _FEW
        else solve_banded(system.blocks, blocks)
        for system in systems
    ]
    for (start, stop, _), *parts in zip(bounds, *solutions, strict=True):
        frames = slice(edges[start], edges[stop])
        moved = np.empty((edges[stop] - edges[start], count, 3))
        shared = None if couples is None else np.zeros((len(moved), len(couples), 3, 3))
        for system, part in zip(systems, parts, strict=True):
            chosen = system.pairs.joints
            moved[:, chosen] = _path(spline, frames, part).reshape(len(moved), -1, 3)
            if couples is not None and shared is not None:
                own = np.isin(couples, chosen).all(axis=1)  # joints of different groups are independent
                among = np.searchsorted(chosen, couples[own])
                shared[:, own] = _marginals(spline, edges[start : stop + 1], part, among)
        moved += spline.values(coefficients, frames) - joints[frames]
        yield frames, moved, shared


def _components(problem: Problem) -> list[_Pairs]:
    """Groups of joints that tight bones tie together."""
    tight = np.flatnonzero(problem.bone_sigma < _LOOSE_M)
    touched = problem.bones[tight] != 0
    coupled = (touched.T.astype(int) @ touched) > 0
    number, label = sparse.csgraph.connected_components(sparse.csr_matrix(coupled), directed=False)
    result = []
    for group in range(number):
        joints = np.flatnonzero(label == group)
        bones = tight[touched[:, joints].any(axis=1)]
        among = coupled[np.ix_(joints, joints)] & ~np.eye(len(joints), dtype=bool)
        first, second = (np.r_[np.arange(len(joints)), index] for index in np.nonzero(among))
        edges = problem.bones[bones][:, joints]
        share = (edges[:, first] * edges[:, second] / problem.bone_sigma[bones, None] ** 2).T
        result.append(_Pairs(joints, bones, first, second, share))
    return result


def _bounds(problem: Problem, spline: Spline, cells: int) -> list[tuple[int, int, int]]:
    """Stretches in cells, each looking ahead until every joint has been seen again."""
    frames, joints = problem.shape
    seen = problem.rays.seen.any(axis=0).reshape(frames, joints)
    number = spline.first // _BLOCK
    present = np.zeros((cells, joints), bool)
    for joint in range(joints):
        present[number[seen[:, joint]], joint] = True
    bounds = []
    for start in range(0, cells, _STRETCH):
        stop = min(start + _STRETCH, cells)
        later = present[stop : stop + _LONGEST_LOOK_AHEAD]
        hidden = int(np.where(later.any(axis=0), later.argmax(axis=0), len(later)).max()) if len(later) else 0
        bounds.append((start, stop, min(cells, stop + _LOOK_AHEAD + hidden)))
    return bounds


def _path(spline: Spline, frames: slice, part: Stretch) -> FloatArray:
    """(n, size) the solved coefficients at the frames."""
    coefficients = part.solution.reshape(len(part.solution) * _BLOCK, -1)
    first, weight = spline.first[frames] - part.start * _BLOCK, spline.weight[frames]
    return np.einsum("ti,tis->ts", weight, coefficients[first[:, None] + np.arange(ORDER)])


def _marginals(spline: Spline, edges: IntArray, part: Stretch, couples: IntArray) -> FloatArray:
    """(n, C, 3, 3) covariance of couples (C, 2) of joints at the frames between the edges of the stretch's cells."""
    assert part.inverse is not None and part.beside is not None, "solve_stretches gives them when asked to"
    size, axis = part.inverse.shape[1] // _BLOCK, np.arange(3)
    row = (3 * couples[:, 0, None] + axis)[:, :, None]
    column = (3 * couples[:, 1, None] + axis)[:, None, :]
    window = np.empty((2, _BLOCK, 2, _BLOCK, 9 * len(couples)))
    frames = np.arange(edges[0], edges[-1])
    weights = np.zeros((len(frames), 2 * _BLOCK))
    np.put_along_axis(weights, spline.first[frames, None] % _BLOCK + np.arange(ORDER), spline.weight[frames], axis=1)
    result = np.empty((len(frames), 9 * len(couples)))
    for cell, (low, high) in enumerate(zip(edges[:-1] - edges[0], edges[1:] - edges[0], strict=True)):
        corner = part.beside[cell]
        for a, b, block in (
            (0, 0, part.inverse[cell]),
            (0, 1, corner),
            (1, 0, corner.T),
            (1, 1, part.inverse[cell + 1]),
        ):
            parts = block.reshape(_BLOCK, size, _BLOCK, size).transpose(0, 2, 1, 3)
            window[a, :, b] = parts[:, :, row, column].reshape(_BLOCK, _BLOCK, -1)
        w = weights[low:high]
        products = (w[:, :, None] * w[:, None]).reshape(len(w), -1)
        result[low:high] = products @ window.reshape(-1, result.shape[1])
    return result.reshape(len(result), len(couples), 3, 3)


@dataclass(frozen=True, eq=False)
class _System:
    """The normal equations of some joints, made block row by block row."""

    problem: Problem
    spline: Spline
    coefficients: FloatArray  # (N, joints, 3) where it is linearised
    pairs: _Pairs
    curvature: bool

    def blocks(self, start: int, stop: int) -> Blocks:
        """Block rows start … stop - 1."""
        cell = self.spline.first // _BLOCK
        low, high = np.searchsorted(cell, [start - 1, stop])
        information, pull = self._frame_terms(int(low), int(high))
        first, weight = self.spline.first[low:high] - start * _BLOCK, self.spline.weight[low:high]
        rows = stop - start
        compact = _mix(first, weight, rows) @ information.reshape(len(pull), -1)
        compact = compact.reshape(rows, _SLOTS, -1, 9)
        self._add_prior(compact, start)
        right = self._right(first, weight, pull, start, rows)
        diagonal, below = _scattered(compact, self.pairs)
        return Blocks(diagonal, below, right)

    def _right(self, first: IntArray, weight: FloatArray, pull: FloatArray, start: int, rows: int) -> FloatArray:
        """(rows, m) pull of the frames' terms and of the prior on the coefficients."""
        index = first[:, None] + np.arange(ORDER)
        inside = (index >= 0) & (index < rows * _BLOCK)
        frame = np.broadcast_to(np.arange(len(pull))[:, None], index.shape)
        design = sparse.csr_matrix((weight[inside], (index[inside], frame[inside])), shape=(rows * _BLOCK, len(pull)))
        right = design @ pull.reshape(len(pull), -1)
        low, high = start * _BLOCK, min((start + rows) * _BLOCK, self.spline.count)
        chosen, bands = self.pairs.joints, self.spline.jerk
        x = self.coefficients / self.problem.density[chosen, None]
        own = np.arange(low, high)
        held = bands[0, own, None, None] * x[own]
        for lag in range(1, ORDER):
            back, ahead = own - lag >= 0, own + lag < self.spline.count
            held[back] += bands[lag, own[back], None, None] * x[own[back] - lag]
            held[ahead] += bands[lag, own[ahead] + lag, None, None] * x[own[ahead] + lag]
        right[: high - low] -= held.reshape(high - low, -1)
        return right.reshape(rows, -1)

    def _add_prior(self, compact: FloatArray, start: int) -> None:
        """Add the bands of the jerk prior and the damping to (rows, slots, P, 9)."""
        count = len(self.pairs.joints)
        row = (start + np.arange(len(compact))) * _BLOCK
        bands = np.zeros((ORDER, row[-1] + 2 * _BLOCK))
        known = min(bands.shape[1], self.spline.count)
        bands[:, :known] = self.spline.jerk[:, :known]
        places = [(i, i - j) for i, j in _DIAGONAL] + [(_BLOCK + i, _BLOCK + i - j) for i, j in _BELOW]
        for slot, (place, lag) in enumerate(places):
            strength = bands[lag, row + place, None] / self.problem.density[self.pairs.joints]
            if lag == 0:
                strength = strength + _DAMPING
            compact[:, slot, :count, ::4] += strength[..., None]  # the diagonal of 3×3

    def _frame_terms(self, low: int, high: int) -> tuple[FloatArray, FloatArray]:
        """Information (n, P, 3, 3) of the pairs and pull (n, joints, 3) at frames low … high - 1."""
        pairs, problem = self.pairs, self.problem
        points = self.spline.values(self.coefficients, slice(low, high))
        own, pull = _data_terms(problem, points, low, pairs.joints, self.curvature)
        if not len(pairs.bones):
            return own, pull
        edges = problem.bones[pairs.bones][:, pairs.joints]
        vectors = edges @ points
        length = np.maximum(np.linalg.norm(vectors, axis=-1), 1e-6)
        unit = vectors / length[..., None]
        outer = (unit[..., :, None] * unit[..., None, :]).reshape(*length.shape, 9)
        information = (pairs.share @ outer).reshape(len(own), -1, 3, 3)
        information[:, : own.shape[1]] += own
        off = (length - problem.lengths[pairs.bones]) / problem.bone_sigma[pairs.bones] ** 2
        return information, pull - edges.T @ (off[..., None] * unit)


def _mix(first: IntArray, weight: FloatArray, rows: int) -> sparse.csr_matrix:
    """(rows · slots, n) what each frame's information adds to the couplings of the block rows' coefficients."""
    entries = []
    phase, block = first % _BLOCK, first // _BLOCK
    for i in range(ORDER):
        for j in range(i + 1):
            row, column = phase + i, phase + j
            entries.append(((block + column // _BLOCK) * _SLOTS + _SLOT[row, column], weight[:, i] * weight[:, j]))
    index, value = (np.stack(part) for part in zip(*entries, strict=True))
    frame = np.broadcast_to(np.arange(len(first)), index.shape)
    inside = (index >= 0) & (index < rows * _SLOTS)
    return sparse.csr_matrix((value[inside], (index[inside], frame[inside])), shape=(rows * _SLOTS, len(first)))


def _scattered(compact: FloatArray, pairs: _Pairs) -> tuple[FloatArray, FloatArray]:
    """Full diagonal blocks, as `Blocks` reads them, and the blocks below them."""
    size, axis = pairs.size, np.arange(3)
    row = (3 * pairs.first[:, None] + axis)[:, :, None]
    column = (3 * pairs.second[:, None] + axis)[:, None, :]
    full = []
    # of the diagonal blocks entries above the diagonal are read, so that coefficients change places
    turned = [(j, i) for i, j in _DIAGONAL]
    start = 0
    for places in (turned, _BELOW):
        result = np.zeros((len(compact), (_BLOCK * size) ** 2))
        index = np.stack([(i * size + row) * _BLOCK * size + j * size + column for i, j in places])
        result[:, index.ravel()] = compact[:, start : start + len(places)].reshape(len(compact), -1)
        full.append(result.reshape(len(compact), _BLOCK * size, _BLOCK * size))
        start += len(places)
    return full[0], full[1]


def _data_terms(
    problem: Problem, joints: FloatArray, low: int, chosen: IntArray, curvature: bool
) -> tuple[FloatArray, FloatArray]:
    """Information of the keypoints on joints (n, chosen, 3) of frame ``low`` and later (…, 3, 3), and their pull."""
    count, shape = problem.shape[1], joints.shape[:2]
    high = low + shape[0]
    if len(chosen) == count:
        rays = problem.rays.take(slice(low * count, high * count))
    else:
        rays = problem.rays.take((np.arange(low, high)[:, None] * count + chosen).ravel())
    points = joints.reshape(-1, 3).T
    error = whitened_residuals(rays, points).reshape(len(rays.R), *shape, 2)
    information, pull = np.zeros((*shape, 3, 3)), np.zeros((*shape, 3))
    for view in range(len(rays.R)):
        slope = whitened_slope(rays, view, points).reshape(*shape, 2, 3)
        delta = (error[view] ** 2).sum(axis=-1) * problem.surrogate[chosen]
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


def whitened_slope(rays: Rays, view: int, points: FloatArray) -> FloatArray:
    """(N, 2, 3) derivative of the whitened prediction by the point; see `whitened_residuals`."""
    r = residual(rays, view, points)
    root = np.sqrt(np.where(rays.uu[view] > 0, rays.uu[view], 1.0))
    rest = np.sqrt(np.maximum(rays.vv[view] - (rays.uv[view] / root) ** 2, 0))
    return np.stack([root * r.slope_u + rays.uv[view] / root * r.slope_v, rest * r.slope_v]).transpose(2, 0, 1)
