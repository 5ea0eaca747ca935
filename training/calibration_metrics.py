"""Whether a stated uncertainty is true: likelihood, coverage, sharpness, and how well it sorts the errors.

Everything takes errors (..., d) and their matrices (..., d, d), d = 2 (px) or 3 (m). ``nu`` is the degrees of freedom
of the Student t whose **scale matrix** is given; infinity is the Gaussian, whose scale matrix is its covariance.
A `Keypoints3D` carries covariances: `scale_from_covariance` comes first.
Rows with NaN are left out everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats
from scipy.special import gammaln

from inference.errors import DegenerateError, ShapeError
from inference.shapes import FloatArray, check_shapes

LEVELS = (0.50, 0.68, 0.90, 0.95)
ECE_LEVELS = tuple(np.arange(1, 20) / 20)  # 0.05, 0.10 … 0.95
GAUSSIAN = float("inf")


def scale_from_covariance(covariance: FloatArray, nu: float) -> FloatArray:  # (..., d, d)
    """Return the scale matrix Σ of a Student t with that covariance Σ·ν/(ν−2).

    Raises:
        ShapeError: ν is not above 2, where a Student t has no covariance.
    """
    if not nu > 2:
        raise ShapeError(f"nu is {nu}: a Student t has a covariance only above 2")
    return np.asarray(covariance, float) * (1.0 if np.isinf(nu) else (nu - 2) / nu)


def squared_mahalanobis(
    error: FloatArray,  # (..., d)
    scale: FloatArray,  # (..., d, d)
) -> FloatArray:
    """Return eᵀ Σ⁻¹ e through the Cholesky factor.

    Returns:
        (...); NaN where error or matrix is NaN.

    Raises:
        ShapeError: the shapes do not fit.
        DegenerateError: a matrix is not positive definite.
    """
    return _whitened(error, scale)[0]


def nll(
    error: FloatArray,  # (..., d)
    scale: FloatArray,  # (..., d, d)
    nu: float = GAUSSIAN,
) -> FloatArray:
    """Return the negative log-likelihood of each error.

    Convention:
        nats; the density is per unit of the error to the power d (1/px², 1/m³): state it, and change it
        with `nll_in_other_unit`.

    Returns:
        (...) nats; NaN where error or matrix is NaN.
    """
    delta, half_log_det = _whitened(error, scale)
    d = np.shape(error)[-1]
    if np.isinf(nu):
        return half_log_det + delta / 2 + d / 2 * np.log(2 * np.pi)
    constant = gammaln(nu / 2) - gammaln((nu + d) / 2) + d / 2 * np.log(nu * np.pi)
    return half_log_det + (nu + d) / 2 * np.log1p(delta / nu) + constant


def nll_in_other_unit(values: FloatArray, dimensions: int, units_per_unit: float) -> FloatArray:
    """Change the unit of a density: from nats of 1/m³ to nats of 1/mm³ with ``dimensions`` 3, ``units_per_unit`` 1000.

    The same holds for pixels: from normalised to pixel coordinates NLL grows by log(fx·fy) = 2 log f.
    """
    return np.asarray(values) + dimensions * np.log(units_per_unit)


def probability_transform(
    error: FloatArray,  # (..., d)
    scale: FloatArray,  # (..., d, d)
    nu: float = GAUSSIAN,
) -> FloatArray:
    """Return the probability of an error nearer than this one (PIT of the Mahalanobis distance).

    χ²(d) of δ for the Gaussian, F(d, ν) of δ/d for the Student t. Uniform on 0-1 where the uncertainty is true.

    Returns:
        (...) 0-1; NaN where error or matrix is NaN.
    """
    delta = squared_mahalanobis(error, scale)
    d = np.shape(error)[-1]
    return np.asarray(stats.chi2.cdf(delta, d) if np.isinf(nu) else stats.f.cdf(delta / d, d, nu))


def ellipsoid_radius(level: float, dimensions: int, nu: float = GAUSSIAN) -> float:
    """Return the radius, in units of √Σ, of the ellipsoid that holds this share of the errors.

    Gaussian: √χ²; Student t: √(d·F(d, ν)). 3D at 95 %: 2.80 and, for ν = 5, 4.03.
    """
    square = stats.chi2.ppf(level, dimensions) if np.isinf(nu) else dimensions * stats.f.ppf(level, dimensions, nu)
    return float(np.sqrt(square))


def coverage(
    error: FloatArray,  # (..., d)
    scale: FloatArray,  # (..., d, d)
    nu: float = GAUSSIAN,
    levels: Sequence[float] = LEVELS,
) -> FloatArray:
    """Return the share of errors inside the ellipsoid of each level.

    Returns:
        (len(levels),) 0-1; NaN where no error is finite.
    """
    u = _finite(probability_transform(error, scale, nu))
    return np.array([(u <= level).mean() if u.size else np.nan for level in levels])


def calibration_error(
    error: FloatArray,  # (..., d)
    scale: FloatArray,  # (..., d, d)
    nu: float = GAUSSIAN,
) -> float:
    """Return the ECE: mean of |coverage − level| over the levels 0.05, 0.10 … 0.95 (Kuleshov et al. 2018).

    Returns:
        0-0.5 (all inside or all outside: 0.5).
    """
    return float(np.abs(coverage(error, scale, nu, ECE_LEVELS) - ECE_LEVELS).mean())


def pit_histogram(
    error: FloatArray,  # (..., d)
    scale: FloatArray,  # (..., d, d)
    nu: float = GAUSSIAN,
    bins: int = 10,
) -> FloatArray:
    """Return the share of errors per equal bin of probability: flat where true, high at the right if overconfident.

    Returns:
        (bins,) shares, sum 1; NaN where no error is finite.
    """
    u = _finite(probability_transform(error, scale, nu))
    counts = np.histogram(u, bins=bins, range=(0.0, 1.0))[0]
    return counts / u.size if u.size else np.full(bins, np.nan)


def sharpness(scale: FloatArray) -> FloatArray:  # (..., d, d)
    """Return the geometric mean of the ellipsoid's half axes: det(Σ)^(1/2d).

    Returns:
        (...), unit of the error; smaller is sharper and only worth something together with coverage.
    """
    scale = np.asarray(scale, float)
    finite = np.isfinite(scale).all(axis=(-2, -1))
    sign, log_det = np.linalg.slogdet(np.where(finite[..., None, None], scale, np.eye(scale.shape[-1])))
    return np.where(finite & (sign > 0), np.exp(log_det / (2 * scale.shape[-1])), np.nan)


def anees(
    error: FloatArray,  # (..., d)
    covariance: FloatArray,  # (..., d, d): the covariance, for the Student t too
) -> float:
    """Return the average normalised estimation error squared: d where the covariance is true.

    Bar-Shalom et al. 2001. With a Student t of ν <= 4 its own variance is infinite: prefer the coverage there.
    """
    delta = _finite(squared_mahalanobis(error, covariance))
    return float(delta.mean()) if delta.size else float("nan")


def rank_correlation(
    error: FloatArray,  # (..., d)
    scale: FloatArray,  # (..., d, d)
) -> float:
    """Return Spearman's correlation of √trace Σ with the length of the error: does uncertainty sort the errors?

    Returns:
        -1 to 1; NaN with fewer than two rows or where either does not vary.
    """
    length, stated = _length_and_stated(error, scale)
    if len(length) < 2 or np.ptp(length) == 0 or np.ptp(stated) == 0:
        return float("nan")
    return float(np.corrcoef(stats.rankdata(length), stats.rankdata(stated))[0, 1])


def ause(
    error: FloatArray,  # (..., d)
    scale: FloatArray,  # (..., d, d)
    steps: int = 100,
) -> float:
    """Return the area under the sparsification error (Ilg et al. 2018).

    Leave out the most uncertain share by √trace Σ, take the mean length of the errors that remain, relative to the
    mean of all; subtract the same curve with the errors sorted by themselves; average over the shares 0, 1/steps …

    Returns:
        >= 0; 0 where uncertainty sorts as the errors themselves do. NaN without errors.
    """
    length, stated = _length_and_stated(error, scale)
    if length.size == 0 or length.mean() == 0:
        return float("nan")
    kept = len(length) - len(length) * np.arange(steps) // steps
    curves = [_running_mean(length[np.argsort(key, kind="stable")])[kept - 1] for key in (stated, length)]
    return float((curves[0] - curves[1]).mean() / length.mean())


def _running_mean(values: FloatArray) -> FloatArray:
    return np.cumsum(values) / np.arange(1, len(values) + 1)


def _length_and_stated(error: FloatArray, scale: FloatArray) -> tuple[FloatArray, FloatArray]:
    length = np.linalg.norm(np.asarray(error, float), axis=-1)
    stated = np.sqrt(np.trace(np.asarray(scale, float), axis1=-2, axis2=-1))
    length, stated = np.broadcast_arrays(length, stated)
    both = np.isfinite(length) & np.isfinite(stated)
    return length[both], stated[both]


def _finite(values: FloatArray) -> FloatArray:
    return values[np.isfinite(values)]


def _whitened(error: FloatArray, scale: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Squared Mahalanobis distance and half the log-determinant."""
    check_shapes(error=(error, "... d"), scale=(scale, "... d d"))
    error, scale = np.asarray(error, float), np.asarray(scale, float)
    good = np.isfinite(error).all(axis=-1) & np.isfinite(scale).all(axis=(-2, -1))
    safe = np.where(good[..., None, None], scale, np.eye(scale.shape[-1]))
    try:
        factor = np.linalg.cholesky(safe)
    except np.linalg.LinAlgError:
        lowest = np.linalg.eigvalsh(safe)[..., 0]
        where = np.unravel_index(int(lowest.argmin()), lowest.shape)
        at = tuple(int(i) for i in where)
        raise DegenerateError(f"the matrix at {at} is not positive definite: it states no uncertainty") from None
    safe_error = np.where(good[..., None], error, 0.0)
    white = np.linalg.solve(factor, safe_error[..., None])[..., 0]
    half_log_det = np.log(np.diagonal(factor, axis1=-2, axis2=-1)).sum(axis=-1)
    return np.where(good, (white**2).sum(axis=-1), np.nan), np.where(good, half_log_det, np.nan)
