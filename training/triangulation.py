"""Triangulation that gradients pass through: ridge normal equations, then robust steps weighed by per-view covariances.

Points (N, J, 3) m of V views; a camera is its 3×4 projection into the view's crop, px. The gradient of a singular
value decomposition grows without bound where views do not determine a point (cameras that face each other, a point
between them); that of normal equations with a ridge stays small, and the gate names such points.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

RIDGE = 1e-6  # of the mean eigenvalue of the normal matrix
MOST_CONDITION = 1e4  # of the normal matrix: worse points are not determined
MOST_SIGMA_M = 0.3  # longest axis of a point that is determined
NEAREST_M = 0.1  # in front of a camera
_STEPS = 3  # of the refinement; it starts beside the minimum


class Points(NamedTuple):
    """Triangulated points; what is not ``good`` holds finite placeholders, so that gradients stay finite."""

    xyz: Tensor  # (N, J, 3) m
    matrix: Tensor  # (N, J, 3, 3) m², inverse of the normal matrix for 1 px of noise, or of the weighed information
    deviance: Tensor  # (N, J) squared residuals in units of the covariances
    freedom: Tensor  # (N, J) numbers measured minus numbers estimated, at least 1
    good: Tensor  # (N, J) bool: two views or more, well conditioned, in front of the cameras


def project_points(
    projection: Tensor,  # (..., V, 3, 4)
    points: Tensor,  # (..., J, 3) m
) -> tuple[Tensor, Tensor, Tensor]:
    """Project points into views.

    The derivative is that of the full projection (para-perspective), in world axes: J = (P₁₂ − u P₃) / w. Hartley &
    Zisserman 2004, section 6.1.

    Convention:
        a point nearer than `NEAREST_M` is treated as that near, and has to be left out by its depth.

    Returns:
        (..., V, J, 2) px, its derivative (..., V, J, 2, 3) px/m, and the depth (..., V, J) m.
    """
    linear, offset = projection[..., None, :, :3], projection[..., None, :, 3]
    image = (linear @ points[..., None, :, :, None])[..., 0] + offset
    depth = image[..., 2]
    safe = depth.clamp(min=NEAREST_M)[..., None]
    uv = image[..., :2] / safe
    jacobian = (linear[..., :2, :] - uv[..., None] * linear[..., 2:, :]) / safe[..., None]
    return uv, jacobian, depth


def linear_points(
    projection: Tensor,  # (N, V, 3, 4)
    xy: Tensor,  # (N, V, J, 2) px
    seen: Tensor,  # (N, V) bool
    centre: Tensor,  # (N, 3) m, near the points
) -> Points:
    """Triangulate linearly, all views alike: rows of equal length, weighed once more by the depth.

    Two rows a view, u p₃ − p₁ and v p₃ − p₂; Hartley & Zisserman 2004, section 12.2, in its inhomogeneous form about
    ``centre``, with a ridge of `RIDGE` instead of a singular value decomposition.

    Returns:
        Points with ``matrix`` for noise of 1 px.
    """
    P = projection.double()
    rows = xy.double()[..., None] * P[:, :, None, 2:3] - P[:, :, None, :2]
    about = (rows[..., :3] * centre.double()[:, None, None, None]).sum(dim=-1) + rows[..., 3]
    weight = seen.double()[:, :, None, None] / rows[..., :3].norm(dim=-1).clamp(min=1e-9)
    moved, _ = _solved(rows[..., :3], -about, weight)
    found = moved + centre.double()[:, None]
    depth = project_points(P, found)[2].detach().clamp(min=NEAREST_M)
    weight = seen.double()[:, :, None] / depth
    moved, normal = _solved(rows[..., :3], -about, weight[..., None].expand(*weight.shape, 2))
    found = moved + centre.double()[:, None]
    uv, _, depth = project_points(P, found)
    squares = (((uv - xy.double()) ** 2).sum(dim=-1) * seen[:, :, None]).sum(dim=1)
    return _gated(found, normal, squares, seen, depth)


def refined_points(
    start: Points,
    projection: Tensor,  # (N, V, 3, 4)
    xy: Tensor,  # (N, V, J, 2) px
    factor: Tensor,  # (N, V, J, 2, 2) lower Cholesky factor of each keypoint's scale matrix, px
    nu: Tensor,  # (J,) degrees of freedom
    seen: Tensor,  # (N, V) bool
) -> Points:
    """Improve points by their reprojection, every view weighed by its covariance and as a Student t.

    Iteratively reweighted Gauss-Newton with weights (ν + 2) / (ν + δ) (Lange, Little & Taylor 1989). The information
    Σ Jᵀ C⁻¹ J, C = scale · ν/(ν−2), counts a view that does not fit less, one that fits never more than once.

    Returns:
        Points with ``matrix`` the inverse of the information.
    """
    P, L, nu = projection.double(), factor.double(), nu.double()
    used = seen.double()[:, :, None]
    found = start.xyz
    for _ in range(_STEPS):
        residual, slope, _ = _whitened(P, found, xy.double(), L)
        # The root is taken of what is never 0: its gradient there would be infinite.
        weight = used * ((nu + 2) / (nu + (residual**2).sum(dim=-1))).sqrt()
        step, _ = _solved(slope, residual, weight[..., None].expand_as(residual))
        found = found + step.clamp(-0.5, 0.5)
    residual, slope, depth = _whitened(P, found, xy.double(), L)
    squares = (residual**2).sum(dim=-1) * (nu - 2) / nu
    weight = used * ((nu - 2) / nu * ((nu + 2) / (nu + (residual**2).sum(dim=-1))).clamp(max=1)).sqrt()
    rows = slope * weight[..., None, None]
    information = torch.einsum("nvjki,nvjkl->njil", rows, rows)
    return _gated(found, information, (squares * used).sum(dim=1), seen, depth)


def _whitened(P: Tensor, points: Tensor, xy: Tensor, factor: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Residuals (N, V, J, 2) and slopes (N, V, J, 2, 3) in units of the covariances, and depths."""
    uv, jacobian, depth = project_points(P, points)
    both = torch.cat([(xy - uv)[..., None], jacobian], dim=-1)
    first = both[..., 0, :] / factor[..., 0, 0, None]
    second = (both[..., 1, :] - factor[..., 1, 0, None] * first) / factor[..., 1, 1, None]
    white = torch.stack([first, second], dim=-2)
    return white[..., 0], white[..., 1:], depth


