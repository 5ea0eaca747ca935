"""Keypoints are read a part at a time as they would be read all at once."""

from dataclasses import replace

import numpy as np

from inference.geometry.reprojection import Rays, rays_from_keypoints
from inference.motion.reading import Reading, Scaled, blocks, mirror_joints
from inference.motion.standing import corrected, no_standing
from tests.synthetic import BASE, make_scene, observe

_SCENE = make_scene(30, seed=3)
_RAYS = rays_from_keypoints(_SCENE.rig, observe(_SCENE, BASE, 4), 0.1)
_JOINTS = _SCENE.xyz[:, 0]


def _reading() -> tuple[Reading, Rays]:
    """Some keypoints exchanged, offsets and camera turns taken off, some left out; the same worked out at once."""
    rng = np.random.default_rng(5)
    exchanged, left_out = rng.random((2, *_RAYS.seen.shape)) < 0.2
    standing = no_standing(_RAYS, _JOINTS, np.zeros(0, int), np.zeros((24, 24)))
    standing = replace(standing, mean=1e-3 * rng.standard_normal(len(standing.mean)))
    reading = Reading.of(_RAYS, _SCENE.joint_names, exchanged, standing).without(left_out)
    order = np.arange(_RAYS.u.shape[1]).reshape(len(_JOINTS), -1)[:, mirror_joints(_SCENE.joint_names)].ravel()
    across = _RAYS.take(order)
    mixed = {key: np.where(exchanged, getattr(across, key), getattr(_RAYS, key)) for key in Rays.PER_POINT}
    whole = corrected(replace(_RAYS, **mixed), standing)
    kept = {key: np.where(left_out, 0, getattr(whole, key)) for key in ("uu", "uv", "vv")}
    return reading, replace(whole, seen=whole.seen & ~left_out, **kept)


def _assert_same(ours: Rays, theirs: Rays) -> None:
    for key in ("R", "t", *Rays.PER_POINT):
        np.testing.assert_array_equal(getattr(ours, key), getattr(theirs, key), err_msg=key)


def test_any_part_is_read_as_the_whole_is() -> None:
    reading, whole = _reading()
    some = np.array([3, 17, 18, 200, 4])
    for part in (slice(None), slice(51, 102), some):
        _assert_same(reading.take(part), whole.take(part))
    np.testing.assert_array_equal(reading.seen, whole.seen)
    assert (whole.u != _RAYS.u).any() and (whole.seen != _RAYS.seen).any()


def test_covariances_are_multiplied_by_view_and_joint() -> None:
    factor = np.random.default_rng(1).uniform(0.5, 2.0, (len(_RAYS.R), _JOINTS.shape[1]))
    part = Scaled(_RAYS, factor).take(slice(17, 51))
    np.testing.assert_array_equal(part.uv, _RAYS.uv[:, 17:51] / np.tile(factor, 2))
    np.testing.assert_array_equal(part.u, _RAYS.u[:, 17:51])
    shared = Scaled(_RAYS, factor[0]).take(np.array([20]))
    np.testing.assert_array_equal(shared.vv, _RAYS.vv[:, [20]] / factor[0, 3])


def test_blocks_are_all_frames_once() -> None:
    joints = np.zeros((2_345, 3, 3))
    found = [np.r_[points].tolist() for _, points in blocks(joints)]
    assert sum(found, []) == list(range(3 * 2_345)) and len(found) > 1
    assert [part for frames, _ in blocks(joints) for part in range(*frames.indices(2_345))] == list(range(2_345))
