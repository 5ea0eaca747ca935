"""Every preset comes back: joints to a millimetre, the frames and the rate, the rest pose, in metres."""

import contextlib
import io

import bpy
import numpy as np
import pytest
from sightline.addon.host.export import Exported, RigChoice, export
from sightline.addon.host.export_formats import FORMATS, file_name, missing_exporter
from sightline.addon.host.performance import performance_of
from sightline.addon.host.rig_files import find_rig
from sightline.addon.host.rigs import make_rig
from sightline.addon.host.scene import TakeInfo, build_scene
from sightline.inference.errors import InputError
from sightline.inference.files.c3d import read_c3d
from sightline.inference.files.trc import read_trc

TAKE = "Täke 1 ü"
quiet = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


def heads(item, names, frames):
    """(T, B, 3) bone heads in the world."""
    rows = []
    for frame in frames:
        bpy.context.scene.frame_set(frame)
        shown = item.evaluated_get(bpy.context.evaluated_depsgraph_get())
        rows.append([shown.matrix_world @ shown.pose.bones[name].head for name in names])
    return np.array(rows)


def read_fbx(path, fps):
    if fps == round(fps):
        bpy.ops.import_scene.fbx(filepath=path, anim_offset=0.0)
    elif "fbx_import" in dir(bpy.ops.wm):
        bpy.ops.wm.fbx_import(filepath=path, anim_offset=0.0)
    else:
        pytest.skip("no importer of this Blender reads fractional rates")


READERS = {
    "fbx": read_fbx,
    "bvh": lambda path, fps: bpy.ops.import_anim.bvh(filepath=path, axis_forward="Y", axis_up="Z"),
    "usd": lambda path, fps: bpy.ops.wm.usd_import(filepath=path),
    "glb": lambda path, fps: bpy.ops.import_scene.gltf(filepath=path),
}


def again(path, fps):
    """The armatures of a file in an empty scene of the same rate."""
    rate = bpy.context.scene.render.fps, bpy.context.scene.render.fps_base
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    bpy.context.scene.render.fps, bpy.context.scene.render.fps_base = rate
    with contextlib.redirect_stdout(io.StringIO()):
        READERS[path.suffix[1:]](str(path), fps)
    return [item for item in bpy.context.scene.objects if item.type == "ARMATURE"]


@quiet
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("rig", "fps", "start", "units"),
    [(None, 50.0, 1, 0.01), ("unreal", 24000 / 1001, 101, 1.0), ("mixamo", 25.0, 0, 1.0)],
)
def test_it_comes_back(empty_scene, make_body, tmp_path, name, rig, fps, start, units):
    if missing_exporter(name):
        pytest.skip(missing_exporter(name))
    scene, solution = empty_scene.scene, make_body(T=9, fps=fps)
    scene.frame_start, scene.unit_settings.scale_length = start, units
    (item,) = build_scene(empty_scene, solution, TakeInfo(TAKE)).armatures
    names, choice = ("hips", *solution.motion.skeleton.bone_names), None
    if rig:
        choice = RigChoice(find_rig(rig), solution, "A", "root")
        item = make_rig(empty_scene, performance_of(scene, item, solution), choice.target, "A", "root")
        names = tuple(bone.name for bone in item.data.bones)
    frames = range(start + 2, start + 7)
    before = heads(item, names, frames) * units
    rest = np.array([item.data.bones[bone].head_local for bone in names]) * units
    scene.frame_set(start + 5)
    objects, actions = len(bpy.data.objects), len(bpy.data.actions)

    exported = Exported(TAKE, solution.solved, frames=(frames[0], frames[-1]), rig=choice)
    (path,) = export(empty_scene, exported, name, tmp_path / "ein Ordner" / file_name(TAKE, name))
    assert (len(bpy.data.objects), len(bpy.data.actions)) == (objects, actions)
    assert (scene.frame_start, scene.frame_end, scene.frame_current) == (start, start + 8, start + 5)

    (back,) = again(path, fps)
    if name == "usd":  # its names have no colons
        names = tuple(bone.replace(":", "_") for bone in names)
    first = 1 if name == "bvh" else frames[0]  # BVH knows no frame numbers
    found = heads(back, names, range(first, first + len(frames)))
    assert np.abs(found - before).max() < 1e-3
    world = np.array([back.matrix_world @ back.data.bones[bone].head_local for bone in names])
    assert np.abs(world - rest).max() < 1e-3
    assert tuple(back.animation_data.action.frame_range) == pytest.approx((first, first + 4), abs=1e-2)


