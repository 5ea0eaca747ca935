"""The types that the stages of a solve exchange; nothing else passes between them.

Conventions (all types): world right-handed, Z up, metres; cameras OpenCV (x right, y down, z forward),
``X_cam = X_world @ R.T + t``; pixels OpenCV (centre of the first pixel is 0, 0); time in seconds;
axis order frame T, view V, person P, joint J, components; quaternions (w, x, y, z).
A missing value is ``observed`` False **and** NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np

from .errors import CalibrationError, ShapeError
from .shapes import BoolArray, FloatArray, IntArray, check_shapes, frozen


class Flag(IntEnum):
    """What stands behind one joint in one frame."""

    UNOBSERVED = 0
    REJECTED = 1
    WEAK = 2  # weak evidence, or bridged over a gap
    OBSERVED = 3


class Reason(IntEnum):
    """Why a joint in one frame is not simply observed. Numbers are kept in files: add, never renumber."""

    NONE = 0  # observed, or not told
    TOO_FEW_VIEWS = 1  # fewer than two views see it
    TWO_VIEWS = 2  # two views agree, and no third confirms it
    LARGE_RESIDUALS = 3  # the views agree less than their keypoints' covariances claim
    CONTRADICTING_VIEWS = 4  # two views disagree
    AMBIGUOUS = 5  # more than two views, and no consensus stands out
    TOO_UNSURE = 6  # the estimate's sigma is above the limit
    ONE_VIEW = 7  # one view sees it; its depth follows from motion and bones
    BRIDGED = 8  # carried over a gap by the motion
    NOT_RIGID = 9  # too far from its place on a skeleton of constant bones
    NEVER_TRIANGULATED = 10  # in no frame of the take
    HYPOTHESES = 11  # too few views see it: it rests on what bodies usually do


DISTORTION_LENGTHS = {"none": (0,), "opencv": (4, 5, 8, 12, 14), "fisheye": (4,)}


@dataclass(frozen=True, eq=False)
class Intrinsics:
    """One lens: how camera rays become pixels. A camera without a pose."""

    name: str
    image_size: tuple[int, int]  # (width, height) px
    K: FloatArray  # (3, 3) px
    distortion: FloatArray  # (D,) in OpenCV's order; D = 0 for "none"
    distortion_model: str = "opencv"  # key of DISTORTION_LENGTHS

    def __post_init__(self) -> None:
        object.__setattr__(self, "K", frozen(self.K))
        object.__setattr__(self, "distortion", frozen(self.distortion).reshape(-1))
        where = f"camera {self.name!r}"
        check_shapes(K=(self.K, "3 3"))
        if self.distortion_model not in DISTORTION_LENGTHS:
            raise CalibrationError(f"{where}: unknown distortion model {self.distortion_model!r}")
        if len(self.distortion) not in DISTORTION_LENGTHS[self.distortion_model]:
            raise CalibrationError(
                f"{where}: {len(self.distortion)} coefficients do not fit the {self.distortion_model} distortion model"
            )
        if not (np.isfinite(self.K).all() and np.isfinite(self.distortion).all()):
            raise CalibrationError(f"{where}: the intrinsic matrix or distortion holds values that are not finite")
        if self.K[0, 0] <= 0 or self.K[1, 1] <= 0 or abs(self.K[2, 2] - 1) > 1e-9:
            raise CalibrationError(f"{where}: focal lengths must be positive and K[2,2] must be 1")
        if min(self.image_size) <= 0:
            raise CalibrationError(f"{where}: image size {self.image_size} is not positive")


@dataclass(frozen=True, eq=False)
class CameraPath:
    """Poses of a camera that moves. Between them its centre goes straight and it turns evenly."""

    times_s: FloatArray  # (K,) rising; of the view's own clock as read, of the take's in a solve
    R: FloatArray  # (K, 3, 3) camera from world
    t: FloatArray  # (K, 3) m

    def __post_init__(self) -> None:
        for name in ("times_s", "R", "t"):
            object.__setattr__(self, name, frozen(getattr(self, name)))
        check_shapes(times_s=(self.times_s, "K"), R=(self.R, "K 3 3"), t=(self.t, "K 3"))
        if not len(self.times_s) or not np.isfinite(self.times_s).all() or (np.diff(self.times_s) <= 0).any():
            raise CalibrationError("the times of a moving camera's poses must be finite and rise")


@dataclass(frozen=True, eq=False)
class Camera:
    """A lens with a pose in the world; one that moves has its pose at every time, and stands in its first."""

    intrinsics: Intrinsics
    R: FloatArray  # (3, 3) camera from world
    t: FloatArray  # (3,) m
    path: CameraPath | None = None  # None: it stands still

    def __post_init__(self) -> None:
        object.__setattr__(self, "R", frozen(self.R))
        object.__setattr__(self, "t", frozen(self.t).reshape(-1))
        check_shapes(R=(self.R, "3 3"), t=(self.t, "3"))
        every = [(self.R[None], self.t[None])] + ([] if self.path is None else [(self.path.R, self.path.t)])
        for R, t in every:
            if not (np.isfinite(R).all() and np.isfinite(t).all()):
                raise CalibrationError(f"camera {self.name!r}: the pose holds values that are not finite")
            if np.abs(R @ R.swapaxes(-1, -2) - np.eye(3)).max() > 1e-4 or (np.linalg.det(R) < 0).any():
                raise CalibrationError(f"camera {self.name!r}: R is not a rotation (not orthonormal, or mirrored)")

    @property
    def name(self) -> str:
        """The camera's name."""
        return self.intrinsics.name

    @property
    def centre(self) -> FloatArray:
        """(3,) position of the camera in the world, m; the first of one that moves."""
        return -self.R.T @ self.t

    def with_lens(self, lens: Intrinsics) -> Camera:
        """The same camera with another lens."""
        return replace(self, intrinsics=lens)

    def with_poses(self, change: Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]) -> Camera:
        """The camera with all its poses changed alike; ``change`` is given R (..., 3, 3) and t (..., 3)."""
        path = None if self.path is None else CameraPath(self.path.times_s, *change(self.path.R, self.path.t))
        return Camera(self.intrinsics, *change(self.R, self.t), path)


