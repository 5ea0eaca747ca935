"""What any number of views say about a whole body pose, as one Gaussian: the condition of the conditional flow.

A prior over poses and the views' rays make a Gaussian in closed form; the flow (training/networks/flow.py) describes
what is left of the true pose in units of that Gaussian, so that missing joints, one view and many are one case.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg.lapack import dtrtrs  # pyright: ignore[reportAttributeAccessIssue]

from ..shapes import FloatArray, check_shapes, frozen

PRIOR_SIGMA_M = 0.5  # of a joint about the anchor, where the features of an unseen joint are written down
_LEAST_SIGMA_M = 0.005
_BLOCK = 16  # frames
_SIDEWAYS_SIGMA_M = 0.1  # of the anchor about the pelvis, across the ray


@dataclass(frozen=True, eq=False)
class PosePrior:
    """Poses about their pelvis in a camera's axes, whatever the heading; and the order in which they are whitened."""

    mean: FloatArray  # (3J,) m, joint by joint
    covariance: FloatArray  # (3J, 3J) m²
    patterns: FloatArray  # (J, J) orthogonal rows over joints, the strongest in depth last

    def __post_init__(self) -> None:
        for name in ("mean", "covariance", "patterns"):
            object.__setattr__(self, name, frozen(getattr(self, name)))
        j = len(self.patterns)
        check_shapes(
            mean=(self.mean, f"{3 * j}"),
            covariance=(self.covariance, f"{3 * j} {3 * j}"),
            patterns=(self.patterns, f"{j} {j}"),
        )

    def basis(self) -> FloatArray:
        """Return (3J, 3J): x, y and depth of each pattern, so that the strongest in depth is the last row."""
        j = len(self.patterns)
        rows = np.zeros((3, j, j, 3))
        for axis in range(3):
            rows[axis, :, :, axis] = self.patterns
        return rows.reshape(3 * j, 3 * j)


@dataclass(frozen=True, eq=False)
class PoseGaussians:
    """Prior times rays: u = whitenerᵀ basis (x − mean) is standard normal, its last J numbers depth alone."""

    mean: FloatArray  # (N, 3J) m, about the anchor
    whitener: FloatArray  # (N, 3J, 3J) lower triangular, 1/m
    features: FloatArray  # (N, 15J) what the network is told

    def take(self, frames: slice) -> PoseGaussians:
        """The same of some frames."""
        return PoseGaussians(self.mean[frames], self.whitener[frames], self.features[frames])

    def poses(self, u: FloatArray, prior: PosePrior) -> FloatArray:  # (N, S, 3J)
        """Return poses (N, S, J, 3) m about the anchor for whitened ones."""
        to_pose = np.linalg.inv(self.whitener) @ prior.basis()
        return (self.mean[:, None].astype(u.dtype) + u @ to_pose.astype(u.dtype)).reshape(*u.shape[:2], -1, 3)

    def whitened(self, xyz: FloatArray, prior: PosePrior) -> FloatArray:  # (N, J, 3) m
        """Return u (N, 3J) of poses about the anchor."""
        apart = (xyz.reshape(len(xyz), -1) - self.mean) @ prior.basis().T
        return (apart[:, None] @ self.whitener)[:, 0]


def make_prior(poses: FloatArray) -> PosePrior:  # (N, J, 3) m
    """Take mean and covariance of poses in a camera's axes about the pelvis, and the patterns of their depth."""
    n, j = poses.shape[:2]
    flat = poses.reshape(n, -1)
    # The hips' middle is the origin without any error: a little of it keeps the covariance invertible.
    covariance = np.cov(flat, rowvar=False) + _LEAST_SIGMA_M**2 * np.eye(3 * j)
    return PosePrior(flat.mean(axis=0), covariance, np.linalg.eigh(covariance[2::3, 2::3])[1].T)


def pose_gaussians(
    uv: FloatArray,  # (N, V, J, 2) normalised coordinates x/z, y/z without distortion; NaN = not seen
    covariance: FloatArray,  # (N, V, J, 2, 2) of uv
    rotation: FloatArray,  # (N, V, 3, 3) view_from_reference
    anchor: FloatArray,  # (N, V, 3) m, a rough place of the pelvis in each view's axes
    anchor_sigma: FloatArray,  # (N,) m, how well its distance is known
    prior: PosePrior,
) -> PoseGaussians:
    """Multiply the prior with what the rays of all views say, the anchor's error included.

    Convention:
        reference axes: those of a camera (x right, y down, z forward), origin at the anchor. A point x gives
        (uv of x) exactly where A x + c = 0 with A = (1/z)[I₂ | −uv] R; only the weight takes z from the anchor.

    Raises:
        ShapeError: the arrays do not fit together.
    """
    information, vector = _rays(uv, covariance, rotation, anchor)
    along = (np.swapaxes(rotation, -1, -2) @ anchor[..., None])[:, 0, :, 0]
    n, d = len(uv), len(prior.mean)
    basis, spread = prior.basis(), _anchor_covariance(along, anchor_sigma)
    still, moved, stiff = _shifted_prior(prior, basis)
    right = vector.reshape(n, d) @ basis.T
    whitener, mean = np.empty((n, d, d)), np.empty((n, d))
    for start in range(0, n, _BLOCK):  # all at once would not stay in the cache
        some = slice(start, start + _BLOCK)
        shift = np.linalg.inv(np.linalg.inv(spread[some]) + stiff)
        precision = still - (moved @ shift) @ moved.T
        pull = right[some] + precision @ (basis @ prior.mean)
        _add_rays(precision, information[some], prior.patterns)
        whitener[some] = np.linalg.cholesky(precision)
        for i, one in enumerate(pull, start):  # a triangular solve is less than a call of batched algebra
            half = dtrtrs(whitener[i].T, one, lower=0, trans=1)[0]
            mean[i] = dtrtrs(whitener[i].T, half, lower=0, trans=0)[0]
    log_spread = -np.log(whitener.diagonal(axis1=-2, axis2=-1))
    features = np.concatenate([_joint_features(information, vector), 2 * mean, log_spread / 2 + 1], axis=-1)
    return PoseGaussians(mean @ basis, whitener, features)


