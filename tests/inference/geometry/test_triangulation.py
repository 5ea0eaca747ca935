"""Triangulation on synthetic scenes: accuracy, coverage, flags, and each degenerate case by name."""

from dataclasses import replace

import numpy as np
import pytest

from inference.config import TriangulationSettings
from inference.errors import InputError, ShapeError
from inference.geometry.projection import project, project_jacobian
from inference.geometry.triangulation import curvature_factor, linear_triangulation, triangulate
from inference.types import CameraRig, Flag, Keypoints2D, Keypoints3D
from tests.synthetic import (
    BASE,
    SCENES,
    Scene,
    circle_rig,
    coverage,
    disturbed_rig,
    look_at,
    make_scene,
    observe,
    pose_covariance,
)

SETTINGS = TriangulationSettings()


def _exact(rig: CameraRig, points: np.ndarray, sigma_px: float = 1.0) -> tuple[Keypoints2D, ...]:
    """Keypoints of points (T, 3) without noise, one person, one joint."""
    xyz = points[:, None, None]
    times = np.arange(len(points)) / 60
    covariance = np.broadcast_to(sigma_px**2 * np.eye(2), (len(points), 1, 1, 2, 2))
    return tuple(
        Keypoints2D(c.name, ("nose",), times, project(c, xyz), covariance, np.ones((len(points), 1, 1)))
        for c in rig.cameras
    )


def _moved(view: Keypoints2D, shift: tuple[float, float]) -> Keypoints2D:
    return replace(view, xy=view.xy + np.array(shift))


def _without(view: Keypoints2D) -> Keypoints2D:
    gone = np.full_like(view.xy, np.nan)
    return replace(view, xy=gone, covariance=np.full_like(view.covariance, np.nan), score=0 * view.score)


def _error(scene: Scene, result: Keypoints3D) -> np.ndarray:
    return np.linalg.norm(result.xyz - scene.xyz, axis=-1)


def test_noise_free_points_come_back_through_distorted_lenses() -> None:
    rig = circle_rig(4, distortion=(-0.21, 0.09, 0.001, -0.0007))
    points = np.random.default_rng(1).uniform(-0.8, 0.8, (50, 3)) + [0, 0, 1]
    result = triangulate(rig, _exact(rig, points), SETTINGS)
    np.testing.assert_allclose(result.xyz[:, 0, 0], points, atol=1e-9)
    assert (result.flag == Flag.OBSERVED).all()
    np.testing.assert_allclose(linear_triangulation(rig, _exact(rig, points))[:, 0, 0], points, atol=1e-5)


def test_error_is_that_of_the_information_bound_over_twenty_seeds() -> None:
    """White noise of 3 px: the squared error is at least the trace of (sum of JᵀJ / 9)⁻¹; the t may lose 10 % of it."""
    ratio, shares = [], []
    for seed in range(20):
        scene = make_scene(60, seed=seed)
        result = triangulate(scene.rig, observe(scene, SCENES["white"], seed), SETTINGS)
        slopes = np.concatenate([project_jacobian(c, scene.xyz)[1] for c in scene.rig.cameras], axis=-2)
        bound = np.linalg.inv(slopes.swapaxes(-1, -2) @ slopes / 9)
        ratio.append(np.nanmean(_error(scene, result) ** 2) / np.trace(bound, axis1=-2, axis2=-1).mean())
        shares.append(coverage(result.xyz - scene.xyz, result.covariance))
    assert 0.97 < np.mean(ratio) < 1.10
    np.testing.assert_allclose(np.mean(shares, axis=0), [0.5, 0.9, 0.95], atol=0.025)


def test_outliers_are_survived_or_flagged() -> None:
    """20 % wild keypoints: the median error stays within 1.4 of the clean scene's, plain DLT is ten times worse."""
    scene = make_scene(200, seed=3)
    clean = np.nanmedian(_error(scene, triangulate(scene.rig, observe(scene, SCENES["white"], 5), SETTINGS)))
    views = observe(scene, SCENES["outliers20"], 5)
    result = triangulate(scene.rig, views, SETTINGS)
    error = _error(scene, result)
    assert np.nanmedian(error) < 1.4 * clean
    assert np.nanmean(np.linalg.norm(linear_triangulation(scene.rig, views) - scene.xyz, axis=-1)) > 10 * clean
    sure = result.flag == Flag.OBSERVED
    assert (error[sure] > 0.15).mean() < 0.001
    assert sure.mean() > 0.55 and result.observed.mean() > 0.85  # those that rest on one view are weak, not lost


