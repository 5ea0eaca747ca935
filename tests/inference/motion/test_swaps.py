"""Exchanged limbs are found and put right; right ones are left alone."""

from dataclasses import replace

import numpy as np

from inference.geometry.reprojection import rays_from_keypoints
from inference.motion.swaps import unswapped
from tests.synthetic import SCENES, make_scene, observe


def test_swapped_arms_are_exchanged_back() -> None:
    scene = make_scene(40, seed=1)
    views = observe(scene, SCENES["white"], 2)
    straight = rays_from_keypoints(scene.rig, views, 0.1)
    names = scene.joint_names
    arm = [names.index(f"left_{j}") for j in ("shoulder", "elbow", "wrist")]
    other = [names.index(f"right_{j}") for j in ("shoulder", "elbow", "wrist")]
    xy = views[1].xy.copy()
    xy[10:15, :, arm + other] = xy[10:15, :, other + arm]
    crossed = rays_from_keypoints(scene.rig, (views[0], replace(views[1], xy=xy), *views[2:]), 0.1)
    points = scene.xyz.reshape(-1, 3).T
    assert not np.allclose(crossed.u, straight.u)
    mended, swapped = unswapped(crossed, points, names, 5.0)
    np.testing.assert_array_equal(np.argwhere(swapped[..., 0])[:, 0], 1)
    assert swapped[1, 10:15, 0].all() and swapped.sum() == 5
    np.testing.assert_allclose(mended.u, straight.u)
    np.testing.assert_allclose(mended.uu, straight.uu, rtol=0.2)
    assert not unswapped(straight, points, names, 5.0)[1].any()


def test_a_layout_without_pairs_is_left_alone() -> None:
    scene = make_scene(5, seed=1)
    some = replace(scene, joint_names=("nose", "left_wrist"), xyz=scene.xyz[:, :, [0, 9]])
    rays = rays_from_keypoints(some.rig, observe(some, SCENES["white"], 2), 0.1)
    _, swapped = unswapped(rays, some.xyz.reshape(-1, 3).T, some.joint_names, 5.0)
    assert not swapped.any()
