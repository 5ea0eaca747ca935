"""What the panel's fields become in the take file: range, rate, trust in the cameras, scale, floor, a single camera."""

import shutil

import bpy
import pytest
from sightline.addon import solving
from sightline.addon.host.parts import take_collection
from sightline.addon.host.scene import TakeInfo, build_scene
from sightline.addon.properties import CLASSES
from sightline.addon.scene_take import missing_cameras, missing_footage, write_scene_take
from sightline.inference.errors import InputError
from sightline.inference.take import read_take

NAMES = ("cam01", "cam02", "cam03", "cam04")


@pytest.fixture
def folder(example_take, tmp_path):
    shutil.copytree(example_take.parent, tmp_path / "take")
    return tmp_path / "take"


@pytest.fixture
def fill(registered, empty_scene, folder):
    """A function that fills the steps with some of the example's cameras and returns the panel's fields."""

    def fill(*names):
        files = [{"name": f"{name}.mp4"} for name in names or NAMES]
        bpy.ops.sightline.add_videos(directory=str(folder / "videos"), files=files)
        bpy.ops.sightline.choose_calibration(filepath=str(folder / "calibration.toml"))
        return bpy.context.scene.sightline

    return fill


def written(seconds=None):
    return read_take(write_scene_take(bpy.context, seconds))


def test_range_and_rate(fill):
    known = fill()
    assert (written().start_s, written().end_s, written().fps) == (0.0, None, None)
    known.start_s, known.end_s, known.take_fps = 0.4, 1.9, 29.97
    assert (written().start_s, written().end_s, written().fps) == (0.4, 1.9, 29.97)
    assert (written(1.0).start_s, written(1.0).end_s) == (0.4, 1.4)  # the preview begins where the take does
    assert written(5.0).end_s == 1.9
    known.end_s = 0.3
    assert missing_footage(bpy.context.scene) == "The take ends before it begins: set From and To"
    with pytest.raises(InputError, match="ends before it begins"):
        written()


def test_how_far_given_cameras_are_trusted(fill):
    known = fill()
    source = written().calibration
    assert (source.refine_cameras, source.rotation_sigma_deg, source.centre_sigma_m) == (False, None, None)
    assert (source.units, source.floor) == (None, "keep")
    known.refine_cameras, known.rotation_sigma_deg, known.centre_sigma_m = True, 0.7, 0.025
    known.units, known.floor = "cm", "auto"
    source = written().calibration
    assert (source.refine_cameras, source.rotation_sigma_deg, source.centre_sigma_m) == (True, 0.7, 0.025)
    assert (source.units, source.floor) == ("cm", "auto")
    known.floor = "zero"
    assert written().calibration.floor == "zero"


def test_cameras_of_the_scene_may_be_refined_and_have_no_units(fill):
    known = fill("cam01", "cam03")
    bpy.context.scene.render.resolution_x, bpy.context.scene.render.resolution_y = 640, 480
    known.cameras_from, known.refine_cameras, known.units = "SCENE", True, "mm"
    for view in known.views:
        camera = bpy.data.objects.new(view.name, bpy.data.cameras.new(view.name))
        bpy.context.scene.collection.objects.link(camera)
    source = written().calibration
    assert source.refine_cameras and source.units is None


def test_a_measured_distance_and_lenses_that_may_be_off(fill, folder):
    known = fill()
    known.cameras_from, known.lenses_path = "PERSON", str(folder / "calibration.toml")
    known.refine_cameras, known.floor, known.units = True, "zero", "mm"  # of the other sources: not written
    source = written().calibration
    assert source.from_person and source.distance is None and source.focal_sigma == 0
    assert not source.refine_cameras and source.units is None and source.floor == "keep"
    known.focal_sigma, known.distance_m, known.distance_from = 0.1, 3.42, "cam01"
    for other in ("", "cam01", "nobody"):
        known.distance_to = other
        assert missing_cameras(bpy.context.scene) == "Name the two cameras of the measured distance"
    known.distance_to = "cam03"
    source = written().calibration
    assert (source.focal_sigma, source.distance.metres) == (0.1, 3.42)
    assert (source.distance.first, source.distance.second) == ("cam01", "cam03")


def test_the_board_may_be_in_films_of_its_own(fill, tmp_path):
    known = fill()
    known.cameras_from = "BOARD"
    assert "pictures" not in written().calibration.board
    known.board.pictures, known.board.lens_pictures = "board/{view}.mp4", str(tmp_path / "lens" / "{view}" / "%03d.png")
    board = written().calibration.board
    assert board["pictures"].endswith("videos/board/{view}.mp4")
    assert board["lens_pictures"] == str(tmp_path / "lens" / "{view}" / "%03d.png")


def test_one_camera_is_a_take_where_it_is_given(fill):
    known = fill("cam02")
    assert missing_footage(bpy.context.scene) == "" == missing_cameras(bpy.context.scene)
    assert [view.name for view in written().views] == ["cam02"]
    known.cameras_from = "PERSON"
    assert "single camera cannot be solved from the person" in missing_cameras(bpy.context.scene)
    with pytest.raises(InputError, match="single camera"):
        written()


def test_one_camera_is_solved_and_the_panel_goes_on_saying_how_unsure_that_is(fill, blazepose_card):
    known = fill("cam02")
    known.height_m, known.preview_s = 1.75, 0.3
    assert bpy.ops.sightline.solve_take(preview=True) == {"FINISHED"}
    assert any(item.type == "ARMATURE" for item in bpy.context.scene.objects)
    assert "the distance on the Height" in known.warnings


def test_a_take_and_its_preview_do_not_stand_in_each_other(registered, empty_scene, make_solution, tmp_path):
    """The last entered of the two is shown, the other one hidden; a take of another name is left alone."""
    scene = bpy.context.scene
    for name in ("dance", "dance preview", "walk"):
        build_scene(bpy.context, make_solution(T=4), TakeInfo(name))

    def shown():
        return {take for take in ("dance", "dance preview", "walk") if not take_collection(scene, take).hide_viewport}

    solving.show_in_place_of_preview(scene, "dance")
    assert shown() == {"dance", "walk"}
    solving.show_in_place_of_preview(scene, "dance preview")
    assert shown() == {"dance preview", "walk"}
    solving.show_in_place_of_preview(scene, "walk")
    assert shown() == {"dance preview", "walk"}


def test_without_sampled_bodies_one_camera_is_refused_in_a_line(fill):
    known = fill("cam02")
    known.use_settings, known.settings.unseen__hypotheses = True, "off"
    with pytest.raises(RuntimeError, match="has 1 view; a solve needs at least two"):
        bpy.ops.sightline.solve_take()


def test_lengths_are_metres_in_every_scene(registered):
    """Blender's own unit of length counts in the scene's, so no property may have it."""
    groups = [each for each in CLASSES if issubclass(each, bpy.types.PropertyGroup)]
    lengths = [
        f"{group.__name__}.{entry.identifier}"
        for group in groups
        for entry in group.bl_rna.properties
        if getattr(entry, "unit", "NONE") == "LENGTH"
    ]
    assert groups and lengths == []
    assert bpy.types.Object.bl_rna.properties["location"].unit == "LENGTH"  # negative control
