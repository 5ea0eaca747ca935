"""Every mistake that people make with calibrations, made on purpose, is named."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.calibrate import calibrate
from inference.calibration.diagnosis import diagnose
from inference.errors import CalibrationError
from inference.files.anipose_toml import write_anipose_toml
from inference.take import read_take
from inference.types import Camera, CameraRig
from tests.keypoint_take import write_take
from tests.synthetic import BASE, disturbed_rig, make_scene, observe

SCENE = make_scene(frames=60, cameras=4, seed=7)
VIEWS = observe(SCENE, BASE, seed=7)


def inverted(camera: Camera) -> Camera:
    return Camera(camera.intrinsics, camera.R.T, -camera.R.T @ camera.t)


def transposed(camera: Camera) -> Camera:
    return Camera(camera.intrinsics, camera.R.T, camera.t)


def centre_in_t(camera: Camera) -> Camera:
    return Camera(camera.intrinsics, camera.R, camera.centre)


def half_size(camera: Camera) -> Camera:
    K = np.array(camera.intrinsics.K)
    K[:2] /= 2
    return Camera(replace(camera.intrinsics, K=K), camera.R, camera.t)


def upside_down(camera: Camera) -> Camera:
    turn = np.diag([-1.0, -1, 1])
    return Camera(camera.intrinsics, turn @ camera.R, turn @ camera.t)


QUARTER = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # the picture clockwise


def quarter_left(camera: Camera) -> Camera:
    return Camera(camera.intrinsics, QUARTER.T @ camera.R, QUARTER.T @ camera.t)


def quarter_right(camera: Camera) -> Camera:
    return Camera(camera.intrinsics, QUARTER @ camera.R, QUARTER @ camera.t)


def rig_with(cameras: tuple[Camera, ...]) -> CameraRig:
    return CameraRig(cameras, np.zeros((24, 24)))


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (inverted, "inverted"),
        (transposed, "transposed"),
        (centre_in_t, "t were the position"),
        (half_size, "2 times as wide"),
        (upside_down, "turned by 180"),
        (quarter_left, "turned by 90"),
        (quarter_right, "turned by 270"),
    ],
)
@pytest.mark.parametrize("everywhere", [True, False])
def test_a_mistake_is_named(mistake: Callable[[Camera], Camera], words: str, everywhere: bool) -> None:
    cameras = [mistake(c) if everywhere or i == 2 else c for i, c in enumerate(SCENE.rig.cameras)]
    found = diagnose(rig_with(tuple(cameras)), VIEWS)
    assert found is not None
    assert found.suspicious
    if mistake is upside_down and everywhere:
        return  # a rig that is upside down as a whole has the same epipolar lines only where its lens is centred
    assert words in found.words
    assert ("of all cameras" if everywhere else "of cam03") in found.words
    if not everywhere:
        assert found.worst == "cam03"


def longer(factor: float) -> Callable[[Camera], Camera]:
    return lambda camera: Camera(camera.intrinsics, camera.R, factor * camera.t)


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (1000, "mm read as m"),
        (100, "cm read as m"),
        (0.001, "m read as mm"),
        (0.01, "m read as cm"),
        (10, "mm read as cm"),
    ],
)
def test_wrong_units_of_all_cameras_are_named(factor: float, words: str) -> None:
    """No epipolar line shows them, only the height of the person."""
    found = diagnose(rig_with(tuple(longer(factor)(c) for c in SCENE.rig.cameras)), VIEWS)
    assert found is not None and found.suspicious and words in found.words
    assert found.height_m == pytest.approx(1.75 * factor, rel=0.1)


@pytest.mark.parametrize("factor", [0.5, 1.3])
def test_people_of_other_sizes_are_left_alone(factor: float) -> None:
    found = diagnose(rig_with(tuple(longer(factor)(c) for c in SCENE.rig.cameras)), VIEWS)
    assert found is not None and not found.suspicious


def test_a_scale_that_no_unit_explains_is_doubted_without_a_cause() -> None:
    found = diagnose(rig_with(tuple(longer(3.0)(c) for c in SCENE.rig.cameras)), VIEWS)
    assert found is not None and found.suspicious and found.remedy is None
    assert "5." in found.words and "m tall" in found.words


@pytest.mark.parametrize(("factor", "words"), [(1000.0, "divide t by 1000"), (0.001, "multiply t by 1000")])
def test_one_camera_in_another_unit_is_named(factor: float, words: str) -> None:
    cameras = [longer(factor)(c) if i == 1 else c for i, c in enumerate(SCENE.rig.cameras)]
    found = diagnose(rig_with(tuple(cameras)), VIEWS)
    assert found is not None and words in found.words and "of cam02" in found.words


def test_swapped_names_are_named() -> None:
    a, b, c, d = SCENE.rig.cameras
    swapped = tuple(
        Camera(replace(pose.intrinsics, name=name.name), pose.R, pose.t)
        for pose, name in ((c, a), (b, b), (a, c), (d, d))
    )
    found = diagnose(rig_with(swapped), VIEWS)
    assert found is not None
    assert "the names of cam01 and cam03 were swapped" in found.words


def test_a_good_calibration_is_left_alone() -> None:
    for rig in (SCENE.rig, disturbed_rig(SCENE.rig, 0.15, 0.005, seed=5)):
        found = diagnose(rig, VIEWS)
        assert found is not None
        assert not found.suspicious
        assert max(found.distance_px.values()) < 10


def test_one_camera_that_moved_is_named_without_an_invented_cause() -> None:
    moved = disturbed_rig(SCENE.rig, 6.0, 0.3, seed=3).cameras
    cameras = tuple(moved[i] if i == 1 else c for i, c in enumerate(SCENE.rig.cameras))
    found = diagnose(rig_with(cameras), VIEWS)
    assert found is not None
    assert found.worst == "cam02"
    assert found.remedy is None


def test_nothing_is_said_of_views_that_share_nothing() -> None:
    empty = [
        replace(v, xy=np.full_like(v.xy, np.nan), covariance=np.full_like(v.covariance, np.nan), score=0 * v.score)
        for v in VIEWS
    ]
    assert diagnose(SCENE.rig, empty) is None


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (inverted, "inverted"),
        (transposed, "transposed"),
        (centre_in_t, "t were the position"),
        (half_size, "2 times as wide"),
        (quarter_left, "turned by 90"),
        (longer(1000.0), "cannot be metres; write units"),
    ],
)
def test_at_import_each_mistake_is_refused_by_name(
    tmp_path: Path, mistake: Callable[[Camera], Camera], words: str
) -> None:
    """The whole way: a calibration file with the mistake, keypoints, the command that checks it."""
    scene = write_take(tmp_path, frames=60, cameras=4, noise=BASE)
    write_anipose_toml(tmp_path / "cameras.toml", [mistake(camera) for camera in scene.rig.cameras])
    with pytest.raises(CalibrationError, match=words):
        calibrate(read_take(tmp_path / "take.toml"), tmp_path / "out", check=True)
    assert not (tmp_path / "out").exists()
