"""Settings of a solve: one frozen dataclass per stage, and the one place where defaults stand.

In ``take.toml`` all of them are flat keys of ``[solve]``; on the command line ``--set key=value``.
"""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import InputError


@dataclass(frozen=True)
class DetectionSettings:
    """How people and their keypoints are found in the pictures."""

    detector: str = "blazepose"  # name of a model card
    provider: str = "auto"  # auto | cpu | cuda | … ; anything but auto must really be used, or it is an error
    max_people: int = 6  # people followed per view
    min_person_score: float = 0.5
    redetect_every: int = 30  # frames between looks for new people


@dataclass(frozen=True)
class AssociationSettings:
    """How the same person is recognised in different views."""

    max_ray_error_px: float = 40.0  # median reprojection error above which two tracks are not one person


@dataclass(frozen=True)
class TriangulationSettings:
    """How a joint is estimated in one frame."""

    degrees_of_freedom: float = 5.0  # of the Student t of keypoint errors
    min_score: float = 0.1
    reject_sigma: float = 8.0  # a keypoint farther from the consensus, in its own sigmas, is rejected
    max_sigma_m: float = 0.3  # a joint less sure than this is unobserved


@dataclass(frozen=True)
class MotionSettings:
    """How the whole sequence becomes one motion."""

    smoothness: float = 1.0  # 1 = fitted to the take; larger is smoother
    bone_sigma_m: float = 0.0005  # how much a bone may change its length before the skeleton is made rigid
    max_sigma_m: float = 0.3  # a bridged joint less sure than this is unobserved


@dataclass(frozen=True)
class SolveSettings:
    """All stages."""

    detection: DetectionSettings = field(default_factory=DetectionSettings)
    association: AssociationSettings = field(default_factory=AssociationSettings)
    triangulation: TriangulationSettings = field(default_factory=TriangulationSettings)
    motion: MotionSettings = field(default_factory=MotionSettings)


def nearest_key(key: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the nearest known key, or the list of known keys."""
    known = sorted(known)
    close = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"
