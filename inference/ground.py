"""Floor and contacts of a solve: found from the solved feet, and the world put on the floor where the take asks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from .motion.contacts import contact_probabilities
from .motion.floor import floor_plane
from .report.judges import foot_slide
from .take import Take
from .types import Solution, SolveReport
from .world import on_the_floor

_PLANTED = 0.5  # contact probability from which a foot counts as standing


def on_the_ground(take: Take, solution: Solution, report: SolveReport) -> Solution:
    """Estimate the floor and who stands on it when; with ``floor = "auto"`` the world moves so that it is z = 0.

    Convention:
        ``floor = "keep"`` leaves the world as it is and tells the plane; NaN where no foot was seen to rest. Contacts
        are found on the estimated floor, unless the setting is "off". Foot slide over the planted frames, before
        (single frames) and after (solved), goes to the report's facts.

    Args:
        take: says what is wanted.
        solution: without contacts; its floor is kept where it is known already (cameras solved from the person).
        report: takes facts and warnings.

    Returns:
        The solution with floor and contacts, in the world that the take asks for.
    """
    known = bool(np.isfinite(solution.floor).all())
    floor = solution.floor if known else floor_plane(solution.solved, solution.rig)
    solution = replace(solution, floor=floor)
    if take.settings.motion.contacts != "off":
        contact, names = contact_probabilities(solution.solved, floor)
        solution = replace(solution, contact=contact, contact_names=names)
        report.facts["foot_slide_m_s"] = _slides(solution)
    if take.calibration.floor == "auto" and not known:
        if np.isfinite(floor).all():
            return on_the_floor(solution)
        report.warn('floor = "auto": no foot was seen to rest on a floor, so the world stays that of the cameras')
    return solution


def _slides(solution: Solution) -> list[dict[str, Any]]:
    """Per person and contact joint: share of frames planted, and how fast it slides then, m/s."""
    found = []
    for number, name in enumerate(solution.contact_names):
        planted = solution.contact[:, :, number] > _PLANTED
        before, after = (
            foot_slide(joints, name, planted, solution.floor[:3]) for joints in (solution.raw, solution.solved)
        )
        for person in range(planted.shape[1]):
            found.append(
                {
                    "person": person,
                    "joint": name,
                    "planted_share": float(planted[:, person].mean()),
                    "before": float(before[person]),
                    "after": float(after[person]),
                }
            )
    return found
