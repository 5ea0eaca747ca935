"""A rig, a skeleton, a dance and noise known exactly: scenes for tests and for `tools/bench.py`.

    scene = make_scene(frames=400, cameras=4, fps=60.0, seed=1)         # truth, no noise
    views = observe(scene, BASE, seed=11)                               # tuple of Keypoints2D, one per camera
    views = observe(scene, replace(BASE, outliers=0.2), seed=11)        # any field of Noise
    rig = disturbed_rig(scene.rig, rotation_deg=0.15, centre_m=0.005, seed=5)   # the rig that the solver believes

`SCENES` names the rows of the benchmark. Everything is procedural and depends on the seeds alone.
World: Z up, metres, the subject within about 0.8 m of the origin, cameras on a circle of 4.5 m at heights of 1.2-2.2 m.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from inference.geometry.camera_path import before_first_pose
from inference.geometry.projection import project
from inference.geometry.rotation import exp
from inference.layouts import layout, mirrored
from inference.shapes import BoolArray, FloatArray
from inference.types import Camera, CameraPath, CameraRig, Intrinsics, Keypoints2D

IMAGE_SIZE = (1920, 1080)
FOCAL_PX = 1400.0
LIMBS = (("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle"))

# Lengths in metres of a person of about 1.75 m, by child joint of the tree below.
_TORSO, _HALF_SHOULDERS, _HALF_HIPS = 0.50, 0.18, 0.13
_UPPER_ARM, _FOREARM, _THIGH, _SHIN = 0.29, 0.26, 0.42, 0.42


@dataclass(frozen=True, eq=False)
class Scene:
    """What is true."""

    rig: CameraRig
    joint_names: tuple[str, ...]
    timestamps_s: FloatArray  # (T,)
    xyz: FloatArray  # (T, P, J, 3) m


@dataclass(frozen=True)
class Noise:
    """What a detector adds to the true projections. Pixels are those of the picture; shares are of all keypoints."""

    sigma_px: float = 3.0  # per axis
    degrees_of_freedom: float = float("inf")  # of Student-t noise with that scale
    correlation: float = 0.0  # from one frame to the next (AR(1)); sigma_px is the standing deviation
    offset_px: float = 0.0  # standing offset per camera and joint, sigma per axis
    outliers: float = 0.05  # share of wild keypoints; half of them keep a high score
    missing: float = 0.05  # share missing, in bursts of about 10 frames per camera and joint
    swaps: float = 0.01  # share of (frame, camera, limb) with left and right exchanged
    outlier_px: float = 150.0  # sigma per axis of wild keypoints
    stated_sigma_px: float | None = None  # what the keypoints' covariance claims; None: sigma_px


BASE = Noise()
SCENES: dict[str, Noise] = {
    "base": BASE,
    "white": replace(BASE, outliers=0, missing=0, swaps=0),
    "outliers20": replace(BASE, outliers=0.2),
    "student_t3": replace(BASE, degrees_of_freedom=3.0),
    "swaps5": replace(BASE, swaps=0.05),
    "correlated": replace(BASE, correlation=0.8),
    "realistic": replace(BASE, sigma_px=4.0, correlation=0.75, offset_px=4.0),
}


def make_scene(
    frames: int = 400, cameras: int = 4, fps: float = 60.0, seed: int = 0, layout_name: str = "coco_17", people: int = 1
) -> Scene:
    """Make a rig and people who dance and walk with bones of constant length.

    Convention:
        several people share the floor: person p's path is moved by 1 m per person along x.
    """
    names = layout(layout_name).joint_names
    times = np.arange(frames) / fps
    xyz = [dance(times, names, seed + 1000 * p) + np.array([1.0 * p, 0, 0]) for p in range(people)]
    return Scene(circle_rig(cameras), names, times, np.stack(xyz, axis=1))


def circle_rig(cameras: int = 4, radius_m: float = 4.5, distortion: Sequence[float] = (-0.11, 0, 0, 0)) -> CameraRig:
    """Cameras on a circle looking at the subject's waist; two cameras stand 90 degrees apart, others evenly."""
    step = np.pi / 2 if cameras == 2 else 2 * np.pi / cameras
    made = []
    for index in range(cameras):
        angle = 0.35 + index * step
        centre = np.array([radius_m * np.cos(angle), radius_m * np.sin(angle), 1.2 + (index % 3) * 0.5])
        made.append(look_at(f"cam{index + 1:02d}", centre, np.array([0, 0, 0.95]), distortion))
    return CameraRig(tuple(made), np.zeros((6 * cameras, 6 * cameras)))


