"""What the networks minimise: a Student-t likelihood with its projected scale matrix, and the heatmap divergence.

    factor = cholesky_factor(head_output, size=2, floor=0.05)     # per view: (..., 2, 2) px
    loss = student_loss(labels - means, factor, nu=5.0, observed=visible)

    root = R @ cholesky_factor(pooled_output, size=3, floor=1e-3)      # camera axes, m
    factor = image_factor(perspective_jacobian(joints, focal), root, label_sigma=3.0)

Everything here is computed in float32 or better, under autocast too: logarithms of small numbers do not fit float16.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from inference.errors import ShapeError


def cholesky_factor(
    raw: Tensor,  # (..., d(d+1)/2) any real numbers
    size: int,
    floor: float,
) -> Tensor:
    """Turn free numbers of a head into the Cholesky factor L of a scale matrix Σ = L Lᵀ.

    Convention:
        raw in the order of the lower triangle, row by row (d = 2: l11, l21, l22). The diagonal is softplus + floor,
        so that Σ stays positive definite and its gradient finite for any input; ELU + 1 is eˣ below zero and
        underflows. Unit of the result: that of ``floor``.

    Args:
        raw: the head's output; float16 and bfloat16 are widened to float32.
        size: d.
        floor: smallest value of the diagonal, > 0.

    Returns:
        (..., d, d) lower triangular.

    Raises:
        ShapeError: the last axis does not hold d(d+1)/2 numbers, or the floor is not positive.
    """
    if raw.shape[-1:] != (size * (size + 1) // 2,):
        raise ShapeError(
            f"raw has shape {tuple(raw.shape)}: a {size}x{size} factor takes {size * (size + 1) // 2} numbers"
        )
    if not floor > 0:
        raise ShapeError(f"floor is {floor}: the diagonal of a Cholesky factor has to stay above zero")
    wide = _widened(raw)
    zero = torch.zeros_like(wide[..., 0])
    rows = []
    for row in range(size):  # stacked, not written in place: that is what can be exported
        first = row * (row + 1) // 2
        below = [wide[..., first + column] for column in range(row)]
        diagonal = functional.softplus(wide[..., first + row]) + floor
        rows.append(torch.stack([*below, diagonal, *[zero] * (size - row - 1)], dim=-1))
    return torch.stack(rows, dim=-2)


def student_nll(
    residual: Tensor,  # (..., 2) label minus mean
    factor: Tensor,  # (..., 2, 2) lower Cholesky factor of the scale matrix
    nu: float | Tensor,  # degrees of freedom, > 0, finite
) -> Tensor:
    """Return the negative log-likelihood of a bivariate Student t.

    ½ log|Σ| + (ν+2)/2 · log(1 + δ/ν) + log 2π with δ = rᵀ Σ⁻¹ r. The constant of the density,
    lgamma(ν/2) − lgamma((ν+2)/2) + log νπ, is log 2π in two dimensions for every ν.
    Lange, Little & Taylor 1989.

    Convention:
        nats; the density is per unit of the residual squared (px² for pixels). In normalised coordinates
        NLL_px = NLL_normalised + log(fx·fy). Σ is the scale matrix: the covariance is Σ·ν/(ν−2), only for ν > 2.
        Smaller ν is more robust; large ν tends to the Gaussian. Nothing is masked here: see `student_loss`.

    Returns:
        (...) nats.

    Raises:
        ShapeError: residual or factor is not two-dimensional, or a number ν is not finite and positive.
    """
    if residual.shape[-1:] != (2,) or factor.shape[-2:] != (2, 2):
        raise ShapeError(
            f"residual {tuple(residual.shape)} and factor {tuple(factor.shape)}: expected (..., 2) and (..., 2, 2)"
        )
    if not isinstance(nu, Tensor) and not 0 < nu < math.inf:
        raise ShapeError(f"nu is {nu}: the degrees of freedom are a finite number above zero")
    r, L = _widened(residual), _widened(factor)
    first = r[..., 0] / L[..., 0, 0]
    second = (r[..., 1] - L[..., 1, 0] * first) / L[..., 1, 1]
    half_log_det = L[..., 0, 0].log() + L[..., 1, 1].log()
    return half_log_det + (nu + 2) / 2 * torch.log1p((first**2 + second**2) / nu) + math.log(2 * math.pi)


def student_loss(
    residual: Tensor,  # (..., 2)
    factor: Tensor,  # (..., 2, 2)
    nu: float | Tensor,
    observed: Tensor,  # (...) bool
) -> Tensor:
    """Average `student_nll` over the observed keypoints of all views and joints.

    Convention:
        what is not observed (NaN allowed) reaches neither the value nor the gradient. With nothing observed
        the loss is 0 and so is its gradient.

    Returns:
        () nats per keypoint.

    Raises:
        ShapeError: ``observed`` has another shape than the keypoints: stretched, it would be counted wrongly.
    """
    if observed.shape != residual.shape[:-1]:
        raise ShapeError(f"observed has shape {tuple(observed.shape)}, the residuals {tuple(residual.shape)}")
    seen = observed.bool()
    identity = torch.eye(2, dtype=factor.dtype, device=factor.device)
    # The inputs are replaced, not the result: 0 times the gradient at NaN is NaN.
    safe_residual = torch.where(seen[..., None], residual, torch.zeros_like(residual))
    safe_factor = torch.where(seen[..., None, None], factor, identity)
    values = torch.where(seen, student_nll(safe_residual, safe_factor, nu), 0.0)
    return values.sum() / seen.sum().clamp(min=1)


def perspective_jacobian(
    points: Tensor,  # (..., 3) camera axes
    focal: Tensor,  # (..., 2) fx, fy px
) -> Tensor:
    """Return the derivative of the pinhole projection with respect to the point, both in camera axes.

    J = 1/z [[fx, 0, −fx x/z], [0, fy, −fy y/z]]; Hartley & Zisserman 2004, section 6.1. The columns in x/z are what
    weak perspective leaves out: off the axis they carry the depth's variance into the image.

    Convention:
        px per unit of the points. A point at or behind the camera gives NaN: leave it out before, by indexing.

    Returns:
        (..., 2, 3).
    """
    xyz, f = _widened(points), _widened(focal)
    z = torch.where(xyz[..., 2] > 0, xyz[..., 2], torch.nan)
    scale = f / z[..., None]
    along_depth = -scale * xyz[..., :2] / z[..., None]
    return torch.cat([torch.diag_embed(scale), along_depth[..., None]], dim=-1)


def image_factor(
    jacobian: Tensor,  # (..., 2, d)
    root: Tensor,  # (..., d, d) any root of the scale matrix in the Jacobian's axes: Σ = root rootᵀ
    label_sigma: float | Tensor,  # (...) px
) -> Tensor:
    """Return the Cholesky factor of S = J Σ Jᵀ + s² I, the scale matrix of a label in the image.

    s is the label's own noise: without it Σ is fitted to the noise of the labels instead of the error of the mean.

    Convention:
        px. With a Jacobian in camera axes and Σ = L Lᵀ in world axes, ``root`` is R L. S is 2x2: the third row of the
        projection is no coordinate, and a zero row would make S singular. A tensor of label sigmas is not checked.

    Returns:
        (..., 2, 2) lower triangular, px.

    Raises:
        ShapeError: s is not positive.
    """
    if not isinstance(label_sigma, Tensor) and not label_sigma > 0:
        raise ShapeError(f"label_sigma is {label_sigma}: no label is free of noise, state its sigma in pixels")
    with torch.autocast(jacobian.device.type, enabled=False):
        rows = _widened(jacobian) @ _widened(root)
    noise = torch.as_tensor(label_sigma, dtype=rows.dtype, device=rows.device) ** 2
    squares = (rows**2).sum(dim=-1) + noise[..., None]
    product = (rows[..., 0, :] * rows[..., 1, :]).sum(dim=-1)
    l11 = squares[..., 0].sqrt()
    l21 = product / l11
    # The Schur complement of S is at least s²: the bound takes away what rounding left below it.
    l22 = torch.maximum(squares[..., 1] - l21**2, noise).sqrt()
    top = torch.stack([l11, torch.zeros_like(l11)], dim=-1)
    return torch.stack([top, torch.stack([l21, l22], dim=-1)], dim=-2)


def gaussian_heatmap(
    mean: Tensor,  # (..., 2) cells, (x, y); the centre of cell 0 is 0
    size: tuple[int, int],  # (width, height) cells
    sigma: float,
) -> Tensor:
    """Return discrete Gaussians that sum to 1 over the map.

    Convention:
        cells with their centres at whole numbers. Near the border the mass outside is cut off, which moves
        the mean inwards (0.5 cells at cell 0 for sigma 1): keep targets two cells inside.

    Returns:
        (..., height, width).
    """
    wide = _widened(mean)
    along = [
        torch.softmax(-((torch.arange(n, device=mean.device) - wide[..., i, None]) ** 2) / (2 * sigma**2), dim=-1)
        for i, n in enumerate(size)
    ]
    return along[1][..., :, None] * along[0][..., None, :]


def jensen_shannon(
    first: Tensor,  # (..., height, width) sums to 1
    second: Tensor,  # (..., height, width) sums to 1
) -> Tensor:
    """Return the Jensen-Shannon divergence of two heatmaps: how far one is from being the other's shape.

    Nibali et al. 2018 (numerical coordinate regression). Differs in that it has no epsilon: 0 log 0 = 0.

    Convention:
        natural logarithm: 0 for equal maps, log 2 for disjoint ones. float32 or better; the gradient is finite where
        a map is exactly zero.

    Returns:
        (...) nats.
    """
    p, q = _widened(first), _widened(second)
    # Entropy of the mean less the mean entropy: one logarithm a map. (torch.xlogy is many times slower than log.)
    return (_negative_entropy(p) + _negative_entropy(q)) / 2 - _negative_entropy((p + q) / 2)


def kullback_leibler(
    first: Tensor,  # (..., height, width) sums to 1
    second: Tensor,  # (..., height, width) sums to 1
) -> Tensor:
    """Return the divergence of a heatmap from its target: Σ second · log(second / first).

    Convention:
        natural logarithm, float32 or better; 0 for equal maps. Through a softmax its gradient is first − second
        wherever the two lie, so that a map far from its target is still pulled there.

    Returns:
        (...) nats.
    """
    p, q = _widened(first), _widened(second)
    return _negative_entropy(q) - (q * p.clamp(min=torch.finfo(p.dtype).tiny).log()).sum(dim=(-2, -1))


def distance(
    first: Tensor,  # (..., d)
    second: Tensor,  # (..., d)
) -> Tensor:
    """Return the Euclidean distance; its gradient at an exact match is 0, where that of √Σx² is NaN."""
    return torch.linalg.vector_norm(_widened(first) - _widened(second), dim=-1)


def _negative_entropy(p: Tensor) -> Tensor:
    tiny = torch.finfo(p.dtype).tiny  # only below it does the logarithm's own gradient overflow
    return (p * p.clamp(min=tiny).log()).sum(dim=(-2, -1))


def _widened(values: Tensor) -> Tensor:
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
