"""Block systems against their dense versions."""

import numpy as np
import pytest

from inference.motion.block_tridiagonal import Blocks, solve_banded, solve_stretches


def _random_system(blocks: int = 12, size: int = 4) -> tuple[Blocks, np.ndarray]:
    rng = np.random.default_rng(4)
    dense = np.zeros((blocks * size, blocks * size))
    for k in range(blocks - 1):
        rows = rng.normal(size=(2 * size, 2 * size))
        dense[k * size : (k + 2) * size, k * size : (k + 2) * size] += rows @ rows.T
    dense += 0.1 * np.eye(len(dense))
    cut = dense.reshape(blocks, size, blocks, size).swapaxes(1, 2)
    index = np.arange(blocks)
    below = np.zeros((blocks, size, size))
    below[:-1] = cut[index[1:], index[:-1]]
    return Blocks(cut[index, index], below, rng.normal(size=(blocks, size))), dense


def _assemble(system: Blocks, start: int, stop: int) -> Blocks:
    return Blocks(*(part[start:stop].copy() for part in system))


@pytest.mark.parametrize("bounds", [[(0, 12, 12)], [(0, 5, 12), (5, 9, 12), (9, 12, 12)], [(0, 6, 12), (5, 12, 12)]])
def test_stretches_agree_with_the_dense_solution(bounds: list[tuple[int, int, int]]) -> None:
    system, dense = _random_system()
    solution = np.linalg.solve(dense, system.right.ravel()).reshape(12, 4)
    inverse = np.linalg.inv(dense).reshape(12, 4, 12, 4).swapaxes(1, 2)
    for part in solve_stretches(lambda a, b: _assemble(system, a, b), bounds, covariance=True):
        index = np.arange(part.start, part.stop)
        assert part.inverse is not None and part.beside is not None
        np.testing.assert_allclose(part.solution, solution[index], atol=1e-9)
        np.testing.assert_allclose(part.inverse, inverse[index, index], atol=1e-9)
        np.testing.assert_allclose(part.beside, inverse[index[:-1], index[1:]], atol=1e-9)


def test_only_one_triangle_is_read() -> None:
    system, dense = _random_system()
    upper = system._replace(diagonal=np.triu(system.diagonal))
    (part,) = solve_stretches(lambda a, b: _assemble(upper, a, b), [(0, 12, 12)], False)
    np.testing.assert_allclose(part.solution.ravel(), np.linalg.solve(dense, system.right.ravel()), atol=1e-9)
    assert part.inverse is None


def test_one_band_matrix_is_the_dense_solution_whatever_the_stretches() -> None:
    system, dense = _random_system()
    upper = system._replace(diagonal=np.triu(system.diagonal))
    solution = np.linalg.solve(dense, system.right.ravel()).reshape(12, 4)
    for part in solve_banded(lambda a, b: _assemble(upper, a, b), [(0, 5, 6), (4, 12, 12)]):
        np.testing.assert_allclose(part.solution, solution[part.start : part.stop], atol=1e-9)
        assert part.inverse is None


def test_cutting_the_future_off_changes_the_end_only() -> None:
    system, dense = _random_system()
    cut = list(solve_stretches(lambda a, b: _assemble(system, a, b), [(0, 5, 6), (5, 12, 12)], False))
    exact = np.linalg.solve(dense, system.right.ravel()).reshape(12, 4)
    assert np.abs(cut[0].solution - exact[:5]).max() > 1e-6  # negative control: too short a look ahead shows
    np.testing.assert_allclose(cut[1].solution, exact[5:], atol=1e-9)


def test_an_indefinite_system_is_refused() -> None:
    system, _ = _random_system()
    bad = system._replace(diagonal=-system.diagonal)
    with pytest.raises(np.linalg.LinAlgError, match="positive definite"):
        list(solve_stretches(lambda a, b: _assemble(bad, a, b), [(0, 12, 12)], False))
    with pytest.raises(np.linalg.LinAlgError, match="positive definite"):
        list(solve_banded(lambda a, b: _assemble(bad, a, b), [(0, 12, 12)]))
