"""Views put in step by the motion: when each view's first frame happened, and how fast its clock runs.

Whole-frame shifts come from `shift_search`; from there Gauss-Newton on the Sampson distances of all pairs of views,
with Student-t weights. What a joint's distance is on average over the take is taken off first: views may have standing
errors, from calibration or detector. The slope by the offset is the speed across the epipolar line, and both views of a
pair measure it: their product counts as information, so that jitter, which they do not share, is not taken for motion.
The covariance is a sandwich over blocks of time (White 1982): it needs no model of how long errors last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ..errors import DegenerateError
from ..geometry.epipolar import epipolar_distance, essential_matrix, homogeneous
from ..shapes import FloatArray
from ..types import CameraRig, Keypoints2D
from .ray_stream import RayStream, ray_stream
from .shift_search import candidate_shifts

_WINDOW_S = 60.0  # largest offset searched
_CHECK_WINDOW_S = 5.0  # largest error searched of an offset that was given
_MOST_MOMENTS = 4000  # per pair of views; more say little more
_CHECK_MOMENTS = 1000  # enough to see whether a given offset is wrong
_IN_STEP = 1.0  # evidence per keypoint above which a given offset is not far off
_NU = 5.0  # degrees of freedom of distances
_FINEST_PX = 0.5  # distances are never trusted more than this
_STEPS = 12
_LARGEST_STEP_S = 0.1
_SETTLED_S = 1e-6
_BLOCK_S, _MOST_BLOCKS = 1.0, 10  # errors of different blocks are independent; short takes have shorter blocks
_FITTED = 3  # blocks' worth that fitting takes, so that sigma is not too small in short takes
_DRIFT_SIGMA = 50e-6  # of clocks, before anything is known
_MEMORY = 10.0  # frames for which errors last, about: the prior's weight against the keypoints'
_MATCH_PX, _STRAY_PX, _WILD_SHARE = 5.0, 60.0, 0.1  # distances in step, out of step, and how often the latter happen
_MOST_STANDING_PX = 20.0  # standing errors taken off when shifts are compared
_MIN_SHARED = 12  # keypoints below which nothing is known of two tracks
_SAME_S = 0.2  # shifts nearer than this, or two frames, are one answer
_RIVAL = 0.5  # of the best evidence, which a second answer needs to be one
_BETWEEN = (-1.0, -0.5, 0.0, 0.5, 1.0)  # frames from a whole-frame shift, where a rival may be at its best
_CLEAR = 3.0  # standard deviations that make a difference clear
_REMEDY = "let somebody walk through all views or clap with wide arms, or give offset_s in seconds"


@dataclass(frozen=True, eq=False)
class Synchronisation:
    """The clocks of V views: ``t_take = t_view · (1 + drift_ppm · 1e-6) + offset_s``."""

    offset_s: FloatArray  # (V,)
    drift_ppm: FloatArray  # (V,)
    offset_sigma_s: FloatArray  # (V,) of the clock in the middle of the view; 0 where it was given
    drift_sigma_ppm: FloatArray  # (V,) 0 where it was not estimated


@dataclass(frozen=True)
class Contradiction:
    """A given offset that the motion clearly denies."""

    view: str
    offset_s: float
    better_s: float
    sigma_s: float


@dataclass(eq=False)
class _Clocks:
    """Shift of each view's clock in its own middle, and its rate error."""

    streams: Sequence[RayStream | None]
    shift: FloatArray  # (V,) s
    rate: FloatArray  # (V,)
    moments: int = _MOST_MOMENTS  # read of a pair of views at most

    def own(self, view: int, moments: FloatArray) -> FloatArray:
        """A view's own time of moments of the take."""
        stream = self.streams[view]
        assert stream is not None, "only views that show somebody are asked"
        return stream.middle + (moments - stream.middle - self.shift[view]) / (1 + self.rate[view])

    def span(self, view: int) -> tuple[float, float]:
        """The take's time of a view's first and last frame."""
        stream = self.streams[view]
        assert stream is not None, "only views that show somebody are asked"
        half = (stream.times[-1] - stream.times[0]) / 2 * (1 + self.rate[view])
        return stream.middle + self.shift[view] - half, stream.middle + self.shift[view] + half


