"""The Blender suite: the extension as one package under the name ``sightline``, and solutions of known motion."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="the Blender suite needs the bpy module")

ROOT = Path(__file__).resolve().parents[2]


def _load_extension() -> Any:
    spec = importlib.util.spec_from_file_location(
        "sightline", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["sightline"] = module
    spec.loader.exec_module(module)
    return module


SIGHTLINE = sys.modules.get("sightline") or _load_extension()

from sightline.addon import solving  # noqa: E402
from sightline.inference.geometry import rotation  # noqa: E402
from sightline.inference.layouts import layout  # noqa: E402
from sightline.inference.motion.kinematics import bone_rotations, rigid_joints  # noqa: E402
from sightline.inference.motion.retarget import joints_of  # noqa: E402
from sightline.inference.motion.skeleton import build_skeleton, rest_lengths  # noqa: E402
from sightline.inference.pipeline import solve  # noqa: E402
from sightline.inference.take import read_take  # noqa: E402
from sightline.inference.types import (  # noqa: E402
    Camera,
    CameraRig,
    Intrinsics,
    Keypoints3D,
    Skeleton,
    SkeletonMotion,
    Solution,
)

from tests.keypoint_take import write_take  # noqa: E402

JOINTS = ("pelvis", "neck", "head_top", "left_shoulder", "left_elbow", "left_wrist", "left_hip", "left_knee")
PARENTS = (-1, 0, 1, 1, 3, 4, 0, 6)
BONES = ("spine", "head", "left_clavicle", "left_upper_arm", "left_forearm", "left_pelvis", "left_thigh")
LENGTHS = np.array([0.5, 0.25, 0.18, 0.3, 0.26, 0.1, 0.42])
DIRECTIONS = np.array([[0, 0, 1], [0, 0, 1], [1, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 0, -1]], dtype=float)


def _look_at(centre: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    forward = (target - centre) / np.linalg.norm(target - centre)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    R = np.array([right, np.cross(forward, right), forward])
    return R, -R @ centre


def _rig() -> CameraRig:
    """Landscape and portrait, fx ≠ fy, principal points far off the centre."""
    cameras = []
    for name, size, f, c, centre in (
        ("cam01", (1920, 1080), (1500.0, 1500.3), (900.2, 600.7), (4.0, -3.0, 1.5)),
        ("cam02", (1080, 1920), (1410.2, 1410.0), (600.0, 900.0), (-3.0, -4.0, 2.2)),
        ("side", (640, 480), (700.0, 700.0), (319.5, 239.5), (0.5, 5.0, 0.8)),
    ):
        K = np.array([[f[0], 0, c[0]], [0, f[1], c[1]], [0, 0, 1]])
        R, t = _look_at(np.array(centre), np.array([0.0, 0.0, 1.0]))
        cameras.append(Camera(Intrinsics(name, size, K, np.zeros(5)), R, t))
    return CameraRig(tuple(cameras), np.zeros((18, 18)))


def _rotations(rng: np.random.Generator, T: int, count: int) -> np.ndarray:
    """(T, count, 4) smooth unit quaternions wxyz."""
    ends = rng.normal(size=(2, count, 4))
    ends[1] = ends[0] + 0.6 * ends[1]
    share = np.linspace(0, 1, T)[:, None, None]
    q = ends[0] * (1 - share) + ends[1] * share
    return q / np.linalg.norm(q, axis=-1, keepdims=True)


def matrix_of(q: np.ndarray) -> np.ndarray:
    """(..., 3, 3) rotations of (..., 4) quaternions wxyz, written out by hand."""
    w, x, y, z = np.moveaxis(q, -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def _joints(motion: SkeletonMotion) -> np.ndarray:
    """(T, P, J, 3) by forward kinematics, bone after bone."""
    T, P = motion.root_translation.shape[:2]
    xyz = np.zeros((T, P, len(JOINTS), 3))
    xyz[:, :, 0] = motion.root_translation
    frames = [np.eye(3)] * len(BONES)
    local = matrix_of(motion.local_rotation)
    for b, parent in enumerate(motion.skeleton.bone_parents):
        frames[b] = frames[parent] @ local[:, :, b] if parent >= 0 else local[:, :, b]
        step = frames[b] @ np.array([0.0, 1.0, 0.0]) * motion.bone_length[:, b, None]
        xyz[:, :, b + 1] = xyz[:, :, motion.skeleton.parents[b + 1]] + step
    return xyz


@pytest.fixture
def make_solution() -> Callable[..., Solution]:
    """A function that makes a solution of known, smooth, random motion (one seed, one motion)."""

    def make(T: int = 12, fps: float = 30.0, persons: int = 1, seed: int = 7, gap: bool = True) -> Solution:
        rng = np.random.default_rng(seed)
        skeleton = Skeleton(JOINTS, np.array(PARENTS), BONES, DIRECTIONS)
        times = np.arange(T) / fps
        walk = np.cumsum(rng.normal(scale=0.02, size=(T, persons, 3)), axis=0)
        motion = SkeletonMotion(
            skeleton,
            times,
            walk + np.array([0.0, 0.0, 0.9]) + np.arange(persons)[:, None] * [0.8, 0.0, 0.0],
            _rotations(rng, T, persons),
            _rotations(rng, T, persons * len(BONES)).reshape(T, persons, len(BONES), 4),
            np.tile(LENGTHS, (persons, 1)) * (1 + 0.1 * np.arange(persons)[:, None]),
        )
        xyz = _joints(motion)
        axes = matrix_of(_rotations(rng, T, persons * len(JOINTS)).reshape(T, persons, len(JOINTS), 4))
        sigma = np.array([0.004, 0.012, 0.05]) * rng.uniform(0.7, 1.4, size=(persons, len(JOINTS), 1))
        covariance = axes @ ((sigma**2)[..., None] * np.eye(3)) @ np.swapaxes(axes, -1, -2)
        flag = np.full(xyz.shape[:3], 3)
        if gap:  # a joint that is lost for a while, and one that is never seen
            for place in (np.s_[4:7, 0, 5], np.s_[:, 0, 7]):
                xyz[place], covariance[place], flag[place] = np.nan, np.nan, 0
        solved = Keypoints3D(JOINTS, times, xyz, covariance, flag)
        raw = Keypoints3D(JOINTS, times, xyz + 0.001, covariance * 2, flag)
        return Solution(
            _rig(), raw, solved, motion, np.zeros((T, persons, 0)), (), np.zeros(3), np.zeros(3), np.full(4, np.nan)
        )

    return make


def body_motion(T: int = 8, fps: float = 30.0, persons: int = 1, seed: int = 3) -> SkeletonMotion:
    """A whole body (halpe_26) that swings its limbs smoothly and walks; other people are taller."""
    rng = np.random.default_rng(seed)
    skeleton = build_skeleton(layout("halpe_26").joint_names)
    times, parts = np.arange(T) / fps, []
    for person in range(persons):
        bones = rotation.exp(rng.normal(scale=0.5, size=(len(skeleton.bone_names), 3)))
        swing = rng.normal(scale=0.4, size=(len(skeleton.bone_names), 3))
        turned = bones @ rotation.exp(np.linspace(-1, 1, T)[:, None, None] * swing)
        xyz = np.zeros((T, len(skeleton.joint_names), 3))
        xyz[:, 0] = [0.7 * person, 0.2, 0.95] + np.linspace(0, 1, T)[:, None] * [0.3, -0.4, 0.05]
        lengths = rest_lengths(skeleton) * (1 + 0.1 * person)
        for bone, parent in enumerate(skeleton.parents[1:]):
            step = (turned[:, bone] @ skeleton.rest_direction[bone]) * lengths[bone]
            if "hip" in skeleton.joint_names[bone + 1]:  # both hips on one line
                side = 1 if "left" in skeleton.joint_names[bone + 1] else -1
                step = side * lengths[bone] * (turned[:, 0] @ np.array([1.0, 0, 0]))
            xyz[:, bone + 1] = xyz[:, parent] + step
        parts.append((xyz[:, 0], *bone_rotations(skeleton, rigid_joints(skeleton, xyz, lengths), times), lengths))
    root, turn, local, lengths = (list(part) for part in zip(*parts, strict=True))
    return SkeletonMotion(skeleton, times, np.stack(root, 1), np.stack(turn, 1), np.stack(local, 1), np.stack(lengths))


@pytest.fixture
def make_body() -> Callable[..., Solution]:
    """A function that makes a solution of whole bodies of known motion."""

    def make(T: int = 8, fps: float = 30.0, persons: int = 1) -> Solution:
        motion = body_motion(T, fps, persons)
        xyz = np.stack([joints_of(motion, person) for person in range(persons)], axis=1)
        covariance = np.broadcast_to(1e-4 * np.eye(3), (*xyz.shape, 3))
        joints = Keypoints3D(
            motion.skeleton.joint_names, motion.timestamps_s, xyz, covariance, np.full(xyz.shape[:3], 3)
        )
        return Solution(
            _rig(), joints, joints, motion, np.zeros((T, persons, 0)), (), np.zeros(3), np.zeros(3), np.full(4, np.nan)
        )

    return make


_STATUS: list[int] = []


def pytest_sessionfinish(exitstatus: int) -> None:
    """Keep the exit code for `pytest_unconfigure`."""
    _STATUS.append(int(exitstatus))


def pytest_unconfigure() -> None:
    """Leave without Blender 4.2's own end: once it has exported glTF, with or without us, it crashes there."""
    if bpy.app.version < (4, 5) and _STATUS:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_STATUS[0])


@pytest.fixture
def empty_scene() -> Iterator[Any]:
    """A context with an empty scene."""
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    yield bpy.context


@pytest.fixture
def registered() -> Iterator[None]:
    """The extension registered; a class left behind hangs or crashes the exit of older versions."""
    SIGHTLINE.register()
    yield
    SIGHTLINE.unregister()


@pytest.fixture(scope="session")
def solved_take(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A take of keypoints and what a solve of it leaves; copied by who uses it."""
    folder = tmp_path_factory.mktemp("corrections")
    write_take(folder, frames=24)
    solve(read_take(folder / "take.toml"), folder / "take_sightline")
    return folder


@pytest.fixture
def take(solved_take: Path, registered: None, empty_scene: Any, tmp_path: Path) -> Path:
    """The take's file, solved into a scene that starts at frame 11, looking through cam02."""
    folder = tmp_path / "my tåke"
    shutil.copytree(solved_take, folder)
    bpy.context.scene.frame_start = 11
    request = solving.request_for(folder / "take.toml")
    solving.enter(bpy.context, request, request.out / "solution.npz")
    bpy.ops.sightline.look_through(view="cam02")
    bpy.context.scene.frame_set(16)  # the take's sixth frame: index 5
    return folder / "take.toml"
