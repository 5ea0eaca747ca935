"""Files go out and come back: joints in place, frames kept, T pose as rest, nothing of the user's."""

import dataclasses

import bpy
import numpy as np
import pytest
from sightline.addon.host import export as exporting
from sightline.addon.host import export_formats
from sightline.addon.host.export import Exported, export
from sightline.addon.host.export_formats import check_formats
from sightline.addon.host.scene import TakeInfo, build_scene
from sightline.inference.errors import InputError, SolveError
from sightline.inference.files.c3d import read_c3d
from sightline.inference.files.trc import read_trc

INFO = TakeInfo("balancing")


def joints_of(armature, names, frames):
    """(T, B, 3) bone heads in the world."""
    rows = []
    for frame in frames:
        bpy.context.scene.frame_set(frame)
        item = armature.evaluated_get(bpy.context.evaluated_depsgraph_get())
        rows.append([item.matrix_world @ item.pose.bones[name].head for name in names])
    return np.array(rows)


def reimport(write):
    """Empty scene of the same rate, import, return the armatures."""
    scene = bpy.context.scene
    rate, extent = (scene.render.fps, scene.render.fps_base), (scene.frame_start, scene.frame_end)
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    bpy.context.scene.render.fps, bpy.context.scene.render.fps_base = rate
    write()
    return [o for o in bpy.context.scene.objects if o.type == "ARMATURE"], range(extent[0], extent[1] + 1)


def import_fbx(path, fps):
    """The Python importer reads times with the whole fps, so rates like 23.976 need the one in C++ (4.5 and later)."""
    if fps == round(fps):
        bpy.ops.import_scene.fbx(filepath=str(path), anim_offset=0.0)
    elif "fbx_import" in dir(bpy.ops.wm):
        bpy.ops.wm.fbx_import(filepath=str(path), anim_offset=0.0)
    else:
        pytest.skip("no importer of this Blender reads fractional rates")


@pytest.mark.parametrize(("fps", "start", "scale"), [(30.0, 1, 1.0), (24000 / 1001, 101, 1.0), (50.0, 1, 0.01)])
def test_fbx_comes_back_within_a_tenth_of_a_millimetre(empty_scene, make_solution, tmp_path, fps, start, scale):
    empty_scene.scene.frame_start = start
    empty_scene.scene.unit_settings.scale_length = scale
    solution = make_solution(T=8, fps=fps, persons=2)
    built = build_scene(empty_scene, solution, INFO)
    empty_scene.scene.frame_set(start + 3)
    (path,) = export(empty_scene, Exported("balancing", solution.solved), "fbx", tmp_path / "take.fbx")
    assert [p.name for p in tmp_path.iterdir()] == ["take.fbx"] and path.stat().st_size > 1000
    assert empty_scene.scene.frame_current == start + 3
    names = ("hips", *solution.motion.skeleton.bone_names)
    frames = range(start, start + 8)
    before = {a.name: joints_of(a, names, frames) * scale for a in built.armatures}
    rest = {a.name: np.array([a.data.bones[n].head_local for n in names]) * scale for a in built.armatures}
    again, _ = reimport(lambda: import_fbx(path, fps))
    assert {a.name for a in again} == set(before)
    for armature in again:
        assert np.abs(joints_of(armature, names, frames) - before[armature.name]).max() < 1e-4
        world = [armature.matrix_world @ armature.data.bones[n].head_local for n in names]
        assert np.abs(np.array(world) - rest[armature.name]).max() < 1e-4
        action = armature.animation_data.action
        assert tuple(action.frame_range) == pytest.approx((start, start + 7), abs=1e-3)


def test_fbx_does_not_depend_on_the_frame_and_leaves_the_users_objects_out(empty_scene, make_solution, tmp_path):
    solution = make_solution(T=6)
    (ours,) = build_scene(empty_scene, solution, INFO).armatures
    mine = bpy.data.objects.new("mine", bpy.data.armatures.new("mine"))
    empty_scene.scene.collection.objects.link(mine)
    mine.select_set(True)
    empty_scene.view_layer.objects.active = mine
    rests = []
    for frame in (1, 5):
        empty_scene.scene.frame_set(frame)
        export(empty_scene, Exported("balancing", solution.solved), "fbx", tmp_path / f"{frame}.fbx")
        assert mine.select_get() and empty_scene.view_layer.objects.active == mine
        assert ours.data.pose_position == "POSE" and not ours.select_get()
    for frame in (1, 5):
        (back,), _ = reimport(lambda f=frame: bpy.ops.import_scene.fbx(filepath=str(tmp_path / f"{f}.fbx")))
        rests.append(np.array([b.head_local for b in back.data.bones]))
    np.testing.assert_allclose(rests[0], rests[1], atol=1e-6)


