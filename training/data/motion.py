"""Recorded motion of other skeletons, brought onto the bones of our body.

Each source is described by the orientation of its joints in a T pose, ``rest``. What a joint has turned since then is
taken over, times the smallest rotation from our bone's direction at rest to the source's; spine and head have no such
correction, so that another spine's curvature does not bend ours.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from inference.errors import InputError
from inference.shapes import FloatArray

from .body import PARENTS, POSED_BONES, Body, bone_index
from .bvh import WORLD_FROM_Y_UP, JointMotion, JointTree, forward_kinematics, read_bvh

FPS = 30.0
HELD_OUT = ("cmu_005", "cmu_006", "cmu_test")  # prefixes of the clips that no training may see


@dataclass(frozen=True, eq=False)
class Clip:
    """One motion of our bones at `FPS`."""

    name: str
    rotations: FloatArray  # (T, len(POSED_BONES), 3, 3) world_from_rest
    root: FloatArray  # (T, 3) m, the pelvis, for a body whose legs are 1 m from hip to ankle

    @property
    def held_out(self) -> bool:
        """Whether the clip is kept for tests."""
        return self.name.startswith(HELD_OUT)


@dataclass(frozen=True, eq=False)
class Source:
    """How another skeleton's joints correspond to our bones."""

    joints: Mapping[str, tuple[str, str | None]]  # our bone → their joint, and the child its direction points to
    rest: Mapping[str, FloatArray]  # their joint → (3, 3) orientation in the T pose; identity where not named
    world: FloatArray  # (3, 3) our axes from theirs


def _both(table: Mapping[str, tuple[str, str | None]], sides: Mapping[str, str]) -> dict[str, tuple[str, str | None]]:
    """The same row for both sides: ``{}`` in a joint's name stands for its side."""
    rows = {}
    for side, theirs in sides.items():
        for bone, (joint, child) in table.items():
            rows[f"{bone}.{side}"] = (joint.format(theirs), child.format(theirs) if child else None)
    return rows


_CGSPEED = Source(  # CMU's skeleton with world-aligned axes in the zero pose
    {
        **{"pelvis": ("Hips", None), "spine_low": ("LowerBack", None), "spine_mid": ("Spine", None)},
        **{"chest": ("Spine1", None), "neck": ("Neck", None), "head": ("Head", None)},
        **_both({"clavicle": ("{}Shoulder", None), "upper_arm": ("{}Arm", "{}ForeArm"),
                 "forearm": ("{}ForeArm", "{}Hand"), "hand": ("{}Hand", "{}FingerBase"),
                 "thigh": ("{}UpLeg", "{}Leg"), "shin": ("{}Leg", "{}Foot"),
                 "foot": ("{}Foot", "{}ToeBase"), "toes": ("{}Foot", "{}ToeBase")}, {"L": "Left", "R": "Right"}),
    },
    {},
    WORLD_FROM_Y_UP,
)  # fmt: skip


def _iclone() -> Source:
    joints = {
        **dict.fromkeys(("spine_low", "spine_mid"), ("CC_Base_Spine01", None)),
        **{"pelvis": ("CC_Base_Hip", None), "chest": ("CC_Base_Spine02", None)},
        **{"neck": ("CC_Base_NeckTwist01", None), "head": ("CC_Base_Head", None)},
        **_both({"clavicle": ("CC_Base_{}_Clavicle", None), "upper_arm": ("CC_Base_{}_Upperarm", "CC_Base_{}_Forearm"),
                 "forearm": ("CC_Base_{}_Forearm", "CC_Base_{}_Hand"), "hand": ("CC_Base_{}_Hand", "CC_Base_{}_Mid1"),
                 "thigh": ("CC_Base_{}_Thigh", "CC_Base_{}_Calf"), "shin": ("CC_Base_{}_Calf", "CC_Base_{}_Foot"),
                 "foot": ("CC_Base_{}_Foot", "CC_Base_{}_ToeBase"), "toes": ("CC_Base_{}_Foot", "CC_Base_{}_ToeBase")},
                {"L": "L", "R": "R"}),
    }  # fmt: skip
    down = Rotation.from_euler("z", 180, degrees=True).as_matrix()
    rest = {}
    for side, angle in (("L", -90), ("R", 90)):
        out = Rotation.from_euler("z", angle, degrees=True).as_matrix()
        rest |= {f"CC_Base_{side}_{name}": out for name in ("Clavicle", "Upperarm", "Forearm", "Hand")}
        rest |= {f"CC_Base_{side}_{name}": down for name in ("Thigh", "Calf", "Foot")}
    return Source(joints, rest, WORLD_FROM_Y_UP)


