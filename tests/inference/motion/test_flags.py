"""Flags and reasons of the whole-sequence estimate, one case each by name."""

import numpy as np
import pytest

from inference.motion.flags import solved_flags
from inference.types import Flag, Reason

LEFT, RIGHT, MIDDLE, NEVER = range(4)  # the skeleton's joints: two of the detector's, one between them, one never seen
SOURCES = np.array([[1.0, 0], [0, 1], [0.5, 0.5], [0, 0]])
SEEN = (Flag.OBSERVED, Reason.NONE)


def told(
    left: tuple[Flag, Reason], views: int = 4, sure: bool = True, rigid: bool = True, joint: int = LEFT
) -> tuple[Flag, Reason]:
    single = np.array([[left, SEEN]])
    flags, reasons = solved_flags(
        (single[..., 0], single[..., 1]),
        np.array([[views, 4]]),
        SOURCES,
        np.array([[sure, True, sure, True]]),
        np.array([[rigid, True, rigid, True]]),
    )
    return Flag(flags[0, joint]), Reason(reasons[0, joint])


@pytest.mark.parametrize(
    ("single", "changes", "expected"),
    [
        (SEEN, {}, SEEN),
        ((Flag.WEAK, Reason.TWO_VIEWS), {}, (Flag.WEAK, Reason.TWO_VIEWS)),
        ((Flag.REJECTED, Reason.AMBIGUOUS), {}, (Flag.WEAK, Reason.BRIDGED)),
        ((Flag.UNOBSERVED, Reason.TOO_FEW_VIEWS), {"views": 0}, (Flag.WEAK, Reason.BRIDGED)),
        ((Flag.UNOBSERVED, Reason.TOO_FEW_VIEWS), {"views": 1}, (Flag.WEAK, Reason.ONE_VIEW)),
        ((Flag.UNOBSERVED, Reason.TOO_FEW_VIEWS), {"sure": False}, (Flag.UNOBSERVED, Reason.TOO_UNSURE)),
        ((Flag.REJECTED, Reason.AMBIGUOUS), {"sure": False}, (Flag.REJECTED, Reason.AMBIGUOUS)),
        (SEEN, {"rigid": False}, (Flag.REJECTED, Reason.NOT_RIGID)),
        (SEEN, {"joint": NEVER}, (Flag.UNOBSERVED, Reason.NEVER_TRIANGULATED)),
        ((Flag.WEAK, Reason.TWO_VIEWS), {"joint": MIDDLE}, (Flag.WEAK, Reason.TWO_VIEWS)),
        ((Flag.UNOBSERVED, Reason.TOO_FEW_VIEWS), {"joint": RIGHT}, SEEN),
    ],
)
def test_each_case(single: tuple[Flag, Reason], changes: dict, expected: tuple[Flag, Reason]) -> None:
    assert told(single, **changes) == expected