@dataclass(frozen=True, eq=False)
class CameraRig:
    """All cameras of a take, in view order, in the pixels of the views' own videos."""

    cameras: tuple[Camera, ...]
    # (6V, 6V): rotation vector (left-multiplied, camera axes, rad), then t (m); zeros = exact. A camera that moves
    # carries its first pose's error along, like a crooked mount.
    covariance: FloatArray
    gauge: str = "the calibration file's own world"

    def __post_init__(self) -> None:
        object.__setattr__(self, "covariance", frozen(self.covariance))
        size = 6 * len(self.cameras)
        check_shapes(covariance=(self.covariance, f"{size} {size}"))

    @property
    def names(self) -> tuple[str, ...]:
        """View names in order."""
        return tuple(camera.name for camera in self.cameras)

    @property
    def lenses(self) -> tuple[Intrinsics, ...]:
        """The cameras without their poses, in order."""
        return tuple(camera.intrinsics for camera in self.cameras)

    @property
    def moving(self) -> tuple[str, ...]:
        """Names of the cameras that move."""
        return tuple(camera.name for camera in self.cameras if camera.path is not None)


@dataclass(frozen=True, eq=False)
class Footage:
    """One view's frames on disk: a video file or an image sequence. Holds no pixels."""

    name: str
    files: tuple[Path, ...]  # one video, or the images in order
    image_size: tuple[int, int]  # (width, height) px, after the orientation tag is applied
    fps: float
    timestamps_s: FloatArray  # (N,) presentation time of every frame, the first frame is 0
    rotation_deg: int = 0  # clockwise quarter turns that decoding applies

    def __post_init__(self) -> None:
        object.__setattr__(self, "timestamps_s", frozen(self.timestamps_s))
        check_shapes(timestamps_s=(self.timestamps_s, "N"))


@dataclass(frozen=True, eq=False)
class Heatmaps:
    """Heatmaps of one image's people, with the map from heatmap cells to image pixels."""

    joint_names: tuple[str, ...]
    maps: FloatArray  # (P, J, h, w) float32, any positive scale
    image_from_heatmap: FloatArray  # (P, 2, 3) affine, px

    def __post_init__(self) -> None:
        object.__setattr__(self, "maps", frozen(self.maps, np.float32))
        object.__setattr__(self, "image_from_heatmap", frozen(self.image_from_heatmap))
        check_shapes(
            maps=(self.maps, f"P {len(self.joint_names)} h w"), image_from_heatmap=(self.image_from_heatmap, "P 2 3")
        )


