"""A scene at 23.976 frames a second that starts elsewhere, in centimetres.

In another language: no bpy module carries translations, so tests/window/live.py does that in a real Blender.
"""

import bpy
import numpy as np
import pytest
from sightline.addon.host.ellipsoids import FACTOR
from sightline.addon.host.scene import TakeInfo, build_scene, clock_of
from sightline.addon.scene_corrections import index_at, pinned_place

START = 1001  # where film scenes begin


def place_of(item, frame):
    bpy.context.scene.frame_set(frame)
    return np.array(item.matrix_world.translation)


@pytest.mark.parametrize("scale_length", [1.0, 0.01])
def test_film_rate_frame_offset_and_unit_scale(empty_scene, registered, make_solution, scale_length):
    """Every frame of the take stands on its own frame of the scene, whole, with the joint where it is."""
    scene = empty_scene.scene
    scene.unit_settings.scale_length, scene.frame_start = scale_length, START
    scene.frame_set(START + 5)
    solution = make_solution(T=12, fps=24000 / 1001, gap=False)
    built = build_scene(empty_scene, solution, TakeInfo("film"))
    scene.sightline.take = "film"
    assert (scene.render.fps, round(scene.render.fps_base, 5)) == (24, 1.001)
    assert (scene.frame_start, scene.frame_end, scene.frame_current) == (START, START + 11, START + 5)
    start, fps = clock_of(scene, "film", solution)
    assert start == START and fps == pytest.approx(24000 / 1001)
    times = solution.solved.timestamps_s
    assert [index_at(scene, START + i, times) for i in range(12)] == list(range(12))
    wrist = next(item for item in built.ellipsoids if item["sightline_joint"] == "left_wrist")
    joint = solution.solved.joint_names.index("left_wrist")
    for i in (0, 7, 11):
        assert place_of(wrist, START + i) * scale_length == pytest.approx(solution.solved.xyz[i, 0, joint], abs=1e-5)
    size = np.array(wrist.scale) * scale_length / wrist[FACTOR]
    sigma = np.sqrt(np.linalg.eigvalsh(solution.solved.covariance[11, 0, joint]))
    assert np.sort(size) == pytest.approx(sigma, rel=1e-4)
    for action in bpy.data.actions:
        first, last = action.frame_range
        assert first >= START - 1e-3 and last <= START + 11 + 1e-3, action.name


def test_a_pin_counts_in_metres_whatever_the_scene_counts_in(take):
    """The cursor stands in Blender units; the correction is in metres."""
    for scale_length in (1.0, 0.01, 0.3048):
        bpy.context.scene.unit_settings.scale_length = scale_length
        assert pinned_place(bpy.context.scene, np.array([0.4, -0.2, 1.1]) / scale_length) == pytest.approx(
            (0.4, -0.2, 1.1), abs=1e-4
        )
