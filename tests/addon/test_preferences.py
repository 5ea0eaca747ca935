"""The preferences: another Python that is tried for real, the command that makes one, the models."""

import importlib
import os
import shlex
import sys
import time
import tomllib
from pathlib import Path

import bpy
import pytest
from sightline.addon import errands, known_models, preferences, solving
from sightline.addon.job import foreign_environment
from sightline.addon.operators import example
from sightline.addon.operators.models import _adapting, adapted, adapting_impossible, describe_python
from sightline.addon.preferences import PACKAGE, environment_command, hint
from sightline.addon.scene_take import missing_cameras, missing_footage
from sightline.inference.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def enabled(registered, empty_scene, monkeypatch, tmp_path):
    """Our preferences, as of an enabled extension; models in a folder of their own."""
    monkeypatch.setenv("SIGHTLINE_MODELS", str(tmp_path / "models"))
    known_models.forget_models()
    entry = bpy.context.preferences.addons.new()
    entry.module = PACKAGE
    yield entry.preferences
    errands.end()
    bpy.context.preferences.addons.remove(entry)
    known_models.forget_models()


def finished(limit_s=60.0):
    """Poll the errand as Blender's timer does; return what came of it, and whether it failed."""
    end = time.monotonic() + limit_s
    while errands.poll() is not None:
        assert time.monotonic() < end
        time.sleep(0.02)
    status = bpy.context.window_manager.sightline
    return status.errand_result, status.errand_failed


def test_without_an_enabled_extension_blenders_own_python_solves(registered):
    assert preferences.preferences() is None and preferences.chosen_python() == ""


def test_blenders_own_python_is_tried(enabled, monkeypatch, blazepose_card):
    monkeypatch.delenv("SIGHTLINE_MODELS")
    assert bpy.ops.sightline.test_python() == {"FINISHED"}
    assert not bpy.ops.sightline.test_python.poll()
    text, failed = finished()
    assert not failed and "images/s on cpu" in text and text.startswith("Python 3.11")


def test_a_python_that_lacks_something_says_exactly_what(enabled, tmp_path):
    """A bare environment: the reason and the command that mends it."""
    import venv

    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    enabled.python = str(tmp_path / "bare" / "bin" / "python")
    bpy.ops.sightline.test_python()
    text, failed = finished()
    assert failed and text.endswith(f"cannot import numpy; run: {enabled.python} -m pip install numpy")


def _take(folder):
    """A take file that can be read; nothing in it can be solved."""
    (folder / "rig.toml").touch()
    text = '[take]\nname = "a"\n[calibration]\nsource = "rig.toml"\n'
    for view in ("cam01", "cam02"):
        (folder / view).mkdir()
        text += f'[[view]]\nname = "{view}"\nkeypoints = "{view}"\nkeypoint_layout = "coco_17"\nfps = 30\n'
    (folder / "take.toml").write_text(text)
    return folder / "take.toml"


def test_a_python_that_is_not_there_or_is_none(enabled, tmp_path):
    enabled.python = str(tmp_path / "nothing")
    with pytest.raises(RuntimeError, match="is not there; choose another"):
        bpy.ops.sightline.test_python()
    with pytest.raises(InputError, match="is not there"):
        solving.start(solving.request_for(_take(tmp_path)))
    enabled.python = str(ROOT / "README.md")
    with pytest.raises(RuntimeError, match="README.md could not be started"):
        bpy.ops.sightline.test_python()


def test_the_chosen_python_solves_and_sees_nothing_of_blenders(enabled, monkeypatch, tmp_path):
    seen = {}
    monkeypatch.setattr(solving, "Job", lambda command, environment: seen.update(command=command, env=environment))
    chosen = tmp_path / "python"
    chosen.touch()
    enabled.python = str(chosen)
    solving.start(solving.request_for(_take(tmp_path)))
    assert seen["command"][0] == str(chosen) and seen["env"]["PYTHONPATH"] == str(ROOT)


