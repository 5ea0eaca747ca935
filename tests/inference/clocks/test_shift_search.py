"""Whole-frame shifts by correlation, against the slow plain sum."""

import numpy as np

from inference.clocks.ray_stream import RayStream, ray_stream
from inference.clocks.shift_search import _pair_evidence, _spectra, candidate_shifts
from inference.geometry.epipolar import essential_matrix, homogeneous
from tests.inference.clocks.test_synchronisation import recording


def streams(seconds: float, offset_s: float, rates: tuple[float, float] = (30.0, 30.0)) -> list[RayStream]:
    rig, views = recording(seconds, [(0.0, 0.0), (offset_s, 0.0)], rates)
    made = [ray_stream(camera, view) for camera, view in zip(rig.cameras, views, strict=True)]
    return [stream for stream in made if stream is not None]


def test_the_best_candidate_is_the_true_shift_within_a_step() -> None:
    for offset_s, rates in ((-13.4, (30.0, 30.0)), (41.23, (30.0, 24.0)), (0.0, (25.0, 60.0))):
        first, second = streams(60.0, offset_s, rates)
        shifts, evidence = zip(*candidate_shifts(first, second, 60.0), strict=True)
        assert abs(shifts[0] - offset_s) <= 1 / min(rates)
        assert list(evidence) == sorted(evidence, reverse=True)
        assert np.diff(np.sort(shifts)).min() >= 0.5


def test_shifts_outside_the_window_are_not_tried() -> None:
    first, second = streams(20.0, 8.0)
    assert all(abs(shift) <= 2.0 for shift, _ in candidate_shifts(first, second, 2.0))


def test_correlation_agrees_with_the_plain_sum() -> None:
    """Evidence of one pair of tracks, at every shift of two short clips."""
    rng = np.random.default_rng(3)
    first, second = streams(1.0, 0.0)
    line = homogeneous(first.rays[:, 0]) @ essential_matrix(first.camera, second.camera).T
    line = line / np.linalg.norm(line[..., :2], axis=-1, keepdims=True) * second.focal_px
    point = homogeneous(second.rays[:, 0]).copy()
    point[rng.random(point.shape[:2]) < 0.2] = np.nan
    size, frames = 64, len(line)
    fast = _pair_evidence(_spectra(line, size), _spectra(point, size), size, 5)
    cost, count = np.full(size, np.nan), np.zeros(size)
    for shift in range(-frames + 1, frames):
        overlap = np.arange(max(0, -shift), min(frames, frames - shift))
        e = (line[overlap + shift] * point[overlap]).sum(axis=-1)  # (n, J) px
        enough = np.isfinite(e).sum(axis=0) > 4.5
        if enough.any():
            e = e[:, enough]
            square = np.nansum(e**2) - 0.75 * (np.isfinite(e).sum(axis=0) * np.nanmean(e, axis=0) ** 2).sum()
            count[shift] = np.isfinite(e).sum()
            cost[shift] = square / count[shift] + 16
    slow = count * np.log(np.nanmedian(cost) / cost)
    both = np.isfinite(slow)
    np.testing.assert_array_equal(both, np.isfinite(fast))
    np.testing.assert_allclose(fast[both], slow[both], rtol=1e-6)
