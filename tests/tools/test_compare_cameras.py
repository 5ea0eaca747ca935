"""The comparison of two calibrations: blind to where the worlds lie, not to a camera that is turned or moved."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.files.anipose_toml import write_anipose_toml
from inference.geometry.rotation import exp
from inference.types import Camera
from tests.keypoint_take import write_take
from tests.synthetic import make_scene
from tools.compare_cameras import compare_cameras, main

CAMERAS = make_scene(2, 4, seed=1).rig.cameras


def elsewhere(camera: Camera) -> Camera:
    """The same camera in a world that is turned, moved and twice as large."""
    R = camera.R @ exp(np.array([0.3, -0.2, 1.0]))
    return replace(camera, R=R, t=2 * camera.t + R @ np.array([1.0, 2.0, 3.0]))


def test_the_worlds_do_not_matter() -> None:
    found = compare_cameras([elsewhere(c) for c in CAMERAS], CAMERAS)
    assert max(found.rotation_deg.values()) < 1e-6
    assert max(found.centre_m.values()) < 1e-9
    assert found.scale == pytest.approx(2)


def test_a_camera_that_is_turned_or_moved_is_seen() -> None:
    """One of four cameras is turned by 1 degree: the worlds' alignment takes about a quarter of it."""
    first, *rest = CAMERAS
    turn = exp(np.radians([0, 0, 1.0]))
    turned = replace(first, R=turn @ first.R, t=turn @ first.t)
    found = compare_cameras([turned, *rest], CAMERAS)
    assert found.rotation_deg[first.name] == pytest.approx(0.75, abs=0.05)
    moved = replace(first, t=first.t + [0.1, 0, 0])
    assert 0.05 < compare_cameras([moved, *rest], CAMERAS).centre_m[first.name] < 0.1


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_anipose_toml(tmp_path / "a.toml", CAMERAS)
    write_anipose_toml(tmp_path / "b.toml", CAMERAS[:1])
    assert main([str(tmp_path / "a.toml"), str(tmp_path / "a.toml")]) == 0
    assert "mean 0.00 degrees, 0 mm; lengths +0.0 %" in capsys.readouterr().out
    assert main([str(tmp_path / "a.toml"), str(tmp_path / "b.toml")]) == 2
    assert "fewer than two cameras in common" in capsys.readouterr().err


def test_cameras_that_move_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_take(tmp_path, moving=(1,))
    assert main([str(tmp_path / "cameras.toml")] * 2) == 2
    assert "cam02 move; only cameras that stand still are compared" in capsys.readouterr().err
