"""Sampled poses: which are shown with which weight, how one is followed over time, and what choosing one does."""

import bpy
import numpy as np
import pytest
from sightline.addon import solving
from sightline.addon.host.hypotheses import (
    Sampled,
    distances,
    followed,
    in_doubt,
    poses_of,
    read_sampled,
    spans_of,
    sureness,
)
from sightline.addon.overlays import ghosts, shown
from sightline.addon.panels.hypotheses import missing_hypotheses
from sightline.inference.errors import InputError
from sightline.inference.files.corrections_toml import corrections_path, read_corrections
from sightline.inference.files.solution import read_solution

FIRST, LAST = 4, 15  # frames of the take with samples
LIKELY, OTHER = 9, 3  # samples of two poses


def two_poses(xyz, left, rng):
    """Samples of every frame (T, 1, S, J, 3): nine as they are, three with some joints 40 cm away, in random order."""
    samples = np.repeat(xyz[:, None], LIKELY + OTHER, axis=1)
    samples[:, LIKELY:, left] += [0.0, 0.4, 0.0]
    samples += 0.004 * rng.normal(size=samples.shape)
    for frame in samples:
        rng.shuffle(frame)
    return samples[:, None]


def sampled_walk():
    """20 frames of 6 joints that move; one of them has two places from frame 5 to 14."""
    rng = np.random.default_rng(5)
    xyz = two_poses(np.cumsum(0.01 * rng.normal(size=(20, 6, 3)), axis=0), [5], rng)
    weight = np.full((20, 1, LIKELY + OTHER), -np.inf)
    weight[5:15] = 0.0
    return Sampled(np.where(np.isfinite(weight)[..., None, None], xyz, np.nan), weight)


def test_few_poses_with_the_weight_of_those_near_them():
    sampled = sampled_walk()
    assert spans_of(sampled, 0) == [(5, 14)]
    poses = poses_of(sampled, 7, 0)
    assert poses.weight == pytest.approx([0.75, 0.25])
    assert np.linalg.norm(poses.xyz[0, 5] - poses.xyz[1, 5]) == pytest.approx(0.4, abs=0.03)
    assert in_doubt(sampled, 7, 0).tolist() == [False] * 5 + [True]
    assert 0.01 <= sureness(sampled, 7, 0, int(poses.samples[0])) < 0.03
    assert len(poses_of(sampled, 2, 0).weight) == 0
    alone = Sampled(sampled.xyz[:, :, :1], sampled.log_weight[:, :, :1])
    assert poses_of(alone, 7, 0).weight.tolist() == [1.0]
    assert not in_doubt(alone, 7, 0).any()


def test_weights_count_and_impossible_samples_do_not():
    sampled = sampled_walk()
    poses = poses_of(sampled, 7, 0)
    weight = sampled.log_weight.copy()
    near = distances(sampled.xyz[7, 0], poses.xyz[1]) < 0.05
    weight[7, 0, near] += np.log(9.0)
    assert poses_of(Sampled(sampled.xyz, weight), 7, 0).weight == pytest.approx([0.75, 0.25])  # 3·9 against 9
    weight[7, 0, near] = -np.inf
    assert poses_of(Sampled(sampled.xyz, weight), 7, 0).weight == pytest.approx([1.0])


@pytest.mark.parametrize("rank", [0, 1])
def test_a_pose_is_followed_until_the_samples_end(rank):
    sampled = sampled_walk()
    poses = poses_of(sampled, 9, 0)
    found = followed(sampled, 9, 0, int(poses.samples[rank]))
    assert sorted(found) == list(range(5, 15))
    hand = np.array([sampled.xyz[frame, 0, found[frame], 5] for frame in sorted(found)])
    middle = np.array([np.median(sampled.xyz[frame, 0, :, 5], axis=0) for frame in sorted(found)])
    away = np.linalg.norm(hand - middle, axis=1)
    assert (away < 0.05).all() if rank == 0 else (away > 0.3).all()  # never from one pose to the other


@pytest.fixture
def doubtful(take):
    """The solved take with samples in some of its frames, entered anew."""
    file = take.parent / "take_sightline" / "solution.npz"
    with np.load(file) as read:
        arrays = dict(read)
    names = [str(name) for name in arrays["joint_names"]]
    left = [names.index(name) for name in ("left_elbow", "left_wrist")]
    rng = np.random.default_rng(8)
    xyz = two_poses(arrays["xyz"][:, 0], left, rng)
    weight = np.full(xyz.shape[:3], -np.inf)
    weight[FIRST : LAST + 1] = 0.0
    xyz[~np.isfinite(weight)] = np.nan
    np.savez(file, **arrays | {"hypotheses": xyz.astype(np.float32), "log_weight": weight.astype(np.float32)})
    request = solving.request_for(take)
    solving.enter(bpy.context, request, file)
    bpy.context.scene.frame_set(11 + 9)
    return take


