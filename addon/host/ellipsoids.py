"""One empty per joint whose keyed place, rotation and scale are the joint's mean and covariance."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

import bpy
import numpy as np

from ...inference.shapes import FloatArray
from ...inference.types import Keypoints3D
from .animation import replace_action, write_curves, write_visibility
from .axes import ellipsoid_axes, ellipsoid_factor
from .parts import RAW, Claims, Part, ensure_group

FACTOR = "sightline_k"  # half axis / standard deviation, one for all frames of a joint


def build_ellipsoids(
    claims: Claims,
    take: str,
    layer: str,
    joints: Keypoints3D,
    frames: FloatArray,  # (T,)
    units_per_m: float,
) -> list[bpy.types.Object]:
    """Make or update the ellipsoids of all joints and persons of one layer.

    Convention:
        scale = k·√eigenvalue with the custom property ``sightline_k`` = k. Keys stand only where the joint
        is observed; elsewhere the empty is hidden.
    """
    group = ensure_group(claims.home, "raw" if layer == RAW else "uncertainty", hidden=layer == RAW)
    factor = ellipsoid_factor(joints.degrees_of_freedom)
    made = []
    for person in range(joints.xyz.shape[1]):
        rotation, sigma = ellipsoid_axes(joints.covariance[:, person])
        for j, joint in enumerate(joints.joint_names):
            part = Part("ellipsoid", take, layer, person=person, joint=joint)
            item = claims.claim(part, group, f"{take} person {person + 1} {joint} {layer}", lambda: None)
            item.empty_display_type, item.empty_display_size = "SPHERE", 1.0
            item.rotation_mode = "QUATERNION"
            item[FACTOR] = factor
            xyz = joints.xyz[:, person, j]
            scale = factor * sigma[:, j]
            _key(item, frames, xyz * units_per_m, rotation[:, j], scale * units_per_m)
            claims.seal(item)
            made.append(item)
    return made


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
