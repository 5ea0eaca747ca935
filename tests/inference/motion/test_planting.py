"""Feet that stand keep their place, feet that glide are left alone: through the door that a solve uses."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from inference.config import MotionSettings, TriangulationSettings
from inference.geometry.triangulation import triangulate
from inference.motion.estimate import estimate_motion
from inference.motion.planting import PathErrors, Rest, find_rests, plant, wander
from inference.types import CameraRig, Keypoints3D, SolveReport
from tests.inference.motion.test_floor import NAMES, joints_of, walker
from tests.planted_walk import make_walk
from tests.synthetic import SCENES, circle_rig, coverage, observe

RIG: CameraRig = circle_rig()
HEEL = NAMES.index("left_heel")


@cache
def _solved(contacts: str, scene_name: str, seed: int, **walk: Any) -> dict[str, float]:
    """Mean error (mm), slide of standing heels and big toes (m/s), coverage of 90 %, seconds found at rest."""
    scene, stands = make_walk(seed, frames=150, **walk)
    views = observe(scene, SCENES[scene_name], seed + 500)
    raw = triangulate(scene.rig, views, TriangulationSettings())
    report = SolveReport(take="walk")
    solved, _ = estimate_motion(raw, scene.rig, views, replace(MotionSettings(), contacts=contacts), report)
    index = [solved.joint_names.index(name) for name in scene.joint_names]
    error = solved.xyz[:, :, index] - scene.xyz
    slide = []
    for foot, side in enumerate(("left", "right")):
        both = stands[1:, foot] & stands[:-1, foot]
        for name in (f"{side}_heel", f"{side}_big_toe"):
            path = solved.xyz[:, 0, solved.joint_names.index(name)]
            slide.append(np.linalg.norm(np.diff(path, axis=0), axis=-1)[both] * 60)
    told = report.facts.get("planted", [])
    return {
        "error": float(np.nanmean(np.linalg.norm(error, axis=-1))) * 1000,
        "slide": float(np.concatenate(slide).mean()),
        "coverage": coverage(error, solved.covariance[:, :, index])[1],
        "rest_s": sum(foot["seconds"] for foot in told),
        "stance_s": 2 * float(stands.sum()) / 60,
        "after": max((foot["after"] for foot in told), default=0.0),
    }


def _mean(contacts: str, scene_name: str, **walk: Any) -> dict[str, float]:
    found = [_solved(contacts, scene_name, seed, **walk) for seed in range(2)]
    return {key: float(np.mean([one[key] for one in found])) for key in found[0]}


@pytest.mark.parametrize(("scene_name", "factor"), [("base", 0.7), ("correlated", 0.4)])
def test_planted_feet_slide_less_and_nothing_else_gets_worse(scene_name: str, factor: float) -> None:
    """Two seeds. Soft shrinks the slide in stance by the stated factor, error falls, coverage stays within 5 points."""
    free, soft = _mean("estimate", scene_name), _mean("soft", scene_name)
    assert soft["slide"] < factor * free["slide"]
    assert soft["error"] < free["error"]
    assert soft["coverage"] > free["coverage"] - 0.05
    assert soft["rest_s"] > 0.8 * soft["stance_s"]


def test_locked_feet_do_not_slide_at_all_within_their_spans() -> None:
    free, locked = _mean("estimate", "base"), _mean("locked", "base")
    assert locked["after"] < 0.002
    assert locked["slide"] < 0.15 * free["slide"]
    assert locked["error"] < free["error"]


@pytest.mark.parametrize("contacts", ["soft", "locked"])
@pytest.mark.parametrize("glide", [0.1, 0.3, 0.6])
def test_a_gliding_foot_is_not_glued(glide: float, contacts: str) -> None:
    """Negative control: stances that glide by 6.5-39 cm each; a short piece of the slowest may still look like rest."""
    free, held = _solved("estimate", "base", 1, glide=glide), _solved(contacts, "base", 1, glide=glide)
    assert held["rest_s"] < 0.1 * held["stance_s"]
    assert held["error"] < 1.02 * free["error"]


def test_a_jump_leaves_the_floor() -> None:
    free, held = (_solved(contacts, "base", 1, jump=True) for contacts in ("estimate", "locked"))
    assert 0.4 * held["stance_s"] < held["rest_s"] <= held["stance_s"]
    assert held["error"] < free["error"]


def _errors(sigma_m: float = 0.004) -> PathErrors:
    return PathErrors(np.full(len(NAMES), sigma_m**2), np.full(len(NAMES), 200.0))


def _standing(drift: float = 0.0, height: float = 0.0) -> Keypoints3D:
    """Two seconds on the spot; the left heel drifts along x (m/s) or is held above the others (m)."""
    xyz = walker(120)
    xyz[:] = xyz[:1]
    xyz[:, HEEL, 0] += drift * np.arange(120) / 60
    xyz[:, HEEL, 2] += height
    return joints_of(xyz)


@pytest.mark.parametrize(
    ("change", "rests"), [({}, True), ({"drift": 0.004}, True), ({"drift": 0.05}, False), ({"height": 0.25}, False)]
)
def test_one_place_is_told_from_a_drift_and_from_a_foot_in_the_air(change: dict[str, float], rests: bool) -> None:
    """In two seconds 5 cm/s are 10 cm against 4 mm of error and 4 mm of give; 4 mm/s are 8 mm."""
    found = find_rests(_standing(**change), RIG, _errors())
    assert any(rest.joint == HEEL for rest in found) is rests


def test_the_response_time_belongs_to_the_variance() -> None:
    """N / 3τ = V and τ⁶ = N / q: V = 16 mm², q = 200 give τ = (3 V / q)^(1/5) = 47.3 ms."""
    assert _errors().response(0) == pytest.approx((3 * 16e-6 / 200) ** 0.2)
    assert _errors().response(0) == pytest.approx(0.0474, abs=1e-3)


def test_places_are_as_sure_as_their_span_is_long() -> None:
    """V · 3τ / L over the whole two seconds; a joint of unknown error is not planted."""
    rest = next(rest for rest in find_rests(_standing(), RIG, _errors()) if rest.joint == HEEL)
    length = 119 / 60
    np.testing.assert_allclose(rest.variance, 16e-6 * 3 * _errors().response(0) / length)
    assert find_rests(_standing(), RIG, _errors(0.0)) == ()


def test_off_and_estimate_change_nothing_and_soft_keeps_what_wanders() -> None:
    """Wander is measured: 10 mm of it about the place against errors of 1 mm stays nearly whole."""
    joints = _standing()
    for contacts in ("off", "estimate"):
        np.testing.assert_array_equal(plant(joints, RIG, _errors(), contacts).xyz, joints.xyz[:, 0])
    noise = np.random.default_rng(4).normal(size=(120, 3)) * 0.01
    xyz = joints.xyz[:, 0].copy()
    xyz[:, HEEL] += noise
    rest = Rest(HEEL, slice(0, 120), xyz[:, HEEL].mean(axis=0), np.full(3, 1e-8))
    assert wander([rest], xyz, _errors(0.001)) == pytest.approx(0.01, rel=0.15)


def test_without_floor_or_frames_nothing_rests() -> None:
    assert find_rests(joints_of(walker(2)), RIG, _errors()) == ()
    assert find_rests(joints_of(walker(60)[:, :4], NAMES[:4]), RIG, _errors()) == ()
