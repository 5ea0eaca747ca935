"""Whether the compiled loops are used: where numba is installed and the take is long enough to be worth it."""

from __future__ import annotations

from functools import cache
from types import ModuleType

_WORTH = 100_000  # keypoints; importing numba takes longer than NumPy takes for fewer


@cache
def compiled_loops() -> ModuleType | None:
    """Return the module of the compiled loops, None where numba is not installed or does not fit this Python."""
    try:
        from . import compiled  # here: numba is not needed, and importing it takes time
    except ImportError:
        return None
    return compiled


def loops_for(keypoints: int, compiled: bool | None = None) -> ModuleType | None:
    """Return the compiled loops if they shall be used, else None.

    Args:
        keypoints: how many there are in all views.
        compiled: True or False as wished; None: where it is worth it.

    Returns:
        The module, or None for NumPy. Answers do not depend on it beyond rounding.
    """
    if compiled is None:
        compiled = keypoints >= _WORTH
    return compiled_loops() if compiled else None
