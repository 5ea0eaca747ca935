"""Few keys that keep every joint within its uncertainty, and as many as it takes where there is none."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from inference.errors import ShapeError
from inference.motion.key_reduction import KeyedCurve, PoseTree, ReducedMotion, evaluate, reduce_keys
from inference.shapes import FloatArray

PARENTS = np.array([-1, 0, 1, 2, 0, 4])
LENGTH = np.array([0.0, 0.5, 0.3, 0.25, 0.4, 0.4])
FRAMES = np.arange(240.0)


def _tree(seed: int = 3) -> PoseTree:
    offset = np.roll(Rotation.random(len(PARENTS), random_state=seed).as_quat(), 1, axis=1)
    return PoseTree(PARENTS, offset, LENGTH)


def _waves(channels: int, size: float, seed: int) -> FloatArray:
    rng = np.random.default_rng(seed)
    speed, phase = rng.uniform(0.02, 0.08, (3, channels)), rng.uniform(0, 6.28, (3, channels))
    return size * np.sin(FRAMES[:, None, None] * speed + phase).sum(axis=1)


def _motion(seed: int = 5) -> tuple[FloatArray, FloatArray]:
    """Root path (T, 3) and rotations (T, bones, 4)."""
    turn = _waves(3 * len(PARENTS), 0.3, seed).reshape(-1, 3)
    rotation = np.roll(Rotation.from_rotvec(turn).as_quat(), 1, axis=1).reshape(len(FRAMES), len(PARENTS), 4)
    return _waves(3, 0.3, seed + 1), rotation * np.where(rotation[..., :1] < 0, -1, 1)


def _covariance(sigma_m: float) -> FloatArray:
    rng = np.random.default_rng(8)
    root = sigma_m * (np.eye(3) + 0.4 * rng.normal(size=(len(PARENTS), 3, 3)))
    return np.broadcast_to(root @ root.swapaxes(1, 2), (len(FRAMES), len(PARENTS), 3, 3))


def _joints(tree: PoseTree, location: FloatArray, rotation: FloatArray) -> FloatArray:
    """(T, bones, 3): the root joint and every other bone's tail, by plain forward kinematics."""
    turned, tails = [], []
    for bone, parent in enumerate(tree.parents):
        own = Rotation.from_quat(np.roll(tree.offset[bone], -1)) * Rotation.from_quat(
            np.roll(rotation[:, bone], -1, axis=1)
        )
        turned.append(own if parent < 0 else turned[parent] * own)
        head = location if parent <= 0 else tails[parent]
        tails.append(head + turned[bone].apply([0, tree.length[bone], 0]))
    return np.stack(tails, axis=1)


def _replayed(tree: PoseTree, reduced: ReducedMotion) -> FloatArray:
    rotation = np.stack([evaluate(curve, FRAMES) for curve in reduced.rotation], axis=1)
    return _joints(tree, evaluate(reduced.location, FRAMES), rotation)


@pytest.mark.parametrize("sigmas", [1.0, 2.0])
def test_every_joint_stays_within_its_allowance_with_few_keys(sigmas: float):
    tree, (location, rotation), covariance = _tree(), _motion(), _covariance(0.01)
    reduced = reduce_keys(tree, FRAMES, location, rotation, covariance, sigmas)
    off = _replayed(tree, reduced) - _joints(tree, location, rotation)
    distance = np.sqrt(np.einsum("tni,tnij,tnj->tn", off, np.linalg.inv(covariance), off))
    assert distance.max() <= sigmas * 1.001
    assert distance.max() > 0.4 * sigmas, "the allowance is there to be used"
    assert reduced.key_count * 5 < location.size + rotation.size


def test_a_smaller_allowance_takes_more_keys():
    tree, (location, rotation) = _tree(), _motion()
    counts = [
        reduce_keys(tree, FRAMES, location, rotation, _covariance(sigma)).key_count for sigma in (0.001, 0.01, 0.1)
    ]
    assert counts[0] > 1.3 * counts[1] > 1.3 * 1.3 * counts[2], counts


