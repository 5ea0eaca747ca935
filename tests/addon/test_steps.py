"""The panel's steps without a window: videos, cameras, person, and the take that comes of them."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import bpy
import cv2
import numpy as np
import pytest
from sightline.addon.operators.footage import SIGHTLINE_FH_videos
from sightline.addon.panels.solve import together
from sightline.addon.properties import facts_of
from sightline.addon.scene_take import missing_cameras, missing_footage, next_step, write_scene_take
from sightline.addon.setting_words import in_panel_words
from sightline.addon.solving import remember_warnings
from sightline.addon.thumbnails import _State, forget_thumbnails, thumbnail
from sightline.inference.errors import InputError
from sightline.inference.take import read_take


@pytest.fixture
def folder(example_take, tmp_path):
    shutil.copytree(example_take.parent, tmp_path / "my take")
    return tmp_path / "my take"


@pytest.fixture
def known(registered, empty_scene):
    return bpy.context.scene.sightline


def add(folder: Path, *names: str):
    files = [{"name": name} for name in names or ("cam01.mp4", "cam02.mp4", "cam03.mp4", "cam04.mp4")]
    return bpy.ops.sightline.add_videos(directory=str(folder / "videos"), files=files)


def test_three_clicks_are_a_take(known, folder):
    """Add four videos, choose a calibration; the third is Solve."""
    assert missing_footage(bpy.context.scene)
    assert add(folder) == {"FINISHED"}
    assert [view.name for view in known.views] == ["cam01", "cam02", "cam03", "cam04"]
    assert facts_of(known.views[0]) == "640×480, 30 fps, 2.5 s"
    assert missing_footage(bpy.context.scene) == ""
    assert missing_cameras(bpy.context.scene) == "Choose a calibration file"
    assert bpy.ops.sightline.choose_calibration(filepath=str(folder / "calibration.toml")) == {"FINISHED"}
    assert known.calibration_note.startswith("4 cameras, up to ")
    assert missing_cameras(bpy.context.scene) == ""
    take = read_take(write_scene_take(bpy.context))
    assert [view.name for view in take.views] == ["cam01", "cam02", "cam03", "cam04"]
    assert take.path == folder / "videos" / "take.toml"
    assert take.calibration.path == folder / "calibration.toml"


def test_the_panel_s_take_is_solved(known, folder, blazepose_card):
    add(folder)
    bpy.ops.sightline.choose_calibration(filepath=str(folder / "calibration.toml"))
    known.preview_s = 0.2
    assert bpy.ops.sightline.solve_take(preview=True) == {"FINISHED"}
    assert known.take == "take preview"
    assert bpy.context.scene.frame_end - bpy.context.scene.frame_start in (5, 6)
    assert (folder / "videos" / "take preview_sightline" / "solution.npz").is_file()


def test_the_same_video_is_added_once_and_a_broken_one_says_why(known, folder):
    (folder / "videos" / "broken.mp4").write_bytes(b"no video")
    add(folder, "cam01.mp4")
    add(folder, "cam01.mp4", "broken.mp4")
    assert [view.name for view in known.views] == ["cam01", "broken"]
    assert "broken.mp4" in known.views[1].problem
    assert missing_footage(bpy.context.scene) == "broken cannot be used"
    with pytest.raises(InputError, match="Footage: broken"):
        write_scene_take(bpy.context)
    known.view_index = 1
    bpy.ops.sightline.remove_video()
    assert missing_footage(bpy.context.scene) == ""
    bpy.ops.sightline.remove_video()
    assert missing_footage(bpy.context.scene) == "Add the videos of the cameras"


def test_a_video_that_was_moved_is_noticed(known, folder):
    add(folder)
    (folder / "videos" / "cam02.mp4").rename(folder / "videos" / "away.mp4")
    bpy.ops.sightline.check_videos()
    assert "cam02.mp4" in known.views[1].problem and not known.views[0].problem


def test_names_that_the_calibration_lacks_are_named(known, folder):
    add(folder)
    known.views[2].name = "left camera"
    bpy.ops.sightline.choose_calibration(filepath=str(folder / "calibration.toml"))
    assert "no camera called left camera: it has cam01" in known.calibration_problem
    known.views[2].name = "cam03"
    bpy.ops.sightline.check_calibration()
    assert known.calibration_problem == ""


def test_two_videos_of_one_name_are_refused(known, folder):
    add(folder)
    known.views[1].name = "cam01"
    assert "called 'cam01'" in missing_footage(bpy.context.scene)


def test_a_file_that_is_no_calibration_says_so(known, folder):
    add(folder)
    bpy.ops.sightline.choose_calibration(filepath=str(folder / "videos" / "cam01.mp4"))
    assert known.calibration_problem and known.calibration_note == ""


def test_every_source_of_cameras(known, folder):
    add(folder)
    known.cameras_from = "BOARD"
    board = read_take(write_scene_take(bpy.context)).calibration.board
    assert (board["columns"], board["square_m"], board["marker_m"]) == (7, 0.04, 0.03)
    known.cameras_from = "PERSON"
    assert "lenses" in missing_cameras(bpy.context.scene)
    known.lenses_path = str(folder / "calibration.toml")
    known.height_m = 1.8
    take = read_take(write_scene_take(bpy.context))
    assert take.calibration.from_person and take.height_m == 1.8
    known.cameras_from = "SCENE"
    assert "no camera called cam01, cam02" in missing_cameras(bpy.context.scene)
    for view, x in zip(known.views, (0.0, 1.0, 2.0, 3.0), strict=True):
        camera = bpy.data.objects.new(view.name, bpy.data.cameras.new(view.name))
        camera.location.x = x
        bpy.context.scene.collection.objects.link(camera)
    assert missing_cameras(bpy.context.scene) == ""
    known.views.remove(1)  # it stands upright: a scene has one resolution
    bpy.context.scene.render.resolution_x, bpy.context.scene.render.resolution_y = 640, 480
    assert read_take(write_scene_take(bpy.context)).calibration.path.is_file()


def test_beside_the_blend_file_once_it_is_saved(known, folder, tmp_path):
    add(folder)
    known.cameras_from = "BOARD"
    (tmp_path / "shots").mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shots" / "shot.blend"))
    assert write_scene_take(bpy.context) == tmp_path / "shots" / "take.toml"


def test_cameras_of_the_scene_that_render_another_size(known, folder):
    """A whole picture in another size is scaled; another shape needs the scene's."""
    add(folder, "cam01.mp4")
    known.cameras_from = "SCENE"
    camera = bpy.data.objects.new("cam01", bpy.data.cameras.new("cam01"))
    bpy.context.scene.collection.objects.link(camera)
    render = bpy.context.scene.render
    render.resolution_x, render.resolution_y = 1920, 1440
    assert read_take(write_scene_take(bpy.context)).views[0].fit == "scale"
    known.views[0].fit = "exact"
    render.resolution_y = 1080
    with pytest.raises(InputError, match="640×480, its camera shows 1920×1080: give the scene the video's Resolution"):
        write_scene_take(bpy.context)
    render.resolution_x, render.resolution_y = 640, 480
    assert read_take(write_scene_take(bpy.context)).views[0].fit == "exact"