@dataclass(frozen=True, eq=False)
class _Terms:
    """What one pair of tracks says: distances and their slopes by time, less each joint's mean."""

    views: tuple[int, int]
    moments: FloatArray  # (T,) s of the take
    distance: FloatArray  # (T, J) px, NaN where unknown
    slope_first: FloatArray  # (T, J) px/s, as the first view moves
    slope_second: FloatArray  # (T, J) px/s, as the second view moves: the same but for errors


def synchronise(
    rig: CameraRig,
    tracks: Sequence[Keypoints2D],
    given: Sequence[float | None],
    worst_px: float = 40.0,
) -> Synchronisation:
    """Estimate the offsets that were not given, and the drift of those views, from the motion.

    Convention:
        the reference is the first view whose offset is given; where none is, the first view counts as given with 0.
        Clocks of given views do not drift. A drift that the motion does not show (clip too short) is 0.

    Args:
        rig: V calibrated cameras.
        tracks: V views' tracks on their own clocks, with the same joints.
        given: V offsets, s; None where it is to be found.
        worst_px: median epipolar distance above which two tracks are not one person.

    Returns:
        The clocks of all views.

    Raises:
        DegenerateError: the motion does not determine an offset; the message names the view and what to do.
    """
    fixed = [0.0 if offset is None else offset for offset in given]
    known = [offset is not None for offset in given]
    if not any(known):
        known[0] = True
    streams = [ray_stream(camera, view) for camera, view in zip(rig.cameras, tracks, strict=True)]
    free = [view for view, is_known in enumerate(known) if not is_known]
    for view in free:
        if streams[view] is None:
            raise DegenerateError(f"view {rig.names[view]}: it shows nobody, so its offset_s cannot be found; give it")
    clocks = _Clocks(streams, np.array(fixed, float), np.zeros(len(fixed)))
    placed = [view for view, is_known in enumerate(known) if is_known and streams[view] is not None]
    _place(clocks, placed, list(free), worst_px, rig.names)
    covariance = _refine(clocks, free, True, worst_px)
    return _result(clocks, free, covariance, rig.names)


