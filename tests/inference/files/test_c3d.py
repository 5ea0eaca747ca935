"""C3D: bytes by hand, a round trip, the reference library, other processors, real files, broken files."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.errors import InputError, SolveError
from inference.files.c3d import read_c3d, write_c3d
from inference.types import Keypoints3D

FUZZ_CASES = int(os.environ.get("SIGHTLINE_FUZZ", "200"))
REAL = ("racing_full.c3d", "sample_probing_radial_styloid_R.c3d", "walkingOptiTrack.c3d")


def keypoints(frames: int = 4, joints: int = 3, rate: float = 59.94) -> Keypoints3D:
    rng = np.random.default_rng(1)
    xyz = rng.normal(size=(frames, 2, joints, 3))
    xyz[0, 1, 0] = [1.0, 2.0, 3.0]
    xyz[-1, 1, 2] = np.nan
    sigma = rng.uniform(0.0006, 0.06, (frames, 2, joints, 1, 1))
    covariance = np.where(np.isnan(xyz)[..., None], np.nan, sigma**2 * np.eye(3))
    flag = np.where(np.isnan(xyz[..., 0]), 0, 3)
    names = ("left_hip", "nose", "neck", *(f"joint_{n}" for n in range(3, joints)))
    return Keypoints3D(names, np.arange(frames) / rate, xyz, covariance, flag)


def test_the_bytes_by_hand(tmp_path: Path) -> None:
    """World (1, 2, 3) m is (2000, 3000, 1000) mm; sigma sqrt((1+4+4)/3) = 1.732 mm is 4 steps, in both bytes."""
    written = keypoints()
    covariance = np.array(written.covariance)
    covariance[0, 1, 0] = np.diag([1, 4, 4]) * 1e-6
    written = Keypoints3D(written.joint_names, written.timestamps_s, written.xyz, covariance, written.flag)
    write_c3d(tmp_path / "a.c3d", written, person=1)
    data = (tmp_path / "a.c3d").read_bytes()
    assert data[:2] == b"\x02\x50" and len(data) % 512 == 0 and data[512 + 1] == 0x50 and data[512 + 3] == 84
    assert struct.unpack_from("<HHHH", data, 2) == (3, 0, 1, 4)
    assert struct.unpack_from("<f", data, 12)[0] == -0.5
    start = (struct.unpack_from("<H", data, 16)[0] - 1) * 512
    assert start == 512 + 512 * data[512 + 2]
    assert struct.unpack_from("<4f", data, start) == (2000, 3000, 1000, 4 * 256 + 4)
    assert struct.unpack_from("<4f", data, start + 16 * 11) == (0, 0, 0, -1)


@pytest.mark.parametrize("y_up", [True, False])
def test_round_trip(tmp_path: Path, y_up: bool) -> None:
    written = keypoints()
    write_c3d(tmp_path / "a.c3d", written, person=1, y_up=y_up)
    read = read_c3d(tmp_path / "a.c3d")
    assert read.joint_names == written.joint_names
    np.testing.assert_allclose(read.xyz[:, 0], written.xyz[:, 1], atol=1e-6)
    np.testing.assert_allclose(read.timestamps_s, written.timestamps_s, atol=1e-6)
    np.testing.assert_array_equal(read.observed[:, 0], written.observed[:, 1])
    sigma, wanted = (np.sqrt(k.covariance[:, p, :, 0, 0]) for k, p in ((read, 0), (written, 1)))
    seen = read.observed[:, 0]
    assert (sigma[seen] >= wanted[seen] - 1e-9).all() and (sigma[seen] <= wanted[seen] + 0.0005 + 1e-9).all()


def test_a_large_sigma_is_capped_and_a_far_point_kept(tmp_path: Path) -> None:
    covariance = np.array(keypoints().covariance)
    covariance[0, 0, 0] = np.eye(3)
    base = keypoints()
    write_c3d(tmp_path / "a.c3d", Keypoints3D(base.joint_names, base.timestamps_s, base.xyz, covariance, base.flag))
    assert np.sqrt(read_c3d(tmp_path / "a.c3d").covariance[0, 0, 0, 0, 0]) == pytest.approx(0.0635)


def test_more_frames_and_joints_than_sixteen_bits_and_one_list(tmp_path: Path) -> None:
    many = keypoints(frames=70_000)
    write_c3d(tmp_path / "a.c3d", many)
    assert len(read_c3d(tmp_path / "a.c3d").timestamps_s) == 70_000
    wide = keypoints(joints=300)
    write_c3d(tmp_path / "b.c3d", wide)
    assert read_c3d(tmp_path / "b.c3d").joint_names == wide.joint_names


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="person 2 is not in the solution, which has 2"):
        write_c3d(tmp_path / "a.c3d", keypoints(), person=2)
    with pytest.raises(InputError, match="at least one frame"):
        write_c3d(tmp_path / "a.c3d", keypoints(frames=1, joints=3).__class__((), np.zeros(1), *empty()))
    assert not list(tmp_path.iterdir())


def empty() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.zeros((1, 1, 0, 3)), np.zeros((1, 1, 0, 3, 3)), np.zeros((1, 1, 0))


def test_the_reference_library_reads_the_same(tmp_path: Path) -> None:
    ezc3d = pytest.importorskip("ezc3d", reason="the reference library of C3D is not installed")
    for written in (keypoints(), keypoints(joints=300)):
        write_c3d(tmp_path / "a.c3d", written, person=1)
        other = ezc3d.c3d(str(tmp_path / "a.c3d"))
        point = other["parameters"]["POINT"]
        assert (
            tuple(point["LABELS"]["value"]) + tuple(point.get("LABELS2", {"value": []})["value"]) == written.joint_names
        )
        assert point["UNITS"]["value"] == ["mm"] and point["Y_SCREEN"]["value"] == ["+Y"]
        assert point["RATE"]["value"][0] == pytest.approx(59.94)
        ours = read_c3d(tmp_path / "a.c3d")
        in_world = np.moveaxis(other["data"]["points"][:3], 0, -1).swapaxes(0, 1)[..., [2, 0, 1]] / 1000
        np.testing.assert_allclose(in_world, ours.xyz[:, 0], atol=1e-6)
        residual = other["data"]["meta_points"]["residuals"][0].T
        seen = ours.observed[:, 0]
        np.testing.assert_allclose(residual[seen], np.sqrt(ours.covariance[:, 0, :, 0, 0])[seen] * 1000, atol=1e-4)
        assert (residual[~seen] < 0).all()


@pytest.mark.parametrize("name", REAL)
def test_real_files_as_the_reference_library(shared_data: Path, name: str) -> None:
    ezc3d = pytest.importorskip("ezc3d", reason="the reference library of C3D is not installed")
    path = shared_data / "motion" / "c3d" / name
    other = ezc3d.c3d(str(path))
    ours = read_c3d(path)
    factor = {"m": 1.0, "mm": 0.001}[other["parameters"]["POINT"]["UNITS"]["value"][0]]
    theirs = np.moveaxis(other["data"]["points"][:3], 0, -1).swapaxes(0, 1) * factor
    both = ours.observed[:, 0]
    assert both.mean() > 0.5 and ours.xyz.shape[0] == theirs.shape[0]
    np.testing.assert_allclose(ours.xyz[:, 0][both], theirs[both], atol=1e-5)
    assert ours.joint_names == tuple(other["parameters"]["POINT"]["LABELS"]["value"][: len(ours.joint_names)])


def number(raw: bytes, kind: str, processor: int) -> bytes:
    """An Intel number as MIPS (reversed) or DEC (floats: four times the value, halves swapped) write it."""
    if processor == 86:
        return raw[::-1]
    if kind == "h":
        return raw
    swapped = struct.pack("<f", struct.unpack("<f", raw)[0] * 4)
    return swapped[2:] + swapped[:2]


def as_other_processor(data: bytes, processor: int) -> bytes:
    """Rewrite an Intel file of ours for another processor, by the layout of the manual."""
    out = bytearray(data)
    out[512 + 3] = processor
    for at in range(2, 20, 2):
        if at not in (12, 14):
            out[at : at + 2] = number(data[at : at + 2], "h", processor)
    for at in (12, 20):
        out[at : at + 4] = number(data[at : at + 4], "f", processor)
    start = (struct.unpack_from("<H", data, 16)[0] - 1) * 512
    for at in range(start, len(data), 4):
        out[at : at + 4] = number(data[at : at + 4], "f", processor)
    at = 516
    while data[at]:
        length, group = struct.unpack_from("<bb", data, at)
        end = at + 2 + length
        step = struct.unpack_from("<H", data, end)[0]
        out[end : end + 2] = number(data[end : end + 2], "h", processor)
        if group > 0 and data[end + 2] in (2, 4):
            width, dimensions = data[end + 2], data[end + 3]
            for place in range(end + 4 + dimensions, end + step - 1, width):
                out[place : place + width] = number(data[place : place + width], "f" if width == 4 else "h", processor)
        at = end + step
    return bytes(out)


@pytest.mark.parametrize("processor", [85, 86])
def test_other_processors(tmp_path: Path, processor: int) -> None:
    write_c3d(tmp_path / "a.c3d", keypoints())
    (tmp_path / "b.c3d").write_bytes(as_other_processor((tmp_path / "a.c3d").read_bytes(), processor))
    one, other = read_c3d(tmp_path / "a.c3d"), read_c3d(tmp_path / "b.c3d")
    np.testing.assert_array_equal(one.xyz, other.xyz)
    np.testing.assert_allclose(one.timestamps_s, other.timestamps_s)


def patched(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data and len(old) == len(new)
    return data.replace(old, new, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: b"", "is not a C3D file"),
        (lambda d: d[:1] + b"\x51" + d[2:], "is not a C3D file"),
        (lambda d: d[:-512], "is cut off: it says 40 frames of 3 points and holds"),
        (lambda d: d[:515] + b"\x01" + d[516:], "processor 1 is none of"),
        (lambda d: patched(d, b"mm", b"ft"), "POINT:UNITS = 'ft'"),
        (lambda d: patched(d, b"+Y", b"-Y"), "Y_SCREEN = '-Y'"),
        (lambda d: patched(d, b"nose    ", b"left_hip"), "a label of its own"),
        (lambda d: d[:6] + b"\x09\x00\x01\x00" + d[10:], "comes before its first"),
        (lambda d: d[:16] + b"\x00\x00" + d[18:], "is cut off"),
        (lambda d: d[:12] + struct.pack("<f", -np.inf) + d[16:], "scale factor is not finite"),
    ],
)
def test_broken_files(tmp_path: Path, change, message: str) -> None:
    write_c3d(tmp_path / "a.c3d", keypoints(frames=40))
    (tmp_path / "a.c3d").write_bytes(change((tmp_path / "a.c3d").read_bytes()))
    with pytest.raises(InputError, match=message) as caught:
        read_c3d(tmp_path / "a.c3d")
    assert "a.c3d" in str(caught.value) and "\n" not in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_c3d(tmp_path / "a.c3d")


@settings(max_examples=FUZZ_CASES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    places=st.lists(st.integers(0, 1500), max_size=6),
    values=st.binary(min_size=6, max_size=6),
    cut=st.none() | st.integers(0, 2600),
)
def test_mutated_files_raise_only_our_errors(tmp_path: Path, places: list[int], values: bytes, cut: int | None) -> None:
    write_c3d(tmp_path / "a.c3d", keypoints(frames=20))
    data = bytearray((tmp_path / "a.c3d").read_bytes())
    for place, value in zip(places, values, strict=False):
        data[place % len(data)] = value
    (tmp_path / "a.c3d").write_bytes(data[:cut])
    try:
        read_c3d(tmp_path / "a.c3d")
    except SolveError as problem:
        assert isinstance(problem, InputError) and "\n" not in str(problem)