def test_videos_can_be_dropped(known):
    assert SIGHTLINE_FH_videos.bl_import_operator == "sightline.add_videos"
    assert ".mp4" in SIGHTLINE_FH_videos.bl_file_extensions
    over = {kind: SimpleNamespace(area=SimpleNamespace(type=kind)) for kind in ("VIEW_3D", "TEXT_EDITOR")}
    assert SIGHTLINE_FH_videos.poll_drop(over["VIEW_3D"]) and not SIGHTLINE_FH_videos.poll_drop(over["TEXT_EDITOR"])
    assert not SIGHTLINE_FH_videos.poll_drop(SimpleNamespace(area=None))


def test_a_video_has_one_thumbnail_until_the_extension_ends(known, folder):
    """The picture itself is seen in a window alone: docs/pictures/guide_footage.jpg."""
    video = str(folder / "videos" / "cam01.mp4")
    assert thumbnail(video) == thumbnail(video)
    assert set(_State.pictures) == {video}
    thumbnail(str(folder / "no such video.mp4"))  # no error: the list says what is wrong with it
    forget_thumbnails()
    assert _State.pictures is None


def test_a_video_of_another_size_asks_for_its_fit_before_the_solve(known, folder):
    """Scaled is sure and chosen; bars or a cut only the user knows."""
    add(folder)
    text = (folder / "calibration.toml").read_text(encoding="utf-8")
    (folder / "calibration.toml").write_text(text.replace("480", "504", 1), encoding="utf-8")
    bpy.ops.sightline.choose_calibration(filepath=str(folder / "calibration.toml"))
    assert known.calibration_problem == ""
    assert "cam01 is 640×480, its calibration 640×504: choose its Fit" in missing_footage(bpy.context.scene)
    with pytest.raises(RuntimeError, match="choose its Fit"):
        bpy.ops.sightline.solve_take()
    known.views[0].fit, known.view_index = "letterbox", 0
    assert missing_footage(bpy.context.scene) == ""
    assert bpy.ops.sightline.same_for_all() == {"FINISHED"}
    assert {view.fit for view in read_take(write_scene_take(bpy.context)).views} == {"letterbox"}
    known.cameras_from, known.views[0].fit = "BOARD", "exact"
    assert missing_footage(bpy.context.scene) == ""  # a board has no calibrated size


