"""Solves behind Blender's back: real child processes that are cancelled, killed, queued, and gone on with."""

import os
import shutil
import signal
import sys
import time

import bpy
import pytest
from sightline.addon import background, solving
from sightline.addon.background import Wanted
from sightline.inference.errors import Cancelled, InputError, SolveError
from sightline.inference.files.solution import write_solution

TALK = "import json, os, shutil, sys, time\ndef say(**line): print(json.dumps(line), flush=True)\n"
DETECT = "say(stage='detect', done=3, total=10, seconds_left=1.0)\n"
WAIT = "for line in sys.stdin:\n    if line.strip() == 'cancel': raise SystemExit(130)\n"


@pytest.fixture
def child(monkeypatch, make_solution, tmp_path):
    """Let the child do as told; by itself it hands out a solution."""
    write_solution(tmp_path / "made.npz", make_solution(T=6))
    done = (
        "os.makedirs(sys.argv[1], exist_ok=True); target = os.path.join(sys.argv[1], 'solution.npz')\n"
        f"shutil.copy({str(tmp_path / 'made.npz')!r}, target); say(done_file=target)\n"
    )
    asked = []

    def tell(code=DETECT + done):
        def command(_take, out, _settings, flags=(), _python=""):
            asked.append(list(flags))
            return [sys.executable, "-c", TALK + code, str(out)]

        monkeypatch.setattr(solving, "worker_command", command)

    tell()
    tell.asked = asked
    yield tell
    background.end_all()


@pytest.fixture
def wanted(registered, empty_scene, tmp_path):
    """A function that asks for the solve of a take of a name."""

    def make(name="balancing"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "rig.toml").write_text("")
        text = f'[take]\nname = "{name}"\n[calibration]\nsource = "rig.toml"\n'
        for view in ("cam01", "cam02"):
            (folder / view).mkdir(exist_ok=True)
            text += f'[[view]]\nname = "{view}"\nkeypoints = "{view}"\nkeypoint_layout = "coco_17"\nfps = 30\n'
        (folder / "take.toml").write_text(text, encoding="utf-8")
        return Wanted(solving.request_for(folder / "take.toml"), bpy.context.scene.session_uid)

    return make


def advance(run, until=lambda said: False, limit_s=30.0):
    """Advance a solve as the timer does, until it is built or ``until`` of what it said."""
    said, end = [], time.monotonic() + limit_s
    while time.monotonic() < end:
        built = run.advance(bpy.context, lambda share, text: said.append((share, text)))
        if built is not None or until(said):
            return built, said
        time.sleep(0.01)
    run.job._process.send_signal(signal.SIGABRT)  # with PYTHONFAULTHANDLER it says where its threads stand
    run.job._process.wait(10)
    pytest.fail(f"no end in {limit_s} s; it said {said}, and at the end:\n{run.job.trace()}")


def heard(said):
    return any(text.startswith("Finding people") for _, text in said)


def test_progress_names_the_stage_and_the_time_left_and_ends_in_the_scene(child, wanted):
    run = background.begin(wanted())
    built, said = advance(run)
    assert (0.3, "Finding people: 3 of 10, 1 s left") in said and built.take == "balancing"
    assert len(bpy.context.scene.sightline.summary.split("\n")) > 2


def test_cancelling_offers_what_was_detected_and_touches_nothing(child, wanted):
    child(DETECT + WAIT)
    run = background.begin(wanted())
    advance(run, heard)
    run.job.cancel()
    with pytest.raises(Cancelled):
        advance(run)
    assert not bpy.data.objects
    assert background.partial().text == "balancing: 30% of the frames are detected"
    background.end_run()
    child()
    built, _ = advance(background.begin(background.partial_request()))
    assert child.asked[-1] == ["--so-far"] and built.take == "balancing" and bpy.data.objects
    assert background.partial() is None


def test_a_cancel_before_any_frame_offers_nothing(child, wanted):
    child("say(stage='detect', done=0, total=10, seconds_left=None)\n" + WAIT)
    run = background.begin(wanted())
    advance(run, heard)
    run.job.cancel()
    with pytest.raises(Cancelled):
        advance(run)
    assert background.partial() is None


