"""The command `calibrate` from end to end: given cameras checked by the person, and cameras from measured points."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from inference.cli import main
from inference.files.anipose_toml import write_anipose_toml
from inference.files.calibration import read_calibration
from inference.geometry.projection import project
from inference.types import Camera
from tests.keypoint_take import write_take
from tests.synthetic import Scene

ROOM = np.random.default_rng(2).uniform((-1.5, -1.5, 0), (1.5, 1.5, 2.2), (10, 3))


def measured_points(folder: Path, scene: Scene, wrong_px: float = 0.0) -> None:
    """Write the table of points, and let the take solve its cameras from it."""
    pixels = np.concatenate([project(camera, ROOM) for camera in scene.rig.cameras], axis=1)
    pixels[4, 2] += wrong_px
    head = ",".join(f"{camera.name}_{axis}" for camera in scene.rig.cameras for axis in "uv")
    rows = [",".join([f"p{n}", *map(repr, map(float, (*ROOM[n], *pixels[n])))]) for n in range(len(ROOM))]
    (folder / "points.csv").write_text("\n".join([f"name,x_m,y_m,z_m,{head}", *rows]))
    text = (folder / "take.toml").read_text()
    source = 'source = "points"\npoints = "points.csv"\nintrinsics = "cameras.toml"'
    (folder / "take.toml").write_text(text.replace('source = "cameras.toml"', source))


def test_cameras_from_measured_points(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = write_take(tmp_path, frames=8)
    measured_points(tmp_path, scene, wrong_px=40.0)
    out = tmp_path / "out"
    assert main(["calibrate", str(tmp_path / "take.toml"), "--out", str(out)]) == 0
    assert "point 'p4' is 40 px off in view cam02" in capsys.readouterr().err
    found = read_calibration(out / "cameras.toml").cameras
    for camera in scene.rig.cameras:
        assert np.linalg.norm(found[camera.name].centre - camera.centre) < 0.01
    record = json.loads((out / "report.json").read_text())
    assert record["facts"]["scene_points"]["cam02"]["p4"] == pytest.approx(40, abs=1)
    assert record["cameras"][0]["rotation_sigma_deg"] < 1
    assert "Worst points: p4" in (out / "report.html").read_text()
    assert main(["solve", str(tmp_path / "take.toml"), "--out", str(tmp_path / "solved"), "--progress", "none"]) == 0


def test_a_view_without_columns_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measured_points(tmp_path, write_take(tmp_path, frames=8))
    table = tmp_path / "points.csv"
    table.write_text(table.read_text().replace("cam02_", "cam09_"))
    assert main(["calibrate", str(tmp_path / "take.toml"), "--out", str(tmp_path / "out")]) == 2
    assert "has no columns cam02_u, cam02_v" in capsys.readouterr().err


def test_given_cameras_are_checked_where_it_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = write_take(tmp_path, frames=12)
    command = ["calibrate", str(tmp_path / "take.toml"), "--out", str(tmp_path / "out"), "--progress", "none"]
    assert main([*command, "--check"]) == 0
    rows = json.loads((tmp_path / "out" / "report.json").read_text())["cameras"]
    assert all(0.5 < row["median_error_px"] < 3 for row in rows)
    inverse = [Camera(c.intrinsics, c.R.T, -c.R.T @ c.t) for c in scene.rig.cameras]
    write_anipose_toml(tmp_path / "cameras.toml", inverse)
    assert main(command) == 0  # nobody is asked to look
    capsys.readouterr()
    assert main([*command, "--check"]) == 2
    told = capsys.readouterr().err
    assert "poses were inverted" in told and told.count("\n") == 1
