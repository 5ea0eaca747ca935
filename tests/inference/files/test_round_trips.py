"""Round trips of FORMATS' calibration formats that other tools write, and the chain from one format to the next."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from inference.files.anipose_toml import write_anipose_toml
from inference.files.calibration import read_calibration
from inference.files.colmap import write_colmap
from inference.files.easymocap import write_easymocap
from inference.types import Camera
from tests.calibrations import five_cameras, pixel_error

BOUND_PX = 1e-3


def vector(camera: Camera) -> list[float]:
    return [float(v) for v in np.ravel(cv2.Rodrigues(np.array(camera.R))[0])]


def table(key: str, camera: Camera, rotation: object, factor: float, more: str = "") -> str:
    inner = camera.intrinsics
    return (
        f"[{key}]\nsize = [{float(inner.image_size[0])}, {float(inner.image_size[1])}]\nmatrix = {inner.K.tolist()}\n"
        f"distortions = {inner.distortion.tolist()}\nrotation = {rotation}\n"
        f"translation = {(np.asarray(camera.t) * factor).tolist()}\n{more}\n"
    )


def pose2sim(cameras: Sequence[Camera], path: Path) -> Path:
    text = "".join(table(c.name, c, vector(c), 1.0, f'name = "{c.name}"') for c in cameras)
    (path / "Calib.toml").write_text(text + "[metadata]\nadjusted = false\nerror = 0.0\n")
    return path / "Calib.toml"


def freemocap(cameras: Sequence[Camera], path: Path) -> Path:
    text = "".join(
        table(f'"{n}"', c, vector(c), 1000.0, f'id = "{c.name}"\nworld_position = {(c.centre * 1000).tolist()}')
        for n, c in enumerate(cameras)
    )
    (path / "f.toml").write_text("[metadata.board]\nsquare_length_mm = 54.0\n" + text)
    return path / "f.toml"


def caliscope(cameras: Sequence[Camera], path: Path) -> Path:
    text = "".join(table(f"cameras.{n}", c, c.R.tolist(), 1.0, f"cam_id = {n}") for n, c in enumerate(cameras))
    (path / "camera_array.toml").write_text(text)
    return path / "camera_array.toml"


def qualisys(cameras: Sequence[Camera], path: Path) -> Path:
    text = "<calibration><cameras>"
    for c in cameras:
        (width, height), K, d = c.intrinsics.image_size, c.intrinsics.K, c.intrinsics.distortion
        M, K, d = np.diag([1.0, -1, -1]) @ c.R, K.tolist(), d.tolist()
        rows = " ".join(f'r{i + 1}{j + 1}="{float(M[i, j])!r}"' for i in range(3) for j in range(3))
        x, y, z = c.centre * 1000
        text += (
            f'<camera serial="{c.name}" model="none"><fov_video left="0" top="0" right="{width - 1}" '
            f'bottom="{height - 1}"/><transform {rows} x="{float(x)!r}" y="{float(y)!r}" z="{float(z)!r}"/>'
            f'<intrinsic focalLengthU="{K[0][0] * 64!r}" focalLengthV="{K[1][1] * 64!r}" '
            f'centerPointU="{K[0][2] * 64!r}" centerPointV="{K[1][2] * 64!r}" radialDistortion1="{d[0]!r}" '
            f'radialDistortion2="{d[1]!r}" radialDistortion3="{d[4]!r}" tangentalDistortion1="{d[2]!r}" '
            f'tangentalDistortion2="{d[3]!r}"/></camera>'
        )
    (path / "c.qca.txt").write_text(text + "</cameras></calibration>")
    return path / "c.qca.txt"


@pytest.mark.parametrize("write", [freemocap, qualisys])
def test_round_trip(tmp_path: Path, write: Callable[[Sequence[Camera], Path], Path]) -> None:
    before = five_cameras()
    calibration = read_calibration(write(before, tmp_path))
    assert pixel_error(before, calibration.cameras) < BOUND_PX and calibration.warnings == []


def test_caliscope_numbers_its_cameras(tmp_path: Path) -> None:
    before = five_cameras()
    after = read_calibration(caliscope(before, tmp_path)).cameras
    assert list(after) == ["cam_0", "cam_1", "cam_2", "cam_3", "cam_4"]
    for camera, other in zip(before, after.values(), strict=True):
        assert pixel_error([camera], {camera.name: renamed(other, camera.name)}) < BOUND_PX


def renamed(camera: Camera, name: str) -> Camera:
    return Camera(dataclasses.replace(camera.intrinsics, name=name), camera.R, camera.t)


def test_pose2sim_has_four_coefficients(tmp_path: Path) -> None:
    before = five_cameras(coefficients=4)
    calibration = read_calibration(pose2sim(before, tmp_path))
    assert pixel_error(before, calibration.cameras) < BOUND_PX
    assert any("no place for k3" in warning for warning in calibration.warnings)


def test_chain_of_formats(tmp_path: Path) -> None:
    """TOML → EasyMocap → TOML → COLMAP, within a thousandth of a pixel at the end."""
    first = five_cameras()
    write_anipose_toml(tmp_path / "a.toml", first)
    write_easymocap(tmp_path / "yml", list(read_calibration(tmp_path / "a.toml").cameras.values()))
    write_anipose_toml(tmp_path / "b.toml", list(read_calibration(tmp_path / "yml").cameras.values()))
    warnings = write_colmap(tmp_path / "colmap", list(read_calibration(tmp_path / "b.toml").cameras.values()))
    last = read_calibration(tmp_path / "colmap", units="m")
    assert pixel_error(first, last.cameras) < BOUND_PX
    assert warnings == [] and last.warnings == [] and list(last.cameras) == [camera.name for camera in first]


def test_the_measure_sees_a_wrong_camera() -> None:
    """The control: another rotation by a hundredth of a degree is seen."""
    before = five_cameras()
    turn = cv2.Rodrigues(np.array([0, np.radians(0.01), 0]))[0]
    after = {camera.name: Camera(camera.intrinsics, turn @ camera.R, camera.t) for camera in before}
    assert pixel_error(before, after) > 50 * BOUND_PX


def test_real_cameras_through_every_writer(tmp_path: Path, shared_data: Path) -> None:
    path = shared_data / "pose2sim_single" / "calibration" / "Calib.qca.txt"
    real = list(read_calibration(path).cameras.values())
    write_anipose_toml(tmp_path / "a.toml", real)
    write_easymocap(tmp_path / "yml", real)
    write_colmap(tmp_path / "colmap", real)
    for name in ("a.toml", "yml", "colmap"):
        assert pixel_error(real, read_calibration(tmp_path / name, units="m").cameras) < BOUND_PX
