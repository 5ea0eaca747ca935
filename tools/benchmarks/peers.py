"""Peers in an environment of their own: Pose2Sim and aniposelib on the same 2D keypoints as we."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inference.geometry.projection import undistort_points
from inference.shapes import FloatArray
from inference.types import CameraRig, Keypoints2D
from tools.benchmarks.measures import LIMBS

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / ".venv-peers"
CHILD = Path(__file__).with_name("peer_child.py")
KEPT = ROOT / "build" / "peers"  # what the peers made of scenes; it does not change when our code does
PACKAGES = ("aniposelib==0.8.0", "pose2sim==0.10.49")
OPTIM, FRAMES, GCV, BUTTERWORTH = (
    "aniposelib optim",
    "Pose2Sim per frame",
    "Pose2Sim + GCV spline",
    "Pose2Sim + Butterworth",
)
NAMES = (OPTIM, FRAMES, GCV, BUTTERWORTH)
TIMEOUT_S = 900

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class PeerResult:
    """What one peer made of a scene."""

    xyz: FloatArray  # (T, 1, J, 3) m
    seconds: float


class Peers:
    """The peers that are installed, each run in a child process per scene; one that fails gives no result."""

    names = NAMES

    def __init__(self, python: Path | None) -> None:
        self.python = python

    def solve(self, rig: CameraRig, views: Sequence[Keypoints2D]) -> dict[str, PeerResult | None]:
        """Triangulate the first person with every peer; None for those that are not installed or failed.

        Convention:
            peers get undistorted pixels, so that nobody's lens model counts. Answers are kept in ``build/peers``;
            their seconds are those of the run that made them.
        """
        scene = _scene(rig, views)
        found = {**self._run(scene, "aniposelib"), **self._run(scene, "pose2sim")}
        return {name: _result(found, name) for name in NAMES}

    def frames_per_second(self, rig: CameraRig, views: Sequence[Keypoints2D]) -> FloatArray:
        """Measure Pose2Sim's triangulation now: frames per second and per CPU second; NaN where it is not installed."""
        found = self._run(_scene(rig, views), "frames", fresh=True)
        took = [float(found.get(f"{FRAMES}_{kind}", np.nan)) for kind in ("seconds", "cpu_seconds")]
        return len(views[0].timestamps_s) / np.array(took)

    def cameras(self, rig: CameraRig, views: Sequence[Keypoints2D]) -> tuple[FloatArray, float] | None:
        """Adjust the cameras with aniposelib, started from the rig: rotations (V, 3, 3) and seconds."""
        found = self._run(_scene(rig, views), "cameras")
        return (found["R"], float(found["cameras_seconds"])) if "R" in found else None

    def _run(self, scene: Mapping[str, FloatArray], what: str, fresh: bool = False) -> dict[str, FloatArray]:
        if self.python is None:
            return {}
        key = hashlib.sha256(CHILD.read_bytes() + " ".join((*PACKAGES, what)).encode())
        for name, array in sorted(scene.items()):
            key.update(name.encode() + np.ascontiguousarray(array).tobytes())
        kept = KEPT / f"{what}-{key.hexdigest()[:24]}.npz"
        if kept.is_file() and not fresh:
            return dict(np.load(kept))
        KEPT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=KEPT) as folder:
            path, result = Path(folder) / "scene.npz", Path(folder) / "result.npz"
            np.savez(path, **scene)
            command = [str(self.python), str(CHILD), str(path), str(result), what]
            try:
                done = subprocess.run(command, check=False, timeout=TIMEOUT_S, capture_output=True, text=True)
            except subprocess.TimeoutExpired:
                log.warning("%s: not done after %d s", what, TIMEOUT_S)
                return {}
            if done.returncode or not result.is_file():
                log.warning("%s failed: %s", what, done.stderr.strip().splitlines()[-1:])
                return {}
            os.replace(result, kept)
        return dict(np.load(kept))


def installed_peers(install: bool) -> Peers:
    """Find the peers' environment; make it first if asked to (this goes to the package index)."""
    python = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if install and not python.is_file():
        venv.create(ENVIRONMENT, with_pip=True)
    if install:
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True, stdout=sys.stderr)
    return Peers(python if python.is_file() else None)


def _scene(rig: CameraRig, views: Sequence[Keypoints2D]) -> dict[str, FloatArray]:
    pixels = []
    for camera, view in zip(rig.cameras, views, strict=True):
        K = camera.intrinsics.K
        pixels.append(undistort_points(camera.intrinsics, view.xy[:, 0]) @ K[:2, :2].T + K[:2, 2])
    names, times = views[0].joint_names, views[0].timestamps_s
    return {
        "K": np.stack([camera.intrinsics.K for camera in rig.cameras]),
        "R": np.stack([camera.R for camera in rig.cameras]),
        "t": np.stack([camera.t for camera in rig.cameras]),
        "xy": np.stack(pixels),
        "score": np.stack([view.score[:, 0] for view in views]),
        "fps": np.array((len(times) - 1) / (times[-1] - times[0])),
        "bones": np.array([[names.index(a), names.index(b)] for a, b in LIMBS]),
    }


def _result(found: dict[str, FloatArray], name: str) -> PeerResult | None:
    if f"{name}_xyz" not in found:
        return None
    return PeerResult(found[f"{name}_xyz"][:, None], float(found[f"{name}_seconds"]))
