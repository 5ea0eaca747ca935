"""Cameras from the person on scenes that are known exactly, and the motions that must be refused."""

from dataclasses import replace

import numpy as np
import pytest

from inference.calibration.focal_lengths import zoomed_lens
from inference.calibration.observations import gather_observations
from inference.calibration.scale import KnownLengths
from inference.calibration.self_calibration import SelfCalibration, bone_wander, calibrate_from_person, memory_of
from inference.errors import DegenerateError
from inference.geometry.rotation import log
from inference.shapes import FloatArray
from inference.types import Camera, CameraRig, Keypoints2D
from tests.synthetic import BASE, IMAGE_SIZE, SCENES, Noise, Scene, circle_rig, make_scene, observe
from tools.benchmarks.cameras import squared_sigmas

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


def overconfident(noise: Noise) -> Noise:
    """Keypoints that state an eighth of their error."""
    return replace(noise, stated_sigma_px=noise.sigma_px / 8)


def test_detectors_that_are_too_sure_of_themselves_give_the_same_cameras() -> None:
    """Thresholds in stated sigmas leave no pair of views then: it takes the true size of the errors."""
    scene = make_scene(frames=150, cameras=4, seed=5003)
    errors = []
    for noise in (SCENES["realistic"], overconfident(SCENES["realistic"])):
        found = solved(scene, observe(scene, noise, seed=5103))
        errors.append(rotation_errors_deg(found.rig, scene.rig).mean())
    assert errors[1] == pytest.approx(errors[0], rel=0.1)
    assert found.facts["noise_over_stated"] == pytest.approx(8, rel=0.15)


def test_a_view_of_somebody_else_is_refused_however_large_the_errors_are() -> None:
    """The negative control: errors are measured where two views agree, and hide no contradiction."""
    scene, other = (make_scene(frames=150, cameras=4, seed=seed) for seed in (5003, 5053))
    noise = overconfident(SCENES["realistic"])
    views = list(observe(scene, noise, seed=5103))
    views[2] = observe(other, noise, seed=5103)[2]
    with pytest.raises(DegenerateError, match="cam03"):
        solved(scene, tuple(views))


def later(view: Keypoints2D, frames: int) -> Keypoints2D:
    arrays = {name: np.roll(getattr(view, name), frames, axis=0) for name in ("xy", "covariance", "score")}
    return replace(view, **arrays)


def mirrored(view: Keypoints2D) -> Keypoints2D:
    return replace(view, xy=view.xy * np.array([-1.0, 1.0]) + np.array([IMAGE_SIZE[0] - 1.0, 0.0]))


def test_a_view_that_the_others_contradict_is_named() -> None:
    """A quarter of a second late is refused, 67 ms late and mirrored films are answered with a warning.

    Both bounds have their control: a view with three times the noise of the others gives good cameras all the same, and
    of a healthy one nothing is said.
    """
    scene = make_scene(frames=150, cameras=4, seed=52)
    views = observe(scene, BASE, seed=53)
    noisy = observe(scene, replace(BASE, sigma_px=9.0, stated_sigma_px=3.0), seed=53)[2]
    told = "view cam03: its keypoints lie"
    with pytest.raises(DegenerateError, match=told):
        solved(scene, (*views[:2], later(views[2], 15), views[3]))
    for other, warned in ((later(views[2], 4), 1), (mirrored(views[2]), 1), (noisy, 1), (views[2], 0)):
        found = solved(scene, (*views[:2], other, views[3]))
        assert sum(warning.startswith(told) for warning in found.warnings) == warned
        if other is noisy:
            assert rotation_errors_deg(found.rig, scene.rig).mean() < 0.3


def still(scene: Scene) -> Scene:
    return replace(scene, xyz=np.repeat(scene.xyz[:1], len(scene.xyz), axis=0))


def planar(scene: Scene) -> Scene:
    return replace(scene, xyz=scene.xyz * np.array([1.0, 0.0, 1.0]))


@pytest.mark.parametrize(("change", "message"), [(still, "hardly moves"), (planar, "plane")])
@pytest.mark.parametrize("stated", [2.0, 0.3])
def test_motion_that_determines_nothing_is_named(change: object, message: str, stated: float) -> None:
    scene = change(make_scene(frames=120, cameras=4, seed=2))  # type: ignore[operator]
    with pytest.raises(DegenerateError, match=message):
        solved(scene, observe(scene, replace(QUIET, sigma_px=2.0, stated_sigma_px=stated), seed=1))


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


def test_the_covariance_means_what_it_says() -> None:
    """Ten seeds: squared errors average to the stated variances.

    The mean of 10 x 17 squares has a standard deviation of 0.11 if the covariance is right; bound: three of them. On 60
    and 40 scenes of 300 and 1,000 frames with base and realistic noise the benchmark measures the shares inside.
    """
    found = []
    for seed in range(6000, 6010):
        scene = make_scene(frames=80, cameras=4, seed=seed)
        found.append(squared_sigmas(solved(scene, observe(scene, BASE, seed=seed + 100)).rig, scene.rig))
    assert np.mean(found) / 17 == pytest.approx(1.0, abs=0.33)