@dataclass(frozen=True, eq=False)
class Keypoints2D:
    """2D keypoints of one view over time, in the pixels of the view's own video.

    P counts slots: tracks of one view before association, persons of the take after it.
    """

    view: str
    joint_names: tuple[str, ...]
    timestamps_s: FloatArray  # (T,)
    xy: FloatArray  # (T, P, J, 2) px, NaN where unobserved
    covariance: FloatArray  # (T, P, J, 2, 2) px², NaN where unobserved
    score: FloatArray  # (T, P, J) 0–1, 0 where unobserved

    def __post_init__(self) -> None:
        for name in ("timestamps_s", "xy", "covariance", "score"):
            object.__setattr__(self, name, frozen(getattr(self, name)))
        j = len(self.joint_names)
        check_shapes(
            timestamps_s=(self.timestamps_s, "T"),
            xy=(self.xy, f"T P {j} 2"),
            covariance=(self.covariance, f"T P {j} 2 2"),
            score=(self.score, f"T P {j}"),
        )
        seen = self.observed
        if not np.isfinite(self.covariance[seen]).all():
            raise ShapeError(f"view {self.view!r}: an observed keypoint has a covariance that is not finite")
        if np.isnan(self.score).any() or (self.score < 0).any():
            raise ShapeError(f"view {self.view!r}: scores must be finite and not negative")

    @property
    def observed(self) -> BoolArray:
        """(T, P, J) whether a keypoint stands here."""
        return np.isfinite(self.xy).all(axis=-1)


@dataclass(frozen=True, eq=False)
class Keypoints3D:
    """Joints in the world over time, with covariance."""

    joint_names: tuple[str, ...]
    timestamps_s: FloatArray  # (T,)
    xyz: FloatArray  # (T, P, J, 3) m, NaN where unobserved
    covariance: FloatArray  # (T, P, J, 3, 3) m², the covariance (not the scale matrix), NaN where unobserved
    flag: IntArray  # (T, P, J) values of Flag
    degrees_of_freedom: float = float("inf")  # of the Student t; inf = Gaussian
    reason: IntArray = field(default_factory=lambda: np.zeros(0, np.int8))  # (T, P, J) values of Reason; empty: untold

    def __post_init__(self) -> None:
        for name, dtype in (("timestamps_s", float), ("xyz", float), ("covariance", float), ("flag", np.int8)):
            object.__setattr__(self, name, frozen(getattr(self, name), dtype))
        told = self.reason if np.size(self.reason) else np.zeros(self.flag.shape)
        object.__setattr__(self, "reason", frozen(told, np.int8))
        j = len(self.joint_names)
        check_shapes(
            timestamps_s=(self.timestamps_s, "T"),
            xyz=(self.xyz, f"T P {j} 3"),
            covariance=(self.covariance, f"T P {j} 3 3"),
            flag=(self.flag, f"T P {j}"),
            reason=(self.reason, f"T P {j}"),
        )
        if (self.observed & ~np.isfinite(np.einsum("...ij->...", self.covariance))).any():
            raise ShapeError("an observed joint has a covariance that is not finite")

    @property
    def observed(self) -> BoolArray:
        """(T, P, J) whether a finite estimate stands here (bridged gaps included)."""
        return np.isfinite(self.xyz).all(axis=-1)


@dataclass(frozen=True, eq=False)
class Skeleton:
    """A tree of joints; bones are its edges, each from a parent joint to a child joint.

    Joints come in topological order: the root is joint 0, and ``parents[j] < j``.
    Bone b ends at joint b + 1, so ``bone_parents[b] = parents[parents[b + 1]]``'s bone, -1 at the root.
    """

    joint_names: tuple[str, ...]
    parents: IntArray  # (J,), -1 for the root
    bone_names: tuple[str, ...]  # (J - 1,)
    rest_direction: FloatArray  # (B, 3) unit, world axes: the T pose, subject faces -Y, its left is +X, up is +Z

    def __post_init__(self) -> None:
        object.__setattr__(self, "parents", frozen(self.parents, np.int64))
        object.__setattr__(self, "rest_direction", frozen(self.rest_direction))
        b = len(self.bone_names)
        check_shapes(parents=(self.parents, f"{b + 1}"), rest_direction=(self.rest_direction, f"{b} 3"))
        if len(self.joint_names) != b + 1 or self.parents[0] != -1:
            raise ShapeError("a skeleton has one bone less than joints, and joint 0 is its root")
        if b and not ((self.parents[1:] >= 0) & (self.parents[1:] < np.arange(1, b + 1))).all():
            raise ShapeError("a joint's parent must come before the joint")

    @property
    def bone_parents(self) -> IntArray:
        """(B,) index of the bone that ends where this one starts, -1 at the root."""
        return self.parents[1:] - 1


