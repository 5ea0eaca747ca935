"""Between our conventions and Blender's: cameras, frames, bones, ellipsoids. Imports no bpy.

Ours: OpenCV cameras, pixels counted from the centre of the first one, seconds, metres, wxyz.
Blender's: cameras look along -z with y up, images are measured from their corner, frames, units.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation
from scipy.special import chdtri, fdtri

from ...inference.errors import CalibrationError, InputError, ShapeError
from ...inference.geometry.camera_path import centres_of
from ...inference.shapes import BoolArray, FloatArray, IntArray, check_shapes
from ...inference.types import Camera, Intrinsics, Skeleton, SkeletonMotion

SENSOR_WIDTH_MM = 36.0
MIN_BONE_M = 0.001  # Blender deletes bones of no length
ELLIPSOID_SHARE = 0.9  # of the true points that a drawn ellipsoid should hold
_RADII = 200  # samples of a lens model that is fitted
_CAMERA_FLIP = np.diag([1.0, -1.0, -1.0])
_REST_PELVIS = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])  # x left, y up the spine, z forward
_FORWARD, _UP = np.array([0.0, -1.0, 0.0]), np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True, eq=False)
class CameraSetting:
    """What to enter into a Blender camera with sensor_fit HORIZONTAL and a pixel aspect of 1."""

    matrix_world: FloatArray  # (4, 4), translation in m
    lens_mm: float
    shift_x: float  # of the image width
    shift_y: float  # of the image width
    error_px: float  # the most that a point moves in the image because Blender has one focal length and no skew


def camera_setting(camera: Camera) -> CameraSetting:
    """Express a camera in Blender's terms; distortion is not part of a Blender camera.

    Convention:
        The image spans -0.5 … W-0.5 in our pixels and 0 … W in Blender's, hence the half pixel.
        Pixel aspect is scene-wide in Blender, so each camera takes f = √(fx·fy).

    Args:
        camera: OpenCV axes, px, m.

    Returns:
        The values for the camera object and its data.
    """
    K = camera.intrinsics.K
    width, height = camera.intrinsics.image_size
    f = float(np.sqrt(K[0, 0] * K[1, 1]))
    cx, cy = K[0, 2] + 0.5, K[1, 2] + 0.5
    matrix = np.eye(4)
    matrix[:3, :3] = camera.R.T @ _CAMERA_FLIP
    matrix[:3, 3] = camera.centre
    reach_x, reach_y = max(cx, width - cx), max(cy, height - cy)
    error_x = abs(f / K[0, 0] - 1) * reach_x + abs(K[0, 1]) * reach_y / K[1, 1]
    return CameraSetting(
        matrix_world=matrix,
        lens_mm=f / width * SENSOR_WIDTH_MM,
        shift_x=(width / 2 - cx) / width,
        shift_y=(cy - height / 2) / width,
        error_px=float(np.hypot(error_x, abs(f / K[1, 1] - 1) * reach_y)),
    )


def frame_rate(timestamps_s: FloatArray) -> float | None:
    """Return the rate of uniform timestamps in frames per second; None for fewer than two."""
    if len(timestamps_s) < 2:
        return None
    return float((len(timestamps_s) - 1) / (timestamps_s[-1] - timestamps_s[0]))


def blender_fps(fps: float) -> tuple[int, float]:
    """Split a rate into Blender's whole ``fps`` and ``fps_base``; the rate is fps / fps_base.

    Convention:
        the broadcast rates come out as editors write them: 23.976 is (24, 1.001).
    """
    whole = max(1, round(fps))
    for base in (1.0, 1.001):
        if abs(whole / base - fps) < 5e-4:
            return whole, base
    return whole, whole / fps


def frame_numbers(timestamps_s: FloatArray, fps: float, frame_start: int) -> FloatArray:
    """Return the (T,) scene frames of uniform timestamps: frame = frame_start + (t - t[0])·fps.

    Convention:
        values within a thousandth of a whole frame are whole.
    """
    frames = frame_start + (timestamps_s - timestamps_s[0]) * fps
    whole = np.round(frames)
    return np.where(np.abs(frames - whole) < 1e-3, whole, frames)


@dataclass(frozen=True, eq=False)
class RestPose:
    """A person's T pose on the ground, facing -Y, in metres; bones as in the skeleton."""

    root: FloatArray  # (3,) the root joint
    root_rotation: FloatArray  # (3, 3) world from pelvis
    heads: FloatArray  # (B, 3)
    tails: FloatArray  # (B, 3)
    z_axes: FloatArray  # (B, 3) unit, across the bone; fixes its roll


