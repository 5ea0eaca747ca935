"""Takes that Sightline has solved: the videos of ``take.toml`` with the joints of ``solution.npz`` projected into them.

The labels are the solver's, so that whoever learns from them learns what all views together said, not what one detector
saw. A joint counts where the solution observed it and its projection is surer than a limit.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from inference.errors import InputError
from inference.files.solution import read_solution
from inference.footage import nearest_frames, open_footage
from inference.geometry.camera_path import before_first_pose, camera_at, poses_at
from inference.geometry.projection import project, project_jacobian
from inference.placement import without_placement
from inference.shapes import FloatArray
from inference.take import View, read_take
from inference.types import Camera, Flag, Keypoints3D

from .labelled import NO_BOX, LabelledView, Picture, existing


def read_solved_take(
    take_file: Path, solution_file: Path, most_sigma_px: float = 8.0, every: int = 1
) -> list[LabelledView]:
    """Read every person, view and n-th frame of a solved take.

    Args:
        take_file: the take, for its videos.
        solution_file: what ``inference solve`` wrote.
        most_sigma_px: largest standard deviation of a label in the picture, along its worst axis.
        every: take each n-th frame of the solution.

    Raises:
        InputError: a file is missing, or take and solution have different views.
    """
    take = read_take(existing(take_file, "a take"))
    solved = read_solution(existing(solution_file, "its solution (python -m inference solve TAKE --out DIR)"))
    solution = without_placement(solved)  # where on the body the teacher sets a joint is what it teaches, no doubt
    views = {view.name: view for view in take.views}
    labelled: list[LabelledView] = []
    for camera, offset in zip(solution.rig.cameras, solution.offset_s, strict=True):
        if camera.name not in views:
            raise InputError(f"{take_file} has no view {camera.name!r}, which {solution_file} was solved from")
        view = views[camera.name]
        if view.video is not None:
            labelled += labels_of_view(view, camera, float(offset), solution.solved, (most_sigma_px, every))
    if not labelled:
        raise InputError(f"{take_file}: no view has a video: there are no pictures to label")
    return labelled


def labels_of_view(
    view: View, camera: Camera, offset_s: float, joints: Keypoints3D, limits: tuple[float, int]
) -> list[LabelledView]:
    """Project joints into the frames of a view's video; ``limits``: most sigma px, and each n-th frame.

    Convention:
        a camera that moves does so on the take's clock; each label has it as it stands then.
    """
    assert view.video is not None  # the caller asked
    most_sigma_px, every = limits
    footage = open_footage(view.name, view.video, view.fps)
    numbers = nearest_frames(footage, joints.timestamps_s, offset_s)
    xy = project(camera, before_first_pose(camera, joints.xyz, joints.timestamps_s))
    covariance = covariance_px(camera, joints)
    kept = (joints.flag == Flag.OBSERVED) & (sigma_px(camera, joints) <= most_sigma_px)
    inside = ((xy > -0.5) & (xy < np.array(footage.image_size) - 0.5)).all(axis=-1)
    labelled = []
    for frame in range(0, len(joints.timestamps_s), every):
        standing = camera_at(camera, float(joints.timestamps_s[frame]))
        for person in range(joints.xyz.shape[1]):
            good = kept[frame, person] & inside[frame, person]
            if numbers[frame] < 0 or not good.any():
                continue
            labels = np.where(good[:, None], xy[frame, person], np.nan)
            picture = Picture(view.video, int(numbers[frame]))
            labelled.append(
                LabelledView(
                    picture,
                    joints.joint_names,
                    labels,
                    good,
                    NO_BOX,
                    str(person),
                    camera=standing,
                    xyz=joints.xyz[frame, person],
                    covariance=covariance[frame, person],
                )
            )
    return labelled


def sigma_px(camera: Camera, joints: Keypoints3D) -> FloatArray:
    """Return each joint's standard deviation (T, P, J) in the picture, px, along its worst axis; NaN if unknown."""
    covariance = covariance_px(camera, joints)
    known = np.isfinite(covariance).all(axis=(-1, -2))
    largest = np.linalg.eigvalsh(np.where(known[..., None, None], covariance, np.eye(2)))[..., -1]
    return np.where(known, np.sqrt(largest), np.nan)


def covariance_px(camera: Camera, joints: Keypoints3D) -> FloatArray:
    """Return each joint's covariance (T, P, J, 2, 2) in the picture, px²; NaN if unknown."""
    _, jacobian = project_jacobian(camera, before_first_pose(camera, joints.xyz, joints.timestamps_s))
    if camera.path is not None:
        R, _ = poses_at(camera, joints.timestamps_s)
        jacobian = jacobian @ (camera.R.T @ R)[:, None, None]  # by the points themselves
    return jacobian @ joints.covariance @ np.swapaxes(jacobian, -1, -2)
