"""The covariance of bone rotations against drawn joints, and where nothing shows a twist."""

import numpy as np
import pytest

from inference.config import SolveSettings
from inference.errors import ShapeError
from inference.geometry.rotation import conjugate, exp, log, matrix_from_quaternion, multiply
from inference.geometry.triangulation import triangulate
from inference.layouts import layout
from inference.motion.estimate import estimate_motion
from inference.motion.kinematics import bone_rotations
from inference.motion.rotation_covariance import GUESSED_TWIST, rotation_covariance
from inference.motion.skeleton import build_skeleton, joint_sources, rest_lengths
from inference.types import Skeleton
from tests.synthetic import BASE, dance, make_scene, observe

DRAWS = 6000
FAR_S = 1e6  # between frames: nothing is smoothed over time, each is a draw of its own


def _pose(name: str, seed: int) -> tuple[Skeleton, np.ndarray, np.ndarray]:
    """A skeleton, one pose of the layout's joints (J, 3), and what the skeleton's joints are made of."""
    names = layout(name).joint_names
    skeleton = build_skeleton(names)
    return skeleton, dance(np.array([0.3 * seed, 0.3 * seed + 0.01]), names, seed)[0], joint_sources(skeleton, names)


def _covariances(rng: np.random.Generator, count: int) -> np.ndarray:
    factor = rng.normal(size=(count, 3, 3)) * 0.0005
    return factor @ factor.swapaxes(-1, -2) + 1e-7 * np.eye(3)


def _propagated(skeleton: Skeleton, pose: np.ndarray, covariance: np.ndarray, sources: np.ndarray) -> np.ndarray:
    joints = (sources @ pose)[None]
    root, local = bone_rotations(skeleton, joints, np.zeros(1))
    spread = np.einsum("sj,jxy->sxy", sources**2, covariance)[None]
    return rotation_covariance(skeleton, joints, root, local, spread, sources)[0]


