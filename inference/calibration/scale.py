"""Metres for cameras solved from a person: a measured distance of cameras, a measured bone, or the stature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..files.camera_table import Distance
from ..shapes import FloatArray
from .gauge import TYPICAL_HEIGHT_M, stature

_FEWEST_LENGTHS = 5


@dataclass(frozen=True)
class KnownLengths:
    """What the user measured."""

    cameras: Distance | None = None  # between two views
    bone: Distance | None = None  # between two joints of the first person
    focal_sigma: float = 0.0  # share by which the given focal lengths may be off; 0: they are exact


@dataclass(frozen=True)
class Scale:
    """Metres per unit, what that was taken from, and what is to be told about it."""

    factor: float
    source: str
    warning: str = ""


def metric_scale(
    points: FloatArray,  # (F, J, 3)
    joint_names: Sequence[str],
    centres: dict[str, FloatArray],  # (3,) each
    height_m: float | None,
    known: KnownLengths,
) -> Scale:
    """Take the scale from the surest thing that is known.

    Convention:
        a distance of cameras comes before a bone, a bone before the stature; nothing known: a typical stature, said.
        The median length of a bone counts, as detections of its ends stray.

    Args:
        points: joints in an arbitrary unit, NaN where missing.
        joint_names: their names.
        centres: places of the cameras in that unit, by view.
        height_m: stature of the person.
        known: measured lengths.

    Returns:
        The scale.

    Raises:
        InputError: a name is unknown, or the bone is not seen.
        DegenerateError: the stature counts, and no limb is seen.
    """
    if known.cameras is not None:
        pair = known.cameras.first, known.cameras.second
        for name in pair:
            if name not in centres:
                raise InputError(f"[calibration]: distance_between names {name!r}; the views are {', '.join(centres)}")
        apart = float(np.linalg.norm(centres[pair[0]] - centres[pair[1]]))
        return Scale(known.cameras.metres / apart, f"the measured distance of {pair[0]} and {pair[1]}")
    if known.bone is not None:
        length = _bone_length(points, joint_names, known.bone)
        return Scale(known.bone.metres / length, f"the measured bone {known.bone.first}-{known.bone.second}")
    if height_m is not None:
        return Scale(height_m / stature(points, joint_names), "height_m")
    warning = (
        f"[take] height_m is not given: the scale of the cameras assumes a person of {TYPICAL_HEIGHT_M:.2f} m, so all "
        "lengths may be a tenth off; give height_m, or a measured bone or camera distance under [calibration]"
    )
    source = f"an assumed height of {TYPICAL_HEIGHT_M:.2f} m"
    return Scale(TYPICAL_HEIGHT_M / stature(points, joint_names), source, warning)


def _bone_length(points: FloatArray, joint_names: Sequence[str], bone: Distance) -> float:
    where = {name: index for index, name in enumerate(joint_names)}
    for name in (bone.first, bone.second):
        if name not in where:
            raise InputError(f"[calibration]: bone names {name!r}; the joints used are {', '.join(joint_names)}")
    lengths = np.linalg.norm(points[:, where[bone.first]] - points[:, where[bone.second]], axis=-1)
    lengths = lengths[np.isfinite(lengths)]
    if len(lengths) < _FEWEST_LENGTHS:
        raise InputError(
            f"[calibration]: bone {bone.first}-{bone.second} is seen whole by two views in {len(lengths)} frames only, "
            "too few for a scale; name another bone, or give height_m"
        )
    return float(np.median(lengths))