def test_noise_that_is_known_exactly_is_kept():
    tree, (location, rotation) = _tree(), _motion()
    location = location + np.random.default_rng(1).normal(size=location.shape)
    reduced = reduce_keys(tree, FRAMES, location, rotation, np.zeros((len(FRAMES), len(PARENTS), 3, 3)))
    assert len(reduced.location.frames) > len(FRAMES) / 2
    assert np.abs(evaluate(reduced.location, FRAMES) - location).max() <= 0.001


def test_a_straight_path_takes_two_keys():
    location = np.outer(FRAMES, [0.01, 0.0, 0.002])
    still = np.tile([1.0, 0, 0, 0], (len(FRAMES), len(PARENTS), 1))
    reduced = reduce_keys(_tree(), FRAMES, location, still, _covariance(0.001))
    assert {len(curve.frames) for curve in (reduced.location, *reduced.rotation)} == {2}


def test_one_frame_is_one_key():
    location, rotation = _motion()
    one = reduce_keys(_tree(), FRAMES[:1], location[:1], rotation[:1], _covariance(0.01)[:1])
    assert evaluate(one.location, FRAMES[:1]) == pytest.approx(location[:1])


def test_joints_without_covariance_are_held_to_five_centimetres():
    tree, (location, rotation) = _tree(), _motion()
    unknown = np.full((len(FRAMES), len(PARENTS), 3, 3), np.nan)
    off = _replayed(tree, reduce_keys(tree, FRAMES, location, rotation, unknown)) - _joints(tree, location, rotation)
    assert 0.02 < np.linalg.norm(off, axis=-1).max() <= 0.1 * 1.001


def test_turning_about_a_bone_is_kept_too():
    turn = np.zeros((len(FRAMES), len(PARENTS), 3))
    turn[:, 3, 1] = np.sin(FRAMES / 5)  # moves no joint
    rotation = np.roll(Rotation.from_rotvec(turn.reshape(-1, 3)).as_quat(), 1, axis=1).reshape(len(FRAMES), -1, 4)
    reduced = reduce_keys(_tree(), FRAMES, np.zeros((len(FRAMES), 3)), rotation, _covariance(0.01))
    found = evaluate(reduced.rotation[3], FRAMES)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    assert 2 * np.arccos(np.clip((found * rotation[:, 3]).sum(axis=1), -1, 1)).max() <= 0.06 * 1.01


def test_uneven_frames():
    tree, (location, rotation) = _tree(), _motion()
    some = np.sort(np.random.default_rng(2).choice(len(FRAMES), 90, replace=False))
    reduced = reduce_keys(tree, FRAMES[some], location[some], rotation[some], _covariance(0.01)[some])
    off = evaluate(reduced.location, FRAMES[some]) - location[some]
    assert np.linalg.norm(off, axis=1).max() < 0.03


def test_evaluate_is_blender_s_curve_with_handles_at_a_third():
    curve = KeyedCurve(np.array([0.0, 6.0]), np.array([[1.0], [4.0]]), np.array([[0.5], [-1.0]]))
    handles = 1.0, 1.0 + 0.5 * 2, 4.0 + 1.0 * 2, 4.0
    s = np.linspace(0, 1, 7)
    bezier = sum(
        w * h for w, h in zip(((1 - s) ** 3, 3 * s * (1 - s) ** 2, 3 * s * s * (1 - s), s**3), handles, strict=True)
    )
    assert evaluate(curve, np.arange(7.0))[:, 0] == pytest.approx(bezier)


def test_arrays_must_fit():
    location, rotation = _motion()
    with pytest.raises(ShapeError):
        reduce_keys(_tree(), FRAMES, location[:-1], rotation, _covariance(0.01))