def test_a_foreign_python_keeps_its_own_packages():
    found = foreign_environment({"PYTHONPATH": "/mine", "PYTHONHOME": "/blender", "A": "b"})
    assert found["PYTHONPATH"] == str(ROOT) and "PYTHONHOME" not in found and found["A"] == "b"


def test_the_command_installs_what_the_worker_needs():
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    wanted = {name.split(">")[0].split("<")[0] for name in project["dependencies"]} - {"onnxruntime"}
    wanted |= {name.split("<")[0] for name in project["optional-dependencies"]["fetch"]}
    assert {name.split("<")[0] for name in preferences.NEEDED} == wanted
    linux = shlex.split(environment_command(windows=False, macos=False))
    assert linux[:3] == ["python3.11", "-m", "venv"] and linux[-1] == "onnxruntime-gpu[cuda,cudnn]"
    assert linux[3] + "/bin/python" == preferences.environment_python(windows=False)
    windows = environment_command(windows=True, macos=False)
    assert windows.startswith("py -3.11 -m venv") and '"numpy<3"' in windows
    assert environment_command(windows=False, macos=True).endswith(" onnxruntime")
    assert "no faster runtime" in hint(macos=True) and "NVIDIA" in hint(macos=False)


def test_what_a_probe_says_is_one_sentence():
    said = {"python": "3.12.1", "onnxruntime": "1.20", "providers": ["cuda", "cpu"], "network": "blazepose",
            "images_per_s": 412.6, "provider": "cpu", "notes": ["cuda was asked for"]}  # fmt: skip
    text = "Python 3.12.1 with ONNX Runtime 1.20 (cuda, cpu): blazepose does 413 images/s on cpu. cuda was asked for"
    assert describe_python(said) == text


def test_models_are_added_listed_chosen_and_removed(enabled, tmp_path):
    pytest.importorskip("onnx")
    sys.path.insert(0, str(ROOT / "tests" / "inference" / "perception"))
    try:
        write_card = importlib.import_module("test_manage").write_card
    finally:
        sys.path.pop(0)
    card = write_card(tmp_path / "download")
    assert "mine" not in {model.name for model in known_models.known_models()}
    assert bpy.ops.sightline.add_model(filepath=str(card)) == {"FINISHED"}
    assert [m.origin for m in known_models.known_models() if m.name == "mine"] == ["own"]
    assert bpy.ops.sightline.choose_detector(detector="mine") == {"FINISHED"}
    assert bpy.context.scene.sightline.detector == "mine"
    assert "No detector is called 'mine'" in known_models.missing_detector("mine")  # it finds boxes alone
    with pytest.raises(RuntimeError, match="belongs to Sightline"):
        bpy.ops.sightline.remove_model(model="blazepose")
    assert bpy.ops.sightline.remove_model(model="mine") == {"FINISHED"}
    assert "mine" not in {model.name for model in known_models.known_models()}


def test_a_card_that_is_none_is_refused_in_one_line(enabled, tmp_path):
    (tmp_path / "card.toml").write_text("kind = 1")
    with pytest.raises(RuntimeError, match="missing name"):
        bpy.ops.sightline.add_model(filepath=str(tmp_path / "card.toml"))


def test_adapting_says_what_it_lacks_and_a_python_without_torch_says_so(enabled, tmp_path):
    """The child is the real one; the Python of the tests has no PyTorch."""
    scene = bpy.context.scene
    assert "Solve the take first" in adapting_impossible(scene) and not bpy.ops.sightline.adapt_detector.poll()
    scene.sightline.take_path = str(_take(tmp_path))
    assert "Blender's own has none" in adapting_impossible(scene)
    enabled.python = sys.executable
    assert adapting_impossible(scene) == ""
    assert bpy.ops.sightline.adapt_detector() == {"FINISHED"}
    assert "wait for it" in adapting_impossible(scene)
    text, failed = finished()
    assert failed and "this Python has no PyTorch" in text and "\n" not in text


