"""Where on the body a detector sets its joints: no residual shows it, the card states it, the ellipsoids hold it."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from inference.config import SolveSettings
from inference.geometry.triangulation import triangulate
from inference.motion.estimate import estimate_motion
from inference.motion.skeleton import with_derived_joints
from inference.placement import movement_covariance, placement_of_detector, with_correlation, with_placement
from inference.take import read_take
from inference.types import Solution
from tests.inference.perception.tiny_network import constant_network, write_card
from tests.keypoint_take import QUIET, write_take
from tests.synthetic import BASE, coverage, make_scene, observe

SIGMA_M = 0.015


@cache
def _misplaced_and_solved(seed: int) -> tuple[np.ndarray, Solution]:
    """A detector that sets every joint off its centre, in axes that turn with the hips; and the truth."""
    settings, rng = SolveSettings(), np.random.default_rng(seed)
    scene = make_scene(90, seed=seed)
    hips = [scene.joint_names.index(f"{side}_hip") for side in ("left", "right")]
    left = scene.xyz[:, 0, hips[0]] - scene.xyz[:, 0, hips[1]]
    left = left * [1, 1, 0] / np.linalg.norm(left[:, :2], axis=-1, keepdims=True)
    axes = np.stack([left, np.cross([0, 0, 1.0], left), np.broadcast_to([0, 0, 1.0], left.shape)], axis=-1)
    off = np.einsum("tab,jb->tja", axes, SIGMA_M * rng.normal(size=(len(scene.joint_names), 3)))
    views = observe(replace(scene, xyz=scene.xyz + off[:, None]), BASE, seed + 10)
    raw = triangulate(scene.rig, views, settings.triangulation)
    solved, motion = estimate_motion(raw, scene.rig, views, settings.motion)
    none = np.zeros((*solved.xyz.shape[:2], 0))
    raw, zeros = with_derived_joints(raw, motion.skeleton), np.zeros(4)
    return scene.xyz, Solution(scene.rig, raw, solved, motion, none, (), zeros, zeros, np.full(4, np.nan))


def _held(truth: np.ndarray, solution: Solution, names: tuple[str, ...]) -> np.ndarray:
    joints = solution.solved
    index = [joints.joint_names.index(name) for name in names]
    return np.array(coverage(joints.xyz[:, :, index] - truth, joints.covariance[:, :, index]))


def test_ellipsoids_hold_what_the_card_states_and_do_not_without_it() -> None:
    """Each joint of a take is one draw of its place: 17 joints and three takes are some 4 points of one sigma."""
    names = make_scene(2).joint_names
    stated, unstated = [], []
    for seed in (21, 22, 23):
        truth, solution = _misplaced_and_solved(seed)
        unstated.append(_held(truth, solution, names))
        enlarged = with_placement(solution, names, np.full(len(names), SIGMA_M))
        stated.append(_held(truth, enlarged, names))
    assert np.abs(np.mean(stated, axis=0) - [0.5, 0.9, 0.95]).max() < 0.1
    assert np.mean(unstated, axis=0)[1] < 0.4


def test_it_is_added_to_both_layers_and_taken_off_again() -> None:
    _, solution = _misplaced_and_solved(21)
    names = make_scene(2).joint_names
    sigma = np.linspace(0.01, 0.02, len(names))
    enlarged = with_placement(solution, names, sigma)
    hips = [names.index("left_hip"), names.index("right_hip")]
    own = dict(zip(enlarged.solved.joint_names, enlarged.placement_sigma_m, strict=True))
    assert own["nose"] == sigma[0]
    assert own["pelvis"] == pytest.approx(np.hypot(*sigma[hips]) / 2)
    for before, after in ((solution.raw, enlarged.raw), (solution.solved, enlarged.solved)):
        grown = after.covariance - before.covariance
        expected = enlarged.placement_sigma_m[:, None, None] ** 2 * np.eye(3)
        np.testing.assert_allclose(grown[before.observed], np.broadcast_to(expected, grown.shape)[before.observed])
    np.testing.assert_allclose(movement_covariance(enlarged), solution.solved.covariance, atol=1e-12)


def test_imported_keypoints_have_none(tmp_path: Path) -> None:
    write_take(tmp_path)
    assert (placement_of_detector(read_take(tmp_path / "take.toml"), ("nose", "left_hip")) == 0).all()


def test_a_detector_has_that_of_its_card(example_take: Path, blazepose_card: object) -> None:
    sigma = placement_of_detector(read_take(example_take), ("left_hip", "left_wrist"))
    assert 0.003 < sigma.min() and sigma.max() < 0.05


def test_views_that_are_wrong_together_count_as_fewer(tmp_path: Path) -> None:
    """ρ = 0.25 of the hips: three views 1 + 0.25 · 2, two views 1.25; other joints and imported keypoints stay."""
    constant_network(tmp_path / "tiny.onnx", (48, 64), {"kp": np.zeros((17, 3))})
    noise = "[noise.default]\nsigma_px = 2\n[noise.hip]\nview_correlation = 0.25"
    card = write_card(tmp_path, "tiny", "regression", {"keypoints": "kp"}, noise=noise)
    write_take(tmp_path, frames=4, cameras=3)
    take = read_take(tmp_path / "take.toml")
    scene = make_scene(4, cameras=3, seed=1)
    views = [replace(view, view=own.name) for view, own in zip(observe(scene, QUIET, 3), take.views, strict=True)]
    hip, nose = scene.joint_names.index("left_hip"), scene.joint_names.index("nose")
    gone = views[0].xy.copy()
    gone[2, 0, hip] = np.nan
    score = np.where(np.isnan(gone[..., 0]), 0.0, views[0].score)
    covariance = np.where(np.isnan(gone[..., :1, None]), np.nan, views[0].covariance)
    views[0] = replace(views[0], xy=gone, covariance=covariance, score=score)
    assert with_correlation(take, views) == tuple(views)  # all are imported
    detection = replace(take.settings.detection, detector=str(card))
    detected = (
        replace(take.views[0], keypoints=None, video="a.mp4"),
        replace(take.views[1], keypoints=None, video="b"),
    )
    own = replace(take, views=(*detected, take.views[2]), settings=replace(take.settings, detection=detection))
    after = with_correlation(own, views)
    ratio = after[1].covariance[:, 0, :, 0, 0] / views[1].covariance[:, 0, :, 0, 0]
    np.testing.assert_allclose(ratio[:, hip], [1.5, 1.5, 1.25, 1.5])
    np.testing.assert_allclose(ratio[:, nose], 1.0)
    assert after[2] is views[2] and np.isnan(after[0].covariance[2, 0, hip]).all()
