"""Synthetic scenes whose truth is known: accuracy, coverage of the ellipsoids, speed after the 2D keypoints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from inference.config import SolveSettings
from inference.geometry.triangulation import linear_triangulation, triangulate
from inference.motion.estimate import estimate_motion
from inference.types import Keypoints2D
from tests import synthetic
from tools.benchmarks.measures import coverage, joint_error_mm, joints_in_order, looped_triangulation, seconds
from tools.benchmarks.peers import Peers
from tools.benchmarks.rows import NOT_INSTALLED, Row

SEEDS = (1, 2, 3)
FRAMES = 400
SETTINGS = SolveSettings()


@dataclass(frozen=True)
class Case:
    """One row of the table: the noise, the number of cameras, and how wrong the cameras are."""

    name: str
    noise: synthetic.Noise
    cameras: int = 4
    rotation_deg: float = 0.0
    centre_m: float = 0.0


CASES = (
    *(Case(name, synthetic.SCENES[name]) for name in ("base", "outliers20", "student_t3", "swaps5", "correlated")),
    Case("camera error 0.15°, 5 mm", synthetic.BASE, 4, 0.15, 0.005),
    Case("realistic", synthetic.SCENES["realistic"]),
    Case("2 cameras", synthetic.BASE, 2),
    Case("8 cameras", synthetic.BASE, 8),
)


def accuracy(peers: Peers) -> Iterator[Row]:
    """Compare errors over all cases, the mean of the seeds."""
    for case in CASES:
        yield from _case_rows(case, peers)


def _case_rows(case: Case, peers: Peers) -> Iterator[Row]:
    runs = [_one_run(case, seed, peers) for seed in SEEDS]
    mean = {key: _mean([run[key] for run in runs]) for key in runs[0]}
    others = {name: mean[name] for name in ("plain DLT", *peers.names)}
    group = f"scene: {case.name}"
    span = "–".join(
        f"{value:.1f}" for value in (min(run["solved"] for run in runs), max(run["solved"] for run in runs))
    )
    yield Row(group, "joint error, each frame alone (raw)", "mm", mean["raw"], {"plain DLT": mean["plain DLT"]})
    yield Row(group, "joint error, whole sequence (solved)", "mm", mean["solved"], others, note=f"seeds {span} mm")
    yield Row(group, "joints missing, raw", "%", 100 * mean["raw missing"])
    yield Row(group, "joints missing, solved", "%", 100 * mean["missing"])
    for layer in ("raw", "solved"):
        shares = " / ".join(f"{100 * mean[f'{layer} {level}']:.0f}" for level in (50, 90, 95))
        yield Row(
            group, f"true joints in the 50/90/95 % ellipsoids, {layer}", "%", 100 * mean[f"{layer} 90"], note=shares
        )


def _one_run(case: Case, seed: int, peers: Peers) -> dict[str, float]:
    scene = synthetic.make_scene(FRAMES, case.cameras, seed=seed)
    views = synthetic.observe(scene, case.noise, seed + 10)
    rig = scene.rig
    if case.rotation_deg:
        rig = synthetic.disturbed_rig(scene.rig, case.rotation_deg, case.centre_m, seed + 20)
    raw = triangulate(rig, views, SETTINGS.triangulation)
    solved, _ = estimate_motion(raw, rig, views, SETTINGS.motion)
    solved = joints_in_order(solved, scene.joint_names)
    found = {
        "raw": joint_error_mm(raw.xyz, scene.xyz),
        "solved": joint_error_mm(solved.xyz, scene.xyz),
        "plain DLT": joint_error_mm(linear_triangulation(rig, views), scene.xyz),
        "raw missing": float(1 - raw.observed.mean()),
        "missing": float(1 - solved.observed.mean()),
    }
    for name, layer in (("raw", raw), ("solved", solved)):
        for level, share in zip((50, 90, 95), coverage(layer, scene.xyz), strict=True):
            found[f"{name} {level}"] = share
    for name, result in peers.solve(rig, views).items():
        found[name] = float("nan") if result is None else joint_error_mm(result.xyz, scene.xyz)
    return found


def speed(peers: Peers) -> list[Row]:
    """Compare the cost of triangulation and of everything after the 2D keypoints."""
    scene = synthetic.make_scene(2000, seed=1)
    views = synthetic.observe(scene, synthetic.BASE, 11)
    frames = len(scene.timestamps_s)
    raw = triangulate(scene.rig, views, SETTINGS.triangulation)
    ours = frames / seconds(lambda: triangulate(scene.rig, views, SETTINGS.triangulation))
    linear = frames / seconds(lambda: linear_triangulation(scene.rig, views))
    some = _first(views, 100)
    loop = 100 / seconds(lambda: looped_triangulation(scene.rig, some), times=1)
    motion_s = seconds(lambda: estimate_motion(raw, scene.rig, views, SETTINGS.motion), times=1)
    whole = frames / (motion_s + frames / ours)
    others: dict[str, float | str] = {"plain loop over SVDs": loop, "plain DLT, all at once": linear}
    results = peers.solve(scene.rig, _first(views, FRAMES))
    rates = {name: NOT_INSTALLED if one is None else FRAMES / one.seconds for name, one in results.items()}
    size = f"4 cameras × {frames} frames × {len(scene.joint_names)} joints"
    return [
        Row("speed", "triangulation with covariance", "frames/s", ours, others | rates, True, size),
        Row("speed", "triangulation and motion", "frames/s", whole, rates, True, size),
    ]


def _first(views: tuple[Keypoints2D, ...], frames: int) -> tuple[Keypoints2D, ...]:
    return tuple(
        Keypoints2D(
            view.view,
            view.joint_names,
            view.timestamps_s[:frames],
            view.xy[:frames],
            view.covariance[:frames],
            view.score[:frames],
        )
        for view in views
    )


def _mean(values: list[float]) -> float:
    return float(np.mean(values))
