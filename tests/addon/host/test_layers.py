"""Raw, solved and cleaned motion of one armature: what is shown, what a second solve does, few keys within sigma."""

import bpy
import numpy as np
import pytest
from sightline.addon.host.animation import bag_digest
from sightline.addon.host.layers import layer_action, raw_motion, reduce_layer, show_layer, shown_layer
from sightline.addon.host.scene import TakeInfo, build_scene
from sightline.inference.errors import InputError

INFO = TakeInfo("balancing")
FPS = 30.0


def keys_of(action):
    bags = [action] if not hasattr(action, "layers") else action.layers[0].strips[0].channelbags
    return [curve for bag in bags for curve in bag.fcurves]


def tails(armature, names, frames):
    """(T, B, 3) tails of the pose bones in the world."""
    found = []
    for frame in frames:
        bpy.context.scene.frame_set(frame)
        item = armature.evaluated_get(bpy.context.evaluated_depsgraph_get())
        found.append([item.matrix_world @ item.pose.bones[name].tail for name in names])
    return np.array(found)


@pytest.fixture
def built(empty_scene, make_solution):
    solution = make_solution(T=60, gap=False)
    return solution, build_scene(empty_scene, solution, INFO).armatures[0]


def test_cleaned_stays_within_the_uncertainty_in_blender(built):
    solution, armature = built
    before, after = reduce_layer(armature, solution, (1, FPS), sigmas=2.0)
    assert before >= 5 * after
    assert shown_layer(armature) == "cleaned"
    assert sum(len(curve.keyframe_points) for curve in keys_of(layer_action(armature, "cleaned"))) == after
    assert {k.interpolation for curve in keys_of(layer_action(armature, "cleaned")) for k in curve.keyframe_points} == {
        "BEZIER"
    }
    off = tails(armature, solution.motion.skeleton.bone_names, range(1, 61)) - solution.solved.xyz[:, 0, 1:]
    precision = np.linalg.inv(solution.solved.covariance[:, 0, 1:])
    distance = np.sqrt(np.einsum("tbi,tbij,tbj->tb", off, precision, off))
    assert 0.5 < distance.max() <= 2.01


@pytest.mark.parametrize("scale_length", [1.0, 0.01])
def test_layers_are_shown_in_turn(empty_scene, make_solution, scale_length):
    empty_scene.scene.unit_settings.scale_length = scale_length
    solution = make_solution(T=20, gap=False)
    armature = build_scene(empty_scene, solution, INFO).armatures[0]
    names, frames = solution.motion.skeleton.bone_names, [1, 7, 20]
    index = np.array(frames) - 1
    assert shown_layer(armature) == "solved"
    show_layer(armature, "raw", solution, 1, FPS)
    raw = tails(armature, names, frames) * scale_length
    assert np.abs(raw[:, 0] - solution.raw.xyz[index, 0, 1]).max() < 2e-3  # bones keep the solved lengths
    show_layer(armature, "solved", solution, 1, FPS)
    solved = tails(armature, names, frames) * scale_length
    assert np.abs(solved - solution.solved.xyz[index, 0, 1:]).max() < 1e-5
    assert np.abs(raw - solved).max() > 5e-4
    assert all(track.mute for track in armature.animation_data.nla_tracks)


def test_there_is_no_cleaned_layer_before_it_is_made(built):
    solution, armature = built
    with pytest.raises(InputError, match="Reduce Keys"):
        show_layer(armature, "cleaned", solution, 1, FPS)


def test_a_second_solve_keeps_the_cleaned_layer(empty_scene, make_solution):
    solution = make_solution(T=30)
    armature = build_scene(empty_scene, solution, INFO).armatures[0]
    reduce_layer(armature, solution, (1, FPS), 2.0)
    cleaned = bag_digest(layer_action(armature, "cleaned"))
    again = make_solution(T=30, seed=9)
    (item,) = build_scene(empty_scene, again, INFO).armatures
    assert item == armature, "making a layer is no edit"
    assert bag_digest(layer_action(item, "cleaned")) == cleaned
    assert shown_layer(item) == "solved"
    assert len([a for a in bpy.data.actions if a.get("sightline_layer") == "solved" and "person 1" in a.name]) == 9


def test_an_edit_of_the_cleaned_layer_is_not_lost(built):
    solution, armature = built
    reduce_layer(armature, solution, (1, FPS), 2.0)
    curve = keys_of(layer_action(armature, "cleaned"))[0]
    curve.keyframe_points[0].co[1] += 1.0
    with pytest.raises(InputError, match="changed by hand"):
        reduce_layer(armature, solution, (1, FPS), 2.0)
    reduce_layer(armature, solution, (1, FPS), 2.0, replace=True)
    assert len(armature.animation_data.nla_tracks) == 2  # solved and cleaned, nothing left over


def test_an_edit_of_the_solved_layer_is_still_noticed_while_another_is_shown(empty_scene, make_solution):
    solution = make_solution(T=30)
    armature = build_scene(empty_scene, solution, INFO).armatures[0]
    reduce_layer(armature, solution, (1, FPS), 2.0)
    keys_of(layer_action(armature, "solved"))[0].keyframe_points[3].co[1] += 0.5
    build_scene(empty_scene, make_solution(T=30, seed=9), INFO)
    assert armature["sightline_layer"] == "cleaned"


def test_a_solution_of_other_people_is_refused(built, make_solution):
    _, armature = built
    armature["sightline_person"] = 3
    with pytest.raises(InputError, match="do not fit"):
        reduce_layer(armature, make_solution(T=60), (1, FPS), 2.0)


def test_raw_motion_is_finite_through_gaps(make_solution):
    motion = raw_motion(make_solution(T=12))
    assert np.isfinite(motion.local_rotation).all() and np.isfinite(motion.root_translation).all()
