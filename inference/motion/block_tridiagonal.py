"""Symmetric block-tridiagonal systems, solved in stretches with memory that does not grow with their number.

Elimination (block Cholesky) runs forward once; a stretch is solved backwards as soon as the blocks that it still
depends on are in (a fixed-lag smoother). Diagonal blocks of the inverse by the Takahashi recursion.
Matrices are in Fortran order for LAPACK, so that Cᵀ in C order is read as it stands.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy.linalg import LinAlgError, get_blas_funcs, get_lapack_funcs, solveh_banded

from ..shapes import FloatArray

(_factorise,) = get_lapack_funcs(("potrf",), dtype=np.float64)
_solve_triangular, _square, _multiply = get_blas_funcs(("trsm", "syrk", "gemm"), dtype=np.float64)
_ASSEMBLED = 100  # blocks at a time, where all of them are needed
_JITTER = 1e-12  # of the mean diagonal, where rounding leaves a pivot indefinite


class Blocks(NamedTuple):
    """Some block rows of a symmetric block-tridiagonal system."""

    diagonal: FloatArray  # (K, m, m); of each, entries [i, j] with i <= j are read
    below: FloatArray  # (K, m, m): couples block k + 1 (rows) with block k (columns); the last may be 0
    right: FloatArray  # (K, m)


class Stretch(NamedTuple):
    """Blocks start … stop - 1 of the solution, and, if asked for, blocks of the inverse."""

    start: int
    stop: int
    solution: FloatArray  # (K, m)
    inverse: FloatArray | None  # (K, m, m)
    beside: FloatArray | None  # (K - 1, m, m): rows of block k, columns of block k + 1


class _Eliminated(NamedTuple):
    factor: FloatArray  # (m, m) lower Cholesky factor L of the pivot
    coupling: FloatArray  # (m, m) W = L⁻¹ Eᵀ
    right: FloatArray  # (m,) L⁻¹ times what is left of the right-hand side


def solve_stretches(
    assemble: Callable[[int, int], Blocks],
    bounds: list[tuple[int, int, int]],
    covariance: bool,
) -> Iterator[Stretch]:
    """Solve a block-tridiagonal system stretch by stretch.

    Everything before a stretch is eliminated exactly; of what follows it, the blocks up to its ``ahead`` are.

    Args:
        assemble: gives block rows start … stop - 1; its arrays are overwritten.
        bounds: (start, stop, ahead) per stretch, in blocks, rising from 0; they may overlap; ahead >= stop.
        covariance: whether to compute the diagonal blocks of the inverse and those beside them.

    Yields:
        The stretches in order.

    Raises:
        LinAlgError: the system is not positive definite.
    """
    rows: deque[_Eliminated] = deque()
    first = done = 0
    carried: tuple[FloatArray, FloatArray] | None = None
    for start, stop, ahead in bounds:
        for _ in range(start - first):
            rows.popleft()
        first = start
        if ahead > done:
            carried = _eliminate(assemble(done, ahead), carried, rows)
            done = ahead
        yield _substitute(rows, start, stop, covariance)


def solve_banded(
    assemble: Callable[[int, int], Blocks],
    bounds: list[tuple[int, int, int]],
) -> Iterator[Stretch]:
    """Solve a system of small blocks as one band matrix: what `solve_stretches` yields, at once and exactly."""
    try:
        solution = _banded(assemble, max(stop for _, stop, _ in bounds))
    except LinAlgError:  # rounding: the other way mends a pivot
        yield from solve_stretches(assemble, bounds, covariance=False)
        return
    for start, stop, _ in bounds:
        yield Stretch(start, stop, solution[start:stop], None, None)


def _banded(assemble: Callable[[int, int], Blocks], count: int) -> FloatArray:
    """(K, m) solution of a system of K blocks."""
    parts = [assemble(start, min(start + _ASSEMBLED, count)) for start in range(0, count, _ASSEMBLED)]
    diagonal, below, right = (np.concatenate(part) for part in zip(*parts, strict=True))
    size = right.shape[1]
    bands = np.zeros((2 * size, count, size))  # lower storage: [row - column, column]
    for column in range(size):
        for row in range(column, size):
            bands[row - column, :, column] = diagonal[:, column, row]
        for row in range(size):
            bands[size + row - column, :, column] = below[:, row, column]
    bands = bands.reshape(2 * size, -1)
    return solveh_banded(bands, right.ravel(), lower=True, check_finite=False).reshape(count, size)


def _eliminate(
    blocks: Blocks, carried: tuple[FloatArray, FloatArray] | None, rows: deque[_Eliminated]
) -> tuple[FloatArray, FloatArray]:
    """Add the eliminated blocks to the rows; give what the last one takes off the block after it."""
    for diagonal, below, right in zip(*blocks, strict=True):
        matrix = diagonal.T
        if carried is not None:
            coupling, known = carried
            matrix = _square(-1.0, coupling, beta=1.0, c=matrix, trans=1, lower=1, overwrite_c=1)
            right = right - known @ coupling
        factor = _cholesky(matrix)
        coupling = _solve_triangular(1.0, factor, below.T, lower=1, overwrite_b=1)
        known = _solve_triangular(1.0, factor, right[:, None], lower=1)[:, 0]
        rows.append(_Eliminated(factor, coupling, known))
        carried = (coupling, known)
    assert carried is not None, "there is at least one block"
    return carried


def _cholesky(matrix: FloatArray) -> FloatArray:
    factor, failed = _factorise(matrix, lower=1, clean=0)
    if failed:
        matrix = matrix + _JITTER * np.trace(matrix) / len(matrix) * np.eye(len(matrix))
        factor, failed = _factorise(matrix, lower=1, clean=0)
    if failed:
        raise np.linalg.LinAlgError("a block of the smoothing system is not positive definite")
    return factor


def _substitute(rows: deque[_Eliminated], start: int, stop: int, covariance: bool) -> Stretch:
    solution, inverse, beside = [], [], []
    later = later_inverse = None
    keep = stop - start
    for number in range(len(rows) - 1, -1, -1):
        factor, coupling, right = rows[number]
        known = right if later is None else right - coupling @ later
        later = _solve_triangular(1.0, factor, known[:, None], lower=1, trans_a=1)[:, 0]
        if number < keep:
            solution.append(later)
        if not covariance:
            continue
        corner, later_inverse = _inverse_blocks(factor, coupling, later_inverse)
        if number < keep:
            inverse.append(later_inverse)
        if number < keep - 1 and corner is not None:
            beside.append(corner)
    solved = np.stack(solution[::-1])
    if not covariance:
        return Stretch(start, stop, solved, None, None)
    size = len(solved[0])
    return Stretch(
        start, stop, solved, np.stack(inverse[::-1]), np.stack(beside[::-1]) if beside else np.empty((0, size, size))
    )


def _inverse_blocks(
    factor: FloatArray, coupling: FloatArray, later: FloatArray | None
) -> tuple[FloatArray | None, FloatArray]:
    """Σ_k,k+1 and Σ_kk = L⁻ᵀ(I + W S Wᵀ)L⁻¹ from S = Σ_k+1,k+1."""
    root = _solve_triangular(1.0, factor, np.eye(len(factor), order="F"), lower=1, overwrite_b=1)
    inverse = _multiply(1.0, root, root, trans_a=1)
    if later is None:
        return None, inverse
    gain = _solve_triangular(1.0, factor, coupling, lower=1, trans_a=1)
    corner = _multiply(-1.0, gain, later)
    return corner, _multiply(-1.0, corner, gain, beta=1.0, c=inverse, trans_b=1, overwrite_c=1)
