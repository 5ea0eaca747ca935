"""Feet that stay where they stand: spans of rest are told from slow glides, and hold the foot in one place.

A foot rests over a span if its path there is one place: neither its drift over the span nor its scatter is more than
the path's own error explains. Both are judged by what they add up to over the span, so a slow glide shows where its
speed at any moment would not. The place is unknown; it is the mean of the span, as sure as a span makes it: errors of
a smoothed path last for about its response time, so a span counts as few independent frames.

What a place says enters the joints before they are made rigid (`kinematics.nearest_rigid`), so a leg follows its foot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaincinv

from ..shapes import FloatArray
from ..types import CameraRig, Keypoints3D
from .floor import SLOW, floor_plane, foot_joints

_SHORTEST_S = 0.15  # a rest
_HIGHEST_M = 0.15  # a resting joint higher than this does not stand on the floor
_DRIFT_M = 0.004  # from beginning to end of a span, allowed to a standing foot: soles roll and give
_LEAST_WANDER_M = 0.002  # of a standing joint about its place
_SHARE = 0.99  # of standing feet that the tests let pass
_TRIMS_S = (0.0, 0.08, 0.16)  # taken off a span's ends, least first: landing and lift-off are slow, too
_LEAST_KEPT = 0.6  # share of a slow stretch that must be rest: a glide holds short pieces that look like it
_BLEND_S = 0.1  # over which a correction fades before and after its span
_LOCKED = 1e-8  # share of its covariance that a locked joint keeps when the skeleton is made rigid


@dataclass(frozen=True, eq=False)
class Rest:
    """One joint in one place."""

    joint: int  # number in the skeleton
    frames: slice
    place: FloatArray  # (3,) m
    variance: FloatArray  # (3,) m² of the place per axis, by errors that change in time alone


@dataclass(frozen=True, eq=False)
class PathErrors:
    """Errors of the solved paths that change in time; J joints of the skeleton, NaN where unknown."""

    variance: FloatArray  # (J,) m² per axis
    density: FloatArray  # (J,) m²/s⁵, of the jerk that the paths were allowed

    def response(self, joint: int) -> float:
        """s: the smoother's; its error has the spectrum N / (1 + (ω τ)⁶), whose integral is the variance N / 3τ."""
        noise = (3 * self.variance[joint] / self.density[joint] ** (1 / 6)) ** (6 / 5)
        return float((noise / self.density[joint]) ** (1 / 6))

    def lasting(self, joint: int) -> float:
        """s, for which an error counts once: a mean over L has the variance V · lasting / L."""
        return 3 * self.response(joint)


@dataclass(frozen=True, eq=False)
class Planted:
    """Joints of one person with resting feet at their places."""

    xyz: FloatArray  # (T, J, 3) m
    covariance: FloatArray  # (T, J, 3, 3) m²
    stiff: FloatArray  # (T, J, 3, 3) m², with which the skeleton is to be made rigid
    rests: tuple[Rest, ...]


def plant(joints: Keypoints3D, rig: CameraRig, errors: PathErrors, contacts: str) -> Planted:
    """Find when the feet of one person stand, and bring them to their places.

    Convention:
        unless ``contacts`` is "soft" or "locked" nothing changes. Joints that are not observed stay as they are.

    Args:
        joints: solved joints of one person.
        rig: cameras, for the vertical where the body does not show it.
        errors: of these joints.
        contacts: the setting.

    Returns:
        The joints, and when they rest.
    """
    xyz, covariance = joints.xyz[:, 0], joints.covariance[:, 0]
    rests = find_rests(joints, rig, errors) if contacts in ("soft", "locked") else ()
    if not rests:
        return Planted(xyz, covariance, covariance, ())
    moved = planted(rests, joints.timestamps_s, xyz, covariance, errors, contacts == "locked")
    return Planted(*moved, rests)


