"""Measure the clean-up tools on a solution with known truth: error, jitter, and how far planted feet slide.

    python tools/measure_cleanup.py SOLUTION.npz TRUTH.npz

Rows are the first person's solved motion and what the tools of the add-on make of it. Error is against the truth, as it
is and without joint offsets (see `compare_truth.py`); jerk is the root of the mean squared third difference per s³;
slide is how far a planted joint is from its mean place over its span, worst and mean over the spans found by the solve.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from inference.errors import SolveError
from inference.files.solution import read_solution
from inference.motion.foot_lock import Budget, PlantedSpan, lock_feet, planted_spans
from inference.motion.guided_smoothing import smooth_motion
from inference.motion.reposing import joints_of
from inference.shapes import FloatArray
from inference.types import Flag, Keypoints3D, SkeletonMotion, Solution
from tools.compare_truth import Truth, compare_layer, read_truth


def rows(solution: Solution, truth: Truth) -> dict[str, dict[str, float]]:
    """Return name of the step → error_mm, error_without_offsets_mm, jerk, slide_max_mm, slide_mean_mm, moved_sigmas.

    Raises:
        InputError: solution and truth do not fit, or no foot stands.
    """
    motion, joints = solution.motion, solution.solved
    covariance = joints.covariance[:, 0, [joints.joint_names.index(name) for name in motion.skeleton.joint_names]]
    spans = planted_spans(solution.contact[:, 0], solution.contact_names, motion.timestamps_s)
    smoothed = smooth_motion(motion, 0, covariance, 0.04)
    steps = {"solved": motion, "smoothed, 0.04 s": smoothed}
    for name, start, budget in (
        ("locked, 3 sigma", motion, Budget(sigmas=3.0)),
        ("locked, 3 cm", motion, Budget(metres=0.03)),
        ("locked, 5 cm", motion, Budget(metres=0.05)),
        ("smoothed, locked 5 cm", smoothed, Budget(metres=0.05)),
    ):
        steps[name] = lock_feet(start, 0, covariance, spans, budget)[0]
    return {name: _row(step, motion, covariance, spans, truth) for name, step in steps.items()}


def _row(
    motion: SkeletonMotion, solved: SkeletonMotion, covariance: FloatArray, spans: list[PlantedSpan], truth: Truth
) -> dict[str, float]:
    names, joints, times = motion.skeleton.joint_names, joints_of(motion, 0), motion.timestamps_s
    flags = np.full(joints[:, None, :, 0].shape, Flag.OBSERVED)
    error = compare_layer(Keypoints3D(names, times, joints[:, None], covariance[:, None], flags), truth)
    paths = [joints[span.start : span.stop, names.index(span.joint)] for span in spans]
    slides = [1000 * np.linalg.norm(path - path.mean(axis=0), axis=1).max() for path in paths]
    moved = joints - joints_of(solved, 0)
    distance = np.einsum("tni,tnij,tnj->tn", moved, np.linalg.inv(covariance), moved)
    third = np.diff(joints, 3, axis=0) / np.median(np.diff(times)) ** 3
    return {
        "error_mm": error["as_it_is"]["mean_mm"],
        "error_without_offsets_mm": error["without_joint_offsets"]["mean_mm"],
        "jerk": float(np.sqrt((third**2).sum(axis=-1).mean())),
        "slide_max_mm": float(max(slides, default=np.nan)),
        "slide_mean_mm": float(np.mean(slides)) if slides else float("nan"),
        "moved_sigmas": float(np.sqrt(distance.max())),
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure and print one row per step."""
    parser = argparse.ArgumentParser(description="Measure the clean-up tools on a solution with known truth.")
    parser.add_argument("solution", type=Path)
    parser.add_argument("truth", type=Path)
    options = parser.parse_args(arguments)
    try:
        found = rows(read_solution(options.solution), read_truth(options.truth))
    except SolveError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print("| Step | Error, mm | without offsets | Jerk, m/s³ | Worst slide, mm | Mean slide | Moved, sigmas |")
    print("|---|---|---|---|---|---|---|")
    for name, row in found.items():
        print(f"| {name} | " + " | ".join(f"{value:.1f}" for value in row.values()) + " |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
