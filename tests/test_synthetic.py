"""The synthetic scenes are what they say."""

from dataclasses import replace

import numpy as np
import pytest

from inference.geometry.projection import project
from inference.layouts import LAYOUTS
from tests.synthetic import BASE, SCENES, circle_rig, coverage, disturbed_rig, make_scene, observe, pose_covariance


@pytest.mark.parametrize("name", LAYOUTS)
def test_bones_are_constant_and_everyone_is_in_the_picture(name: str) -> None:
    scene = make_scene(200, layout_name=name)
    at = scene.joint_names.index
    for a, b in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle")):
        length = np.linalg.norm(scene.xyz[..., at(f"left_{a}"), :] - scene.xyz[..., at(f"left_{b}"), :], axis=-1)
        assert np.ptp(length) < 1e-12
    pixels = np.stack([project(camera, scene.xyz) for camera in scene.rig.cameras])
    inside = ((pixels > 0) & (pixels < [1920, 1080])).all(axis=-1)
    assert inside.mean() > 0.99
    acceleration = np.linalg.norm(np.diff(scene.xyz, 2, axis=0), axis=-1) * 60**2
    assert 1 < np.median(acceleration) < 15


def test_noise_has_the_stated_size_memory_and_offsets() -> None:
    scene = make_scene(3000, fps=600.0)
    quiet = replace(BASE, outliers=0, missing=0, swaps=0)
    truth = project(scene.rig.cameras[0], scene.xyz)
    error = observe(scene, replace(quiet, correlation=0.8), 1)[0].xy - truth
    assert np.nanstd(error) == pytest.approx(3, rel=0.03)
    assert np.nanmean(error[1:] * error[:-1]) / 9 == pytest.approx(0.8, abs=0.03)
    error = observe(scene, replace(quiet, sigma_px=0.1, offset_px=4), 1)[0].xy - truth
    assert np.nanstd(np.nanmean(error, axis=0)) == pytest.approx(4, rel=0.35)


def test_shares_are_as_stated() -> None:
    scene = make_scene(2000, fps=600.0)
    views = observe(scene, replace(BASE, outliers=0.2, missing=0.1, swaps=0.0), 3)
    error = np.concatenate([v.xy - project(c, scene.xyz) for v, c in zip(views, scene.rig.cameras, strict=True)])
    seen = np.isfinite(error[..., 0])
    assert 1 - seen.mean() == pytest.approx(0.1, abs=0.05)
    wild = np.linalg.norm(error[seen], axis=-1) > 15
    assert wild.mean() == pytest.approx(0.2, abs=0.02)
    high = np.concatenate([v.score for v in views])[seen] >= 0.6
    assert high[wild].mean() == pytest.approx(0.5, abs=0.05)


def test_swaps_exchange_the_sides() -> None:
    scene = make_scene(500)
    names = scene.joint_names
    still = replace(SCENES["white"], sigma_px=0.01, swaps=0.3)
    view = observe(scene, still, 2)[1]
    truth = project(scene.rig.cameras[1], scene.xyz)
    left, right = names.index("left_knee"), names.index("right_knee")
    swapped = np.linalg.norm(view.xy[:, 0, left] - truth[:, 0, right], axis=-1) < 0.1
    assert swapped.mean() == pytest.approx(0.3, abs=0.08)


def test_disturbed_cameras_fit_their_covariance() -> None:
    rig = circle_rig(2)
    draws = [disturbed_rig(rig, 0.15, 0.005, seed).cameras[0].t - rig.cameras[0].t for seed in range(400)]
    stated = pose_covariance(rig.cameras[0], 0.15, 0.005)[3:, 3:]
    np.testing.assert_allclose(np.cov(np.transpose(draws)), stated, atol=0.25 * np.abs(stated).max())


def test_same_seed_same_scene() -> None:
    a, b, c = (observe(make_scene(20, seed=4), BASE, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a[0].xy, b[0].xy)
    assert not np.array_equal(a[0].xy, c[0].xy)


def test_coverage_counts_gaussian_errors() -> None:
    error = np.random.default_rng(0).normal(size=(20000, 3)) * [1, 2, 3]
    shares = coverage(error, np.broadcast_to(np.diag([1.0, 4, 9]), (20000, 3, 3)))
    np.testing.assert_allclose(shares, [0.5, 0.9, 0.95], atol=0.01)
    assert coverage(2 * error, np.broadcast_to(np.diag([1.0, 4, 9]), (20000, 3, 3)))[0] < 0.3
