"""One empty per joint whose keyed place, rotation and scale are mean and covariance; raw joints as crosses."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import bpy
import numpy as np

from ...inference.shapes import FloatArray
from ...inference.types import Keypoints3D
from .animation import replace_action, write_curves, write_visibility
from .axes import ellipsoid_axes, ellipsoid_factor
from .parts import RAW, SOLVED, Claims, Part, ensure_group

POINT_SIZE_M = 0.01
FACTOR = "sightline_k"  # half axis / standard deviation, one for all frames of a joint


@dataclass(frozen=True, eq=False)
class Ellipsoids:
    """Joints with the axes of their covariance."""

    joints: Keypoints3D
    rotation: FloatArray  # (T, P, J, 4) wxyz, NaN where unobserved
    sigma: FloatArray  # (T, P, J, 3) m, NaN where unobserved


def ellipsoids_of(joints: Keypoints3D) -> Ellipsoids:
    """Find the axes of all covariances; the long part of the work, and free of bpy, so it may run in a thread."""
    frames, persons, count = joints.xyz.shape[:3]
    rotation, sigma = ellipsoid_axes(joints.covariance.reshape(frames, persons * count, 3, 3))
    shape = (frames, persons, count)
    return Ellipsoids(joints, rotation.reshape(*shape, 4), sigma.reshape(*shape, 3))


def build_ellipsoids(
    claims: Claims,
    take: str,
    ellipsoids: Ellipsoids,
    frames: FloatArray,  # (T,)
    units_per_m: float,
) -> Iterator[bpy.types.Object]:
    """Make or update the ellipsoids of all persons and joints of the solved layer; yields each.

    Convention:
        scale = k·√eigenvalue with the custom property ``sightline_k`` = k. Keys stand only where the joint
        is observed; elsewhere the empty is hidden.
    """
    joints = ellipsoids.joints
    group = ensure_group(claims.home, "uncertainty")
    factor = ellipsoid_factor(joints.degrees_of_freedom)
    for person, j in np.ndindex(joints.xyz.shape[1:3]):
        joint = joints.joint_names[j]
        part = Part("ellipsoid", take, SOLVED, person=person, joint=joint)
        item = claims.claim(part, group, f"{take} person {person + 1} {joint}", lambda: None)
        item.empty_display_type, item.empty_display_size = "SPHERE", 1.0
        item.rotation_mode = "QUATERNION"
        item[FACTOR] = factor
        curves = {
            "location": joints.xyz[:, person, j] * units_per_m,
            "rotation_quaternion": ellipsoids.rotation[:, person, j],
            "scale": ellipsoids.sigma[:, person, j] * factor * units_per_m,
        }
        _key(item, frames, curves)
        claims.seal(item)
        yield item


def build_points(
    claims: Claims,
    take: str,
    joints: Keypoints3D,
    frames: FloatArray,  # (T,)
    units_per_m: float,
) -> Iterator[bpy.types.Object]:
    """Make or update a small cross for every person and joint of the raw layer, in a hidden collection; yields each."""
    group = ensure_group(claims.home, "raw", hidden=True)
    for person, j in np.ndindex(joints.xyz.shape[1:3]):
        joint = joints.joint_names[j]
        part = Part("point", take, RAW, person=person, joint=joint)
        item = claims.claim(part, group, f"{take} person {person + 1} {joint} raw", lambda: None)
        item.empty_display_type, item.empty_display_size = "PLAIN_AXES", POINT_SIZE_M * units_per_m
        _key(item, frames, {"location": joints.xyz[:, person, j] * units_per_m})
        claims.seal(item)
        yield item


def _key(
    item: bpy.types.Object,
    frames: FloatArray,  # (T,)
    curves: dict[str, FloatArray],  # (T, C) each, NaN where unobserved
) -> None:
    seen = np.all([np.isfinite(values).all(axis=1) for values in curves.values()], axis=0)
    bag = replace_action(item)
    item.hide_viewport = item.hide_render = not seen[0]
    write_visibility(bag, frames, seen, "visibility")
    if seen.any():
        for data_path, values in curves.items():
            write_curves(bag, data_path, frames[seen], values[seen], "joint")
