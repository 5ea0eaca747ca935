"""Runs in a process of its own with bpy: times the keyframes of 60 bones × 10,000 frames and prints one JSON line."""

import importlib.util
import json
import sys
import time
from pathlib import Path

import bpy
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
BONES, FRAMES = 60, 10_000


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
    """Time the curves alone, then a whole armature."""
    _extension()
    from sightline.addon.host import animation, parts  # pyright: ignore[reportMissingImports]
    from sightline.addon.host.armature import build_armature  # pyright: ignore[reportMissingImports]
    from sightline.addon.host.scene import fingerprint  # pyright: ignore[reportMissingImports]
    from sightline.inference.types import Skeleton, SkeletonMotion  # pyright: ignore[reportMissingImports]

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
    started = time.perf_counter()
    item = build_armature(claims, "bench", motion, 0, frames, 1.0)
    armature_s = time.perf_counter() - started
    bag = animation.replace_action(item)
    started = time.perf_counter()
    for b, name in enumerate(names):
        animation.write_curves(bag, f'pose.bones["{name}"].rotation_quaternion', frames, rotation[:, b], name)
    animation.write_curves(bag, f'pose.bones["{names[0]}"].location', frames, root[:, 0], names[0])
    found = {
        "blender": bpy.app.version_string,
        "curves_s": time.perf_counter() - started,
        "armature_s": armature_s,
        "keys": sum(len(curve.keyframe_points) for curve in bag.fcurves),
    }
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
