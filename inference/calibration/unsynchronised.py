"""Cameras and clocks from the person at once: views whose offsets nobody knows, and cameras that nobody knows either.

Without cameras, how fast every joint moves in the picture says which shifts are worth a try: pauses and quick movements
are common to all views. At each of these the pair's own epipolar geometry is solved; the shift at which the joints fit
one geometry best stands. From there the shifts are unknowns of the bundle adjustment; its cameras let the views be put
in step as for known cameras, and the whole is adjusted once more at those offsets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from ..clocks.ray_stream import RayStream, ray_stream
from ..clocks.synchronisation import synchronise
from ..errors import DegenerateError
from ..shapes import FloatArray
from ..types import Camera, Intrinsics, Keypoints2D
from .relative_pose import relative_pose, sampson
from .self_calibration import SelfCalibration

_WINDOW_S = 60.0
_STEP_S = 1 / 30  # finest step of the search
_APART_S = 0.25  # between two shifts that are tried
_MOST_TRIED = 16
_NARROW = (-0.2, 0.2)  # s around the best ones, searched step by step
_BEST = 2
_MOST_POINTS = 800  # that a shift is judged by
_FEWEST_POINTS = 100
_SIGMA_PX = 5.0  # of keypoints, in the judgement
_BOUND = 9.0  # squared sigmas
_CLEAR = 0.8  # of the usual cost over all shifts tried, that the best one must stay below
_ROUNDS = 1
_REMEDY = "let somebody walk through all views or clap with wide arms, or give offset_s in seconds"

Solve = Callable[[Sequence[float] | FloatArray, Sequence[int]], SelfCalibration]


@dataclass(frozen=True, eq=False)
class Unsynchronised:
    """Cameras, and the offset of every view."""

    found: SelfCalibration
    offset_s: tuple[float, ...]


def calibrate_unsynchronised(
    lenses: Sequence[Intrinsics],
    tracks: Sequence[Keypoints2D],
    given: Sequence[float | None],
    solve: Solve,
) -> Unsynchronised:
    """Solve cameras and the offsets that are not given.

    Convention:
        ``t_take = t_view + offset_s``; the first view whose offset is given is the reference, else the first view at 0.

    Args:
        lenses: of V views.
        tracks: V views' tracks on their own clocks, with the same joints.
        given: V offsets, s; None where it is to be found.
        solve: solves the cameras for V offsets, with the clocks of the named views as unknowns.

    Returns:
        Cameras and offsets.

    Raises:
        DegenerateError: the motion determines no cameras, or no offset; the message says what to do.
    """
    offsets, free = start_offsets(lenses, tracks, given)
    for _ in range(_ROUNDS):  # slow to settle: jitter in the velocities counts as information
        offsets = _moved(offsets, solve(offsets, free).shift)
    found = solve(offsets, free)
    clocks = synchronise(found.rig, tracks, [None if view in free else offsets[view] for view in range(len(offsets))])
    found = solve(clocks.offset_s, free)
    offsets = _moved(clocks.offset_s, found.shift)
    return Unsynchronised(found, tuple(offsets))


def _moved(offsets: Sequence[float] | FloatArray, steps: FloatArray) -> list[float]:
    return [float(offset + step) for offset, step in zip(offsets, steps, strict=True)]


def start_offsets(
    lenses: Sequence[Intrinsics], tracks: Sequence[Keypoints2D], given: Sequence[float | None]
) -> tuple[list[float], list[int]]:
    """Offsets of all views, those not given to about a frame; and which views were not given.

    Raises:
        DegenerateError: no shift of a view fits clearly better than others.
    """
    known = [offset is not None for offset in given]
    if not any(known):
        known[0] = True
    offsets = [offset or 0.0 for offset in given]
    free = [view for view, is_known in enumerate(known) if not is_known]
    streams = [_main_stream(lens, view) for lens, view in zip(lenses, tracks, strict=True)]
    for view in free:
        if streams[view] is None:
            raise DegenerateError(f"view {lenses[view].name}: it shows nobody, so no offset_s can be found; give it")
    placed = [view for view, is_known in enumerate(known) if is_known and streams[view] is not None]
    waiting = list(free)
    tried: dict[tuple[int, int], tuple[float, float, float]] = {}
    while waiting:
        for view, other in product(waiting, placed):
            one, second = streams[other], streams[view]
            if one is not None and second is not None and (view, other) not in tried:
                tried[view, other] = _best_shift(one, second)
        found = ((c / max(u, 1e-9), v, shift + offsets[o]) for (v, o), (shift, c, u) in tried.items() if v in waiting)
        share, view, shift = min(found, default=(np.inf, waiting[0], 0.0))
        if share > _CLEAR:
            raise DegenerateError(
                f"view {lenses[view].name}: no offset_s brings its motion into step with the other views better than "
                f"others do; {_REMEDY}"
            )
        offsets[view] = shift
        waiting.remove(view)
        placed.append(view)
    return offsets, free


def _main_stream(lens: Intrinsics, view: Keypoints2D) -> RayStream | None:
    """Rays of the track that is seen most."""
    if not view.xy.shape[1]:
        return None
    slot = int(np.argmax(view.score.sum(axis=(0, 2))))
    pick = slice(slot, slot + 1)
    main = replace(view, xy=view.xy[:, pick], covariance=view.covariance[:, pick], score=view.score[:, pick])
    return ray_stream(Camera(lens, np.eye(3), np.zeros(3)), main)


def _best_shift(first: RayStream, second: RayStream) -> tuple[float, float, float]:
    """Shift of the second view, its cost, and the usual cost of the shifts that were tried."""
    step = max(first.step, second.step, _STEP_S)
    costs = {shift: _cost(first, second, shift) for shift in _likely_shifts(first, second, step)}
    usual = float(np.median([cost for cost in costs.values() if np.isfinite(cost)] or [np.inf]))
    for middle in sorted(costs, key=lambda shift: costs[shift])[:_BEST]:
        for shift in middle + np.arange(_NARROW[0], _NARROW[1] + step / 2, step):
            costs[float(shift)] = _cost(first, second, float(shift))
    best = min(costs, key=lambda shift: costs[shift])
    return best, costs[best], usual


def _likely_shifts(first: RayStream, second: RayStream, step: float) -> list[float]:
    """Shifts at which quick and slow moments of the joints coincide best; for short views an even row as well."""
    one, other = (_quickness(stream, step) for stream in (first, second))
    size = 1 << int(len(one) + len(other)).bit_length()
    spectra = [(np.fft.rfft(np.nan_to_num(q).T, size), np.fft.rfft(np.isfinite(q).T * 1.0, size)) for q in (one, other)]
    (a, seen_a), (b, seen_b) = spectra
    total = np.fft.irfft((a * np.conj(b)).sum(axis=0), size)
    count = np.fft.irfft((seen_a * np.conj(seen_b)).sum(axis=0), size)
    shifts = np.fft.fftfreq(size, 1 / size) * step + first.times[0] - second.times[0]
    enough = (count > 0.3 * count.max()) & (np.abs(shifts) <= _WINDOW_S)
    score = np.where(enough, total / np.sqrt(np.maximum(count, 1.0)), -np.inf)
    chosen: list[float] = []
    for place in np.argsort(-score):
        if not enough[place] or len(chosen) == _MOST_TRIED:
            break
        if all(abs(shifts[place] - shift) >= _APART_S for shift in chosen):
            chosen.append(float(shifts[place]))
    return chosen


def _quickness(stream: RayStream, step: float) -> FloatArray:
    """(N, J) logarithms of the joints' speeds at even steps, less their means, of unit size."""
    moments = np.arange(stream.times[0], stream.times[-1] + step / 2, step)
    speed = np.linalg.norm(stream.at(moments).velocity[:, 0], axis=-1)
    known = np.isfinite(speed)
    quick = np.where(known, np.log(np.maximum(np.where(known, speed, 1.0), 1e-3)), 0.0)
    count = np.maximum(known.sum(axis=0), 1)
    quick = np.where(known, quick - quick.sum(axis=0) / count, 0.0)
    size = np.sqrt((quick**2).sum(axis=0) / count)
    return np.where(known, quick / np.maximum(size, 1e-6), np.nan)