def test_a_killed_child_is_one_line_and_the_next_solve_works(child, wanted):
    child(DETECT + WAIT)
    run = background.begin(wanted())
    advance(run, heard)
    os.kill(run.job._process.pid, signal.SIGKILL)
    with pytest.raises(SolveError, match=r"code -9 \(killed: perhaps the memory was full\)") as caught:
        advance(run)
    assert "\n" not in str(caught.value) and not bpy.data.objects
    assert background.partial() is not None
    background.end_run()
    child()
    assert advance(background.begin(wanted()))[0].take == "balancing"


def test_a_refusal_offers_nothing(child, wanted):
    child(DETECT + "say(error='view cam01: no person', exit_code=2); raise SystemExit(2)")
    with pytest.raises(InputError, match="view cam01: no person"):
        advance(background.begin(wanted()))
    assert background.partial() is None


def test_the_queue_keeps_its_order_and_one_of_a_take(child, wanted):
    first, second = wanted("one"), wanted("two")
    assert background.enqueue(first) == 1 and background.enqueue(second) == 2
    newer = wanted("one")
    assert background.enqueue(newer) == 2
    assert background.waiting() == (second, newer)
    background.drop(0)
    assert background.take_next() is newer and background.take_next() is None


def test_a_solve_for_the_scene_that_asked_whatever_it_is_called_and_after_undo(child, wanted):
    asked = bpy.context.scene
    bpy.ops.ed.undo_push(message="before")
    run = background.begin(wanted())
    asked.name = "Szene ändern"
    bpy.ops.ed.undo_push(message="renamed")
    bpy.ops.ed.undo()
    bpy.context.window.scene = other = bpy.data.scenes.new("other")
    built, _ = advance(run)
    assert built.take == "balancing" and not other.objects
    scene = next(scene for scene in bpy.data.scenes if scene.session_uid == run.wanted.scene_uid)
    assert any(item.type == "ARMATURE" for item in scene.objects)


def test_a_scene_that_was_deleted_is_said(child, wanted, tmp_path):
    gone = bpy.context.scene
    run = background.begin(wanted())
    bpy.context.window.scene = bpy.data.scenes.new("other")
    bpy.data.scenes.remove(gone)
    with pytest.raises(SolveError, match="scene that asked for this solve is gone; its results are in"):
        advance(run)
    assert (run.wanted.request.out / "solution.npz").is_file()


def test_a_file_saved_under_another_name_meanwhile(child, wanted, tmp_path):
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "one.blend"))
    run = background.begin(wanted())
    (tmp_path / "elsewhere").mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "elsewhere" / "two.blend"))
    (tmp_path / "one.blend").unlink()
    assert advance(run)[0].take == "balancing"


def test_a_new_file_ends_everything(child, wanted):
    child(DETECT + WAIT)
    run = background.begin(wanted())
    background.enqueue(wanted("two"))
    process = run.job._process
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    assert process.poll() is not None
    assert background.running() is None and background.waiting() == ()


def test_a_real_solve_is_cancelled_and_what_it_had_is_kept(
    registered, empty_scene, example_take, blazepose_card, tmp_path, monkeypatch
):
    """The real worker on the start of the example: cancelled in the middle, then solved so far."""
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "kept"))
    monkeypatch.setenv("PYTHONFAULTHANDLER", "1")
    shutil.copytree(example_take.parent, tmp_path / "take")
    take = tmp_path / "take" / "take.toml"
    take.write_text(take.read_text(encoding="utf-8").replace("persons = 1", "persons = 1\nend = 0.7"), encoding="utf-8")
    request = solving.request_for(take, tmp_path / "out")
    wanted = Wanted(request, bpy.context.scene.session_uid)
    run = background.begin(wanted)
    advance(run, lambda said: any(text.startswith("Finding people") and share > 0.3 for share, text in said), 120)
    run.job.cancel()
    with pytest.raises(Cancelled):
        advance(run)
    assert not bpy.data.objects and background.partial().share > 0.3
    background.end_run()
    partial = background.partial_request()
    built, _ = advance(background.begin(partial), limit_s=240)  # a busy machine: 120 s were once not enough
    assert built.take == "example" and bpy.data.objects
    assert any("only the" in warning for warning in built.warnings)