def test_a_video_with_the_bars_of_another_size_is_letterboxed(known, folder):
    """640x480 from 672x480: scaled by 0.952, 457.1 rows of picture, 11.4 of bar above and below."""
    writer = cv2.VideoWriter(str(folder / "videos" / "cam01.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 30.0, (640, 480))
    picture = np.random.default_rng(0).integers(60, 200, (48, 64, 3)).astype(np.uint8)
    picture = cv2.resize(picture, (640, 480))
    picture[:11] = picture[-11:] = 0
    for _ in range(3):
        writer.write(picture)
    writer.release()
    add(folder)
    text = (folder / "calibration.toml").read_text(encoding="utf-8")
    (folder / "calibration.toml").write_text(text.replace("640", "672"), encoding="utf-8")
    bpy.ops.sightline.choose_calibration(filepath=str(folder / "calibration.toml"))
    assert [view.fit for view in known.views] == ["letterbox", "exact", "exact", "exact"]
    assert "cam02 is 480×640" in missing_footage(bpy.context.scene)  # no bars there: only the user knows


def test_a_whole_picture_in_another_size_is_scaled(known, folder):
    add(folder)
    text = (folder / "calibration.toml").read_text(encoding="utf-8")
    text = text.replace("640", "1280").replace("480", "960")
    (folder / "calibration.toml").write_text(text, encoding="utf-8")
    bpy.ops.sightline.choose_calibration(filepath=str(folder / "calibration.toml"))
    assert {view.fit for view in known.views} == {"scale"} and missing_footage(bpy.context.scene) == ""


def test_the_panel_says_what_to_do_next(known, folder):
    assert next_step(bpy.context.scene) == "Add your videos below, or load the example first"
    known.take_path = str(folder / "take.toml")
    assert next_step(bpy.context.scene) == ""
    known.take_path = ""
    add(folder)
    assert next_step(bpy.context.scene) == "Next, Cameras: choose a calibration file"
    bpy.ops.sightline.choose_calibration(filepath=str(folder / "calibration.toml"))
    assert next_step(bpy.context.scene) == ""
    known.views[1].name = "cam01"
    assert next_step(bpy.context.scene) == "Next, Footage: two videos are called 'cam01'"


def test_settings_are_called_as_in_the_panel_unless_a_take_file_is_solved(known, folder):
    told = "view cam01 is off. refine_cameras = true under [calibration] moves it"
    remember_warnings(bpy.context.scene, [told])
    assert known.warnings == told
    add(folder)
    remember_warnings(bpy.context.scene, [told])
    assert known.warnings == "view cam01 is off. Refine on the Person (Trust, Scale, Floor) moves it"


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ('correct it, or write offset_s = "auto"', "correct it, or choose Start: From the motion"),
        ('write units = "mm" (or "cm", "m") under [calibration]', "choose Lengths In (Trust, Scale, Floor)"),
        ("write the right units under [calibration]", "choose Lengths In (Trust, Scale, Floor)"),
        ("[take] height_m is not given", "Height is not given"),
        ('it was scaled: fit = "scale"', "it was scaled: Fit: Scaled"),
        ("the person walks", "the person walks"),
    ],
)
def test_words_of_take_files_become_those_of_the_panel(told, said):
    assert in_panel_words(told) == said


def test_views_that_are_warned_of_alike_share_the_explanation():
    warnings = ["cam01 is off by 28 px. Given so", "alone", "cam03 is off by 20 px. Given so"]
    assert together(warnings) == ["cam01 is off by 28 px. cam03 is off by 20 px. Given so", "alone"]
