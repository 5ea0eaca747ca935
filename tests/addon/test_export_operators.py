"""The buttons of the panel Export, on a scene that two solves left."""

import bpy
import pytest
from sightline.addon import solving
from sightline.addon.host import export_formats
from sightline.addon.host.parts import ensure_take_collection
from sightline.addon.host.scene import TakeInfo, build_scene
from sightline.addon.panels.export import SIGHTLINE_PT_export, SIGHTLINE_PT_files
from sightline.inference.files.solution import write_solution
from sightline.inference.files.trc import read_trc


@pytest.fixture
def known(registered, empty_scene, make_body, tmp_path):
    scene = bpy.context.scene
    for take, persons in (("eins", 2), ("zwei", 1)):
        path = tmp_path / take / "solution.npz"
        path.parent.mkdir()
        solution = make_body(T=6, persons=persons)
        write_solution(path, solution)
        build_scene(empty_scene, solution, TakeInfo(take))
        ensure_take_collection(scene, take)[solving.SOLUTION] = str(path)
        scene.sightline.take, scene.sightline.solution_path = take, str(path)
    return scene.sightline


def files(tmp_path):
    return sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".npz")


def test_several_takes_formats_and_a_range(known, tmp_path):
    known.formats = {"fbx_unreal", "gltf", "trc"}
    known.rig, known.rest_pose, known.rig_root, known.export_all_takes = "unreal_manny", "A", "root", True
    known.export_range = "TIMELINE"
    scene = bpy.context.scene
    scene.use_preview_range, scene.frame_preview_start, scene.frame_preview_end = True, 2, 4
    assert bpy.ops.sightline.export_take() == {"FINISHED"}
    assert files(tmp_path) == [f"{t}/{t}{e}" for t in ("eins", "zwei") for e in (".glb", ".trc", "_unreal.fbx")]
    assert len(read_trc(tmp_path / "eins" / "eins.trc").timestamps_s) == 3
    assert scene.use_preview_range and len([o for o in bpy.data.objects if o.type == "ARMATURE"]) == 3
    known.formats = set()
    with pytest.raises(RuntimeError, match="choose a format"):
        bpy.ops.sightline.export_take()


def test_a_new_armature_and_a_character(known):
    known.take = "eins"
    home = next(c for c in bpy.context.scene.collection.children_recursive if c.get("sightline_take") == "eins")
    known.solution_path, known.rig, known.export_person = home[solving.SOLUTION], "mixamo", 2
    assert bpy.ops.sightline.make_rig() == {"FINISHED"}
    (made,) = [o for o in bpy.data.objects if o.get("sightline_kind") == "rig"]
    mine = bpy.data.objects.new("mein Held", made.data.copy())
    bpy.context.scene.collection.objects.link(mine)
    bpy.context.view_layer.objects.active = mine
    assert bpy.ops.sightline.retarget.poll() and bpy.ops.sightline.retarget() == {"FINISHED"}
    for frame in (1, 6):
        bpy.context.scene.frame_set(frame)
        apart = mine.pose.bones["mixamorig:LeftHand"].head - made.pose.bones["mixamorig:LeftHand"].head
        assert apart.length < 1e-3
    known.rig = "vrm"
    with pytest.raises(RuntimeError, match="not named as those of VRM"):
        bpy.ops.sightline.retarget()
    known.export_person = 3
    with pytest.raises(RuntimeError, match="no person 3 of take 'eins'"):
        bpy.ops.sightline.make_rig()
    known.rig = "AS_SOLVED"
    with pytest.raises(RuntimeError, match="choose a naming"):
        bpy.ops.sightline.make_rig()


def test_our_own_armature_is_no_character(known):
    bpy.context.view_layer.objects.active = next(o for o in bpy.data.objects if o.type == "ARMATURE")
    assert not bpy.ops.sightline.retarget.poll()


class Drawn:
    """A layout that writes down what is drawn: Blender has none without a window."""

    def __init__(self, log):
        self.log, self.enabled = log, True

    def __getattr__(self, name):
        def draw(*arguments, **options):
            if name in ("row", "column", "grid_flow", "box"):
                return Drawn(self.log)
            self.log.append((name, self, *arguments, *options.values()))

        return draw


def test_a_format_without_operator_is_grey_and_says_why(known, monkeypatch):
    for absent in (False, True):
        if absent:
            form = export_formats.FORMATS["usd"]
            monkeypatch.setitem(export_formats.FORMATS, "usd", type(form)(form.label, "usd", ("wm", "no_such_export")))
        log = []
        panel = type("Panel", (), {"layout": Drawn(log)})
        SIGHTLINE_PT_files.draw(panel, bpy.context)
        (cell,) = [row[1] for row in log if row[0] == "prop_enum" and row[-1] == "usd"]
        assert cell.enabled is not absent
        said = " ".join(str(row[2]) for row in log if row[0] == "label")
        assert ("bpy.ops.wm.no_such_export" in said) is absent
    log = []
    SIGHTLINE_PT_export.draw(type("Panel", (), {"layout": Drawn(log)}), bpy.context)
    assert {"rig", "rest_pose", "rig_root", "export_person"} <= {row[-1] for row in log if row[0] == "prop"}
