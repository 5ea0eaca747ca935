"""Rigid joints, rotations and forward kinematics against each other, by hand, and through their degenerate cases."""

import numpy as np
import pytest

from inference.errors import ShapeError
from inference.geometry.rotation import exp, matrix_from_quaternion, multiply, quaternion_from_matrix, rotate
from inference.layouts import LAYOUTS, layout
from inference.motion.kinematics import (
    bone_rotations,
    forward_kinematics,
    nearest_rigid,
    rest_frames,
    rigid_joints,
    root_rotation,
)
from inference.motion.skeleton import build_skeleton, joint_sources, rest_lengths
from inference.types import Skeleton
from tests.synthetic import make_scene


def _t_pose(skeleton: Skeleton, frames: int = 3) -> np.ndarray:
    joints = np.zeros((frames, len(skeleton.joint_names), 3))
    for bone, parent in enumerate(skeleton.parents[1:]):
        joints[:, bone + 1] = joints[:, parent] + rest_lengths(skeleton)[bone] * skeleton.rest_direction[bone]
    return joints + [0, 0, 1]


def _dance(name: str, frames: int = 200) -> tuple[Skeleton, np.ndarray, np.ndarray]:
    scene = make_scene(frames, seed=3, layout_name=name)
    skeleton = build_skeleton(scene.joint_names)
    joints = np.einsum("sj,tjx->tsx", joint_sources(skeleton, scene.joint_names), scene.xyz[:, 0])
    lengths = np.linalg.norm(joints[:, 1:] - joints[:, skeleton.parents[1:]], axis=-1).mean(axis=0)
    return skeleton, joints, lengths


@pytest.mark.parametrize("name", LAYOUTS)
def test_rotations_reproduce_the_joints(name: str) -> None:
    skeleton, joints, lengths = _dance(name, 60)
    rigid = rigid_joints(skeleton, joints, lengths)
    root, local = bone_rotations(skeleton, rigid, np.arange(60) / 60)
    np.testing.assert_allclose(forward_kinematics(skeleton, rigid[:, 0], local, lengths), rigid, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(local, axis=-1), 1)
    assert ((local[1:] * local[:-1]).sum(axis=-1) > 0.9).all()
    assert ((root[1:] * root[:-1]).sum(axis=-1) > 0.99).all()


def _isotropic(joints: np.ndarray, sigma_m: float = 0.01) -> np.ndarray:
    return np.broadcast_to(sigma_m**2 * np.eye(3), (*joints.shape, 3)).copy()


def _all(lengths: np.ndarray) -> np.ndarray:
    return np.ones(len(lengths), bool)


def test_a_rigid_motion_is_its_own_nearest_rigid_one() -> None:
    skeleton, joints, lengths = _dance("coco_17", 40)
    rigid = rigid_joints(skeleton, joints, lengths)
    np.testing.assert_allclose(
        nearest_rigid(skeleton, rigid, _isotropic(rigid), lengths, _all(lengths)), rigid, atol=1e-9
    )


def test_the_error_of_one_bone_does_not_move_the_limbs_behind_it() -> None:
    """A spine 2 cm too long: going forward from the root moves the wrists by all of it, the nearest pose hardly."""
    skeleton, joints, lengths = _dance("coco_17", 40)
    joints = rigid_joints(skeleton, joints, lengths)
    wrong = lengths.copy()
    wrong[skeleton.bone_names.index("spine")] += 0.02
    wrists = [skeleton.joint_names.index(f"{side}_wrist") for side in ("left", "right")]
    nearest = nearest_rigid(skeleton, joints, _isotropic(joints), wrong, _all(wrong))
    forward = rigid_joints(skeleton, joints, wrong)
    moved = [np.linalg.norm((layer - joints)[:, wrists], axis=-1) for layer in (nearest, forward)]
    assert moved[1].min() > 0.0199  # the control
    assert moved[0].mean() < 0.005
    found = np.linalg.norm(nearest[:, 1:] - nearest[:, skeleton.parents[1:]], axis=-1)
    np.testing.assert_allclose(found, np.broadcast_to(wrong, found.shape), atol=1e-9)


