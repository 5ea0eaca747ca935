"""Shape checks bind axis names across arguments."""

import numpy as np
import pytest

from inference.errors import ShapeError
from inference.shapes import check_shapes, frozen


def test_named_axes_are_bound_across_arguments() -> None:
    sizes = check_shapes(points=(np.zeros((4, 17, 2)), "V J 2"), scores=(np.zeros((4, 17)), "V J"))
    assert sizes == {"V": 4, "J": 17}


def test_another_size_of_a_named_axis_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"scores has shape \(3, 17\): axis V is 3, expected 4"):
        check_shapes(points=(np.zeros((4, 17, 2)), "V J 2"), scores=(np.zeros((3, 17)), "V J"))


def test_another_rank_is_refused() -> None:
    with pytest.raises(ShapeError, match="expected \\(V J 2\\)"):
        check_shapes(points=(np.zeros((17, 2)), "V J 2"))


def test_leading_axes_may_be_free() -> None:
    check_shapes(points=(np.zeros((5, 4, 3)), "... 3"), one=(np.zeros(3), "... 3"))
    with pytest.raises(ShapeError):
        check_shapes(points=(np.zeros((5, 4, 2)), "... 3"))


def test_frozen_arrays_cannot_be_written_and_do_not_follow_their_source() -> None:
    source = np.arange(6.0).reshape(2, 3)
    for array in (frozen(source), frozen(source[:1]), frozen([1, 2, 3])):
        assert array.dtype == np.float64
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    kept = frozen(source)
    source[0, 0] = 7
    assert kept[0, 0] == 0
    assert frozen(kept) is kept
