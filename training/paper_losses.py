"""What the paper's flow minimises beside its projection: MMD, heatmap variances, the best of many, a critic (WGAN-GP).

Best-of-many and the heatmap term reward spread where it helps the nearest sample: they do not make a calibrated
distribution, which the tables measure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

BANDWIDTHS = (0.0025, 0.04, 0.81)  # of equation 10


def mmd(a: Tensor, b: Tensor, bandwidths: Sequence[float] = BANDWIDTHS, fair: bool = False) -> Tensor:
    """Return the squared maximum mean discrepancy of samples (N, D) and (M, D), kernels b / (b + d²).

    Gretton et al. 2012.

    Args:
        a: one set.
        b: the other.
        bandwidths: of the inverse multiquadratics; the paper's are small against d² of 48 numbers, so that the signal
            nearly vanishes: `median_bandwidths` has more.
        fair: leave out each sample's kernel with itself; else the estimate is off by the same for all sets of a size.
    """
    same_a, same_b, across = (_kernels(p, q, bandwidths) for p, q in ((a, a), (b, b), (a, b)))
    if fair:
        n, m = len(a), len(b)
        same = (same_a.sum() - same_a.diagonal().sum()) / (n * (n - 1))
        return same + (same_b.sum() - same_b.diagonal().sum()) / (m * (m - 1)) - 2 * across.mean()
    return same_a.mean() + same_b.mean() - 2 * across.mean()


def median_bandwidths(b: Tensor) -> tuple[float, ...]:
    """Return a quarter, once and four times the median squared distance of samples."""
    apart = torch.cdist(b, b).square()
    middle = float(apart[~torch.eye(len(b), dtype=torch.bool)].median())
    return (middle / 4, middle, 4 * middle)


def _kernels(p: Tensor, q: Tensor, bandwidths: Sequence[float]) -> Tensor:
    apart = (p[:, None] - q[None]).square().sum(dim=-1)
    return torch.stack([b / (b + apart) for b in bandwidths]).sum(dim=0)


def heatmap_loss(samples: Tensor, target: Tensor, unsure: Tensor) -> Tensor:
    """Return L_HM (equation 3), a mean over all joints: sampled poses spread at least as the heatmap does.

    Args:
        samples: (N, M, J, 2) m, root at the origin.
        target: (N, J, 2, 2) m², covariance of the fitted Gaussian.
        unsure: (N, J) bool, joints whose Gaussian is wider than the training targets of the detector.
    """
    apart = samples - samples.mean(dim=1, keepdim=True)
    spread = torch.einsum("nmji,nmjk->njik", apart, apart) / (samples.shape[1] - 1)
    short = target - spread
    x, y = (torch.relu(short[..., i, i]) for i in (0, 1))
    length = torch.sqrt(x.square() + y.square() + short[..., 0, 1].square() + 1e-30)
    return (length * unsure).mean()


def best_of_many(samples: Tensor, truth: Tensor, k: int) -> Tensor:
    """Return L_MB (equation 8): L1 of the mean of the k samples that are nearest by MPJPE.

    Args:
        samples: (N, M, J, 3) m, root at the origin.
        truth: (N, J, 3) m.
        k: how many.
    """
    errors = (samples - truth[:, None]).norm(dim=-1).mean(dim=-1)
    nearest = errors.topk(k, dim=1, largest=False).indices
    chosen = samples.gather(1, nearest[..., None, None].expand(-1, -1, *samples.shape[2:]))
    return (chosen.mean(dim=1) - truth).abs().mean()


def critic_loss(critic: Callable[[Tensor], Tensor], real: Tensor, made: Tensor, share: Tensor) -> Tensor:
    """Return WGAN-GP's loss of the critic (Gulrajani et al. 2017), λ = 10, one mixing share (N, 1) per sample."""
    mixed = (share * real + (1 - share) * made).requires_grad_(True)
    (slope,) = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
    return critic(made).mean() - critic(real).mean() + 10 * (slope.norm(dim=-1) - 1).square().mean()
