"""Takes that too few views see: what the sampled bodies change, with the flow that ships."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inference.config import DetectionSettings, HypothesisSettings, MotionSettings, TriangulationSettings
from inference.errors import DegenerateError, ModelError
from inference.geometry.rotation import exp
from inference.geometry.triangulation import triangulate
from inference.perception.detector import load_detector
from inference.stature import BodySize
from inference.types import Camera, CameraRig, Flag, Hypotheses3D, Keypoints2D, Keypoints3D, Reason, SolveReport
from inference.unseen import motion_with_hypotheses
from tests.synthetic import SCENES, Scene, coverage, make_scene, observe

Solved = tuple[Scene, Keypoints3D, Hypotheses3D, SolveReport]


def solved_by(cameras: list[int], hypotheses: str = "auto", height_m: float | None = None, seed: int = 1) -> Solved:
    scene = make_scene(frames=60, cameras=4, fps=30.0, seed=seed)
    seen = observe(scene, SCENES["base"], seed=seed + 10)
    rig = CameraRig(tuple(scene.rig.cameras[i] for i in cameras), np.zeros((6 * len(cameras), 6 * len(cameras))))
    return (scene, *_solve(rig, [seen[i] for i in cameras], hypotheses, height_m))


def _solve(
    rig: CameraRig, views: list[Keypoints2D], hypotheses: str, height_m: float | None
) -> tuple[Keypoints3D, Hypotheses3D, SolveReport]:
    raw = triangulate(rig, views, TriangulationSettings())
    report = SolveReport("dance")
    settings = (MotionSettings(), HypothesisSettings(hypotheses=hypotheses))
    solved, _, samples = motion_with_hypotheses(raw, rig, views, settings, BodySize(height_m), report)
    return solved, samples, report


def _errors(scene: Scene, solved: Keypoints3D) -> tuple[np.ndarray, np.ndarray]:
    index = [solved.joint_names.index(name) for name in scene.joint_names]
    return solved.xyz[:, :, index] - scene.xyz, solved.covariance[:, :, index]


@pytest.fixture(scope="module")
def one_view() -> Solved:
    return solved_by([0], height_m=1.70)


def test_one_view_with_a_stated_height_gives_a_plausible_motion(one_view: Solved) -> None:
    """A body's depth from 3 px at 4.5 m: some 0.1 m at the flow's own mean error; without samples there is nothing."""
    scene, solved, _, _ = one_view
    error, covariance = _errors(scene, solved)
    assert np.isfinite(error).all()
    assert np.linalg.norm(error, axis=-1).mean() < 0.25
    assert coverage(error, covariance)[2] > 0.7
    assert (solved.flag <= Flag.WEAK).all() and (solved.reason == Reason.HYPOTHESES).all()
    with pytest.raises(DegenerateError):  # negative control
        solved_by([0], hypotheses="off", height_m=1.70)


def test_the_doubt_of_one_view_lies_along_its_rays(one_view: Solved) -> None:
    scene, solved, _, _ = one_view
    ray = solved.xyz - scene.rig.cameras[0].centre
    ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
    along = np.einsum("tpji,tpjik,tpjk->tpj", ray, solved.covariance, ray)
    across = (np.einsum("tpjii->tpj", solved.covariance) - along) / 2
    assert np.median(along / across) > 4


def test_hypotheses_are_bodies_that_the_view_may_have_seen(one_view: Solved) -> None:
    scene, solved, samples, report = one_view
    assert samples.xyz.shape == (60, 1, 64, len(solved.joint_names), 3)
    assert np.allclose(np.exp(samples.log_weight).sum(axis=-1), 1, atol=1e-5)
    camera = scene.rig.cameras[0]
    shoulder = solved.joint_names.index("left_shoulder")
    spread = [np.linalg.norm(camera.R[i] @ samples.xyz[..., shoulder, :].std(axis=2)[0, 0]) for i in range(3)]
    assert spread[2] > 2 * spread[0]
    assert report.models[0]["name"] == "sightline_flow"
    (warning,) = report.warnings
    assert "person 1: no two views agree" in warning and "the height_m of the take" in warning
    assert report.facts["hypotheses"]["frames"] == [60]


def test_without_a_height_the_distance_is_as_unsure_as_a_grown_person_s_height() -> None:
    _, solved, samples, report = solved_by([0])
    assert report.warnings[0].endswith("state height_m under [take]")
    _, sure, _, _ = solved_by([0], height_m=1.70)
    assert np.linalg.eigvalsh(solved.covariance[30, 0, 5])[2] > 1.3 * np.linalg.eigvalsh(sure.covariance[30, 0, 5])[2]


def body_off(pins: tuple[np.ndarray, np.ndarray] | None) -> tuple[np.ndarray, np.ndarray]:
    """How far the whole body and the wrist of frame 10 are off in depth where the height is stated 10 % too small."""
    scene = make_scene(frames=30, cameras=4, fps=30.0, seed=1)
    rig, views = CameraRig(scene.rig.cameras[:1], np.zeros((6, 6))), list(observe(scene, SCENES["base"], seed=11))[:1]
    raw = triangulate(rig, views, TriangulationSettings())
    settings = (MotionSettings(), HypothesisSettings())
    size = BodySize(1.52, pins=pins)
    solved = motion_with_hypotheses(raw, rig, views, settings, size, SolveReport("dance"))[0]
    error = (_errors(scene, solved)[0] @ rig.cameras[0].R.T)[..., 2]
    return np.abs(error.mean(axis=(1, 2))), np.abs(error[10, 0, scene.joint_names.index("left_wrist")])


def test_with_one_view_a_pin_tells_how_far_away_the_joint_and_the_body_are() -> None:
    scene = make_scene(frames=30, cameras=4, fps=30.0, seed=1)
    joint = scene.joint_names.index("left_wrist")
    pins, sigma = np.full((*scene.xyz.shape[:3], 3), np.nan), np.full(scene.xyz.shape[:3], np.nan)
    pins[10, 0, joint], sigma[10, 0, joint] = scene.xyz[10, 0, joint], 0.005
    without, wrist_without = body_off(None)
    with_it, wrist = body_off((pins, sigma))
    assert wrist_without > 0.15 and wrist < 0.03
    assert with_it.mean() < 0.6 * without.mean()  # the other frames too: the body is as large in all of them


def test_one_view_takes_its_scale_from_the_floor() -> None:
    """A body of 1.86 m (the cameras' world made larger by a tenth): without a height it is taken for 1.70 m."""
    found = []
    for on_floor in (False, True):
        scene = make_scene(frames=24, cameras=4, fps=12.0, seed=1)
        camera = scene.rig.cameras[1]
        rig = CameraRig((replace(camera, t=1.1 * camera.t),), np.zeros((6, 6)))
        views = list(observe(scene, SCENES["base"], seed=11))[1:2]
        raw, report = triangulate(rig, views, TriangulationSettings()), SolveReport("dance")
        size = BodySize(on_floor=on_floor)
        solved = motion_with_hypotheses(raw, rig, views, (MotionSettings(), HypothesisSettings()), size, report)[0]
        index = [solved.joint_names.index(name) for name in scene.joint_names]
        error = np.linalg.norm(solved.xyz[:, :, index] - 1.1 * scene.xyz, axis=-1)
        found.append((report.facts["hypotheses"]["height_m"][0], error.mean(), report.warnings[0]))
    assert found[0][0] == pytest.approx(1.70) and found[1][0] == pytest.approx(1.86, rel=0.04)
    assert found[1][1] < 0.8 * found[0][1]
    assert "the floor" in found[1][2] and "the floor" not in found[0][2]


def warnings_of_one_view(scene: Scene, camera: Camera, size: BodySize) -> list[str]:
    rig, views = CameraRig((camera,), np.zeros((6, 6))), list(observe(scene, SCENES["base"], seed=11))[:1]
    raw, report = triangulate(rig, views, TriangulationSettings()), SolveReport("dance")
    motion_with_hypotheses(raw, rig, views, (MotionSettings(), HypothesisSettings()), size, report)
    return report.warnings


def test_a_floor_that_says_nothing_is_not_named() -> None:
    """Seen from 0.1 m above the floor a nearer body looks the same; from 1.2 m and more it does not."""
    scene = make_scene(frames=8, cameras=4, fps=12.0, seed=1)
    camera = scene.rig.cameras[0]
    low = replace(camera, t=camera.t + camera.R @ [0, 0, camera.centre[2] - 0.1])
    assert low.centre[2] == pytest.approx(0.1)
    (warning,) = warnings_of_one_view(scene, low, BodySize(on_floor=True))
    assert "the floor" not in warning and warning.endswith("state height_m under [take]")
    (warning, *_) = warnings_of_one_view(scene, camera, BodySize(on_floor=True))  # negative control
    assert "the floor" in warning and not warning.endswith("state height_m under [take]")


def test_a_pin_tells_of_the_person_whom_it_is_on_alone() -> None:
    scene = make_scene(frames=8, cameras=4, fps=12.0, seed=1, people=2)
    joint = scene.joint_names.index("left_wrist")
    pins, sigma = np.full((*scene.xyz.shape[:3], 3), np.nan), np.full(scene.xyz.shape[:3], np.nan)
    pins[4, 1, joint], sigma[4, 1, joint] = scene.xyz[4, 1, joint], 0.005
    told = warnings_of_one_view(scene, scene.rig.cameras[0], BodySize(pins=(pins, sigma)))
    assert [("what is pinned" in warning) for warning in told if "no two views agree" in warning] == [False, True]


def test_two_views_leave_no_joint_missing() -> None:
    scene, solved, samples, report = solved_by([0, 1])
    assert not report.warnings
    error, covariance = _errors(scene, solved)
    assert np.isfinite(error).all()
    assert np.linalg.norm(error, axis=-1).mean() < 0.02
    assert coverage(error, covariance)[1] > 0.8


def test_views_that_see_enough_are_left_alone() -> None:
    scene = make_scene(frames=30, cameras=4, fps=30.0, seed=2)
    views = list(observe(scene, SCENES["white"], seed=3))
    with_, without = (_solve(scene.rig, views, hypotheses, None) for hypotheses in ("auto", "off"))
    assert np.array_equal(with_[0].xyz, without[0].xyz, equal_nan=True)
    assert with_[1].xyz.size == 0 and "hypotheses" not in with_[2].facts


def test_a_limb_that_one_view_alone_sees_is_told_by_it_and_by_bodies() -> None:
    """The second view loses both arms for good: motion and bones know nothing of them, samples do."""
    scene = make_scene(frames=45, cameras=4, fps=30.0, seed=4)
    views = list(observe(scene, SCENES["white"], seed=5))[:2]
    arms = [i for i, name in enumerate(scene.joint_names) if "wrist" in name or "elbow" in name]
    xy, covariance, score = views[1].xy.copy(), views[1].covariance.copy(), views[1].score.copy()
    xy[:, :, arms], covariance[:, :, arms], score[:, :, arms] = np.nan, np.nan, 0
    views[1] = replace(views[1], xy=xy, covariance=covariance, score=score)
    rig = CameraRig(scene.rig.cameras[:2], np.zeros((12, 12)))
    off, on = (_errors(scene, _solve(rig, views, hypotheses, None)[0]) for hypotheses in ("off", "auto"))
    assert np.isnan(off[0][:, :, arms]).all()  # negative control
    assert np.isfinite(on[0][:, :, arms]).all()
    assert np.linalg.norm(on[0][:, :, arms], axis=-1).mean() < 0.4  # this dance holds its arms as few people do
    sigma = np.sqrt(np.linalg.eigvalsh(on[1][:, :, arms])[..., 2])
    assert np.median(sigma) > 0.05  # and nobody is told that they are well known
    others = [i for i in range(17) if i not in arms]
    assert (
        np.linalg.norm(on[0][:, :, others], axis=-1).mean() < 1.2 * np.linalg.norm(off[0][:, :, others], axis=-1).mean()
    )


def test_a_missing_model_costs_the_hypotheses_alone_where_views_stand() -> None:
    scene = make_scene(frames=20, cameras=4, fps=30.0, seed=1)
    rig = CameraRig(scene.rig.cameras[:2], np.zeros((12, 12)))
    views = list(observe(scene, SCENES["base"], seed=11))[:2]
    raw = triangulate(rig, views, TriangulationSettings())
    report = SolveReport("dance")
    settings = (MotionSettings(), HypothesisSettings(flow="nobody"))
    motion_with_hypotheses(raw, rig, views, settings, BodySize(), report)
    assert any("no model card 'nobody'" in warning for warning in report.warnings)
    with pytest.raises(ModelError, match="nobody"):  # with one view nothing stands
        one = CameraRig(rig.cameras[:1], np.zeros((6, 6)))
        raw = triangulate(one, views[:1], TriangulationSettings())
        motion_with_hypotheses(raw, one, views[:1], settings, BodySize(), report)


def test_samples_do_not_depend_on_chance() -> None:
    first, second = (solved_by([0], height_m=1.70)[2].xyz for _ in range(2))
    assert np.array_equal(first, second, equal_nan=True)


def test_views_that_contradict_each_other_are_not_covered_up() -> None:
    """Another camera's pose: bodies would stand everywhere, 0.4 m off."""
    scene = make_scene(frames=30, cameras=4, fps=30.0, seed=1)
    views = list(observe(scene, SCENES["base"], seed=11))[:2]
    wrong = replace(scene.rig.cameras[2], intrinsics=scene.rig.cameras[1].intrinsics)
    rig = CameraRig((scene.rig.cameras[0], wrong), np.zeros((12, 12)))
    solved, samples, report = _solve(rig, views, "auto", None)
    assert solved.observed.mean() < 0.5 and samples.xyz.size == 0 and "hypotheses" not in report.facts
    right = CameraRig(scene.rig.cameras[:2], np.zeros((12, 12)))
    assert _solve(right, views, "auto", None)[1].xyz.size  # negative control


@pytest.mark.parametrize("cameras", [[0], [0, 1]])
def test_the_report_tells_of_filmed_views_alone(cameras: list[int]) -> None:
    scene, solved, _, report = solved_by(cameras, height_m=1.70)
    names = [scene.rig.names[i] for i in cameras]
    assert [fact["view"] for fact in report.facts["camera_shifts"]] == names
    assert not any("(depth)" in warning or "(x)" in warning for warning in report.warnings)


def test_joints_above_the_limit_are_given_up_where_two_views_stand() -> None:
    scene = make_scene(frames=60, cameras=4, fps=30.0, seed=1)
    rig = CameraRig(scene.rig.cameras[:2], np.zeros((12, 12)))
    views = list(observe(scene, SCENES["base"], seed=11))[:2]
    raw = triangulate(rig, views, TriangulationSettings())
    for most, given_up in ((0.3, False), (0.02, True)):
        settings = (MotionSettings(max_sigma_m=most), HypothesisSettings())
        solved = motion_with_hypotheses(raw, rig, views, settings, BodySize(), SolveReport("dance"))[0]
        sigma = np.sqrt(np.linalg.eigvalsh(solved.covariance[solved.observed])[:, 2])
        assert sigma.max() <= most and (~solved.observed).any() == given_up
        assert np.isnan(solved.xyz[~solved.observed]).all()


def test_what_was_told_of_the_views_stays_told_where_no_body_is_needed() -> None:
    """A camera that points elsewhere by half a degree: the warning of the motion comes through."""
    scene = make_scene(frames=60, cameras=4, fps=30.0, seed=2)
    views = list(observe(scene, SCENES["white"], seed=3))
    camera = scene.rig.cameras[1]
    turn = exp(np.array([0.0, 0.01, 0.0]))
    off = replace(camera, R=turn @ camera.R, t=turn @ camera.t)
    cameras = (scene.rig.cameras[0], off, *scene.rig.cameras[2:])
    told = [_solve(CameraRig(c, np.zeros((24, 24))), views, "auto", None)[2] for c in (cameras, scene.rig.cameras)]
    assert any(warning.startswith(f"view {camera.name}: the camera points elsewhere") for warning in told[0].warnings)
    assert not told[1].warnings  # negative control


def test_a_flow_is_no_detector() -> None:
    with pytest.raises(ModelError, match="is a flow, no detector"):
        load_detector(DetectionSettings(detector="sightline_flow"))


def test_joints_that_no_view_ever_shows_stay_missing() -> None:
    scene = make_scene(frames=30, cameras=4, fps=30.0, seed=2)
    wrist = scene.joint_names.index("left_wrist")
    views = []
    for view in observe(scene, SCENES["white"], seed=3):
        xy, covariance, score = view.xy.copy(), view.covariance.copy(), view.score.copy()
        xy[:, :, wrist], covariance[:, :, wrist], score[:, :, wrist] = np.nan, np.nan, 0
        views.append(replace(view, xy=xy, covariance=covariance, score=score))
    solved, samples, _ = _solve(scene.rig, views, "auto", None)
    assert not solved.observed[:, :, solved.joint_names.index("left_wrist")].any() and samples.xyz.size == 0
