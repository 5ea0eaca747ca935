"""A result on disk that is newer than the scene: said, entered when asked for, and warned of at export."""

import os

import bpy
import numpy as np
import pytest
from sightline.addon import solving
from sightline.addon.host.parts import parts_in
from sightline.addon.trusting import LIGHT, LIGHT_WHY
from sightline.inference.files.solution import read_solution


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
