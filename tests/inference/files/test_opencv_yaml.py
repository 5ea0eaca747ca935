"""OpenCV's YAML: what OpenCV itself writes, and what is refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from inference.errors import CalibrationError
from inference.files.opencv_yaml import matrix_text, parse_opencv_yaml

K = np.array([[1 / 3, 0, 2e-17], [0, -1e300, 4], [0, 0, 1]])


def parse(text: str):
    return parse_opencv_yaml(text, Path("a.yml"))


def test_what_opencv_writes(tmp_path: Path) -> None:
    file = cv2.FileStorage(str(tmp_path / "a.yml"), cv2.FILE_STORAGE_WRITE)
    file.write("K_1", K)
    file.write("H_1", 720)
    file.write("f", 0.5)
    file.startWriteStruct("names", cv2.FILE_NODE_SEQ)
    for name in ("1", "b c"):
        file.write("", name)
    file.endWriteStruct()
    file.write("T_1", np.arange(40.0)[:, None])
    file.release()
    values = parse((tmp_path / "a.yml").read_text())
    np.testing.assert_array_equal(values["K_1"], K)
    np.testing.assert_array_equal(values["T_1"], np.arange(40.0)[:, None])
    assert values["names"] == ["1", "b c"] and values["H_1"] == "720" and float(values["f"]) == 0.5


def test_opencv_reads_what_we_write(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("%YAML:1.0\n---\n" + matrix_text("K_a-1", K) + matrix_text("T", np.arange(3)))
    file = cv2.FileStorage(str(tmp_path / "a.yml"), cv2.FILE_STORAGE_READ)
    np.testing.assert_array_equal(file.getNode("K_a-1").mat(), K)
    assert file.getNode("T").mat().shape == (3, 1)
    file.release()


def test_lists_and_line_ends() -> None:
    assert parse("%YAML:1.0\r\n---\r\nnames:\r\n  - \"01\"\r\n  - 'b'\r\n  - 07\r\n")["names"] == ["01", "b", "07"]
    assert parse('names: [ "01",\n b ]\nx: []')["names"] == ["01", "b"]
    assert parse("x: []\n") == {"x": []}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("  rows: 3\n", "line 1 is no OpenCV YAML"),
        ("a: 1\na: 2\n", "line 2: 'a' stands twice"),
        ("a: !!opencv-matrix\n  rows: 3\n  cols: 3\n", "lacks rows, cols or data"),
        ("a: !!opencv-matrix\n  rows: 1\n  cols: 2\n  data: [1., 2.", "lacks rows, cols or data"),
        ("a: !!opencv-matrix\n  rows: 100000\n  cols: 100000\n  data: [1.]", "says 100000x100000 but holds 1"),
        ("a: !!opencv-matrix\n  rows: 1\n  cols: 1\n  data: [one]", "not a number"),
        ("a: !!opencv-matrix\n  rows: x\n  cols: 1\n  data: [1]", "not a number"),
        ("a: [b, c\n", "the list is cut off"),
        ("a:\n  b: c\n", "neither a matrix nor a number nor a list"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(CalibrationError, match=message) as caught:
        parse(text)
    assert "\n" not in str(caught.value) and "a.yml" in str(caught.value)


def test_anchors_are_texts_and_do_not_expand() -> None:
    """The "billion laughs" of YAML: aliases stay the texts that they are."""
    bomb = 'a: &a ["lol","lol"]\n' + "".join(f"b{n}: &b{n} [*a,*a,*a,*a,*a,*a]\n" for n in range(1, 9))
    assert all(isinstance(value, str) and len(value) < 60 for value in parse(bomb).values())
