"""Several hypotheses for one pose: the nearest of M, and whether they are spread as the truth is.

The nearest of M rewards hypotheses that are spread too far: report it with the energy score, the rank histogram and
the coverage of calibration_metrics.py. Axis 0 of everything is the hypothesis M.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inference.errors import InputError, ShapeError
from inference.report.judges import bone_spread
from inference.shapes import FloatArray, IntArray, check_shapes

from .metrics import pose_means


@dataclass(frozen=True)
class HypothesisErrors:
    """Mean joint error over poses of the nearest, the average, the middle and the farthest of M hypotheses."""

    hypotheses: int
    best: float  # minMPJPE@M
    mean: float
    median: float
    worst: float


def hypothesis_errors(errors: FloatArray) -> HypothesisErrors:  # (M, N, J)
    """Summarise the errors of M hypotheses: root errors give minMPJPE@M, aligned errors minP-MPJPE@M.

    Convention:
        a hypothesis is chosen per pose by its mean over joints. Poses without errors are left out.

    Raises:
        ShapeError: the errors have no axes M N J, or there is no hypothesis.
    """
    m = check_shapes(errors=(errors, "M N J"))["M"]
    if m == 0:
        raise ShapeError("errors hold no hypothesis: M is 0")
    poses = pose_means(errors)
    poses = poses[:, np.isfinite(poses).all(axis=0)]
    if poses.shape[1] == 0:
        return HypothesisErrors(m, *[float("nan")] * 4)
    each = (poses.min(axis=0), poses.mean(axis=0), np.median(poses, axis=0), poses.max(axis=0))
    return HypothesisErrors(m, *(float(values.mean()) for values in each))


def energy_score(
    samples: FloatArray,  # (M, ..., d)
    truth: FloatArray,  # (..., d)
    mode: str = "fair",
) -> FloatArray:
    """Return the energy score E|X − y| − ½ E|X − X'|: smallest where the samples are drawn as the truth is.

    Gneiting & Raftery 2007.

    Convention:
        ``fair`` averages |X − X'| over different samples, so that its expectation does not depend on M (Ferro 2014);
        ``v_statistic`` divides by M², as many programs do, and favours narrow sets of few samples.
        d is what is judged together: 3 for one joint, 3·J for a whole pose.

    Returns:
        (...), unit of the samples; with one sample it is the distance to the truth.

    Raises:
        InputError: the mode is unknown.
    """
    samples, truth = np.asarray(samples, float), np.asarray(truth, float)
    m = len(samples)
    if mode not in ("fair", "v_statistic"):
        raise InputError(f"unknown mode {mode!r} of the energy score; known: fair, v_statistic")
    if samples.shape[1:] != truth.shape or m == 0:
        raise ShapeError(f"samples {samples.shape} are not M times the truth {truth.shape}")
    near = np.linalg.norm(samples - truth, axis=-1).mean(axis=0)
    apart = np.zeros(truth.shape[:-1])
    for i in range(1, m):  # one sample at a time: all pairs at once would take M times the memory
        apart += np.linalg.norm(samples[:i] - samples[i], axis=-1).sum(axis=0)
    pairs = m**2 if mode == "v_statistic" else max(m * (m - 1), 1)
    return near - apart / pairs


def rank_histogram(
    samples: FloatArray,  # (M, ...)
    truth: FloatArray,  # (...)
    rng: np.random.Generator,
) -> IntArray:
    """Count at which rank among the samples the truth lies, coordinate by coordinate.

    Hamill 2001. Flat where the samples are drawn as the truth is, a bowl where they are too narrow, a hill where they
    are too wide.

    Convention:
        ties are broken at random. Coordinates with a NaN are left out.

    Args:
        samples: of any quantity.
        truth: the same quantity.
        rng: for ties.

    Returns:
        (M + 1,) counts.
    """
    samples, truth = np.asarray(samples, float), np.asarray(truth, float)
    if samples.shape[1:] != truth.shape:
        raise ShapeError(f"samples {samples.shape} are not M times the truth {truth.shape}")
    below, equal = (samples < truth).sum(axis=0), (samples == truth).sum(axis=0)
    rank = below + rng.integers(0, equal + 1)
    good = np.isfinite(samples).all(axis=0) & np.isfinite(truth)
    return np.bincount(rank[good].ravel(), minlength=len(samples) + 1)


def hypothesis_bone_spread(
    hypotheses: FloatArray,  # (M, N, J, 3)
    bones: IntArray,  # (B, 2) parent and child joint
) -> FloatArray:
    """Measure how much each bone's length differs between the hypotheses of one pose: it is one person.

    Returns:
        (N, B) standard deviation, unit of the joints; NaN with fewer than two hypotheses.
    """
    check_shapes(hypotheses=(hypotheses, "M N J 3"), bones=(bones, "B 2"))
    ends = np.asarray(hypotheses, float)[:, :, np.asarray(bones)]
    return bone_spread(np.linalg.norm(ends[..., 1, :] - ends[..., 0, :], axis=-1))
