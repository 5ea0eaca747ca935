"""Floor and contacts of a solve: found from the solved feet, and the world put on the floor where the take asks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from .motion.contacts import contact_probabilities
from .motion.floor import floor_plane, foot_joints, standing_height
from .report.judges import foot_slide
from .take import Take
from .types import Keypoints3D, Solution, SolveReport
from .world import on_the_floor

_LOWEST = 0.1  # share of the feet's places that counts as standing on the floor
_FLOOR_OFF_M = 0.15  # from where the lowest feet stand: more than errors of solved feet and thick soles
_PLANTED = 0.5  # contact probability from which a foot counts as standing


def on_the_ground(take: Take, solution: Solution, report: SolveReport) -> Solution:
    """Estimate the floor and who stands on it when; with ``floor = "auto"`` the world moves so that it is z = 0.

    Convention:
        ``floor = "keep"`` leaves the world as it is and tells the plane; NaN where no foot was seen to rest.
        ``floor = "zero"`` states it, z = 0 of the world as it is; where several views place the feet elsewhere, that is
        a warning. Contacts are found on the floor, unless the setting is "off". Foot slide over the planted frames,
        before (single frames) and after (solved), goes to the report's facts.

    Args:
        take: says what is wanted.
        solution: without contacts; its floor is kept where it is known (stated, or cameras solved from the person).
        report: takes facts and warnings.

    Returns:
        The solution with floor and contacts, in the world that the take asks for.
    """
    known = bool(np.isfinite(solution.floor).all())
    floor = solution.floor if known else floor_plane(solution.solved, solution.rig)
    solution = replace(solution, floor=floor)
    if take.calibration.floor == "zero" and len(solution.rig.cameras) > 1:  # one view has its scale from the floor
        _compare_stated_floor(solution.solved, report)
    if take.settings.motion.contacts != "off":
        contact, names = contact_probabilities(solution.solved, floor)
        solution = replace(solution, contact=contact, contact_names=names)
        report.facts["foot_slide_m_s"] = _slides(solution)
    if take.calibration.floor == "auto" and not known:
        if np.isfinite(floor).all():
            return on_the_floor(solution)
        report.warn('floor = "auto": no foot was seen to rest on a floor, so the world stays that of the cameras')
    return solution


def _compare_stated_floor(joints: Keypoints3D, report: SolveReport) -> None:
    """Warn where the feet stand elsewhere than on z = 0."""
    names = foot_joints(joints)
    soles = joints.xyz[:, :, [joints.joint_names.index(name) for name in names], 2]
    soles = soles - np.array([standing_height(name) for name in names])
    soles = soles[np.isfinite(soles)]
    if not len(soles):
        return
    lowest = float(np.quantile(soles, _LOWEST))
    if abs(lowest) > _FLOOR_OFF_M:
        report.warn(
            f'floor = "zero": the lowest feet stand {abs(lowest):.2f} m {"above" if lowest > 0 else "below"} z = 0, so '
            'it is not their floor; check the origin and the units of the calibration, or write floor = "auto"'
        )


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
