"""Measure a calibration against another of the same cameras, however their worlds lie.

    python tools/compare_cameras.py FOUND.toml TRUE.toml

Either file may be any calibration that Sightline reads. The worlds are brought onto each other first: by the rotation
that turns all cameras best, then by scale and shift of the centres. Prints per camera how far it is turned, and how
far its centre is off in metres of the second file; and by how much the first file's lengths are too long.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from inference.errors import InputError, SolveError
from inference.files.calibration import read_calibration
from inference.geometry.rotation import log
from inference.types import Camera


@dataclass(frozen=True)
class Difference:
    """How one set of cameras differs from another after their worlds are aligned."""

    rotation_deg: dict[str, float]
    centre_m: dict[str, float]  # in the second set's metres
    scale: float  # lengths of the first over lengths of the second


def compare_cameras(found: Sequence[Camera], true: Sequence[Camera]) -> Difference:
    """Compare cameras of the same names.

    Convention:
        worlds aligned by the cameras' rotations, then by scale and shift of their centres.

    Raises:
        InputError: fewer than two names in common.
    """
    by_name = {camera.name: camera for camera in true}
    pairs = [(camera, by_name[camera.name]) for camera in found if camera.name in by_name]
    if len(pairs) < 2:
        raise InputError("the calibrations have fewer than two cameras in common; give both the same names")
    R, S = (np.stack([pair[side].R for pair in pairs]) for side in (0, 1))
    U, _, Vt = np.linalg.svd(np.einsum("vba,vbc->ac", S, R))
    world = U @ np.diag([1, 1, np.linalg.det(U @ Vt)]) @ Vt
    turned = np.degrees(np.linalg.norm(log(R @ np.swapaxes(S @ world, 1, 2)), axis=-1))
    a, b = (np.stack([pair[side].centre for pair in pairs]) for side in (0, 1))
    a, b = a - a.mean(axis=0), (b - b.mean(axis=0)) @ world
    scale = float((a * b).sum() / (b**2).sum())
    off = np.linalg.norm(a / scale - b, axis=1)
    names = [camera.name for camera, _ in pairs]
    return Difference(
        dict(zip(names, turned.tolist(), strict=True)), dict(zip(names, off.tolist(), strict=True)), scale
    )


def _standing(path: Path) -> list[Camera]:
    """The cameras of a file.

    Raises:
        InputError: some move; their first poses alone would say nothing of the others.
    """
    found = read_calibration(path)
    if found.paths:
        raise InputError(f"{path}: {', '.join(found.paths)} move; only cameras that stand still are compared here")
    return list(found.cameras.values())


def main(argv: Sequence[str] | None = None) -> int:
    """Compare two files; 2 for bad input."""
    parser = argparse.ArgumentParser(description="How far cameras differ from other cameras of the same names.")
    parser.add_argument("found", type=Path)
    parser.add_argument("true", type=Path)
    arguments = parser.parse_args(argv)
    try:
        difference = compare_cameras(*(_standing(path) for path in (arguments.found, arguments.true)))
    except SolveError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    for name, degrees in difference.rotation_deg.items():
        print(f"{name}: turned by {degrees:.2f} degrees, centre off by {1000 * difference.centre_m[name]:.0f} mm")
    turns, places = list(difference.rotation_deg.values()), list(difference.centre_m.values())
    print(
        f"mean {np.mean(turns):.2f} degrees, {1000 * np.mean(places):.0f} mm; "
        f"lengths {100 * (difference.scale - 1):+.1f} %"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
