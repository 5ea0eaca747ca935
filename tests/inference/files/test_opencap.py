"""OpenCap: by hand, portrait sizes, round trip, a folder of cameras, code in the pickle."""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.errors import CalibrationError, SolveError
from inference.files.calibration import read_calibration, read_lenses
from inference.types import Camera
from tests.calibrations import five_cameras, pixel_error

FUZZ_CASES = int(os.environ.get("SIGHTLINE_FUZZ", "200"))
FILE = "cameraIntrinsicsExtrinsics.pickle"


def values(**changes: object) -> dict[str, object]:
    """As OpenCap writes them: portrait 720x1280, mm, the "Euler angles" a rotation vector."""
    vector = np.array([[0.0], [np.pi / 2], [0.0]])
    return {
        "distortion": np.array([[-0.1, 0.02, 0.001, 0.002, 0.003]]),
        "intrinsicMat": np.array([[900.0, 0, 310], [0, 910, 620], [0, 0, 1]]),
        "imageSize": np.array([[1280.0], [720.0]]),
        "rotation": np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]]),
        "translation": np.array([[1000.0], [2000.0], [3000.0]]),
        "rotation_EulerAngles": vector,
    } | changes


def session(folder: Path, **cameras: dict[str, object]) -> Path:
    for name, content in cameras.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / FILE).write_bytes(pickle.dumps(content))
    return folder


def as_opencap(cameras: Sequence[Camera]) -> dict[str, dict[str, object]]:
    return {
        c.name: values(
            distortion=np.array(c.intrinsics.distortion)[None],
            intrinsicMat=np.array(c.intrinsics.K),
            imageSize=np.array(c.intrinsics.image_size, float)[::-1, None],
            rotation=np.array(c.R),
            translation=np.array(c.t)[:, None] * 1000,
        )
        for c in cameras
    }


def test_by_hand(tmp_path: Path) -> None:
    """imageSize is (height, width); t is mm; C = -R^T t = (3, -2, -1) m."""
    other = values(translation=np.zeros((3, 1)))
    calibration = read_calibration(session(tmp_path / "s", Cam10=values(), Cam2=other))
    assert list(calibration.cameras) == ["Cam2", "Cam10"] and calibration.warnings == []
    camera = calibration.cameras["Cam10"]
    assert camera.intrinsics.image_size == (720, 1280)
    np.testing.assert_allclose(camera.centre, [3, -2, -1])
    np.testing.assert_array_equal(camera.intrinsics.K, [[900, 0, 310], [0, 910, 620], [0, 0, 1]])
    np.testing.assert_array_equal(camera.intrinsics.distortion, [-0.1, 0.02, 0.001, 0.002, 0.003])


def test_one_file_and_files_by_name(tmp_path: Path) -> None:
    folder = session(tmp_path / "s", Cam0=values())
    assert list(read_calibration(folder / "Cam0" / FILE).cameras) == ["Cam0"]
    assert list(read_calibration(folder / "Cam0").cameras) == ["Cam0"]
    (tmp_path / "left.pickle").write_bytes(pickle.dumps(values()))
    assert list(read_calibration(tmp_path / "left.pickle").cameras) == ["left"]
    flat = tmp_path / "flat"
    flat.mkdir()
    for name in ("a", "b"):
        (flat / f"{name}.pickle").write_bytes(pickle.dumps(values(translation=np.full((3, 1), 100.0 * ord(name)))))
    assert list(read_calibration(flat).cameras) == ["a", "b"]


def test_intrinsics_without_a_pose(tmp_path: Path) -> None:
    content = values()
    del content["rotation"]
    found = read_lenses(session(tmp_path / "s", Cam0=content))
    assert list(found.lenses) == ["Cam0"] and found.poses == {}


def test_round_trip(tmp_path: Path) -> None:
    before = five_cameras()
    calibration = read_calibration(session(tmp_path / "s", **as_opencap(before)))
    assert pixel_error(before, calibration.cameras) < 1e-6


class Runs:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.target}",)


def test_a_malicious_pickle_runs_nothing(tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    path = session(tmp_path / "s", Cam0=values(extra=Runs(proof)))
    with pytest.raises(CalibrationError, match="Cam0.*it names (posix|nt).system"):
        read_calibration(path)
    assert not proof.exists()
    pickle.loads((path / "Cam0" / FILE).read_bytes())  # the control: the payload is live
    assert proof.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"intrinsicMat": np.zeros((3, 3))}, "singular"),
        ({"intrinsicMat": np.eye(4)}, "intrinsicMat must be 3x3"),
        ({"imageSize": np.array([1280.5, 720])}, "no picture size"),
        ({"imageSize": np.array([1280])}, "must be height and width"),
        ({"rotation": np.diag([1.0, 1, -1])}, "mirrored"),
        ({"rotation": np.eye(3) * 2}, "not orthonormal"),
        ({"translation": np.zeros(2)}, "translation must be 3"),
        ({"translation": "far"}, "translation must be"),
        ({"distortion": np.array([np.nan] * 5)}, "not finite"),
        ({"distortion": np.zeros(3)}, "3 coefficients"),
    ],
)
def test_broken_cameras(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(CalibrationError, match=message) as caught:
        read_calibration(session(tmp_path / "s", Cam0=values(**changes)))
    assert "Cam0" in str(caught.value) and "\n" not in str(caught.value)


def test_other_pickles(tmp_path: Path) -> None:
    (tmp_path / "a.pickle").write_bytes(pickle.dumps({"K": np.eye(3)}))
    with pytest.raises(CalibrationError, match="no OpenCap camera: it needs intrinsicMat"):
        read_calibration(tmp_path / "a.pickle")
    (tmp_path / "a.pickle").write_bytes(pickle.dumps(values())[:-40])
    with pytest.raises(CalibrationError, match="cannot be read"):
        read_calibration(tmp_path / "a.pickle")


@settings(max_examples=FUZZ_CASES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    key=st.sampled_from(["distortion", "intrinsicMat", "imageSize", "rotation", "translation"]),
    value=st.none()
    | st.text(max_size=3)
    | st.lists(st.floats() | st.integers() | st.none() | st.lists(st.floats(), max_size=3), max_size=5)
    | st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
)
def test_strange_contents_raise_only_our_errors(tmp_path: Path, key: str, value: object) -> None:
    try:
        read_calibration(session(tmp_path / "s", Cam0=values(**{key: value})))
    except SolveError as problem:
        assert isinstance(problem, CalibrationError) and "\n" not in str(problem)
