"""The types refuse contents that break their contract."""

import numpy as np
import pytest

from inference.errors import CalibrationError, ShapeError
from inference.types import Camera, CameraRig, Intrinsics, Keypoints2D, Keypoints3D, Skeleton, SkeletonMotion

K = np.array([[1000.0, 0, 320], [0, 1000, 240], [0, 0, 1]])


def lens(**changes: object) -> Intrinsics:
    values: dict = {"name": "cam", "image_size": (640, 480), "K": K, "distortion": np.zeros(5)} | changes
    return Intrinsics(**values)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"distortion": np.zeros(3)}, "3 coefficients do not fit the opencv"),
        ({"distortion_model": "magic"}, "unknown distortion model 'magic'"),
        ({"K": K * np.nan}, "not finite"),
        ({"K": np.diag([0.0, 1, 1])}, "focal lengths must be positive"),
        ({"image_size": (0, 480)}, "not positive"),
    ],
)
def test_impossible_lenses_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        lens(**changes)


def test_camera_centre_is_minus_r_transposed_t() -> None:
    quarter_turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # about z
    camera = Camera(lens(), quarter_turn, np.array([1.0, 2, 3]))
    np.testing.assert_allclose(camera.centre, [-2, 1, -3])


@pytest.mark.parametrize("matrix", [np.diag([1.0, 1, -1]), np.eye(3) * 1.01, np.full((3, 3), np.nan)])
def test_matrices_that_are_no_rotation_are_refused(matrix: np.ndarray) -> None:
    with pytest.raises(CalibrationError, match="'cam'"):
        Camera(lens(), matrix, np.zeros(3))


def test_rig_covariance_must_fit_the_cameras() -> None:
    camera = Camera(lens(), np.eye(3), np.zeros(3))
    assert CameraRig((camera, camera), np.zeros((12, 12))).names == ("cam", "cam")
    with pytest.raises(ShapeError, match="covariance"):
        CameraRig((camera,), np.zeros((12, 12)))


def keypoints(**changes: object) -> Keypoints2D:
    values: dict = {
        "view": "cam",
        "joint_names": ("nose", "neck"),
        "timestamps_s": np.arange(3.0),
        "xy": np.zeros((3, 1, 2, 2)),
        "covariance": np.tile(np.eye(2), (3, 1, 2, 1, 1)),
        "score": np.ones((3, 1, 2)),
    } | changes
    return Keypoints2D(**values)


def test_a_keypoint_is_observed_where_it_is_finite() -> None:
    xy = np.zeros((3, 1, 2, 2))
    xy[1, 0, 0] = np.nan
    observed = keypoints(xy=xy).observed
    assert observed.sum() == 5
    assert not observed[1, 0, 0]


@pytest.mark.parametrize(
    "changes",
    [
        {"covariance": np.full((3, 1, 2, 2, 2), np.nan)},
        {"score": np.full((3, 1, 2), -0.5)},
        {"score": np.full((3, 1, 2), np.nan)},
        {"xy": np.zeros((3, 1, 3, 2))},
    ],
)
def test_keypoints_without_sound_covariance_or_score_are_refused(changes: dict) -> None:
    with pytest.raises(ShapeError):
        keypoints(**changes)


def test_observed_joints_need_a_covariance() -> None:
    shape = (2, 1, 2)
    with pytest.raises(ShapeError, match="covariance that is not finite"):
        Keypoints3D(("a", "b"), np.arange(2.0), np.zeros((*shape, 3)), np.full((*shape, 3, 3), np.nan), np.zeros(shape))


def skeleton() -> Skeleton:
    return Skeleton(("root", "knee", "foot"), np.array([-1, 0, 1]), ("thigh", "shin"), np.tile([0.0, 0, -1], (2, 1)))


def test_bone_parents_follow_joints() -> None:
    np.testing.assert_array_equal(skeleton().bone_parents, [-1, 0])


@pytest.mark.parametrize("parents", [[0, 0, 1], [-1, 2, 1], [-1, 0]])
def test_parents_must_come_before_their_children(parents: list[int]) -> None:
    with pytest.raises(ShapeError):
        Skeleton(("root", "knee", "foot"), np.array(parents), ("thigh", "shin"), np.zeros((2, 3)))


def test_motion_must_be_finite() -> None:
    turns = np.tile([1.0, 0, 0, 0], (2, 1, 2, 1))
    arrays = (np.zeros((2, 1, 3)), turns[:, :, 0], turns, np.ones((1, 2)))
    SkeletonMotion(skeleton(), np.arange(2.0), *arrays)
    for index in range(len(arrays)):
        broken = [np.full_like(a, np.nan) if i == index else a for i, a in enumerate(arrays)]
        with pytest.raises(ShapeError, match="finite"):
            SkeletonMotion(skeleton(), np.arange(2.0), *broken)
