"""Measure a solution against known truth, or against what another tool made of the same take.

    python tools/compare_truth.py SOLUTION.npz TRUTH.npz|FILE.trc|FILE.c3d [--json FILE]

Truth is an ``.npz`` without pickles: ``joint_names`` (J,), ``xyz`` (T, J, 3) m, ``timestamps_s`` (T,). A TRC file is
read as Y-up, a C3D file as it says; its first moment is the solution's second 0, and names such as ``RBigToe`` are
understood as ``right_big_toe``. Two errors are told apart and both are printed:

- **as it is**: no alignment at all; the cameras are given, so world and scale are the truth's own;
- **without joint offsets**: a detector and a body mesh do not mean quite the same place by "left hip". For each joint
  the median difference, in axes that turn with the person (left, ahead, up), is removed first.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from inference.errors import InputError, SolveError
from inference.files.c3d import read_c3d
from inference.files.solution import read_solution
from inference.files.trc import read_trc
from inference.layouts import shared_joints
from inference.shapes import BoolArray, FloatArray, check_shapes, frozen
from inference.types import Keypoints3D, Solution

LEVEL = 0.95  # of the ellipsoids whose coverage is measured


@dataclass(frozen=True, eq=False)
class Truth:
    """One person's true joints over time."""

    joint_names: tuple[str, ...]
    timestamps_s: FloatArray  # (T,)
    xyz: FloatArray  # (T, J, 3) m

    def __post_init__(self) -> None:
        object.__setattr__(self, "timestamps_s", frozen(self.timestamps_s))
        object.__setattr__(self, "xyz", frozen(self.xyz))
        check_shapes(timestamps_s=(self.timestamps_s, "T"), xyz=(self.xyz, f"T {len(self.joint_names)} 3"))


def read_truth(path: Path) -> Truth:
    """Read a truth file, or trajectories of another tool.

    Convention:
        world axes of the take, metres, seconds; trajectories begin at 0.

    Raises:
        InputError: the file cannot be read, lacks a key, or its arrays do not fit each other.
    """
    reader = {".trc": read_trc, ".c3d": read_c3d}.get(path.suffix.lower())
    if reader is not None:
        read = reader(path)
        names = tuple(_plain_name(name) for name in read.joint_names)
        return Truth(names, read.timestamps_s - read.timestamps_s[0], read.xyz[:, 0])
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = tuple(str(name) for name in arrays["joint_names"])
            return Truth(names, np.asarray(arrays["timestamps_s"], float), np.asarray(arrays["xyz"], float))
    except (OSError, ValueError, KeyError, SolveError) as error:
        raise InputError(f"{path} is no truth file ({error}); it needs joint_names, timestamps_s and xyz") from None


def _plain_name(name: str) -> str:
    """``RBigToe`` is ``right_big_toe``; names that are written otherwise stay."""
    found = re.fullmatch(r"([RL])((?:[A-Z][a-z]+)+)", name)
    words = re.findall(r"[A-Z][a-z]+", found[2] if found else name) or [name]
    side = {"R": ["right"], "L": ["left"]}[found[1]] if found else []
    return "_".join([*side, *words]).lower()


def compare(solution: Solution, truth: Truth) -> dict[str, Any]:
    """Measure both layers of a solution, raw and solved, against the truth.

    Convention:
        see `compare_layer`; millimetres and shares from 0 to 1.

    Returns:
        ``{"raw": …, "solved": …}``, each as `compare_layer` gives it; plain JSON values.

    Raises:
        InputError: the two share no joint or no time.
    """
    return {"raw": compare_layer(solution.raw, truth), "solved": compare_layer(solution.solved, truth)}


