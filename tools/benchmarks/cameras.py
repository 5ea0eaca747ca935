"""Cameras solved from the person alone, beside aniposelib's bundle adjustment on the same scenes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from inference.calibration.self_calibration import calibrate_from_person
from inference.errors import SolveError
from inference.geometry.rotation import log
from inference.shapes import FloatArray
from inference.types import CameraRig
from tests import synthetic
from tools.benchmarks.measures import LEVELS
from tools.benchmarks.peers import Peers
from tools.benchmarks.rows import NOT_INSTALLED, Row, Target

ADJUSTED = "aniposelib bundle adjustment"
HEIGHT_M = 1.75
CAMERAS = 4
START_DEG, START_M = 1.0, 0.05  # how wrong the cameras are that aniposelib starts from; ours start from nothing


@dataclass(frozen=True)
class Case:
    """A scene, and what is asked of it."""

    name: str
    noise: str
    frames: int
    targets: tuple[Target, ...]
    seconds: tuple[Target, ...] = ()


CASES = (
    Case("300 frames, base", "base", 300, (Target(0.05),), (Target(2.0),)),
    Case("300 frames, 20 % outliers", "outliers20", 300, (Target(0.07),)),
    Case("1,000 frames, realistic", "realistic", 1000, (Target(0.25), Target(1.0, ADJUSTED))),
)


def from_joints(peers: Peers, seeds: Sequence[int], peer_seeds: Sequence[int]) -> Iterator[Row]:
    """Solve the cameras of every scene on every seed; the peer on fewer of them, as it takes long."""
    for case in CASES:
        errors, took, squared, theirs, theirs_took = [], [], [], {}, []
        for seed in seeds:
            scene = synthetic.make_scene(case.frames, CAMERAS, seed=seed)
            views = synthetic.observe(scene, synthetic.SCENES[case.noise], seed + 100)
            started = time.process_time()
            try:
                found = calibrate_from_person(scene.rig.lenses, views, 1, HEIGHT_M)
            except SolveError:
                errors.append(float("nan"))
            else:
                errors.append(_error_deg(np.stack([c.R for c in found.rig.cameras]), scene))
                squared.append(squared_sigmas(found.rig, scene.rig))
            took.append(time.process_time() - started)
            if seed in peer_seeds:
                start = synthetic.disturbed_rig(scene.rig, START_DEG, START_M, seed + 200)
                answer = peers.cameras(start, views)
                if answer is not None:
                    theirs[seed] = _error_deg(answer[0], scene)
                    theirs_took.append(answer[1])
        yield from _rows(case, seeds, (errors, took, squared), (theirs, theirs_took))


def _rows(
    case: Case,
    seeds: Sequence[int],
    ours: tuple[list[float], list[float], list[float]],
    theirs: tuple[dict[int, float], list[float]],
) -> Iterator[Row]:
    errors, took, squared = ours
    group = f"cameras from joints: {case.name}"
    span = f"{len(seeds)} seeds {min(seeds)}–{max(seeds)}: {np.nanmin(errors):.3f}–{np.nanmax(errors):.3f}°"
    beside: dict[str, float | str] = {ADJUSTED: NOT_INSTALLED}
    where: dict[str, float] = {}
    if theirs[0]:
        beside[ADJUSTED] = float(np.mean(list(theirs[0].values())))
        where[ADJUSTED] = float(np.nanmean([e for seed, e in zip(seeds, errors, strict=True) if seed in theirs[0]]))
        span += f"; aniposelib on {len(theirs[0])} of them, started {START_DEG:g}° and {1000 * START_M:g} mm off, "
        span += f"{min(theirs[0].values()):.3f}–{max(theirs[0].values()):.3f}°; ours on the same {where[ADJUSTED]:.3f}°"
    mean = float(np.nanmean(errors))
    yield Row(group, "rotation error, mean", "°", mean, beside, note=span, targets=case.targets, ours_where=where)
    yield Row(group, "seeds that failed", "", float(np.isnan(errors).sum()), targets=(Target(0),))
    free = 6 * CAMERAS - 7
    shares = [100 * float(np.mean(np.array(squared) < chi2.ppf(level, free))) for level in LEVELS]
    note = (
        " / ".join(f"{share:.0f}" for share in shares)
        + f"; squared errors over their variances {np.mean(squared) / free:.2f}"
    )
    yield Row(group, "true rigs in the 50/90/95 % ellipsoids of all poses", "%", shares[1], note=note)
    slow: dict[str, float | str] = {ADJUSTED: float(np.mean(theirs[1]))} if theirs[1] else {}
    note = "from keypoints to rig, processor's time; aniposelib's by the clock, and without a start"
    yield Row(group, "time", "s", float(np.mean(took)), slow, note=note, targets=case.seconds)


def _error_deg(R: FloatArray, scene: synthetic.Scene) -> float:  # (V, 3, 3)
    """Return the mean angle between the cameras after the worlds are turned onto each other."""
    true = np.stack([camera.R for camera in scene.rig.cameras])
    U, _, Vt = np.linalg.svd(np.einsum("vba,vbc->ac", true, R))
    world = U @ np.diag([1, 1, np.linalg.det(U @ Vt)]) @ Vt
    return float(np.degrees(np.linalg.norm(log(R @ np.swapaxes(true @ world, -1, -2)), axis=-1)).mean())


def squared_sigmas(rig: CameraRig, truth: CameraRig) -> float:
    """Squared error of all poses by their covariance: chi² of 6V - 7 numbers if the covariance is right.

    The truth is brought into the gauge first: the first camera, and its distance to the farthest one.
    """
    R, t = _poses(rig)
    true_R, true_t = _poses(truth)
    centres, true_centres = -np.einsum("vba,vb->va", R, t), -np.einsum("vba,vb->va", true_R, true_t)
    far = int(np.linalg.norm(centres - centres[0], axis=1).argmax())
    scale = np.linalg.norm(centres[far] - centres[0]) / np.linalg.norm(true_centres[far] - true_centres[0])
    world = R[0].T @ true_R[0]
    turned = true_R @ world.T
    placed = -np.einsum("vab,vb->va", turned, scale * (true_centres - true_centres[0]) @ world.T + centres[0])
    error = np.concatenate([log(R @ np.swapaxes(turned, -1, -2)), t - placed], axis=1).ravel()
    sigma = np.sqrt(np.where(np.diag(rig.covariance) < 1e-20, 1.0, np.diag(rig.covariance)))
    values, axes = np.linalg.eigh(rig.covariance / sigma[:, None] / sigma)
    free = np.argsort(values)[::-1][: 6 * len(R) - 7]
    return float(((axes[:, free].T @ (error / sigma)) ** 2 / values[free]).sum())


def _poses(rig: CameraRig) -> tuple[FloatArray, FloatArray]:
    return np.stack([camera.R for camera in rig.cameras]), np.stack([camera.t for camera in rig.cameras])