@dataclass(frozen=True, eq=False)
class SkeletonMotion:
    """Rotations and root path that, by forward kinematics, give the joints.

    Bone frames have +Y along the bone (Blender's convention). For bone b from joint p to joint c:
    ``world_from_bone[b] = world_from_bone[bone_parents[b]] @ local_rotation[b]`` (the bone's own at the root),
    ``x_c = x_p + world_from_bone[b] @ (0, bone_length[b], 0)``, and the root joint is at root_translation.
    All values are finite in every frame (held by the smoothness prior where nothing was seen), but the covariance of
    the rotations: that of the vector δ in ``local' = exp(δ) local`` (axes of the parent bone, of the world without
    one), NaN where nothing stands.
    """

    skeleton: Skeleton
    timestamps_s: FloatArray  # (T,)
    root_translation: FloatArray  # (T, P, 3) m
    root_rotation: FloatArray  # (T, P, 4) world from pelvis, wxyz: x to the subject's left, y up the spine, z forward
    local_rotation: FloatArray  # (T, P, B, 4) wxyz
    bone_length: FloatArray  # (P, B) m
    rotation_covariance: FloatArray = field(default_factory=lambda: np.zeros(0))  # (T, P, B, 3, 3) rad², NaN unknown

    def __post_init__(self) -> None:
        for name in ("timestamps_s", "root_translation", "root_rotation", "local_rotation", "bone_length"):
            object.__setattr__(self, name, frozen(getattr(self, name)))
        b = len(self.skeleton.bone_names)
        unknown = np.broadcast_to(np.nan, (*self.local_rotation.shape[:-1], 3, 3))
        told = self.rotation_covariance if np.size(self.rotation_covariance) else unknown
        object.__setattr__(self, "rotation_covariance", frozen(told))
        check_shapes(
            timestamps_s=(self.timestamps_s, "T"),
            root_translation=(self.root_translation, "T P 3"),
            root_rotation=(self.root_rotation, "T P 4"),
            local_rotation=(self.local_rotation, f"T P {b} 4"),
            bone_length=(self.bone_length, f"P {b}"),
            rotation_covariance=(self.rotation_covariance, f"T P {b} 3 3"),
        )
        for name in ("root_translation", "root_rotation", "local_rotation", "bone_length"):
            if not np.isfinite(getattr(self, name)).all():
                raise ShapeError(f"{name} of a skeleton motion must be finite in every frame")


@dataclass(frozen=True, eq=False)
class Hypotheses3D:
    """Sampled body poses with weights, for frames that too few views see; NaN and -inf in other frames."""

    xyz: FloatArray  # (T, P, S, J, 3) m float32, joints of the solved layer
    log_weight: FloatArray  # (T, P, S) float32, the weights of a frame sum to one

    def __post_init__(self) -> None:
        object.__setattr__(self, "xyz", frozen(self.xyz, np.float32))
        object.__setattr__(self, "log_weight", frozen(self.log_weight, np.float32))
        check_shapes(xyz=(self.xyz, "T P S J 3"), log_weight=(self.log_weight, "T P S"))


def no_hypotheses() -> Hypotheses3D:
    """Return none at all: what a solution has whose views see enough."""
    return Hypotheses3D(np.zeros((0, 0, 0, 0, 3)), np.zeros((0, 0, 0)))


@dataclass(frozen=True, eq=False)
class Solution:
    """Everything a solve gives back; what `files/solution.py` writes and the add-on reads."""

    rig: CameraRig
    raw: Keypoints3D
    solved: Keypoints3D
    motion: SkeletonMotion
    contact: FloatArray  # (T, P, C) probability; C = 0 where contacts are not estimated
    contact_names: tuple[str, ...]
    offset_s: FloatArray  # (V,)
    drift_ppm: FloatArray  # (V,)
    floor: FloatArray  # (4,) plane n·x + d = 0, NaN if unknown
    hypotheses: Hypotheses3D = field(default_factory=no_hypotheses)
    placement_sigma_m: FloatArray = field(default_factory=lambda: np.zeros(0))  # (J,) see `placement`; empty: zeros

    def __post_init__(self) -> None:
        if not np.size(self.placement_sigma_m):
            object.__setattr__(self, "placement_sigma_m", np.zeros(len(self.solved.joint_names)))
        for name in ("contact", "offset_s", "drift_ppm", "floor", "placement_sigma_m"):
            object.__setattr__(self, name, frozen(getattr(self, name)))
        v = len(self.rig.cameras)
        check_shapes(placement_sigma_m=(self.placement_sigma_m, f"{len(self.solved.joint_names)}"))
        check_shapes(offset_s=(self.offset_s, f"{v}"), drift_ppm=(self.drift_ppm, f"{v}"), floor=(self.floor, "4"))


@dataclass
class SolveReport:
    """What happened during a solve; grows stage by stage and is written as report.json."""

    take: str
    warnings: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)  # per stage
    models: list[dict[str, Any]] = field(default_factory=list)  # card summaries: name, licence, sha256, provider
    facts: dict[str, Any] = field(default_factory=dict)  # counts and errors, plain JSON values

    def warn(self, message: str) -> None:
        """Keep a warning once."""
        if message not in self.warnings:
            self.warnings.append(message)
