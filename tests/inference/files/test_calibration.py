"""Formats are recognised from the content; what is none of them says what is supported."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from inference.errors import CalibrationError
from inference.files.calibration import read_calibration
from inference.files.solution import write_cameras
from inference.types import Camera, CameraRig, Intrinsics

TOML = """
[a]
size = [640, 480]
matrix = [[900.0, 0.0, 320.0], [0.0, 900.0, 240.0], [0.0, 0.0, 1.0]]
distortions = [0.0, 0.0, 0.0, 0.0]
rotation = [0.0, 0.0, 0.0]
translation = [0.0, 0.0, 1.0]
"""


def write(folder: Path, content: str | bytes, name: str) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("name", ["c.toml", "c.txt", "c"])
def test_toml_by_content(tmp_path: Path, name: str) -> None:
    assert list(read_calibration(write(tmp_path, TOML, name)).cameras) == ["a"]
    assert list(read_calibration(write(tmp_path, b"\xef\xbb\xbf" + TOML.encode(), name)).cameras) == ["a"]


def test_our_own_cameras(tmp_path: Path) -> None:
    lens = Intrinsics("ä", (640, 480), np.diag([900.0, 900, 1]), np.zeros(5))
    rig = CameraRig((Camera(lens, np.eye(3), np.array([0, 0, 1.0])),), np.zeros((6, 6)))
    write_cameras(tmp_path / "cameras.npz", rig, [0.0], [0.0])
    assert list(read_calibration(tmp_path / "cameras.npz").cameras) == ["ä"]


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"", "c.toml", "is empty"),
        (b"\x80\x04" + pickle.dumps({"a": 1})[2:], "c.pickle", "is no OpenCap camera"),
        ("%YAML:1.0\n---\nnames: []\n", "intri.yml", "holds no camera"),
        ('{"cameras": []}', "c.json", "no format that can be read; supported: TOML"),
        ("1 2 3\n4 5 6\n", "c.calib", "no format that can be read"),
        ("this is no calibration", "c.toml", "not valid TOML"),
        (bytes(range(128, 256)), "c.toml", "not UTF-8|pickle"),
        ("<Cameras><Camera DEVICEID='1'/></Cameras>", "c.xcp", "holds no calibrated camera"),
        ("<a/>", "c.xml", "not a Qualisys calibration"),
        ("<html", "c.html", "not well-formed"),
        (b"PK\x03\x04broken", "c.npz", "cannot be read"),
    ],
)
def test_other_files(tmp_path: Path, content: str | bytes, name: str, message: str) -> None:
    from inference.errors import InputError

    with pytest.raises(InputError, match=message) as caught:
        read_calibration(write(tmp_path, content, name))
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_missing_file_folder_and_units(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="does not exist"):
        read_calibration(tmp_path / "none.toml")
    with pytest.raises(CalibrationError, match="is a folder"):
        read_calibration(tmp_path)
    with pytest.raises(CalibrationError, match="units = 'inch'"):
        read_calibration(write(tmp_path, TOML, "c.toml"), units="inch")