def rest_pose(skeleton: Skeleton, bone_length: FloatArray) -> RestPose:
    """Build the T pose of a person from rest directions and own bone lengths.

    Convention:
        world axes, m; the lowest joint stands at z = 0. Nothing here depends on a frame. A bone of no
        length is drawn 1 mm long; where bones start does not change by that.

    Args:
        skeleton: joints and rest directions.
        bone_length: (B,) m.

    Returns:
        Heads, tails and roll axes.
    """
    check_shapes(bone_length=(bone_length, f"{len(skeleton.bone_names)}"))
    joints = np.zeros((len(skeleton.joint_names), 3))
    for b, parent in enumerate(skeleton.parents[1:]):  # a child needs its parent's place first
        joints[b + 1] = joints[parent] + bone_length[b] * skeleton.rest_direction[b]
    joints[:, 2] -= joints[:, 2].min()
    heads = joints[skeleton.parents[1:]]
    drawn = np.maximum(bone_length, MIN_BONE_M)[:, None]
    along = skeleton.rest_direction
    reference = np.where(np.abs(along @ _FORWARD)[:, None] > 0.9, _UP, _FORWARD)
    across = reference - (reference * along).sum(axis=1, keepdims=True) * along
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    return RestPose(joints[0], _REST_PELVIS, heads, heads + drawn * along, across)


@dataclass(frozen=True, eq=False)
class PoseCurves:
    """Values of one armature's pose bones: the root bone first, then the skeleton's bones."""

    root_location: FloatArray  # (T, 3) m, in the root bone's rest frame
    rotation: FloatArray  # (T, 1 + B, 4) wxyz, relative to the rest pose, sign continuous


def pose_curves(
    motion: SkeletonMotion,
    person: int,
    rest_root: FloatArray,  # (3,) m, head of the root bone
    rest_rotation: FloatArray,  # (1 + B, 3, 3) armature from bone at rest, root bone first
) -> PoseCurves:
    """Turn bone rotations into Blender's pose-bone channels.

    Blender composes ``pose[b] = pose[parent] · rest[parent]⁻¹ · rest[b] · basis[b]``; solved for basis.

    Convention:
        bones without a parent bone hang on the root bone, which carries the pelvis.

    Args:
        motion: the whole motion.
        person: which person.
        rest_root: where the root bone starts.
        rest_rotation: rest frames as Blender holds them (in single precision, with its own roll).

    Returns:
        Location of the root bone and rotations of all bones.
    """
    bones = len(motion.skeleton.bone_names)
    check_shapes(rest_root=(rest_root, "3"), rest_rotation=(rest_rotation, f"{bones + 1} 3 3"))
    parents = motion.skeleton.bone_parents + 1  # the root bone is bone 0
    root, local = motion.root_rotation[:, person], motion.local_rotation[:, person]
    from_rest = quaternions(np.swapaxes(rest_rotation[1:], -1, -2) @ rest_rotation[parents])
    local = np.where((parents == 0)[:, None], _product(_inverse(root)[:, None], local), local)
    basis = np.concatenate(
        [_product(_inverse(quaternions(rest_rotation[:1])), root)[:, None], _product(from_rest, local)], axis=1
    )
    location = (motion.root_translation[:, person] - rest_root) @ rest_rotation[0]
    return PoseCurves(location, continuous(basis))