def find_rests(joints: Keypoints3D, rig: CameraRig, errors: PathErrors) -> tuple[Rest, ...]:
    """Find when each heel and toe (ankle, where the layout has no feet) of one person stands, and where.

    Convention:
        nothing where no floor shows. A small toe beside a big one is left to the bones. Heights of one joint's places
        are drawn together as far as they do not differ by more than their errors: a flat floor shows itself, stairs
        stay.

    Args:
        joints: solved joints of one person.
        rig: cameras, for the vertical where the body does not show it.
        errors: of these joints.

    Returns:
        Rests, by joint and time.
    """
    if len(joints.timestamps_s) < 3 or not foot_joints(joints):
        return ()
    floor = floor_plane(joints, rig)
    if not np.isfinite(floor).all():
        return ()
    names = foot_joints(joints)
    found = []
    for name in names:
        joint = joints.joint_names.index(name)
        beside = name.endswith("small_toe") and name.replace("small", "big") in names
        if beside or not (errors.variance[joint] > 0 and errors.density[joint] > 0):
            continue
        path = joints.xyz[:, 0, joint]
        rests = []
        for stretch in _slow_stretches(path, joints.timestamps_s, floor, errors, joint):
            rest = _tested(path, joints.timestamps_s, stretch, errors, joint)
            if rest is not None:
                rests.append(rest)
        found += _on_one_height(rests, floor[:3])
    return tuple(found)


def _slow_stretches(
    path: FloatArray, times: FloatArray, floor: FloatArray, errors: PathErrors, joint: int
) -> list[tuple[int, int]]:
    """Frames start … stop - 1 in which a joint is known, low and slow for its noise."""
    response = errors.response(joint)
    noise = 3 * errors.variance[joint] / (2 * response**2)  # of the speed: the same spectrum times ω²
    speed = np.linalg.norm(np.gradient(path, times, axis=0), axis=-1)
    with np.errstate(invalid="ignore"):
        slow = (speed < np.sqrt(SLOW**2 + 4 * noise)) & (path @ floor[:3] + floor[3] < _HIGHEST_M)
    edges = np.flatnonzero(np.diff(np.r_[False, slow, False].astype(int)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2) if times[b - 1] - times[a] >= _SHORTEST_S]


def _tested(
    path: FloatArray, times: FloatArray, stretch: tuple[int, int], errors: PathErrors, joint: int
) -> Rest | None:
    """The longest part of a slow stretch that is one place, its ends taken off as little as need be."""
    start, stop = stretch
    whole = times[stop - 1] - times[start]
    trims = sorted(((a, b) for a in _TRIMS_S for b in _TRIMS_S), key=lambda pair: (sum(pair), pair))
    for before, after in trims:
        low = int(np.searchsorted(times, times[start] + (before if start else 0.0) - 1e-9))
        high = int(np.searchsorted(times, times[stop - 1] - (after if stop < len(times) else 0.0) + 1e-9))
        if high - low < 3 or times[high - 1] - times[low] < max(_SHORTEST_S, _LEAST_KEPT * whole):
            continue
        span = slice(low, high)
        if _is_one_place(path[span], times[span], errors, joint):
            share = min(1.0, errors.lasting(joint) / (times[high - 1] - times[low]))
            return Rest(joint, span, path[span].mean(axis=0), np.full(3, errors.variance[joint] * share))
    return None


def _is_one_place(path: FloatArray, times: FloatArray, errors: PathErrors, joint: int) -> bool:
    """Whether neither drift nor scatter is more than the path's error and a sole's give."""
    variance, length = errors.variance[joint], times[-1] - times[0]
    share = min(1.0, errors.lasting(joint) / length)
    time = (times - times.mean()) / length
    drift = time @ path / (time @ time)  # over the whole span; its variance is 12 times that of the mean
    allowed = 12 * variance * share * (1 - share) + 2 * variance * share + _DRIFT_M**2
    if drift @ drift > allowed * _chi2(3):
        return False
    independent = max(1.0, 1 / share)
    scatter = ((path - path.mean(axis=0)) ** 2).sum(axis=-1).mean()
    return bool(scatter <= (variance + _DRIFT_M**2) * _chi2(3 * independent) / independent)


def _chi2(freedom: float) -> float:
    """What chi squared stays below in `_SHARE` of the cases; importing scipy.stats for it takes half a second."""
    return float(2 * gammaincinv(freedom / 2, _SHARE))


def _on_one_height(rests: list[Rest], up: FloatArray) -> list[Rest]:
    """Draw one joint's heights together: the mean of their posterior, its spread taken from the heights themselves."""
    if len(rests) < 3:
        return rests
    height = np.array([rest.place @ up for rest in rests])
    variance = np.array([rest.variance[0] for rest in rests])
    middle = float(np.median(height))
    spread = max(0.0, float(np.median(np.abs(height - middle)) * 1.4826) ** 2 - float(np.median(variance)))
    result = []
    for rest, own, error in zip(rests, height, variance, strict=True):
        near = abs(own - middle) < 3 * np.sqrt(error + spread)
        share = error / (error + spread + error / len(rests)) if near else 0.0
        place = rest.place + share * (middle - own) * up
        result.append(Rest(rest.joint, rest.frames, place, rest.variance))
    return result


