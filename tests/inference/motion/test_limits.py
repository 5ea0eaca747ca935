"""Joint limits: what breaks them comes back, what keeps them is left alone, and a noisy solve is mended."""

from dataclasses import replace

import numpy as np
import pytest

from inference.config import MotionSettings, TriangulationSettings
from inference.errors import ShapeError
from inference.geometry.rotation import exp
from inference.geometry.triangulation import triangulate
from inference.motion.estimate import estimate_motion
from inference.motion.limits import within_limits
from inference.motion.skeleton import build_skeleton
from tests.planted_walk import make_walk
from tests.synthetic import Noise, make_scene, observe

NAMES = (
    "pelvis",
    "neck",
    "left_hip",
    "right_hip",
    "left_knee",
    "left_ankle",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
)
PLACES: dict[str, tuple[float, float, float]] = {
    "pelvis": (0, 0, 0.9),
    "neck": (0, 0, 1.4),
    "left_hip": (0.1, 0, 0.9),
    "right_hip": (-0.1, 0, 0.9),
    "left_knee": (0.1, 0, 0.48),
    "left_ankle": (0.1, 0, 0.06),
    "left_shoulder": (0.18, 0, 1.4),
    "left_elbow": (0.18, 0, 1.1),
    "left_wrist": (0.18, 0, 0.85),
}


def _moved(knee: float = 0.0, **places: tuple[float, float, float]) -> np.ndarray:
    """(1, J, 3) a standing body that faces -y, its left knee that far behind the line from hip to ankle."""
    found = PLACES | {"left_knee": (0.1, knee, 0.48)} | places
    return np.array([[found[name] for name in SKELETON.joint_names]], float)


SKELETON = build_skeleton(NAMES)
KNEE = SKELETON.joint_names.index("left_knee")
COVARIANCE = np.broadcast_to(1e-3 * np.eye(3), (1, len(NAMES), 3, 3))


def _behind(xyz: np.ndarray) -> float:
    hip, knee, ankle = (xyz[0, SKELETON.joint_names.index(f"left_{name}"), 1] for name in ("hip", "knee", "ankle"))
    return float(knee - (hip + ankle) / 2)


@pytest.mark.parametrize("turn", [0.0, 1.0, 2.5, -1.5])
def test_a_knee_bent_backwards_comes_back_to_straight_whichever_way_the_body_faces(turn: float) -> None:
    """Hand-computed: 0.1 m behind, 2 % of 0.84 m allowed, variance 1e-3 · 1.5 against the limit's (5 mm)²."""
    about = exp(np.array([0, 0, turn]))
    mended = within_limits(SKELETON, _moved(0.1) @ about.T, COVARIANCE) @ about
    left = (0.1 - 0.02 * 0.84) * 0.005**2 / (1.5e-3 + 0.005**2)
    assert _behind(mended) == pytest.approx(0.02 * 0.84 + left, abs=1e-9)


@pytest.mark.parametrize("knee", [-0.2, 0.0, 0.016])
def test_what_keeps_the_limits_is_left_alone(knee: float) -> None:
    xyz = _moved(knee)
    np.testing.assert_array_equal(within_limits(SKELETON, xyz, COVARIANCE), xyz)


def test_a_raised_thigh_carries_the_front_along() -> None:
    """Sitting, feet down: the knee is above the line from hip to ankle, which is its front once the leg is raised."""
    sitting = _moved(left_knee=(0.1, -0.42, 0.9), left_ankle=(0.1, -0.42, 0.48))
    np.testing.assert_array_equal(within_limits(SKELETON, sitting, COVARIANCE), sitting)
    wrong = _moved(left_knee=(0.1, 0.0, 0.48), left_ankle=(0.1, -0.42, 0.48))  # thigh hangs, shin points forward
    assert _behind(within_limits(SKELETON, wrong, COVARIANCE)) < _behind(wrong) - 0.1


def test_an_arm_folded_flat_opens_to_twenty_degrees() -> None:
    folded = _moved(left_wrist=(0.18, 0.01, 1.36))
    shoulder, elbow, wrist = (
        within_limits(SKELETON, folded, COVARIANCE)[0, SKELETON.joint_names.index(f"left_{name}")]
        for name in ("shoulder", "elbow", "wrist")
    )
    upper, lower = shoulder - elbow, wrist - elbow
    cosine = upper @ lower / np.linalg.norm(upper) / np.linalg.norm(lower)
    assert 17 < np.rad2deg(np.arccos(cosine)) < 25


def test_unknown_joints_break_no_limit() -> None:
    for name in ("left_knee", "neck", "right_hip"):
        xyz = _moved(0.1)
        xyz[:, SKELETON.joint_names.index(name)] = np.nan
        mended = within_limits(SKELETON, xyz, COVARIANCE)
        np.testing.assert_array_equal(mended, xyz)
    with pytest.raises(ShapeError):
        within_limits(SKELETON, _moved()[:, :3], COVARIANCE)


def _backward(settings: MotionSettings, seed: int) -> tuple[float, float]:
    """Share of frames and knees that a two-camera solve bends backwards by more than 3 % of the leg; mean error, m."""
    scene, _ = make_walk(seed, frames=120, cameras=2, jump=True, leg_m=(0.411, 0.41))  # nearly straight
    views = observe(scene, Noise(sigma_px=12.0, outliers=0, missing=0, swaps=0, correlation=0.8), seed)
    raw = triangulate(scene.rig, views, TriangulationSettings())
    solved, _ = estimate_motion(raw, scene.rig, views, settings)
    joint = {name: solved.xyz[:, 0, number] for number, name in enumerate(solved.joint_names)}
    shares = []
    for side in ("left", "right"):
        hip, knee, ankle = (joint[f"{side}_{name}"] for name in ("hip", "knee", "ankle"))
        along = ankle - hip
        part = ((knee - hip) * along).sum(-1, keepdims=True) / (along**2).sum(-1, keepdims=True)
        shares.append((knee - hip - part * along)[:, 1] > 0.03 * np.linalg.norm(along, axis=-1))  # it faces -y
    index = [solved.joint_names.index(name) for name in scene.joint_names]
    return float(np.mean(shares)), float(np.nanmean(np.linalg.norm(solved.xyz[:, :, index] - scene.xyz, axis=-1)))


def test_two_cameras_whose_noise_bends_knees_backwards_are_mended() -> None:
    """Without limits the violation is there (this seed shows it); mending it does not cost accuracy."""
    settings = MotionSettings()
    free, held = _backward(replace(settings, joint_limits=False), 1), _backward(settings, 1)
    assert free[0] > 0.02
    assert held[0] < 0.3 * free[0]
    assert held[1] <= free[1]


def test_a_good_solve_is_not_changed() -> None:
    scene = make_scene(100, seed=3)
    views = observe(scene, seed=3)
    raw = triangulate(scene.rig, views, TriangulationSettings())
    free, held = (
        estimate_motion(raw, scene.rig, views, MotionSettings(joint_limits=limits))[0].xyz for limits in (False, True)
    )
    assert np.nanmean(np.linalg.norm(free - held, axis=-1)) < 1e-4