def _solved(rows: Tensor, right: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Least squares over views and rows: (N, J, 3), and the normal matrix (N, J, 3, 3) without its ridge."""
    a = rows * weight[..., None]
    normal = torch.einsum("nvjki,nvjkl->njil", a, a)
    vector = torch.einsum("nvjki,nvjk->nji", a, right * weight)
    return torch.linalg.solve(_ridged(normal), vector), normal


def _ridged(normal: Tensor) -> Tensor:
    scale = normal.diagonal(dim1=-2, dim2=-1).mean(dim=-1)
    ridge = RIDGE * scale + 1e-12  # the second only where nothing is seen at all
    return normal + ridge[..., None, None] * torch.eye(3, dtype=normal.dtype, device=normal.device)


def _gated(points: Tensor, information: Tensor, squares: Tensor, seen: Tensor, depth: Tensor) -> Points:
    count = seen.sum(dim=1)[:, None].expand(points.shape[:2])
    values = torch.linalg.eigvalsh(_ridged(information.detach()))
    behind = ((depth < 2 * NEAREST_M) & seen[:, :, None]).any(dim=1)
    good = (count >= 2) & (values[..., 2] < MOST_CONDITION * values[..., 0]) & ~behind
    good = good & torch.isfinite(points).all(dim=-1)
    eye = torch.eye(3, dtype=points.dtype, device=points.device)
    safe = torch.where(good[..., None, None], _ridged(information), eye)
    placed = torch.where(good[..., None], points, torch.zeros_like(points))
    return Points(placed, torch.linalg.inv(safe), squares, (2 * count - 3).clamp(min=1).double(), good)
