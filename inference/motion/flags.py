"""What stands behind every joint of the whole-sequence estimate: its flag, and the reason where it is not observed."""

from __future__ import annotations

import numpy as np

from ..shapes import BoolArray, FloatArray, IntArray
from ..types import Flag, Reason


def solved_flags(
    single: tuple[IntArray, IntArray],  # (T, J) flags and reasons of single frames, detector's joints
    views: IntArray,  # (T, J) how many views show the joint
    sources: FloatArray,  # (S, J) what the skeleton's joints are made of; zero rows: never triangulated
    sure: BoolArray,  # (T, S) sigma below the limit
    rigid: BoolArray,  # (T, S) near its place on the rigid skeleton
) -> tuple[IntArray, IntArray]:
    """Flags and reasons of the skeleton's joints.

    Convention:
        OBSERVED where all sources are in this frame; WEAK where an estimate stands beside weak, rejected or missing
        single frames; REJECTED where views contradict each other, or the skeleton does, and nothing stands;
        UNOBSERVED otherwise. A derived joint takes the worse of its sources.

    Returns:
        (T, S) values of `Flag` and (T, S) of `Reason`.
    """
    flag, reason = single
    uses = sources > 0
    worst = np.where(uses, flag[:, None], Flag.OBSERVED + 1).argmin(axis=-1)  # (T, S) number of the source
    known = uses.any(axis=1)
    frames = np.arange(len(flag))[:, None]
    best = np.where(known, flag[frames, worst], Flag.UNOBSERVED)
    why = np.where(known, reason[frames, worst], Reason.NEVER_TRIANGULATED)
    carried = np.where(views[frames, worst] == 1, Reason.ONE_VIEW, Reason.BRIDGED)
    stands = sure & rigid & known
    standing = np.where(best == Flag.OBSERVED, Flag.OBSERVED, Flag.WEAK)
    flags = np.where(stands, standing, np.where(best == Flag.REJECTED, Flag.REJECTED, Flag.UNOBSERVED))
    beside = np.where(best >= Flag.WEAK, why, carried)
    fallen = np.where(best == Flag.REJECTED, why, Reason.TOO_UNSURE)
    reasons = np.where(stands, beside, np.where(known, fallen, Reason.NEVER_TRIANGULATED))
    bent = sure & ~rigid & known
    flags, reasons = np.where(bent, Flag.REJECTED, flags), np.where(bent, Reason.NOT_RIGID, reasons)
    return flags.astype(np.int8), reasons.astype(np.int8)
