"""Peers in an environment of their own: Pose2Sim and aniposelib on the same 2D keypoints as we."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inference.geometry.projection import undistort_points
from inference.shapes import FloatArray
from inference.types import CameraRig, Keypoints2D
from tools.benchmarks.measures import LIMBS

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / ".venv-peers"
PACKAGES = ("aniposelib==0.8.0", "pose2sim==0.10.49")
NAMES = ("aniposelib optim", "Pose2Sim per frame", "Pose2Sim + GCV spline")
TIMEOUT_S = 900


@dataclass(frozen=True, eq=False)
class PeerResult:
    """What one peer made of a scene."""

    xyz: FloatArray  # (T, 1, J, 3) m
    seconds: float


class Peers:
    """The peers that are installed, run in one child process per scene."""

    names = NAMES

    def __init__(self, python: Path | None) -> None:
        self.python = python

    def solve(self, rig: CameraRig, views: Sequence[Keypoints2D]) -> dict[str, PeerResult | None]:
        """Triangulate the first person with every peer; None for those that are not installed or failed.

        Convention:
            peers get undistorted pixels, so that nobody's lens model counts.
        """
        if self.python is None:
            return dict.fromkeys(NAMES)
        with tempfile.TemporaryDirectory() as folder:
            scene, result = Path(folder) / "scene.npz", Path(folder) / "result.npz"
            np.savez(scene, **_scene(rig, views))
            command = [str(self.python), str(Path(__file__).with_name("peer_child.py")), str(scene), str(result)]
            subprocess.run(
                command, check=False, timeout=TIMEOUT_S, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            found = dict(np.load(result)) if result.is_file() else {}
        return {name: _result(found, name) for name in NAMES}


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