def told(take):
    return read_corrections(corrections_path(take))


def test_choosing_pins_what_is_in_doubt_and_solving_again_follows(doubtful):
    """The unlikely pose is chosen against the evidence of all views: the wrist goes where it is."""
    known = bpy.context.scene.sightline
    file = doubtful.parent / "take_sightline" / "solution.npz"
    before = read_solution(file).solved
    wrist = before.joint_names.index("left_wrist")
    known.overlay.hypothesis = 2
    assert bpy.ops.sightline.choose_hypothesis(follow=False) == {"FINISHED"}
    assert {(c.kind, c.joint, c.person) for c in told(doubtful)} == {
        ("pin", "left_elbow", 1),
        ("pin", "left_wrist", 1),
    }
    pinned = next(c for c in told(doubtful) if c.joint == "left_wrist")
    assert np.linalg.norm(np.array(pinned.place) - before.xyz[9, 0, wrist]) == pytest.approx(0.4, abs=0.03)
    assert pinned.start_s == before.timestamps_s[9] and 0.01 <= pinned.sigma_m <= 0.1
    assert bpy.ops.sightline.choose_hypothesis(follow=True) == {"FINISHED"}
    frames = sorted({round(c.start_s * 60) for c in told(doubtful)})
    assert frames == [9, 15]  # every 0.1 s, which are 6 frames; frame 3 has no samples
    known.overlay.hypothesis = 1
    bpy.ops.sightline.choose_hypothesis(follow=True)
    pinned = next(c for c in told(doubtful) if c.joint == "left_wrist")
    assert np.linalg.norm(np.array(pinned.place) - before.xyz[9, 0, wrist]) < 0.03  # it replaced the other one


def test_solving_again_goes_to_the_chosen_pose(doubtful):
    known = bpy.context.scene.sightline
    file = doubtful.parent / "take_sightline" / "solution.npz"
    before = read_solution(file).solved
    wrist = before.joint_names.index("left_wrist")
    known.overlay.hypothesis = 2
    bpy.ops.sightline.choose_hypothesis(follow=True)
    bpy.ops.sightline.solve_again()
    after = read_solution(file).solved
    moved = after.xyz[9, 0, wrist] - before.xyz[9, 0, wrist]
    assert moved @ [0, 1, 0] > 0.05, moved


def test_ghosts_and_the_panel_follow_the_frame(doubtful):
    scene = bpy.context.scene
    assert missing_hypotheses(bpy.context) == ""
    (one,) = shown.shown_takes(scene)
    sampled = ghosts.sampled_of(one)
    assert ghosts.sampled_of(one) is sampled  # read once
    poses = ghosts.poses_shown(sampled, 9, 0)
    points, colour = ghosts.ghost_lines(one, poses, 1)
    bones = len(one.data.bone_ends)
    assert points.shape == (2 * 2 * bones, 3) and len(colour) == len(points)
    assert (colour[2 * bones :] == [1.0, 0.55, 0.1, 1.0]).all() and (colour[: 2 * bones, 2] == 1.0).all()
    assert [len(part) for part in ghosts.ghost_lines(one, ghosts.poses_shown(sampled, 0, 0), 1)] == [0, 0]
    scene.frame_set(11)
    with pytest.raises(RuntimeError, match="no hypotheses of person 1 in frame 11"):
        bpy.ops.sightline.choose_hypothesis()
    bpy.ops.sightline.next_hypotheses()
    assert scene.frame_current == 11 + FIRST
    bpy.ops.sightline.next_hypotheses()
    assert scene.frame_current == 11 + FIRST  # from the beginning after the last


def test_without_hypotheses_the_reason_is_said(take):
    assert missing_hypotheses(bpy.context)
    with pytest.raises(RuntimeError, match="this solve has no hypotheses"):
        bpy.ops.sightline.choose_hypothesis()


def test_broken_samples_are_refused_in_one_line(tmp_path):
    file = tmp_path / "solution.npz"
    np.savez(file, xyz=np.zeros((4, 1, 6, 3)), hypotheses=np.zeros((3, 1, 2, 6, 3)), log_weight=np.zeros((3, 1, 2)))
    with pytest.raises(InputError, match="do not fit its joints"):
        read_sampled(file)
    file.write_bytes(b"broken")
    with pytest.raises(InputError, match="cannot be read"):
        read_sampled(file)
