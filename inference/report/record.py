"""The facts of a solve as plain values: what report.json holds and what the page shows."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import numpy as np

from .. import __version__
from ..config import TriangulationSettings
from ..shapes import FloatArray
from ..types import Keypoints3D, Solution, SolveReport
from . import judges
from .preview import Scene
from .trust import Grade, doubts, grades, reason_counts, unusable_joints

MOST_DOUBTS = 40  # listed in report.json; the page shows the heaviest
LIBRARIES = ("numpy", "scipy", "opencv-python-headless", "onnxruntime", "onnxruntime-gpu", "av")


def build_record(scene: Scene, report: SolveReport) -> dict[str, Any]:
    """Gather everything the report says, as JSON values.

    Convention:
        lengths in m, errors in px, times in s, shares 0–1 (units stand in the names); frames count from 0;
        persons count from 0; what was not measured is null, never NaN.

    Args:
        scene: the solution, its 2D keypoints and footage.
        report: what the stages noted.

    Returns:
        A dictionary that `json.dumps(..., allow_nan=False)` accepts.
    """
    solution = scene.solution
    raw, solved = solution.raw, solution.solved
    errors = {
        "raw": judges.reprojection_errors(solution.rig, raw, scene.views),
        "solved": judges.reprojection_errors(solution.rig, solved, scene.views),
        "left_out": judges.leave_one_out_errors(solution.rig, scene.views, TriangulationSettings()),
    }
    grade = grades(solved)
    persons = range(solved.flag.shape[1])
    record = {
        "take": report.take,
        "versions": versions(),
        "counts": _counts(solution),
        "trust": {one.name.lower(): float((grade == one).mean()) for one in Grade} if grade.size else {},
        "errors": _errors(solution, errors),
        "views": [_view(scene, errors, v) for v in range(len(scene.views))],
        "persons": [_person(solution, errors["solved"], person) for person in persons],
        "doubts": [vars(doubt) for person in persons for doubt in doubts(solved, person)[:MOST_DOUBTS]],
        "seconds": report.seconds,
        "models": report.models,
        "warnings": report.warnings,
        "facts": report.facts,
    }
    return json_safe(record)


def versions() -> dict[str, str]:
    """Name what computed the solve; libraries that are not installed are left out."""
    found = {"sightline": __version__, "python": platform.python_version(), "system": platform.platform()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def json_safe(value: Any) -> Any:
    """Turn a value into what JSON can hold: arrays into lists, NaN and infinity into None, keys into text."""
    if isinstance(value, Mapping):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return json_safe(value.tolist())
    if isinstance(value, (list, tuple, set)):
        return [json_safe(item) for item in value]
    if isinstance(value, np.generic):
        return json_safe(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, (str, int, bool, type(None))) else str(value)


def _counts(solution: Solution) -> dict[str, Any]:
    times = solution.solved.timestamps_s
    frames, persons, joints = solution.solved.flag.shape
    step = float(times[-1] - times[0]) / (frames - 1) if frames > 1 else float("nan")
    return {
        "frames": frames,
        "fps": 1 / step if step > 0 else None,
        "duration_s": step * frames,
        "persons": persons,
        "views": len(solution.rig.cameras),
        "joints": joints,
        "raw_observed_share": _mean(solution.raw.observed),
        "solved_observed_share": _mean(solution.solved.observed),
    }


def _errors(solution: Solution, errors: Mapping[str, FloatArray]) -> dict[str, Any]:
    lengths = judges.bone_lengths(solution.raw, bone_pairs(solution))
    solved = judges.bone_lengths(solution.solved, bone_pairs(solution))
    return {
        "reprojection_px": {name: vars(judges.spread(values)) for name, values in errors.items()},
        "raw_bone_spread_m": _nanmean(judges.bone_spread(lengths)),
        "solved_bone_spread_m": _nanmean(judges.bone_spread(solved)),
        "raw_jitter_m": _nanmedian(judges.jitter(solution.raw)),
        "solved_jitter_m": _nanmedian(judges.jitter(solution.solved)),
        "raw_acceleration_m_s2": vars(judges.spread(judges.accelerations(solution.raw))),
        "solved_acceleration_m_s2": vars(judges.spread(judges.accelerations(solution.solved))),
    }


def _view(scene: Scene, errors: Mapping[str, FloatArray], v: int) -> dict[str, Any]:
    view, camera = scene.views[v], scene.solution.rig.cameras[v]
    return {
        "name": view.view,
        "size": camera.intrinsics.image_size,
        "moves": camera.path is not None,
        "footage": view.view in scene.footages,
        "keypoint_share": _mean(view.observed),
        "metres_per_pixel": judges.metres_per_pixel(scene.solution.rig, scene.solution.solved)[v],
        "reprojection_px": {name: vars(judges.spread(values[v])) for name, values in errors.items()},
    }


def _person(solution: Solution, errors: FloatArray, person: int) -> dict[str, Any]:
    solved = solution.solved
    never = unusable_joints(grades(solved)[:, person], solved.joint_names)
    return {
        "unusable_joints": never,
        "joints": [_joint(solution, errors[:, :, person, j], person, j) for j in range(len(solved.joint_names))],
        "bones": _bones(solution, person),
        "foot_slide_m_s": _foot_slides(solution, person),
    }


def _joint(solution: Solution, errors: FloatArray, person: int, j: int) -> dict[str, Any]:
    solved, raw = solution.solved, solution.raw
    name = solved.joint_names[j]
    shares = judges.flag_shares(solved.flag[:, person, j])
    seen = _mean(raw.observed[:, person, raw.joint_names.index(name)]) if name in raw.joint_names else None
    return {
        "name": name,
        "triangulated_share": seen,
        "solved_share": _mean(solved.observed[:, person, j]),
        **{f"{flag}_share": float(share) for flag, share in shares.items()},
        "reasons": reason_counts(solved.reason[:, person, j]),
        "sigma_m": vars(judges.spread(judges.worst_sigma(solved.covariance[:, person, j]))),
        "reprojection_px": vars(judges.spread(errors)),
        "jitter_m": judges.jitter(_one(solved, person, j))[0, 0],
    }


def _bones(solution: Solution, person: int) -> list[dict[str, Any]]:
    lengths = judges.bone_lengths(solution.raw, bone_pairs(solution))
    breath = judges.bone_spread(lengths)[person]
    skeleton = solution.motion.skeleton
    return [
        {
            "name": name,
            "length_m": solution.motion.bone_length[person, b],
            "raw_median_m": _nanmedian(lengths[:, person, b]),
            "raw_spread_m": breath[b],
            "rotation_sigma_rad": _rotation_sigma(solution.motion.rotation_covariance[:, person, b]),
        }
        for b, name in enumerate(skeleton.bone_names)
    ]


def _rotation_sigma(covariance: FloatArray) -> float:  # (T, 3, 3) rad²
    """Median over frames of the standard deviation about the axis that is known least."""
    known = covariance[np.isfinite(covariance).all(axis=(-1, -2))]
    return _nanmedian(np.sqrt(np.linalg.eigvalsh(known)[:, 2])) if len(known) else float("nan")


def _foot_slides(solution: Solution, person: int) -> dict[str, Any]:
    """Measure every foot joint: by the estimated contacts where there are any, else by the motion's own guess."""
    floor = solution.floor[:3]
    up = floor / np.linalg.norm(floor) if np.isfinite(floor).all() and floor.any() else np.array([0.0, 0.0, 1.0])
    slides = {}
    for name in solution.solved.joint_names:
        if name in solution.contact_names:
            planted = solution.contact[:, :, solution.contact_names.index(name)] > 0.5
        elif name.endswith(("_ankle", "_heel")):
            planted = judges.standing(solution.solved, name, up)
        else:
            continue
        slides[name] = judges.foot_slide(solution.solved, name, planted, up)[person]
    return slides


def bone_pairs(solution: Solution) -> list[tuple[str, str]]:
    """List the skeleton's bones as (parent joint, child joint) names, in bone order."""
    names, parents = solution.motion.skeleton.joint_names, solution.motion.skeleton.parents
    return [(names[parent], child) for parent, child in zip(parents[1:], names[1:], strict=True)]


def _one(joints: Keypoints3D, person: int, j: int) -> Keypoints3D:
    pick = (slice(None), slice(person, person + 1), slice(j, j + 1))
    return Keypoints3D(
        (joints.joint_names[j],),
        joints.timestamps_s,
        joints.xyz[pick],
        joints.covariance[pick],
        joints.flag[pick],
        joints.degrees_of_freedom,
    )


def _mean(values: Any) -> float:
    return float(np.mean(values)) if np.size(values) else float("nan")


def _nanmean(values: FloatArray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")


def _nanmedian(values: FloatArray) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else float("nan")
