"""What any number of views say about a pose, as one Gaussian per joint: the condition of the conditional flow."""

from __future__ import annotations

import numpy as np

from ..shapes import FloatArray, check_shapes

PRIOR_SIGMA_M = 0.5  # of a joint about the root where no view says anything


def fused_views(
    uv: FloatArray,  # (N, V, J, 2) normalised coordinates x/z, y/z without distortion; NaN = not seen
    covariance: FloatArray,  # (N, V, J, 2, 2) of uv
    rotation: FloatArray,  # (N, V, 3, 3) view_from_reference
    root: FloatArray,  # (N, V, 3) m, estimate of the pelvis in each view's axes
) -> tuple[FloatArray, FloatArray]:
    """Fuse the rays of all views with a wide prior about the root, in information form.

    Convention:
        reference axes: those of a camera (x right, y down, z forward), origin at the estimate of the pelvis. The
        projection is made linear at the pelvis' depth: Λ = I/s² + Σ Aᵀ W A with A = (1/z)[I₂ | −uv] R.

    Returns:
        mean (N, J, 3) m and lower Cholesky factor (N, J, 3, 3) m of the covariance, in reference axes.

    Raises:
        ShapeError: the arrays do not fit together.
    """
    check_shapes(
        uv=(uv, "N V J 2"), covariance=(covariance, "N V J 2 2"), rotation=(rotation, "N V 3 3"), root=(root, "N V 3")
    )
    seen = np.isfinite(uv).all(axis=-1) & np.isfinite(covariance).all(axis=(-1, -2))
    place = np.where(seen[..., None], uv, 0.0)
    spread = np.where(seen[..., None, None], covariance, np.eye(2))
    weight = np.linalg.inv(spread) * seen[..., None, None]
    depth = root[:, :, None, 2]
    rows = np.zeros((*place.shape, 3))
    rows[..., 0, 0] = rows[..., 1, 1] = 1.0
    rows[..., 2] = -place
    rows = rows / depth[..., None, None] @ rotation[:, :, None]
    # The point of the ray at the pelvis' depth, seen from the pelvis; its depth does not matter: A takes it away.
    offset = depth[..., None] * place - root[:, :, None, :2]
    constant = (offset / depth[..., None])[..., None]
    information = np.eye(3) / PRIOR_SIGMA_M**2 + (np.swapaxes(rows, -1, -2) @ weight @ rows).sum(axis=1)
    vector = (np.swapaxes(rows, -1, -2) @ weight @ constant).sum(axis=1)
    spread3 = np.linalg.inv(information)
    spread3 = (spread3 + np.swapaxes(spread3, -1, -2)) / 2
    return (spread3 @ vector)[..., 0], np.linalg.cholesky(spread3)
