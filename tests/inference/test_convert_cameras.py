"""Calibrations from one tool to the next by the command: the cameras stay, what is lost is told."""

from pathlib import Path

import numpy as np
import pytest

from inference.cli import main
from inference.convert_cameras import convert_cameras
from inference.errors import InputError
from inference.files.anipose_toml import write_anipose_toml
from inference.files.calibration import read_calibration
from inference.files.camera_table import Distance
from inference.files.colmap import write_colmap
from inference.types import Camera, Intrinsics
from tests.calibrations import five_cameras, pixel_error


def test_a_chain_of_all_formats_keeps_the_cameras(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = five_cameras()
    write_anipose_toml(tmp_path / "a.toml", before)
    for source, out, kind, *more in (
        ("a.toml", "yml", "easymocap"),
        ("yml", "b.toml", "toml"),
        ("b.toml", "colmap", "colmap"),
        ("colmap", "c.toml", "toml", "--units", "m"),
    ):
        command = ["cameras", str(tmp_path / source), "--out", str(tmp_path / out), "--format", kind, *more]
        assert main(command) == 0
        told = capsys.readouterr().err
        assert "warning" not in told and told.count(" m to the nearest camera (") == 5
    assert pixel_error(before, read_calibration(tmp_path / "c.toml").cameras) < 1e-3


def test_the_spacing_is_told_in_metres(tmp_path: Path) -> None:
    inner = Intrinsics("a", (640, 480), np.array([[700.0, 0, 320], [0, 700, 240], [0, 0, 1]]), np.zeros(5))
    other = Intrinsics("b", (640, 480), inner.K, inner.distortion)
    pair = [Camera(inner, np.eye(3), np.zeros(3)), Camera(other, np.eye(3), np.array([-3.0, 0, 4.0]))]
    write_colmap(tmp_path / "colmap", pair)
    done = convert_cameras(tmp_path / "colmap", tmp_path / "a.toml", distance=Distance("a", "b", 2.5))
    assert done.lines[0] == "a: 640x480, f = 700.0 px, 2.500 m to the nearest camera (b)"
    assert np.linalg.norm(read_calibration(tmp_path / "a.toml").cameras["b"].t) == pytest.approx(2.5)


def test_what_is_lost_is_told(tmp_path: Path) -> None:
    write_anipose_toml(tmp_path / "a.toml", five_cameras())
    warnings = convert_cameras(tmp_path / "a.toml", tmp_path / "colmap", "colmap-opencv").warnings
    assert sum("k3 and what follows are lost" in warning for warning in warnings) == 5
    table = "[cameras.0]\ncam_id = 0\nrotation_count = 1\nsize = [640, 480]\n"
    lens = "matrix = [[700.0, 0.0, 320.0], [0.0, 700.0, 240.0], [0.0, 0.0, 1.0]]\ndistortions = [0, 0, 0, 0, 0]\n"
    pose = "rotation = [0.0, 0.0, 0.0]\ntranslation = [0.0, 0.0, 1.0]\n"
    (tmp_path / "caliscope.toml").write_text(table + lens + pose + table.replace("0", "1", 2) + lens)
    warnings = convert_cameras(tmp_path / "caliscope.toml", tmp_path / "b.toml").warnings
    assert any("rotation_count of cam_0" in w for w in warnings) and any("cam_1 without a pose" in w for w in warnings)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--distance", "left", "right", "far"], "the last must be metres"),
        (["--distance", "cam_2", "nobody", "3"], "no pose of 'nobody'"),
        (["--distance", "cam_2", "07", "3", "--units", "m"], "not both"),
        (["--units", "mm"], "implausible"),
    ],
)
def test_wrong_input_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    write_anipose_toml(tmp_path / "a.toml", five_cameras())
    assert main(["cameras", str(tmp_path / "a.toml"), "--out", str(tmp_path / "b.toml"), *arguments]) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1
    assert not (tmp_path / "b.toml").exists()


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="known: toml"):
        convert_cameras(tmp_path, tmp_path / "b", "fbx")
