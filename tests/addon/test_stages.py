"""A stage of the solve shows in Blender: with its output dropped, the keyframes differ."""

import bpy
import numpy as np
import pytest
from sightline.addon.host.scene import TakeInfo, build_scene
from sightline.inference.motion import estimate
from sightline.inference.pipeline import solve
from sightline.inference.take import read_take

from tests.keypoint_take import write_take
from tests.synthetic import Noise


def rotation_keys(solution):
    """(T, 4) keyframed rotation of the left upper arm in a new, empty scene."""
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    build_scene(bpy.context, solution, TakeInfo("dance"))
    armature = next(item for item in bpy.context.scene.objects if item.type == "ARMATURE")
    keys = []
    for frame in range(len(solution.solved.timestamps_s)):
        bpy.context.scene.frame_set(bpy.context.scene.frame_start + frame)
        keys.append(tuple(armature.pose.bones["left_upper_arm"].rotation_quaternion))
    return np.array(keys)


def test_swap_repair_reaches_the_keyframes(tmp_path, monkeypatch):
    """Two limbs in five are exchanged: left so, the arm's keys differ by degrees; the same solve twice is the same."""
    write_take(tmp_path, frames=40, cameras=3, noise=Noise(sigma_px=2.0, outliers=0.0, missing=0.0, swaps=0.4), seed=2)
    take = read_take(tmp_path / "take.toml")
    whole = rotation_keys(solve(take, tmp_path / "whole"))
    again = rotation_keys(solve(take, tmp_path / "again"))
    monkeypatch.setattr(estimate, "exchanged_joints", lambda limbs, _: None)
    without = rotation_keys(solve(take, tmp_path / "without"))
    turned = [2 * np.arccos(np.abs((whole * other).sum(axis=-1)).clip(0, 1)) for other in (again, without)]
    assert np.rad2deg(turned[0]).max() == pytest.approx(0, abs=0.1)
    assert np.rad2deg(turned[1]).max() > 2
