"""The buttons of the layers, on a scene that a solve left."""

import bpy
import pytest
from sightline.addon.host.layers import shown_layer
from sightline.addon.host.scene import TakeInfo, build_scene
from sightline.inference.files.solution import write_solution


@pytest.fixture
def armatures(registered, empty_scene, make_solution, tmp_path):
    solution = make_solution(T=40, persons=2, gap=False)
    write_solution(tmp_path / "solution.npz", solution)
    built = build_scene(empty_scene, solution, TakeInfo("balancing"))
    known = bpy.context.scene.sightline
    known.take, known.solution_path = "balancing", str(tmp_path / "solution.npz")
    return built.armatures


def test_all_armatures_or_the_selected_ones(armatures):
    assert bpy.ops.sightline.reduce_keys(sigmas=2.0) == {"FINISHED"}
    assert [shown_layer(item) for item in armatures] == ["cleaned", "cleaned"]
    armatures[1].select_set(True)
    assert bpy.ops.sightline.show_layer(layer="raw") == {"FINISHED"}
    assert [shown_layer(item) for item in armatures] == ["cleaned", "raw"]


def test_what_is_missing_is_said(armatures, tmp_path):
    with pytest.raises(RuntimeError, match="no layer 'cleaned' yet"):
        bpy.ops.sightline.show_layer(layer="cleaned")
    (tmp_path / "solution.npz").unlink()
    with pytest.raises(RuntimeError, match="does not exist"):
        bpy.ops.sightline.reduce_keys()
