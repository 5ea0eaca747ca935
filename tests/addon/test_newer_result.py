"""A result on disk that is newer than the scene: said, entered when asked for, and warned of at export."""

import json
import os

import bpy
import numpy as np
import pytest
from sightline.addon import background, solving
from sightline.addon.host.parts import parts_in
from sightline.addon.operators.solve import show_newest
from sightline.addon.trusting import LIGHT, LIGHT_WHY
from sightline.inference.files.solution import read_solution
from sightline.inference.report.written import read_warnings


def newer():
    return solving.newer_on_disk(bpy.context.scene)


def wrist():
    """Where the ellipsoid of the left wrist stands in the take's sixth frame."""
    bpy.context.scene.frame_set(16)
    item = next(o for o in parts_in(bpy.context.scene, "ellipsoid") if o["sightline_joint"] == "left_wrist")
    return np.array(item.location)


def test_undo_across_solving_again(take):
    """Undo takes the scene back and not the files; the panel offers the newer result."""
    file = take.parent / "take_sightline" / "solution.npz"
    before = wrist()
    bpy.context.scene.cursor.location = before + [0.05, 0, 0]
    bpy.context.scene.sightline.fix_joint = "left_wrist"
    bpy.ops.sightline.pin_joint(at="CURSOR")
    bpy.ops.ed.undo_push(message="pinned")
    assert not newer()
    bpy.ops.sightline.solve_again()
    bpy.ops.ed.undo_push(message="solved again")
    after = wrist()
    assert np.linalg.norm(after - before) > 0.02 and not newer()
    bpy.ops.ed.undo()
    assert newer() and wrist() == pytest.approx(before, abs=1e-5)
    assert bpy.ops.sightline.enter_result() == {"FINISHED"}
    assert not newer() and wrist() == pytest.approx(after, abs=1e-5)
    names = read_solution(file).solved.joint_names
    assert read_solution(file).solved.xyz[5, 0, names.index("left_wrist")] == pytest.approx(after, abs=1e-5)


def test_a_solve_from_elsewhere_is_seen_and_a_lost_file_is_not(take):
    file = take.parent / "take_sightline" / "solution.npz"
    assert not newer()
    os.utime(file, ns=(1, 1))
    assert newer()
    file.rename(file.with_name("away.npz"))
    assert not newer()


def test_export_says_which_result_it_wrote(take, capfd):
    bpy.context.scene.sightline.formats = {"csv"}
    bpy.ops.sightline.export_take()
    assert "older result" not in capfd.readouterr().out
    os.utime(take.parent / "take_sightline" / "solution.npz", ns=(1, 1))
    bpy.ops.sightline.export_take()
    assert "older result" in capfd.readouterr().out


def test_lights_follow_the_reports_that_come_after_the_motion(take):
    request = solving.request_again(bpy.context)
    camera = parts_in(bpy.context.scene, "camera")[0]
    said = camera[LIGHT_WHY]
    camera[LIGHT], camera[LIGHT_WHY] = "", "of the solve before"
    solving.reports_written(bpy.context.scene, request)
    assert camera[LIGHT] and camera[LIGHT_WHY] == said


def test_solve_in_full_solves_the_take_of_the_result(take, tmp_path):
    """Also while the steps describe another take, which stays listed."""
    known = bpy.context.scene.sightline
    out = take.parent / "take_sightline"
    view = known.views.add()
    view.name, view.video = "other", str(tmp_path / "other.mp4")
    (out / "keypoints.kept").unlink()
    assert bpy.ops.sightline.solve_in_full() == {"FINISHED"}
    assert (out / "keypoints.kept").is_file() and len(known.views) == 1
    assert known.solved_take_path == str(take)


def test_a_result_that_cannot_be_entered_is_tried_once_and_said(take):
    """The timer that follows Solve Again asks ten times a second: an error must not end it, nor come each time."""
    status, file = bpy.context.window_manager.sightline, take.parent / "take_sightline" / "solution.npz"
    run = background.begin(background.Wanted(solving.request_again(bpy.context), bpy.context.scene.session_uid))
    try:
        run.job.cancel()
        text = take.read_text(encoding="utf-8")
        take.write_text("[take", encoding="utf-8")
        os.utime(file, ns=(1, 1))
        show_newest(run)
        assert newer() and "take.toml" in status.again_problem and "\n" not in status.again_problem
        status.again_problem = ""
        show_newest(run)
        assert status.again_problem == ""
        os.utime(file, ns=(2, 2))  # a newer one is tried again
        show_newest(run)
        assert newer() and status.again_problem
        take.write_text(text, encoding="utf-8")
        os.utime(file, ns=(3, 3))
        show_newest(run)
        assert not newer() and status.again_problem == ""
    finally:
        background.end_all()


def test_warnings_stand_in_the_panel_and_follow_the_reports(take):
    known, report = bpy.context.scene.sightline, take.parent / "take_sightline" / "report.json"
    assert known.warnings == "\n".join(read_warnings(report.parent))
    told = json.loads(report.read_text(encoding="utf-8")) | {"warnings": ["first\n  line", "second"]}
    report.write_text(json.dumps(told), encoding="utf-8")
    solving.reports_written(bpy.context.scene, solving.request_again(bpy.context))
    assert known.warnings == "first line\nsecond"