def test_rates_are_written(empty_scene, make_body, tmp_path):
    solution = make_body(T=5, fps=24000 / 1001)
    build_scene(empty_scene, solution, TakeInfo(TAKE))
    (path,) = export(empty_scene, Exported(TAKE, solution.solved), "bvh", tmp_path / "a.bvh")
    assert float(path.read_text().split("Frame Time:")[1].split()[0]) == pytest.approx(1001 / 24000, abs=1e-6)
    (path,) = export(empty_scene, Exported(TAKE, solution.solved), "fbx_unreal", tmp_path / "a.fbx")
    (path,) = export(empty_scene, Exported(TAKE, solution.solved), "c3d", tmp_path / "a.c3d")
    assert read_c3d(path).timestamps_s[1] == pytest.approx(1001 / 24000, rel=1e-5)


def test_only_the_chosen_person_and_frames(empty_scene, make_body, tmp_path):
    empty_scene.scene.frame_start = 11
    solution = make_body(T=6, persons=2)
    build_scene(empty_scene, solution, TakeInfo(TAKE))
    exported = Exported(TAKE, solution.solved, persons=(1,), frames=(12, 14))
    (path,) = export(empty_scene, exported, "trc", tmp_path / "a.trc")
    np.testing.assert_allclose(read_trc(path).xyz[:, 0], solution.solved.xyz[1:4, 1], atol=1e-5)
    (path,) = export(empty_scene, exported, "fbx", tmp_path / "a.fbx")
    (back,) = again(path, 30.0)
    assert back["sightline_person"] == 1 if "sightline_person" in back else "2" in back.name
    assert tuple(back.animation_data.action.frame_range) == pytest.approx((12, 14), abs=1e-3)


def test_people_and_frames_that_are_not_there(empty_scene, make_body, tmp_path):
    solution = make_body(T=6)
    build_scene(empty_scene, solution, TakeInfo(TAKE))
    with pytest.raises(InputError, match="no person 3; it has 1"):
        export(empty_scene, Exported(TAKE, solution.solved, persons=(2,)), "trc", tmp_path / "a.trc")
    with pytest.raises(InputError, match="frames 40 to 50 are outside of take .*, which is frames 1 to 6"):
        export(empty_scene, Exported(TAKE, solution.solved, frames=(40, 50)), "fbx", tmp_path / "a.fbx")
    choice = RigChoice(find_rig("vrm"), solution, "B")
    with pytest.raises(InputError, match="unknown rest pose 'B'"):
        export(empty_scene, Exported(TAKE, solution.solved, rig=choice), "fbx", tmp_path / "a.fbx")
    assert list(tmp_path.iterdir()) == [] and not [o for o in bpy.data.objects if o.get("sightline_kind") == "rig"]


def test_ellipsoids_go_with_their_person(empty_scene, make_body, tmp_path):
    solution = make_body(T=3, persons=2)
    build_scene(empty_scene, solution, TakeInfo(TAKE))
    (path,) = export(empty_scene, Exported(TAKE, solution.solved, True, (0,)), "fbx", tmp_path / "a.fbx")
    again(path, 30.0)
    assert sum(item.type == "EMPTY" for item in bpy.data.objects) == len(solution.solved.joint_names)


def test_the_axes_and_units_that_a_preset_promises(empty_scene, make_body, tmp_path):
    """Read off the files: Z up for Unreal, Y up elsewhere, and how many centimetres a unit is."""
    solution = make_body(T=3)
    build_scene(empty_scene, solution, TakeInfo(TAKE))
    found = {}
    for name in ("fbx", "fbx_unreal", "fbx_unity", "fbx_maya"):
        (path,) = export(empty_scene, Exported(TAKE, solution.solved), name, tmp_path / f"{name}.fbx")
        found[name] = global_settings(path)
    assert {name: each["UpAxis"] for name, each in found.items()} == {
        "fbx": 1,
        "fbx_unreal": 2,
        "fbx_unity": 1,
        "fbx_maya": 1,
    }
    units = {name: each["UnitScaleFactor"] for name, each in found.items()}
    assert units == {"fbx": 1.0, "fbx_unreal": 100.0, "fbx_unity": 100.0, "fbx_maya": 100.0}


def global_settings(path):
    """The numbers of an FBX file's GlobalSettings."""
    from io_scene_fbx import parse_fbx

    root, _ = parse_fbx.parse(str(path))
    settings = next(each for each in root.elems if each.id == b"GlobalSettings")
    rows = next(each for each in settings.elems if each.id == b"Properties70").elems
    return {row.props[0].decode(): row.props[-1] for row in rows}