def _drawn(skeleton: Skeleton, pose: np.ndarray, covariance: np.ndarray, sources: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    moved = pose + np.einsum("jxy,tjy->tjx", np.linalg.cholesky(covariance), rng.normal(size=(DRAWS, *pose.shape)))
    moved[0] = pose
    joints = np.einsum("sj,tjx->tsx", sources, moved)
    _, local = bone_rotations(skeleton, joints, FAR_S * np.arange(DRAWS))
    vector = log(matrix_from_quaternion(multiply(local, conjugate(local[:1]))))
    return np.einsum("tbx,tby->bxy", vector, vector) / (DRAWS - 1)


@pytest.mark.parametrize(("name", "seed"), [("coco_17", 1), ("halpe_26", 2), ("blazepose_33", 3)])
def test_first_order_agrees_with_draws(name: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every bone's covariance is within 10 % (Frobenius) of that of 6,000 draws of joints known to about 1 mm (an eye's
    bone is 2 cm long: first order ends at some millimetres).

    Draws err by sqrt(2 / 6000) = 2 %. The guess of the twist is no error of the joints: left out here.
    """
    monkeypatch.setattr("inference.motion.rotation_covariance.GUESSED_TWIST", 0.0)
    skeleton, pose, sources = _pose(name, seed)
    covariance = _covariances(np.random.default_rng(seed), len(pose))
    expected = _drawn(skeleton, pose, covariance, sources, seed)
    found = _propagated(skeleton, pose, covariance, sources)
    apart = np.linalg.norm(found - expected, axis=(1, 2)) / np.linalg.norm(expected, axis=(1, 2))
    assert apart.max() < 0.1
    assert np.linalg.eigvalsh(found).min() > -1e-12


def test_without_its_parents_errors_a_bone_looks_too_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: where the twist that a parent hands on is left out, draws are larger by far more than 10 %."""
    monkeypatch.setattr("inference.motion.rotation_covariance.GUESSED_TWIST", 0.0)
    skeleton, pose, sources = _pose("coco_17", 1)
    covariance = _covariances(np.random.default_rng(1), len(pose))
    full = _propagated(skeleton, pose, covariance, sources)
    elbow = skeleton.joint_names.index("left_elbow")
    alone = np.where((np.arange(len(pose)) == sources[elbow].argmax())[:, None, None], covariance, 1e-12 * np.eye(3))
    part = _propagated(skeleton, pose, alone, sources)
    bone = skeleton.bone_names.index("left_forearm")
    assert np.trace(part[bone]) < 0.8 * np.trace(full[bone])


def _arm(skeleton: Skeleton, bend_rad: float) -> np.ndarray:
    """(1, S, 3) the T pose with the left forearm bent forward by so much."""
    joints = np.zeros((1, len(skeleton.joint_names), 3))
    for bone, parent in enumerate(skeleton.parents[1:]):
        joints[:, bone + 1] = joints[:, parent] + rest_lengths(skeleton)[bone] * skeleton.rest_direction[bone]
    elbow, wrist = (skeleton.joint_names.index(f"left_{name}") for name in ("elbow", "wrist"))
    joints[:, wrist] = joints[:, elbow] + 0.26 * np.array([np.cos(bend_rad), -np.sin(bend_rad), 0])
    return joints


def test_a_straight_arm_does_not_show_its_twist_and_a_bent_one_does() -> None:
    """By hand: elbow e, shoulders s and r known to 5 mm; arm 0.29 m, clavicle half of the line between the shoulders.

    Across, the arm turns by (e - s) / 0.29 and the clavicle by (s - r) / 0.36: together
    5 mm · sqrt(1 / 0.29² + (1 / 0.29 + 1 / 0.36)² + 1 / 0.36²) = 0.0382 rad. About itself the straight arm is a
    guess of 0.5 rad; bent by 90 degrees the forearm of 0.26 m shows it to about sqrt(2) · 5 / 260 rad.
    """
    names = layout("coco_17").joint_names
    skeleton = build_skeleton(names)
    sources = joint_sources(skeleton, names)
    spread = 0.005**2 * np.broadcast_to(np.eye(3), (1, len(skeleton.joint_names), 3, 3))
    bone = skeleton.bone_names.index("left_upper_arm")
    sigmas = {}
    for bend in (0.0, np.pi / 2):
        joints = _arm(skeleton, bend)
        root, local = bone_rotations(skeleton, joints, np.zeros(1))
        found = rotation_covariance(skeleton, joints, root, local, spread, sources)[0, bone]
        sigmas[bend] = np.sqrt(np.linalg.eigvalsh(found))
    assert sigmas[0.0][2] == pytest.approx(GUESSED_TWIST, rel=0.15)
    assert sigmas[np.pi / 2][2] < 0.06
    np.testing.assert_allclose(sigmas[0.0][:2], 0.0382, rtol=0.01)


def test_bones_of_unknown_joints_have_none() -> None:
    skeleton, pose, sources = _pose("coco_17", 1)
    joints = (sources @ pose)[None]
    root, local = bone_rotations(skeleton, joints, np.zeros(1))
    spread = np.array(np.broadcast_to(1e-4 * np.eye(3), (*joints.shape, 3)))
    spread[:, skeleton.joint_names.index("left_knee")] = np.nan
    found = rotation_covariance(skeleton, joints, root, local, spread, sources)[0]
    unknown = {skeleton.bone_names[b] for b in np.flatnonzero(np.isnan(found).any(axis=(1, 2)))}
    assert unknown == {"left_thigh", "left_shin"}


def test_turning_the_world_leaves_inner_bones_alone() -> None:
    skeleton, pose, sources = _pose("halpe_26", 2)
    covariance = _covariances(np.random.default_rng(2), len(pose))
    turn = exp(np.array([0.3, -0.2, 1.0]))
    still = _propagated(skeleton, pose, covariance, sources)
    turned = _propagated(skeleton, pose @ turn.T, turn @ covariance @ turn.T, sources)
    inner = skeleton.bone_parents >= 0
    np.testing.assert_allclose(turned[inner], still[inner], atol=1e-9)
    np.testing.assert_allclose(turned[~inner], turn @ still[~inner] @ turn.T, atol=1e-9)


def test_one_joint_has_no_bones_and_wrong_shapes_are_refused() -> None:
    skeleton = build_skeleton(("nose",))
    empty = rotation_covariance(
        skeleton, np.ones((1, 1, 3)), np.ones((1, 4)), np.ones((1, 0, 4)), np.ones((1, 1, 3, 3)), np.ones((1, 1))
    )
    assert empty.shape == (1, 0, 3, 3)
    with pytest.raises(ShapeError, match="joints"):
        rotation_covariance(
            skeleton, np.ones((1, 2, 3)), np.ones((1, 4)), np.ones((1, 0, 4)), np.ones((1, 1, 3, 3)), np.ones((1, 1))
        )


def test_frames_between_are_interpolated() -> None:
    """Every third of 60 frames a second: within a few percent of all of them, and where one is not known, all."""
    scene = make_scene(31, seed=5)
    rig, views = scene.rig, observe(scene, BASE, 6)
    settings = SolveSettings()
    raw = triangulate(rig, views, settings.triangulation)
    solved, motion = estimate_motion(raw, rig, views, settings.motion)
    skeleton = motion.skeleton
    sources = np.eye(len(skeleton.joint_names))
    arrays = (solved.xyz[:, 0], motion.root_rotation[:, 0], motion.local_rotation[:, 0])
    whole, some = (rotation_covariance(skeleton, *arrays, solved.covariance[:, 0], sources, n) for n in (1, 3))
    size = [np.trace(item, axis1=-2, axis2=-1) for item in (whole, some)]
    np.testing.assert_array_equal(some[::3], whole[::3])
    assert np.median(np.abs(size[1] / size[0] - 1)) < 0.02
    covariance = solved.covariance[:, 0].copy()
    covariance[7, 3] = np.nan
    whole, some = (rotation_covariance(skeleton, *arrays, covariance, sources, n) for n in (1, 3))
    np.testing.assert_array_equal(some, whole)
