"""The compiled loops say what NumPy says; without numba NumPy answers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from inference.config import TriangulationSettings
from inference.errors import InputError
from inference.geometry import acceleration
from inference.geometry.reprojection import rays_from_keypoints
from inference.geometry.triangulation import triangulate
from inference.types import CameraRig, Keypoints2D, Keypoints3D
from tests.synthetic import SCENES, circle_rig, disturbed_rig, make_scene, observe

SETTINGS = TriangulationSettings()


@pytest.mark.parametrize("cameras", [2, 4, 8])
@pytest.mark.parametrize("name", ["base", "outliers20", "student_t3"])
def test_flags_are_equal_and_points_within_ten_nanometres(name: str, cameras: int) -> None:
    """Both do the same steps, so what differs is rounding, enlarged where views barely decide where a point is."""
    pytest.importorskip("numba")
    scene = make_scene(150, cameras=cameras, seed=7)
    _same(scene.rig, observe(scene, SCENES[name], 8))


def test_stated_errors_of_cameras_count_alike() -> None:
    pytest.importorskip("numba")
    scene = make_scene(60, seed=9)
    rig = disturbed_rig(scene.rig, rotation_deg=0.2, centre_m=0.005, seed=3)
    stated, plain = (_same(one, observe(scene, SCENES["base"], 8)) for one in (rig, scene.rig))
    both = stated.observed & plain.observed
    assert np.median(stated.covariance[both][:, 0, 0] / plain.covariance[both][:, 0, 0]) > 2


def _same(rig: CameraRig, views: Sequence[Keypoints2D]) -> Keypoints3D:
    plain, fast = (triangulate(rig, views, SETTINGS, compiled) for compiled in (False, True))
    assert (plain.flag == fast.flag).all() and (plain.reason == fast.reason).all()
    seen = plain.observed
    assert seen.any() and (seen == fast.observed).all()
    assert np.abs(plain.xyz - fast.xyz)[seen].max() < 1e-8
    size = np.abs(plain.covariance[seen]).max(axis=(1, 2))
    assert (np.abs(plain.covariance - fast.covariance)[seen].max(axis=(1, 2)) / size).max() < 1e-6
    return fast


def test_a_covariance_that_is_none_is_named() -> None:
    pytest.importorskip("numba")
    scene = make_scene(5, seed=5)
    views = list(observe(scene, SCENES["white"], 6))
    covariance = views[1].covariance.copy()
    covariance[3, 0, 9] = [[1.0, 2.0], [2.0, 1.0]]
    views[1] = replace(views[1], covariance=covariance)
    with pytest.raises(InputError, match=r"view 'cam02', frame 3, left_wrist: .*not\s+positive definite"):
        rays_from_keypoints(scene.rig, views, 0.1, True)


LENSES = {
    "polynomial": (-0.11, 0.02, 0.001, -0.002, 0.01),
    "rational": (0.2, 0.05, 0.001, 0.0, 0.01, 0.3, 0.02, 0.001),
    "none": (0.0, 0.0, 0.0, 0.0),
    "tilted": (-0.1, 0.01, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.01, 0.02),
}


@pytest.mark.parametrize("distortion", LENSES.values(), ids=LENSES)
def test_rays_of_every_lens_are_equal(distortion: tuple[float, ...]) -> None:
    pytest.importorskip("numba")
    rig = circle_rig(3, distortion=distortion)
    scene = replace(make_scene(20, cameras=3, seed=5), rig=rig)
    views = observe(scene, SCENES["base"], 6)
    plain, fast = (rays_from_keypoints(rig, views, 0.1, compiled) for compiled in (False, True))
    assert (plain.seen == fast.seen).all() and plain.seen.any()
    for key in ("u", "v", "uu", "uv", "vv"):
        assert np.allclose(getattr(plain, key), getattr(fast, key), rtol=1e-9, atol=1e-9 * plain.uu.max())


def test_seen_by_one_view_or_by_none() -> None:
    pytest.importorskip("numba")
    scene = make_scene(20, cameras=2, seed=5)
    first, second = observe(scene, SCENES["base"], 6)
    second = replace(second, score=np.where(np.arange(17) < 8, second.score, 0.0))
    first = replace(first, score=np.where(np.arange(17) < 12, first.score, 0.0))
    plain, fast = (triangulate(scene.rig, (first, second), SETTINGS, compiled) for compiled in (False, True))
    assert (plain.flag == fast.flag).all()
    assert plain.observed[..., :8].any() and not plain.observed[..., 8:].any()


def test_without_numba_numpy_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "inference.geometry.compiled", raising=False)
    monkeypatch.delattr("inference.geometry.compiled", raising=False)
    acceleration.compiled_loops.cache_clear()
    try:
        assert acceleration.loops_for(10**9) is None
        scene = make_scene(3, seed=5)
        assert triangulate(scene.rig, observe(scene, SCENES["white"], 6), SETTINGS, True).observed.all()
    finally:
        acceleration.compiled_loops.cache_clear()


def test_short_takes_do_not_wait_for_numba() -> None:
    assert acceleration.loops_for(1000) is None
    assert acceleration.loops_for(10**9, compiled=False) is None
