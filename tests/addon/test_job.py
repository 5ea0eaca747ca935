"""The child process: progress, results, refusals, crashes, cancelling, and no orphans."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sightline.addon import job as jobs
from sightline.addon.job import Job, worker_command, worker_environment
from sightline.inference.errors import Cancelled, InputError, SolveError


def python(code):
    return Job([sys.executable, "-c", code])


def finish(job, limit_s=20.0):
    """All events until the child has ended."""
    events, end = [], time.monotonic() + limit_s
    while job.running and time.monotonic() < end:
        events += job.events()
        time.sleep(0.01)
    assert not job.running
    return events + job.events()


def test_progress_and_result():
    lines = [{"stage": "detect", "done": d, "total": 4, "seconds_left": None} for d in range(5)]
    job = python(
        f"import json\nprint('a library prints')\nfor line in {lines!r}: print(json.dumps(line))\n"
        "print(json.dumps({'done_file': '/tmp/ä/solution.npz'}))"
    )
    events = finish(job)
    assert [e.done for e in events] == [0, 1, 2, 3, 4] and events[1].share == 0.25
    assert json.loads(events[0].line)["stage"] == "detect"
    assert job.result() == Path("/tmp/ä/solution.npz")


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        ("print('{\"error\": \"no\\\\nfile\", \"exit_code\": 2}'); raise SystemExit(2)", InputError, "no file"),
        ("print('{\"error\": \"no answer\", \"exit_code\": 3}'); raise SystemExit(3)", SolveError, "no answer"),
        ("import sys; print('usage', file=sys.stderr); raise SystemExit(2)", InputError, "code 2: usage"),
        ("raise ValueError('broken')", SolveError, "code 1: ValueError: broken"),
        ("import os; os.kill(os.getpid(), 11)", SolveError, "code -11: it said nothing"),
        ("pass", SolveError, "code 0"),
    ],
)  # fmt: skip
def test_failures_say_why(code, kind, message):
    job = python(code)
    finish(job)
    with pytest.raises(kind, match=message) as caught:
        job.result()
    assert type(caught.value) is kind and "\n" not in str(caught.value)


def test_cancelling_asks_first():
    job = python("import sys\nfor line in sys.stdin:\n    if line == 'cancel\\n': raise SystemExit(130)")
    job.cancel()
    finish(job, 3.0)
    with pytest.raises(Cancelled):
        job.result()


def test_a_deaf_child_is_ended(monkeypatch):
    monkeypatch.setattr(jobs, "GRACE_S", 0.2)
    job = python("import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(1)")
    time.sleep(0.3)
    started = time.monotonic()
    job.cancel()
    assert time.monotonic() - started < 0.1
    finish(job, 5.0)
    with pytest.raises(Cancelled):
        job.result()


def test_closing_ends_the_child():
    job = python("import time; time.sleep(60)")
    process = job._process
    job.close()
    assert process.poll() is not None


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for the child in /proc")
def test_the_worker_ends_with_its_parent(tmp_path):
    """A parent that is killed leaves no child: the pipe closes."""
    code = (
        "import subprocess, sys, os\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import sys, time; from inference.worker import *; "
        "from inference.worker import _cancel_when_parent_ends as f; from inference.progress import Progress; "
        "f(Progress()); print(1, flush=True); time.sleep(60)'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "p.stdout.readline(); print(p.pid, flush=True); os._exit(0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=jobs.ROOT, timeout=60)
    pid = int(done.stdout)
    for _ in range(200):
        if not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2]:
            return
        time.sleep(0.05)
    pytest.fail("the child outlived its parent")


def test_an_interpreter_that_is_missing():
    with pytest.raises(SolveError, match="could not be started"):
        Job(["/no/such/python"])


def test_the_command_is_absolute_and_sets_settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = worker_command(Path("a.toml"), Path("out"), {"detector": "x"})
    assert command[1:] == ["-m", "inference.worker", str(tmp_path / "a.toml"), "--out", str(tmp_path / "out"),
                           "--set", "detector=x"]  # fmt: skip
    assert Path(command[0]).name.startswith("python")


def test_our_folder_comes_first_then_the_wheels():
    environment = worker_environment({"PYTHONPATH": "/mine", "A": "b"}, ["/x", "/y/site-packages", "/z/modules"])
    entries = environment["PYTHONPATH"].split(os.pathsep)
    assert entries == [str(jobs.ROOT), "/y/site-packages", "/mine"] and environment["A"] == "b"