def _anchor_covariance(along: FloatArray, sigma: FloatArray) -> FloatArray:
    """Return (N, 3, 3) m² of an anchor that is off by sigma along the ray and little across."""
    ray = along / np.linalg.norm(along, axis=-1, keepdims=True)
    across = np.minimum(_SIDEWAYS_SIGMA_M, sigma)[:, None, None] ** 2
    return across * np.eye(3) + (sigma[:, None, None] ** 2 - across) * ray[:, :, None] * ray[:, None, :]


def _shifted_prior(prior: PosePrior, basis: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return what the patterns' precision is made of where the anchor is off.

    A shift with covariance T moves all joints: Σ + E T Eᵀ with E = (I₃ … I₃)ᵀ, whose inverse is, by Woodbury's
    identity, P − P E (T⁻¹ + Eᵀ P E)⁻¹ Eᵀ P: here P, P E and Eᵀ P E.
    """
    precision = basis @ np.linalg.inv(prior.covariance) @ basis.T
    all_joints = basis @ np.tile(np.eye(3), (len(basis) // 3, 1))
    moved = precision @ all_joints
    return precision, moved, all_joints.T @ moved


def _add_rays(precision: FloatArray, information: FloatArray, patterns: FloatArray) -> None:
    """Add what the rays say about joints (N, J, 3, 3) to the patterns' precision (N, 3J, 3J)."""
    j = len(patterns)
    for a in range(3):
        for b in range(a + 1):
            block = (patterns * information[:, None, :, a, b]) @ patterns.T
            precision[:, a * j : (a + 1) * j, b * j : (b + 1) * j] += block
            if a != b:
                precision[:, b * j : (b + 1) * j, a * j : (a + 1) * j] += block  # it is symmetric


def _joint_features(information: FloatArray, vector: FloatArray) -> FloatArray:
    """Return (N, 9J): what the rays say about each joint alone, with a wide prior where they say nothing."""
    spread = np.linalg.inv(information + np.eye(3) / PRIOR_SIGMA_M**2)
    factor = np.linalg.cholesky((spread + np.swapaxes(spread, -1, -2)) / 2)
    mean = (spread @ vector[..., None])[..., 0]
    diagonal = np.log(np.maximum(factor.diagonal(axis1=-2, axis2=-1), 1e-6)) / 2 + 1
    below = np.stack([factor[..., 1, 0], factor[..., 2, 0], factor[..., 2, 1]], axis=-1)
    return np.concatenate([2 * mean, diagonal, 2 * below], axis=-1).reshape(len(vector), -1)


def _rays(
    uv: FloatArray, covariance: FloatArray, rotation: FloatArray, anchor: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return Λ = Σ AᵀWA (N, J, 3, 3) and Σ AᵀW(−c) (N, J, 3) of all views, about the anchor."""
    check_shapes(
        uv=(uv, "N V J 2"),
        covariance=(covariance, "N V J 2 2"),
        rotation=(rotation, "N V 3 3"),
        anchor=(anchor, "N V 3"),
    )
    seen = np.isfinite(uv).all(axis=-1) & np.isfinite(covariance).all(axis=(-1, -2))
    place = np.where(seen[..., None], uv, 0.0)
    weight = _inverse_2x2(np.where(seen[..., None, None], covariance, np.eye(2))) * seen[..., None, None]
    depth = anchor[:, :, None, 2]
    rows = np.zeros((*place.shape, 3))
    rows[..., 0, 0] = rows[..., 1, 1] = 1.0
    rows[..., 2] = -place
    rows = rows / depth[..., None, None] @ rotation[:, :, None]
    # The point of the ray at the anchor's depth, seen from the anchor; its depth does not matter: A takes it away.
    offset = depth[..., None] * place - anchor[:, :, None, :2]
    constant = (offset / depth[..., None])[..., None]
    weighted = np.swapaxes(rows, -1, -2) @ weight
    return (weighted @ rows).sum(axis=1), (weighted @ constant).sum(axis=(1, -1))


def _inverse_2x2(matrix: FloatArray) -> FloatArray:
    """Invert symmetric (…, 2, 2), several times faster than the general way."""
    result = np.empty_like(matrix)
    result[..., 0, 0], result[..., 1, 1] = matrix[..., 1, 1], matrix[..., 0, 0]
    result[..., 0, 1] = result[..., 1, 0] = -matrix[..., 0, 1]
    return result / (matrix[..., 0, 0] * matrix[..., 1, 1] - matrix[..., 0, 1] ** 2)[..., None, None]
