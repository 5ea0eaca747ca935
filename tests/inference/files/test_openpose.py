"""OpenPose JSON: what is read, what counts as missing, and what is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.errors import InputError, SolveError
from inference.files.openpose import read_openpose
from inference.layouts import layout

FUZZ_CASES = int(os.environ.get("SIGHTLINE_FUZZ", "200"))
SIZE = (640, 480)
NAMES = layout("coco_17").joint_names


def person(x: float = 100.0, score: float = 0.5) -> list[float]:
    """17 keypoints at (x + j, 2 j + 10)."""
    return [value for j in range(17) for value in (x + j, 2.0 * j + 10, score)]


def frame(*people: Any) -> dict[str, Any]:
    return {"version": 1.3, "people": [{"person_id": [-1], "pose_keypoints_2d": keypoints} for keypoints in people]}


def write(folder: Path, frames: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in frames.items():
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def read(folder: Path, **options: Any):
    return read_openpose(folder, "coco_17", "cam01", 50.0, SIZE, **options)


@pytest.mark.parametrize("form", ["clip 2_{:012d}_keypoints.json", "cam01.{:04d}.json", "{}.json"])
def test_names_and_order(tmp_path: Path, form: str) -> None:
    folder = write(tmp_path / "k", {form.format(n): frame(person(100.0 + n)) for n in range(8, 12)})
    (folder / "readme.txt").write_text("not a frame")
    keypoints = read(folder)
    assert keypoints.view == "cam01" and keypoints.joint_names == NAMES
    np.testing.assert_allclose(keypoints.timestamps_s, np.arange(4) / 50)
    np.testing.assert_array_equal(keypoints.xy[:, 0, 0], [[108, 10], [109, 10], [110, 10], [111, 10]])
    np.testing.assert_array_equal(keypoints.xy[0, 0, 5], [113, 20])
    assert (keypoints.score == 0.5).all()


def test_covariance_by_hand(tmp_path: Path) -> None:
    """0.0015 * 640 / 0.5 = 1.92 px; below a score of 0.05 it grows no more: 19.2 px."""
    folder = write(tmp_path / "k", {"0.json": frame(person(score=0.5), person(score=0.01))})
    covariance = read(folder).covariance
    np.testing.assert_allclose(covariance[0, 0, 3], np.eye(2) * 1.92**2)
    np.testing.assert_allclose(covariance[0, 1, 3], np.eye(2) * 19.2**2)


def test_people_stand_in_file_order_and_may_come_and_go(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "k", {"0.json": frame(person(10)), "1.json": frame(), "2.json": frame(person(20), person(30))}
    )
    keypoints = read(folder)
    assert keypoints.xy.shape == (3, 2, 17, 2)
    assert keypoints.observed.all(-1).tolist() == [[True, False], [False, False], [True, True]]
    np.testing.assert_array_equal(keypoints.xy[2, :, 0, 0], [20, 30])


def test_missing_keypoints(tmp_path: Path) -> None:
    keypoints = person()
    keypoints[0:3] = [0, 0, 0]
    keypoints[3:6] = [0, 0, 0.7]
    keypoints[6:9] = [50, 50, 0]
    text = json.dumps(frame(keypoints, [])).replace(str(person()[9]), "NaN", 1).replace(str(person()[13]), "null", 1)
    result = read(write(tmp_path / "k", {"0.json": text}))
    assert result.observed[0, 0].tolist() == [False] * 5 + [True] * 12
    assert not result.observed[0, 1].any()
    assert (result.score[0, 0, :5] == 0).all() and np.isnan(result.covariance[0, 0, :5]).all()


def test_a_missing_number_is_a_frame_without_people(tmp_path: Path) -> None:
    keypoints = read(write(tmp_path / "k", {"5.json": frame(person(1)), "7.json": frame(person(2))}))
    assert keypoints.observed.any((1, 2)).tolist() == [True, False, True]
    np.testing.assert_allclose(keypoints.timestamps_s, [0, 0.02, 0.04])


def test_keypoint_size_by_hand(tmp_path: Path) -> None:
    """Twice the size: u' = 0.5 (u + 0.5) - 0.5, so 100 becomes 49.75."""
    folder = write(tmp_path / "k", {"0.json": frame(person(100))})
    np.testing.assert_allclose(read(folder, keypoint_size=(1280, 960)).xy[0, 0, 0], [49.75, 4.75])
    boxed = read(folder, keypoint_size=(480, 480), fit="letterbox")  # unscaled, 80 px bars at the sides
    np.testing.assert_allclose(boxed.xy[0, 0, 0], [180, 10])
    with pytest.raises(InputError, match="view 'cam01': its picture is 640x480, keypoint_size 480x480: the aspect"):
        read(folder, keypoint_size=(480, 480))


