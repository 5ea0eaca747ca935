"""Solutions moved to another world: what the cameras see stays the same."""

from dataclasses import replace

import numpy as np
import pytest

from inference.config import MotionSettings, TriangulationSettings
from inference.geometry.projection import project
from inference.geometry.rotation import exp
from inference.geometry.triangulation import triangulate
from inference.motion.estimate import estimate_motion
from inference.motion.kinematics import forward_kinematics
from inference.types import Hypotheses3D, SkeletonMotion, Solution
from inference.world import moved, on_the_floor
from tests.synthetic import SCENES, disturbed_rig, make_scene, observe

ROTATION, SHIFT = exp(np.array([0.4, -1.1, 2.0])), np.array([0.5, -3.0, 0.2])


@pytest.fixture(scope="module")
def solution() -> Solution:
    scene = make_scene(frames=30, cameras=3, seed=2)
    rig = disturbed_rig(scene.rig, 0.1, 0.005, seed=1)
    views = observe(scene, SCENES["white"], seed=2)
    raw = triangulate(rig, views, TriangulationSettings())
    solved, motion = estimate_motion(raw, rig, views, MotionSettings())
    leaning = exp(np.array([0.03, 0.02, 0.0]))[:, 2]
    return Solution(rig, raw, solved, motion, np.zeros((30, 1, 0)), (), np.zeros(3), np.zeros(3), np.r_[leaning, -0.25])


def walked(motion: SkeletonMotion) -> np.ndarray:
    parts = (motion.root_translation[:, 0], motion.local_rotation[:, 0], motion.bone_length[0])
    return forward_kinematics(motion.skeleton, *parts)


def test_every_projection_stays_where_it_was(solution: Solution) -> None:
    after = moved(solution, ROTATION, SHIFT)
    for old, new in zip(solution.rig.cameras, after.rig.cameras, strict=True):
        for before, now in ((solution.raw, after.raw), (solution.solved, after.solved)):
            np.testing.assert_allclose(project(new, now.xyz), project(old, before.xyz), atol=1e-7)


def test_the_skeleton_moves_with_its_joints(solution: Solution) -> None:
    after = walked(moved(solution, ROTATION, SHIFT).motion)
    np.testing.assert_allclose(after, walked(solution.motion) @ ROTATION.T + SHIFT, atol=1e-9)


def test_hypotheses_move_with_the_joints(solution: Solution) -> None:
    samples = Hypotheses3D(np.repeat(solution.solved.xyz[:, :, None], 2, axis=2), np.full((30, 1, 2), np.log(0.5)))
    after = moved(replace(solution, hypotheses=samples), ROTATION, SHIFT)
    expected = np.repeat(after.solved.xyz[:, :, None], 2, axis=2)
    np.testing.assert_allclose(after.hypotheses.xyz, expected, atol=1e-5)
    np.testing.assert_array_equal(after.hypotheses.log_weight, samples.log_weight)
    assert moved(solution, ROTATION, SHIFT).hypotheses.xyz.size == 0


def test_ellipsoids_turn_and_keep_their_size(solution: Solution) -> None:
    after = moved(solution, ROTATION, SHIFT).solved.covariance[3, 0, 4]
    before = solution.solved.covariance[3, 0, 4]
    np.testing.assert_allclose(after, ROTATION @ before @ ROTATION.T, rtol=1e-9)


def test_a_moved_camera_error_moves_the_picture_as_before(solution: Solution) -> None:
    """The covariance of t' follows from that of (w, t): compared with 20,000 disturbed cameras, 3 % of the largest."""
    old, new = solution.rig, moved(solution, ROTATION, SHIFT).rig
    block = old.covariance[:6, :6]
    draws = np.random.default_rng(1).multivariate_normal(np.zeros(6), block, 20_000)
    camera = old.cameras[0]
    R = exp(draws[:, :3]) @ camera.R @ ROTATION.T
    t = camera.t + draws[:, 3:] - R @ SHIFT
    empirical = np.cov(t.T)
    np.testing.assert_allclose(new.covariance[3:6, 3:6], empirical, atol=0.03 * np.abs(empirical).max())


def test_there_and_back_is_the_same(solution: Solution) -> None:
    back = moved(moved(solution, ROTATION, SHIFT), ROTATION.T, -ROTATION.T @ SHIFT)
    np.testing.assert_allclose(back.solved.xyz, solution.solved.xyz, atol=1e-9)
    np.testing.assert_allclose(back.rig.covariance, solution.rig.covariance, atol=1e-12)
    np.testing.assert_allclose(back.floor, solution.floor, atol=1e-12)
    sign = np.sign((back.motion.root_rotation * solution.motion.root_rotation).sum(axis=-1, keepdims=True))
    np.testing.assert_allclose(sign * back.motion.root_rotation, solution.motion.root_rotation, atol=1e-9)


def test_the_floor_becomes_z_0_and_heights_above_it_stay(solution: Solution) -> None:
    after = on_the_floor(solution)
    np.testing.assert_allclose(after.floor, [0, 0, 1, 0], atol=1e-12)
    heights = solution.solved.xyz @ solution.floor[:3] + solution.floor[3]
    np.testing.assert_allclose(after.solved.xyz[..., 2], heights, atol=1e-9)


def test_an_upside_down_world_is_turned_over(solution: Solution) -> None:
    after = on_the_floor(replace(solution, floor=np.array([0.0, 0.0, -1.0, 2.0])))
    np.testing.assert_allclose(after.solved.xyz[..., 2], 2.0 - solution.solved.xyz[..., 2], atol=1e-9)


def test_without_a_floor_nothing_moves(solution: Solution) -> None:
    unknown = replace(solution, floor=np.full(4, np.nan))
    assert on_the_floor(unknown) is unknown
