"""Cameras from the person on scenes that are known exactly, and the motions that must be refused."""

from dataclasses import replace

import numpy as np
import pytest

from inference.calibration.self_calibration import SelfCalibration, calibrate_from_person
from inference.errors import DegenerateError
from inference.geometry.rotation import log
from inference.shapes import FloatArray
from inference.types import CameraRig, Keypoints2D
from tests.synthetic import BASE, SCENES, Scene, make_scene, observe

QUIET = replace(BASE, sigma_px=1.0, outliers=0.0, missing=0.0, swaps=0.0)
HEIGHT_M = 1.75


def solved(scene: Scene, views: tuple[Keypoints2D, ...]) -> SelfCalibration:
    return calibrate_from_person(scene.rig.lenses, views, 1, HEIGHT_M)


def rotation_errors_deg(rig: CameraRig, truth: CameraRig) -> FloatArray:
    """Errors after the worlds are turned onto each other."""
    ours, true = (np.stack([camera.R for camera in r.cameras]) for r in (rig, truth))
    U, _, Vt = np.linalg.svd(np.einsum("vba,vbc->ac", true, ours))
    world = U @ np.diag([1, 1, np.linalg.det(U @ Vt)]) @ Vt
    return np.degrees(np.linalg.norm(log(ours @ np.swapaxes(true @ world, -1, -2)), axis=-1))


def test_no_noise_gives_the_cameras_up_to_a_similarity() -> None:
    scene = make_scene(frames=60, cameras=3, seed=3)
    views = observe(scene, replace(QUIET, sigma_px=0.0, stated_sigma_px=1.0), seed=1)
    found = solved(scene, views)
    assert rotation_errors_deg(found.rig, scene.rig).max() < 1e-3
    ours, true = (np.stack([c.centre for c in r.cameras]) for r in (found.rig, scene.rig))
    ratios = [np.linalg.norm(a[i] - a[j]) for a in (ours, true) for i, j in ((0, 1), (1, 2), (0, 2))]
    np.testing.assert_allclose(np.divide(*np.split(np.array(ratios), 2)), ratios[0] / ratios[3], rtol=1e-4)


def test_the_world_is_upright_metric_and_stands_on_the_floor() -> None:
    """The dancer is about 1.75 m tall and her lowest foot is near the floor; she leans less than some degrees."""
    scene = make_scene(frames=200, cameras=4, seed=4)
    rig = solved(scene, observe(scene, QUIET, seed=1)).rig
    ours, true = (np.stack([c.centre for c in r.cameras]) for r in (rig, scene.rig))
    assert np.linalg.norm(ours[0] - ours[2]) == pytest.approx(np.linalg.norm(true[0] - true[2]), rel=0.05)
    assert np.abs(ours[:, 2] - true[:, 2]).max() < 0.5
    assert rig.cameras[0].R[2, 0] == pytest.approx(0, abs=1e-9)  # the first view looks along +y
    assert rig.cameras[0].R[2, 1] > 0.5
    assert "height_m" in rig.gauge


@pytest.mark.parametrize(("name", "bound_deg"), [("base", 0.13), ("outliers20", 0.16)])
def test_accuracy_and_stated_sigma(name: str, bound_deg: float) -> None:
    """Bound: twice the mean of 20 seeds (0.05 degrees, measured by the benchmark); sigma within a factor of three."""
    scene = make_scene(frames=300, cameras=4, seed=5)
    found = solved(scene, observe(scene, SCENES[name], seed=105))
    error = rotation_errors_deg(found.rig, scene.rig).mean()
    assert error < bound_deg
    stated = np.sqrt(np.diag(found.rig.covariance).reshape(-1, 6)[1:, :3].sum(axis=1).mean())
    assert np.radians(error) < 3 * stated
    assert np.radians(error) > stated / 6
    assert not found.rig.covariance[:6].any()  # the gauge holds the first camera
    assert np.linalg.eigvalsh(found.rig.covariance).min() > -1e-12


def test_bystanders_are_not_taken_for_the_person() -> None:
    """The second person walks alone in each view: what view a calls track 1 is another person in view b."""
    scene = make_scene(frames=80, cameras=3, seed=6, people=2)
    views = list(observe(scene, QUIET, seed=1))
    for index, view in enumerate(views):  # each view sees a bystander of its own time: the path is rolled
        arrays = {name: np.array(getattr(view, name)) for name in ("xy", "covariance", "score")}
        for array in arrays.values():
            array[:, 1] = np.roll(array[:, 1], 19 * (index + 1), axis=0)
        arrays["xy"][..., 0] += 30.0 * index * (np.arange(arrays["xy"].shape[1]) == 1)[:, None]
        order = [1, 0] if index == 1 else [0, 1]
        views[index] = replace(view, **{name: array[:, order] for name, array in arrays.items()})
    found = solved(scene, tuple(views))
    assert rotation_errors_deg(found.rig, scene.rig).max() < 0.3


def still(scene: Scene) -> Scene:
    return replace(scene, xyz=np.repeat(scene.xyz[:1], len(scene.xyz), axis=0))


def planar(scene: Scene) -> Scene:
    return replace(scene, xyz=scene.xyz * np.array([1.0, 0.0, 1.0]))


@pytest.mark.parametrize(("change", "message"), [(still, "hardly moves"), (planar, "plane")])
def test_motion_that_determines_nothing_is_named(change: object, message: str) -> None:
    scene = change(make_scene(frames=120, cameras=4, seed=2))  # type: ignore[operator]
    with pytest.raises(DegenerateError, match=message):
        solved(scene, observe(scene, replace(QUIET, sigma_px=2.0), seed=1))


def test_too_few_common_frames_are_named() -> None:
    scene = make_scene(frames=6, cameras=3, seed=2)
    with pytest.raises(DegenerateError, match="only 6 frames"):
        solved(scene, observe(scene, QUIET, seed=1))


def test_views_that_never_see_the_person_together_are_named() -> None:
    scene = make_scene(frames=90, cameras=3, seed=2)
    views = []
    for index, view in enumerate(observe(scene, QUIET, seed=1)):
        gone = (np.arange(90) // 30 != index)[:, None, None]
        views.append(
            replace(
                view,
                xy=np.where(gone[..., None], np.nan, view.xy),
                covariance=np.where(gone[..., None, None], np.nan, view.covariance),
                score=np.where(gone, 0.0, view.score),
            )
        )
    with pytest.raises(DegenerateError, match="share"):
        solved(scene, tuple(views))


def test_a_scale_that_was_assumed_is_said() -> None:
    scene = make_scene(frames=60, cameras=3, seed=3)
    found = calibrate_from_person(scene.rig.lenses, observe(scene, QUIET, seed=1), 1, None)
    assert any("height_m" in warning for warning in found.warnings)
    assert "assumed height" in found.rig.gauge