_DEEPMIMIC = Source(  # arms hang in the zero pose; x forward, y up, z to the subject's right
    {
        **dict.fromkeys(("pelvis", "spine_low"), ("root", None)),
        **dict.fromkeys(("spine_mid", "chest", "clavicle.L", "clavicle.R"), ("chest", None)),
        **dict.fromkeys(("neck", "head"), ("neck", None)),
        **_both({"upper_arm": ("{}_shoulder", "{}_elbow"), "forearm": ("{}_elbow", "{}_wrist"),
                 "hand": ("{}_elbow", "{}_wrist"), "thigh": ("{}_hip", "{}_knee"), "shin": ("{}_knee", "{}_ankle"),
                 "foot": ("{}_ankle", "{}_toe"), "toes": ("{}_ankle", "{}_toe")}, {"L": "left", "R": "right"}),
    },
    {},
    np.array([[0, 0, -1.0], [-1, 0, 0], [0, 1, 0]]),
)  # fmt: skip
_DEEPMIMIC_TREE = JointTree(
    ("root", "chest", "neck", "right_hip", "right_knee", "right_ankle", "right_shoulder", "right_elbow", "left_hip",
     "left_knee", "left_ankle", "left_shoulder", "left_elbow", "left_wrist", "right_wrist", "left_toe", "right_toe"),
    np.array([-1, 0, 1, 0, 3, 4, 1, 6, 0, 8, 9, 1, 11, 12, 7, 10, 5]),
    np.array([[0, 0, 0], [0, 0.24, 0], [0, 0.22, 0], [0, 0, 0.085], [0, -0.42, 0], [0, -0.41, 0], [0, 0.24, 0.18],
              [0, -0.27, 0], [0, 0, -0.085], [0, -0.42, 0], [0, -0.41, 0], [0, 0.24, -0.18], [0, -0.27, 0],
              [0, -0.26, 0], [0, -0.26, 0], [0.15, -0.05, 0], [0.15, -0.05, 0]]),
)  # fmt: skip
# The order of its frames: quaternions (w, x, y, z) or one angle about z, by joint of the tree above.
_DEEPMIMIC_ORDER = (4, 4, 4, 4, 1, 4, 4, 1, 4, 1, 4, 4, 1)


def retarget(motion: JointMotion, source: Source, body: Body, name: str) -> Clip:
    """Bring a motion onto our bones.

    Convention:
        every n-th frame, so that the rate is as near `FPS` as can be; the clip's root path is in legs' lengths.

    Raises:
        InputError: the file lacks a joint of its kind of skeleton.
    """
    step = max(1, round(motion.fps / FPS))
    turned, positions = motion.rotations[::step], motion.positions[::step]
    index = {joint: i for i, joint in enumerate(motion.tree.names)}
    missing = {joint for pair in source.joints.values() for joint in pair if joint and joint not in index}
    if missing:
        raise InputError(f"{name}: no joint {sorted(missing)[0]}; only the skeletons of data/README.md can be read")
    rotations = np.empty((len(turned), len(POSED_BONES), 3, 3))
    for column, bone in enumerate(POSED_BONES):
        joint, child = source.joints[bone]
        rest = source.rest.get(joint, np.eye(3))
        since = source.world @ turned[:, index[joint]] @ rest.T @ source.world.T
        if child is None:
            rotations[:, column] = since
        else:
            offset = motion.tree.offsets[index[child]]
            if not offset.any():  # CMU's fingers begin where the hand does: the hand goes on along the forearm
                offset = motion.tree.offsets[index[joint]]
            theirs = source.world @ rest @ offset
            rotations[:, column] = since @ smallest_rotation(bone_direction(body, bone), theirs)
    knee, ankle = (source.joints[f"{bone}.L"][0] for bone in ("shin", "foot"))
    leg = sum(np.linalg.norm(motion.tree.offsets[index[joint]]) for joint in (knee, ankle))
    root = positions[:, [index[source.joints["thigh.L"][0]], index[source.joints["thigh.R"][0]]]].mean(axis=1)
    return Clip(name, rotations, root @ source.world.T / leg)


def bone_direction(body: Body, bone: str) -> FloatArray:
    """(3,) unit direction of a bone of the template at rest, towards the bone that follows it."""
    plain, side = bone[:-2], bone[-2:]
    following = {
        "upper_arm": "forearm",
        "forearm": "hand",
        "hand": "fingers",
        "thigh": "shin",
        "shin": "foot",
        "foot": "toes",
        "toes": "toes",
    }[plain]
    start = body.template_heads[bone_index(f"foot{side}" if plain == "toes" else bone)]
    way = (body.template_heads[bone_index(f"{following}{side}")] - start).astype(float)
    return way / np.linalg.norm(way)


def smallest_rotation(
    start: FloatArray,  # (3,)
    end: FloatArray,  # (3,)
) -> FloatArray:
    """Return the (3, 3) smallest rotation that turns one direction into another."""
    a, b = start / np.linalg.norm(start), end / np.linalg.norm(end)
    axis, cosine = np.cross(a, b), float(a @ b)
    sine = np.linalg.norm(axis)
    if sine < 1e-9:
        other = np.cross(a, np.eye(3)[np.argmin(np.abs(a))])
        half_turn = Rotation.from_rotvec(np.pi * other / np.linalg.norm(other)).as_matrix()
        return np.eye(3) if cosine > 0 else half_turn
    return Rotation.from_rotvec(axis / sine * np.arctan2(sine, cosine)).as_matrix()


