"""Pins that can be true where one view alone sees the person: a single one that cannot carries the whole take away.

A body sampled from what the view shows says roughly where each joint is; a pin far beside its ray, or one that would
make a giant or a dwarf of the person, is left out and told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .config import HypothesisSettings
from .corrections import PIN, Correction, corrected, frames_of
from .errors import ModelError
from .geometry.camera_path import centres_at
from .geometry.reprojection import rays_from_keypoints
from .hypotheses import LEAST_JOINTS, Sampled, Seen, joints_of_flow, sample_bodies, seen_by_views
from .perception.pose_flow import load_flow
from .shapes import FloatArray
from .stature import BodySize, by_pins, statures
from .types import CameraRig, Keypoints2D, SolveReport

_BESIDE_M = 1.0  # from the samples' mean to the pin's ray
_LEAST_M, _MOST_M = 1.0, 2.3  # how tall people are
_OF_STATED = 0.3  # share by which a stated height widens them
_SAMPLES = 64


def believed_corrections(
    rig: CameraRig,
    views: Sequence[Keypoints2D],
    corrections: Sequence[Correction],
    settings: tuple[float, HypothesisSettings],
    height_m: float | None,
    report: SolveReport,
) -> tuple[Correction, ...]:
    """Leave out pins that cannot be true where there is one view; several views judge them by themselves.

    Convention:
        a pin is judged by bodies sampled in its frame without any pin. Left out are a pin whose ray passes 1 m beside
        the mean of its joint (of all joints, where the flow lacks it), one that makes the body less than 1 m or more
        than 2.3 m tall by more than its sigma, and one in a frame that shows too little of a body to judge it.

    Args:
        rig: the camera.
        views: its keypoints, before corrections.
        corrections: of the take.
        settings: ``min_score`` of the motion, and how hypotheses are drawn.
        height_m: stated by the take.
        report: takes a warning for what is left out, and one for what holds nothing in depth.

    Returns:
        The corrections to use.

    Raises:
        InputError: as `corrected`.
    """
    pins = [each for each in corrections if each.kind == PIN]
    min_score, hypothesis = settings
    if len(views) != 1 or not pins or hypothesis.hypotheses == "off":
        return tuple(corrections)
    corrected(rig, views, pins)  # what is not there at all is refused first
    try:
        flow = load_flow(hypothesis.flow)
    except ModelError:  # the solve needs it and says so
        return tuple(corrections)
    (view,) = corrected(rig, views, [each for each in corrections if each.kind != PIN])
    own, theirs = joints_of_flow(flow.joint_names, view.joint_names)
    if len(own) < LEAST_JOINTS:
        return tuple(corrections)
    cells = [(int(frames_of(pin, views).argmax()), pin.person - 1) for pin in pins]
    seen = _seen(rig, view, cells, min_score, flow.joint_names)
    drawn = sample_bodies(flow, seen, _SAMPLES, BodySize(height_m if view.xy.shape[1] == 1 else None), 0)
    tall = statures(drawn.bodies, flow.joint_names)
    centres = centres_at(rig.cameras[0], view.timestamps_s[[frame for frame, _ in cells]])
    judged = _Judged(centres, drawn, tall, height_m)
    joints = {view.joint_names[j]: int(i) for i, j in zip(own, theirs, strict=True)}
    doubts = {pin: judged.doubt(number, pin, joints.get(pin.joint or "")) for number, pin in enumerate(pins)}
    wrong = [f"{_words(pin)} ({doubt})" for pin, doubt in doubts.items() if doubt]
    if wrong:
        report.warn(
            f"view {view.view}: left out, for one view alone cannot outvote a wrong pin: {_list(wrong)}; pin the joint "
            "again where it is seen, or remove the pin"
        )
    flat = [_words(pin) for pin, doubt in doubts.items() if not doubt and pin.joint not in joints]
    if flat:
        report.warn(
            f"view {view.view}: sampled bodies lack the joint, so these pins hold it in the picture alone, not in "
            f"depth: {_list(flat)}; pin one beside it that they have (wrist, nose, ankle, hip)"
        )
    return tuple(each for each in corrections if not doubts.get(each))


def _seen(
    rig: CameraRig,
    view: Keypoints2D,
    cells: Sequence[tuple[int, int]],  # frame and person of each pin
    min_score: float,
    flow_names: tuple[str, ...],
) -> Seen:
    frames, persons = np.array(cells).T
    parts = {name: getattr(view, name)[frames, persons][:, None] for name in ("xy", "covariance", "score")}
    part = replace(view, timestamps_s=view.timestamps_s[frames], **parts)
    rays = rays_from_keypoints(rig, (part,), min_score)
    return seen_by_views(rays, len(cells), view.joint_names, flow_names)


class _Judged:
    """Bodies sampled in the frames of pins."""

    def __init__(self, centres: FloatArray, drawn: Sampled, tall: FloatArray, height_m: float | None) -> None:
        self.centres, self.drawn, self.tall = centres, drawn, tall  # (N, 3) m of the camera at each pin
        self.least_m, self.most_m = _LEAST_M, _MOST_M
        if height_m:
            self.least_m = min(_LEAST_M, (1 - _OF_STATED) * height_m)
            self.most_m = max(_MOST_M, (1 + _OF_STATED) * height_m)

    def doubt(self, number: int, pin: Correction, joint: int | None) -> str:
        """Why a pin cannot be true, in a few words; nothing where it can."""
        mean = self.drawn.mean[number]
        if not np.isfinite(mean).all():
            return f"the view shows fewer than {LEAST_JOINTS} joints in this frame"
        camera = self.centres[number]
        away = np.array(pin.place) - camera
        ray = away / np.linalg.norm(away)
        near = mean if joint is None else mean[joint]
        beside = float(np.linalg.norm(np.cross(near - camera, ray), axis=-1).min())
        if beside > _BESIDE_M:
            return f"{beside:.1f} m beside what the view shows"
        if joint is None:
            return ""
        pins, sigma = np.full((1, len(mean), 3), np.nan), np.full((1, len(mean)), np.nan)
        pins[0, joint], sigma[0, joint] = pin.place, pin.sigma_m
        row = slice(number, number + 1)
        found = by_pins(self.drawn.bodies[row].astype(float), self.tall[row], camera[None], pins, sigma)
        if found is None:
            return ""
        low, high = (found.height_m * np.exp(sign * found.sigma) for sign in (-1, 1))
        if low <= self.most_m and high >= self.least_m:
            return ""
        return f"so far away the person would be {found.height_m:.1f} m tall"


def _words(pin: Correction) -> str:
    return f"pin of person {pin.person}'s {pin.joint} at {pin.start_s:g} s"


def _list(words: Sequence[str]) -> str:
    more = len(words) - 5
    return ", ".join(words[:5]) + (f" and {more} more" if more > 0 else "")
