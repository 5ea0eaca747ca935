"""Judges of real takes, where nobody knows the truth: bones, shaking, lag, sliding feet, views left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from inference.config import TriangulationSettings
from inference.report import judges
from inference.shapes import FloatArray
from inference.types import CameraRig, Keypoints2D, Keypoints3D
from tools.benchmarks.measures import LIMBS, joints_in_order, layer_of
from tools.benchmarks.peers import BUTTERWORTH, PeerResult
from tools.benchmarks.rows import Row, Target

_FURTHEST = 6  # frames, of the lag that is looked for
_UP = np.array([0.0, 0.0, 1.0])
_FEET = ("left_heel", "right_heel", "left_big_toe", "right_big_toe", "left_ankle", "right_ankle")


def peer_layers(results: Mapping[str, PeerResult | None], like: Keypoints2D) -> dict[str, Keypoints3D]:
    """Wrap what the peers made of a take's first person, by name; those without a result are left out."""
    return {
        name: layer_of(one.xyz, like.joint_names, like.timestamps_s)
        for name, one in results.items()
        if one is not None and np.isfinite(one.xyz).any()
    }


def rows(
    group: str, raw: Keypoints3D, solved: Keypoints3D, others: Mapping[str, Keypoints3D], feet: bool = True
) -> Iterator[Row]:
    """Compare layers of one person by bones, shaking, lag and feet.

    Args:
        group: name of the rows' group.
        raw: our single frames.
        solved: our whole sequence.
        others: the peers' layers and plain baselines.
        feet: whether the take's floor is level and its feet are seen.
    """
    layers = {"raw": raw, "solved": solved, **others}
    spread = {name: limb_spread_mm(layer) for name, layer in layers.items()}
    bones = "limb length spread, mean of 10 bones"
    beside = {name: value for name, value in spread.items() if name != "solved"}
    aims = (Target(1.0, BUTTERWORTH),) if BUTTERWORTH in others else ()
    note = "standard deviation over the frames; the solved skeleton is rigid by construction, so raw stands beside it"
    yield Row(group, f"{bones} (solved)", "mm", spread["solved"], beside, note=note, targets=aims)
    shaking = {name: median_acceleration(layer) for name, layer in layers.items()}
    theirs = {name: value for name, value in shaking.items() if name != "solved"}
    yield Row(group, "median acceleration of the limbs (solved)", "m/s²", shaking["solved"], theirs, targets=aims)
    lags = {name: lag_frames(layer, raw) for name, layer in layers.items() if name != "raw"}
    late: dict[str, float | str] = {name: abs(value) for name, value in lags.items() if name != "solved"}
    note = "of the velocities' cross-correlation with the raw joints"
    yield Row(group, "lag (solved)", "frames", abs(lags["solved"]), late, note=note, targets=(Target(0.5),))
    if feet:
        yield from _feet_row(group, layers)


def left_out_row(group: str, rig: CameraRig, views: Sequence[Keypoints2D], settings: TriangulationSettings) -> Row:
    """How well each view is foretold by the others."""
    found = judges.spread(judges.leave_one_out_errors(rig, views, settings))
    note = f"95 %: {found.p95:.1f} px; {found.count} keypoints; each view against joints from the other views alone"
    return Row(group, "leave-one-camera-out reprojection, median (raw)", "px", found.median, note=note)


def limb_spread_mm(layer: Keypoints3D) -> float:
    """Mean standard deviation of the limbs' lengths, mm."""
    return float(1000 * np.nanmean(judges.bone_spread(judges.bone_lengths(layer, LIMBS))))


def median_acceleration(layer: Keypoints3D) -> float:
    """Median over frames and joints of the limbs, m/s²."""
    return float(np.nanmedian(judges.accelerations(_limbs(layer))))


def lag_frames(layer: Keypoints3D, raw: Keypoints3D) -> float:
    """By how many frames the layer's motion comes after that of the raw joints, from cross-correlated velocities.

    Convention:
        positive: late. The peak is a parabola's through the best whole shift and its neighbours.
    """
    ours, theirs = (np.diff(_limbs(one).xyz, axis=0) for one in (layer, raw))
    theirs = np.where(np.linalg.norm(theirs, axis=-1, keepdims=True) < 0.2, theirs, np.nan)  # no jump of an outlier
    scores = np.array([_correlation(ours, theirs, shift) for shift in range(-_FURTHEST, _FURTHEST + 1)])
    best = int(np.clip(np.nanargmax(scores), 1, len(scores) - 2))
    before, top, after = scores[best - 1 : best + 2]
    return best - _FURTHEST + 0.5 * float(before - after) / float(before - 2 * top + after)


def _correlation(late: FloatArray, early: FloatArray, shift: int) -> float:
    first = late[_FURTHEST + shift : len(late) - _FURTHEST + shift]
    second = early[_FURTHEST : len(early) - _FURTHEST]
    both = np.isfinite(first) & np.isfinite(second)
    a, b = first[both], second[both]
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def _feet_row(group: str, layers: Mapping[str, Keypoints3D]) -> Iterator[Row]:
    """How fast standing feet move along the floor; all layers on the frames in which the solved foot stands."""
    feet = [foot for foot in _FEET if all(foot in layer.joint_names for layer in layers.values())]
    stands = {foot: judges.standing(layers["solved"], foot, _UP) for foot in feet}
    slide = {
        name: float(np.nanmean([judges.foot_slide(layer, foot, stands[foot], _UP) for foot in feet]))
        for name, layer in layers.items()
    }
    theirs = {name: value for name, value in slide.items() if name != "solved"}
    note = f"{', '.join(feet)}; on the frames in which the solved foot is low and neither rises nor sinks"
    yield Row(group, "standing feet along the floor (solved)", "m/s", slide["solved"], theirs, note=note)


def _limbs(layer: Keypoints3D) -> Keypoints3D:
    return joints_in_order(layer, sorted({joint for limb in LIMBS for joint in limb}))
