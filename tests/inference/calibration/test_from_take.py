"""source = "self" through the command that users take."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.calibrate import calibrate
from inference.cli import main
from inference.errors import InputError
from inference.files.calibration import read_calibration
from inference.take import read_take
from tests.keypoint_take import QUIET, write_take


def self_take(folder: Path, frames: int, lenses: bool = True) -> Path:
    write_take(folder, frames=frames, noise=replace(QUIET, missing=0.0))
    path = folder / "take.toml"
    source = 'source = "self"' + ('\nintrinsics = "cameras.toml"' if lenses else "")
    text = path.read_text().replace('source = "cameras.toml"', source).replace("[take]", "[take]\nheight_m = 1.72")
    path.write_text(text)
    return path


def test_cameras_are_solved_and_written(tmp_path: Path) -> None:
    assert main(["calibrate", str(self_take(tmp_path, 60)), "--out", str(tmp_path / "out"), "--progress", "none"]) == 0
    true = read_calibration(tmp_path / "cameras.toml").cameras
    ours = read_calibration(tmp_path / "out" / "cameras.toml").cameras
    apart = [np.linalg.norm(cameras["cam01"].centre - cameras["cam02"].centre) for cameras in (ours, true)]
    assert apart[0] == pytest.approx(apart[1], rel=0.03)
    relative = [cameras["cam02"].R @ cameras["cam01"].R.T for cameras in (ours, true)]
    assert np.abs(relative[0] - relative[1]).max() < 0.01
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert "solved from the person" in report["gauge"]
    assert report["facts"]["self_calibration"]["moments"] == 60
    with np.load(tmp_path / "out" / "cameras.npz") as file:
        assert file["camera_covariance_full"].shape == (18, 18)
        assert file["camera_covariance_full"][6:, 6:].any()


def test_too_little_is_exit_3_and_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = self_take(tmp_path, 5)
    assert main(["calibrate", str(path), "--out", str(tmp_path / "out"), "--progress", "none"]) == 3
    assert "only 5 frames" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_lenses_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="intrinsics ="):
        calibrate(read_take(self_take(tmp_path, 5, lenses=False)), tmp_path / "out")


def test_cameras_and_offsets_are_found_together(tmp_path: Path) -> None:
    """The views are in step; nobody says so of the last one."""
    path = self_take(tmp_path, 150)
    text = path.read_text().split("[[view]]")
    path.write_text("[[view]]".join([*text[:-1], text[-1] + '\noffset_s = "auto"\n']))
    assert main(["calibrate", str(path), "--out", str(tmp_path / "out"), "--progress", "none"]) == 0
    with np.load(tmp_path / "out" / "cameras.npz") as file:
        assert abs(file["offset_s"][2]) < 0.004


@pytest.mark.parametrize(
    ("lines", "scale"),
    [
        ('distance_m = 8.0\ndistance_between = ["cam01", "cam02"]', "the measured distance of cam01 and cam02"),
        ('bone = "left_knee-left_ankle"\nlength_m = 0.42', "the measured bone left_knee-left_ankle"),
    ],
)
def test_scale_from_a_measured_length(tmp_path: Path, lines: str, scale: str) -> None:
    path = self_take(tmp_path, 60)
    path.write_text(path.read_text().replace("[calibration]", f"[calibration]\n{lines}"))
    rig = calibrate(read_take(path), tmp_path / "out")
    true = read_calibration(tmp_path / "cameras.toml").cameras
    apart = float(np.linalg.norm(rig.cameras[0].centre - rig.cameras[1].centre))
    wanted = 8.0 if "distance" in lines else np.linalg.norm(true["cam01"].centre - true["cam02"].centre)
    assert apart == pytest.approx(wanted, rel=1e-6 if "distance" in lines else 0.02)
    assert scale in rig.gauge


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('bone = "left_knee"\nlength_m = 0.42', "a measured bone is"),
        ('bone = "left_knee-tail"\nlength_m = 0.42', "bone names 'tail'"),
        ('distance_m = 8.0\ndistance_between = ["cam01", "cam09"]', "distance_between names 'cam09'"),
    ],
)
def test_measured_lengths_that_cannot_be_used(tmp_path: Path, lines: str, words: str) -> None:
    path = self_take(tmp_path, 30)
    path.write_text(path.read_text().replace("[calibration]", f"[calibration]\n{lines}"))
    with pytest.raises(InputError, match=words):
        calibrate(read_take(path), tmp_path / "out")
