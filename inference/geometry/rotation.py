"""Rotations: quaternions (w, x, y, z), rotation vectors, shortest arcs, products along time.

Matrices and rotation vectors go through `scipy.spatial.transform`; what stands here is vectorised over
frames and keeps the project's order of components.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from ..shapes import FloatArray, check_shapes


def quaternion_from_matrix(
    matrices: FloatArray,  # (..., 3, 3)
) -> FloatArray:
    """(..., 4) unit quaternions wxyz of rotation matrices."""
    check_shapes(matrices=(matrices, "... 3 3"))
    flat = Rotation.from_matrix(np.reshape(matrices, (-1, 3, 3))).as_quat()
    return flat[:, [3, 0, 1, 2]].reshape(*np.shape(matrices)[:-2], 4)


def matrix_from_quaternion(
    quaternions: FloatArray,  # (..., 4) wxyz
) -> FloatArray:
    """(..., 3, 3) rotation matrices of quaternions; length does not matter."""
    check_shapes(quaternions=(quaternions, "... 4"))
    flat = np.reshape(quaternions, (-1, 4))[:, [1, 2, 3, 0]]
    return Rotation.from_quat(flat).as_matrix().reshape(*np.shape(quaternions)[:-1], 3, 3)


def exp(
    rotation_vectors: FloatArray,  # (..., 3) rad
) -> FloatArray:
    """(..., 3, 3) rotation matrices of rotation vectors."""
    check_shapes(rotation_vectors=(rotation_vectors, "... 3"))
    flat = Rotation.from_rotvec(np.reshape(rotation_vectors, (-1, 3))).as_matrix()
    return flat.reshape(*np.shape(rotation_vectors)[:-1], 3, 3)


def log(
    matrices: FloatArray,  # (..., 3, 3)
) -> FloatArray:
    """(..., 3) rotation vectors, rad, of rotation matrices; the angle is at most pi."""
    check_shapes(matrices=(matrices, "... 3 3"))
    flat = Rotation.from_matrix(np.reshape(matrices, (-1, 3, 3))).as_rotvec()
    return flat.reshape(*np.shape(matrices)[:-2], 3)


def multiply(a: FloatArray, b: FloatArray) -> FloatArray:
    """Hamilton product a*b of quaternions wxyz, (..., 4); rotates by b first, then by a."""
    aw, ax, ay, az = np.moveaxis(np.asarray(a), -1, 0)
    bw, bx, by, bz = np.moveaxis(np.asarray(b), -1, 0)
    return np.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        axis=-1,
    )


def conjugate(quaternions: FloatArray) -> FloatArray:
    """(..., 4) inverse of unit quaternions wxyz."""
    return np.asarray(quaternions) * np.array([1, -1, -1, -1])


def rotate(quaternions: FloatArray, vectors: FloatArray) -> FloatArray:
    """Rotate (..., 3) vectors by (..., 4) unit quaternions."""
    q = np.asarray(quaternions)
    v = np.broadcast_to(vectors, (*np.broadcast_shapes(q.shape[:-1], np.shape(vectors)[:-1]), 3))
    twice = 2 * np.cross(q[..., 1:], v)
    return v + q[..., :1] * twice + np.cross(q[..., 1:], twice)


def shortest_arc(a: FloatArray, b: FloatArray) -> FloatArray:
    """Quaternion (..., 4) of the smallest rotation that takes unit vector a to unit vector b.

    Convention:
        for opposite vectors, where the axis is free, any axis perpendicular to ``a`` is taken.
    """
    a, b = np.broadcast_arrays(np.asarray(a, float), np.asarray(b, float))
    w = 1 + (a * b).sum(axis=-1)
    axis = np.cross(a, b)
    opposite = w < 1e-9
    spare = np.where(np.abs(a[..., :1]) < 0.9, np.array([1.0, 0, 0]), np.array([0, 1.0, 0]))
    axis = np.where(opposite[..., None], np.cross(a, spare), axis)
    q = np.concatenate([np.where(opposite, 0.0, w)[..., None], axis], axis=-1)
    return q / np.linalg.norm(q, axis=-1, keepdims=True)


def running_product(
    steps: FloatArray,  # (T, ..., 4)
) -> FloatArray:
    """Products steps[t] * … * steps[1] * steps[0] for every t, in log2(T) vectorised passes."""
    result = np.array(steps, float)
    span = 1
    while span < len(result):
        result[span:] = multiply(result[span:], result[:-span])
        span *= 2
    return result / np.linalg.norm(result, axis=-1, keepdims=True)


def continuous(
    quaternions: FloatArray,  # (T, ..., 4)
) -> FloatArray:
    """Choose the signs so that neighbours in time never jump to the other half of the sphere; frame 0 has w >= 0."""
    q = np.array(quaternions, float)
    if not len(q):
        return q
    turn = np.ones(q.shape[:-1])
    turn[0] = np.where(q[0, ..., 0] < 0, -1, 1)
    turn[1:] = np.where((q[1:] * q[:-1]).sum(axis=-1) < 0, -1, 1)
    return q * np.cumprod(turn, axis=0)[..., None]


def slerp(a: FloatArray, b: FloatArray, share: FloatArray) -> FloatArray:
    """Interpolate between unit quaternions (..., 4) on the shorter arc; share (...,) 0 gives a, 1 gives b."""
    cosine = (np.asarray(a) * b).sum(axis=-1)
    b = np.where(cosine[..., None] < 0, -np.asarray(b), b)
    angle = np.arccos(np.clip(np.abs(cosine), 0, 1))
    near = angle < 1e-6
    sine = np.where(near, 1.0, np.sin(angle))
    first = np.where(near, 1 - np.asarray(share), np.sin((1 - np.asarray(share)) * angle) / sine)
    second = np.where(near, share, np.sin(share * angle) / sine)
    q = first[..., None] * a + second[..., None] * b
    return q / np.linalg.norm(q, axis=-1, keepdims=True)