def compare_layer(estimate: Keypoints3D, truth: Truth) -> dict[str, Any]:
    """Measure an estimate against the truth over the joints they share.

    Convention:
        truth is interpolated linearly to the estimate's times; times outside of the truth's are left out. Of several
        people the one nearest to the truth counts. The joint offset is the median over time of the error in axes that
        turn with the person about Z. Ellipsoids are those of the estimate's Student t (F quantile of 3 and ν degrees
        of freedom on the scale matrix); the offset-free coverage judges them without the differing joint definitions.

    Args:
        estimate: one layer of a solution.
        truth: one person's joints.

    Returns:
        ``frames``, ``person``, ``joints`` (count), ``observed``, ``as_it_is`` and ``without_joint_offsets`` (each mean,
        median and percentile_95 in mm, and coverage_95), ``per_joint``: name → observed, mean error as it is, length
        of the offset, mean error without it (mm). Statistics over nothing are None.

    Raises:
        InputError: the two share no joint or no time, or the truth lacks the hips.
    """
    names, ours, theirs = shared_joints(estimate.joint_names, truth.joint_names)
    times = estimate.timestamps_s
    inside = (times >= truth.timestamps_s[0] - 1e-6) & (times <= truth.timestamps_s[-1] + 1e-6)
    if not names or not inside.any():
        raise InputError("solution and truth share no joint or no time; compare files of the same take")
    true = _at_times(truth, times[inside])
    person = _nearest_person(estimate.xyz[inside][:, :, ours], true[:, theirs])
    error = estimate.xyz[inside, person][:, ours] - true[:, theirs]
    covariance = estimate.covariance[inside, person][:, ours]
    turn = world_from_heading(true, truth.joint_names)
    seen = np.isfinite(error).all(axis=-1)
    offset = _offsets(np.einsum("tba,tjb->tja", turn, error), seen)
    remaining = error - np.einsum("tab,jb->tja", turn, offset)
    nu = estimate.degrees_of_freedom
    return {
        "frames": int(inside.sum()),
        "person": person,
        "joints": len(names),
        "observed": float(seen.mean()),
        "as_it_is": _statistics(error, covariance, seen, nu),
        "without_joint_offsets": _statistics(remaining, covariance, seen, nu),
        "per_joint": {
            name: {
                "observed": float(seen[:, j].mean()),
                "mean_mm": _mean_mm(error[:, j], seen[:, j]),
                "offset_mm": float(1000 * np.linalg.norm(offset[j])) if seen[:, j].any() else None,
                "mean_without_offset_mm": _mean_mm(remaining[:, j], seen[:, j]),
            }
            for j, name in enumerate(names)
        },
    }


def world_from_heading(
    xyz: FloatArray,  # (T, J, 3) m
    joint_names: tuple[str, ...],
) -> FloatArray:
    """Return (T, 3, 3) rotations from axes that turn with the person about Z.

    Convention:
        columns are the person's left (horizontal, from right to left hip), back and up; rows are world axes.

    Raises:
        InputError: there are no hips.
    """
    if not {"left_hip", "right_hip"} <= set(joint_names):
        raise InputError("the truth has no left_hip and right_hip, which tell where the person faces")
    across = xyz[:, joint_names.index("left_hip")] - xyz[:, joint_names.index("right_hip")]
    left = across * [1, 1, 0]
    left /= np.linalg.norm(left, axis=-1, keepdims=True)
    up = np.broadcast_to([0.0, 0.0, 1.0], left.shape)
    return np.stack([left, np.cross(up, left), up], axis=-1)


def _at_times(truth: Truth, times: FloatArray) -> FloatArray:
    """Return (T, J, 3): truth interpolated linearly to times inside its span."""
    flat = truth.xyz.reshape(len(truth.timestamps_s), -1)
    columns = [np.interp(times, truth.timestamps_s, column) for column in flat.T]
    return np.stack(columns, axis=1).reshape(len(times), -1, 3)


def _nearest_person(xyz: FloatArray, true: FloatArray) -> int:
    """Return which person of (T, P, J, 3) has the smallest median distance to (T, J, 3); unobserved people last."""
    distance = np.linalg.norm(xyz - true[:, None], axis=-1).swapaxes(0, 1)
    medians = [np.median(one[np.isfinite(one)]) if np.isfinite(one).any() else np.inf for one in distance]
    return int(np.argmin(medians))


