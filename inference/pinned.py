"""What a joint pinned in space tells of the rest of the body where one view alone sees it.

Samples say how joints err together: where a wrist is nearer than their mean, its elbow is nearer too. So a pin moves
them as any measurement would, in its own frame and, less, in those around it, whose samples err alike.
"""

from __future__ import annotations

import numpy as np

from .shapes import BoolArray, FloatArray

_LASTS_S = 0.25  # for which samples err alike: an arm taken for one that points away stays so for a while
_LEAST_SHARE = 0.02


def pinned_bodies(
    bodies: FloatArray,  # (N, S, J, 3) m, samples of equal weight; NaN in frames without
    times: FloatArray,  # (N,) s
    pins: tuple[FloatArray, FloatArray],  # (N, J, 3) and sigma (N, J) m; NaN where nothing is pinned
    seed: int,
) -> tuple[FloatArray, BoolArray]:
    """Move samples so that they are drawn given what is pinned.

    Samples as a Gaussian, whose errors e are correlated by ρ from the pin's frame f to another one: the pin says
    ρ e + N(0, (1 − ρ²) C + σ²), and every sample moves by what it misses a draw of that, times the gain (Matheron's
    rule; Journel & Huijbregts 1978).

    Convention:
        ρ falls with time, as a bell of 0.25 s. Of several pins each comes upon what the earlier ones have moved.

    Returns:
        The samples, and (N,) which frames have changed.
    """
    found, changed = np.array(bodies), np.zeros(len(bodies), bool)
    place, sigma = pins
    numbers = np.random.default_rng(seed)
    there = np.isfinite(bodies).all(axis=(1, 2, 3))
    for frame in np.flatnonzero(np.isfinite(place).any(axis=(1, 2)) & there):
        joints = np.flatnonzero(np.isfinite(place[frame]).all(axis=-1))
        missed = (place[frame, joints] - found[frame][:, joints].mean(axis=0)).ravel()
        noise = np.repeat(sigma[frame, joints] ** 2, 3)
        share = np.exp(-0.5 * ((times - times[frame]) / _LASTS_S) ** 2)
        for other in np.flatnonzero((share > _LEAST_SHARE) & there):  # few, each with matrices of its own
            apart = (found[other] - found[other].mean(axis=0)).astype(float)
            own, flat = apart[:, joints].reshape(len(apart), -1), apart.reshape(len(apart), -1)
            spread = own.T @ own / len(own)
            gain = share[other] * np.linalg.solve(spread + np.diag(noise), own.T @ flat / len(own))
            root = np.linalg.cholesky((1 - share[other] ** 2) * spread + np.diag(noise))
            drawn = missed + numbers.standard_normal(own.shape) @ root.T
            found[other] += ((drawn - share[other] * own) @ gain).reshape(apart.shape)
            changed[other] = True
    return found, changed
