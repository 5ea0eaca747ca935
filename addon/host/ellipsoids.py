"""One empty per joint whose keyed place, rotation and scale are the joint's mean and covariance."""
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
from .parts import RAW, Claims, Part, ensure_group

FACTOR = "sightline_k"  # half axis / standard deviation, one for all frames of a joint


@dataclass(frozen=True, eq=False)
class Ellipsoids:
    """One layer's joints with the axes of their covariance."""

    layer: str
    joints: Keypoints3D
    rotation: FloatArray  # (T, P, J, 4) wxyz, NaN where unobserved
    sigma: FloatArray  # (T, P, J, 3) m, NaN where unobserved


def ellipsoids_of(layer: str, joints: Keypoints3D) -> Ellipsoids:
    """Find the axes of all covariances; the long part of the work, and free of bpy, so it may run in a thread."""
    frames, persons, count = joints.xyz.shape[:3]
    rotation, sigma = ellipsoid_axes(joints.covariance.reshape(frames, persons * count, 3, 3))
    shape = (frames, persons, count)
    return Ellipsoids(layer, joints, rotation.reshape(*shape, 4), sigma.reshape(*shape, 3))


def build_ellipsoids(
    claims: Claims,
    take: str,
    ellipsoids: Ellipsoids,
    frames: FloatArray,  # (T,)
    units_per_m: float,
) -> Iterator[bpy.types.Object]:
    """Make or update the ellipsoids of all persons and joints of one layer; yields each.

    Convention:
        scale = k·√eigenvalue with the custom property ``sightline_k`` = k. Keys stand only where the joint
        is observed; elsewhere the empty is hidden.
    """
    layer, joints = ellipsoids.layer, ellipsoids.joints
    group = ensure_group(claims.home, "raw" if layer == RAW else "uncertainty", hidden=layer == RAW)
    factor = ellipsoid_factor(joints.degrees_of_freedom)
    for person, j in np.ndindex(joints.xyz.shape[1:3]):
        joint = joints.joint_names[j]
        part = Part("ellipsoid", take, layer, person=person, joint=joint)
        item = claims.claim(part, group, f"{take} person {person + 1} {joint} {layer}", lambda: None)
        item.empty_display_type, item.empty_display_size = "SPHERE", 1.0
        item.rotation_mode = "QUATERNION"
        item[FACTOR] = factor
        xyz, scale = joints.xyz[:, person, j], factor * ellipsoids.sigma[:, person, j]
        _key(item, frames, xyz * units_per_m, ellipsoids.rotation[:, person, j], scale * units_per_m)
        claims.seal(item)
        yield item


def _key(
    item: bpy.types.Object,
    frames: FloatArray,
    location: FloatArray,  # (T, 3)
    rotation: FloatArray,  # (T, 4)
    scale: FloatArray,  # (T, 3)
) -> None:
    seen = np.isfinite(location).all(axis=1) & np.isfinite(scale).all(axis=1)
    bag = replace_action(item)
    item.hide_viewport = item.hide_render = not seen[0]
    write_visibility(bag, frames, seen, "visibility")
    if seen.any():
        write_curves(bag, "location", frames[seen], location[seen], "ellipsoid")
        write_curves(bag, "rotation_quaternion", frames[seen], rotation[seen], "ellipsoid")
        write_curves(bag, "scale", frames[seen], scale[seen], "ellipsoid")