def moving_rig(rig: CameraRig, times: FloatArray, moving: Sequence[int] | None = None, seed: int = 0) -> CameraRig:
    """Cameras (or some of them) on dollies and in hands: about 0.6 m to and fro, panning 10 degrees, shaking a little.

    The path has a pose at every time; the error covariance is that of the rig.
    """
    rng = np.random.default_rng(seed)
    cameras = list(rig.cameras)
    for index in range(len(cameras)) if moving is None else moving:
        camera = cameras[index]
        phase, swing = rng.uniform(0, 2 * np.pi, (2, 3)), np.array([0.03, 0.17, 0.02])
        slow = np.sin(2 * np.pi * 0.25 * times[:, None] + phase[0])
        shake = 0.003 * np.sin(2 * np.pi * 5.0 * times[:, None] + phase[1])
        R = exp(swing * slow + shake) @ camera.R
        centre = camera.centre + slow[:, ::-1] * np.array([0.3, 0.3, 0.1])
        t = -np.einsum("tij,tj->ti", R, centre)
        cameras[index] = Camera(camera.intrinsics, R[0], t[0], CameraPath(times, R, t))
    return replace(rig, cameras=tuple(cameras))


def look_at(name: str, centre: FloatArray, target: FloatArray, distortion: Sequence[float]) -> Camera:
    """Return a camera at ``centre`` (m) that sees ``target`` in the middle of the picture, upright."""
    forward = (target - centre) / np.linalg.norm(target - centre)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    width, height = IMAGE_SIZE
    K = np.array([[FOCAL_PX, 0, (width - 1) / 2], [0, FOCAL_PX, (height - 1) / 2], [0, 0, 1]])
    return Camera(Intrinsics(name, IMAGE_SIZE, K, np.asarray(distortion, float)), rotation, -rotation @ centre)


def disturbed_rig(rig: CameraRig, rotation_deg: float, centre_m: float, seed: int, stated: bool = True) -> CameraRig:
    """Return the rig with every camera turned and moved a little (sigma per axis), and the covariance of that."""
    rng = np.random.default_rng(seed)
    moved, blocks = [], []
    for camera in rig.cameras:
        turn = exp(np.deg2rad(rotation_deg) * rng.normal(size=3)) @ camera.R
        centre = camera.centre + centre_m * rng.normal(size=3)
        moved.append(Camera(camera.intrinsics, turn, -(turn @ centre)))
        blocks.append(pose_covariance(moved[-1], rotation_deg, centre_m))
    covariance = np.zeros_like(rig.covariance)
    if stated:
        for index, block in enumerate(blocks):
            covariance[6 * index : 6 * index + 6, 6 * index : 6 * index + 6] = block
    return CameraRig(tuple(moved), covariance)


def pose_covariance(camera: Camera, rotation_deg: float, centre_m: float) -> FloatArray:
    """(6, 6) covariance of (rotation vector, t) when rotation and centre err independently; t = -R c."""
    t = camera.t
    cross = np.array([[0, -t[2], t[1]], [t[2], 0, -t[0]], [-t[1], t[0], 0]])
    turn = np.vstack([np.eye(3), -cross])  # d(w, t): t' = exp(w) t - R' dc
    move = np.vstack([np.zeros((3, 3)), -camera.R])
    return np.deg2rad(rotation_deg) ** 2 * turn @ turn.T + centre_m**2 * move @ move.T


