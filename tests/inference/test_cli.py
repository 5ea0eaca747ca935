"""The command line: exit codes, one line for wrong input, JSON where it is promised."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from inference.cli import main
from inference.files.calibration import read_calibration
from inference.files.solution import read_cameras
from tests.keypoint_take import write_take


@pytest.fixture
def take(tmp_path: Path) -> Path:
    write_take(tmp_path, frames=8)
    return tmp_path / "take.toml"


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What stands on stderr; a test that sees more than one line fails."""
    text = capsys.readouterr().err
    assert text.count("\n") == 1, text
    return text


def test_solve_ends_with_zero_and_says_where_to_look(take: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = take.parent / "out"
    assert main(["solve", str(take), "--out", str(out), "--progress", "none"]) == 0
    assert str(out / "report.html") in one_line(capsys)
    assert (out / "solution.npz").is_file()


def test_warnings_of_the_solve_are_told(take: Path, capsys: pytest.CaptureFixture[str]) -> None:
    take.write_text(take.read_text().replace("[take]", "[take]\npersons = 2", 1))
    assert main(["solve", str(take), "--out", str(take.parent / "out"), "--progress", "none"]) == 0
    assert "warning: 2 persons are asked for, 1 found" in capsys.readouterr().err


def test_settings_reach_the_solve(take: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["solve", str(take), "--out", str(take.parent / "out"), "--progress", "none", "--set"]
    assert main([*arguments, "smothness=2"]) == 2
    assert "did you mean 'smoothness'?" in one_line(capsys)
    assert main([*arguments, "smoothness=lots"]) == 2
    assert "smoothness" in one_line(capsys)
    assert main([*arguments, "smoothness"]) == 2
    assert "KEY=VALUE" in one_line(capsys)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('source = "cameras.toml"', 'source = "missing.toml"', "missing.toml"),
        ("[take]", "[tape]", "did you mean 'take'"),
        ("[take]", "[take", "line"),
        ('name = "dance"', 'nmae = "dance"', "did you mean 'name'"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    take: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, message: str
) -> None:
    take.write_text(take.read_text().replace(old, new, 1))
    assert main(["solve", str(take), "--out", str(take.parent / "out"), "--progress", "none"]) == 2
    assert message in one_line(capsys)
    assert not (take.parent / "out").exists()


def test_wrong_input_found_late_is_one_line_too(take: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (take.parent / "cameras.toml").write_text("[cam_0")
    assert main(["solve", str(take), "--out", str(take.parent / "out")]) == 2
    assert "cameras.toml" in one_line(capsys)
    assert not (take.parent / "out").exists()


def test_a_wrong_command_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["slove"])
    assert stop.value.code == 2
    assert "slove" in one_line(capsys)


def test_debug_shows_the_trace(take: Path, capsys: pytest.CaptureFixture[str]) -> None:
    take.unlink()
    assert main(["--debug", "solve", str(take), "--out", "unused"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_calibrate_writes_our_own_files(take: Path) -> None:
    out = take.parent / "cameras"
    assert main(["calibrate", str(take), "--out", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == {"cameras.toml", "cameras.npz", "report.json", "report.html"}
    given = read_calibration(take.parent / "cameras.toml").cameras
    for again in (read_cameras(out / "cameras.npz").cameras, read_calibration(out / "cameras.toml").cameras.values()):
        for camera, original in zip(again, given.values(), strict=True):
            assert camera.name == original.name
            np.testing.assert_allclose(camera.R, original.R, atol=1e-12)
            np.testing.assert_array_equal(camera.t, original.t)
            np.testing.assert_array_equal(camera.intrinsics.K, original.intrinsics.K)
    assert len(json.loads((out / "report.json").read_text())["cameras"]) == 3


def test_calibrate_refuses_a_file_as_its_folder(take: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", str(take), "--out", str(take)]) == 2
    assert str(take) in one_line(capsys)


def test_detect_gives_json_in_input_order(
    tmp_path: Path, blazepose_card: object, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / "b.png", tmp_path / "a.png"]
    for path in paths:
        cv2.imwrite(str(path), np.full((240, 320, 3), 90, np.uint8))
    assert main(["detect", *map(str, paths), "--json", "--progress", "none"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [Path(picture["image"]).name for picture in found] == ["b.png", "a.png"]
    assert all(picture["people"] == [] for picture in found)


@pytest.mark.parametrize("progress", ["bar", "json"])
def test_progress_stays_out_of_the_json_of_detect(
    tmp_path: Path, blazepose_card: object, capsys: pytest.CaptureFixture[str], progress: str
) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.full((240, 320, 3), 90, np.uint8))
    assert main(["detect", str(path), "--json", "--progress", progress]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 1


def test_detect_refuses_what_is_no_picture(
    tmp_path: Path, blazepose_card: object, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "notes.png"
    path.write_text("no picture")
    assert main(["detect", str(path), "--json", "--progress", "none"]) == 2
    assert "notes.png" in one_line(capsys)


def test_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("blazepose: ") for line in lines)
    assert all("ready" in line or "cannot be used" in line for line in lines)
    assert main(["models", "fetch", "blazepoes"]) == 2
    assert "did you mean 'blazepose'" in one_line(capsys)


def test_the_worker_speaks_json_lines(take: Path) -> None:
    out = take.parent / "out"
    lines, code = worker(take, out)
    assert code == 0
    assert lines[-1] == {"done_file": str(out / "solution.npz")}
    assert {"views", "joints", "motion"} <= {line["stage"] for line in lines[:-1]}


def test_the_worker_reports_wrong_input_as_its_last_line(take: Path) -> None:
    take.write_text("[take]\n")
    lines, code = worker(take, take.parent / "out")
    assert code == 2
    assert lines[-1]["exit_code"] == 2
    assert "[calibration]" in lines[-1]["error"]


def test_the_worker_ends_when_its_parent_does(take: Path) -> None:
    """Closing standard input is what the death of Blender looks like from inside."""
    command = [sys.executable, "-m", "inference.worker", str(take), "--out", str(take.parent / "out")]
    process = subprocess.run(command, cwd=root(), stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert process.returncode == 130


def worker(take: Path, out: Path) -> tuple[list[dict], int]:
    """Run the worker with an open standard input; its lines and its exit code."""
    command = [sys.executable, "-m", "inference.worker", str(take), "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(root())}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
    ) as process:
        assert process.stdout is not None
        lines = [json.loads(line) for line in process.stdout]
        return lines, process.wait(timeout=60)


def root() -> Path:
    return Path(__file__).resolve().parents[2]
