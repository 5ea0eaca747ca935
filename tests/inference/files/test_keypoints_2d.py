"""The door to imported keypoints: folders are OpenPose, and messages name view and path."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from inference.errors import InputError
from inference.files.keypoints_2d import read_keypoints
from inference.files.openpose import read_openpose


def test_a_folder_is_openpose(tmp_path: Path) -> None:
    person = {"pose_keypoints_2d": [value for joint in range(17) for value in (50.0 + joint, 60.0, 0.5)]}
    (tmp_path / "a_000000000000_keypoints.json").write_text(json.dumps({"people": [person]}))
    found = read_keypoints(tmp_path, "coco_17", "cam01", 50.0, (640, 480))
    np.testing.assert_array_equal(found.xy, read_openpose(tmp_path, "coco_17", "cam01", 50.0, (640, 480)).xy)


def test_keypoint_size_holds_for_every_format(tmp_path: Path) -> None:
    """Twice the size: u' = 0.5 (u + 0.5) - 0.5, so 100 becomes 49.75."""
    keypoints = [value for _ in range(17) for value in (100.0, 100.0, 1.0)]
    (tmp_path / "k.json").write_text(json.dumps([{"image_id": 0, "keypoints": keypoints}]))
    found = read_keypoints(tmp_path / "k.json", "coco_17", "cam01", 50.0, (640, 480), (1280, 960))
    np.testing.assert_allclose(found.xy, 49.75)


def test_missing_files_and_unknown_layouts(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="view 'cam01': keypoints .*none is not a folder"):
        read_keypoints(tmp_path / "none", "coco_17", "cam01", 50.0, (640, 480))
    with pytest.raises(InputError, match="unknown keypoint layout 'body_99'"):
        read_keypoints(tmp_path, "body_99", "cam01", 50.0, (640, 480))
    (tmp_path / "k.bin").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(InputError, match="view 'cam01': keypoint file .*k.bin is not UTF-8"):
        read_keypoints(tmp_path / "k.bin", "coco_17", "cam01", 50.0, (640, 480))