def _offsets(error: FloatArray, seen: BoolArray) -> FloatArray:
    """Return (J, 3): the median of (T, J, 3) errors over the frames where a joint is seen, 0 where it never is."""
    pairs = zip(error.swapaxes(0, 1), seen.T, strict=True)
    return np.array([np.median(one[there], axis=0) if there.any() else np.zeros(3) for one, there in pairs])


def _mean_mm(error: FloatArray, seen: BoolArray) -> float | None:
    return float(1000 * np.linalg.norm(error[seen], axis=-1).mean()) if seen.any() else None


def _statistics(error: FloatArray, covariance: FloatArray, seen: BoolArray, nu: float) -> dict[str, float | None]:
    """Return mean, median, 95th percentile (mm) and coverage of the 95 % ellipsoids."""
    if not seen.any():
        return dict.fromkeys(("mean_mm", "median_mm", "percentile_95_mm", "coverage_95"))
    length = 1000 * np.linalg.norm(error[seen], axis=-1)
    return {
        "mean_mm": float(length.mean()),
        "median_mm": float(np.median(length)),
        "percentile_95_mm": float(np.percentile(length, 95)),
        "coverage_95": coverage(error[seen], covariance[seen], nu),
    }


def coverage(
    error: FloatArray,  # (N, 3) m
    covariance: FloatArray,  # (N, 3, 3) m²
    degrees_of_freedom: float,
) -> float:
    """Return the share of errors inside the 95 % ellipsoids of a Student t with these covariances.

    Convention:
        squared Mahalanobis distance on the scale matrix Σ·(ν−2)/ν against 3·F(3, ν); chi-square for infinite ν.
        For ν ≤ 2 there is no covariance, and the given matrices count as scale matrices.
    """
    squared = np.einsum("ni,ni->n", error, np.linalg.solve(covariance, error[..., None])[..., 0])
    if np.isinf(degrees_of_freedom):
        return float((squared <= stats.chi2.ppf(LEVEL, 3)).mean())
    scale = (degrees_of_freedom - 2) / degrees_of_freedom if degrees_of_freedom > 2 else 1.0
    return float((squared / scale <= 3 * stats.f.ppf(LEVEL, 3, degrees_of_freedom)).mean())


def table(result: dict[str, Any]) -> str:
    """Return what `compare` found as text."""
    solved = result["solved"]
    lines = [f"{solved['frames']} frames, {solved['joints']} joints shared with the truth"]
    lines.append(f"{'layer':8}{'error':30}{'mean':>8}{'median':>9}{'95 %':>9}   inside the 95 % ellipsoid")
    titles = {"as_it_is": "as it is (no alignment)", "without_joint_offsets": "without constant joint offsets"}
    for layer in ("raw", "solved"):
        for key, title in titles.items():
            found = result[layer][key]
            values = [_number(found[name]) for name in ("mean_mm", "median_mm", "percentile_95_mm")]
            share = _number(found["coverage_95"], 100)
            lines.append(f"{layer:8}{title:30}{values[0]:>8}{values[1]:>9}{values[2]:>9} mm   {share:>5} %")
    lines.append(f"observed: raw {100 * result['raw']['observed']:.1f} %, solved {100 * solved['observed']:.1f} %")
    lines.append(
        f"\n{'joint (solved)':20}{'observed':>10}{'mean mm':>10}{'offset mm':>11}{'mean without offset mm':>24}"
    )
    for name, joint in solved["per_joint"].items():
        values = [_number(joint[key]) for key in ("mean_mm", "offset_mm", "mean_without_offset_mm")]
        lines.append(f"{name:20}{100 * joint['observed']:>8.1f} %{values[0]:>10}{values[1]:>11}{values[2]:>24}")
    return "\n".join(lines)


def _number(value: float | None, factor: float = 1.0) -> str:
    return "–" if value is None else f"{factor * value:.1f}"


def main(arguments: list[str] | None = None) -> int:
    """Compare two files and print the table."""
    parser = argparse.ArgumentParser(description="Measure a solution against known truth.")
    parser.add_argument("solution", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args(arguments)
    try:
        result = compare(read_solution(options.solution), read_truth(options.truth))
    except SolveError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(table(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
