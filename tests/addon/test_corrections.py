"""Corrections in Blender: the list, the take's file, undo, and solving again; operators without a window."""

import bpy
import numpy as np
import pytest
from sightline.addon.host.parts import parts_in
from sightline.addon.scene_corrections import corrected_keypoints, kept_keypoints
from sightline.inference.files.corrections_toml import corrections_path, read_corrections, write_corrections
from sightline.inference.files.solution import read_solution


def told(take):
    return read_corrections(corrections_path(take))


def fix():
    return bpy.context.scene.sightline


def test_a_moved_keypoint_reaches_list_and_file(take):
    assert bpy.ops.sightline.move_keypoint(joint="left_wrist", place=(400, 300)) == {"FINISHED"}
    (correction,) = told(take)
    kept = kept_keypoints(bpy.context.scene)
    assert correction.start_s == correction.end_s == kept.views[0].timestamps_s[5]
    assert (correction.kind, correction.view, correction.person, correction.place) == ("move", "cam02", 1, (400, 300))
    joint = kept.views[0].joint_names.index("left_wrist")
    assert corrected_keypoints(bpy.context.scene)[1].xy[5, 0, joint].tolist() == [400, 300]


def test_solving_again_reaches_the_scene(take):
    """Without its keypoints in one of three views the wrist is less sure, the ankle hardly; the scene shows it."""
    file = take.parent / "take_sightline" / "solution.npz"
    before = read_solution(file).solved
    fix().fix_joint = "left_wrist"
    fix().fix_range, fix().fix_from, fix().fix_to = "RANGE", 11, 34
    bpy.ops.sightline.mark_wrong()
    assert bpy.ops.sightline.solve_again() == {"FINISHED"}
    after = read_solution(file).solved
    sigma = [np.sqrt(np.trace(joints.covariance[5, 0], axis1=-2, axis2=-1)) for joints in (before, after)]
    wrist, ankle = (before.joint_names.index(name) for name in ("left_wrist", "right_ankle"))
    grown = sigma[1] / sigma[0]
    assert grown[wrist] > 1.1 and abs(grown[ankle] - 1) < 0.05, grown
    item = next(o for o in parts_in(bpy.context.scene, "ellipsoid") if o["sightline_joint"] == "left_wrist")
    bpy.context.scene.frame_set(16)
    assert np.array(item.location) == pytest.approx(after.xyz[5, 0, wrist], abs=1e-5)
    assert np.abs(after.xyz[5, 0, wrist] - before.xyz[5, 0, wrist]).max() > 1e-4  # it is the new one that is shown


def test_moving_again_replaces(take):
    for x in (400, 410):
        bpy.ops.sightline.move_keypoint(joint="left_wrist", place=(x, 300))
    bpy.ops.sightline.move_keypoint(joint="left_wrist", place=(1, 1), view="cam01")
    bpy.context.scene.frame_set(17)
    bpy.ops.sightline.move_keypoint(joint="left_wrist", place=(420, 300))
    assert [correction.place[0] for correction in told(take)] == [410, 1, 420]


def test_ranges_limbs_and_dropped_views(take):
    times = kept_keypoints(bpy.context.scene).views[0].timestamps_s
    fix().fix_joint = "nose"
    bpy.ops.sightline.mark_wrong()
    bpy.ops.sightline.set_fix_range()
    bpy.context.scene.frame_set(20)
    bpy.ops.sightline.set_fix_range(end=True)
    bpy.ops.sightline.mark_wrong(all_joints=True)
    bpy.ops.sightline.swap_sides(limb="legs")
    bpy.ops.sightline.drop_view()
    wrong, everything, swap, drop = told(take)
    assert (wrong.joint, wrong.start_s, wrong.end_s) == ("nose", times[5], times[5])
    assert [item.joint for item in (everything, swap, drop)] == [None, "legs", None]
    assert [item.name for item in fix().corrections][1:3] == [
        "16-20, wrong, all, cam02",
        "16-20, swap, legs, cam02",
    ]
    assert all((item.start_s, item.end_s, item.view) == (times[5], times[9], "cam02") for item in (swap, drop))


def test_pins_at_the_cursor_and_at_a_moved_ellipsoid(take):
    bpy.context.scene.cursor.location = (0.1, 0.2, 1.3)
    fix().fix_joint = "right_wrist"
    bpy.ops.sightline.pin_joint(at="CURSOR")
    assert told(take)[0].place == pytest.approx((0.1, 0.2, 1.3), abs=1e-4)
    item = next(o for o in parts_in(bpy.context.scene, "ellipsoid") if o["sightline_joint"] == "left_ankle")
    bpy.context.view_layer.objects.active = item
    item.location = (0.5, 0.4, 0.3)
    bpy.context.view_layer.update()
    bpy.ops.sightline.pin_joint(at="OBJECT")
    assert (told(take)[1].joint, told(take)[1].person) == ("left_ankle", 1)
    assert told(take)[1].place == pytest.approx((0.5, 0.4, 0.3), abs=1e-4)


