"""How good a detector is on real footage, and how good estimated poses are beside what papers report.

Real footage has no truth. What another detector saw in all views, triangulated robustly, stands in for it: independent
of the network that is judged, and wrong where that detector is wrong in most views. A figure names its reference.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.errors import InputError
from inference.layouts import place, shared_joints
from inference.perception.crop import image_from_crop, region_of_box
from inference.perception.detector import Detector
from inference.report.judges import bone_lengths, bone_spread
from inference.shapes import FloatArray
from inference.types import Keypoints3D

from .loaders.labelled import LabelledPicture, LabelledView
from .metrics import aligned_errors, auc, joint_indices, pck, root_errors, scaled_errors, summarise
from .tasks.keypoints import keypoint_scores

PUBLISHED = Path(__file__).with_name("published.toml")
_ENLARGE = 1.25  # of the box around the reference's joints, as a solve enlarges the box around its own
BONES = tuple(
    (f"{side}_{a}", f"{side}_{b}")
    for side in ("left", "right")
    for a, b in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))
)


@dataclass(frozen=True, eq=False)
class ViewErrors:
    """How far a detector is from the labels of N pictures, px; NaN where it found nothing or nothing is known."""

    joint_names: tuple[str, ...]  # places on the body that detector and labels share
    error: FloatArray  # (N, J, 2)
    covariance: FloatArray  # (N, J, 2, 2) as the detector states it
    truth: FloatArray  # (N, J, 2)
    crop_from_image: FloatArray  # (N, 2, 2) linear part of the map into the network's input
    detector_names: tuple[str, ...]  # the same joints as the detector's layout calls them
    label_covariance: FloatArray  # (N, J, 2, 2) of the labels themselves; 0 where they do not state it

    def scores(self, with_labels: bool = False) -> dict[str, float]:
        """Return PCK, errors, and whether the stated covariances hold (of what was found); a miss counts as wrong.

        Args:
            with_labels: whether the labels' own covariance counts beside the detector's.

        Raises:
            InputError: shoulders and hips are not among the joints.
        """
        covariance = self.covariance + self.label_covariance if with_labels else self.covariance
        return _summary(self.error, covariance, self.truth, self.joint_names)


def judged_on_views(detector: Detector, views: Sequence[LabelledPicture]) -> dict[str, float]:
    """Compare a detector with the labels of pictures, each searched from the box around its labels.

    Convention:
        the network looks twice, as in a solve. Joints that both layouts have, by place on the body; a joint that
        was not found counts as wrong.
        Errors in px are of the picture; ``pck_02`` counts in parts of the torso's longer diagonal.

    Args:
        detector: loaded networks; its person detector is not asked.
        views: labelled pictures, for example of a solved take.

    Returns:
        PCK, errors, and whether the stated covariances hold (of what was found), by name; ``pictures`` counts.

    Raises:
        InputError: the layouts share no torso, or no picture could be used.
    """
    return errors_on_views(detector, ((view.picture.read(), view) for view in views)).scores()


def errors_on_views(detector: Detector, views: Iterable[tuple[NDArray[np.uint8], LabelledPicture]]) -> ViewErrors:
    """Measure what `judged_on_views` sums up; ``views`` are pictures (h, w, 3) RGB with their labels.

    Raises:
        InputError: no picture could be used.
    """
    parts: list[tuple[FloatArray, ...]] = []
    names: tuple[str, ...] = ()
    ours = np.zeros(0, np.int64)
    size = detector.keypoint_card.input.size
    for image, view in views:
        known = view.xy[np.isfinite(view.xy).all(axis=1)]
        if len(known) < 4:
            continue
        names, ours, theirs = shared_joints(detector.joint_names, view.joint_names)
        box = np.concatenate([known.min(axis=0), known.max(axis=0)])
        region = region_of_box(box, size[0] / size[1], _ENLARGE)
        people = detector.settle(image, [region])
        person = people[0] if people else None
        found = np.full((len(ours), 2), np.nan) if person is None else person.xy[ours]
        covariance = np.full((len(ours), 2, 2), np.nan) if person is None else person.covariance[ours]
        linear = np.linalg.inv(image_from_crop(region if person is None else person.region, size)[:, :2])
        stated = view.covariance[theirs] if isinstance(view, LabelledView) and len(view.covariance) else 0.0
        own = np.zeros_like(covariance) + stated
        parts.append((found - view.xy[theirs], covariance, view.xy[theirs], linear, own))
    if not parts:
        raise InputError("no picture has four labelled joints that the detector knows too")
    error, covariance, truth, linear, labels = (np.stack(part) for part in zip(*parts, strict=True))
    called = tuple(detector.joint_names[index] for index in ours)
    return ViewErrors(tuple(place(name) for name in names), error, covariance, truth, linear, called, labels)


def _summary(error: FloatArray, covariance: FloatArray, truth: FloatArray, names: tuple[str, ...]) -> dict[str, float]:
    wanted = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
    if any(name not in names for name in wanted):
        raise InputError("detector and labels share no shoulders and hips: nothing to measure errors by")
    labelled = np.isfinite(truth).all(axis=-1)
    found = np.isfinite(error).all(axis=-1)
    scores = keypoint_scores(error, covariance, truth, names)
    # What was not found is as wrong as can be.
    far = np.where((labelled & ~found)[..., None], 1e6, error)
    strict = keypoint_scores(far, np.where(found[..., None, None], covariance, np.nan), truth, names)
    share = float(found[labelled].mean()) if labelled.any() else float("nan")
    return {**scores, "pck_02": strict["pck_02"], "pck_01": strict["pck_01"], "found": share, "pictures": len(error)}


def bone_spread_mm(joints: Keypoints3D) -> float:
    """Return the median over persons and limb bones of how much a bone's length varies, mm."""
    values = bone_spread(bone_lengths(joints, BONES))
    return float(1000 * np.nanmedian(values)) if np.isfinite(values).any() else float("nan")


