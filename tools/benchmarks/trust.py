"""Whether stated ellipsoids hold the truth, over many short takes, each with its own camera and keypoint errors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tests import synthetic
from tools.benchmarks.measures import LEVELS, coverage
from tools.benchmarks.rows import Row, Target
from tools.benchmarks.scenes import Case, solve

FRAMES = 90
CASES = (
    (Case("base", synthetic.SCENES["base"]), 2.0),
    (Case("correlated", synthetic.SCENES["correlated"]), 5.0),
    (Case("camera error stated", synthetic.BASE, 4, 0.15, 0.005), 5.0),
    (Case("camera error unstated", synthetic.BASE, 4, 0.15, 0.005, False), 5.0),
    (Case("realistic", synthetic.SCENES["realistic"]), 5.0),
)


def many_rigs(takes: int) -> Iterator[Row]:
    """Measure coverage of the solved joints: errors that last a take are one draw per take, so takes count."""
    for case, limit in CASES:
        shares = []
        for seed in range(101, 101 + takes):
            take = solve(case, seed, FRAMES)
            shares.append(coverage(take.solved, take.truth, LEVELS))
        mean = 100 * np.mean(shares, axis=0)
        worst = float(np.abs(mean - 100 * np.array(LEVELS)).max())
        sigma = 100 * np.std(shares, axis=0, ddof=1).max() / np.sqrt(takes) if takes > 1 else float("nan")
        note = " / ".join(f"{share:.1f}" for share in mean) + f" inside 50/90/95 %; {takes} takes of {FRAMES} frames, "
        note += f"seeds 101–{100 + takes}, one sigma of the mean {sigma:.1f}"
        yield Row("coverage over many rigs", case.name, "points off", worst, note=note, targets=(Target(limit),))
