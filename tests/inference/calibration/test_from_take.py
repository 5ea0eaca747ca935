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


def test_offsets_to_be_found_need_known_cameras(tmp_path: Path) -> None:
    path = self_take(tmp_path, 5)
    path.write_text(path.read_text() + '\noffset_s = "auto"\n')
    with pytest.raises(InputError, match="views in step"):
        calibrate(read_take(path), tmp_path / "out")
