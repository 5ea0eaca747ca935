"""How far estimated joints are from the truth. Each number is defined here once; other definitions have other names.

Each function measures *errors* per joint, which the *summaries* turn into one number:

    errors = aligned_errors(predicted, truth)                # P-MPJPE's errors, (..., J)
    summarise(errors, actions)                               # per frame and per action, which differ
    pck(errors, 0.150), auc(errors, millimetres=1e-3)        # NaN in an error: see `pck`

Errors are in the unit of the joints. A joint that the truth does not have is NaN in ``truth``, one that was not found
is NaN in ``predicted``: both have the error NaN, and ``missed`` tells them apart.
The uncertainty is judged in calibration_metrics.py, several hypotheses in hypothesis_metrics.py, cameras in
camera_metrics.py, movement in animation_metrics.py, the pose's kind in pose_structure.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from inference.errors import InputError, ShapeError
from inference.layouts import layout
from inference.shapes import BoolArray, FloatArray, IntArray, check_shapes

from .alignment import fit_similarity

AUC_THRESHOLDS_MM = np.arange(0, 151, 5)  # 31, zero included (Mehta et al. 2017)
CPS_THRESHOLDS_MM = np.arange(1, 301)  # trapezoids over 299 intervals: the largest CPS is 299 (Wandt et al. 2021)

_LIMBS = ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")
_H36M = layout("h36m_17").joint_names
# Which joints count is part of a number. Named after the protocols that use them; all are names of h36m_17.
JOINT_SETS: dict[str, tuple[str, ...]] = {
    "h36m_17": _H36M,
    # MPI-INF-3DHP: head top, neck and limbs (its own head joint, our nose, is left out); h36m_17's 1-6, 8, 10-16.
    "pck_14": tuple(n for n in _H36M if n not in ("pelvis", "spine", "nose")),
    "cps_16": tuple(n for n in _H36M if n != "spine"),  # all but h36m_17's 7
    "limbs_12": tuple(f"{side}_{limb}" for side in ("left", "right") for limb in _LIMBS),
}


@dataclass(frozen=True)
class Summary:
    """Mean error of a data set, averaged in the two ways that are published."""

    per_frame: float  # mean over poses of each pose's mean over joints
    per_action: float  # mean over actions of the mean over the action's poses
    actions: dict[str, float]
    poses: int  # how many poses have any error
    missing: float  # share 0-1 of joints without an error


def joint_indices(joint_names: Sequence[str], wanted: str | Sequence[str]) -> IntArray:
    """Find joints by name.

    Args:
        joint_names: of the arrays' joint axis.
        wanted: names, or the name of one of `JOINT_SETS`.

    Returns:
        (N,) indices in the order of ``wanted``.

    Raises:
        InputError: no set has that name, or a joint is not among the names.
    """
    if isinstance(wanted, str):
        if wanted not in JOINT_SETS:
            raise InputError(f"unknown joint set {wanted!r}; known: {', '.join(JOINT_SETS)}")
        wanted = JOINT_SETS[wanted]
    absent = [name for name in wanted if name not in joint_names]
    if absent:
        raise InputError(f"joint {absent[0]!r} is not among the joints ({', '.join(joint_names)})")
    return np.array([list(joint_names).index(name) for name in wanted], dtype=np.int64)


# ---- errors ----


def absolute_errors(
    predicted: FloatArray,  # (..., J, 3)
    truth: FloatArray,  # (..., J, 3)
) -> FloatArray:
    """Distance of every joint, nothing subtracted (absolute MPJPE).

    Returns:
        (..., J), unit of the joints; NaN where either is unobserved.
    """
    check_shapes(predicted=(predicted, "... J 3"), truth=(truth, "... J 3"))
    return np.linalg.norm(np.asarray(predicted) - np.asarray(truth), axis=-1)


def root_errors(
    predicted: FloatArray,  # (..., J, 3)
    truth: FloatArray,  # (..., J, 3)
    root: int | Sequence[int] = 0,
) -> FloatArray:
    """Distance of every joint after moving both roots to the origin (MPJPE, protocol 1).

    Convention:
        the root is a joint, or the mean of several (the two hips). It counts as a joint with error 0 where it is one:
        leave it out of the result if the protocol does.

    Returns:
        (..., J), unit of the joints; all NaN for a pose whose root is unobserved.
    """
    return absolute_errors(from_root(predicted, root), from_root(truth, root))


def from_root(
    joints: FloatArray,  # (..., J, 3)
    root: int | Sequence[int] = 0,
) -> FloatArray:
    """Subtract the root, a joint or the mean of several.

    Returns:
        (..., J, 3).
    """
    joints = np.asarray(joints, float)
    return joints - joints[..., np.atleast_1d(root), :].mean(axis=-2, keepdims=True)


def scaled_errors(
    predicted: FloatArray,  # (..., J, 3)
    truth: FloatArray,  # (..., J, 3)
    root: int | Sequence[int] = 0,
    mode: Literal["least_squares", "epipolarpose_compat"] = "least_squares",
) -> FloatArray:
    """Distance of every joint from the root after the best scale (N-MPJPE).

    Rhodin et al. 2018: s = <g, p> / <p, p>.

    Convention:
        s >= 0: a scale does not mirror through the root. ``epipolarpose_compat`` takes the scale of the similarity
        that also rotates, as the released code of EpipolarPose does; its errors are never smaller in the least
        squares sense.

    Returns:
        (..., J), unit of the truth.

    Raises:
        InputError: the mode is unknown.
    """
    mine, theirs = from_root(predicted, root), from_root(truth, root)
    if mode == "least_squares":
        seen = np.isfinite(mine).all(axis=-1, keepdims=True) & np.isfinite(theirs).all(axis=-1, keepdims=True)
        square = np.where(seen, mine**2, 0.0).sum(axis=(-2, -1))
        product = np.where(seen, mine * theirs, 0.0).sum(axis=(-2, -1))
        scale = np.maximum(product, 0.0) / np.where(square > 0, square, np.nan)
    elif mode == "epipolarpose_compat":
        scale = fit_similarity(mine, theirs).scale
    else:
        raise InputError(f"unknown mode {mode!r} of the scale; known: least_squares, epipolarpose_compat")
    return absolute_errors(mine * scale[..., None, None], theirs)


def aligned_errors(
    predicted: FloatArray,  # (..., J, 3)
    truth: FloatArray,  # (..., J, 3)
    joints: IntArray | Sequence[int] | None = None,
    mode: Literal["proper", "margipose_compat"] = "proper",
) -> FloatArray:
    """Distance of every joint after the best similarity (P-MPJPE, protocol 2: rotation, shift and scale).

    Convention:
        ``proper``: det R = +1, and the joints that are fitted are those that are measured.
        ``margipose_compat``: all joints are fitted, ``joints`` are measured, and a reflection is allowed: a mirrored
        pose has the error 0. Only for comparing with numbers that were published that way.

    Args:
        predicted: estimated joints.
        truth: true joints.
        joints: which are measured; None: all.
        mode: as above.

    Returns:
        (..., len(joints)), unit of the truth; NaN where fewer than three joints are observed.

    Raises:
        InputError: the mode is unknown.
    """
    check_shapes(predicted=(predicted, "... J 3"), truth=(truth, "... J 3"))
    predicted, truth = np.asarray(predicted, float), np.asarray(truth, float)
    chosen = np.arange(truth.shape[-2]) if joints is None else np.asarray(joints)
    if mode not in ("proper", "margipose_compat"):
        raise InputError(f"unknown mode {mode!r} of the alignment; known: proper, margipose_compat")
    if mode == "proper":
        predicted, truth, chosen = predicted[..., chosen, :], truth[..., chosen, :], np.arange(len(chosen))
    fitted = fit_similarity(predicted, truth, allow_reflection=mode == "margipose_compat").apply(predicted)
    return absolute_errors(fitted, truth)[..., chosen]


def missed(
    predicted: FloatArray,  # (..., J, 3)
    truth: FloatArray,  # (..., J, 3)
) -> BoolArray:
    """Tell which joints the truth has and the estimate does not.

    Returns:
        (..., J).
    """
    return np.isfinite(truth).all(axis=-1) & ~np.isfinite(predicted).all(axis=-1)


# ---- summaries ----


def pose_means(errors: FloatArray) -> FloatArray:  # (..., J)
    """Mean over the joints of each pose.

    Returns:
        (...); NaN where a pose has no error at all.
    """
    return _mean(errors, axis=-1)


def summarise(
    errors: FloatArray,  # (N, J)
    actions: Sequence[str],  # (N,)
) -> Summary:
    """Average errors per frame and per action: two different numbers, both are published.

    Convention:
        joints without an error are left out, and counted in ``missing``: an estimator that gives up on the
        hard joints looks better, so the two belong together.

    Raises:
        ShapeError: not one action per pose.
    """
    check_shapes(errors=(errors, f"{len(actions)} J"))
    poses = pose_means(errors)
    names = np.asarray(actions, dtype=object)
    means = {str(name): float(_mean(poses[names == name], axis=0)) for name in dict.fromkeys(actions)}
    return Summary(
        per_frame=float(_mean(poses, axis=0)),
        per_action=float(_mean(np.array(list(means.values()), float), axis=0)),
        actions=means,
        poses=int(np.isfinite(poses).sum()),
        missing=float(np.isnan(errors).mean()) if np.size(errors) else float("nan"),
    )


def pck(
    errors: FloatArray,  # (..., J)
    threshold: float | FloatArray,  # same unit; an array broadcasts against the errors
    missed: BoolArray | None = None,  # (..., J)
) -> float:
    """Share of joints nearer than a threshold.

    Convention:
        strictly nearer (``<``). A missed joint counts as wrong; any other NaN does not count. Thresholds per pose give
        PCKh and its kin: pass (..., 1).

    Returns:
        0-1; NaN where nothing counts.
    """
    errors = np.asarray(errors, float)
    counts = np.isfinite(errors) if missed is None else np.isfinite(errors) | missed
    return float((counts & (errors < threshold)).sum() / counts.sum()) if counts.any() else float("nan")


def auc(
    errors: FloatArray,  # (..., J)
    millimetres: float,
    missed: BoolArray | None = None,
) -> float:
    """Mean PCK over the 31 thresholds 0, 5 … 150 mm.

    Convention:
        the threshold 0 counts, and nothing is below it: a perfect estimate has 30/31.

    Args:
        errors: of the joints.
        millimetres: one millimetre in the unit of the errors (metres: 1e-3).
        missed: see `pck`.

    Returns:
        0 to 30/31.
    """
    return float(np.mean([pck(errors, threshold * millimetres, missed) for threshold in AUC_THRESHOLDS_MM]))


def cps(
    errors: FloatArray,  # (M, N, J) aligned errors of M hypotheses; M = 1 for one estimate
    millimetres: float,
) -> float:
    """Correct Poses Score: area under the share of poses of which every joint is near enough.

    Wandt et al. 2021 (CanonPose).

    Convention:
        errors after the similarity alignment. At each threshold 1, 2 … 300 mm a pose is correct where all
        joints of any hypothesis are nearer (``<``); trapezoids, so that the best value is 299 mm. A NaN
        makes its hypothesis wrong.

    Returns:
        0-299 mm.
    """
    check_shapes(errors=(errors, "M N J"))
    worst = np.where(np.isnan(errors), np.inf, errors).max(axis=-1).min(axis=0)
    share = (worst[:, None] < CPS_THRESHOLDS_MM * millimetres).mean(axis=0)
    return float(((share[1:] + share[:-1]) / 2).sum())


def pcp(
    predicted: FloatArray,  # (..., J, 3)
    truth: FloatArray,  # (..., J, 3)
    limbs: Sequence[tuple[int, int]],  # joints at the ends of each limb
    alpha: float = 0.5,
    mode: Literal["mean_of_ends", "both_ends"] = "mean_of_ends",
) -> FloatArray:
    """Percentage of Correct Parts: share of limbs whose ends are near, measured by the limb's true length.

    Burenius et al. 2013 for 3D: mean error of both ends <= alpha · length. ``both_ends`` asks it of each end
    (strict PCP, Ferrari et al. 2008).

    Convention:
        nothing is aligned. A limb that the truth lacks does not count, one that was missed is wrong.

    Returns:
        (B,) share 0-1 per limb; NaN where the truth never has it.

    Raises:
        InputError: the mode is unknown.
    """
    if mode not in ("mean_of_ends", "both_ends"):
        raise InputError(f"unknown mode {mode!r} of PCP; known: mean_of_ends, both_ends")
    ends = np.asarray(limbs, dtype=np.int64)  # (B, 2)
    errors = absolute_errors(predicted, truth)[..., ends]
    joints = np.asarray(truth, float)[..., ends, :]
    length = np.linalg.norm(joints[..., 0, :] - joints[..., 1, :], axis=-1)
    error = errors.mean(axis=-1) if mode == "mean_of_ends" else errors.max(axis=-1)
    counts = np.isfinite(length).reshape(-1, len(ends)).sum(axis=0)
    correct = (error <= alpha * length).reshape(-1, len(ends)).sum(axis=0)
    return np.where(counts > 0, correct / np.maximum(counts, 1), np.nan)


def percent_mse(
    predicted: FloatArray,  # (..., J, 2) px
    truth: FloatArray,  # (..., J, 2) px
    image_edge_px: float,
) -> float:
    """Return 100 · mean of |p − g|² / edge², the 2D number of unsupervised keypoints after a linear regression.

    Convention:
        squared distance of a keypoint (both coordinates summed). The papers that report this number do not all state
        the normaliser: compare with care.

    Returns:
        Percent.

    Raises:
        ShapeError: the arrays differ in shape, or the edge is not positive.
    """
    check_shapes(predicted=(predicted, "... J 2"), truth=(truth, "... J 2"))
    if not image_edge_px > 0:
        raise ShapeError(f"image_edge_px is {image_edge_px}: the edge of an image is above zero")
    squares = ((np.asarray(predicted) - np.asarray(truth)) ** 2).sum(axis=-1)
    return float(100 * _mean(squares.ravel(), axis=0) / image_edge_px**2)


def _mean(values: FloatArray, axis: int) -> FloatArray:
    """Mean of the finite values; NaN where there are none, without a warning."""
    seen = np.isfinite(values)
    count = seen.sum(axis=axis)
    total = np.where(seen, values, 0.0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