def wander(
    rests: Sequence[Rest],
    xyz: FloatArray,  # (T, J, 3) m
    errors: PathErrors,
) -> float:
    """Measure how far standing joints stray from their places beyond the error of their paths: m, sigma per axis."""
    beyond = []
    for rest in rests:
        off = xyz[rest.frames, rest.joint] - xyz[rest.frames, rest.joint].mean(axis=0)
        beyond.append(float((off**2).mean()) - (errors.variance[rest.joint] - float(rest.variance[0])))
    return float(np.sqrt(max(_LEAST_WANDER_M**2, float(np.median(beyond)) if beyond else 0.0)))


def planted(
    rests: Sequence[Rest],
    times: FloatArray,  # (T,) s
    xyz: FloatArray,  # (T, J, 3) m
    covariance: FloatArray,  # (T, J, 3, 3) m²
    errors: PathErrors,
    locked: bool,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Bring resting joints to their places: as far as their own error reaches, or exactly.

    A joint at rest is its place plus a wander of measured size; its path is that plus an error. The mean of what it is
    then lies between path and place. Before and after the span the correction of its edge fades.

    Convention:
        covariances shrink by what the place adds about errors that change in time; others (cameras, standing errors)
        stay.

    Returns:
        Joints, their covariance, and the covariance with which the skeleton is to be made rigid.
    """
    result, known = xyz.copy(), covariance.copy()
    stiff = covariance.copy()
    stray = wander(rests, xyz, errors) ** 2
    for rest in rests:
        joint, span = rest.joint, rest.frames
        changing = max(errors.variance[joint] - float(rest.variance[0]), 1e-12)  # of the path about its own mean
        kept = 0.0 if locked else stray / (stray + changing)
        correction = (1 - kept) * (rest.place - xyz[span, joint])
        fade = _fading(times, span)
        outside = fade[:, None] * np.where((times < times[span.start])[:, None], correction[0], correction[-1])
        outside[span] = correction
        result[:, joint] += outside
        shrunk = (float(rest.variance[0]) + stray / (stray + changing) * changing) / errors.variance[joint]
        total = np.trace(covariance[:, joint], axis1=-2, axis2=-1) / 3
        with np.errstate(invalid="ignore"):
            share = np.minimum(1.0, errors.variance[joint] / total) * (1 - min(shrunk, 1.0)) * fade
        known[:, joint] *= (1 - share)[:, None, None]
        stiffness = fade * (1 - _LOCKED) if locked else share
        stiff[:, joint] *= (1 - stiffness)[:, None, None]
    return result, known, stiff


def _fading(times: FloatArray, span: slice) -> FloatArray:
    """(T,) 1 within the span, to 0 over the blend on both sides, with level ends."""
    far = np.maximum(times[span.start] - times, times - times[span.stop - 1])
    part = np.clip(1 - far / _BLEND_S, 0.0, 1.0)
    return part * part * (3 - 2 * part)


def slides(
    rests: Sequence[Rest],
    names: Sequence[str],
    times: FloatArray,  # (T,) s
    before: FloatArray,  # (T, J, 3) m
    after: FloatArray,  # (T, J, 3) m
) -> list[dict[str, float | str | int]]:
    """Tell how fast resting joints slide within their spans, before and after planting: m/s, and seconds of rest."""
    told: list[dict[str, float | str | int]] = []
    for joint in sorted({rest.joint for rest in rests}):
        spans = [rest.frames for rest in rests if rest.joint == joint]
        seconds = sum(float(times[s.stop - 1] - times[s.start]) for s in spans)
        ways = [
            sum(float(np.linalg.norm(np.diff(path[s, joint], axis=0), axis=-1).sum()) for s in spans)
            for path in (before, after)
        ]
        told.append(
            {
                "joint": names[joint],
                "spans": len(spans),
                "seconds": seconds,
                "before": ways[0] / seconds,
                "after": ways[1] / seconds,
            }
        )
    return told