def _cost(first: RayStream, second: RayStream, shift: float) -> float:
    """Mean bounded squared distance from the best epipolar geometry of the two views at this shift, sigmas."""
    begin = max(first.times[0], second.times[0] + shift)
    end = min(first.times[-1], second.times[-1] + shift)
    count = int((end - begin) / max(first.step, second.step))
    if count < 2:
        return np.inf
    joints = first.rays.shape[2]
    moments = np.linspace(begin, end, min(count, max(_MOST_POINTS // joints, 2)))
    x, y = first.at(moments).rays[:, 0].reshape(-1, 2), second.at(moments - shift).rays[:, 0].reshape(-1, 2)
    both = np.isfinite(x).all(axis=-1) & np.isfinite(y).all(axis=-1)
    if both.sum() < _FEWEST_POINTS:
        return np.inf
    sigma = _SIGMA_PX / np.sqrt(first.focal_px * second.focal_px)
    pose = relative_pose(x[both], y[both], sigma)
    if pose is None:
        return _BOUND
    tx, ty, tz = pose.t
    E = np.array([[0, -tz, ty], [tz, 0, -tx], [-ty, tx, 0]]) @ pose.R
    return float(np.minimum((sampson(E, x[both], y[both]) / sigma) ** 2, _BOUND).mean())
