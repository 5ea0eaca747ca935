"""Which whole-frame shift brings two views into step: every shift within a minute is tried, by epipolar consistency.

A joint's squared distance from the epipolar line of the other view is bilinear in features of the two views, so its sum
over the take is a correlation, and all shifts cost a few Fourier transforms.
"""

from __future__ import annotations

import numpy as np

from ..geometry.epipolar import essential_matrix, homogeneous
from ..shapes import FloatArray, IntArray
from .ray_stream import RayStream

_GRID_S = (1 / 60, 1 / 10)  # steps of the search lie between
_LONG_STEPS = 20_000  # streams with more steps than this are searched at 30 steps a second
_FLOOR_PX = 4.0  # distances that say nothing more
_STANDING = 0.25  # weight of a joint's mean distance: views may have standing errors
_APART_S = 0.5  # between two candidates
_MIN_OVERLAP_S = 1.0
_UPPER = np.triu_indices(3)
_DOUBLED = np.where(_UPPER[0] == _UPPER[1], 1.0, 2.0)


def candidate_shifts(
    first: RayStream,
    second: RayStream,
    window_s: float,
    most: int = 6,
) -> list[tuple[float, float]]:
    """Find shifts of the second view (added to its times) that may bring it into step with the first.

    Convention:
        seconds, multiples of the slower view's step; best first, at least half a second apart. The evidence is
        n·log(usual squared distance / squared distance here) over n keypoints: of the likelihood ratio's kind.

    Args:
        first: rays whose time holds.
        second: rays to be shifted.
        window_s: largest shift tried.
        most: how many are given at most.

    Returns:
        (shift, evidence) of the candidates; empty where the views share no second.
    """
    step = float(np.clip(max(first.step, second.step), *_GRID_S))
    span = max(first.times[-1] - first.times[0], second.times[-1] - second.times[0])
    step = max(step, 1 / 30) if span / step > _LONG_STEPS else step
    one, other = (_on_grid(stream, step) for stream in (first, second))
    size = 1 << int(len(one) + len(other)).bit_length()
    shifts = np.fft.fftfreq(size, 1 / size).round().astype(np.int64)
    start = first.times[0] - second.times[0]
    total = _evidence(first, second, one, other, (size, step))
    shift_s = shifts * step + start
    total = np.where(np.abs(shift_s) <= window_s, total, -np.inf)
    order = np.argsort(shift_s)
    return _peaks(shift_s[order], total[order], most)


def _on_grid(stream: RayStream, step: float) -> FloatArray:
    """(N, P, J, 2) rays at even steps from the view's first frame."""
    count = int((stream.times[-1] - stream.times[0]) / step + 1e-6) + 1
    return stream.at(stream.times[0] + step * np.arange(count)).rays


def _evidence(
    first: RayStream, second: RayStream, one: FloatArray, other: FloatArray, grid: tuple[int, float]
) -> FloatArray:
    """(S,) evidence of every shift: each track of the second view goes with the best of the first."""
    size, step = grid
    enough = _MIN_OVERLAP_S / step
    enough = min(enough, min(len(one), len(other)) / 3)
    E = essential_matrix(first.camera, second.camera)
    line = homogeneous(one) @ E.T
    with np.errstate(invalid="ignore", divide="ignore"):
        line = line / np.linalg.norm(line[..., :2], axis=-1, keepdims=True) * second.focal_px
    lines = [_spectra(line[:, a], size) for a in range(one.shape[1])]
    total = np.full(size, -np.inf)
    for b in range(other.shape[1]):
        points = _spectra(homogeneous(other[:, b]), size)
        best = np.full(size, -np.inf)
        for spectrum in lines:
            best = np.maximum(best, _pair_evidence(spectrum, points, size, enough))
        total = _added(total, best)
    return total


def _added(total: FloatArray, more: FloatArray) -> FloatArray:
    """Sum of evidences; a track that says nothing of a shift changes nothing there."""
    return np.where(np.isfinite(more), np.where(np.isfinite(total), total, 0.0) + more, total)


def _spectra(vectors: FloatArray, size: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Transforms of (N, J, 3) vectors' products, of themselves and of their presence, (J, 6 | 3 | 1, F)."""
    seen = np.isfinite(vectors).all(axis=-1)
    known = np.where(seen[..., None], vectors, 0.0).transpose(1, 2, 0)
    products = known[:, _UPPER[0]] * known[:, _UPPER[1]]
    return (
        np.fft.rfft(products, size),
        np.fft.rfft(known, size),
        np.fft.rfft(seen.T[:, None].astype(float), size),
    )


def _pair_evidence(line: tuple[FloatArray, ...], point: tuple[FloatArray, ...], size: int, enough: float) -> FloatArray:
    def correlated(kind: int, weights: FloatArray) -> FloatArray:
        return np.fft.irfft((weights[:, None] * line[kind] * np.conj(point[kind])).sum(axis=1), size)

    square = correlated(0, _DOUBLED)
    mean = correlated(1, np.ones(3))
    count = correlated(2, np.ones(1))  # (J, S)
    known = count > enough - 0.5
    mean = np.where(known, mean / np.maximum(count, 1.0), 0.0)
    square = np.where(known, square - (1 - _STANDING) * count * mean**2, 0.0).sum(axis=0)
    number = np.where(known, count, 0.0).sum(axis=0)
    cost = np.maximum(square, 0.0) / np.maximum(number, 1.0) + _FLOOR_PX**2
    if not (number > 0).any():
        return np.full(size, -np.inf)
    usual = float(np.median(cost[number > 0]))
    return np.where(number > 0, number * np.log(usual / cost), -np.inf)


def _peaks(shifts: FloatArray, evidence: FloatArray, most: int) -> list[tuple[float, float]]:
    """The best local maxima, best first."""
    finite = np.isfinite(evidence)
    padded = np.pad(np.where(finite, evidence, -np.inf), 1, constant_values=-np.inf)
    with np.errstate(invalid="ignore"):
        highest = finite & (padded[1:-1] >= padded[:-2]) & (padded[1:-1] >= padded[2:])
    places: IntArray = np.flatnonzero(highest)
    chosen: list[int] = []
    for place in places[np.argsort(-evidence[places], kind="stable")]:
        if all(abs(shifts[place] - shifts[other]) >= _APART_S for other in chosen):
            chosen.append(int(place))
        if len(chosen) == most:
            break
    return [(float(shifts[place]), float(evidence[place])) for place in chosen]
