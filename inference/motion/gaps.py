"""Where a solved motion rests on little: spans of weak, rejected, bridged or missing joints, worst first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..types import Flag, Keypoints3D, Reason
from .foot_lock import runs

_UNKNOWN_SIGMA_M = np.inf  # a joint that is not there at all is as unsure as can be


@dataclass(frozen=True)
class Gap:
    """One joint's frames without good evidence."""

    person: int
    joint: str
    start: int  # index of the first frame
    stop: int  # index of the frame after the last
    kind: str  # missing | bridged | rejected | weak
    reason: Reason  # the most frequent one
    sigma_m: float  # largest of the frames; infinite where nothing stands
    worst: int  # index of the frame with it


def gaps(joints: Keypoints3D, order: str = "length") -> list[Gap]:
    """List the spans in which a joint is not simply observed.

    Convention:
        a span ends where its kind changes. Sigma is that of the largest axis of the covariance.

    Args:
        joints: solved joints with flags and reasons.
        order: ``length`` (longest first, then the most unsure) or ``uncertainty`` (most unsure first).

    Returns:
        One entry per person, joint and span.

    Raises:
        ValueError: another order.
    """
    if order not in ("length", "uncertainty"):
        raise ValueError(f"gaps are ordered by length or uncertainty, not by {order!r}")
    observed = joints.observed
    sigma = np.full(observed.shape, _UNKNOWN_SIGMA_M)
    sigma[observed] = np.sqrt(np.maximum(np.linalg.eigvalsh(joints.covariance[observed])[:, -1], 0.0))
    bridged = joints.reason == Reason.BRIDGED
    kinds = {
        "missing": ~observed | (joints.flag == Flag.UNOBSERVED),
        "bridged": observed & (joints.flag == Flag.WEAK) & bridged,
        "rejected": observed & (joints.flag == Flag.REJECTED),
        "weak": observed & (joints.flag == Flag.WEAK) & ~bridged,
    }
    found = [
        _gap(joints, sigma, person, column, (start, stop), kind)
        for kind, where in kinds.items()
        for person in range(observed.shape[1])
        for column in range(observed.shape[2])
        for start, stop in runs(where[:, person, column])
    ]
    first = (lambda gap: (gap.start - gap.stop, -gap.sigma_m)) if order == "length" else _most_unsure
    return sorted(found, key=first)


def _most_unsure(gap: Gap) -> tuple[float, int]:
    return -gap.sigma_m, gap.start - gap.stop


def _gap(joints: Keypoints3D, sigma: np.ndarray, person: int, column: int, span: tuple[int, int], kind: str) -> Gap:
    part = np.s_[span[0] : span[1], person, column]
    reason = Reason(int(np.bincount(joints.reason[part]).argmax()))
    worst = int(sigma[part].argmax())
    return Gap(person, joints.joint_names[column], *span, kind, reason, float(sigma[part][worst]), span[0] + worst)
