"""Writes a take of keypoints alone, from a synthetic scene: what the command line solves without any network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from inference.files.anipose_toml import write_anipose_toml
from inference.files.camera_table import FramePath
from inference.types import Keypoints2D
from tests.synthetic import Noise, Scene, make_scene, moving_rig, observe

QUIET = Noise(sigma_px=1.0, outliers=0.0, missing=0.02, swaps=0.0)


def write_openpose(folder: Path, view: Keypoints2D) -> None:
    """One JSON file per frame, as OpenPose writes them."""
    folder.mkdir(parents=True)
    for frame in range(len(view.timestamps_s)):
        people = []
        for xy, score in zip(view.xy[frame], view.score[frame], strict=True):
            seen = np.isfinite(xy).all(axis=-1)
            rows = np.where(seen[:, None], np.column_stack([np.nan_to_num(xy), score]), 0.0)
            people.append({"pose_keypoints_2d": rows.ravel().tolist()})
        (folder / f"clip_{frame:012d}_keypoints.json").write_text(json.dumps({"version": 1.3, "people": people}))


def write_take(
    folder: Path,
    frames: int = 24,
    cameras: int = 3,
    noise: Noise = QUIET,
    seed: int = 1,
    people: int = 1,
    moving: Sequence[int] = (),
) -> Scene:
    """Write ``take.toml``, ``cameras.toml`` and the keypoints of every view; returns the truth.

    Several people stand in another order in every view, as they do in a detector's files. Some cameras may move.
    """
    scene = make_scene(frames=frames, cameras=cameras, fps=60.0, seed=seed, people=people)
    scene = replace(scene, rig=moving_rig(scene.rig, scene.timestamps_s, moving, seed))
    paths = {
        camera.name: FramePath(np.arange(float(frames)), camera.path.R, camera.path.t)
        for camera in scene.rig.cameras
        if camera.path is not None
    }
    write_anipose_toml(folder / "cameras.toml", scene.rig.cameras, paths)
    wanted = [f"persons = {people}"] if people > 1 else []
    lines = ["[take]", 'name = "dance"', *wanted, "[calibration]", 'source = "cameras.toml"']
    for number, view in enumerate(observe(scene, noise, seed=seed)):
        turned = np.roll(np.arange(people), number)
        kept = {name: getattr(view, name)[:, turned] for name in ("xy", "covariance", "score")}
        view = replace(view, **kept)
        write_openpose(folder / "keypoints" / view.view, view)
        lines += ["[[view]]", f'name = "{view.view}"', f'keypoints = "keypoints/{view.view}"']
        lines += ['keypoint_layout = "coco_17"', "fps = 60"]
    (folder / "take.toml").write_text("\n".join(lines) + "\n")
    return scene