def test_the_better_known_joint_moves_less() -> None:
    skeleton, joints, lengths = _dance("coco_17", 20)
    joints = rigid_joints(skeleton, joints, lengths)
    shin = skeleton.bone_names.index("left_shin")
    knee, ankle = skeleton.parents[shin + 1], shin + 1
    wrong = lengths.copy()
    wrong[shin] += 0.03
    covariance = _isotropic(joints)
    covariance[:, ankle] *= 0.01
    moved = np.linalg.norm(nearest_rigid(skeleton, joints, covariance, wrong, _all(wrong)) - joints, axis=-1)
    assert (moved[:, ankle] < 0.2 * moved[:, knee]).all()


def test_bones_that_are_not_rigid_do_not_pull() -> None:
    skeleton, joints, lengths = _dance("coco_17", 20)
    joints = rigid_joints(skeleton, joints, lengths)
    shin = skeleton.bone_names.index("left_shin")
    wrong, rigid = lengths.copy(), _all(lengths)
    wrong[shin] += 0.1
    rigid[shin] = False
    nearest = nearest_rigid(skeleton, joints, _isotropic(joints), wrong, rigid)
    others = np.delete(np.arange(joints.shape[1]), shin + 1)
    np.testing.assert_allclose(nearest[:, others], joints[:, others], atol=1e-9)
    control = nearest_rigid(skeleton, joints, _isotropic(joints), wrong, _all(lengths))
    assert np.abs(control - joints)[:, others].max() > 0.01


def test_bones_of_unknown_joints_do_not_pull() -> None:
    skeleton, joints, lengths = _dance("coco_17", 20)
    joints = rigid_joints(skeleton, joints, lengths)
    knee = skeleton.joint_names.index("left_knee")
    behind = [knee, skeleton.joint_names.index("left_ankle")]
    torn = joints.copy()
    torn[:, knee] = np.nan
    nearest = nearest_rigid(skeleton, torn, _isotropic(joints), lengths, _all(lengths))
    assert np.isfinite(nearest).all()
    others = np.delete(np.arange(joints.shape[1]), behind)
    np.testing.assert_allclose(nearest[:, others], joints[:, others], atol=1e-9)


def test_the_t_pose_has_its_rest_frames() -> None:
    skeleton = build_skeleton(layout("halpe_26").joint_names)
    root, local = bone_rotations(skeleton, _t_pose(skeleton), np.arange(3) / 60)
    axes = matrix_from_quaternion(root[0])
    np.testing.assert_allclose(axes, [[1, 0, 0], [0, 0, -1], [0, 1, 0]], atol=1e-9)  # x left, y up, z forward (-y)
    rest = rest_frames(skeleton)
    bone = skeleton.bone_names.index("left_thigh")
    np.testing.assert_allclose(rotate(rest[bone], np.array([0, 1.0, 0])), skeleton.rest_direction[bone], atol=1e-9)
    for name in ("left_forearm", "right_shin"):
        bone = skeleton.bone_names.index(name)
        above = skeleton.bone_parents[bone]
        world = multiply(rest[above], local[0, bone])
        np.testing.assert_allclose(np.abs((world * rest[bone]).sum()), 1, atol=1e-3)


def test_an_elbow_bends_about_one_axis() -> None:
    """Upper arm still, forearm from straight to 120 degrees: local rotation about the upper arm's x axis alone."""
    skeleton = build_skeleton(layout("coco_17").joint_names)
    joints = _t_pose(skeleton, 60)
    at = skeleton.joint_names.index
    bend = np.linspace(0.3, 2.1, 60)
    joints[:, at("left_wrist")] = joints[:, at("left_elbow")] + 0.26 * np.stack(
        [np.cos(bend), -np.sin(bend), 0 * bend], axis=-1
    )
    _, local = bone_rotations(skeleton, joints, np.arange(60) / 60)
    forearm = local[:, skeleton.bone_names.index("left_forearm")]
    np.testing.assert_allclose(forearm[:, 2:], 0, atol=1e-3)
    np.testing.assert_allclose(2 * np.arctan2(np.abs(forearm[:, 1]), forearm[:, 0]), bend, atol=1e-3)


def test_turning_the_world_turns_the_root_only() -> None:
    skeleton, joints, lengths = _dance("coco_17", 40)
    times = np.arange(40) / 60
    turn = exp(np.array([0, 0, 1.0]))
    root, local = bone_rotations(skeleton, joints, times)
    turned_root, turned_local = bone_rotations(skeleton, joints @ turn.T, times)
    expected = multiply(quaternion_from_matrix(turn), root)
    np.testing.assert_allclose(np.abs((expected * turned_root).sum(axis=-1)), 1, atol=1e-9)
    inner = skeleton.bone_parents >= 0
    np.testing.assert_allclose(np.abs((local * turned_local).sum(axis=-1))[:, inner], 1, atol=1e-6)
    assert lengths.min() > 0


