"""Synthetic scenes whose truth is known: joint errors beside those of the peers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from inference.config import SolveSettings
from inference.geometry.triangulation import linear_triangulation, triangulate
from inference.motion.estimate import estimate_motion
from inference.shapes import FloatArray
from inference.types import CameraRig, Flag, Keypoints2D, Keypoints3D
from tests import synthetic
from tools.benchmarks.measures import LEVELS, coverage, joint_error_mm, joints_in_order
from tools.benchmarks.peers import BUTTERWORTH, FRAMES, GCV, OPTIM, PeerResult, Peers
from tools.benchmarks.rows import NOT_INSTALLED, Row, Target

FRAME_COUNT = 400
SETTINGS = SolveSettings()
BEST, EITHER = "Pose2Sim + its best filter", "the better of both peers"
WRONG_M, NEAR_M = 0.2, 0.05


@dataclass(frozen=True)
class Case:
    """One scene of the table: the noise, the number of cameras, how wrong the cameras are, what is asked."""

    name: str
    noise: synthetic.Noise
    cameras: int = 4
    rotation_deg: float = 0.0
    centre_m: float = 0.0
    stated: bool = True
    raw: tuple[Target, ...] = (Target(1.05, FRAMES),)
    solved: tuple[Target, ...] = ()

    @property
    def key(self) -> str:
        """The name as it is written on the command line."""
        return self.name.replace(" ", "-")


_SCENES = synthetic.SCENES
CASES = (
    Case("base", _SCENES["base"], solved=(Target(0.75, BEST), Target(0.45, OPTIM))),
    Case("outliers20", _SCENES["outliers20"], raw=(), solved=(Target(0.65, BEST), Target(0.40, OPTIM))),
    Case("student_t3", _SCENES["student_t3"]),
    Case("swaps5", _SCENES["swaps5"], solved=(Target(1.15, "ours without swaps"),)),
    Case("correlated", _SCENES["correlated"], solved=(Target(0.65, EITHER),)),
    Case("camera error stated", synthetic.BASE, 4, 0.15, 0.005),
    Case("camera error unstated", synthetic.BASE, 4, 0.15, 0.005, False),
    Case("realistic", _SCENES["realistic"], solved=(Target(0.8, OPTIM), Target(0.65, FRAMES))),
    Case("2 cameras", synthetic.BASE, 2),
    Case("8 cameras", synthetic.BASE, 8, solved=(Target(0.45, OPTIM),)),
)


@dataclass(frozen=True, eq=False)
class Take:
    """A scene as it was made and as our solver answered."""

    truth: FloatArray  # (T, P, J, 3) m
    rig: CameraRig
    views: tuple[Keypoints2D, ...]
    raw: Keypoints3D
    solved: Keypoints3D  # joints as in the truth


def solve(case: Case, seed: int, frames: int = FRAME_COUNT) -> Take:
    """Make the scene of a seed and solve it."""
    scene = synthetic.make_scene(frames, case.cameras, seed=seed)
    views = synthetic.observe(scene, case.noise, seed + 10)
    rig = scene.rig
    if case.rotation_deg:
        rig = synthetic.disturbed_rig(scene.rig, case.rotation_deg, case.centre_m, seed + 20, case.stated)
    raw = triangulate(rig, views, SETTINGS.triangulation)
    solved, _ = estimate_motion(raw, rig, views, SETTINGS.motion)
    return Take(scene.xyz, rig, views, raw, joints_in_order(solved, scene.joint_names))


def case_rows(case: Case, seeds: Sequence[int], peers: Peers) -> Iterator[Row]:
    """Compare errors on one scene, the mean of the seeds."""
    runs, theirs = [], []
    for seed in seeds:
        take = solve(case, seed)
        runs.append(_measures(take))
        theirs.append(_peer_errors(take, peers.solve(take.rig, take.views)))
    mean = {key: float(np.mean([run[key] for run in runs])) for key in runs[0]}
    group = f"scene: {case.name}"
    yield Row(
        group,
        "joint error, each frame alone (raw)",
        "mm",
        mean["raw"],
        {"plain DLT": mean["plain DLT"], FRAMES: _others(theirs)[0][FRAMES]},
        targets=case.raw,
        note=f"weak or better; missing {100 * mean['raw missing']:.1f} %",
    )
    yield _wrong_row(group, runs)
    yield _solved_row(case, group, runs, theirs, seeds)
    yield from _special_rows(case, group, mean)
    for layer in ("raw", "solved"):
        shares = [mean[f"{layer} {level}"] for level in LEVELS]
        note = " / ".join(f"{100 * share:.0f}" for share in shares)
        yield Row(group, f"true joints in the 50/90/95 % ellipsoids, {layer}", "%", 100 * shares[1], note=note)


def _solved_row(
    case: Case, group: str, runs: list[dict[str, float]], theirs: list[dict[str, float]], seeds: Sequence[int]
) -> Row:
    others, standing, note = _others(theirs)
    ours = np.array([run["solved"] for run in runs])
    if case.noise.swaps > synthetic.BASE.swaps:
        clean = replace(case, noise=replace(case.noise, swaps=0.0))
        others["ours without swaps"] = float(np.mean([_measures(solve(clean, seed))["solved"] for seed in seeds]))
    span = f"seeds {', '.join(map(str, seeds))}: {ours.min():.1f}–{ours.max():.1f} mm; missing "
    span += f"{100 * np.mean([run['missing'] for run in runs]):.1f} %"
    where = {name: float(ours[chosen].mean()) for name, chosen in standing.items() if any(chosen)}
    what = "joint error, whole sequence (solved)"
    return Row(group, what, "mm", float(ours.mean()), others, note=span + note, targets=case.solved, ours_where=where)


def _wrong_row(group: str, runs: list[dict[str, float]]) -> Row:
    count = sum(run["unflagged"] for run in runs)
    rate = 1e4 * sum(run["wrong"] for run in runs) / max(count, 1)
    note = f"of {count:.0f} joints that are OBSERVED, neither weak nor rejected; the right ones are "
    note += f"{100 * np.mean([run['right'] for run in runs]):.0f} % of all joints"
    return Row(group, "raw and unflagged, but wrong by more than 0.2 m", "per 10,000", rate, note=note)


def _special_rows(case: Case, group: str, mean: dict[str, float]) -> Iterator[Row]:
    if case.cameras == 2:
        what = "joints within 50 mm, solved"
        yield Row(group, what, "%", 100 * mean["near"], higher_is_better=True, targets=(Target(97),))
        yield Row(group, "joints missing, solved", "%", 100 * mean["missing"], targets=(Target(0),))


def _measures(take: Take) -> dict[str, float]:
    far = np.linalg.norm(take.raw.xyz - take.truth, axis=-1)
    unflagged = take.raw.flag == Flag.OBSERVED
    found = {
        "raw": joint_error_mm(take.raw.xyz, take.truth),
        "solved": joint_error_mm(take.solved.xyz, take.truth),
        "plain DLT": joint_error_mm(linear_triangulation(take.rig, take.views), take.truth),
        "raw missing": float(1 - take.raw.observed.mean()),
        "missing": float(1 - take.solved.observed.mean()),
        "near": float((np.linalg.norm(take.solved.xyz - take.truth, axis=-1) < NEAR_M).mean()),
        "unflagged": float(unflagged.sum()),
        "wrong": float((unflagged & (far > WRONG_M)).sum()),
        "right": float((unflagged & (far < NEAR_M)).mean()),
    }
    for name, layer in (("raw", take.raw), ("solved", take.solved)):
        shares = coverage(layer, take.truth, LEVELS)
        found |= {f"{name} {level}": share for level, share in zip(LEVELS, shares, strict=True)}
    return found


def _peer_errors(take: Take, results: dict[str, PeerResult | None]) -> dict[str, float]:
    return {name: float("nan") if one is None else joint_error_mm(one.xyz, take.truth) for name, one in results.items()}


def _others(theirs: list[dict[str, float]]) -> tuple[dict[str, float | str], dict[str, list[bool]], str]:
    """Return the peers' means, on which seeds each stands, and what to say about it.

    Convention:
        `optim` stands where it ended no worse than Pose2Sim's single frames: elsewhere it diverged, and a peer's
        accident is not quoted.
    """
    stands = {name: [bool(np.isfinite(one[name])) for one in theirs] for name in theirs[0]}
    stands[OPTIM] = [bool(one[OPTIM] <= max(one[FRAMES], 0) or np.isnan(one[FRAMES])) for one in theirs]
    means: dict[str, float | str] = {}
    for name, chosen in stands.items():
        values = [one[name] for one, good in zip(theirs, chosen, strict=True) if good and np.isfinite(one[name])]
        means[name] = float(np.mean(values)) if values else NOT_INSTALLED
    best = [value for name, value in means.items() if name in (GCV, BUTTERWORTH) and isinstance(value, float)]
    means[BEST] = min(best, default=NOT_INSTALLED)
    both = [value for value in (means[BEST], means[OPTIM]) if isinstance(value, float)]
    means[EITHER] = min(both, default=NOT_INSTALLED)
    lost = [one[OPTIM] for one, good in zip(theirs, stands[OPTIM], strict=True) if not good and np.isfinite(one[OPTIM])]
    note = f"; optim diverged on {len(lost)} of {len(theirs)} seeds ({max(lost):.0f} mm)" if lost else ""
    if lost and len(lost) == len(theirs):
        means[OPTIM] = "diverged on every seed"
    return means, {OPTIM: stands[OPTIM]}, note
