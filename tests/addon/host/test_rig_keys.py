"""Few keys on characters: every bone's end stays within two standard deviations of the person's joint."""

from dataclasses import replace

import bpy
import numpy as np
import pytest
from sightline.addon.host.animation import action_curves
from sightline.addon.host.performance import Performance
from sightline.addon.host.rig_files import find_rig, match_rig
from sightline.addon.host.rig_keys import is_retargeted, reduce_rig
from sightline.addon.host.rigs import make_rig, retarget_onto
from sightline.inference.errors import InputError
from sightline.inference.motion.key_reduction import evaluate, reduce_path, reduce_turns

from tests.addon.host.test_rigs import character, shown

FRAMES = np.arange(48) + 101.0


@pytest.fixture
def solution(make_body):
    """Two people who swing for 48 frames, with waves that no straight line follows; joints known to 1 cm."""
    made = make_body(48, persons=2)
    waves = 0.05 * np.sin(np.arange(48) / 5)[:, None, None] * [1.0, 0.5, 0.2]
    return replace(made, motion=replace(made.motion, root_translation=made.motion.root_translation + waves))


def ends(item, frames=FRAMES):
    parts = match_rig([bone.name for bone in item.data.bones]).parts
    return np.array([[tail for _, tail in shown(item, parts, int(frame)).values()] for frame in frames])


@pytest.mark.parametrize("root", ["hips", "root", "in_place"])
def test_a_made_armature(empty_scene, solution, root):
    performance = Performance("take", solution.motion, 1, FRAMES)
    item = make_rig(empty_scene, performance, find_rig("unreal_manny"), "A", root)
    assert is_retargeted(item) and item.animation_data.action["sightline_person"] == 1
    before = ends(item)
    counts = reduce_rig(item, solution, 2.0)
    off = np.linalg.norm(ends(item) - before, axis=-1)
    assert off.max() < 0.02 and counts[0] > 5 * counts[1], (off.max(), counts)
    with pytest.raises(InputError, match="reduced or edited already"):
        reduce_rig(item, solution, 2.0)
    retarget_onto(item, performance, "unreal_manny", root)
    assert np.abs(ends(item) - before).max() < 1e-4  # once more gives every frame back


def test_a_character_of_the_user_in_centimetres(empty_scene, solution):
    item = character(find_rig("mixamo"), "T", solution)
    retarget_onto(item, Performance("take", solution.motion, 0, FRAMES), "mixamo")
    before = ends(item)
    counts = reduce_rig(item, solution, 2.0)
    off = np.linalg.norm(ends(item) - before, axis=-1)
    assert off.max() < 0.02 and counts[0] > 5 * counts[1], (off.max(), counts)
    assert len([a for a in bpy.data.actions if a.get("sightline_kind") == "retargeted"]) == 1


def test_less_sure_joints_need_fewer_keys(empty_scene, solution):
    counts = []
    for factor in (0.04, 1.0, 25.0):
        unsure = replace(solution, solved=replace(solution.solved, covariance=solution.solved.covariance * factor))
        item = make_rig(empty_scene, Performance("take", solution.motion, 0, FRAMES), find_rig("vrm"))
        counts.append(reduce_rig(item, unsure, 2.0)[1])
    assert counts[0] > counts[1] > counts[2]


def test_what_is_no_retargeted_motion_is_refused(empty_scene, solution):
    item = make_rig(empty_scene, Performance("take", solution.motion, 1, FRAMES), find_rig("vrm"))
    alone = replace(
        solution.solved, **{n: getattr(solution.solved, n)[:, :1] for n in ("xyz", "covariance", "flag", "reason")}
    )
    with pytest.raises(InputError, match="what person 2 did"):
        reduce_rig(item, replace(solution, solved=alone), 2.0)
    action_curves(item.animation_data.action)[0].keyframe_points.remove(
        action_curves(item.animation_data.action)[0].keyframe_points[3]
    )
    with pytest.raises(InputError, match="reduced or edited already"):
        reduce_rig(item, solution, 2.0)
    item.animation_data.action = None
    with pytest.raises(InputError, match="Retarget to Active first"):
        reduce_rig(item, solution, 2.0)


def test_single_curves_stay_within_their_allowance():
    frames = np.arange(60.0)
    angle = 0.6 * np.sin(frames / 9)
    turns = np.stack([np.cos(angle / 2), np.sin(angle / 2), 0 * angle, 0 * angle], axis=1)
    found = reduce_turns(frames, turns, np.full(60, 0.01))
    path = evaluate(found, frames)
    path /= np.linalg.norm(path, axis=1, keepdims=True)
    assert (2 * np.arccos(np.clip(np.abs((path * turns).sum(axis=1)), 0, 1))).max() <= 0.01
    assert len(found.frames) < 15
    places = np.stack([np.sin(frames / 7), frames / 60, 0 * frames], axis=1)
    found = reduce_path(frames, places, np.full(60, 0.005))
    assert np.linalg.norm(evaluate(found, frames) - places, axis=1).max() <= 0.005 and len(found.frames) < 15