def _turn_about_y(local: np.ndarray) -> np.ndarray:
    """Angle (T,) of the part of a rotation that turns about the bone's own axis."""
    return 2 * np.arctan2(local[:, 2], local[:, 0])


@pytest.mark.parametrize("joints", [("index", "pinky"), ("heel", "big_toe")])
def test_hands_and_feet_show_the_turn_of_a_straight_limb(joints: tuple[str, str]) -> None:
    """Hand or foot turned by up to 60 degrees about the straight limb's axis: the bone that ends there turns too."""
    skeleton = build_skeleton(layout("sightline_29").joint_names)
    pose = _t_pose(skeleton, 60)
    at = skeleton.joint_names.index
    hand = joints[0] == "index"
    bone = skeleton.bone_names.index("left_forearm" if hand else "left_shin")
    start, tip = pose[0, skeleton.parents[bone + 1]], pose[0, bone + 1]
    axis = (tip - start) / np.linalg.norm(tip - start)
    angle = np.linspace(-np.pi / 3, np.pi / 3, 60)
    for joint in joints:
        pose[:, at(f"left_{joint}")] = tip + np.einsum(
            "txy,y->tx", exp(angle[:, None] * axis), pose[0, at(f"left_{joint}")] - tip
        )
    _, local = bone_rotations(skeleton, pose, np.arange(60) / 60)
    turned = _turn_about_y(local[:, bone])
    np.testing.assert_allclose((turned - turned.mean())[10:-10], angle[10:-10], atol=0.02)  # the ends are smoothed


def _inverted(joints: np.ndarray, times: np.ndarray, axis: tuple[float, float, float]) -> np.ndarray:
    """The body turned about an axis through its middle, a full turn a second: cartwheel, somersault, roll."""
    middle = joints.mean(axis=(0, 1))
    turn = exp(2 * np.pi * times[:, None] * np.array(axis))
    return np.einsum("txy,tjy->tjx", turn, joints - middle) + middle


@pytest.mark.parametrize("axis", [(0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.6, 0.0, 0.8)])
@pytest.mark.parametrize("name", ["coco_17", "sightline_29"])
def test_cartwheels_and_somersaults_do_not_flip(name: str, axis: tuple[float, float, float]) -> None:
    """A dancer turned upside down and back: local rotations below the root are those of the upright dance."""
    skeleton, joints, _ = _dance(name, 120)
    times = np.arange(120) / 60
    _, still = bone_rotations(skeleton, joints, times)
    root, local = bone_rotations(skeleton, _inverted(joints, times, axis), times)
    inner = skeleton.bone_parents >= 0
    assert np.abs((still * local).sum(axis=-1))[:, inner].min() > np.cos(np.deg2rad(5))
    steps = np.abs((root[1:] * root[:-1]).sum(axis=-1)).clip(0, 1)
    assert np.rad2deg(2 * np.arccos(steps)).max() < 25  # six degrees a frame are the wheel's own
    assert ((local[1:] * local[:-1]).sum(axis=-1) > 0).all()


def test_lying_down_does_not_flip() -> None:
    """From standing to flat on the back and over onto the front, arms along the body's axis overhead."""
    skeleton = build_skeleton(layout("coco_17").joint_names)
    pose = _t_pose(skeleton, 180)
    at = skeleton.joint_names.index
    for side, sign in (("left", 1), ("right", -1)):
        for joint, height in (("elbow", 0.29), ("wrist", 0.55)):
            pose[:, at(f"{side}_{joint}")] = pose[:, at(f"{side}_shoulder")] + [sign * 0.01, 0, height]
    time = np.arange(180) / 60
    down = exp(np.clip(time, 0, 1)[:, None] * np.array([-np.pi / 2, 0, 0]))
    roll = exp(np.clip(time - 1.5, 0, 1)[:, None] * np.array([0, np.pi, 0]))
    lying = np.einsum("txy,tyz,tjz->tjx", roll, down, pose)
    root, local = bone_rotations(skeleton, lying, time)
    for turning in (root, local):
        steps = np.abs((turning[1:] * turning[:-1]).sum(axis=-1)).clip(0, 1)
        assert np.rad2deg(2 * np.arccos(steps)).max() < 8
    inner = skeleton.bone_parents >= 0
    assert np.abs((local * local[:1]).sum(axis=-1))[:, inner].min() > np.cos(np.deg2rad(5))