def test_disable_remove_clear(take):
    fix().fix_joint = "nose"
    bpy.ops.sightline.mark_wrong()
    bpy.ops.sightline.swap_sides(limb="arms")
    bpy.ops.sightline.change_corrections(what="TOGGLE", index=0)
    assert [item.kind for item in told(take)] == ["swap"] and len(fix().corrections) == 2
    bpy.ops.sightline.change_corrections(what="TOGGLE", index=0)
    assert [item.kind for item in told(take)] == ["wrong", "swap"]
    bpy.ops.sightline.change_corrections(what="REMOVE", index=0)
    assert [item.kind for item in told(take)] == ["swap"]
    bpy.ops.sightline.change_corrections(what="CLEAR")
    assert not corrections_path(take).exists() and not fix().corrections


def test_undo_reaches_the_file(take):
    fix().fix_joint = "nose"
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.sightline.mark_wrong("EXEC_DEFAULT", True)
    bpy.ops.sightline.swap_sides("EXEC_DEFAULT", True, limb="arms")
    bpy.ops.ed.undo()
    assert [item.kind for item in told(take)] == ["wrong"]
    bpy.ops.ed.undo()
    assert not told(take) and not fix().corrections
    bpy.ops.ed.redo()
    assert [item.kind for item in told(take)] == ["wrong"]


def test_the_blend_keeps_them_and_a_newer_file_wins(take, tmp_path):
    fix().fix_joint = "nose"
    bpy.ops.sightline.mark_wrong()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    bpy.ops.sightline.swap_sides(limb="arms")  # and not saved
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
    assert [item.kind for item in fix().corrections] == ["wrong"]
    bpy.context.scene.frame_set(17)
    bpy.ops.sightline.drop_view()
    assert [item.kind for item in told(take)] == ["wrong", "swap", "drop"]


def test_a_file_edited_by_hand_is_not_overwritten(take):
    fix().fix_joint = "nose"
    bpy.ops.sightline.mark_wrong()
    write_corrections(corrections_path(take), [*told(take), *told(take)])
    with pytest.raises(RuntimeError, match="press Reload"):
        bpy.ops.sightline.drop_view()
    assert len(fix().corrections) == 1
    bpy.ops.sightline.change_corrections(what="RELOAD")
    bpy.ops.sightline.drop_view()
    assert [item.kind for item in told(take)] == ["wrong", "wrong", "drop"]


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda _: bpy.context.scene.frame_set(99), "frame 99 is not of this take: it has frames 11 to 34"),
        (lambda _: setattr(fix(), "fix_joint", "tail"), "no such joint; they have nose"),
        (lambda _: setattr(fix(), "fix_person", 3), "person 3 is not one of the 1 solved"),
        (lambda _: setattr(bpy.context.scene, "camera", None), "look through one of the take's cameras first"),
        (lambda take: (take.parent / "take_sightline" / "keypoints.kept").unlink(), "solve in full"),
        (lambda take: take.parent.rename(take.parent.with_name("away")), "(solve in full|is gone)"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(take, prepare, said):
    fix().fix_joint = "nose"
    prepare(take)
    with pytest.raises(RuntimeError, match=said):
        bpy.ops.sightline.mark_wrong()
    assert not fix().corrections and not told(take)


def test_a_pin_out_of_this_world_is_refused_before_it_spoils_the_file(take):
    fix().fix_joint = "nose"
    bpy.context.scene.cursor.location = (0, 2e4, 0)
    with pytest.raises(RuntimeError, match="not within 10000 m of the origin"):
        bpy.ops.sightline.pin_joint(at="CURSOR")
    assert not fix().corrections and not told(take)


def test_nothing_to_fix_before_a_solve(registered, empty_scene):
    for name in ("mark_wrong", "drag_keypoints", "solve_again", "change_corrections"):
        assert not getattr(bpy.ops.sightline, name).poll()


def test_keypoints_of_another_state_say_so(take):
    take.write_text(take.read_text().replace("[calibration]", "persons = 2\n[calibration]"))
    with pytest.raises(RuntimeError, match="solve in full"):
        bpy.ops.sightline.solve_again()
    assert "solve in full" in bpy.context.window_manager.sightline.again_problem


def test_a_take_that_was_renamed_is_named(take):
    take.rename(take.with_name("other.toml"))
    with pytest.raises(RuntimeError, match="take.toml"):
        bpy.ops.sightline.solve_again()