def apart_mm(joints: Keypoints3D, reference: Keypoints3D) -> float:
    """Return the median distance of two solutions of one take over the joints that both have, mm.

    Raises:
        InputError: they differ in times or persons.
    """
    if joints.xyz.shape[:2] != reference.xyz.shape[:2]:
        raise InputError("the two solutions differ in frames or persons: solve the same take with the same settings")
    _, ours, theirs = shared_joints(joints.joint_names, reference.joint_names)
    away = np.linalg.norm(joints.xyz[:, :, ours] - reference.xyz[:, :, theirs], axis=-1)
    return float(1000 * np.nanmedian(away)) if np.isfinite(away).any() else float("nan")


# ---- poses beside published ones ----


@dataclass(frozen=True, eq=False)
class Poses:
    """Estimated and true joints, metres, and the action of each pose."""

    predicted: FloatArray  # (N, J, 3)
    truth: FloatArray  # (N, J, 3)
    joint_names: tuple[str, ...]
    actions: tuple[str, ...]  # (N,)


def read_poses(path: Path) -> Poses:
    """Read ``predicted``, ``truth``, ``joint_names`` and, where there, ``actions`` of an ``.npz``.

    Raises:
        InputError: the file cannot be read or lacks one of them.
    """
    try:
        with np.load(path, allow_pickle=False) as raw:
            predicted, truth = raw["predicted"].astype(float), raw["truth"].astype(float)
            names = tuple(str(name) for name in raw["joint_names"])
            actions = tuple(str(a) for a in raw["actions"]) if "actions" in raw.files else ("all",) * len(predicted)
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{path} does not hold predicted, truth and joint_names: {error}") from error
    if predicted.shape != truth.shape or predicted.shape[1:] != (len(names), 3) or len(actions) != len(predicted):
        raise InputError(f"{path}: predicted {predicted.shape}, truth {truth.shape} and {len(names)} joints do not fit")
    return Poses(predicted, truth, names, actions)


def protocol_scores(poses: Poses, protocol: str, compat: str = "") -> dict[str, float]:
    """Measure poses as a protocol does.

    Convention:
        ``h36m``: mm, mean over actions, root at the pelvis. ``mpi_inf_3dhp``: percent and mm over 14 joints, root
        subtracted. ``compat`` names the way of a paper's released code: ``epipolarpose_compat`` for N-MPJPE,
        ``margipose_compat`` for P-MPJPE.

    Raises:
        InputError: protocol or mode are unknown, or a joint is missing.
    """
    if compat not in ("", "epipolarpose_compat", "margipose_compat"):
        raise InputError(f"unknown mode {compat!r}; known: epipolarpose_compat, margipose_compat")
    root = int(joint_indices(poses.joint_names, ["pelvis"])[0])
    if protocol == "h36m":
        kept = joint_indices(poses.joint_names, "h36m_17")
        scaled = "epipolarpose_compat" if compat == "epipolarpose_compat" else "least_squares"
        aligned = "margipose_compat" if compat == "margipose_compat" else "proper"
        errors = {
            "mpjpe": root_errors(poses.predicted, poses.truth, root)[:, kept],
            "n_mpjpe": scaled_errors(poses.predicted, poses.truth, root, scaled)[:, kept],
            "p_mpjpe": aligned_errors(poses.predicted, poses.truth, kept, aligned),
        }
        return {name: 1000 * summarise(values, poses.actions).per_action for name, values in errors.items()}
    if protocol == "mpi_inf_3dhp":
        kept = joint_indices(poses.joint_names, "pck_14")
        errors_14 = root_errors(poses.predicted, poses.truth, root)[:, kept]
        mean = 1000 * summarise(errors_14, poses.actions).per_frame
        return {"pck": 100 * pck(errors_14, 0.150), "mpjpe": mean, "auc": 100 * auc(errors_14, millimetres=1e-3)}
    raise InputError(f"unknown protocol {protocol!r}; known: h36m, mpi_inf_3dhp")


def table(protocol: str, ours: Mapping[str, Mapping[str, float]]) -> str:
    """Return a Markdown table of our rows beside the published ones."""
    known = tomllib.loads(PUBLISHED.read_text(encoding="utf-8"))
    if protocol not in known:
        raise InputError(f"unknown protocol {protocol!r}; known: {', '.join(known)}")
    columns = known[protocol]["columns"]
    lines = [known[protocol]["what"], "", f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name, values in [*known[protocol]["rows"].items(), *((f"**{name}**", row) for name, row in ours.items())]:
        cells = [f"{values[column]:.1f}" if column in values else "" for column in columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)
