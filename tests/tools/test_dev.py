"""tools/dev.py: the pieces that can be tested without installing anything."""

import json
import os
import sys
import time
from pathlib import Path

import pytest

from tools import dev


def test_constraints_by_hand():
    text = "# a comment\n\nnumpy==1.26.4  # why\nopencv-python-headless == 4.11.0.86\n"
    assert dev.read_constraints(text) == {"numpy": "1.26.4", "opencv-python-headless": "4.11.0.86"}


@pytest.mark.parametrize("line", ["numpy", "numpy>=1.26", "numpy==", "==1"])
def test_negative_control_unpinned_constraint(line):
    with pytest.raises(dev.DevError, match="constraints.txt:2: .* is not a pin"):
        dev.read_constraints(f"scipy==1\n{line}\n", "constraints.txt")


def test_own_constraints_pin_what_blender_needs():
    pins = dev.read_constraints(dev.CONSTRAINTS.read_text())
    assert pins["bpy"].startswith("5.0.")
    assert pins["numpy"].startswith("1.26.")  # Blender 4.5 and 5.0 are built with it
    assert pins["onnxruntime"] == pins["onnxruntime-gpu"]


def test_every_requirement_is_pinned():
    pins = {name.lower() for name in dev.read_constraints(dev.CONSTRAINTS.read_text())}
    for wanted in dev.requirements("fetch", "dev", "training"):
        name = wanted.split(";")[0].split("[")[0].split("<")[0].split(">")[0].split("=")[0]
        assert name.strip() in pins, wanted


def test_stamp_changes_with_what_would_be_installed():
    stamp = dev.stamp_of(["a", "b"], "a==1")
    assert stamp == dev.stamp_of(["b", "a"], "a==1")
    assert stamp != dev.stamp_of(["a", "b"], "a==2")
    assert stamp != dev.stamp_of(["a"], "a==1")


def finished(folder: Path, stamp: object) -> Path:
    python = dev.venv_python(folder)
    python.parent.mkdir(parents=True)
    python.touch()
    (folder / "sightline.json").write_text(json.dumps(stamp))
    return folder


def test_finished_environment_is_left_alone(tmp_path, capsys):
    wanted, pins = ["numpy"], dev.read_constraints(dev.CONSTRAINTS.read_text())
    stamp = {"hash": dev.stamp_of(wanted, json.dumps(pins)), "runtime": "onnxruntime-gpu"}
    folder = finished(tmp_path / "venv", stamp)
    assert dev.make_environment(folder, wanted) == dev.venv_python(folder)
    assert capsys.readouterr().out == ""
    assert dev.read_stamp(folder) == stamp  # the runtime that is there is kept


@pytest.mark.parametrize("fault", ["no stamp", "no interpreter", "broken stamp"])
def test_negative_control_unfinished_environment_has_no_stamp(fault, tmp_path):
    folder = finished(tmp_path / "venv", {"hash": "x"})
    if fault == "no stamp":
        (folder / "sightline.json").unlink()
    elif fault == "no interpreter":
        dev.venv_python(folder).unlink()
    else:
        (folder / "sightline.json").write_text("{")
    assert dev.read_stamp(folder) == {}


def test_python_without_venv_is_said_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(dev.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(dev.DevError, match="ensurepip or venv is missing") as error:
        dev.make_venv(tmp_path / "venv")
    assert "\n" not in str(error.value)


def test_wrong_python_is_said_in_one_line(monkeypatch):
    monkeypatch.setattr(dev.sys, "version_info", (3, 9, 1))
    monkeypatch.setattr(dev.shutil, "which", lambda name: None)
    with pytest.raises(dev.DevError, match=r"this is Python 3\.9, and the bpy module needs 3\.11"):
        dev.right_python()


def test_what_a_command_prints_goes_where_it_is_wanted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-c", "import sys; print('one', flush=True); print('two', file=sys.stderr)"]
    with (tmp_path / "log").open("w+b") as log:
        assert dev.run_bounded(command, 60, output=log) == 0
    assert (tmp_path / "log").read_text().split() == ["one", "two"] and not capfd.readouterr().out
    assert dev.run_bounded(command, 60) == 0
    assert capfd.readouterr().out.strip() == "one"


def test_exit_code_is_passed_on():
    assert dev.run_bounded([sys.executable, "-c", "raise SystemExit(7)"], 60) == 7


@pytest.mark.skipif(os.name != "posix", reason="looks for the grandchild by its process id")
def test_hanging_command_is_ended_with_its_children(tmp_path, capsys):
    note = tmp_path / "pid"
    child = "import time; time.sleep(600)"
    parent = (
        f"import pathlib, subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', {child!r}]);"
        f"pathlib.Path({str(note)!r}).write_text(str(p.pid)); time.sleep(600)"
    )
    assert dev.run_bounded([sys.executable, "-c", parent], 2) == 124
    assert "stopped after 2 s" in capsys.readouterr().out
    grandchild = int(note.read_text())
    deadline = time.monotonic() + 10
    while alive(grandchild) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(grandchild)


def test_an_interrupt_ends_what_runs_beside():
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), dev.beside() as pool:
        other = pool.submit(dev.run_bounded, [sys.executable, "-c", "import time; time.sleep(60)"], 120)
        while not dev.RUNNING:
            time.sleep(0.01)
        raise KeyboardInterrupt
    assert other.result() != 0 and time.monotonic() - started < 30 and not dev.RUNNING


def alive(pid: int) -> bool:
    """A zombie is not alive: nobody collects orphans in a container without an init."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] == "Z")


JUNIT = '<testsuites><testsuite name="pytest" errors="1" failures="2" skipped="3" tests="10"/></testsuites>'


@pytest.mark.parametrize(
    ("text", "code", "expected"),
    [
        (JUNIT, 1, (4, 3, 3)),
        (JUNIT.replace('"1"', '"0"').replace('"2"', '"0"'), 0, (7, 0, 3)),
        (JUNIT.replace('"1"', '"0"').replace('"2"', '"0"'), 139, (7, 1, 3)),  # died after its last test
        ("", 139, (0, 1, 0)),  # died before it wrote anything
    ],
)
def test_counts_of_a_suite(text, code, expected, tmp_path):
    junit = tmp_path / "suite.xml"
    junit.write_text(text)
    outcome = dev.count_results(junit, "suite", code)
    assert (outcome.passed, outcome.failed, outcome.skipped) == expected


def test_checks_count_once():
    assert dev.run_check("fine", [sys.executable, "-c", ""]) == dev.Outcome("fine", 1, 0)
    assert dev.run_check("broken", [sys.executable, "-c", "raise SystemExit(1)"]) == dev.Outcome("broken", 0, 1)


def test_ci_runs_the_readmes_test_command(project_root):
    assert "tools/dev.py test" in (project_root / ".ci" / "run").read_text()
    assert "python tools/dev.py test" in (project_root / "README.md").read_text()
