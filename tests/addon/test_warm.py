"""The child that waits: asked for, it solves; for another command, or when the extension ends, it goes."""

import shutil
import time

import numpy as np
import pytest
from sightline.addon import warm
from sightline.addon.job import worker_command
from sightline.inference import neighbourhood, pipeline
from sightline.inference.corrections import Correction
from sightline.inference.errors import Cancelled
from sightline.inference.files.corrections_toml import corrections_path, write_corrections
from sightline.inference.files.solution import read_solution
from sightline.inference.take import read_take


@pytest.fixture(autouse=True)
def nobody_waits():
    yield
    warm.end_waiting()


@pytest.fixture
def command(solved_take):
    return worker_command(solved_take / "take.toml", solved_take / "take_sightline", {}, ["--again"])


def finish(job):
    end = time.monotonic() + 30
    while job.running and time.monotonic() < end:
        job.events()
        time.sleep(0.02)
    return job.result()


def test_it_waits_and_then_solves(command):
    warm.keep_ready(command, None)
    waiting = warm._State.job
    warm.keep_ready(command, None)
    assert warm._State.job is waiting
    time.sleep(0.5)
    assert waiting.running and waiting.events() == []
    job = warm.begin(command, None)
    assert job is waiting and warm._State.job is None
    assert finish(job).name == "solution.npz"
    assert job.solution_file is not None


def test_another_command_gets_a_child_of_its_own(command):
    warm.keep_ready([*command, "--set", "max_ray_error_px=20"], None)
    waiting = warm._State.job
    job = warm.begin(command, None)
    assert job is not waiting and waiting._process.poll() is not None
    job.cancel()
    with pytest.raises(Cancelled):
        finish(job)


def test_a_child_that_died_is_not_asked(command):
    warm.keep_ready(command, None)
    waiting = warm._State.job
    waiting._process.kill()
    waiting._process.wait()
    while waiting.running:
        waiting.events()
        time.sleep(0.02)
    job = warm.begin(command, None)
    assert job is not waiting
    job.cancel()
    with pytest.raises(Cancelled):
        finish(job)


def test_nobody_waits_for_ever(command):
    warm.keep_ready(command, None)
    process = warm._State.job._process
    warm.end_waiting()
    assert process.poll() is not None


@pytest.fixture
def correcting(solved_take, tmp_path, monkeypatch):
    """A solved take, its results, a wrist of its middle frame as a pin, and what is solved of neighbourhoods."""
    folder = tmp_path / "take"
    shutil.copytree(solved_take, folder)
    take, out = folder / "take.toml", folder / "take_sightline"
    before = read_solution(out / "solution.npz").solved
    time_s = float(before.timestamps_s[12])
    place = before.xyz[12, 0, before.joint_names.index("left_wrist")] + [0.05, 0.0, 0.0]
    pin = Correction("pin", 1, time_s, time_s, None, "left_wrist", tuple(place))
    solves = []
    monkeypatch.setattr(neighbourhood, "_MOST", 2.0)  # of a take as short as this
    monkeypatch.setattr(neighbourhood._Last, "now", None)
    monkeypatch.setattr(
        neighbourhood, "_solve", lambda *told, solve=neighbourhood._solve: solves.append(1) or solve(*told)
    )
    return take, out, pin, solves


def test_what_was_corrected_is_looked_at_while_it_waits(correcting):
    """In one process, as the child does it: asked in earnest, nothing is solved twice."""
    take, out, pin, solves = correcting
    write_corrections(corrections_path(take), [pin])
    pipeline.look_ahead(take, {}, out)
    assert len(solves) == 2  # without and with the correction
    told = []
    pipeline.solve_again(read_take(take), out, on_solution=lambda path, whole: told.append(whole))
    assert told == [False, True] and len(solves) == 2
    (out / "keypoints.kept").unlink()
    pipeline.look_ahead(take, {}, out)  # what is wrong is left to the solve to say


def test_where_somebody_begins_to_correct_is_solved_as_it_is(correcting):
    """While the mouse is still down; then only the frames with the correction are left to solve."""
    take, out, pin, solves = correcting
    pipeline.look_ahead(take, {}, out, (pin.start_s, 2))
    assert solves == []  # there is one person
    pipeline.look_ahead(take, {}, out, (pin.start_s, 1))
    assert len(solves) == 1
    write_corrections(corrections_path(take), [pin])
    pipeline.look_ahead(take, {}, out)
    assert len(solves) == 2
    found = neighbourhood._Last.now.found.solved.xyz
    neighbourhood._Last.now = None
    pipeline.look_ahead(take, {}, out)
    assert len(solves) == 4 and np.array_equal(neighbourhood._Last.now.found.solved.xyz, found, equal_nan=True)


def test_the_child_goes_on_waiting_after_it_looked(command):
    warm.keep_ready(command, None)
    time.sleep(1.5)
    warm.keep_ready(command, None)
    warm.keep_ready(command, None, "near 0.2 1")
    waiting = warm._State.job
    time.sleep(1.0)
    assert waiting.running and waiting.solution_file is None
    assert finish(warm.begin(command, None)).name == "solution.npz"