def test_a_detector_that_was_kept_is_added_and_one_that_was_not_is_not(enabled, tmp_path):
    pytest.importorskip("onnx")
    sys.path.insert(0, str(ROOT / "tests" / "inference" / "perception"))
    try:
        write_card = importlib.import_module("test_manage").write_card
    finally:
        sys.path.pop(0)
    before = {model.name for model in known_models.known_models()}
    assert adapted({"verdict": "not kept: worse"}) == "The detector stays as it is: worse"
    assert {model.name for model in known_models.known_models()} == before
    said = adapted({"verdict": "kept: better", "card": str(write_card(tmp_path / "made"))})
    assert said == "Added mine, to be chosen in the step Person: better"
    assert {model.name for model in known_models.known_models()} - before == {"mine"}


def test_fetching_needs_consent(enabled):
    """And Blender's permission: the bpy module is offline."""
    assert not bpy.app.online_access and not bpy.ops.sightline.fetch_models.poll()
    enabled.allow_fetch = True
    assert not bpy.ops.sightline.fetch_models.poll()


def test_a_fetch_that_fails_is_one_line(enabled):
    errands.begin("Fetching", "", ["-m", "inference", "models", "fetch", "nosuch", "--progress", "json"], str)
    text, failed = finished()
    assert failed and "unknown model pack 'nosuch'" in text and "\n" not in text


def test_a_cancelled_errand_is_no_failure(enabled):
    """The child is a network's test; whoever cancels it is told so."""
    errands.begin("Testing", "", ["-m", "inference.probe"], str)
    errands.cancel()
    assert finished() == ("Cancelled; everything is as it was", False)


def test_an_adaptation_that_did_not_end_leaves_its_folder_to_the_next(enabled, tmp_path):
    scene = bpy.context.scene
    scene.sightline.take_path = str(_take(tmp_path))
    folder = tmp_path / "adapted_1"
    (folder / "solves").mkdir(parents=True)
    assert _adapting(scene)[1].name == "adapted_1"
    (folder / "evidence.json").write_text("{}")
    assert _adapting(scene)[1].name == "adapted_2"


def test_unregistering_ends_an_errand(enabled):
    errands.begin("Waiting", "", ["-c", "import time; time.sleep(60)"], str)
    process = errands._State.job._process
    errands.end()
    assert process.poll() is not None and not errands.busy()


def test_the_example_is_loaded_outside_the_extension(enabled, monkeypatch, tmp_path):
    monkeypatch.setattr(example, "user_folder", lambda: tmp_path / "Benutzer ä")
    before = sorted(example.EXAMPLE.rglob("*"))
    assert bpy.ops.sightline.load_example() == {"FINISHED"}
    known = bpy.context.scene.sightline
    assert [view.name for view in known.views] == ["cam01", "cam02", "cam03", "cam04"]
    assert missing_footage(bpy.context.scene) == "" == missing_cameras(bpy.context.scene)
    request = solving.request_from_scene(bpy.context)
    assert (tmp_path / "Benutzer ä") in request.out.parents and request.take.name == "example"
    assert sorted(example.EXAMPLE.rglob("*")) == before
    assert not bpy.ops.sightline.load_example.poll()
    video = tmp_path / "Benutzer ä" / "example take" / "videos" / "cam01.mp4"
    video.write_bytes(b"cut off")
    example.copy_example(tmp_path / "Benutzer ä")  # a damaged copy is mended
    assert video.stat().st_size == (example.EXAMPLE / "videos" / "cam01.mp4").stat().st_size


@pytest.mark.skipif(os.name != "posix" or not Path("/dev/null").exists(), reason="a folder that cannot be made")
def test_an_example_that_cannot_be_copied_says_so():
    with pytest.raises(InputError, match="cannot be copied to /dev/null"):
        example.copy_example(Path("/dev/null"))