def test_standing_offsets_are_measured() -> None:
    """Realistic noise has 4 px; measured on six seeds: 4.0-4.2."""
    scene = make_scene(frames=300, cameras=4, seed=6100)
    facts = solved(scene, observe(scene, SCENES["realistic"], seed=6200)).facts
    assert facts["standing_offset_px"] == pytest.approx(4.0, abs=0.6)


@pytest.mark.parametrize(("wander_m", "low", "high"), [(0.0, 0.0, 0.006), (0.03, 0.022, 0.038)])
def test_how_far_bones_wander_is_measured(wander_m: float, low: float, high: float) -> None:
    """Joints that stray by 3 cm along each axis let the distance of two of them wander by 3 cm x sqrt(2)."""
    scene = make_scene(frames=200, cameras=4, seed=7)
    rng = np.random.default_rng(1)
    strayed = replace(scene, xyz=scene.xyz + wander_m / np.sqrt(2) * rng.normal(size=scene.xyz.shape))
    observations = gather_observations(scene.rig.lenses, observe(strayed, BASE, seed=8))
    R, t = (np.stack([getattr(c, key) for c in scene.rig.cameras]) for key in ("R", "t"))
    sigma, held = bone_wander(observations, R, t)
    assert low < np.median(sigma) < high
    bones = len(observations.bones) * len(observations.frame)
    assert (held > 0.8 * bones) if wander_m == 0 else (held < 0.2 * bones)


def test_focal_lengths_are_solved_where_the_person_comes_near_and_goes() -> None:
    """Given up to 9 % off: found to 1 % (four sigmas of 0.5 %), and the cameras with them."""
    scene = make_scene(frames=200, cameras=4, seed=4000)
    views = observe(scene, BASE, seed=4100)
    wrong = [zoomed_lens(lens, zoom) for lens, zoom in zip(scene.rig.lenses, (0.09, -0.05, 0.02, -0.08), strict=True)]
    found = calibrate_from_person(wrong, views, 1, HEIGHT_M, known=KnownLengths(focal_sigma=0.1))
    ratio = [
        a.intrinsics.K[0, 0] / b.intrinsics.K[0, 0] for a, b in zip(found.rig.cameras, scene.rig.cameras, strict=True)
    ]
    np.testing.assert_allclose(ratio, 1.0, atol=0.02)
    np.testing.assert_allclose(
        found.rig.cameras[0].intrinsics.distortion, scene.rig.cameras[0].intrinsics.distortion, rtol=0.05, atol=1e-9
    )
    assert not any("focal length" in warning for warning in found.warnings)
    kept = calibrate_from_person(wrong, views, 1, HEIGHT_M)  # the negative control: wrong lenses taken as exact
    assert rotation_errors_deg(found.rig, scene.rig).mean() < 0.6 * rotation_errors_deg(kept.rig, scene.rig).mean()


def test_a_focal_length_that_the_person_does_not_show_is_named() -> None:
    """From 12 m with a long lens somebody who comes a metre nearer hardly grows: no focal length is known to 1 %."""
    near = make_scene(frames=120, cameras=3, seed=4)
    rig = circle_rig(3, radius_m=12.0)
    cameras = tuple(Camera(zoomed_lens(c.intrinsics, np.log(12 / 4.5)), c.R, c.t) for c in rig.cameras)
    scene = replace(near, rig=replace(rig, cameras=cameras))
    views = observe(scene, replace(BASE, outliers=0, swaps=0), seed=5)
    found = calibrate_from_person(scene.rig.lenses, views, 1, HEIGHT_M, known=KnownLengths(focal_sigma=0.02))
    named = [warning for warning in found.warnings if "does not show its focal length" in warning]
    assert len(named) == 3
    assert "walk towards and away from this camera" in named[0]


@pytest.mark.parametrize(
    ("memory", "white", "persons"), [(0.0, 0.0, 1), (0.38, 0.0, 1), (0.38, 0.2, 1), (0.7, 0.0, 1), (0.6, 0.0, 2)]
)
def test_memory_is_that_of_the_mean(memory: float, white: float, persons: int) -> None:
    """Errors of which a part forgets at once, about standing offsets; persons take turns from moment to moment.

    The factor on the variance of a mean is known in closed form, 1 + 2 (1 - white) m / (1 - m); 12 % of it is 3 sigma
    of what 136 series of 300 moments say of it at the longest memory.
    """
    rng = np.random.default_rng(11)
    error = rng.normal(size=(4, 300, 17, 2))
    for moment in range(persons, 300):
        fresh = np.sqrt(1 - memory**2) * error[:, moment]
        error[:, moment] = memory * error[:, moment - persons] + fresh
    error = np.sqrt(1 - white) * error + np.sqrt(white) * rng.normal(size=error.shape)
    found = memory_of(error + 3 * rng.normal(size=(4, 1, 17, 2)))
    assert (1 + found) / (1 - found) == pytest.approx(1 + 2 * (1 - white) * memory / (1 - memory), rel=0.12)
