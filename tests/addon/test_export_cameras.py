"""The command that writes a scene's cameras: files, exit codes, one line of error. Runs as a process of its own."""

import subprocess
import sys
from pathlib import Path

import bpy
import pytest
from sightline.addon.host.scene import TakeInfo, build_scene
from sightline.inference.files.calibration import read_calibration

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def scene_file(empty_scene, make_solution, tmp_path):
    build_scene(empty_scene, make_solution(), TakeInfo("a"))
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    return tmp_path / "scene.blend"


def run(*arguments):
    command = [sys.executable, str(ROOT / "tools" / "export_cameras.py"), "--", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stderr


def test_cameras_are_written_and_their_spacing_told(scene_file, make_solution):
    out = scene_file.parent / "new" / "cameras.toml"
    code, told = run(scene_file, "--out", out, "--camera", "cam01", "--camera", "side")
    assert code == 0, told
    assert list(read_calibration(out).cameras) == ["cam01", "side"]
    first, _, side = (camera.centre for camera in make_solution().rig.cameras)
    apart = ((first - side) ** 2).sum() ** 0.5
    assert f"cam01: 1920x1080, f = 1500.1 px, {apart:.3f} m to the nearest camera" in told


def test_cameras_that_move_are_told(scene_file):
    scene, item = bpy.context.scene, bpy.data.objects["side"]
    item.animation_data_clear()
    for frame, x in ((scene.frame_start, 0.0), (scene.frame_end, 1.0)):
        item.location.x = x
        item.keyframe_insert("location", frame=frame)
    bpy.ops.wm.save_mainfile()
    out = scene_file.parent / "cameras.toml"
    code, told = run(scene_file, "--out", out, "--camera", "side", "--camera", "cam01")
    assert code == 0 and "side: 640x480, f = 700.0 px" in told and "moves: 12 pictures from 0\n" in told
    assert list(read_calibration(out).paths) == ["side"]
    code, told = run(scene_file, "--out", out, "--camera", "side", "--frame", "3")
    assert code == 0 and "moves" not in told and not read_calibration(out).paths


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--camera", "cam09"), "no camera 'cam09'; it has cam01, cam02, side"),
        (("--frmae", "1"), "unrecognized arguments"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(scene_file, arguments, message):
    out = scene_file.parent / "cameras.toml"
    code, told = run(scene_file, "--out", out, *arguments)
    assert code == 2 and message in told and told.count("\n") == 1
    assert not out.exists()


def test_a_missing_scene_is_one_line(tmp_path):
    code, told = run(tmp_path / "no.blend", "--out", tmp_path / "cameras.toml")
    assert code == 2 and told == f"{tmp_path / 'no.blend'} does not exist\n"
