"""COCO JSON: annotations, results, AlphaPose's names of pictures, real files, broken files."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.errors import InputError, SolveError
from inference.files.keypoints_2d import read_keypoints
from inference.layouts import LAYOUTS
from inference.types import Keypoints2D

FUZZ_CASES = int(os.environ.get("SIGHTLINE_FUZZ", "200"))
NAMES = list(LAYOUTS["coco_17"].joint_names)


def person(x: float, v: float = 2) -> list[float]:
    return [value for joint in range(17) for value in (x + joint, 10.0 + joint, v)]


def annotations(*files: str) -> dict[str, Any]:
    """One person in every picture but the second."""
    images = [{"id": 70 + n, "file_name": name, "width": 640, "height": 480} for n, name in enumerate(files)]
    found = [
        {"id": n, "image_id": image["id"], "category_id": 1, "bbox": [0, 0, 9, 9], "keypoints": person(100.0 * (n + 1))}
        for n, image in enumerate(images)
        if n != 1
    ]
    return {"images": images, "annotations": found, "categories": [{"id": 1, "name": "person", "keypoints": NAMES}]}


def read(folder: Path, content: Any, layout: str = "coco_17", view: str = "cam01") -> Keypoints2D:
    path = folder / "k.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_keypoints(path, layout, view, 50.0, (640, 480))


def test_annotations_by_hand(tmp_path: Path) -> None:
    """Pictures 3, 4, 6: four frames, nobody in the second and third; v = 2 is score 1, sigma = 0.0015 · 640 px."""
    content = annotations("a_000003.jpg", "a_000004.jpg", "a_000006.jpg")
    content["annotations"][0]["keypoints"][:6] = [0, 0, 0, 55, 66, 1]
    found = read(tmp_path, content)
    np.testing.assert_allclose(found.timestamps_s, [0, 0.02, 0.04, 0.06])
    assert found.observed.any((1, 2)).tolist() == [True, False, False, True]
    assert not found.observed[0, 0, 0] and found.score[0, 0, :3].tolist() == [0, 0.5, 1]
    np.testing.assert_array_equal(found.xy[0, 0, 1], [55, 66])
    np.testing.assert_array_equal(found.xy[3, 0, 2], [302, 12])
    np.testing.assert_allclose(found.covariance[0, 0, 1], np.eye(2) * (0.96 / 0.5) ** 2)
    assert found.joint_names == tuple(NAMES)


def test_names_in_the_file_decide_the_order(tmp_path: Path) -> None:
    content = annotations("1.jpg", "2.jpg", "3.jpg")
    content["categories"][0]["keypoints"] = NAMES[::-1]
    found = read(tmp_path, content)
    np.testing.assert_array_equal(found.xy[0, 0, 0], [116, 26])  # the nose comes last
    halpe = read(tmp_path, content, "halpe_26")
    assert halpe.observed[0, 0].sum() == 17 and len(halpe.joint_names) == 26


def test_pictures_of_several_views(tmp_path: Path) -> None:
    content = annotations("cam01/1.jpg", "cam02/1.jpg", "cam02/2.jpg")
    assert len(read(tmp_path, content).timestamps_s) == 1
    np.testing.assert_array_equal(read(tmp_path, content, view="cam02").xy[1, 0, 0], [300, 10])


def test_results(tmp_path: Path) -> None:
    """image_id is the frame from 0, whoever is seen first; several people stand in file order."""
    content = [
        {"image_id": 2, "category_id": 1, "keypoints": person(50, 0.8), "score": 0.9},
        {"image_id": 2, "category_id": 1, "keypoints": person(80, 0.4), "score": 0.9},
        {"image_id": 1, "category_id": 1, "keypoints": person(20, 1), "score": 0.9},
    ]
    found = read(tmp_path, content)
    assert found.xy.shape == (3, 2, 17, 2) and found.observed.any(-1).tolist() == [
        [False] * 2,
        [True, False],
        [True] * 2,
    ]
    assert found.score[2, :, 0].tolist() == [0.8, 0.4] and found.score[1, 0, 0] == 1
    for entry in content:
        entry["image_id"] = f"frame_{entry['image_id']}.jpg"  # as AlphaPose writes it
    np.testing.assert_array_equal(read(tmp_path, content).xy, found.xy)


def change(content: dict[str, Any], *keys: Any, value: Any) -> dict[str, Any]:
    content = copy.deepcopy(content)
    inner: Any = content
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    return content


GOOD = annotations("1.jpg", "2.jpg", "3.jpg")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"annotations": [', "is broken"),
        ("[" * 100_000, "is broken"),
        ("{}", "no COCO JSON"),
        ("[3]", "no COCO JSON"),
        ("[]", "holds no people"),
        ('{"annotations": []}', "images must be a list"),
        (change(GOOD, "images", 0, value={}), "images must be a list"),
        (change(GOOD, "annotations", 0, "image_id", value=None), "has no image_id"),
        (change(GOOD, "annotations", 0, "keypoints", value="a"), "not a list of numbers"),
        (change(GOOD, "annotations", 0, "keypoints", 1, value=True), "not a list of numbers"),
        (change(GOOD, "annotations", 0, "keypoints", value=[1, 2]), "has 2 numbers"),
        (change(GOOD, "annotations", 0, "keypoints", value=[1, 2, 2]), "fewer keypoints than the file names"),
        (change(GOOD, "annotations", 0, "keypoints", 0, value=7000), "person 0, keypoint 0 lies at .7000, 10., beyond"),
        (change(GOOD, "annotations", 0, "keypoints", 0, value=10**400), "infinite"),
        (change(GOOD, "categories", 0, "keypoints", value=["snout"]), "none of its names"),
        ([{"image_id": 0, "keypoints": [1.0] * 48}], "has 48 numbers, coco_17 needs 51; as many as mpii_16"),
        ([{"image_id": -1, "keypoints": person(1)}], "'-1' is no frame number"),
        ([{"image_id": 10**8, "keypoints": person(1)}], "frame numbers reach 100000000"),
        ([{"image_id": "x", "keypoints": person(1)}], "'x' is no frame number"),
        ([{"image_id": 0, "keypoints": person(1)}] * 300, "300 people at once"),
        (
            [{"image_id": n * 99_000, "keypoints": person(1)} for n in (0, 1)]
            + [{"image_id": 0, "keypoints": person(1)}] * 150,
            "more than can be read",
        ),
        ([{"image_id": 0, "keypoints": [0.0] * 51}], "holds no keypoint"),
        ('{"version":1.3,"people":[{"pose_keypoints_2d":[]}]}', "one frame of OpenPose JSON; name the folder"),
    ],
)
def test_refusals(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, content)
    assert "cam01" in str(caught.value) and "\n" not in str(caught.value) and "k.json" in str(caught.value)


def test_real_annotations(tmp_path: Path, shared_data: Path) -> None:
    """Four unrelated stills are no clip; numbered as one, every labelled keypoint is found."""
    folder = shared_data / "calibration_fixtures" / "mmpose_testdata" / "tests" / "data" / "coco"
    with pytest.raises(InputError, match="are they of one clip"):
        read_keypoints(folder / "test_coco.json", "coco_17", "cam01", 50.0, (640, 640))
    raw = json.loads((folder / "test_coco.json").read_text())
    for number, image in enumerate(raw["images"]):
        image["file_name"] = f"{number}.jpg"
    (tmp_path / "k.json").write_text(json.dumps(raw))
    found = read_keypoints(tmp_path / "k.json", "coco_17", "cam01", 50.0, (640, 640))
    assert len(found.timestamps_s) == 4
    assert found.observed.sum() == sum(np.sum(np.array(a["keypoints"])[2::3] > 0) for a in raw["annotations"])


@settings(max_examples=FUZZ_CASES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    place=st.floats(0, 1),
    length=st.integers(0, 12),
    insert=st.text(max_size=6) | st.sampled_from(["NaN", "-Infinity", "1e999", "null", "[", "]", "{}", '"', "9" * 20]),
)
def test_mutated_files_raise_only_our_errors(tmp_path: Path, place: float, length: int, insert: str) -> None:
    text = json.dumps(GOOD)
    at = int(place * len(text))
    (tmp_path / "k.json").write_bytes((text[:at] + insert + text[at + length :]).encode("utf-8", "surrogatepass"))
    try:
        read_keypoints(tmp_path / "k.json", "coco_17", "cam01", 50.0, (640, 480))
    except SolveError as problem:
        assert isinstance(problem, InputError) and "\n" not in str(problem)
