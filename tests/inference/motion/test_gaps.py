"""Every span without good evidence is listed, the worst first."""

import numpy as np
import pytest

from inference.motion.gaps import gaps
from inference.types import Flag, Keypoints3D, Reason


def _joints() -> Keypoints3D:
    xyz, covariance = np.zeros((20, 1, 3, 3)), np.tile(0.01**2 * np.eye(3), (20, 1, 3, 1, 1))
    flag, reason = np.full((20, 1, 3), Flag.OBSERVED), np.zeros((20, 1, 3))
    flag[2:6, 0, 0], reason[2:6, 0, 0] = Flag.WEAK, Reason.BRIDGED
    covariance[4, 0, 0] = 0.2**2 * np.eye(3)
    flag[6:8, 0, 0], reason[6:8, 0, 0] = Flag.WEAK, Reason.TWO_VIEWS
    flag[10:17, 0, 1], reason[10:17, 0, 1] = Flag.REJECTED, Reason.AMBIGUOUS
    xyz[18:, 0, 2], covariance[18:, 0, 2], flag[18:, 0, 2] = np.nan, np.nan, Flag.UNOBSERVED
    return Keypoints3D(("a", "b", "c"), np.arange(20) / 30, xyz, covariance, flag, reason=reason)


def test_spans_are_told_apart_and_sorted_by_length():
    found = [(gap.joint, gap.start, gap.stop, gap.kind, gap.reason) for gap in gaps(_joints())]
    assert found == [
        ("b", 10, 17, "rejected", Reason.AMBIGUOUS),
        ("a", 2, 6, "bridged", Reason.BRIDGED),
        ("c", 18, 20, "missing", Reason.NONE),
        ("a", 6, 8, "weak", Reason.TWO_VIEWS),
    ]


def test_the_most_unsure_come_first_with_their_worst_frame():
    found = gaps(_joints(), "uncertainty")
    assert [gap.joint for gap in found] == ["c", "a", "b", "a"]
    assert found[1].worst == 4
    assert found[1].sigma_m == pytest.approx(0.2)
    assert np.isinf(found[0].sigma_m)


def test_an_order_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="colour"):
        gaps(_joints(), "colour")
