"""Where on the body a detector sets its joints: an error that all views share, so that no residual shows it.

A detector learned from people's clicks what to call a hip; the centre of the hip is centimetres away, in every view
alike, and the whole take fits the wrong point as well as the right one. Only truth of another kind shows how far, so
the model card states it (``placement_m``), and the covariance of joints holds it. What moves by itself is known
better: tools that ask how far a movement may change take it off again (`movement_covariance`). Between that and errors
of each view's own lie those in which views resemble each other (`with_correlation`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from .motion.skeleton import joint_sources
from .perception.card import find_card
from .shapes import FloatArray
from .take import Take
from .types import Keypoints2D, Keypoints3D, Solution


def placement_of_detector(take: Take, joint_names: Sequence[str]) -> FloatArray:
    """(J,) m, sigma per axis of where the take's detector sets each joint; 0 where all keypoints are imported.

    Raises:
        ModelError: the detector's card is missing or wrong.
    """
    if all(view.keypoints is not None for view in take.views):
        return np.zeros(len(joint_names))
    card = find_card(take.settings.detection.detector)
    return np.array([card.noise_of(name).placement_m for name in joint_names])


def with_correlation(take: Take, views: Sequence[Keypoints2D]) -> tuple[Keypoints2D, ...]:
    """Widen keypoints by how far views are wrong together, as the detector's card states it (``view_correlation``).

    A hand behind the body is guessed from the same picture of bodies in every view: n guesses are not n measurements.

    Convention:
        the covariance of a joint that n views show grows by 1 + ρ (n − 1); imported keypoints stay as they are.

    Args:
        take: says which views are detected, and by what.
        views: V views of the same persons, on common times.

    Raises:
        ModelError: the detector's card is missing or wrong.
    """
    detected = {view.name for view in take.views if view.keypoints is None}
    if not detected:
        return tuple(views)
    card = find_card(take.settings.detection.detector)
    rho = np.array([card.noise_of(name).view_correlation for name in views[0].joint_names])
    if not rho.any():
        return tuple(views)
    count = sum(view.observed.astype(int) for view in views)
    factor = 1 + rho * np.maximum(count - 1, 0)
    return tuple(
        replace(view, covariance=view.covariance * factor[..., None, None]) if view.view in detected else view
        for view in views
    )


def with_placement(
    solution: Solution,
    joint_names: Sequence[str],
    sigma_m: FloatArray,  # (J,)
) -> Solution:
    """Add to the covariances of both layers what all views have wrong alike.

    Convention:
        errors of two joints are independent, so that a pelvis between the hips errs less than they do.

    Args:
        solution: as its residuals tell.
        joint_names: J joints of the keypoints.
        sigma_m: of them.
    """
    sources = joint_sources(solution.motion.skeleton, joint_names)
    of_skeleton = dict(zip(solution.motion.skeleton.joint_names, np.sqrt(sources**2 @ sigma_m**2), strict=True))
    of_all = dict(zip(joint_names, sigma_m, strict=True)) | of_skeleton
    raw, solved = (_changed(layer, of_all, 1.0) for layer in (solution.raw, solution.solved))
    own = np.array([of_all.get(name, 0.0) for name in solved.joint_names])
    return replace(solution, raw=raw, solved=solved, placement_sigma_m=own)


def without_placement(solution: Solution) -> Solution:
    """The solution as it was before `with_placement`: both layers as the residuals tell."""
    of_all = dict(zip(solution.solved.joint_names, solution.placement_sigma_m, strict=True))
    raw, solved = (_changed(layer, of_all, -1.0) for layer in (solution.raw, solution.solved))
    return replace(solution, raw=raw, solved=solved, placement_sigma_m=np.zeros(len(solved.joint_names)))


def _changed(joints: Keypoints3D, sigma_m: Mapping[str, float], times: float) -> Keypoints3D:
    """Add variances of joints by name, some times over."""
    sigma = np.array([sigma_m.get(name, 0.0) for name in joints.joint_names])
    return replace(joints, covariance=joints.covariance + times * sigma[:, None, None] ** 2 * np.eye(3))


def movement_covariance(solution: Solution) -> FloatArray:
    """(T, P, J, 3, 3) m²: how sure the solved joints' movement is, without where on the body the detector sets them."""
    return solution.solved.covariance - solution.placement_sigma_m[:, None, None] ** 2 * np.eye(3)
