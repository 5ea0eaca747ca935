"""Quaternions against matrices and by hand."""

import numpy as np
import pytest

from inference.errors import ShapeError
from inference.geometry.rotation import (
    conjugate,
    continuous,
    exp,
    log,
    matrix_from_quaternion,
    multiply,
    quaternion_from_matrix,
    rotate,
    running_product,
    shortest_arc,
    slerp,
)


def _random(count: int = 50) -> np.ndarray:
    q = np.random.default_rng(3).normal(size=(count, 4))
    return q / np.linalg.norm(q, axis=-1, keepdims=True)


def test_quarter_turn_by_hand() -> None:
    half = np.sqrt(0.5)
    quarter = np.array([half, 0, 0, half])  # 90 degrees about z
    np.testing.assert_allclose(rotate(quarter, np.array([1.0, 0, 0])), [0, 1, 0], atol=1e-15)
    np.testing.assert_allclose(quaternion_from_matrix(exp(np.array([0, 0, np.pi / 2]))), quarter, atol=1e-15)
    np.testing.assert_allclose(multiply(quarter, quarter), [0, 0, 0, 1], atol=1e-15)


def test_products_and_inverses_agree_with_matrices() -> None:
    a, b = _random()[:25], _random()[25:]
    np.testing.assert_allclose(
        matrix_from_quaternion(multiply(a, b)), matrix_from_quaternion(a) @ matrix_from_quaternion(b), atol=1e-12
    )
    np.testing.assert_allclose(multiply(a, conjugate(a)), np.tile([1, 0, 0, 0], (25, 1)), atol=1e-12)
    np.testing.assert_allclose(exp(log(matrix_from_quaternion(a))), matrix_from_quaternion(a), atol=1e-10)


def test_shortest_arc_takes_a_to_b_also_when_opposite() -> None:
    a, b = np.random.default_rng(5).normal(size=(2, 30, 3))
    a, b = a / np.linalg.norm(a, axis=-1, keepdims=True), b / np.linalg.norm(b, axis=-1, keepdims=True)
    b[0], b[1] = -a[0], a[1]
    np.testing.assert_allclose(rotate(shortest_arc(a, b), a), b, atol=1e-7)


def test_running_product_agrees_with_the_plain_loop() -> None:
    steps = _random(13)
    plain = [steps[0]]
    for step in steps[1:]:
        plain.append(multiply(step, plain[-1]))
    np.testing.assert_allclose(running_product(steps), plain, atol=1e-12)


def test_continuous_leaves_no_jump_and_keeps_rotations() -> None:
    angle = np.linspace(0, 4 * np.pi, 100)
    q = quaternion_from_matrix(exp(angle[:, None] * np.array([0, 0, 1.0])))
    assert (np.abs(np.diff(q, axis=0)) > 1).any()  # negative control: the input does jump
    smooth = continuous(q)
    assert np.abs(np.diff(smooth, axis=0)).max() < 0.2
    np.testing.assert_allclose(np.abs((smooth * q).sum(-1)), 1)


def test_slerp_ends_and_middle() -> None:
    a, b = np.array([1.0, 0, 0, 0]), np.array([0, 0, 0, -1.0])
    np.testing.assert_allclose(slerp(a, b, np.array(0.0)), a)
    middle = rotate(slerp(a, b, np.array(0.5)), np.array([1.0, 0, 0]))
    np.testing.assert_allclose(np.abs(middle), [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(slerp(a, -a, np.array(0.3)), a)


def test_wrong_shape_is_refused() -> None:
    with pytest.raises(ShapeError):
        exp(np.zeros((3, 2)))