def contradicted_offsets(
    rig: CameraRig,
    tracks: Sequence[Keypoints2D],
    offsets: Sequence[float],
    worst_px: float = 40.0,
) -> list[Contradiction]:
    """Name the views whose given offset the motion clearly denies: wrong by half a frame and 3 sigma more.

    Convention:
        most views are taken to be right: errors are counted from the median over the views (of two views the second is
        named). Where the motion says little, nothing is named.

    Args:
        rig: V calibrated cameras.
        tracks: V views' tracks on their own clocks, with the same joints.
        offsets: V offsets in use, s.
        worst_px: median epipolar distance above which two tracks are not one person.

    Returns:
        The contradicted views.
    """
    streams = [ray_stream(camera, view) for camera, view in zip(rig.cameras, tracks, strict=True)]
    shown = [view for view, stream in enumerate(streams) if stream is not None]
    clocks = _Clocks(streams, np.array(offsets, float), np.zeros(len(offsets)), _CHECK_MOMENTS)
    sure: list[int] = []
    for view in shown[1:]:
        if _moved_clearly(clocks, shown[0], view, worst_px):
            sure.append(view)
    try:
        covariance = _refine(clocks, sure, False, worst_px)
    except DegenerateError:
        return []
    sigma = np.sqrt(np.diag(covariance)[: len(sure)])
    error = clocks.shift - np.asarray(offsets, float)
    counted = [shown[0], *sure] if shown else []
    middle = float(np.sort(error[counted])[(len(counted) - 1) // 2]) if counted else 0.0
    usual = float(np.median(sigma)) if len(sigma) else np.inf
    found = []
    for view in counted:
        stream, own = streams[view], sigma[sure.index(view)] if view in sure else usual
        assert stream is not None, "views that show nobody were left out"
        off = float(error[view]) - middle
        if abs(off) > _CLEAR * own + stream.step / 2:
            found.append(Contradiction(rig.names[view], float(offsets[view]), float(offsets[view]) + off, float(own)))
    return found


def _place(clocks: _Clocks, placed: list[int], waiting: list[int], worst_px: float, names: Sequence[str]) -> None:
    """Give every waiting view the whole-frame shift that fits the placed ones best."""
    while waiting:
        for view in waiting:
            shift, rivals = _best_shift(clocks, placed, view, worst_px, _WINDOW_S)
            if shift is not None:
                break
        else:
            raise DegenerateError(
                f"view {names[waiting[0]]}: nobody in it fits the people of the other views at any offset within "
                f"{_WINDOW_S:g} s; check its calibration, or give its offset_s"
            )
        if rivals:
            raise DegenerateError(
                f"view {names[view]}: the motion fits at {shift:.2f} s and at {rivals[0]:.2f} s alike (nobody moves, "
                f"or the motion repeats itself); {_REMEDY}"
            )
        clocks.shift[view] = shift
        waiting.remove(view)
        placed.append(view)


def _best_shift(
    clocks: _Clocks, placed: Sequence[int], view: int, worst_px: float, window_s: float
) -> tuple[float | None, list[float]]:
    """The likeliest shift of a view, and those that are not clearly less likely."""
    stream = clocks.streams[view]
    assert stream is not None, "views that show nobody were refused"
    shifts: list[float] = []
    for other in placed:
        reference = clocks.streams[other]
        assert reference is not None, "only views that show somebody are placed"
        found = candidate_shifts(reference, stream, window_s)
        shifts += [shift + clocks.shift[other] for shift, _ in found]
    evidence = {shift: _evidence(clocks, placed, view, shift, worst_px) for shift in shifts}
    evidence = {shift: blocks for shift, blocks in evidence.items() if sum(blocks.values()) > 0}
    if not evidence:
        return None, []
    best = max(evidence, key=lambda shift: sum(evidence[shift].values()))
    far = [shift for shift in evidence if abs(shift - best) > max(2 * stream.step, _SAME_S)]
    most = sum(evidence[best].values())
    near = [shift for shift in far if sum(evidence[shift].values()) > _RIVAL * most]

    def sharpened(shift: float) -> dict[int, float]:
        around = (shift + share * stream.step for share in _BETWEEN)
        return max((_evidence(clocks, placed, view, s, worst_px) for s in around), key=lambda e: sum(e.values()))

    own = sharpened(best) if near else {}
    return best, [shift for shift in near if not _clearly_more(own, sharpened(shift))]


def _clearly_more(first: dict[int, float], second: dict[int, float]) -> bool:
    """Whether two evidences differ by much against how the difference varies over the blocks that both speak of."""
    differences = np.array([first[block] - second[block] for block in first if block in second])
    spread = np.sqrt((differences**2).sum())
    return bool(differences.sum() > _CLEAR * spread * min(1.0, np.sqrt(len(differences)) / (2 * _CLEAR)))


def _evidence(clocks: _Clocks, placed: Sequence[int], view: int, shift: float, worst_px: float) -> dict[int, float]:
    """Log likelihood ratio of 'in step' to 'out of step' per block of the view's time, were it shifted so."""
    before, clocks.shift[view] = clocks.shift[view], shift
    total: dict[int, float] = {}
    stream = clocks.streams[view]
    assert stream is not None, "views that show nobody were refused"
    block_s = min(_BLOCK_S, (stream.times[-1] - stream.times[0]) / _MOST_BLOCKS)
    for other in placed:
        for terms in _pair_terms(clocks, other, view, worst_px):
            standing = np.clip(_medians(terms.distance), -_MOST_STANDING_PX, _MOST_STANDING_PX)
            ratio = _log_ratio(terms.distance - standing)
            blocks = np.floor(clocks.own(view, terms.moments) / block_s).astype(int)
            for block in np.unique(blocks):
                total[int(block)] = total.get(int(block), 0.0) + float(np.nansum(ratio[blocks == block]))
    clocks.shift[view] = before
    return total


def _medians(distance: FloatArray) -> FloatArray:
    """(J,) medians over the take of what is known, 0 where nothing is."""
    result, used = np.zeros(distance.shape[1]), np.isfinite(distance).any(axis=0)
    result[used] = np.nanmedian(distance[:, used], axis=0)
    return result


def _log_ratio(distance: FloatArray) -> FloatArray:
    near, far = (np.exp(-0.5 * (distance / s) ** 2) / s for s in (_MATCH_PX, _STRAY_PX))
    broad = np.maximum(far, 1e-300)
    return np.log(_WILD_SHARE + (1 - _WILD_SHARE) * near / broad)


def _pair_terms(clocks: _Clocks, first: int, second: int, worst_px: float) -> Iterator[_Terms]:
    """The terms of all pairs of tracks of two views that are one person."""
    one, other = clocks.streams[first], clocks.streams[second]
    assert one is not None and other is not None, "only views that show somebody are compared"
    (a, b), (c, d) = clocks.span(first), clocks.span(second)
    low, high, step = max(a, c), min(b, d), max(one.step, other.step)
    if high - low < 2 * step:
        return
    moments = np.arange(low, high, max(step, (high - low) / clocks.moments))
    seen, also = one.at(clocks.own(first, moments)), other.at(clocks.own(second, moments))
    E = essential_matrix(one.camera, other.camera)
    for i in range(seen.rays.shape[1]):
        for j in range(also.rays.shape[1]):
            x, y = seen.rays[:, i], also.rays[:, j]
            error = epipolar_distance(one.camera, other.camera, x, y)
            known = np.isfinite(error)
            if known.sum() < _MIN_SHARED or np.median(error[known]) > worst_px:
                continue
            line, back = homogeneous(x) @ E.T, homogeneous(y) @ E
            noise = np.hypot(
                np.linalg.norm(line[..., :2], axis=-1) / other.focal_px,
                np.linalg.norm(back[..., :2], axis=-1) / one.focal_px,
            )
            distance = (homogeneous(y) * line).sum(axis=-1) / noise
            moved = (also.velocity[:, j] * line[..., :2]).sum(axis=-1) / noise
            yield _Terms(
                (first, second),
                moments,
                distance,
                -(seen.velocity[:, i] * back[..., :2]).sum(axis=-1) / noise,
                moved,
            )


def _refine(clocks: _Clocks, free: Sequence[int], drifting: bool, worst_px: float) -> FloatArray:
    """Gauss-Newton on the free views' clocks; covariance (2F, 2F) of their shifts, then their rates.

    Raises:
        DegenerateError: the motion leaves a shift undetermined.
    """
    count = len(free)
    if not count:
        return np.zeros((0, 0))
    rate_sigma = _DRIFT_SIGMA if drifting else 1e-9
    prior = np.diag(np.r_[np.zeros(count), np.full(count, 1 / rate_sigma**2)])
    for _ in range(_STEPS):
        information, pull, blocks = _normal_equations(clocks, free, worst_px)
        full = information + _MEMORY * prior
        if not _positive(full):
            raise DegenerateError(f"the motion does not show how the views' clocks relate; {_REMEDY}")
        step = np.linalg.solve(full, pull - _MEMORY * prior @ np.r_[np.zeros(count), clocks.rate[list(free)]])
        step *= min(1.0, _LARGEST_STEP_S / max(np.abs(step[:count]).max(), 1e-12))
        clocks.shift[list(free)] += step[:count]
        clocks.rate[list(free)] += step[count:]
        if np.abs(step[:count]).max() < _SETTLED_S:
            break
    inverse = np.linalg.inv(full)
    few = len(blocks) / max(len(blocks) - _FITTED, 1)
    return inverse @ (few * blocks.T @ blocks + _MEMORY**2 * prior) @ inverse


def _positive(matrix: FloatArray) -> bool:
    return bool((np.diag(matrix) > 0).all()) and bool((np.linalg.eigvalsh(_unit_diagonal(matrix)) > 1e-6).all())


def _unit_diagonal(matrix: FloatArray) -> FloatArray:
    scale = np.sqrt(np.diag(matrix))
    return matrix / np.outer(scale, scale)


def _normal_equations(
    clocks: _Clocks, free: Sequence[int], worst_px: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Information (2F, 2F), pull (2F,) and the pull of each block of time (blocks, 2F)."""
    count = len(free)
    place = {view: number for number, view in enumerate(free)}
    shown = [view for view, stream in enumerate(clocks.streams) if stream is not None]
    spans = [clocks.span(view) for view in shown]
    low, high = min(a for a, _ in spans), max(b for _, b in spans)
    block_s = min(_BLOCK_S, (high - low) / _MOST_BLOCKS)
    information = np.zeros((2 * count, 2 * count))
    pulls = np.zeros((int((high - low) / block_s) + 2, 2 * count))
    for first, second in combinations(shown, 2):
        if first not in place and second not in place:
            continue
        for terms in _pair_terms(clocks, first, second, worst_px):
            weight, distance, slopes = _weighted(terms)
            levers = np.zeros((len(terms.moments), 2 * count))
            for view, sign in ((first, -1.0), (second, 1.0)):
                if view in place:
                    stream = clocks.streams[view]
                    assert stream is not None, "only views that show somebody are here"
                    levers[:, place[view]] = sign
                    levers[:, count + place[view]] = sign * (clocks.own(view, terms.moments) - stream.middle)
            shared = (weight * slopes[0] * slopes[1]).sum(axis=1)
            information += (levers * shared[:, None]).T @ levers
            towards = (weight * (slopes[0] + slopes[1]) / 2 * distance).sum(axis=1)
            np.add.at(pulls, ((terms.moments - low) / block_s).astype(int), towards[:, None] * levers)
    return information, pulls.sum(axis=0), pulls[(pulls != 0).any(axis=1)]


def _weighted(terms: _Terms) -> tuple[FloatArray, FloatArray, tuple[FloatArray, FloatArray]]:
    """Student-t weights (T, J), distances and slopes less their weighted means over the take; 0 where unknown."""
    parts = (terms.distance, terms.slope_first, terms.slope_second)
    known = np.isfinite(np.stack(parts)).all(axis=0)
    known &= known.sum(axis=0) > 2
    if not known.any():
        zero = np.zeros(known.shape)
        return zero, zero, (zero, zero)
    distance, first, second = (np.where(known, part, 0.0) for part in parts)
    off = np.where(known, distance - _medians(np.where(known, terms.distance, np.nan)), 0.0)
    scale = max(1.4826 * float(np.median(np.abs(off[known]))), _FINEST_PX)
    weight = np.where(known, (_NU + 1) / (_NU + (off / scale) ** 2) / scale**2, 0.0)
    total = np.maximum(weight.sum(axis=0), 1e-300)
    distance, first, second = (
        np.where(known, part - (weight * part).sum(axis=0) / total, 0.0) for part in (distance, first, second)
    )
    return weight, distance, (first, second)


def _result(clocks: _Clocks, free: Sequence[int], covariance: FloatArray, names: Sequence[str]) -> Synchronisation:
    count = len(clocks.shift)
    sigma, rate_sigma, drift = np.zeros(count), np.zeros(count), np.zeros(count)
    offset = clocks.shift.copy()
    for number, view in enumerate(free):
        stream = clocks.streams[view]
        assert stream is not None, "views that show nobody were refused"
        sigma[view] = np.sqrt(covariance[number, number])
        if not sigma[view] < stream.step / 2:
            raise DegenerateError(
                f"view {names[view]}: its offset_s is only known to {1000 * sigma[view]:.0f} ms, more than half a "
                f"frame: too little moves; {_REMEDY}"
            )
        own = np.sqrt(covariance[len(free) + number, len(free) + number])
        if own < _DRIFT_SIGMA / 2:  # else the motion says less than what is known of clocks anyway
            drift[view], rate_sigma[view] = 1e6 * clocks.rate[view], 1e6 * own
        offset[view] = clocks.shift[view] - 1e-6 * drift[view] * stream.middle
    return Synchronisation(offset, drift, sigma, rate_sigma)


def _moved_clearly(clocks: _Clocks, reference: int, view: int, worst_px: float) -> bool:
    """Move a given offset to where the motion says, if it says so clearly; whether the two views share people."""
    given = float(clocks.shift[view])
    own = _evidence(clocks, [reference], view, given, worst_px)
    keypoints = sum(np.isfinite(terms.distance).sum() for terms in _pair_terms(clocks, reference, view, worst_px))
    if sum(own.values()) > _IN_STEP * max(keypoints, 1):
        return True
    shift, rivals = _best_shift(clocks, [reference], view, worst_px, abs(given) + _CHECK_WINDOW_S)
    if shift is None:
        return False
    stream = clocks.streams[view]
    assert stream is not None, "only views that show somebody are checked"
    if not rivals and abs(shift - given) > max(stream.step, 0.1):
        evidence = _evidence(clocks, [reference], view, shift, worst_px)
        if sum(own.values()) <= 0 or _clearly_more(evidence, own):
            clocks.shift[view] = shift
    return True