@pytest.mark.parametrize(("stated", "factor"), [(1.5, 4.0), (6.0, 0.25)])
def test_wrong_stated_covariances_are_found_out(stated: float, factor: float) -> None:
    scene = make_scene(300, seed=2)
    right = triangulate(scene.rig, observe(scene, SCENES["white"], 1), SETTINGS)
    wrong = triangulate(scene.rig, observe(scene, replace(SCENES["white"], stated_sigma_px=stated), 1), SETTINGS)
    naive = factor**-1  # what trusting the statement would give
    ratio = np.nanmedian(np.trace(wrong.covariance / right.covariance, axis1=-2, axis2=-1) / 3)
    assert abs(np.log(ratio)) < 0.35 * abs(np.log(naive))
    share = coverage(wrong.xyz - scene.xyz, wrong.covariance)
    np.testing.assert_allclose(share, [0.5, 0.9, 0.95], atol=0.08)


def test_two_views_that_disagree_are_rejected_and_agreeing_ones_weak() -> None:
    rig = circle_rig(2)
    points = np.tile([0.1, 0.2, 1.0], (5, 1))
    first, second = _exact(rig, points)
    agree = triangulate(rig, (first, second), SETTINGS)
    assert (agree.flag == Flag.WEAK).all()
    disagree = triangulate(rig, (first, _moved(second, (0, 60))), SETTINGS)
    assert (disagree.flag == Flag.REJECTED).all()
    assert np.isnan(disagree.xyz).all() and np.isnan(disagree.covariance).all()


def test_one_wild_view_of_four_does_not_move_the_point() -> None:
    rig = circle_rig(4)
    points = np.tile([0.1, 0.2, 1.0], (3, 1))
    views = list(_exact(rig, points))
    views[2] = _moved(views[2], (200, -120))
    result = triangulate(rig, views, SETTINGS)
    assert np.abs(result.xyz[:, 0, 0] - points).max() < 0.002
    assert (result.flag == Flag.OBSERVED).all()


def test_two_against_two_is_rejected_as_ambiguous() -> None:
    rig = circle_rig(4)
    here, there = np.tile([0.0, 0, 1.0], (3, 1)), np.tile([0.4, 0.3, 1.2], (3, 1))
    views = (*_exact(rig, here)[:2], *_exact(rig, there)[2:])
    assert (triangulate(rig, views, SETTINGS).flag == Flag.REJECTED).all()


def test_one_view_and_no_view_are_unobserved() -> None:
    rig = circle_rig(2)
    first, second = _exact(rig, np.tile([0.1, 0.2, 1.0], (2, 1)))
    for views in ((first, _without(second)), (_without(first), _without(second))):
        result = triangulate(rig, views, SETTINGS)
        assert (result.flag == Flag.UNOBSERVED).all() and np.isnan(result.xyz).all()


def test_low_scores_do_not_count() -> None:
    rig = circle_rig(2)
    first, second = _exact(rig, np.tile([0.1, 0.2, 1.0], (2, 1)))
    low = replace(second, score=np.full_like(second.score, 0.05))
    assert (triangulate(rig, (first, low), SETTINGS).flag == Flag.UNOBSERVED).all()


def test_parallel_rays_are_unobserved_not_an_error() -> None:
    target = np.array([0, 0, 1.0])
    near = (
        look_at("a", np.array([4.5, 0, 1.0]), target, (0,) * 4),
        look_at("b", np.array([4.5, 0.001, 1]), target, (0,) * 4),
    )
    rig = CameraRig(near, np.zeros((12, 12)))
    assert (triangulate(rig, _exact(rig, target[None], 3.0), SETTINGS).flag == Flag.UNOBSERVED).all()


def test_antipodal_cameras_give_a_finite_long_ellipsoid_between_them() -> None:
    target = np.array([0, 0, 1.0])
    ends = [look_at(n, np.array([x, 0.0, 1.0]), target, (0,) * 4) for n, x in (("a", 4.5), ("b", -4.5))]
    rig = CameraRig(tuple(ends), np.zeros((12, 12)))
    result = triangulate(rig, _exact(rig, np.array([[0, 0.3, 1.2]]), 1.0), SETTINGS)
    assert result.observed.all()
    axes = np.sqrt(np.linalg.eigvalsh(result.covariance[0, 0, 0]))
    assert axes[2] > 5 * axes[0]


