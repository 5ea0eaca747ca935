"""What the compiled loops share: points go through them in lanes, so that the compiler can use vector instructions.

A scratch array holds rows of `LANES` numbers, one lane per point, at fixed places; each short loop runs over the
lanes of a few rows. (Two-dimensional arrays hide from the compiler that the rows do not overlap.)
"""

from __future__ import annotations

import numba  # pyright: ignore[reportMissingImports]  the one optional package

LANES = 64  # points at a time: their rows stay in the first-level cache
OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract", "arcp", "reassoc", "nsz"}}
loop = numba.njit(**OPTIONS)
# signatures of the entries: compiled once, for arrays that may be read-only as well as for others
IN = {n: numba.types.Array(numba.float64, n, "C", readonly=True) for n in (1, 2, 3)}
OUT = {n: numba.types.Array(numba.float64, n, "C") for n in (1, 2, 3)}
_COUNTS, _MARKS = numba.types.Array(numba.int64, 1, "C"), numba.types.Array(numba.boolean, 1, "C")
FOUND = (OUT[2], OUT[2], _COUNTS, _COUNTS, OUT[1], _MARKS, _MARKS)  # a `Fit`
PAIR = numba.types.UniTuple(numba.float64, 2)
