"""Exchanged limbs are found and put right; right ones are left alone."""

from dataclasses import replace

import numpy as np
import pytest

from inference.geometry.reprojection import rays_from_keypoints
from inference.motion.reading import Reading
from inference.motion.swaps import exchanged_joints, exchanged_limbs, limb_facts
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
    assert not np.allclose(crossed.u, straight.u)
    swapped = exchanged_limbs(crossed, scene.xyz[:, 0], names, 5.0)
    mended = Reading.of(crossed, names, exchanged_joints(swapped, names)).take(slice(None))
    np.testing.assert_array_equal(np.argwhere(swapped[..., 0])[:, 0], 1)
    assert swapped[1, 10:15, 0].all() and swapped.sum() == 5
    np.testing.assert_allclose(mended.u, straight.u)
    np.testing.assert_allclose(mended.uu, straight.uu, rtol=0.2)
    assert not exchanged_limbs(straight, scene.xyz[:, 0], names, 5.0).any()


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_named_in_clean_scenes(seed: int) -> None:
    """The negative control, single wild and missing keypoints included; swaps of 1 % are all that happens there."""
    scene = make_scene(200, seed=seed)
    for noise in (SCENES["white"], replace(SCENES["base"], swaps=0)):
        rays = rays_from_keypoints(scene.rig, observe(scene, noise, seed), 0.1)
        assert limb_facts(rays, scene.xyz[:, 0], scene.joint_names, 5.0) == []


def test_swaps_and_a_view_that_disagrees_are_named_with_their_shares() -> None:
    scene = make_scene(200, seed=1)
    views = list(observe(scene, SCENES["white"], 2))
    names = scene.joint_names
    arms = [names.index(f"{side}_{j}") for side in ("left", "right") for j in ("shoulder", "elbow", "wrist")]
    xy = views[1].xy.copy()
    xy[40:60, :, arms] = xy[40:60, :, arms[3:] + arms[:3]]
    views[1] = replace(views[1], xy=xy)
    xy = views[2].xy.copy()
    xy[100:130, :, [names.index(f"left_{j}") for j in ("hip", "knee", "ankle")]] += 80.0
    views[2] = replace(views[2], xy=xy)
    found = limb_facts(rays_from_keypoints(scene.rig, views, 0.1), scene.xyz[:, 0], names, 5.0)
    swaps, leg = sorted(found, key=lambda fact: fact.view)
    assert (swaps.view, swaps.limb, leg.view, leg.limb) == (1, "arms", 2, "left leg")
    assert swaps.shares()["swapped_share"] == pytest.approx(0.1, abs=0.02)
    assert leg.shares()["disagreeing_share"] == pytest.approx(0.15, abs=0.01)


def test_a_layout_without_pairs_is_left_alone() -> None:
    scene = make_scene(5, seed=1)
    some = replace(scene, joint_names=("nose", "left_wrist"), xyz=scene.xyz[:, :, [0, 9]])
    rays = rays_from_keypoints(some.rig, observe(some, SCENES["white"], 2), 0.1)
    assert not exchanged_limbs(rays, some.xyz[:, 0], some.joint_names, 5.0).any()