def read_clips(folder: Path, body: Body) -> Iterator[Clip]:
    """Read every motion of the data folder that we know how to read, in order of name.

    Raises:
        InputError: the folder is missing, or holds none of the known motions.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; name the one that holds cmu_expmap, cmu_bvh_iclone and deepmimic")
    found = False
    for reader in (_read_iclone, _read_expmap, _read_deepmimic, _read_loose_bvh):
        for clip in reader(folder, body):
            found = True
            yield clip
    if not found:
        raise InputError(f"{folder}: no motion in it; it should hold cmu_expmap, cmu_bvh_iclone or deepmimic")


def _read_iclone(folder: Path, body: Body) -> Iterator[Clip]:
    path = folder / "cmu_bvh_iclone" / "subjects.zip"
    if not path.is_file():
        return
    with zipfile.ZipFile(path) as archive:
        for name in sorted(n for n in archive.namelist() if n.endswith(".bvh")):
            motion = read_bvh(archive.read(name).decode(), f"{path.name}:{name}")
            yield retarget(motion, _iclone(), body, f"cmu_{Path(name).stem}")


def _read_expmap(folder: Path, body: Body) -> Iterator[Clip]:
    """Exponential maps of row-vector rotations in the order of CMU's tree, end sites included; rate taken as 30."""
    path, tree_path = folder / "cmu_expmap" / "clips.npz", folder / "bvh" / "01_01.bvh"
    if not (path.is_file() and tree_path.is_file()):
        return
    tree = read_bvh(tree_path.read_text(), tree_path.name).tree
    with np.load(path, allow_pickle=False) as clips:
        for key in sorted(clips.files):
            values = clips[key].reshape(len(clips[key]), -1, 3)
            if values.shape[1] != len(tree.names) + 1:
                raise InputError(f"{path.name}: clip {key} has {values.shape[1] - 1} joints, not {len(tree.names)}")
            local = Rotation.from_rotvec(-values[:, 1:].reshape(-1, 3)).as_matrix()
            motion = forward_kinematics(tree, local.reshape(len(values), -1, 3, 3), values[:, 0], FPS)
            split, _, stem = key.split("/")
            yield retarget(motion, _CGSPEED, body, f"cmu_{split}_{stem}")


def _read_deepmimic(folder: Path, body: Body) -> Iterator[Clip]:
    for path in sorted((folder / "deepmimic").glob("humanoid3d_*.txt")):
        try:
            rows = np.array(json.loads(path.read_text())["Frames"], dtype=float)
            duration, columns = float(rows[0, 0]), np.split(rows[:, 4:], np.cumsum(_DEEPMIMIC_ORDER)[:-1], axis=1)
        except (ValueError, KeyError, IndexError) as error:
            raise InputError(f"{path.name}: not a DeepMimic motion ({error})") from None
        local = np.broadcast_to(np.eye(3), (len(rows), len(_DEEPMIMIC_TREE.names), 3, 3)).copy()
        for joint, part in enumerate(columns):
            if part.shape[1] == 1:
                local[:, joint] = Rotation.from_rotvec(part * [0, 0, 1.0]).as_matrix()
            else:
                local[:, joint] = Rotation.from_quat(part[:, [1, 2, 3, 0]]).as_matrix()
        motion = forward_kinematics(_DEEPMIMIC_TREE, local, rows[:, 1:4], 1 / duration)
        yield retarget(motion, _DEEPMIMIC, body, f"deepmimic_{path.stem.removeprefix('humanoid3d_')}")


def _read_loose_bvh(folder: Path, body: Body) -> Iterator[Clip]:
    """BVH files with CMU's joint names."""
    for path in sorted((folder / "bvh").glob("*.bvh")):
        motion = read_bvh(path.read_text(), path.name)
        if "LHipJoint" in motion.tree.names:
            yield retarget(motion, _CGSPEED, body, f"cmu_bvh_{path.stem}")


def local_rotations(rotations: FloatArray) -> FloatArray:
    """(..., len(POSED_BONES), 3, 3) rotations relative to the parent, from those in the world."""
    local = rotations.copy()
    for bone in range(1, len(POSED_BONES)):
        local[..., bone, :, :] = np.swapaxes(rotations[..., PARENTS[bone], :, :], -1, -2) @ rotations[..., bone, :, :]
    return local


def world_rotations(local: FloatArray) -> FloatArray:
    """Inverse of `local_rotations`."""
    world = local.copy()
    for bone in range(1, len(POSED_BONES)):  # a bone needs its parent's result
        world[..., bone, :, :] = world[..., PARENTS[bone], :, :] @ local[..., bone, :, :]
    return world
