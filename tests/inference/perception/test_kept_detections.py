"""Kept detections: what is read back is whole, so that a follower can go on from it; all else is as good as none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.config import DetectionSettings
from inference.perception.detector import Detector, load_detector
from inference.perception.kept_detections import keep_detections, read_kept_detections
from inference.perception.tracking import Follower
from tests.inference.perception.dot_people import joints_at, picture, write_networks

FUZZ_CASES = int(os.environ.get("SIGHTLINE_FUZZ", "200"))
KEYS = ("done", "look", "active", "length", "frames", "rows", "region")
FRAMES, DONE = 6, 4
OTHERS = (
    np.array(-1),
    np.array(2**60),
    np.array("x"),
    np.array([0, 1]),
    np.array([2**60, 1]),
    np.array([4.0]),
    np.array([-4]),
    np.array([True]),
    np.zeros(0, int),
    np.full((4, 17, 7), "x"),
    np.full((1, 5), np.nan),
    np.arange(4) + 100,
)


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIGHTLINE_MODELS", str(folder))
        write_networks(folder, np.array([[110.0, 60, 170, 170]]), np.array([0.9]))
        return load_detector(DetectionSettings(detector="dots"))


def follower(detector: Detector, state: Any = None) -> Follower:
    return Follower("cam", np.arange(FRAMES) / 30, detector, DetectionSettings(detector="dots"), state)


@pytest.fixture(scope="module")
def good(detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    begun = follower(detector)
    for _ in range(DONE):
        begun.step(picture([joints_at(140, 65, 100)]))
    path = tmp_path_factory.mktemp("kept") / "x.npz"
    keep_detections(path, begun.state())
    return path


def goes_on_or_is_none(detector: Detector, path: Path) -> bool:
    """Tell whether a state was read; if so, its follower must have found what it says and take the next frame."""
    state = read_kept_detections(path, len(detector.joint_names), FRAMES)
    if state is None:
        return False
    going = follower(detector, state)
    assert len(going.keypoints_so_far().timestamps_s) == going.done <= FRAMES
    return True


def test_a_kept_state_goes_on_where_it_stopped(detector: Detector, good: Path) -> None:
    assert goes_on_or_is_none(detector, good)
    assert read_kept_detections(good, len(detector.joint_names) - 1, FRAMES) is None
    assert read_kept_detections(good, len(detector.joint_names), DONE - 1) is None
    going = follower(detector, read_kept_detections(good, len(detector.joint_names), FRAMES))
    for _ in range(FRAMES - DONE):
        going.step(picture([joints_at(140, 65, 100)]))
    assert going.keypoints().score.shape == (FRAMES, 1, 17) and (going.keypoints().score > 0.3).all()


@settings(max_examples=FUZZ_CASES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1), insert=st.binary(min_size=1, max_size=8), cut=st.booleans())
def test_mutated_bytes_give_a_whole_state_or_none(
    detector: Detector, good: Path, tmp_path: Path, place: float, insert: bytes, cut: bool
) -> None:
    data = good.read_bytes()
    at = int(place * len(data))
    (tmp_path / "x.npz").write_bytes(data[:at] + insert + (b"" if cut else data[at + len(insert) :]))
    goes_on_or_is_none(detector, tmp_path / "x.npz")


@settings(max_examples=FUZZ_CASES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(KEYS), st.sampled_from(OTHERS) | st.none(), min_size=1, max_size=3))
def test_other_arrays_give_a_whole_state_or_none(
    detector: Detector, good: Path, tmp_path: Path, changed: dict[str, Any]
) -> None:
    """Whole archives whose arrays are of another kind, shape or sense: what no checksum finds."""
    with np.load(good) as archive:
        arrays = {key: archive[key] for key in archive.files} | changed
    with (tmp_path / "x.npz").open("wb") as file:
        np.savez(file, **{key: array for key, array in arrays.items() if array is not None})
    goes_on_or_is_none(detector, tmp_path / "x.npz")
