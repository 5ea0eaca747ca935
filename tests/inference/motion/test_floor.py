"""The floor from resting feet, on walkers whose floor is known."""

from collections.abc import Sequence

import numpy as np
import pytest

from inference.geometry.rotation import exp
from inference.motion.floor import floor_plane, foot_joints, standing_height, upward, velocities
from inference.types import CameraRig, Keypoints3D
from tests.synthetic import circle_rig

NAMES = ("left_shoulder", "right_shoulder", "left_hip", "right_hip", "left_heel", "left_big_toe", "right_heel",
         "right_big_toe")  # fmt: skip
RIG = circle_rig(3)
STEP_S = 0.6  # each foot rests that long, then swings as long


def walker(
    frames: int = 240, fps: float = 60.0, sigma_m: float = 0.005, speed: float = 0.8, seed: int = 1
) -> np.ndarray:
    """(T, J, 3) a person who walks along a curve; feet rest on z = 0 in turn and swing 12 cm high."""
    times = np.arange(frames) / fps
    rng = np.random.default_rng(seed)
    way = speed * times
    body = np.stack([way, 0.7 * np.sin(1.3 * way), np.zeros(frames)], axis=-1)
    joints = [body + spot for spot in ((0, 0.18, 1.45), (0, -0.18, 1.45), (0, 0.1, 0.95), (0, -0.1, 0.95))]
    for side, late in ((0.1, 0.0), (-0.1, STEP_S)):
        phase = (times + late) / (2 * STEP_S)
        share = np.clip((phase % 1) * 2 - 1, 0, 1)  # 0 while resting, then 0-1 over the swing
        step = 2 * STEP_S * speed * (np.floor(phase) + share * share * (3 - 2 * share)) - speed * late
        foot = np.stack([step, 0.7 * np.sin(1.3 * step) + side, 0.12 * np.sin(np.pi * share)], axis=-1)
        joints += [foot + [0, 0, 0.03], foot + [0.2, 0, 0.03]]
    return np.stack(joints, axis=1) + sigma_m * rng.normal(size=(frames, len(NAMES), 3))


def joints_of(xyz: np.ndarray, names: Sequence[str] = NAMES, sigma_m: float = 0.005, fps: float = 60.0) -> Keypoints3D:
    seen = np.isfinite(xyz).all(axis=-1)
    covariance = np.where(seen[..., None, None], sigma_m**2 * np.eye(3), np.nan)
    flag = np.where(seen, 3, 0)
    return Keypoints3D(tuple(names), np.arange(len(xyz)) / fps, xyz[:, None], covariance[:, None], flag[:, None])


def height_and_tilt(plane: np.ndarray, true: np.ndarray, under: np.ndarray) -> tuple[float, float]:
    """Distance of the planes at a point, m, and angle between them, degrees."""
    off = (plane[:3] @ under + plane[3]) - (true[:3] @ under + true[3])
    return abs(float(off)), float(np.rad2deg(np.arccos(np.clip(plane[:3] @ true[:3], -1, 1))))


def test_heels_and_toes_or_the_ankle_where_there_are_none() -> None:
    names = ("nose", "left_ankle", "left_heel", "left_foot_index", "right_ankle", "right_heel")
    xyz = np.zeros((5, 6, 3))
    xyz[:, 5] = np.nan  # never observed
    assert foot_joints(joints_of(xyz, names)) == ["left_heel", "left_foot_index", "right_ankle"]
    assert foot_joints(joints_of(xyz[:, :2], ("nose", "left_wrist"))) == []
    assert (standing_height("right_ankle"), standing_height("left_heel")) == (0.09, 0.03)


def test_speeds_by_hand() -> None:
    xyz = np.zeros((10, 1, 3))
    xyz[:, 0, 0] = 0.1 * np.arange(10) / 60
    speeds = velocities(joints_of(xyz, ("left_heel",)), ["left_heel"])
    np.testing.assert_allclose(speeds[..., 0], 0.1)
    np.testing.assert_allclose(speeds[..., 1:], 0, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_floor_of_a_walker_is_found_within_a_centimetre_and_half_a_degree(seed: int) -> None:
    """Ten stances of 36 frames with 5 mm white noise: the mean height errs by 0.1 mm; the bound is for the model."""
    xyz = walker(seed=seed)
    plane = floor_plane(joints_of(xyz), RIG)
    height, tilt = height_and_tilt(plane, np.array([0, 0, 1.0, 0]), xyz[:, 0].mean(axis=0))
    assert height < 0.01
    assert tilt < 0.5


def test_a_world_that_leans_or_is_not_z_up_is_turned_along() -> None:
    """The answer moves with the world: within a centimetre and a degree, though there the vertical is the body's."""
    xyz = walker()
    for vector in ([0.05, -0.03, 0.0], [np.pi / 2, 0.0, 0.0], [0.0, 2.5, 0.4]):
        rotation = exp(np.array(vector))
        shift = np.array([3.0, -2.0, 0.7])
        plane = floor_plane(joints_of(xyz @ rotation.T + shift), RIG)
        normal = rotation[:, 2]
        true = np.r_[normal, -normal @ shift]
        height, tilt = height_and_tilt(plane, true, rotation @ xyz[:, 0].mean(axis=0) + shift)
        assert height < 0.01
        assert tilt < 1.0


def test_someone_on_the_spot_keeps_the_vertical_of_the_world() -> None:
    xyz = walker(speed=0.0)
    plane = floor_plane(joints_of(xyz), RIG)
    assert height_and_tilt(plane, np.array([0, 0, 1.0, 0]), xyz[:, 0].mean(axis=0))[1] < 1.0


def test_feet_that_never_rest_or_are_never_seen_leave_the_floor_unknown() -> None:
    flying = walker()
    flying[:, :, 2] += np.linspace(0, 6, len(flying))[:, None]
    assert np.isnan(floor_plane(joints_of(flying), RIG)).all()
    hidden = walker()
    hidden[:, 4:] = np.nan
    assert np.isnan(floor_plane(joints_of(hidden), RIG)).all()
    assert np.isnan(floor_plane(joints_of(walker()[:, :4], NAMES[:4]), RIG)).all()
    assert np.isnan(floor_plane(joints_of(walker(frames=1)), RIG)).all()


def test_unsure_feet_have_no_say() -> None:
    assert np.isnan(floor_plane(joints_of(walker(), sigma_m=0.2), RIG)).all()


def test_the_vertical_comes_from_bodies_then_from_cameras() -> None:
    up, own = upward(joints_of(walker()), RIG)
    assert own
    np.testing.assert_allclose(up, [0, 0, 1])
    lying = joints_of(walker() @ exp(np.array([np.pi / 2, 0, 0])).T)
    up, own = upward(lying, RIG)
    assert not own
    np.testing.assert_allclose(up, [0, -1, 0], atol=0.02)
    headless = joints_of(walker()[:, 4:], NAMES[4:])
    assert upward(headless, RIG)[1]
    turned = CameraRig(RIG.cameras[:1], np.zeros((6, 6)))
    assert upward(headless, turned)[1]