def test_points_behind_a_camera_are_not_accepted() -> None:
    rig = circle_rig(2)
    first, second = rig.cameras
    behind = 2 * first.centre - np.array([0, 0, 1.0])  # mirrored through the first camera
    mirrored = first.R @ behind + first.t
    pixel = first.intrinsics.K[:2] @ (mirrored / mirrored[2])
    views = list(_exact(rig, behind[None]))
    views[0] = replace(views[0], xy=pixel.reshape(1, 1, 1, 2), covariance=np.eye(2).reshape(1, 1, 1, 2, 2))
    assert second.name in rig.names
    assert not triangulate(rig, views, SETTINGS).observed.any()


def test_turning_the_world_turns_points_and_ellipsoids() -> None:
    scene = make_scene(20, seed=1)
    views = observe(scene, BASE, 2)
    turn = np.array([[0, -1.0, 0], [1, 0, 0], [0, 0, 1]])
    turned = CameraRig(tuple(replace(c, R=c.R @ turn.T) for c in scene.rig.cameras), scene.rig.covariance)
    a, b = triangulate(scene.rig, views, SETTINGS), triangulate(turned, views, SETTINGS)
    np.testing.assert_allclose(b.xyz, a.xyz @ turn.T, atol=1e-6)
    np.testing.assert_allclose(b.covariance, turn @ a.covariance @ turn.T, atol=1e-8)


def test_view_order_does_not_matter() -> None:
    scene = make_scene(20, seed=1)
    views = observe(scene, BASE, 2)
    a = triangulate(scene.rig, views, SETTINGS)
    b = triangulate(CameraRig(scene.rig.cameras[::-1], scene.rig.covariance), views[::-1], SETTINGS)
    np.testing.assert_allclose(a.xyz, b.xyz, atol=1e-6)


def test_camera_covariance_agrees_with_moving_the_cameras() -> None:
    """Monte Carlo over 300 disturbed rigs without keypoint noise: the stated share of the cameras within 25 %."""
    rig = circle_rig(3)
    point = np.array([[0.2, -0.3, 1.1]])
    views = _exact(rig, point, 5.0)
    draws = [
        triangulate(disturbed_rig(rig, 0.05, 0.002, s), views, replace(SETTINGS, reject_sigma=1e6)) for s in range(300)
    ]
    spread = np.cov(np.stack([d.xyz[0, 0, 0] for d in draws if d.observed.all()]).T)
    blocks = np.zeros((18, 18))
    for i, camera in enumerate(rig.cameras):
        blocks[6 * i : 6 * i + 6, 6 * i : 6 * i + 6] = pose_covariance(camera, 0.05, 0.002)
    stated = triangulate(CameraRig(rig.cameras, blocks), views, SETTINGS).covariance[0, 0, 0]
    stated = stated - triangulate(rig, views, SETTINGS).covariance[0, 0, 0]
    np.testing.assert_allclose(np.trace(stated), np.trace(spread), rtol=0.25)


def test_curvature_factor_limits() -> None:
    assert curvature_factor(1e7) == pytest.approx(1.0, abs=1e-3)  # Gaussian
    # nu = 5, by Monte Carlo: r = default_rng(0).normal(size=(4_000_000, 2)), d = (r**2).sum(1), w = 7/(5+d);
    # (w**2*d).mean()/2 / (w - 7/(5+d)**2*d).mean() = 0.904
    assert curvature_factor(5.0) == pytest.approx(0.904, abs=0.003)


def test_wrong_input_is_refused() -> None:
    scene = make_scene(4)
    views = observe(scene, BASE, 1)
    with pytest.raises(ShapeError, match="3 views"):
        triangulate(scene.rig, views[:3], SETTINGS)
    with pytest.raises(ShapeError, match="cam02"):
        triangulate(scene.rig, (views[1], views[0], *views[2:]), SETTINGS)
    with pytest.raises(ShapeError, match="times differ"):
        triangulate(scene.rig, (*views[:3], replace(views[3], timestamps_s=views[3].timestamps_s + 0.1)), SETTINGS)
    broken = views[1].covariance.copy()
    broken[2, 0, 3] = [[1, 2], [2, 1]]
    seen = np.isfinite(views[1].xy[2, 0, 3]).all()
    xy = views[1].xy.copy()
    xy[2, 0, 3] = xy[2, 0, 3] if seen else 500.0
    bad = replace(views[1], covariance=broken, xy=xy, score=np.maximum(views[1].score, 0.5))
    with pytest.raises(InputError, match=r"'cam02', frame 2, left_ear.*positive definite"):
        triangulate(scene.rig, (views[0], bad, *views[2:]), SETTINGS)