def broken(change: Callable[[list], None]) -> dict[str, Any]:
    keypoints: list[Any] = person()
    change(keypoints)
    return frame(keypoints)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is broken"),
        ('{"people": [', "is broken"),
        ("[" * 100_000, "is broken"),
        ("[]", "not OpenPose JSON"),
        ('{"people": 3}', "not OpenPose JSON"),
        ('{"people": [3]}', "not OpenPose JSON"),
        ('{"people": [{}]}', "person 0 has no pose_keypoints_2d"),
        (frame(person()[:-3]), "person 0 has 48 numbers, coco_17 needs 51 .17 keypoints.; as many as mpii_16"),
        (frame(person() * 2), "has 102 numbers, coco_17 needs 51"),
        (broken(lambda k: k.__setitem__(3, "a")), "not a number"),
        (broken(lambda k: k.__setitem__(3, True)), "not a number"),
        (broken(lambda k: k.__setitem__(3, 7000.0)), r"person 0, keypoint 1 lies at \(7000, 12\), beyond ten"),
        (broken(lambda k: k.__setitem__(3, -1e300)), "beyond ten"),
        (broken(lambda k: k.__setitem__(3, 10**400)), "infinite"),
        (broken(lambda k: k.__setitem__(3, float("inf"))), "infinite"),
        (frame(*[[]] * 300), "300 people"),
    ],
)
def test_refusals(tmp_path: Path, content: Any, message: str) -> None:
    folder = write(tmp_path / "k", {"0.json": frame(person()), "1.json": content})
    with pytest.raises(InputError, match=message) as caught:
        read(folder)
    assert "1.json" in str(caught.value) and "cam01" in str(caught.value) and "\n" not in str(caught.value)


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="view 'cam01': .*is not a folder of JSON files"):
        read(tmp_path / "none")
    with pytest.raises(InputError, match="holds no JSON files"):
        read(tmp_path)
    with pytest.raises(InputError, match="ends in no frame number"):
        read(write(tmp_path / "a", {"frame.json": frame(person())}))
    with pytest.raises(InputError, match="stand twice"):
        read(write(tmp_path / "b", {"a_0.json": frame(person()), "b_0.json": frame(person())}))
    with pytest.raises(InputError, match="jump from 0 to 999999999999"):
        read(write(tmp_path / "c", {"0.json": frame(person()), "999999999999.json": frame(person())}))
    with pytest.raises(InputError, match="is not UTF-8"):
        folder = write(tmp_path / "d", {"0.json": ""})
        (folder / "0.json").write_bytes(b"\xff\xfe\xfa")
        read(folder)


def test_nothing_but_missing_is_an_error(tmp_path: Path) -> None:
    folder = write(tmp_path / "k", {"0.json": frame([0.0] * 51), "1.json": frame(), "2.json": frame([])})
    with pytest.raises(InputError, match="view 'cam01': none of the 3 keypoint files"):
        read(folder)
    with pytest.raises(InputError, match="none of the 1"):
        read(write(tmp_path / "e", {"0.json": frame()}))


def test_keypoints_mostly_outside_name_the_view(tmp_path: Path) -> None:
    folder = write(tmp_path / "k", {"0.json": frame(person(700), person(1000), person(100))})
    with pytest.raises(
        InputError, match="view 'cam01': 67% of the imported keypoints lie outside .*640x480.*keypoint_size"
    ):
        read(folder)


def test_an_unknown_layout(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown keypoint layout"):
        read_openpose(tmp_path, "body_99", "cam01", 50.0, SIZE)


def test_real_take(shared_data: Path) -> None:
    folder = shared_data / "pose2sim_single" / "openpose_body25b"
    moved = read_openpose(folder / "cam01_json", "body_25b", "cam01", 60, (1080, 1920), (1088, 1920), "letterbox")
    plain = read_openpose(folder / "cam01_json", "body_25b", "cam01", 60, (1080, 1920))
    assert len(plain.timestamps_s) == 100 and plain.observed[:, 0].mean() > 0.8
    difference = (moved.xy - plain.xy)[plain.observed]
    np.testing.assert_allclose(difference[:, 0], (plain.xy[plain.observed][:, 0] + 0.5) * (1080 / 1088 - 1), atol=1e-9)


@settings(max_examples=FUZZ_CASES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    place=st.floats(0, 1),
    length=st.integers(0, 8),
    insert=st.binary(max_size=6) | st.sampled_from([b"NaN", b"-Infinity", b"1e999", b"null", b"[", b"]", b"{}", b'"']),
)
def test_mutated_files_raise_only_our_errors(tmp_path: Path, place: float, length: int, insert: bytes) -> None:
    data = json.dumps(frame(person(), person(20))).encode()
    at = int(place * len(data))
    folder = tmp_path / "k"
    folder.mkdir(exist_ok=True)
    (folder / "0.json").write_bytes(data[:at] + insert + data[at + length :])
    try:
        read(folder)
    except SolveError as problem:
        assert isinstance(problem, InputError) and "\n" not in str(problem)