def test_an_arm_that_stretches_and_bends_again_does_not_flip() -> None:
    """Elbow from 90 degrees through straight and back: the upper arm keeps its turn while nothing shows it."""
    skeleton = build_skeleton(layout("coco_17").joint_names)
    pose = _t_pose(skeleton, 120)
    at = skeleton.joint_names.index
    bend = np.abs(np.linspace(-np.pi / 2, np.pi / 2, 120))
    pose[:, at("left_wrist")] = pose[:, at("left_elbow")] + 0.26 * np.stack(
        [np.cos(bend), -np.sin(bend), 0 * bend], axis=-1
    )
    _, local = bone_rotations(skeleton, pose, np.arange(120) / 60)
    arm = local[:, skeleton.bone_names.index("left_upper_arm")]
    assert np.rad2deg(2 * np.arccos(np.abs(arm @ arm[0]).clip(0, 1))).max() < 3


def test_a_full_turn_overhead_does_not_flip() -> None:
    """An arm that circles through every direction, past the opposite of its rest direction."""
    skeleton = build_skeleton(layout("coco_17").joint_names)
    joints = _t_pose(skeleton, 240)
    angle = np.linspace(0, 4 * np.pi, 240)
    at = skeleton.joint_names.index
    swing = np.stack([np.cos(angle), 0.02 * np.sin(3 * angle), np.sin(angle)], axis=-1)
    swing /= np.linalg.norm(swing, axis=-1, keepdims=True)
    for joint, length in (("left_elbow", 0.29), ("left_wrist", 0.55)):
        joints[:, at(joint)] = joints[:, at("left_shoulder")] + length * swing
    _, local = bone_rotations(skeleton, joints, np.arange(240) / 60)
    turn = 2 * np.arccos(np.abs((local[1:] * local[:-1]).sum(axis=-1)).clip(0, 1))
    assert np.rad2deg(turn).max() < 15  # the swing itself makes 3 degrees a frame


def test_missing_joints_are_held_and_interpolated() -> None:
    skeleton = build_skeleton(layout("coco_17").joint_names)
    joints = _t_pose(skeleton, 5)
    lengths = rest_lengths(skeleton)
    knee = skeleton.joint_names.index("left_knee")
    joints[1:4, knee] = np.nan
    joints[:, skeleton.joint_names.index("left_ankle")] = np.nan
    joints[4] += [0, 0, 1.0]
    joints[0:2, 0] = np.nan
    rigid = rigid_joints(skeleton, joints, lengths)
    assert np.isfinite(rigid).all()
    np.testing.assert_allclose(
        np.linalg.norm(rigid[:, 1:] - rigid[:, skeleton.parents[1:]], axis=-1) - lengths, 0, atol=1e-9
    )
    np.testing.assert_allclose(rigid[0, 0], joints[2, 0])
    np.testing.assert_allclose(
        rigid[2, knee] - rigid[2, skeleton.parents[knee]], lengths[knee - 1] * np.array([0, 0, -1]), atol=1e-9
    )


def test_root_of_a_folded_body_is_still_a_rotation() -> None:
    skeleton = build_skeleton(layout("coco_17").joint_names)
    joints = _t_pose(skeleton, 4)
    at = skeleton.joint_names.index
    joints[2, at("neck")] = joints[2, 0] + [0.5, 0, 0]  # spine along the hips
    q = root_rotation(skeleton, joints)
    assert np.isfinite(q).all()
    np.testing.assert_allclose(np.linalg.norm(q, axis=-1), 1)


def test_one_joint_and_one_frame() -> None:
    skeleton = build_skeleton(("nose",))
    rigid = rigid_joints(skeleton, np.ones((1, 1, 3)), np.zeros(0))
    root, local = bone_rotations(skeleton, rigid, np.zeros(1))
    assert root.shape == (1, 4) and local.shape == (1, 0, 4)


def test_wrong_shapes_are_refused() -> None:
    skeleton = build_skeleton(layout("coco_17").joint_names)
    with pytest.raises(ShapeError, match="lengths"):
        rigid_joints(skeleton, np.zeros((2, len(skeleton.joint_names), 3)), np.zeros(3))
