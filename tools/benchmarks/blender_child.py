"""Runs in a process of its own with bpy: times what a solve writes into a scene, and prints one JSON line.

60 bones × 10,000 frames alone, and with 25 ellipsoids, whose axes a thread has computed before. Seconds on the clock
and of the processor.
"""

import importlib.util
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bpy
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
BONES, FRAMES, ELLIPSOIDS = 60, 10_000, 25


def _extension() -> None:
    """Make the checkout importable as an extension: its relative imports need one package around all."""
    spec = importlib.util.spec_from_file_location(
        "sightline", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sightline"] = module
    spec.loader.exec_module(module)


def main() -> None:
    """Time an armature, then ellipsoids, through the functions that a solve uses."""
    _extension()
    from sightline.addon.host import animation, parts  # pyright: ignore[reportMissingImports]
    from sightline.addon.host.armature import build_armature  # pyright: ignore[reportMissingImports]
    from sightline.addon.host.ellipsoids import build_ellipsoids, ellipsoids_of  # pyright: ignore[reportMissingImports]
    from sightline.addon.host.scene import fingerprint  # pyright: ignore[reportMissingImports]
    from sightline.inference.types import Keypoints3D, Skeleton, SkeletonMotion  # pyright: ignore[reportMissingImports]

    rng = np.random.default_rng(1)
    angles = 0.3 * np.sin(np.arange(FRAMES)[:, None] / 60 + rng.uniform(0, 6, BONES))
    rotation = np.stack([np.cos(angles), np.sin(angles), 0 * angles, 0 * angles], axis=-1)
    names = tuple(f"bone_{b:02d}" for b in range(BONES))
    joints = ("pelvis", *(f"{name}_end" for name in names))
    skeleton = Skeleton(joints, np.arange(-1, BONES), names, np.tile([0, 0, 1.0], (BONES, 1)))
    times = np.arange(FRAMES) / 60
    root = np.zeros((FRAMES, 1, 3))
    motion = SkeletonMotion(
        skeleton, times, root, np.tile([1.0, 0, 0, 0], (FRAMES, 1, 1)), rotation[:, None], np.full((1, BONES), 0.1)
    )
    claims = parts.Claims(bpy.context.scene, "bench", fingerprint)
    frames = np.arange(1.0, FRAMES + 1)
    with timed() as armature_s:
        for _ in build_armature(claims, "bench", motion, 0, frames, 1.0):
            pass
    turned = rng.normal(size=(FRAMES, 1, ELLIPSOIDS, 3, 3)) * 0.01
    joints = Keypoints3D(
        joints[:ELLIPSOIDS],
        times,
        np.cumsum(rng.normal(size=(FRAMES, 1, ELLIPSOIDS, 3)) * 0.001, axis=0),
        turned @ turned.swapaxes(-1, -2) + 1e-6 * np.eye(3),
        np.full((FRAMES, 1, ELLIPSOIDS), 3),
    )
    prepared = ellipsoids_of(joints)
    with timed() as ellipsoids_s:
        for _ in build_ellipsoids(claims, "bench", prepared, frames, 1.0):
            pass
    curves = [curve for action in bpy.data.actions for curve in animation.action_curves(action)]
    found = {
        "blender": bpy.app.version_string,
        "armature_s": armature_s,
        "ellipsoids_s": ellipsoids_s,
        "keys": sum(len(curve.keyframe_points) for curve in curves),
    }
    print(json.dumps(found), flush=True)


@contextmanager
def timed() -> Iterator[list[float]]:
    """Give a list that holds the seconds on the clock and of the processor at the end."""
    found: list[float] = []
    before = time.perf_counter(), time.process_time()
    yield found
    found += [time.perf_counter() - before[0], time.process_time() - before[1]]


if __name__ == "__main__":
    main()
