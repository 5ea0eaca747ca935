"""What the dragging shows in a region, without a window."""

import bpy
import numpy as np
import pytest
from sightline.addon.operators.drag import shown_in
from sightline.addon.scene_corrections import corrected_keypoints
from sightline.inference.errors import InputError

REGION = (1600, 900)


def look(perspective="CAMERA"):
    area = next(a for a in bpy.context.window_manager.windows[0].screen.areas if a.type == "VIEW_3D")
    space = area.spaces.active
    space.region_3d.view_perspective = perspective
    return shown_in(bpy.context.scene, space, space.region_3d, REGION)


def test_keypoints_of_the_frame_and_view(take):
    shown = look()
    view = corrected_keypoints(bpy.context.scene)[1]
    assert (shown.view, shown.index, shown.names) == ("cam02", 5, view.joint_names)
    back = shown.frame.image_from_region(shown.places)
    assert np.nanmax(np.abs(back - view.xy[5])) < 1e-6
    bpy.ops.sightline.move_keypoint(joint="nose", place=(123.25, 45.5))
    moved = look()
    nose = view.joint_names.index("nose")
    assert moved.frame.image_from_region(moved.places[0, nose]) == pytest.approx([123.25, 45.5], abs=1e-6)


def test_nothing_where_no_view_of_the_take_is_shown(take):
    assert look("PERSP") is None
    bpy.context.scene.camera = bpy.data.objects.new("somebody's", bpy.data.cameras.new("somebody's"))
    assert look() is None


def test_a_frame_outside_the_take_is_said(take):
    bpy.context.scene.frame_set(50)
    with pytest.raises(InputError, match="frame 50 is not of this take"):
        look()
