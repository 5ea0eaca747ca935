"""How far a bridge over a gap may be off, measured by hiding stretches of the take's own motion.

White jerk of a density that fits neighbouring frames says too little about half a second: real motion keeps its
acceleration, then turns. So the smoothed path of every joint is cut open for gaps of several lengths, bridged by the
prior, and the error in the middle compared with what the prior claims there.
"""

from __future__ import annotations

import numpy as np

from ..shapes import BoolArray, FloatArray, IntArray
from .smoothing import smooth_known

_GAPS_S = np.array([0.05, 0.1, 0.2, 0.4, 0.8, 1.6])
_SHORTEST = 3  # frames
_TRIED_STEP_S, _TRIED_S, _TRIED_PARTS = 1 / 60, 10.0, 4
_MEASURED = 0.8  # share of the frames in and around a trial gap that must be measured
_UNKNOWN, _FARTHEST = 1e4, 3.0  # factor for gaps so many times longer than any that could be tried
# The prior's variance in the middle of a gap G between ends of known place, speed and acceleration is q G⁵ / 20480:
# (2m - 1) 4^(2m - 1) (m - 1)!² for white noise in the m-th derivative; the tests check it against the banded solution.
_MIDDLE = 1 / 20480


def bridge_factors(
    paths: FloatArray,  # (T, J, 3) m, smoothed
    known: BoolArray,  # (T, J) whether the path is measured here
    times: FloatArray,  # (T,) s
    density: FloatArray,  # (J,) m²/s⁵ that the prior uses
) -> list[tuple[FloatArray, FloatArray]]:
    """Real over claimed variance in the middle of bridges of several lengths, for every joint.

    Convention:
        tried on stretches of ten seconds, at most four, at about sixty frames a second: enough for what it says.

    Returns:
        Per joint (n,) lengths, s, and (n,) factors of at least 1, rising with the length; empty where the take is too
        short.
    """
    step = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    stride = max(round(_TRIED_STEP_S / step), 1)
    step, paths, known, times = step * stride, paths[::stride], known[::stride], times[::stride]
    squared: list[list[FloatArray]] = [[] for _ in density]
    gaps = np.unique(np.maximum(np.round(_GAPS_S / step).astype(int), _SHORTEST))
    parts = _tried_parts(len(times), round(_TRIED_S / step))
    for gap in gaps:
        trials = [
            _middle_errors(paths[part], known[part], times[part], int(gap), phase) for part in parts for phase in (0, 1)
        ]
        for joint, own in enumerate(squared):
            own.append(np.concatenate([error[measured[:, joint], joint] for error, measured in trials]))
    return [_factors(own, gaps, step, q) for own, q in zip(squared, density, strict=True)]


def _tried_parts(count: int, length: int) -> list[slice]:
    if count <= _TRIED_PARTS * length:
        return [slice(0, count)]
    return [slice(start, start + length) for start in np.linspace(0, count - length, _TRIED_PARTS).astype(int)]


def _factors(squared: list[FloatArray], gaps: IntArray, step: float, density: float) -> tuple[FloatArray, FloatArray]:
    lengths, factors = [], []
    for gap, errors in zip(gaps, squared, strict=True):
        if len(errors) < 2:
            break
        seconds = (gap + 1) * step
        lengths.append(seconds)
        typical = errors.mean() * (1 + 2 / np.sqrt(len(errors)))  # few trials say little about the next gap
        factors.append(max(1.0, float(typical) / 3 / (density * seconds**5 * _MIDDLE)))
    return np.array(lengths), np.maximum.accumulate(factors) if factors else np.array([])


def _middle_errors(
    paths: FloatArray, known: BoolArray, times: FloatArray, gap: int, phase: int
) -> tuple[FloatArray, BoolArray]:
    """Squared errors (n, J) in the middle of gaps of that many frames, as many apart; which were measured around."""
    margin = max(gap // 2, 4)
    period = gap + 2 * margin
    starts = np.arange(margin + phase * period // 2, len(paths) - gap - margin, period)
    around = starts[:, None] + np.arange(-margin, gap + margin)
    measured = known[around].mean(axis=1) > _MEASURED
    if not measured.any():
        return np.zeros(measured.shape), measured
    visible = np.ones(len(paths), bool)
    visible[(starts[:, None] + np.arange(gap)).ravel()] = False
    bridged = smooth_known(paths, visible, times)
    middle = starts + gap // 2
    return ((bridged[middle] - paths[middle]) ** 2).sum(axis=-1), measured


def gap_lengths(
    poor: BoolArray,  # (T,)
    times: FloatArray,  # (T,) s
) -> FloatArray:
    """(T,) duration of the run of poor frames that a frame belongs to, from good frame to good frame; 0 elsewhere."""
    result = np.zeros(len(poor))
    edges = np.flatnonzero(np.diff(np.r_[False, poor, False].astype(int)))
    for start, stop in edges.reshape(-1, 2):
        before, after = max(start - 1, 0), min(stop, len(poor) - 1)
        length = times[after] - times[before]
        # an open end is like one half of a gap of twice the length
        result[start:stop] = length if start > 0 and stop < len(poor) else 2 * length
    return result


def factors_at(gaps: FloatArray, lengths: FloatArray, factors: FloatArray) -> FloatArray:
    """(T,) factor on the variance for gaps of the given durations; 1 outside gaps."""
    if not len(lengths):
        return np.where(gaps > 0, _UNKNOWN, 1.0)
    value = np.exp(np.interp(np.log(np.maximum(gaps, 1e-6)), np.log(lengths), np.log(factors)))
    value = value * np.maximum(gaps / lengths[-1], 1.0)
    return np.where(gaps <= 0, 1.0, np.where(gaps > _FARTHEST * lengths[-1], _UNKNOWN, value))


def bridged_covariance(
    covariance: FloatArray,  # (T, J, 3, 3) m²
    views: BoolArray,  # (V, T, J) whether a view shows the joint
    rays: FloatArray,  # (V, T, J, 3) unit vectors from the cameras to the joints
    factors: list[tuple[FloatArray, FloatArray]],  # per joint, of `bridge_factors`
    times: FloatArray,  # (T,) s
) -> FloatArray:
    """Enlarge covariances where no view shows a joint, and along the ray where one does.

    Convention:
        a gap counts from the last to the next frame with a view (for the ray: with two views).
    """
    count = views.sum(axis=0)
    blind, single = np.ones(count.shape), np.ones(count.shape)
    for joint, (lengths, values) in enumerate(factors):
        blind[:, joint] = factors_at(gap_lengths(count[:, joint] == 0, times), lengths, values)
        single[:, joint] = factors_at(gap_lengths(count[:, joint] < 2, times), lengths, values)
    ray = np.where((count == 1)[..., None], (rays * views[..., None]).sum(axis=0), 0.0)
    along = np.einsum("tji,tjik,tjk->tj", ray, covariance, ray) * (np.where(count == 1, single, 1.0) - 1)
    return blind[..., None, None] * covariance + along[..., None, None] * ray[..., :, None] * ray[..., None, :]
