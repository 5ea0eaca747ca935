"""Pixels of the footage ↔ pixels of a 3D view, against Blender's own projection and numbers worked by hand."""

from dataclasses import replace

import bpy
import numpy as np
import pytest
from mathutils import Matrix
from sightline.addon.host.camera_frame import CameraFrame, camera_frame, shows_undistorted, view_looked_through
from sightline.addon.host.scene import TakeInfo, build_scene
from sightline.inference.geometry.projection import project
from sightline.inference.types import Camera, Intrinsics

REGION = (1586, 954)


def perspective_of(item, zoom=1.0, offset=(0.0, 0.0)):
    """What a 3D view of REGION's shape has while it looks through a camera, zoomed and moved."""
    depsgraph = bpy.context.evaluated_depsgraph_get()
    size = [int(n) for n in item["sightline_image_size"]]
    projection = item.calc_matrix_camera(depsgraph, x=size[0], y=size[1])
    fit = Matrix.Diagonal((zoom * size[0] / REGION[0], zoom * size[1] / REGION[1], 1, 1))
    moved = Matrix.Translation((*offset, 0.0))
    return moved @ fit @ projection @ item.matrix_world.inverted()


def in_region(perspective, points):
    clip = np.column_stack([points, np.ones(len(points))]) @ np.array(perspective).T
    return (clip[:, :2] / clip[:, 3:] + 1) / 2 * REGION


@pytest.fixture
def built(empty_scene, make_solution):
    solution = make_solution(gap=False)
    return solution, build_scene(empty_scene, solution, TakeInfo("balancing")).cameras


def look_through(index, built):
    solution, cameras = built
    scene = bpy.context.scene
    size = solution.rig.cameras[index].intrinsics.image_size
    scene.render.resolution_x, scene.render.resolution_y = size
    bpy.context.view_layer.update()
    return solution.rig.cameras[index], cameras[index], scene


def test_corners_by_hand():
    lens = Intrinsics("cam", (200, 100), np.array([[100.0, 0, 100], [0, 100, 50], [0, 0, 1]]), np.zeros(5))
    frame = CameraFrame(np.array([10.0, 20.0]), np.array([400.0, 200.0]), lens, undistorted=False)
    assert frame.region_from_image(np.array([-0.5, -0.5])).tolist() == [10, 220]  # upper left
    assert frame.region_from_image(np.array([199.5, 99.5])).tolist() == [410, 20]  # lower right
    assert frame.region_from_image(np.array([0.0, 0.0])).tolist() == [11, 219]  # centre of the first pixel
    assert np.abs(frame.image_from_region(np.array([11.0, 219.0]))).max() < 1e-12


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize(("zoom", "offset"), [(1.0, (0, 0)), (0.37, (0.2, -0.4))])
def test_a_joint_is_drawn_where_blender_draws_it(built, index, zoom, offset):
    """Landscape, portrait, principal points off the centre; fx and fy differ by what Blender cannot show (0.2 px)."""
    camera, item, scene = look_through(index, built)
    perspective = perspective_of(item, zoom, offset)
    frame = camera_frame(item, camera.intrinsics, scene, np.array(perspective), REGION)
    points = built[0].solved.xyz[0, 0]
    want = in_region(perspective, points)
    assert np.abs(frame.region_from_world(camera, points) - want).max() < 0.3
    assert np.abs(frame.region_from_image(project(camera, points)) - want).max() < 0.3


@pytest.mark.parametrize("undistorted", [True, False])
def test_there_and_back_through_a_lens_that_bends(built, undistorted):
    camera, item, scene = look_through(0, built)
    lens = replace(camera.intrinsics, distortion=np.array([-0.25, 0.08, 0.001, -0.002, 0.0]))
    camera = Camera(lens, camera.R, camera.t)
    frame = replace(camera_frame(item, lens, scene, np.array(perspective_of(item)), REGION), undistorted=undistorted)
    points = built[0].solved.xyz[:, 0].reshape(-1, 3)
    pixels = project(camera, points)
    shown = frame.region_from_image(pixels)
    assert np.abs(frame.image_from_region(shown) - pixels).max() < 1e-6
    assert np.abs(frame.region_from_world(camera, points) - shown).max() < 1e-6


def test_a_plate_shown_as_filmed_is_seen(built, tmp_path):
    _, item, _ = look_through(0, built)
    assert shows_undistorted(item)  # the bare scene
    image = bpy.data.images.new("plate", 8, 8)
    image.filepath_raw, image.file_format = str(tmp_path / "plate.png"), "PNG"
    image.save()
    background = item.data.background_images.new()
    background.source, background.clip = "MOVIE_CLIP", bpy.data.movieclips.load(str(tmp_path / "plate.png"))
    item.data.show_background_images = True
    assert not shows_undistorted(item)
    background.clip_user.use_render_undistorted = True
    assert shows_undistorted(item)


def test_only_cameras_of_ours_that_are_looked_through(built):
    _, item, scene = look_through(1, built)
    area = next(a for a in bpy.context.window_manager.windows[0].screen.areas if a.type == "VIEW_3D")
    space = area.spaces.active
    scene.camera = item
    space.region_3d.view_perspective = "PERSP"
    assert view_looked_through(space, space.region_3d, scene) is None
    space.region_3d.view_perspective = "CAMERA"
    found = view_looked_through(space, space.region_3d, scene)
    assert found is not None and found[0] == item and found[1].view == "cam02"
    scene.camera = bpy.data.objects.new("somebody's", bpy.data.cameras.new("somebody's"))
    assert view_looked_through(space, space.region_3d, scene) is None