def bone_motion(
    curves: PoseCurves,
    skeleton: Skeleton,
    rest_root: FloatArray,  # (3,) m, head of the root bone
    rest_rotation: FloatArray,  # (1 + B, 3, 3) armature from bone at rest, root bone first
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Turn Blender's pose-bone channels back into a motion: what `pose_curves` does, the other way.

    Args:
        curves: location of the root bone in metres, rotations of all bones of any length but 0.
        skeleton: its tree.
        rest_root: where the root bone starts.
        rest_rotation: rest frames as Blender holds them.

    Returns:
        Root translation (T, 3) m, root rotation (T, 4) and local rotations (T, B, 4), as in `SkeletonMotion`.
    """
    check_shapes(rest_root=(rest_root, "3"), rest_rotation=(rest_rotation, f"{len(skeleton.bone_names) + 1} 3 3"))
    parents = skeleton.bone_parents + 1  # the root bone is bone 0
    basis = curves.rotation / np.linalg.norm(curves.rotation, axis=-1, keepdims=True)
    root = _product(quaternions(rest_rotation[:1]), basis[:, 0])
    to_rest = quaternions(np.swapaxes(rest_rotation[parents], -1, -2) @ rest_rotation[1:])
    local = _product(to_rest, basis[:, 1:])
    local = np.where((parents == 0)[:, None], _product(root[:, None], local), local)
    translation = curves.root_location @ rest_rotation[0].T + rest_root
    return translation, continuous(root), continuous(local)


def _inverse(quaternion: FloatArray) -> FloatArray:
    return quaternion * [1.0, -1.0, -1.0, -1.0]


def _product(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return the product of (..., 4) quaternions wxyz: the rotation ``second``, then ``first``."""
    w, x, y, z = np.moveaxis(first, -1, 0)
    a, b, c, d = np.moveaxis(second, -1, 0)
    parts = (
        w * a - x * b - y * c - z * d,
        w * b + x * a + y * d - z * c,
        w * c - x * d + y * a + z * b,
        w * d + x * c - y * b + z * a,
    )
    return np.stack(parts, axis=-1)


def matrices(quaternion: FloatArray) -> FloatArray:
    """Return (..., 3, 3) rotations of (..., 4) quaternions wxyz."""
    flat = np.roll(quaternion.reshape(-1, 4), -1, axis=1)
    return Rotation.from_quat(flat).as_matrix().reshape(*quaternion.shape[:-1], 3, 3)


def quaternions(matrix: FloatArray) -> FloatArray:
    """Return (..., 4) unit quaternions wxyz of (..., 3, 3) rotations; the sign is arbitrary."""
    flat = Rotation.from_matrix(matrix.reshape(-1, 3, 3)).as_quat()
    return np.roll(flat, 1, axis=1).reshape(*matrix.shape[:-2], 4)


def continuous(quaternion: FloatArray) -> FloatArray:
    """Flip signs along the first axis of (T, ..., 4) so that neighbours lie on one side; starts with w ≥ 0."""
    steps = np.ones(quaternion.shape[:-1])
    steps[0] = np.where(quaternion[0, ..., 0] < 0, -1.0, 1.0)
    steps[1:] = np.where((quaternion[1:] * quaternion[:-1]).sum(axis=-1) < 0, -1.0, 1.0)
    return quaternion * np.cumprod(steps, axis=0)[..., None]


def ellipsoid_factor(degrees_of_freedom: float, share: float = ELLIPSOID_SHARE) -> float:
    """Return k: an ellipsoid with half axes k·√eigenvalue of the covariance holds this share of the points.

    For a Student t with ν degrees of freedom in three dimensions, x'Σ⁻¹x/3 follows F(3, ν) with the scale
    matrix Σ = covariance·(ν-2)/ν; for ν = ∞ it is χ²(3)/3 (Kotz & Nadarajah 2004, section 1.2).

    Raises:
        ShapeError: ν ≤ 2, where no covariance exists.
    """
    if degrees_of_freedom <= 2:
        raise ShapeError(f"a Student t with {degrees_of_freedom} degrees of freedom has no covariance to draw")
    if np.isinf(degrees_of_freedom):
        return float(np.sqrt(chdtri(3, 1 - share)))
    squared = 3 * fdtri(3, degrees_of_freedom, share)
    return float(np.sqrt(squared * (degrees_of_freedom - 2) / degrees_of_freedom))


def ellipsoid_axes(
    covariance: FloatArray,  # (T, N, 3, 3) m²
) -> tuple[FloatArray, FloatArray]:
    """Turn covariances into rotations and standard deviations that do not spin from frame to frame.

    Convention:
        covariance = R·diag(sigma²)·Rᵀ. Axes keep the order and sign of the last frame in which the same
        ellipsoid was finite, by the nearest of the 24 right-handed namings of the eigenvectors.

    Args:
        covariance: NaN where unobserved.

    Returns:
        (T, N, 4) rotation wxyz and (T, N, 3) sigma in m; NaN where unobserved.
    """
    check_shapes(covariance=(covariance, "T N 3 3"))
    seen = np.isfinite(covariance).all(axis=(-1, -2))
    values, vectors = np.linalg.eigh(np.where(seen[..., None, None], covariance, np.eye(3)))
    vectors[..., 0] *= np.linalg.det(vectors)[..., None]  # right-handed
    namings = _right_handed_namings()
    last = np.broadcast_to(np.eye(3), vectors.shape[1:]).copy()
    for t in range(len(vectors)):  # a frame follows the one before it
        overlap = np.swapaxes(last, -1, -2) @ vectors[t]
        best = np.einsum("nij,sji->ns", overlap, namings).argmax(axis=1)
        vectors[t] = vectors[t] @ namings[best]
        values[t] = np.einsum("ni,nij->nj", values[t], np.abs(namings[best]))
        last = np.where(seen[t][:, None, None], vectors[t], last)
        vectors[t] = last  # a gap keeps the sign of the quaternion continuous across it
    rotation = continuous(quaternions(vectors))
    sigma = np.sqrt(np.maximum(values, 0.0))
    return np.where(seen[..., None], rotation, np.nan), np.where(seen[..., None], sigma, np.nan)


def _right_handed_namings() -> FloatArray:
    """Return the (24, 3, 3) signed permutations with determinant 1."""
    found = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            matrix = np.eye(3)[:, order] * signs
            if np.linalg.det(matrix) > 0:
                found.append(matrix)
    return np.array(found)


def visibility_changes(
    seen: BoolArray,  # (T,)
) -> IntArray:
    """Return the indices of the frames at which visibility must be keyed: the first, and every change."""
    return np.flatnonzero(np.concatenate([[True], seen[1:] != seen[:-1]]))


def camera_from_blender(
    name: str,
    matrix_world: FloatArray,  # (4, 4), translation in m
    projection: FloatArray,  # (4, 4), of Blender's calc_matrix_camera for this picture
    image_size: tuple[int, int],
) -> Camera:
    """Express a Blender camera in our terms: the inverse of `camera_setting`, for every sensor fit, shift and aspect.

    Convention:
        clip coordinates run from -1 to 1 over the picture with y up, so fx = W/2·P00, and the centre of the picture's
        first pixel is at (-0.5, -0.5) from its corner. A Blender camera has no distortion; scale is no part of a pose.

    Args:
        name: of the view.
        matrix_world: the camera object's.
        projection: perspective.
        image_size: (width, height) px.

    Returns:
        OpenCV axes, px, m.

    Raises:
        CalibrationError: the camera's axes are mirrored or sheared (by a parent's scale).
    """
    R, t = poses_from_blender(name, np.asarray(matrix_world)[None])
    K = lenses_from_blender(np.asarray(projection)[None], image_size)
    return Camera(Intrinsics(name, image_size, K[0], np.zeros(0), "none"), R[0], t[0])


def poses_from_blender(
    name: str,
    matrix_world: FloatArray,  # (N, 4, 4), translation in m
) -> tuple[FloatArray, FloatArray]:
    """Express N poses of a Blender camera in our terms: R (N, 3, 3) and t (N, 3) m, camera from world.

    Raises:
        CalibrationError: as `camera_from_blender`.
    """
    axes = matrix_world[:, :3, :3] / np.linalg.norm(matrix_world[:, :3, :3], axis=1, keepdims=True)
    sheared = np.abs(axes.swapaxes(-1, -2) @ axes - np.eye(3)).max(axis=(-1, -2)) > 1e-4
    if (sheared | (np.linalg.det(axes) < 0)).any():
        raise CalibrationError(f"camera {name!r} is mirrored or sheared; apply the scale of it and of its parents")
    U, _, Vt = np.linalg.svd(axes @ _CAMERA_FLIP)  # single precision is not orthonormal enough
    R = (U @ Vt).swapaxes(-1, -2)
    return R, -np.einsum("nij,nj->ni", R, matrix_world[:, :3, 3])


def lenses_from_blender(
    projection: FloatArray,  # (N, 4, 4), of Blender's calc_matrix_camera for this picture
    image_size: tuple[int, int],
) -> FloatArray:
    """Return the (N, 3, 3) intrinsic matrices of a Blender camera's projections, px."""
    width, height = image_size
    K = np.zeros((len(projection), 3, 3))
    K[:, 0, 0], K[:, 1, 1], K[:, 2, 2] = projection[:, 0, 0] * width / 2, projection[:, 1, 1] * height / 2, 1
    K[:, 0, 2] = width / 2 * (1 - projection[:, 0, 2]) - 0.5
    K[:, 1, 2] = height / 2 * (1 + projection[:, 1, 2]) - 0.5
    return K


def poses_in_blender(
    R: FloatArray,  # (N, 3, 3) camera from world
    t: FloatArray,  # (N, 3) m
) -> tuple[FloatArray, FloatArray]:
    """Return what to key on a Blender camera: its place (N, 3) m and its rotation (N, 4) wxyz, sign continuous."""
    return centres_of(R, t), continuous(quaternions(R.swapaxes(-1, -2) @ _CAMERA_FLIP))


def clip_matrix(
    image_size: tuple[int, int],
    focal_px: float,
    principal_px: tuple[float, float],  # from the lower left corner
    pixel_aspect: float,
) -> FloatArray:
    """Return the (3, 3) intrinsic matrix of a movie clip's tracking camera."""
    x, y = principal_px
    return np.array([[focal_px, 0, x - 0.5], [0, focal_px / pixel_aspect, image_size[1] - y - 0.5], [0, 0, 1]])


def clip_distortion(
    model: str,
    coefficients: FloatArray,  # as Blender lists them
    K: FloatArray,  # (3, 3) px
    image_size: tuple[int, int],
) -> tuple[FloatArray, float]:
    """Turn the distortion of a movie clip's tracking camera into OpenCV's coefficients.

    Convention:
        measured in Blender 4.2, 4.5 and 5.0 on the Follow Track constraint, in normalised coordinates with y up:
        POLYNOMIAL (k1, k2, k3) is OpenCV's radial model; BROWN (k1 … k4, p1, p2) has OpenCV's p1 and p2 exchanged, of
        which the first changes its sign with y; DIVISION (k1, k2) divides by 1 + k1·r² + k2·r⁴ of the undistorted
        radius, which is OpenCV's rational model; NUKE (k1, k2) undistorts by the same division of the distorted
        radius in half picture widths. BROWN's k4 and NUKE are fitted.

    Returns:
        (5,) or (8,) coefficients, and the largest error of the fit in the picture, px; 0 where the models are the same.

    Raises:
        CalibrationError: the model is unknown, or folds the picture.
    """
    if not coefficients.any():
        return np.zeros(5), 0.0
    if model == "POLYNOMIAL":
        k1, k2, k3 = coefficients
        return np.array([k1, k2, 0, 0, k3]), 0.0
    if model == "DIVISION":
        return np.array([0, 0, 0, 0, 0, *coefficients, 0]), 0.0
    if model == "BROWN":
        k1, k2, k3, k4, p1, p2 = coefficients
        if k4 == 0:
            return np.array([k1, k2, -p2, p1, k3]), 0.0
        rho = np.linspace(0, 1.3 * _corner_radius(K, image_size), _RADII)
        distorted = rho * (1 + rho**2 * (k1 + rho**2 * (k2 + rho**2 * (k3 + rho**2 * k4))))
        tangential = np.array([-p2, p1])
    elif model == "NUKE":
        bent = np.linspace(0, _corner_radius(K, image_size), _RADII)
        k1, k2 = coefficients * (K[0, 0] / (max(image_size) / 2)) ** np.array([2, 4])
        rho, distorted = bent / (1 + k1 * bent**2 + k2 * bent**4), bent
        tangential = np.zeros(2)
    else:
        raise CalibrationError(f"the lens distortion model {model} is not known; choose another one in the clip")
    inside = distorted <= _corner_radius(K, image_size)
    if (np.diff(distorted) <= 0).any() or (np.diff(rho) <= 0).any() or not np.isfinite(rho).all():
        raise CalibrationError(f"the lens distortion ({model}) folds the picture over; solve the clip's lens again")
    powers = np.stack([rho**3, rho**5, rho**7], axis=-1)[inside]
    k = np.linalg.lstsq(powers, (distorted - rho)[inside], rcond=None)[0]
    error = float(np.abs(powers @ k - (distorted - rho)[inside]).max() * max(K[0, 0], K[1, 1]))
    return np.array([k[0], k[1], *tangential, k[2]]), error


def blender_brown(
    distortion: FloatArray,  # (4,) or (5,) of OpenCV
) -> tuple[float, ...]:
    """Return Blender's k1, k2, k3, k4, p1, p2 of the model BROWN: the inverse of `clip_distortion`."""
    k1, k2, p1, p2, k3 = (*map(float, distortion), 0.0)[:5]
    return k1, k2, k3, 0.0, p2, -p1


def _corner_radius(K: FloatArray, image_size: tuple[int, int]) -> float:
    """Normalised distance of the picture's farthest corner from the principal point."""
    corners = np.array([[x, y] for x in (-0.5, image_size[0] - 0.5) for y in (-0.5, image_size[1] - 0.5)])
    return float(np.linalg.norm((corners - K[:2, 2]) / np.diag(K)[:2], axis=-1).max())


def axes_and_scale(
    name: str,
    matrix_world: FloatArray,  # (4, 4)
) -> tuple[FloatArray, float]:
    """Split an object's matrix into its (3, 3) rotation and its scale.

    Raises:
        InputError: the object is mirrored, sheared, or scaled unevenly; the message names it.
    """
    sizes = np.linalg.norm(matrix_world[:3, :3], axis=0)
    scale = float(sizes.mean())
    axes = matrix_world[:3, :3] / max(scale, 1e-12)
    if np.abs(axes.T @ axes - np.eye(3)).max() > 1e-3 or np.linalg.det(axes) < 0:
        raise InputError(f"{name} is mirrored, sheared or scaled unevenly; apply its scale and that of its parents")
    U, _, Vt = np.linalg.svd(axes)  # single precision is not orthonormal enough
    return U @ Vt, scale


def world_to_local(
    world: FloatArray,  # (T, B, 4) wxyz
    parents: IntArray,  # (B,), -1 without a parent
) -> FloatArray:
    """Return (T, B, 4) rotations relative to the parent bone, or the world."""
    above = np.concatenate([world, np.broadcast_to([1.0, 0.0, 0.0, 0.0], world[:, :1].shape)], axis=1)
    return _product(_inverse(above[:, parents]), world)