def dance(times: FloatArray, joint_names: Sequence[str], seed: int = 0) -> FloatArray:
    """(T, J, 3) joints of a person who walks about, turns and swings arms and legs; bone lengths are constant.

    Angles are sums of a few slow sines with random phases (0.3-1.7 Hz), the root wanders within about 0.8 m.
    """
    rng = np.random.default_rng(seed)

    def wave(size: float, low: float = 0.3, high: float = 1.2) -> FloatArray:
        speed, phase = rng.uniform(low, high, 3), rng.uniform(0, 2 * np.pi, 3)
        return size * np.sin(2 * np.pi * speed * times[:, None] + phase).mean(axis=-1) * 1.6

    root = np.stack([wave(0.6, 0.05, 0.25), wave(0.6, 0.05, 0.25), 0.93 + wave(0.05, 0.5, 1.7)], axis=-1)
    heading = wave(2.0, 0.05, 0.3)
    pelvis = exp(heading[:, None] * np.array([0, 0, 1.0])) @ exp(np.stack([wave(0.1), wave(0.1), wave(0.1)], -1))
    chest = pelvis @ exp(np.stack([wave(0.25), wave(0.15), wave(0.3)], axis=-1))
    head = chest @ exp(np.stack([wave(0.3), wave(0.2), wave(0.5)], axis=-1))
    place = {"pelvis": root, "neck": root + chest @ np.array([0, 0, _TORSO])}
    place |= _face(place["neck"], head)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        place[f"{side}_shoulder"] = place["neck"] + chest @ np.array([sign * _HALF_SHOULDERS, 0, 0])
        place[f"{side}_hip"] = root + pelvis @ np.array([sign * _HALF_HIPS, 0, 0])
        raised = exp((sign * (wave(0.9) - 0.9))[:, None] * np.array([0, -1.0, 0]))
        upper = chest @ raised @ exp(np.stack([wave(0.7, 0.3, 1.2) - 0.3, wave(0.3), wave(0.4)], axis=-1))
        place |= _arm(side, place[f"{side}_shoulder"], upper, sign, 0.9 + wave(0.6, 0.3, 1.2))
        thigh = pelvis @ exp(np.stack([wave(0.7, 0.4, 1.4) - 0.3, wave(0.15), wave(0.2)], axis=-1))
        place |= _leg(side, place[f"{side}_hip"], thigh, 0.7 + wave(0.6, 0.4, 1.4))
    place |= _aliases(place)
    return np.stack([place[name] for name in joint_names], axis=1)


def _turn_x(angle: FloatArray) -> FloatArray:
    return exp(angle[:, None] * np.array([1.0, 0, 0]))


def _face(neck: FloatArray, head: FloatArray) -> dict[str, FloatArray]:
    """Points fixed to the head; the subject faces -y."""
    spots = {"nose": (0, -0.13, 0.17), "head_top": (0, 0, 0.32), "upper_neck": (0, 0, 0.08)}
    for side, sign in (("left", 1), ("right", -1)):
        spots[f"{side}_eye"] = (sign * 0.032, -0.10, 0.20)
        spots[f"{side}_eye_inner"] = (sign * 0.018, -0.105, 0.20)
        spots[f"{side}_eye_outer"] = (sign * 0.046, -0.09, 0.20)
        spots[f"{side}_ear"] = (sign * 0.075, 0.0, 0.18)
        spots[f"{side}_mouth"] = (sign * 0.025, -0.11, 0.12)
    return {name: neck + head @ np.array(spot, float) for name, spot in spots.items()}


def _arm(side: str, shoulder: FloatArray, upper: FloatArray, sign: float, bend: FloatArray) -> dict[str, FloatArray]:
    elbow = shoulder + upper @ np.array([0, 0, -_UPPER_ARM])
    fore = upper @ _turn_x(-bend)
    wrist = elbow + fore @ np.array([0, 0, -_FOREARM])
    tips = {"index": (0.02, 0, -0.10), "pinky": (-0.03, 0, -0.09), "thumb": (0.05, 0, -0.05)}
    tips = {name: (sign * x, y, z) for name, (x, y, z) in tips.items()}
    hand = {f"{side}_{name}": wrist + fore @ np.array(spot) for name, spot in tips.items()}
    return {f"{side}_elbow": elbow, f"{side}_wrist": wrist} | hand


def _leg(side: str, hip: FloatArray, thigh: FloatArray, bend: FloatArray) -> dict[str, FloatArray]:
    knee = hip + thigh @ np.array([0, 0, -_THIGH])
    shin = thigh @ _turn_x(np.abs(bend))
    ankle = knee + shin @ np.array([0, 0, -_SHIN])
    spots = {"heel": (0, 0.05, -0.06), "big_toe": (0.02, -0.18, -0.06), "small_toe": (0.06, -0.15, -0.06)}
    foot = {f"{side}_{name}": ankle + shin @ np.array(spot, float) for name, spot in spots.items()}
    return {f"{side}_knee": knee, f"{side}_ankle": ankle} | foot


def _aliases(place: dict[str, FloatArray]) -> dict[str, FloatArray]:
    return {
        "spine": (place["pelvis"] + place["neck"]) / 2,
        "thorax": place["neck"],
        "left_foot_index": place["left_big_toe"],
        "right_foot_index": place["right_big_toe"],
    }


