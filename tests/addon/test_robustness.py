"""What users do to files and scenes: odd names, deleted objects, saved and reopened, appended elsewhere, undone."""

import bpy
import numpy as np
import pytest
from sightline.addon.host.parts import parts_in
from sightline.addon.host.scene import TakeInfo, build_scene
from sightline.addon.operators.footage import look_at
from sightline.addon.scene_take import write_scene_take
from sightline.inference.take import read_take


def kinds(scene, take=None):
    return {kind: len(parts_in(scene, kind, take)) for kind in ("camera", "armature", "ellipsoid")}


def motion(armature):
    """The bones' matrices over a few frames, as evaluated."""
    values = []
    for frame in range(1, 8):
        bpy.context.scene.frame_set(frame)
        moved = armature.evaluated_get(bpy.context.evaluated_depsgraph_get())
        values.append([bone.matrix.copy() for bone in moved.pose.bones])
    return np.array(values)


def test_deleted_objects_come_back_with_the_next_solve(empty_scene, make_solution):
    solution = make_solution()
    built = build_scene(empty_scene, solution, TakeInfo("balancing"))
    before = kinds(empty_scene.scene)
    for item in (built.armatures[0], built.cameras[0]):
        bpy.data.objects.remove(item)
    for collection in list(bpy.data.collections)[1:2]:
        bpy.data.collections.remove(collection)
    build_scene(empty_scene, solution, TakeInfo("balancing"))
    assert kinds(empty_scene.scene) == before


def test_saved_closed_reopened_and_solved_again(empty_scene, make_solution, tmp_path, registered):
    solution = make_solution()
    build_scene(empty_scene, solution, TakeInfo("Übung eins"))
    before, path = kinds(empty_scene.scene), tmp_path / "Datei mit ä und 空白.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    bpy.ops.wm.open_mainfile(filepath=str(path))
    assert kinds(bpy.context.scene) == before
    shown = motion(parts_in(bpy.context.scene, "armature")[0])
    build_scene(bpy.context, solution, TakeInfo("Übung eins"))
    assert kinds(bpy.context.scene) == before
    assert np.allclose(motion(parts_in(bpy.context.scene, "armature")[0]), shown, atol=1e-5)


def test_a_scene_appended_elsewhere_is_known_and_moves(empty_scene, make_solution, tmp_path):
    solution = make_solution()
    build_scene(empty_scene, solution, TakeInfo("balancing"))
    before = kinds(empty_scene.scene)
    shown, name = motion(parts_in(empty_scene.scene, "armature")[0]), empty_scene.scene.name
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "one.blend"))
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    with bpy.data.libraries.load(str(tmp_path / "one.blend")) as (_, wanted):
        wanted.scenes = [name]
    bpy.context.window.scene = wanted.scenes[0]
    assert kinds(bpy.context.scene) == before
    assert np.allclose(motion(parts_in(bpy.context.scene, "armature")[0]), shown, atol=1e-5)
    build_scene(bpy.context, solution, TakeInfo("balancing"))
    assert kinds(bpy.context.scene) == before


def test_undo_across_a_solve(empty_scene, make_solution):
    """Back before the solve, forward again, and solved once more: never two copies."""
    bpy.ops.ed.undo_push(message="before")
    build_scene(empty_scene, make_solution(), TakeInfo("balancing"))
    built = kinds(bpy.context.scene)
    bpy.ops.ed.undo_push(message="solved")
    bpy.ops.ed.undo()
    assert kinds(bpy.context.scene) == {"camera": 0, "armature": 0, "ellipsoid": 0}
    bpy.ops.ed.redo()
    assert kinds(bpy.context.scene) == built
    bpy.ops.ed.undo()
    build_scene(bpy.context, make_solution(), TakeInfo("balancing"))
    assert kinds(bpy.context.scene) == built


@pytest.mark.parametrize(
    "path", [r"\\server\share\shot one\cam01.mp4", "//server/share/cam01.mp4", "/nirgends/ä b.mp4"]
)
def test_a_path_that_cannot_be_reached_is_one_line(registered, empty_scene, path):
    view = bpy.context.scene.sightline.views.add()
    view.name, view.video = "cam01", path
    look_at(view)
    assert "cam01" in view.problem and "\n" not in view.problem


def test_paths_relative_to_the_file_with_spaces_and_umlauts(registered, empty_scene, example_take, tmp_path):
    folder = tmp_path / "Aufnahmen ä ß" / "空 の"
    folder.mkdir(parents=True)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "Datei ö.blend"))
    known = bpy.context.scene.sightline
    for name in ("cam01", "cam02"):
        (folder / f"{name} é.mp4").write_bytes((example_take.parent / "videos" / f"{name}.mp4").read_bytes())
        view = known.views.add()
        view.name, view.video = name, f"//Aufnahmen ä ß/空 の/{name} é.mp4"
        look_at(view)
        assert view.problem == ""
    known.calibration_path = str(example_take.parent / "calibration.toml")
    take = read_take(write_scene_take(bpy.context))
    assert [view.video for view in take.views] == [str(folder / f"cam0{n} é.mp4") for n in (1, 2)]
