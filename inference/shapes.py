"""Check array shapes at public doors, with axis names bound across arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ShapeError

# What an array holds is said in words: numpy's own stubs widen the types of expressions so that exact ones never fit.
FloatArray = NDArray[Any]
BoolArray = NDArray[Any]
IntArray = NDArray[Any]


def check_shapes(**arguments: tuple[Any, str]) -> dict[str, int]:
    """Raise unless every array has its stated shape; return the sizes of the named axes.

    A specification is a string of axis names and numbers, e.g. ``"V J 2"``. The same name must have
    the same size in every argument. ``"..."`` at the start stands for any leading axes.

    Convention:
        arrays are not copied or converted.

    Args:
        arguments: name = (array, specification).

    Returns:
        The size of each named axis.

    Raises:
        ShapeError: an array has another rank or size; the message names argument and axis.
    """
    sizes: dict[str, int] = {}
    for name, (array, specification) in arguments.items():
        _check_one(name, np.shape(array), specification.split(), sizes)
    return sizes


def _check_one(name: str, shape: tuple[int, ...], axes: list[str], sizes: dict[str, int]) -> None:
    wanted = " ".join(axes)
    if axes and axes[0] == "...":
        axes = axes[1:]
        shape = shape[len(shape) - len(axes) :] if len(shape) >= len(axes) else shape
    if len(shape) != len(axes):
        raise ShapeError(f"{name} has shape {shape}, expected ({wanted})")
    for axis, size in zip(axes, shape, strict=True):
        expected = int(axis) if axis.isdigit() else sizes.setdefault(axis, size)
        if size != expected:
            raise ShapeError(f"{name} has shape {shape}: axis {axis} is {size}, expected {expected}")


def frozen(array: Any, dtype: Any = np.float64) -> NDArray[Any]:
    """Return a read-only array of the dtype; copies only if the caller could still write to it."""
    result = np.asarray(array, dtype=dtype)
    if result.flags.writeable:
        result = result.copy() if result is array or result.base is not None else result
        result.flags.writeable = False
    return result
