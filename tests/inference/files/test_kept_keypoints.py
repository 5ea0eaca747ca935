"""Kept keypoints on disk: an exact round trip, and files that are broken or hold something else."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.errors import InputError
from inference.files.kept_keypoints import KeptKeypoints, kept_joint_names, read_kept, write_kept
from tests.synthetic import BASE, make_scene, moving_rig, observe

FUZZ_CASES = int(os.environ.get("SIGHTLINE_FUZZ", "200"))
KEYS = ("mark", "timestamps_s", "joint_names", "keypoint_xy", "keypoint_covariance", "keypoint_score", "K", "R", "t")
KEYS += ("offset_s", "drift_ppm", "placement_sigma_m")
OF_PATHS = ("camera_path_view", "camera_path_times_s", "camera_path_R", "camera_path_t")
OTHERS = (
    np.array(3),
    np.array("x"),
    np.array(["a", "b"]),
    np.zeros(0),
    np.full((2, 2), np.nan),
    np.full((3, 4, 1, 17, 2), np.inf),
    np.array([1j]),
    np.array(b"bytes"),
    np.zeros((3, 4, 1, 17, 2), dtype=bool),
)


def kept() -> KeptKeypoints:
    scene = make_scene(frames=4, cameras=3, seed=2)
    scene = replace(scene, rig=moving_rig(scene.rig, scene.timestamps_s, [1]))
    views = observe(scene, BASE, seed=3)
    return KeptKeypoints("a take", scene.rig, views, np.array([0.0, 0.1, -0.2]), np.zeros(3), np.full(17, 0.01))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kept") / "keypoints.kept"
    write_kept(path, kept())
    return path


def arrays_of(path: Path) -> dict[str, Any]:
    with np.load(path) as archive:
        return {key: archive[key] for key in archive.files}


def test_what_is_written_is_read(good: Path) -> None:
    wanted, found = kept(), read_kept(good)
    assert found.mark == wanted.mark and kept_joint_names(good) == wanted.views[0].joint_names
    np.testing.assert_array_equal(found.offset_s, wanted.offset_s)
    np.testing.assert_array_equal(found.placement_sigma_m, wanted.placement_sigma_m)
    for one, other in zip(found.views, wanted.views, strict=True):
        assert one.view == other.view
        np.testing.assert_array_equal(one.xy, other.xy)
        np.testing.assert_array_equal(one.covariance, other.covariance)
        np.testing.assert_array_equal(one.score, other.score)
    for one, other in zip(found.rig.cameras, wanted.rig.cameras, strict=True):
        np.testing.assert_array_equal(one.R, other.R)
        assert (one.path is None) == (other.path is None)


@pytest.mark.parametrize("key", KEYS + OF_PATHS)
def test_a_file_without_a_key_is_refused(good: Path, tmp_path: Path, key: str) -> None:
    with (tmp_path / "x.kept").open("wb") as file:
        np.savez(file, **{name: array for name, array in arrays_of(good).items() if name != key})
    with pytest.raises(InputError, match=r"x\.kept"):
        read_kept(tmp_path / "x.kept")


@settings(max_examples=FUZZ_CASES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1), insert=st.binary(min_size=1, max_size=8), cut=st.booleans())
def test_mutated_bytes_raise_only_our_errors(
    good: Path, tmp_path: Path, place: float, insert: bytes, cut: bool
) -> None:
    data, path = good.read_bytes(), tmp_path / "x.kept"
    at = int(place * len(data))
    path.write_bytes(data[:at] + insert + (b"" if cut else data[at + len(insert) :]))
    assert isinstance(kept_joint_names(path), tuple)
    reads_or_says_why(path)


@settings(max_examples=FUZZ_CASES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(KEYS + OF_PATHS), st.sampled_from(OTHERS) | st.none(), min_size=1, max_size=3))
def test_other_arrays_raise_only_our_errors(good: Path, tmp_path: Path, changed: dict[str, Any]) -> None:
    """Whole archives whose arrays are of another kind or shape: what no checksum finds."""
    arrays = {key: array for key, array in (arrays_of(good) | changed).items() if array is not None}
    with (tmp_path / "x.kept").open("wb") as file:
        np.savez(file, **arrays)
    assert isinstance(kept_joint_names(tmp_path / "x.kept"), tuple)
    reads_or_says_why(tmp_path / "x.kept")


def reads_or_says_why(path: Path) -> None:
    try:
        read_kept(path)
    except InputError as problem:
        assert "x.kept" in str(problem) and "\n" not in str(problem)
