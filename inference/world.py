"""A solution moved to another world: cameras, joints, ellipsoids, skeleton motion and hypotheses together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .geometry.rotation import multiply, quaternion_from_matrix
from .shapes import FloatArray, check_shapes
from .types import CameraRig, Hypotheses3D, Keypoints3D, SkeletonMotion, Solution


def on_the_floor(solution: Solution) -> Solution:
    """Turn and lift the world by as little as it takes, so that the floor is z = 0 and up is +z.

    Convention:
        the point of the floor under (or over) the old origin becomes the origin; without a floor nothing moves.
    """
    if not np.isfinite(solution.floor).all():
        return solution
    normal, distance = solution.floor[:3], float(solution.floor[3])
    axis = np.cross(normal, [0.0, 0.0, 1.0])
    cosine = float(normal[2])
    if cosine < -1 + 1e-9:
        rotation = np.diag([1.0, -1.0, -1.0])
    else:  # Rodrigues' formula for the shortest turn
        cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
        rotation = np.eye(3) + cross + cross @ cross / (1 + cosine)
    return moved(solution, rotation, np.array([0.0, 0.0, distance]))


def moved(
    solution: Solution,
    rotation: FloatArray,  # (3, 3)
    shift: FloatArray,  # (3,) m
) -> Solution:
    """Express a solution in a world where every point x stands at ``rotation @ x + shift``.

    Convention:
        what the cameras see stays the same; covariances turn along, the floor too.

    Args:
        solution: what to move.
        rotation: new world from old world.
        shift: where the old origin comes to stand, m.

    Returns:
        The same solution in the new world.
    """
    check_shapes(rotation=(rotation, "3 3"), shift=(shift, "3"))
    floor = solution.floor
    if np.isfinite(floor).all():
        normal = rotation @ floor[:3]
        floor = np.r_[normal, floor[3] - normal @ shift]
    return replace(
        solution,
        rig=_moved_rig(solution.rig, rotation, shift),
        raw=_moved_joints(solution.raw, rotation, shift),
        solved=_moved_joints(solution.solved, rotation, shift),
        motion=_moved_motion(solution.motion, rotation, shift),
        floor=floor,
        hypotheses=Hypotheses3D(solution.hypotheses.xyz @ rotation.T + shift, solution.hypotheses.log_weight),
    )


def _moved_rig(rig: CameraRig, rotation: FloatArray, shift: FloatArray) -> CameraRig:
    """Cameras with ``R' = R rotationᵀ`` and ``t' = t - R' shift``: dt' = dt + [R' shift]× dw."""
    cameras = []
    slopes = np.eye(6 * len(rig.cameras))
    for number, camera in enumerate(rig.cameras):
        cameras.append(camera.with_poses(lambda R, t: (R @ rotation.T, t - R @ rotation.T @ shift)))
        x, y, z = camera.R @ rotation.T @ shift
        low = 6 * number
        slopes[low + 3 : low + 6, low : low + 3] = [[0, -z, y], [z, 0, -x], [-y, x, 0]]
    return CameraRig(tuple(cameras), slopes @ rig.covariance @ slopes.T, rig.gauge)


def _moved_joints(joints: Keypoints3D, rotation: FloatArray, shift: FloatArray) -> Keypoints3D:
    return replace(joints, xyz=joints.xyz @ rotation.T + shift, covariance=rotation @ joints.covariance @ rotation.T)


def _moved_motion(motion: SkeletonMotion, rotation: FloatArray, shift: FloatArray) -> SkeletonMotion:
    turn = quaternion_from_matrix(rotation)
    local = np.array(motion.local_rotation)
    roots = motion.skeleton.bone_parents < 0
    local[:, :, roots] = multiply(np.broadcast_to(turn, local[:, :, roots].shape), local[:, :, roots])
    covariance = np.array(motion.rotation_covariance)
    covariance[:, :, roots] = rotation @ covariance[:, :, roots] @ rotation.T  # the others are in their parents' axes
    return replace(
        motion,
        root_translation=motion.root_translation @ rotation.T + shift,
        root_rotation=multiply(np.broadcast_to(turn, motion.root_rotation.shape), motion.root_rotation),
        local_rotation=local,
        rotation_covariance=covariance,
    )