def observe(scene: Scene, noise: Noise = BASE, seed: int = 0) -> tuple[Keypoints2D, ...]:
    """Project the truth into every camera and disturb it.

    Convention:
        scores of good keypoints are uniform in 0.6-1. Half of the wild keypoints look the same; the others score
        0.1-0.5 and state a covariance enlarged by (0.6/score)². Order of events: noise, offsets, limb swaps, wild
        keypoints, missing ones; a keypoint outside the picture is missing too.

    Args:
        scene: the truth.
        noise: what to add.
        seed: of all random numbers.

    Returns:
        One Keypoints2D per camera, P = people of the scene.
    """
    rng = np.random.default_rng(seed)
    return tuple(_observe_one(scene, camera, noise, rng) for camera in scene.rig.cameras)


def _observe_one(scene: Scene, camera: Camera, noise: Noise, rng: np.random.Generator) -> Keypoints2D:
    xy = project(camera, before_first_pose(camera, scene.xyz, scene.timestamps_s))
    shape = xy.shape[:-1]
    xy = xy + noise.sigma_px * _memory_noise(rng, xy.shape, noise) + noise.offset_px * rng.normal(size=xy.shape[1:])
    xy = _swap_limbs(xy, scene.joint_names, noise.swaps, rng)
    score = rng.uniform(0.6, 1.0, shape)
    wild = rng.random(shape) < noise.outliers
    xy = np.where(wild[..., None], xy + noise.outlier_px * rng.normal(size=xy.shape), xy)
    score = np.where(wild & (rng.random(shape) < 0.5), rng.uniform(0.1, 0.5, shape), score)
    width, height = camera.intrinsics.image_size
    inside = ((xy > -0.5) & (xy < np.array([width, height]) - 0.5)).all(axis=-1)
    seen = inside & ~_bursts(rng, shape, noise.missing)
    stated = noise.sigma_px if noise.stated_sigma_px is None else noise.stated_sigma_px
    variance = np.where(seen, stated**2 * np.maximum(1, 0.6 / score) ** 2, np.nan)
    return Keypoints2D(
        camera.name,
        scene.joint_names,
        scene.timestamps_s,
        np.where(seen[..., None], xy, np.nan),
        variance[..., None, None] * np.eye(2),
        np.where(seen, score, 0.0),
    )


def _memory_noise(rng: np.random.Generator, shape: tuple[int, ...], noise: Noise) -> FloatArray:
    """Unit noise with memory along the first axis; Student t by a common divisor for both axes."""
    fresh = rng.normal(size=shape)
    rho = noise.correlation
    for t in range(1, shape[0] if rho else 0):
        fresh[t] = rho * fresh[t - 1] + np.sqrt(1 - rho**2) * fresh[t]
    if np.isfinite(noise.degrees_of_freedom):
        nu = noise.degrees_of_freedom
        fresh /= np.sqrt(rng.chisquare(nu, (*shape[:-1], 1)) / nu)
    return fresh


def _swap_limbs(xy: FloatArray, names: Sequence[str], share: float, rng: np.random.Generator) -> FloatArray:
    xy = xy.copy()
    for limb in LIMBS:
        sided = [f"left_{joint}" for joint in limb]
        left = [names.index(name) for name in sided if name in names and mirrored(name) in names]
        right = [names.index(mirrored(names[j])) for j in left]
        swapped = rng.random(xy.shape[:2]) < share
        t, p = np.nonzero(swapped)
        for a, b in zip(left, right, strict=True):
            xy[t, p, a], xy[t, p, b] = xy[t, p, b], xy[t, p, a]
    return xy


def _bursts(rng: np.random.Generator, shape: tuple[int, ...], share: float, length: float = 10.0) -> BoolArray:
    """(T, P, J) True where missing: a two-state chain with that share and mean length in frames."""
    if share <= 0:
        return np.zeros(shape, bool)
    start = share / (1 - share) / length
    gone = np.empty(shape, bool)
    gone[0] = rng.random(shape[1:]) < share
    for t in range(1, shape[0]):
        draw = rng.random(shape[1:])
        gone[t] = np.where(gone[t - 1], draw > 1 / length, draw < start)
    return gone


def coverage(error: FloatArray, covariance: FloatArray, levels: Sequence[float] = (0.5, 0.9, 0.95)) -> list[float]:
    """Share of errors (..., 3) inside the Gaussian ellipsoids of those levels; NaN rows are left out."""
    from scipy.stats import chi2

    good = np.isfinite(error).all(axis=-1) & np.isfinite(covariance).all(axis=(-1, -2))
    solved = np.linalg.solve(covariance[good], error[good][..., None])[..., 0]
    distance = (error[good] * solved).sum(axis=-1)
    return [float((distance < chi2.ppf(level, 3)).mean()) for level in levels]