def test_a_hidden_or_excluded_take_is_exported(empty_scene, make_solution, tmp_path):
    solution = make_solution(T=4)
    (armature,) = build_scene(empty_scene, solution, INFO).armatures
    armature.hide_select = True
    for child in empty_scene.view_layer.layer_collection.children:
        child.exclude = True
    (path,) = export(empty_scene, Exported("balancing", solution.solved), "fbx", tmp_path / "a.fbx")
    assert armature.hide_select and armature.name not in empty_scene.scene.collection.objects
    again, _ = reimport(lambda: bpy.ops.import_scene.fbx(filepath=str(path)))
    assert len(again) == 1


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)  # the importer's
def test_bvh_comes_back(empty_scene, make_solution, tmp_path):
    solution = make_solution(T=6, persons=2)
    built = build_scene(empty_scene, solution, INFO)
    paths = export(empty_scene, Exported("balancing", solution.solved), "bvh", tmp_path / "a.bvh")
    assert [p.name for p in paths] == ["a_person1.bvh", "a_person2.bvh"]
    names = ("hips", *solution.motion.skeleton.bone_names)
    before = joints_of(built.armatures[1], names, range(1, 7))
    (again,), _ = reimport(lambda: bpy.ops.import_anim.bvh(filepath=str(paths[1]), axis_forward="Y", axis_up="Z"))
    assert np.abs(joints_of(again, names, range(1, 7)) - before).max() < 1e-4


def test_usd_comes_back(empty_scene, make_solution, tmp_path):
    try:
        check_formats(["usd"])
    except InputError as problem:
        pytest.skip(str(problem))
    solution = make_solution(T=6)
    built = build_scene(empty_scene, solution, INFO)
    (path,) = export(empty_scene, Exported("balancing", solution.solved), "usd", tmp_path / "a.usd")
    names = ("hips", *solution.motion.skeleton.bone_names)
    before = joints_of(built.armatures[0], names, range(1, 7))
    (again,), _ = reimport(lambda: bpy.ops.wm.usd_import(filepath=str(path)))
    assert np.abs(joints_of(again, names, range(1, 7)) - before).max() < 1e-4


def test_trc_holds_all_persons(empty_scene, make_solution, tmp_path):
    solution = make_solution(T=6, persons=2)
    build_scene(empty_scene, solution, INFO)
    (path,) = export(empty_scene, Exported("balancing", solution.solved), "trc", tmp_path / "a.trc")
    again = read_trc(path)
    assert again.joint_names[:1] == ("person1_pelvis",) and again.joint_names[-1] == "person2_left_knee"
    np.testing.assert_allclose(again.xyz.reshape(6, 2, -1, 3), solution.solved.xyz, atol=1e-5)


def test_the_cleaned_armature_is_the_one_that_goes_out(empty_scene, make_solution):
    (armature,) = build_scene(empty_scene, make_solution(), INFO).armatures
    armature.keyframe_insert("location", frame=2)
    (fresh,) = build_scene(empty_scene, make_solution(), INFO).armatures
    assert exporting.armatures_to_export(empty_scene.scene, "balancing") == [armature] != [fresh]


def test_c3d_holds_all_persons_and_their_sigma(empty_scene, make_solution, tmp_path):
    solution = make_solution(T=6, persons=2)
    build_scene(empty_scene, solution, INFO)
    (path,) = export(empty_scene, Exported("balancing", solution.solved), "c3d", tmp_path / "a.c3d")
    again = read_c3d(path)
    assert again.joint_names[:1] == ("person1_pelvis",) and again.joint_names[-1] == "person2_left_knee"
    np.testing.assert_allclose(again.xyz.reshape(6, 2, -1, 3), solution.solved.xyz, atol=1e-5)
    sigma = np.sqrt(np.trace(solution.solved.covariance, axis1=-2, axis2=-1) / 3)
    written = np.sqrt(again.covariance[..., 0, 0]).reshape(sigma.shape)
    seen = solution.solved.observed
    np.testing.assert_array_equal(np.isfinite(written), seen)
    assert (written >= np.minimum(sigma, 0.0635) - 1e-9)[seen].all() and (written <= sigma + 0.0005 + 1e-9)[seen].all()


def test_csv_has_a_row_per_joint(empty_scene, make_solution, tmp_path):
    solution = make_solution(T=6, persons=2)
    build_scene(empty_scene, solution, INFO)
    (path,) = export(empty_scene, Exported("balancing", solution.solved), "csv", tmp_path / "a.csv")
    assert len(path.read_text().splitlines()) == 1 + 6 * 2 * len(solution.solved.joint_names)


def test_what_cannot_be_written_is_an_input_error():
    with pytest.raises(InputError, match="unknown export format 'obj'"):
        check_formats(["fbx", "obj"])


def test_a_missing_operator_is_named(monkeypatch):
    form = dataclasses.replace(export_formats.FORMATS["usd"], operator=("wm", "no_such_export"))
    monkeypatch.setitem(export_formats.FORMATS, "usd", form)
    with pytest.raises(InputError, match=r"bpy\.ops\.wm\.no_such_export"):
        check_formats(["usd"])


def test_nothing_is_left_where_the_exporter_fails(empty_scene, make_solution, tmp_path, monkeypatch):
    solution = make_solution()
    build_scene(empty_scene, solution, INFO)
    write = lambda scene, path: path.with_suffix(".part").write_text("half")  # noqa: E731
    monkeypatch.setattr(exporting, "writer", lambda name: write)
    with pytest.raises(SolveError, match="no file"):
        export(empty_scene, Exported("balancing", solution.solved), "fbx", tmp_path / "a.fbx")
    assert list(tmp_path.iterdir()) == []


def test_a_take_that_is_not_there(empty_scene, make_solution, tmp_path):
    with pytest.raises(InputError, match="'other' has no armature"):
        export(empty_scene, Exported("other", make_solution().solved), "fbx", tmp_path / "a.fbx")
