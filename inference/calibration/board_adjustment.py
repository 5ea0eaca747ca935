"""Bundle adjustment on a board: camera poses, the board's pose in every frame, clocks and lenses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import least_squares
from scipy.sparse import issparse, lil_matrix

from ..geometry.projection import distort_points
from ..geometry.rotation import exp
from ..shapes import FloatArray, IntArray
from ..types import Intrinsics
from .board import Board
from .board_motion import MovingCorners

_LOSS_PX = 1.0
_LENS_NUMBERS = 5  # focal length, centre x and y (both as shares of the focal length), k1, k2
_NUMBERS_PER_CAMERA = 6
_LENS_TRUST = 20.0  # per unit of those: what single pictures leave open is worth this little


@dataclass(frozen=True, eq=False)
class SeenCorners:
    """The corners of one view that the poses are solved from."""

    frame: IntArray  # (N,) numbers of the moments
    seen: FloatArray  # (N, 2) px
    predicted: FloatArray  # (N, 2) px


@dataclass(frozen=True, eq=False)
class BoardAnswer:
    """All that is adjusted."""

    R: FloatArray  # (V, 3, 3)
    t: FloatArray  # (V, 3)
    turns: FloatArray  # (F, 3, 3) world from board
    moves: FloatArray  # (F, 3)
    lenses: list[Intrinsics]
    late: FloatArray  # (V,) frames
    late_sigma: FloatArray  # (V,)
    errors: FloatArray  # (N, 2) px
    covariance: FloatArray  # (6V, 6V) of the cameras


class RigProblem:
    """Bundle adjustment of V camera poses (the first held), F board poses and V - 1 clocks on all corners."""

    def __init__(
        self,
        board: Board,
        lenses: Sequence[Intrinsics],
        found: Mapping[tuple[int, int], MovingCorners],
        frames: Sequence[int],
        start: tuple[FloatArray, FloatArray, Sequence[tuple[FloatArray, FloatArray]]],
        clocks: bool,
    ) -> None:
        self.lenses, (self.R, self.t, boards), self.clocks = lenses, start, clocks
        self.board_R, self.board_t = np.stack([b[0] for b in boards]), np.stack([b[1] for b in boards])
        rows = [
            (v, i, *row)
            for i, f in enumerate(frames)
            for v in range(len(lenses))
            if (m := found.get((v, f))) is not None
            for row in zip(board.points[m.corners.ids], m.corners.xy, m.velocity, m.bend, strict=True)
        ]
        self.view = np.array([row[0] for row in rows])
        self.frame = np.array([row[1] for row in rows])
        self.points, self.xy, self.velocity, self.bend = (np.stack([row[i] for row in rows]) for i in (2, 3, 4, 5))

    def solve(self, refine_lenses: bool) -> BoardAnswer:
        """Adjust everything; the lenses only where asked to."""
        pattern = self._pattern()
        free = pattern.shape[1] if refine_lenses else self.lens_at
        unused = np.zeros(pattern.shape[1] - free)

        def residuals(x: FloatArray) -> FloatArray:
            whole = np.concatenate([x, unused])
            errors = np.nan_to_num(self._errors(whole), nan=1e3).ravel()
            return np.concatenate([errors, whole[self.lens_at :] * _LENS_TRUST])

        found = least_squares(
            residuals,
            np.zeros(free),
            jac_sparsity=pattern[:, :free],
            loss="soft_l1",
            f_scale=_LOSS_PX,
            x_scale="jac",
            max_nfev=60,
        )
        x = np.concatenate([found.x, unused])
        slope = found.jac.toarray() if issparse(found.jac) else found.jac
        covariance, sigma = self._covariance(slope, found.fun)
        return BoardAnswer(*self._moved(x), self._lenses(x), self._late(x), sigma, self._errors(x), covariance)

    def _covariance(self, slope: FloatArray, weighted: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(6V, 6V) covariance of the cameras, zeros for the first, and (V,) sigmas of the clocks, from the frames.

        Corners of one picture err together (blur, a bent board, a lens that is not quite so), so the frames are what
        is independent: ``H^-1 (sum over frames g g') H^-1`` (Liang & Zeger 1986), times F / (F - 1 - k / 2) for the
        k numbers per camera that the frames are fitted by.
        """
        rows = len(self.view) * 2
        scale = 1 / np.sqrt(np.maximum((slope**2).sum(axis=0), 1e-30))
        slope = slope * scale
        pulls = slope[:rows] * weighted[:rows, None]
        frames = len(self.board_R)
        scatter = np.zeros((frames, slope.shape[1]))
        np.add.at(scatter, np.repeat(self.frame, 2), pulls)
        cameras = 6 * (len(self.lenses) - 1)
        wanted = np.r_[:cameras, self.clock_at : self.lens_at]
        inverse = np.linalg.pinv(slope.T @ slope, rcond=1e-12, hermitian=True)[wanted]
        errors = scatter @ inverse.T * scale[wanted]
        freedom = max(frames - 1 - _NUMBERS_PER_CAMERA / 2, 1)
        covariance = np.zeros((cameras + 6, cameras + 6))
        everything = errors.T @ errors * frames / freedom
        covariance[6:, 6:] = everything[:cameras, :cameras]
        sigma = np.zeros(len(self.lenses))
        sigma[1:] = np.sqrt(np.diag(everything)[cameras:]) if self.clocks else 0.0
        return covariance, sigma

    def corners(self, frames: Sequence[int], errors: FloatArray) -> tuple[SeenCorners, ...]:
        """Return the corners by view, seen and as predicted."""
        number = np.asarray(frames, dtype=np.int64)[self.frame]
        views = [self.view == v for v in range(len(self.lenses))]
        return tuple(SeenCorners(number[own], self.xy[own], self.xy[own] + errors[own]) for own in views)

    @property
    def clock_at(self) -> int:
        """Where the clocks begin among the unknowns, behind the poses of cameras and boards."""
        return 6 * (len(self.lenses) - 1 + len(self.board_R))

    @property
    def lens_at(self) -> int:
        """Where the numbers of the lenses begin among the unknowns."""
        return self.clock_at + (len(self.lenses) - 1 if self.clocks else 0)

    def _pattern(self) -> Any:
        count = len(self.lenses)
        extra = _LENS_NUMBERS * count
        pattern = lil_matrix((2 * len(self.view) + extra, self.lens_at + extra), dtype=int)
        for row, (v, f) in enumerate(zip(self.view, self.frame, strict=True)):  # once
            rows = slice(2 * row, 2 * row + 2)
            at = 6 * (count - 1 + f)
            pattern[rows, at : at + 6] = 1
            pattern[rows, self.lens_at + _LENS_NUMBERS * v : self.lens_at + _LENS_NUMBERS * (v + 1)] = 1
            if v > 0:
                pattern[rows, 6 * (v - 1) : 6 * v] = 1
            if v > 0 and self.clocks:
                pattern[rows, self.clock_at + v - 1] = 1
        for index in range(extra):
            pattern[2 * len(self.view) + index, self.lens_at + index] = 1
        return pattern

    def _late(self, x: FloatArray) -> FloatArray:
        """(V,) frames by which the views are late."""
        late = np.zeros(len(self.lenses))
        late[1:] = x[self.clock_at : self.lens_at] if self.clocks else 0.0
        return late

    def _lenses(self, x: FloatArray) -> list[Intrinsics]:
        changed = []
        for lens, (f, cx, cy, k1, k2) in zip(self.lenses, x[self.lens_at :].reshape(-1, _LENS_NUMBERS), strict=True):
            K = np.array(lens.K)
            K[:2, :2] *= 1 + f
            K[0, 2], K[1, 2] = K[0, 2] + cx * K[0, 0], K[1, 2] + cy * K[1, 1]
            distortion = np.array(lens.distortion)
            if len(distortion) >= 2:
                distortion[:2] += k1, k2
            changed.append(Intrinsics(lens.name, lens.image_size, K, distortion, lens.distortion_model))
        return changed

    def _moved(self, x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        steps = x[: self.clock_at].reshape(-1, 6)
        cameras = np.concatenate([np.zeros((1, 6)), steps[: len(self.lenses) - 1]])
        boards = steps[len(self.lenses) - 1 :]
        return (
            exp(cameras[:, :3]) @ self.R,
            self.t + cameras[:, 3:],
            exp(boards[:, :3]) @ self.board_R,
            self.board_t + boards[:, 3:],
        )

    def _errors(self, x: FloatArray) -> FloatArray:
        R, t, board_R, board_t = self._moved(x)
        world = np.einsum("nij,nj->ni", board_R[self.frame], self.points) + board_t[self.frame]
        inside = np.einsum("nij,nj->ni", R[self.view], world) + t[self.view]
        late = self._late(x)[self.view, None]
        seen = self.xy + late * self.velocity + late**2 / 2 * self.bend
        errors = np.empty((len(inside), 2))
        for v, lens in enumerate(self._lenses(x)):
            own = self.view == v
            errors[own] = distort_points(lens, inside[own, :2] / inside[own, 2:]) - seen[own]
        return errors
