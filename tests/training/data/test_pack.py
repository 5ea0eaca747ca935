import numpy as np
import pytest

from inference.errors import InputError
from training.data import make_pack
from training.data.body import BONES, JOINT_NAMES, bone_index
from training.data.joint_limits import angles_of, hinge_frames, limits, mirror_pose, rotations_of
from training.data.motion import local_rotations, read_clips, world_rotations
from training.data.pack import load_pack, save_pack
from training.data.panoramas import read_panoramas


def test_body_is_whole(pack):
    body = pack.body
    assert np.allclose(body.weights.sum(axis=1), 1, atol=1e-5)
    assert 2000 < len(body.triangles) <= 3100
    edges = np.concatenate([body.triangles[:, [0, 1]], body.triangles[:, [1, 2]], body.triangles[:, [2, 0]]])
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 1).all()  # every triangle turns the same way


def test_left_is_the_subjects_left(pack):
    """At rest the body faces -Y, so its left is +X; names of keypoints and bones agree."""
    for joint, name in enumerate(JOINT_NAMES):
        x = pack.body.keypoints[:, joint, 0]
        assert (x > 0.01).all() if name.startswith("left_") else (x < -0.01).all() if name[0] == "r" else True
        carrier = BONES[pack.body.keypoint_bones[joint]]
        assert carrier[-2:] not in (".L", ".R") or carrier[-1].lower() == name[0]
    nose, ear = (pack.body.keypoints[:, JOINT_NAMES.index(name), 1] for name in ("nose", "left_ear"))
    assert (nose < ear).all()


def test_keypoints_lie_in_or_on_the_body(pack):
    for shape, points in zip(pack.body.shapes, pack.body.keypoints, strict=True):
        nearest = np.linalg.norm(points[:, None] - shape[None], axis=2).min(axis=1)
        assert nearest.max() < 0.16


def test_pack_survives_writing(pack, pack_file):
    again = load_pack(pack_file)
    assert np.array_equal(again.body.shapes, pack.body.shapes)
    assert [clip.name for clip in again.clips] == ["procedural_march", "procedural_squat", "procedural_wave"]
    rotations = again.clips[0].rotations
    assert np.allclose(np.linalg.det(rotations.reshape(-1, 3, 3)), 1, atol=1e-4)


def test_missing_and_damaged_packs_are_refused(tmp_path, pack_file):
    with pytest.raises(InputError, match="no such pack; build it with"):
        load_pack(tmp_path / "none.npz")
    cut = tmp_path / "cut.npz"
    cut.write_bytes(pack_file.read_bytes()[:5000])
    with pytest.raises(InputError, match="not a pack"):
        load_pack(cut)
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(InputError, match="not a pack"):
        load_pack(tmp_path / "other.npz")


def test_pack_of_another_version_is_refused(tmp_path, pack_file):
    with np.load(pack_file) as file:
        arrays = dict(file)
    np.savez(tmp_path / "old.npz", **(arrays | {"version": np.array(0)}))
    with pytest.raises(InputError, match="version 0, this is 1"):
        load_pack(tmp_path / "old.npz")


def test_missing_data_are_one_line(tmp_path, pack, caplog):
    with pytest.raises(InputError, match="no such folder"):
        list(read_clips(tmp_path / "none", pack.body))
    with pytest.raises(InputError, match="no motion in it"):
        list(read_clips(tmp_path, pack.body))
    with pytest.raises(InputError, match="no .hdr panoramas"):
        read_panoramas(tmp_path)
    assert make_pack.main(["--out", str(tmp_path / "p.npz"), "--motion", str(tmp_path), "--hdri", str(tmp_path)]) == 2
    assert make_pack.main(["--out", str(tmp_path / "p.npz")]) == 2
    assert not (tmp_path / "p.npz").exists() and len(caplog.records) == 2


def test_real_motions_are_read_and_split(pack, shared_data, tmp_path):
    """Only the quick reader: a walk of CMU stands upright and steps forward; subject 005 is held out by its name."""
    folder = tmp_path / "motion"
    (folder / "bvh").mkdir(parents=True)
    (folder / "bvh" / "01_01.bvh").write_text((shared_data / "motion" / "bvh" / "01_01.bvh").read_text())
    (clip,) = read_clips(folder, pack.body)
    assert clip.name == "cmu_bvh_01_01" and not clip.held_out
    assert not np.isnan(clip.rotations).any()
    up = clip.rotations[:, bone_index("chest"), 2, 2]
    assert np.median(up) > 0.8
    assert type(clip)("cmu_005_03", clip.rotations, clip.root).held_out


def test_angles_and_rotations_are_inverse(pack):
    rng, frames = np.random.default_rng(1), hinge_frames(pack.body)
    low, high = np.moveaxis(limits(), -1, 0)
    angles = low + (high - low) * rng.uniform(size=(20, *low.shape))
    assert np.allclose(angles_of(rotations_of(angles, frames), frames), angles, atol=1e-9)


def test_knees_and_elbows_bend_the_right_way(pack):
    """Flexion by 90 degrees: the shin points back, the forearm forward, on both sides."""
    angles = np.zeros((len(limits()), 3))
    for side in "LR":
        angles[bone_index(f"shin.{side}") - 1, 0] = np.pi / 2
        angles[bone_index(f"forearm.{side}") - 1, 0] = np.pi / 4
    local = np.concatenate([np.eye(3)[None], rotations_of(angles, hinge_frames(pack.body))])
    world = world_rotations(local)
    heads = pack.body.template_heads
    for side in "LR":
        shin = heads[bone_index(f"foot.{side}")] - heads[bone_index(f"shin.{side}")]
        assert (world[bone_index(f"shin.{side}")] @ shin)[1] > 0.3
        fore = heads[bone_index(f"hand.{side}")] - heads[bone_index(f"forearm.{side}")]
        assert (world[bone_index(f"forearm.{side}")] @ fore)[1] < fore[1] - 0.05


def test_mirror_twice_is_nothing_and_exchanges_sides(pack):
    pose = pack.clips[0].rotations[10].astype(float)
    assert np.allclose(mirror_pose(mirror_pose(pose)), pose)
    assert np.allclose(world_rotations(local_rotations(pose)), pose, atol=1e-6)
    mirrored = mirror_pose(pose)
    left, right = pose[bone_index("thigh.L")], mirrored[bone_index("thigh.R")]
    assert np.allclose(left[:, 1] * [-1, 1, 1], right[:, 1])


def test_interrupted_write_leaves_no_pack(tmp_path, pack):
    broken = type(pack)(pack.body, (), pack.panoramas)
    with pytest.raises(ValueError, match="concatenate"):
        save_pack(broken, tmp_path / "p.npz")
    assert not (tmp_path / "p.npz").exists()
