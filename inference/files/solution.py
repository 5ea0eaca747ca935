"""Solutions on disk: ``solution.npz``, plain arrays without pickles, one key per row of the contract."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CalibrationError, InputError, ShapeError
from ..types import (
    DISTORTION_LENGTHS,
    Camera,
    CameraPath,
    CameraRig,
    Hypotheses3D,
    Intrinsics,
    Keypoints3D,
    Reason,
    Skeleton,
    SkeletonMotion,
    Solution,
    no_hypotheses,
)
from .whole_file import replacing

FORMAT_VERSION = 1
_BROKEN = (OSError, ValueError, KeyError, EOFError, MemoryError, RuntimeError, SyntaxError, OverflowError, TypeError)
_BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError)


def write_solution(path: Path, solution: Solution) -> None:
    """Write a solution.

    Convention:
        one key per row of the contract's table; joints are those of ``solution.solved``, in its order, and
        the raw layer is brought into that order (joints it lacks are unobserved). ``parents`` is -1 for the root and
        for joints outside the skeleton; ``bone_joints`` are (start, end) as numbers of joints. Written to a temporary
        name and renamed.

    Args:
        path: the ``.npz`` file.
        solution: what to write.

    Raises:
        ShapeError: the raw layer or the skeleton has joints that the solved layer lacks.
        InputError: the folder cannot be written.
    """
    arrays = _motion_arrays(solution) | camera_arrays(solution.rig, solution.offset_s, solution.drift_ppm)
    if solution.hypotheses.log_weight.size:
        arrays |= {"hypotheses": solution.hypotheses.xyz, "log_weight": solution.hypotheses.log_weight}
    save_arrays(path, arrays | {"floor": solution.floor, "placement_sigma_m": solution.placement_sigma_m})


def read_solution(path: Path) -> Solution:
    """Read a solution.

    Convention:
        as written; values at joints that ``observed`` denies become NaN.

    Args:
        path: the ``.npz`` file.

    Returns:
        The solution.

    Raises:
        InputError: the file is missing, broken, of a newer format or not a solution; the message names the file.
    """
    arrays = load_arrays(path)
    try:
        return Solution(
            rig=_rig(arrays),
            raw=_keypoints(arrays, "raw_"),
            solved=_keypoints(arrays, ""),
            motion=_motion(arrays),
            contact=numbers(arrays, "contact"),
            contact_names=_names(arrays, "contact_names"),
            offset_s=numbers(arrays, "offset_s"),
            drift_ppm=numbers(arrays, "drift_ppm"),
            floor=numbers(arrays, "floor"),
            hypotheses=_hypotheses(arrays),
            **({"placement_sigma_m": numbers(arrays, "placement_sigma_m")} if "placement_sigma_m" in arrays else {}),
        )
    except KeyError as problem:
        raise InputError(f"{path} is not a solution: it has no key {problem.args[0]!r}") from None
    except (ShapeError, CalibrationError, *_BROKEN) as problem:
        raise InputError(f"{path} is not a valid solution: {_one_line(problem)}") from None


def _hypotheses(arrays: Mapping[str, Any]) -> Hypotheses3D:
    if "hypotheses" not in arrays:
        return no_hypotheses()
    return Hypotheses3D(numbers(arrays, "hypotheses"), numbers(arrays, "log_weight"))


def write_cameras(path: Path, rig: CameraRig, offset_s: Any, drift_ppm: Any) -> None:
    """Write the camera keys of a solution alone (``cameras.npz``).

    Convention:
        keys, units and the temporary name as `write_solution`.

    Args:
        path: the ``.npz`` file.
        rig: V cameras.
        offset_s: (V,) s.
        drift_ppm: (V,).

    Raises:
        InputError: the folder cannot be written.
    """
    save_arrays(path, camera_arrays(rig, offset_s, drift_ppm))


def read_cameras(path: Path) -> CameraRig:
    """Read the cameras of a solution, or of ``cameras.npz``.

    Convention:
        as written.

    Args:
        path: the ``.npz`` file.

    Returns:
        The cameras.

    Raises:
        InputError: the file is missing, broken or holds no cameras; the message names the file.
    """
    arrays = load_arrays(path)
    try:
        return _rig(arrays)
    except KeyError as problem:
        raise InputError(f"{path} holds no cameras: it has no key {problem.args[0]!r}") from None
    except (ShapeError, CalibrationError, *_BROKEN) as problem:
        raise InputError(f"{path} holds no valid cameras: {_one_line(problem)}") from None


def camera_arrays(rig: CameraRig, offset_s: Any, drift_ppm: Any) -> dict[str, Any]:
    """Return the camera keys of a solution.

    Convention:
        ``distortion`` is padded with zeros to one length (at least 5 where a lens follows OpenCV's main model).

    Args:
        rig: V cameras.
        offset_s: (V,) s.
        drift_ppm: (V,).

    Returns:
        Arrays by key.
    """
    lenses = [camera.intrinsics for camera in rig.cameras]
    count = len(lenses)
    width = max(
        [len(lens.distortion) for lens in lenses] + [5 if lens.distortion_model != "fisheye" else 4 for lens in lenses]
    )
    full = np.asarray(rig.covariance)
    blocks = full.reshape(count, 6, count, 6)[np.arange(count), :, np.arange(count), :]
    return {
        "view_names": _texts(rig.names),
        "K": np.array([lens.K for lens in lenses]),
        "distortion": np.array([np.pad(lens.distortion, (0, width - len(lens.distortion))) for lens in lenses]),
        "distortion_model": _texts(lens.distortion_model for lens in lenses),
        "R": np.array([camera.R for camera in rig.cameras]),
        "t": np.array([camera.t for camera in rig.cameras]),
        "image_size": np.array([lens.image_size for lens in lenses], dtype=np.int64),
        "offset_s": np.asarray(offset_s, dtype=np.float64),
        "drift_ppm": np.asarray(drift_ppm, dtype=np.float64),
        "camera_covariance": blocks,
        "camera_covariance_full": full,
        "gauge": np.array(rig.gauge),
    } | _path_arrays(rig)


def _path_arrays(rig: CameraRig) -> dict[str, Any]:
    """Poses of the cameras that move, one after another: K rows of all together."""
    paths = [(number, camera.path) for number, camera in enumerate(rig.cameras) if camera.path is not None]
    if not paths:
        return {}
    return {
        "camera_path_view": np.concatenate([np.full(len(path.times_s), number) for number, path in paths]),
        "camera_path_times_s": np.concatenate([path.times_s for _, path in paths]),
        "camera_path_R": np.concatenate([path.R for _, path in paths]),
        "camera_path_t": np.concatenate([path.t for _, path in paths]),
    }


def _motion_arrays(solution: Solution) -> dict[str, Any]:
    solved, motion = solution.solved, solution.motion
    joints = solved.joint_names
    raw = _in_order(solution.raw, joints)
    skeleton = motion.skeleton
    rows = _joint_numbers(skeleton.joint_names, joints, "skeleton")
    ends = np.stack([rows[skeleton.parents[1:]], rows[1:]], axis=-1).reshape(-1, 2)
    parents = np.full(len(joints), -1)
    parents[ends[:, 1]] = ends[:, 0]
    return {
        "format_version": np.array(FORMAT_VERSION),
        "timestamps_s": solved.timestamps_s,
        "joint_names": _texts(joints),
        "parents": parents,
        "raw_xyz": raw.xyz,
        "raw_covariance": raw.covariance,
        "raw_observed": raw.observed,
        "raw_flag": raw.flag,
        "raw_reason": raw.reason,
        "raw_degrees_of_freedom": np.array(raw.degrees_of_freedom),
        "xyz": solved.xyz,
        "covariance": solved.covariance,
        "observed": solved.observed,
        "flag": solved.flag,
        "reason": solved.reason,
        "degrees_of_freedom": np.array(solved.degrees_of_freedom),
        "bone_names": _texts(skeleton.bone_names),
        "bone_parents": skeleton.bone_parents,
        "bone_joints": ends,
        "bone_length": motion.bone_length,
        "rest_direction": skeleton.rest_direction,
        "root_translation": motion.root_translation,
        "root_rotation": motion.root_rotation,
        "local_rotation": motion.local_rotation,
        "rotation_covariance": motion.rotation_covariance,
        "contact": solution.contact,
        "contact_names": _texts(solution.contact_names),
    }


def _joint_numbers(names: tuple[str, ...], joints: tuple[str, ...], what: str) -> Any:
    lacking = [name for name in names if name not in joints]
    if lacking:
        raise ShapeError(f"the {what} has joints that the solved layer lacks: {', '.join(lacking)}")
    return np.array([joints.index(name) for name in names], dtype=np.int64)


def _in_order(raw: Keypoints3D, joints: tuple[str, ...]) -> Keypoints3D:
    if raw.joint_names == joints:
        return raw
    rows = _joint_numbers(raw.joint_names, joints, "raw layer")
    frames, persons = raw.xyz.shape[:2]
    xyz = np.full((frames, persons, len(joints), 3), np.nan)
    covariance = np.full((frames, persons, len(joints), 3, 3), np.nan)
    flag = np.zeros((frames, persons, len(joints)), np.int8)
    reason = np.full_like(flag, Reason.NEVER_TRIANGULATED)
    xyz[:, :, rows], covariance[:, :, rows] = raw.xyz, raw.covariance
    flag[:, :, rows], reason[:, :, rows] = raw.flag, raw.reason
    return Keypoints3D(joints, raw.timestamps_s, xyz, covariance, flag, raw.degrees_of_freedom, reason)


def _texts(texts: Any) -> Any:
    return np.array(list(texts), dtype=np.str_)


def save_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write plain arrays to a temporary name and rename it."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # numpy 1.26 would store any option given here as an array; no array holds objects


def load_arrays(path: Path, what: str = "solution", keys: Sequence[str] | None = None) -> dict[str, Any]:
    """Read the arrays of a file that `save_arrays` wrote, or some of them; ``what`` is what the file is to the user.

    Raises:
        InputError: the file is missing, broken or of a newer format; the message names it.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{what} {path} does not exist")
    try:
        with path.open("rb") as file, zipfile.ZipFile(file):  # np.load leaves a broken archive open
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                arrays = {key: archive[key] for key in keys or archive.files}
    except (*_BROKEN, *_BROKEN_ZIP) as problem:
        raise InputError(f"{path} cannot be read as a {what}: {_one_line(problem)}") from None
    version = arrays.get("format_version", np.array(FORMAT_VERSION))
    if version.shape != () or version.dtype.kind not in "iu" or version > FORMAT_VERSION:
        raise InputError(f"{path} was written by a newer Sightline; update this one")
    return arrays


def numbers(arrays: Mapping[str, Any], key: str) -> Any:
    """Return an array of real numbers.

    Raises:
        ValueError: it holds something else.
    """
    if arrays[key].dtype.kind not in "fiub":
        raise ValueError(f"{key} does not hold numbers")
    return arrays[key]


def _names(arrays: Mapping[str, Any], key: str) -> tuple[str, ...]:
    array = arrays[key]
    if array.dtype.kind != "U" or array.ndim != 1:
        raise ValueError(f"{key} is not a list of names")
    return tuple(str(name) for name in array)


def _keypoints(arrays: Mapping[str, Any], prefix: str) -> Keypoints3D:
    observed = numbers(arrays, prefix + "observed").astype(bool)
    xyz = np.where(observed[..., None], numbers(arrays, prefix + "xyz"), np.nan)
    covariance = np.where(observed[..., None, None], numbers(arrays, prefix + "covariance"), np.nan)
    freedom = np.unique(numbers(arrays, prefix + "degrees_of_freedom"))
    if len(freedom) != 1:
        raise ValueError("degrees_of_freedom differs between joints, which is not supported")
    names = _names(arrays, "joint_names")
    flag = numbers(arrays, prefix + "flag")
    told = {"reason": numbers(arrays, prefix + "reason")} if prefix + "reason" in arrays else {}  # of later files
    return Keypoints3D(names, numbers(arrays, "timestamps_s"), xyz, covariance, flag, float(freedom[0]), **told)


def _motion(arrays: Mapping[str, Any]) -> SkeletonMotion:
    names = _names(arrays, "joint_names")
    ends = numbers(arrays, "bone_joints").astype(np.int64).reshape(-1, 2)
    if len(ends) and not (ends.min() >= 0 and ends.max() < len(names)):
        raise ValueError("bone_joints are not numbers of joints")
    order = [int(ends[0, 0]), *(int(end) for end in ends[:, 1])] if len(ends) else [0]
    place = {joint: number for number, joint in enumerate(order)}
    if len(place) != len(order) or not set(ends[:, 0].tolist()) <= set(place):
        raise ValueError("bone_joints are not a tree")
    skeleton = Skeleton(
        joint_names=tuple(names[joint] for joint in order),
        parents=np.array([-1, *(place[int(start)] for start in ends[:, 0])]),
        bone_names=_names(arrays, "bone_names"),
        rest_direction=numbers(arrays, "rest_direction"),
    )
    later = ("rotation_covariance",)
    return SkeletonMotion(
        skeleton=skeleton,
        timestamps_s=numbers(arrays, "timestamps_s"),
        root_translation=numbers(arrays, "root_translation"),
        root_rotation=numbers(arrays, "root_rotation"),
        local_rotation=numbers(arrays, "local_rotation"),
        bone_length=numbers(arrays, "bone_length"),
        **{key: numbers(arrays, key) for key in later if key in arrays},
    )


def _rig(arrays: Mapping[str, Any]) -> CameraRig:
    names = _names(arrays, "view_names")
    models = _names(arrays, "distortion_model")
    fields = [numbers(arrays, key) for key in ("image_size", "K", "distortion", "R", "t")]
    if {len(field) for field in (*fields, models)} != {len(names)}:
        raise ValueError("camera keys differ in their number of views")
    cameras, paths = [], _paths(arrays)
    for name, model, size, K, distortion, R, t in zip(names, models, *fields, strict=True):
        length = {"none": 0, "fisheye": 4}.get(model, len(distortion))
        if model not in DISTORTION_LENGTHS or np.any(distortion[length:]):
            raise ValueError(f"camera {name!r}: distortion does not fit its model {model!r}")
        lens = Intrinsics(name, (int(size[0]), int(size[1])), K, distortion[:length], model)
        cameras.append(Camera(lens, R, t, paths.pop(len(cameras), None)))
    if paths:
        raise ValueError("camera_path_view names a camera that is not there")
    return CameraRig(tuple(cameras), numbers(arrays, "camera_covariance_full"), str(arrays["gauge"]))


def _paths(arrays: Mapping[str, Any]) -> dict[int, CameraPath]:
    """Paths of the cameras that move, by the number of the view."""
    if not any(key.startswith("camera_path_") for key in arrays):
        return {}
    if arrays["camera_path_view"].dtype.kind not in "iu":
        raise ValueError("camera_path_view are not numbers of views")
    owner, *parts = (numbers(arrays, f"camera_path_{key}") for key in ("view", "times_s", "R", "t"))
    if {len(part) for part in parts} != {len(owner)}:
        raise ValueError("the keys camera_path differ in their number of poses")
    return {int(view): CameraPath(*(part[owner == view] for part in parts)) for view in np.unique(owner)}


def _one_line(problem: BaseException) -> str:
    return " ".join(str(problem).split()) or type(problem).__name__
