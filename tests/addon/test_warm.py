"""The child that waits: asked for, it solves; for another command, or when the extension ends, it goes."""

import time

import pytest
from sightline.addon import warm
from sightline.addon.job import worker_command
from sightline.inference.errors import Cancelled


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
