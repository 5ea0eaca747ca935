"""Pickles of numbers, read without trusting them: nothing is imported and nothing of the file is called.

Where a pickle names NumPy's array or data type, a stand-in of ours takes its place, which checks what it is given;
every other name is refused, and so is every operation that a file of numbers does not need. Time and memory are
bounded by the length of the file.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError

_LARGEST = 1024 * 1024  # bytes; a camera takes one thousand
_MOST_ITEMS = 100_000
_DEEPEST = 4  # levels of dicts and lists
_KINDS = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"}
_NUMPY = {"numpy", "numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric"}
_OPERATIONS = (
    "PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE SHORT_BINUNICODE "
    "BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 EMPTY_DICT SETITEM SETITEMS EMPTY_LIST APPEND APPENDS "
    "EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE "
    "BUILD"
).split()
_PYTHON: Any = pickle._Unpickler  # the one in Python: its operations can be chosen


def read_plain_pickle(path: Path, error: type[InputError] = InputError) -> Any:
    """Read a pickle of dicts, lists, texts, numbers and numeric NumPy arrays.

    Convention:
        tuples come back as lists; keys of dicts are texts.

    Args:
        path: the file.
        error: the type of error to raise.

    Returns:
        The contents.

    Raises:
        InputError: the file names anything else, is longer than 1 MiB, or is broken.
    """
    try:
        data = path.read_bytes() if path.stat().st_size <= _LARGEST else b""
    except OSError as problem:
        raise error(f"{path} cannot be read: {problem.strerror or problem}") from None
    if not data:
        raise error(f"{path} is empty or longer than 1 MiB: not a camera's pickle")
    try:
        return _finished(_Unpickler(io.BytesIO(data)).load(), 0, [0])
    except (
        *(pickle.UnpicklingError, ValueError, TypeError, LookupError, AttributeError, EOFError, ArithmeticError),
        *(MemoryError, RecursionError, AssertionError, struct.error),
    ) as problem:
        reason = " ".join(str(problem)[:200].split()) or type(problem).__name__
        raise error(f"{path} is a pickle that cannot be read: {reason}") from None


def _refuse(what: str) -> pickle.UnpicklingError:
    return pickle.UnpicklingError(what)


class _DataType:
    """Stands for a NumPy data type."""

    def __init__(self, kind: Any = None, *_: Any) -> None:
        self.kind, self.order = kind, "<"

    def set_state(self, state: Any) -> None:
        self.order = "<" if state[1] in ("|", "=") else state[1]

    def real(self) -> np.dtype:
        known = isinstance(self.kind, str) and self.kind in _KINDS
        if not known or not isinstance(self.order, str) or self.order not in ("<", ">"):
            raise _refuse("it holds an array of something else than numbers")
        return np.dtype(self.order + self.kind)


class _Array:
    """Stands for an array: (shape, data type, by columns, bytes)."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def set_state(self, state: Any) -> None:
        self.parts = tuple(state[1:])

    def real(self) -> np.ndarray:
        if len(self.parts) != 4:
            raise _refuse("it holds an array without contents")
        shape, kind, by_columns, data = self.parts
        raw = data.encode("latin1") if isinstance(data, str) else data
        if not isinstance(kind, _DataType) or not isinstance(shape, tuple) or not isinstance(raw, bytes | bytearray):
            raise _refuse("it holds an array of something else than numbers")
        dtype = kind.real()
        if len(shape) > 8 or not all(type(n) is int and n >= 0 for n in shape):
            raise _refuse("it holds an array of an impossible shape")
        if math.prod(shape) * dtype.itemsize != len(raw):
            raise _refuse("it holds an array whose shape does not fit its contents")
        return np.frombuffer(bytes(raw), dtype).reshape(shape, order="F" if by_columns is True else "C")


def _scalar(kind: Any, raw: Any = b"") -> _Array:
    return _Array((), kind, False, raw)


def _from_buffer(raw: Any, kind: Any, shape: Any, order: Any) -> _Array:
    return _Array(shape, kind, isinstance(order, str) and order == "F", raw)


def _latin1(text: Any, _: Any = None) -> bytes:
    """Older protocols write bytes as texts."""
    if not isinstance(text, str):
        raise _refuse("it holds bytes that are none")
    return text.encode("latin1")


_STAND_INS: dict[str, Callable[..., Any]] = {
    "ndarray": lambda *_: _Array(),
    "_reconstruct": lambda *_: _Array(),
    "dtype": _DataType,
    "scalar": _scalar,
    "_frombuffer": _from_buffer,
}
_BYTES: dict[str, Callable[..., Any]] = {"_codecs.encode": _latin1, "__builtin__.bytes": bytes}  # of protocol 2


class _Unpickler(_PYTHON):
    dispatch = {getattr(pickle, name)[0]: _PYTHON.dispatch[getattr(pickle, name)[0]] for name in _OPERATIONS}

    def find_class(self, module_name: str, global_name: str) -> Callable[..., Any]:
        """Return a stand-in; nothing is ever imported."""
        if module_name in _NUMPY and global_name in _STAND_INS:
            return _STAND_INS[global_name]
        if f"{module_name}.{global_name}" in _BYTES:
            return _BYTES[f"{module_name}.{global_name}"]
        raise _refuse(f"it names {module_name}.{global_name}, which a file of numbers does not need")

    def build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if not isinstance(target, _Array | _DataType):
            raise _refuse("it changes something that is no array")
        target.set_state(state)

    def call(self) -> None:
        arguments = self.stack.pop()
        target = self.stack[-1]
        if target is bytes and arguments != ():
            raise _refuse("it holds bytes that are none")
        if not any(target is known for known in (*_STAND_INS.values(), *_BYTES.values())):
            raise _refuse("it calls something that is no array")
        self.stack[-1] = target(*arguments)

    def set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([(key, value)])

    def set_items(self) -> None:
        items = self.pop_mark()
        self._set(list(zip(items[::2], items[1::2], strict=True)))

    def _set(self, items: list[tuple[Any, Any]]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or not all(isinstance(key, str) for key, _ in items):
            raise _refuse("it holds a dict whose keys are not texts")
        target.update(items)

    dispatch |= {pickle.BUILD[0]: build, pickle.REDUCE[0]: call, pickle.SETITEM[0]: set_item}
    dispatch |= {pickle.SETITEMS[0]: set_items}


def _finished(value: Any, depth: int, count: list[int]) -> Any:
    """Replace the stand-ins by what they stand for; ``count`` bounds lists that hold the same list many times."""
    count[0] += 1
    if depth > _DEEPEST or count[0] > _MOST_ITEMS:
        raise _refuse("it is nested too deeply or holds too much")
    if isinstance(value, _Array):
        return value.real()
    if isinstance(value, dict):
        return {key: _finished(item, depth + 1, count) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finished(item, depth + 1, count) for item in value]
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    raise _refuse("it holds something that is no number, text or array")
