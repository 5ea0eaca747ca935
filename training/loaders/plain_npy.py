"""``.npy`` files that hold a pickled dict of arrays, read without letting the file name anything but NumPy's arrays."""

from __future__ import annotations

import pickle  # noqa: TID251 - its unpickler, which lets a file name nothing but arrays
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from inference.errors import InputError

_ALLOWED = {  # what an array of numbers, or of named columns of numbers, is made of
    (module, name)
    for module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
    for name in ("_reconstruct", "ndarray", "dtype")
} | {("_codecs", "encode")}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it names {module_name}.{global_name}, which arrays do not need")
        return super().find_class(module_name, global_name)


def read_plain_npy(path: Path) -> Any:
    """Return the one object of an object array: dicts, lists, texts, numbers and arrays.

    Raises:
        InputError: it is no such file, is broken, or names anything else; the message says what.
    """
    try:
        with path.open("rb") as file:
            version = npy_format.read_magic(file)
            shape, _, dtype = npy_format._read_array_header(file, version)  # type: ignore[attr-defined]
            if shape != () or dtype != np.dtype(object):
                raise InputError(f"{path} holds an array {shape} of {dtype}, not a dict of labels")
            return _Unpickler(file).load().item()
    except (OSError, EOFError, ValueError, TypeError, AttributeError, LookupError, pickle.UnpicklingError) as error:
        raise InputError(f"{path} cannot be read: {' '.join(str(error).split())[:200]}") from error
