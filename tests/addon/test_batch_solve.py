"""The batch command around a child process of known result: files, scenes, exit codes, one line of error."""

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import bpy
import numpy as np
import pytest
from sightline.addon import solving
from sightline.inference.files.solution import read_solution, write_solution

ROOT = Path(__file__).resolve().parents[2]


def _load():
    spec = importlib.util.spec_from_file_location("batch_solve", ROOT / "tools" / "batch_solve.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BATCH = _load()


def write_take(folder, name="balancing"):
    """A take that reads well; what stands in its files is never looked at here."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rig.toml").write_text("")
    text = f'[take]\nname = "{name}"\n[calibration]\nsource = "rig.toml"\n'
    for view in ("cam01", "cam02"):
        (folder / view).mkdir(exist_ok=True)
        text += f'[[view]]\nname = "{view}"\nkeypoints = "{view}"\nkeypoint_layout = "coco_17"\nfps = 30\n'
    (folder / "take.toml").write_text(text)
    return folder / "take.toml"


@pytest.fixture
def child(monkeypatch, make_solution, tmp_path):
    """Let the child process hand out a solution made beforehand, or do as told."""
    write_solution(tmp_path / "made.npz", make_solution(T=6))
    good = (
        "import json, os, shutil, sys\n"
        "print(json.dumps({'stage': 'detect', 'done': 1, 'total': 2, 'seconds_left': 1.0}))\n"
        "os.makedirs(sys.argv[2], exist_ok=True)\n"
        f"shutil.copy({str(tmp_path / 'made.npz')!r}, os.path.join(sys.argv[2], 'solution.npz'))\n"
        "print(json.dumps({'done_file': os.path.join(sys.argv[2], 'solution.npz')}))\n"
    )

    def tell(code=good):
        def command(take, out, *_settings):
            return [sys.executable, "-c", code, str(take), str(out)]

        monkeypatch.setattr(solving, "worker_command", command)

    tell()
    return tell


@pytest.fixture(autouse=True)
def no_open_file():
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_one_take(child, tmp_path, capsys):
    take, out = write_take(tmp_path / "in"), tmp_path / "new" / "out"
    for _ in range(2):  # the second run replaces, and leaves no backup
        code = BATCH.main([str(take), "--out", str(out), "--export", "fbx,bvh,trc", "--progress", "json"])
        assert code == 0, capsys.readouterr().err
        assert names(out) == ["balancing.blend", "balancing.bvh", "balancing.fbx", "balancing.trc", "solution.npz"]
    assert '{"stage": "detect"' in capsys.readouterr().out
    assert not hasattr(bpy.types.Scene, "sightline")
    bpy.ops.wm.open_mainfile(filepath=str(out / "balancing.blend"))
    kinds = sorted(o.type for o in bpy.data.objects if o.type != "EMPTY")
    assert kinds == ["ARMATURE", "CAMERA", "CAMERA", "CAMERA"]
    assert (bpy.context.scene.frame_start, bpy.context.scene.frame_end) == (1, 6)


def test_presets_naming_and_frames(child, tmp_path, capsys):
    out = tmp_path / "out"
    rig = ["--rig", "mixamo", "--rest", "A", "--path", "root", "--person", "1", "--frames", "2:4"]
    take = str(write_take(tmp_path / "in"))
    code = BATCH.main([take, "--out", str(out), "--export", "fbx:unity,glTF,csv", *rig, "--progress", "none"])
    assert code == 0, capsys.readouterr().err
    assert names(out) == ["balancing.blend", "balancing.csv", "balancing.glb", "balancing_unity.fbx", "solution.npz"]
    assert len((out / "balancing.csv").read_text().splitlines()) == 1 + 3 * 8
    bpy.ops.import_scene.fbx(filepath=str(out / "balancing_unity.fbx"), anim_offset=0.0)
    (item,) = (item for item in bpy.context.selected_objects if item.type == "ARMATURE")
    assert {"Root", "mixamorig:Hips", "mixamorig:LeftForeArm"} <= set(item.data.bones.keys())
    assert tuple(item.animation_data.action.frame_range) == pytest.approx((2, 4), abs=1e-3)


def test_warnings_of_the_solve_are_told(child, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.json").write_text('{"warnings": ["cam01 does not fit"]}')
    assert BATCH.main([str(write_take(tmp_path / "in")), "--out", str(tmp_path / "out")]) == 0
    assert "warning: cam01 does not fit\n" in capsys.readouterr().err


def test_several_takes_have_a_folder_each(child, tmp_path):
    takes = [str(write_take(tmp_path / name, name)) for name in ("one", "two")]
    assert BATCH.main([*takes, "--out", str(tmp_path / "out"), "--progress", "none"]) == 0
    assert names(tmp_path / "out") == ["one", "two"]
    assert names(tmp_path / "out" / "two") == ["solution.npz", "two.blend"]
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "out" / "two" / "two.blend"))
    assert {o["sightline_take"] for o in bpy.data.objects} == {"two"}


def test_an_open_file_is_updated_and_saved_under_its_name(child, tmp_path):
    cube = bpy.data.objects.new("mine", None)
    bpy.context.scene.collection.objects.link(cube)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    take = write_take(tmp_path / "in")
    counts = []
    for _ in range(2):
        assert BATCH.main([str(take), "--out", str(tmp_path / "out"), "--progress", "none"]) == 0
        assert names(tmp_path / "out") == ["solution.npz"]
        bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
        counts.append((len(bpy.data.objects), len(bpy.data.actions)))
        assert "mine" in bpy.data.objects and "balancing person 1" in bpy.data.objects
    assert counts[0] == counts[1]


def test_wrong_input_is_one_line_and_leaves_nothing(child, tmp_path, capsys):
    take = str(write_take(tmp_path / "in"))
    out = tmp_path / "out"
    for arguments in (
        [str(tmp_path / "no.toml"), "--out", str(out)],
        [take, "--out", str(out), "--export", "fbx,obj"],
        [take, "--out", str(out), "--export", "fbx:godot"],
        [take, "--out", str(out), "--rig", "spider"],
        [take, "--out", str(out), "--rest", "A"],
        [take, "--out", str(out), "--frames", "5:1"],
        [take, "--out", str(out), "--person", "-1"],
        [take, take, "--out", str(out)],
        [take, "--out", str(out), "--set", "no_such=1"],
        [take],
    ):
        assert BATCH.main(arguments) == 2, arguments
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and "Traceback" not in said, said
        assert not out.exists()
    assert BATCH.main([str(tmp_path / "no.toml"), "--out", str(out), "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "wanted", "message"),
    [
        ('print(\'{"error": "cam01: no person", "exit_code": 2}\'); raise SystemExit(2)', 2, "cam01: no person"),
        ('print(\'{"error": "degenerate", "exit_code": 3}\'); raise SystemExit(3)', 3, "degenerate"),
        ("import os; os.abort()", 3, "code -6"),
        ("raise SystemExit(130)", 130, "cancelled"),
    ],
)  # fmt: skip
def test_failures_of_the_solve(child, tmp_path, capsys, code, wanted, message):
    child(code)
    assert (
        BATCH.main([str(write_take(tmp_path / "in")), "--out", str(tmp_path / "out"), "--progress", "none"]) == wanted
    )
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not (tmp_path / "out").exists() and not bpy.data.objects
    assert not hasattr(bpy.types.Scene, "sightline")


def test_a_term_signal_cancels(child, tmp_path):
    child("import os, sys\nos.kill(os.getppid(), 15)\nfor line in sys.stdin: raise SystemExit(130)")
    assert BATCH.main([str(write_take(tmp_path / "in")), "--out", str(tmp_path / "out")]) == 130


def test_a_stage_that_ends_around_another_is_told_once(capsys):
    BATCH.load_extension()
    event = BATCH.part("addon.job").Event
    with BATCH._shown("bar") as show:
        for stage, done in (("keypoints", 0), ("detect", 0), ("detect", 1), ("keypoints", 1), ("joints", 0)):
            show(event(stage, done, 1, None, ""))
    assert capsys.readouterr().out.splitlines() == ["keypoints …", "detect …", "joints …"]


def test_signal_handlers_that_are_not_pythons_can_be_put_back(monkeypatch):
    """Inside Blender the handler before ours is one in C, which Python shows as None."""
    handlers = {signal.SIGINT: None, signal.SIGTERM: None}

    def set_handler(number, handler):
        if handler is None:
            raise TypeError("signal handler must be a callable object")
        before, handlers[number] = handlers[number], handler
        return before

    monkeypatch.setattr(BATCH.signal, "signal", set_handler)
    with BATCH._signals_cancel():
        assert callable(handlers[signal.SIGINT])
    assert set(handlers.values()) == {signal.SIG_DFL}


def test_the_process_returns_the_code(tmp_path):
    """The whole command in a Python of its own, where the exit is the trap."""
    command = [sys.executable, str(ROOT / "tools" / "batch_solve.py"), "--", str(tmp_path / "no.toml")]
    done = subprocess.run([*command, "--out", str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "no.toml" in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert subprocess.run([*command[:2], "--", "--help"], capture_output=True, timeout=120).returncode == 0
    assert os.listdir(tmp_path) == []


def test_the_operator_solves_through_the_same_function(child, tmp_path, registered):
    chosen = bpy.context.scene.sightline
    chosen.take_path = str(write_take(tmp_path / "in"))
    assert bpy.ops.sightline.solve_take() == {"FINISHED"}
    assert names(tmp_path / "in" / "take_sightline") == ["solution.npz"]
    assert chosen.summary.split("\n")[:3] == [
        "Frames: 6, persons: 1",
        "Joints observed: 83%",
        "Seen little: left knee 0%",
    ]
    chosen.formats = {"fbx"}
    assert bpy.ops.sightline.export_take() == {"FINISHED"}
    assert (tmp_path / "in" / "take_sightline" / "balancing.fbx").is_file()
    with pytest.raises(RuntimeError, match="not there any more"):
        bpy.ops.sightline.open_report()


def test_the_operator_refuses_in_one_line_and_works_again(child, tmp_path, registered):
    with pytest.raises(RuntimeError, match="choose a take.toml"):
        bpy.ops.sightline.solve_take()
    take = str(write_take(tmp_path / "in"))
    child('print(\'{"error": "view cam01: no person", "exit_code": 2}\'); raise SystemExit(2)')
    with pytest.raises(RuntimeError, match="view cam01: no person"):
        bpy.ops.sightline.solve_take(take_path=take)
    assert not bpy.data.objects
    child()
    assert bpy.ops.sightline.solve_take() == {"FINISHED"}


def test_the_real_take_from_its_keypoints(shared_data, tmp_path, capsys):
    """The whole way: child process, solve, scene, files; 30 frames of four views."""
    folder = shared_data / "pose2sim_single"
    text = f'[take]\nname = "balancing"\nend = 0.5\n[calibration]\nsource = "{folder}/calibration/Calib.qca.txt"\n'
    for number in range(1, 5):
        text += f'[[view]]\nname = "cam0{number}"\nvideo = "{folder}/videos/cam0{number}.mp4"\n'
        text += f'keypoints = "{folder}/openpose_body25b/cam0{number}_json"\nkeypoint_layout = "body_25b"\n'
        text += 'fit = "letterbox"\n' if number < 3 else ""
    (tmp_path / "take.toml").write_text(text)
    out = tmp_path / "out"
    assert BATCH.main([str(tmp_path / "take.toml"), "--out", str(out), "--export", "fbx,trc"]) == 0, capsys.readouterr()
    found = names(out)
    assert [name for name in found if name.endswith((".blend", ".fbx", ".trc", ".npz"))] == [
        "balancing.blend",
        "balancing.fbx",
        "balancing.trc",
        "solution.npz",
    ]
    assert "report.html" in found and "report.json" in found
    bpy.ops.wm.open_mainfile(filepath=str(out / "balancing.blend"))
    scene = bpy.context.scene
    solution = read_solution(out / "solution.npz")
    assert scene.frame_end - scene.frame_start + 1 == len(solution.solved.timestamps_s)
    (armature,) = (item for item in scene.objects if item.type == "ARMATURE")
    skeleton = solution.motion.skeleton
    order = [solution.solved.joint_names.index(name) for name in skeleton.joint_names[1:]]
    scene.frame_set(scene.frame_end)
    item = armature.evaluated_get(bpy.context.evaluated_depsgraph_get())
    tails = np.array([item.matrix_world @ item.pose.bones[bone].tail for bone in skeleton.bone_names])
    apart = np.linalg.norm(tails - solution.solved.xyz[-1, 0, order], axis=-1)
    assert np.isfinite(apart).mean() > 0.9 and np.nanmax(apart) < 1e-4
