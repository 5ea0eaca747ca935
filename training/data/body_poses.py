"""Body poses drawn for training: recorded ones, changed, mixed and turned, and ones made from joint limits alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from inference.shapes import FloatArray

from .body import BONES, PARENTS, POSED_BONES, Body, bone_index
from .joint_limits import angles_of, hinge_frames, limits, mirror_pose, rotations_of
from .motion import Clip, local_rotations, world_rotations

_LEGS = np.array([bone.split(".")[0] in ("thigh", "shin", "foot", "toes") for bone in POSED_BONES])
_SPREAD_DEG = {  # of the random change of each bone: flexion, sideways, twist
    **{bone: (6, 5, 5) for bone in ("spine_low", "spine_mid", "chest", "clavicle")},
    **{"neck": (9, 7, 12), "head": (9, 7, 12), "upper_arm": (22, 22, 22), "forearm": (22, 2, 25), "hand": (20, 9, 5)},
    **{"thigh": (14, 9, 9), "shin": (14, 1, 4), "foot": (9, 6, 4), "toes": (8, 1, 1)},
}
# Postures that recordings lack, degrees (mean, spread): thigh flexion, thigh sideways, knee, foot, each low spine bone.
_POSTURES = {
    "seated": ((-88, 10), (8, 10), (85, 16), (0, 10), (3, 7)),
    "floor": ((-95, 20), (12, 16), (50, 50), (15, 14), (12, 8)),
    "crouched": ((-108, 14), (12, 12), (122, 14), (-12, 8), (12, 6)),
    "kneeling": ((-25, 30), (6, 8), (115, 20), (30, 12), (5, 8)),
    "lunge": ((-30, 45), (4, 8), (45, 35), (0, 14), (4, 8)),
    "folded": ((-85, 20), (4, 8), (15, 18), (0, 8), (16, 5)),
}


@dataclass(frozen=True, eq=False)
class PoseBank:
    """What body poses are drawn from."""

    rotations: FloatArray  # (T, len(POSED_BONES), 3, 3) float32, world_from_rest, of recorded frames
    frames: FloatArray  # (len(POSED_BONES) - 1, 3, 3) hinge frames of the body


def pose_bank(clips: list[Clip], body: Body, step: int = 3) -> PoseBank:
    """Gather every ``step``-th frame of clips."""
    return PoseBank(np.concatenate([clip.rotations[::step] for clip in clips]), hinge_frames(body))


def draw_pose(rng: np.random.Generator, bank: PoseBank, variety: float) -> FloatArray:
    """Draw one body pose.

    Convention:
        the heading is uniform; otherwise upright as recorded with probability 1 - 0.25 · variety, else lying,
        inverted or turned anyhow.

    Args:
        rng: of this scene.
        bank: recorded poses.
        variety: 0 gives recorded poses as they are; 1 changes, mixes and invents.

    Returns:
        (len(POSED_BONES), 3, 3) world_from_rest.
    """
    recorded = bank.rotations[rng.integers(len(bank.rotations))].astype(float)
    if rng.random() < 0.5:
        recorded = mirror_pose(recorded)
    local = local_rotations(recorded)
    kind = rng.random()
    if kind < 0.85 * variety:
        angles = angles_of(local[1:], bank.frames)
        if kind < 0.10 * variety:
            low, high = np.moveaxis(limits(), -1, 0)
            angles = low + (high - low) * rng.beta(1.3, 1.3, low.shape)
        elif kind < 0.35 * variety:
            angles = _posture(rng, angles)
            local[0] = Rotation.from_rotvec(rng.normal(0, 0.15, 3)).as_matrix()
        elif kind < 0.6 * variety:
            other = local_rotations(bank.rotations[rng.integers(len(bank.rotations))].astype(float))
            angles = np.where(_LEGS[1:, None], angles_of(other[1:], bank.frames), angles)
        angles = angles + rng.normal(size=angles.shape) * _SPREAD * rng.uniform(0, 1)
        low, high = np.moveaxis(limits(), -1, 0)
        local[1:] = rotations_of(np.clip(angles, low, high), bank.frames)
    local[0] = _root(rng, local[0], variety)
    return world_rotations(local)


_SPREAD = np.radians([_SPREAD_DEG[bone.split(".")[0]] for bone in POSED_BONES[1:]])


def _posture(rng: np.random.Generator, angles: FloatArray) -> FloatArray:
    """Legs and low spine of one posture under the arms that are given; legs alike, or each for itself."""
    thigh, side, knee, foot, spine = _POSTURES[rng.choice(list(_POSTURES))]
    result, alike = angles.copy(), rng.random() < 0.6
    common = rng.normal(size=4)
    for s in "LR":
        draw = common + 0.3 * rng.normal(size=4) if alike else rng.normal(size=4)
        flexion, sideways, bend, ankle = (
            np.radians(mean + spread * x) for (mean, spread), x in zip((thigh, side, knee, foot), draw, strict=True)
        )
        result[bone_index(f"thigh.{s}") - 1, :2] = flexion, sideways
        result[bone_index(f"shin.{s}") - 1, 0] = bend
        result[bone_index(f"foot.{s}") - 1, 0] = ankle
    lean = np.radians(spine[0] + spine[1] * rng.normal())
    for bone in ("spine_low", "spine_mid", "chest"):
        result[bone_index(bone) - 1, 0] = lean
    return result


def _root(rng: np.random.Generator, pelvis: FloatArray, variety: float) -> FloatArray:
    heading = Rotation.from_euler("z", rng.uniform(0, 2 * np.pi)).as_matrix()
    kind = rng.random()
    if kind < 0.08 * variety:  # lying: tipped by about a right angle
        axis = rng.normal(size=3) * [1, 1, 0]
        tip = Rotation.from_rotvec(axis / np.linalg.norm(axis) * rng.normal(np.pi / 2, 0.2)).as_matrix()
    elif kind < 0.14 * variety:  # inverted
        axis = rng.normal(size=3) * [1, 1, 0.1]
        tip = Rotation.from_rotvec(axis / np.linalg.norm(axis) * rng.normal(np.pi, 0.35)).as_matrix()
    elif kind < 0.25 * variety:
        tip = Rotation.from_quat(rng.normal(size=4)).as_matrix()
    else:
        tip = Rotation.from_rotvec(rng.normal(0, 0.06 * variety, 3)).as_matrix()
    return heading @ tip @ pelvis


def all_bones(
    posed: FloatArray,  # (..., len(POSED_BONES), 3, 3)
    curl: FloatArray,  # (..., 2) rad, of the left and right fingers
) -> FloatArray:
    """Add the bones that follow: forearm twist and fingers; (..., len(BONES), 3, 3)."""
    shape = (*posed.shape[:-3], len(BONES), 3, 3)
    result = np.empty(shape)
    count = len(POSED_BONES)
    result[..., :count, :, :] = posed
    for bone in range(count, len(BONES)):  # a bone needs its parent's result
        name, side = BONES[bone].split(".")
        parent = result[..., PARENTS[bone], :, :]
        if name == "forearm_twist":
            hand = result[..., bone_index(f"hand.{side}"), :, :]
            half = _half_way(parent, hand)
            result[..., bone, :, :] = half
        else:
            amount = curl[..., "LR".index(side)] * (0.5 if name == "thumb" else 1.0)
            axis = _CURL_AXES[side]
            turn = Rotation.from_rotvec(np.atleast_1d(amount)[..., None].reshape(-1, 1) * axis).as_matrix()
            result[..., bone, :, :] = parent @ turn.reshape(*np.shape(amount), 3, 3)
    return result


# About which a finger bends at rest: across the palm, which faces down and inwards.
_CURL_AXES = {"L": np.array([0.75, 0.55, 0.36]) / 1.0, "R": np.array([0.75, -0.55, -0.36]) / 1.0}


def _half_way(start: FloatArray, end: FloatArray) -> FloatArray:
    between = Rotation.from_matrix((np.swapaxes(start, -1, -2) @ end).reshape(-1, 3, 3))
    half = Rotation.from_rotvec(0.5 * between.as_rotvec()).as_matrix()
    return start @ half.reshape(start.shape)


def procedural_clips(body: Body, frames: int = 45) -> list[Clip]:
    """Make motions without any recording: marching with swinging arms, squatting, and waving."""
    hinges = hinge_frames(body)
    phase = np.linspace(0, 2 * np.pi, frames, endpoint=False)
    clips = []
    for name in ("march", "squat", "wave"):
        angles = np.zeros((frames, len(POSED_BONES) - 1, 3))

        def bend(bone: str, axis: int, degrees: FloatArray, into: FloatArray = angles) -> None:
            into[:, bone_index(bone) - 1, axis] = np.radians(degrees)

        for side, sign in (("L", 1), ("R", -1)):
            swing = sign * np.sin(phase)
            low = 1 - np.cos(phase)
            bend(f"upper_arm.{side}", 1, np.full(frames, -35.0))
            if name == "march":
                bend(f"thigh.{side}", 0, -28 + 32 * swing)
                bend(f"shin.{side}", 0, 28 - 25 * swing)
                bend(f"upper_arm.{side}", 0, -18 * swing)
            elif name == "squat":
                bend(f"thigh.{side}", 0, -50 * low)
                bend(f"shin.{side}", 0, 55 * low)
                bend(f"upper_arm.{side}", 0, 35 * low)
            else:
                bend(f"upper_arm.{side}", 1, 40 + 55 * swing)
                bend(f"forearm.{side}", 0, 40 + 40 * np.sin(3 * phase))
        local = np.broadcast_to(np.eye(3), (frames, len(POSED_BONES), 3, 3)).copy()
        local[:, 1:] = rotations_of(angles, hinges)
        local[:, 0] = Rotation.from_rotvec(np.outer(0.2 * np.sin(phase), [0, 0, 1])).as_matrix()
        root = np.column_stack([0.1 * np.sin(phase), 0.1 * np.cos(phase), np.ones(frames)])
        clips.append(Clip(f"procedural_{name}", world_rotations(local), root))
    return clips
