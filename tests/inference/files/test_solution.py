"""Solutions on disk: the contract's keys, an exact round trip, and broken files."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.errors import InputError, ShapeError, SolveError
from inference.files.solution import read_cameras, read_solution, write_cameras, write_solution
from inference.types import Camera, CameraPath, CameraRig, Intrinsics, Keypoints3D, Skeleton, SkeletonMotion, Solution

FUZZ_CASES = int(os.environ.get("SIGHTLINE_FUZZ", "200"))
T, P = 4, 2
JOINTS = ("nose", "pelvis", "left_hip", "left_knee")


def keypoints(rng: np.random.Generator, names: tuple[str, ...] = JOINTS) -> Keypoints3D:
    shape = (T, P, len(names))
    xyz = rng.normal(size=(*shape, 3))
    root = rng.normal(size=(*shape, 3, 3))
    covariance = root @ np.swapaxes(root, -1, -2)
    flag = rng.integers(1, 4, size=shape)
    xyz[1, 0, -1], covariance[1, 0, -1], flag[1, 0, -1] = np.nan, np.nan, 0
    return Keypoints3D(names, np.arange(T) / 50, xyz, covariance, flag, 5.0)


def rig() -> CameraRig:
    K = np.array([[800.0, 0, 300], [0, 810, 200], [0, 0, 1]])
    lenses = [
        Intrinsics("cam01", (640, 480), K, np.array([0.1, -0.2, 0.001, 0.002])),
        Intrinsics("Käfig 2", (480, 640), K, np.zeros(4), "fisheye"),
        Intrinsics("c", (640, 480), K, np.zeros(0), "none"),
    ]
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    cameras = [Camera(lens, turn, np.array([0.1, 0.2, 3.0])) for lens in lenses]
    path = CameraPath(np.array([0.0, 0.1, 0.3]), np.stack([turn, np.eye(3), turn.T]), np.arange(9.0).reshape(3, 3))
    cameras[1] = dataclasses.replace(cameras[1], R=turn, t=path.t[0], path=path)
    root = np.random.default_rng(5).normal(size=(18, 18))
    return CameraRig(tuple(cameras), root @ root.T, "all of it")


def solution(seed: int = 3) -> Solution:
    rng = np.random.default_rng(seed)
    skeleton = Skeleton(
        ("pelvis", "left_hip", "left_knee"),
        np.array([-1, 0, 1]),
        ("hip.L", "thigh.L"),
        np.array([[1.0, 0, 0], [0, 0, -1]]),
    )
    motion = SkeletonMotion(
        skeleton,
        np.arange(T) / 50,
        rng.normal(size=(T, P, 3)),
        rng.normal(size=(T, P, 4)),
        rng.normal(size=(T, P, 2, 4)),
        rng.random((P, 2)),
        rng.random((T, P, 2, 3, 3)),
    )
    return Solution(
        rig=rig(),
        raw=keypoints(rng),
        solved=keypoints(rng),
        motion=motion,
        contact=rng.random((T, P, 1)),
        contact_names=("left_heel",),
        offset_s=np.array([0.0, 0.1, -0.2]),
        drift_ppm=np.zeros(3),
        floor=np.array([0, 0, 1, np.nan]),
    )


def assert_same(first: Any, second: Any) -> None:
    assert type(first) is type(second)
    if dataclasses.is_dataclass(first):
        for field in dataclasses.fields(first):
            assert_same(getattr(first, field.name), getattr(second, field.name))
    elif isinstance(first, np.ndarray):
        assert first.dtype == second.dtype
        np.testing.assert_array_equal(first, second)
    elif isinstance(first, tuple):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_same(one, other)
    else:
        assert first == second


def test_round_trip(tmp_path: Path) -> None:
    """Exact but for distortions, which come back padded with zeros that change nothing."""
    written = solution()
    write_solution(tmp_path / "solution.npz", written)
    read = read_solution(tmp_path / "solution.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["solution.npz"]
    for field in ("raw", "solved", "motion", "contact", "contact_names", "offset_s", "drift_ppm", "floor"):
        assert_same(getattr(read, field), getattr(written, field))
    assert_same(read.rig.cameras[1:], written.rig.cameras[1:])
    np.testing.assert_array_equal(read.rig.cameras[0].intrinsics.distortion, [0.1, -0.2, 0.001, 0.002, 0])
    np.testing.assert_array_equal(read.rig.covariance, written.rig.covariance)
    assert read.rig.gauge == "all of it" and read.rig.names == ("cam01", "Käfig 2", "c")


def test_a_file_from_before_reasons_and_turning_covariances_is_read(tmp_path: Path) -> None:
    write_solution(tmp_path / "new.npz", solution())
    with np.load(tmp_path / "new.npz") as file:
        arrays = {key: file[key] for key in file.files if "reason" not in key and key != "rotation_covariance"}
    np.savez(tmp_path / "old.npz", **arrays)
    read = read_solution(tmp_path / "old.npz")
    assert not read.solved.reason.any() and not read.raw.reason.any()
    assert np.isnan(read.motion.rotation_covariance).all()


def test_keys_of_the_contract(tmp_path: Path) -> None:
    write_solution(tmp_path / "s.npz", solution())
    J, B, V = 4, 2, 3
    wanted = {
        **{"timestamps_s": (T,), "joint_names": (J,), "parents": (J,)},
        **{"raw_xyz": (T, P, J, 3), "raw_covariance": (T, P, J, 3, 3), "raw_observed": (T, P, J)},
        **{"xyz": (T, P, J, 3), "covariance": (T, P, J, 3, 3), "observed": (T, P, J), "flag": (T, P, J)},
        **{"degrees_of_freedom": (), "bone_names": (B,), "bone_parents": (B,), "bone_length": (P, B)},
        **{"root_translation": (T, P, 3), "local_rotation": (T, P, B, 4), "contact": (T, P, 1)},
        **{"view_names": (V,), "K": (V, 3, 3), "distortion": (V, 5), "distortion_model": (V,), "R": (V, 3, 3)},
        **{"t": (V, 3), "image_size": (V, 2), "offset_s": (V,), "drift_ppm": (V,), "camera_covariance": (V, 6, 6)},
        **{"camera_covariance_full": (6 * V, 6 * V), "gauge": (), "floor": (4,)},
        **{"bone_joints": (B, 2), "root_rotation": (T, P, 4), "rest_direction": (B, 3), "contact_names": (1,)},
        **{"raw_flag": (T, P, J), "camera_path_view": (3,), "camera_path_times_s": (3,)},
        **{"camera_path_R": (3, 3, 3), "camera_path_t": (3, 3)},
    }
    with np.load(tmp_path / "s.npz", allow_pickle=False) as archive:
        for key, shape in wanted.items():
            assert archive[key].shape == shape, key
        assert archive["parents"].tolist() == [-1, -1, 1, 2]  # nose is outside the skeleton, pelvis its root
        assert archive["bone_joints"].tolist() == [[1, 2], [2, 3]] and archive["bone_parents"].tolist() == [-1, 0]
        assert archive["raw_observed"].dtype == bool and archive["joint_names"].dtype.kind == "U"
        full = archive["camera_covariance_full"]
        np.testing.assert_array_equal(archive["camera_covariance"][1], full[6:12, 6:12])


def test_a_raw_layer_in_another_order_is_sorted(tmp_path: Path) -> None:
    whole = solution()
    raw = keypoints(np.random.default_rng(1), ("left_hip", "nose"))
    write_solution(tmp_path / "s.npz", dataclasses.replace(whole, raw=raw))
    read = read_solution(tmp_path / "s.npz").raw
    np.testing.assert_array_equal(read.xyz[:, :, [2, 0]], raw.xyz)
    assert not read.observed[:, :, [1, 3]].any() and (read.flag[:, :, [1, 3]] == 0).all()
    with pytest.raises(ShapeError, match="raw layer has joints that the solved layer lacks: chin"):
        write_solution(
            tmp_path / "s.npz", dataclasses.replace(whole, raw=keypoints(np.random.default_rng(1), ("chin",)))
        )


def test_cameras_alone(tmp_path: Path) -> None:
    write_cameras(tmp_path / "cameras.npz", rig(), np.zeros(3), np.zeros(3))
    assert read_cameras(tmp_path / "cameras.npz").names == rig().names
    with pytest.raises(InputError, match="is not a solution: it has no key"):
        read_solution(tmp_path / "cameras.npz")


def test_broken_and_foreign_files(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    with pytest.raises(InputError, match="does not exist"):
        read_solution(path)
    for content in (b"", b"text", b"PK\x03\x04 not really"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"s\.npz cannot be read"):
            read_solution(path)
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(InputError, match="a.npy"):
        read_solution(tmp_path / "a.npy")
    np.savez(path, xyz=np.zeros(3))
    with pytest.raises(InputError, match="is not a solution: it has no key"):
        read_solution(path)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", xyz=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="cannot be read"):
        read_solution(tmp_path / "s.npz")


def test_wrong_contents_are_refused(tmp_path: Path) -> None:
    write_solution(tmp_path / "good.npz", solution())
    with np.load(tmp_path / "good.npz") as archive:
        good = dict(archive)
    cases: dict[str, Any] = {
        "xyz": good["xyz"][:, :, :2],
        "timestamps_s": good["timestamps_s"][:-1],
        "joint_names": np.arange(4),
        "K": good["K"] * np.nan,
        "R": -good["R"],
        "distortion_model": np.array(["opencv", "odd", "none"]),
        "bone_joints": np.array([[0, 9], [2, 3]]),
        "root_rotation": good["root_rotation"] * np.nan,
        "view_names": np.array(["a"]),
        "format_version": np.array(99),
        "camera_path_view": np.full(3, 3),
        "camera_path_times_s": good["camera_path_times_s"][::-1],
        "camera_path_R": -good["camera_path_R"],
        "camera_path_t": good["camera_path_t"][:2],
    }
    for key, value in cases.items():
        np.savez(tmp_path / "bad.npz", **(good | {key: value}))
        with pytest.raises(InputError, match="bad.npz") as caught:
            read_solution(tmp_path / "bad.npz")
        assert "\n" not in str(caught.value), key


@settings(max_examples=FUZZ_CASES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1), insert=st.binary(min_size=1, max_size=8), cut=st.booleans())
def test_mutated_solutions_raise_only_our_errors(tmp_path: Path, place: float, insert: bytes, cut: bool) -> None:
    good = tmp_path / "good.npz"
    if not good.exists():
        write_solution(good, solution())
    data = good.read_bytes()
    at = int(place * len(data))
    path = tmp_path / "fuzz.npz"
    path.write_bytes(data[:at] + insert + (b"" if cut else data[at + len(insert) :]))
    try:
        read_solution(path)
    except SolveError as problem:
        assert "\n" not in str(problem)
