"""The parametric body: shapes at rest, a small skeleton, blend skinning, and where each keypoint sits.

At rest the body faces -Y, its left is +X, Z is up, metres. A body pose is one rotation per bone, ``world_from_rest``:
what turns that part of the body at rest into its place in the world.

Keypoints (layout ``sightline_29``) are points fixed to one bone each:

=================================  ==================================================================================
nose                               tip of the nose
eyes                               middle of the visible eye, on the cornea
ears                               tragus, in front of the ear canal
shoulder, elbow, wrist             centres of rotation: glenohumeral joint; between the epicondyles of the humerus;
                                   between the styloid processes
hip, knee, ankle                   centres of rotation: head of the femur; between the femoral condyles; between the
                                   malleoli
neck                               middle of the base of the neck (seventh cervical vertebra)
head_top                           highest point of the skull's skin when the head is upright (hair not counted)
big_toe, small_toe, heel           tips of the first and fifth toe, hindmost point of the heel, on the bare foot
index, pinky                       knuckles where the second and fifth finger begin (metacarpophalangeal joints)
=================================  ==================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from inference.layouts import layout
from inference.shapes import FloatArray, IntArray, check_shapes

LAYOUT = "sightline_29"
JOINT_NAMES = layout(LAYOUT).joint_names

_ARM = ("clavicle", "upper_arm", "forearm", "hand")
_LEG = ("thigh", "shin", "foot", "toes")
_TRUNK = ("pelvis", "spine_low", "spine_mid", "chest", "neck", "head")
_PARENTS = {
    "pelvis": None,
    **dict(zip(_TRUNK[1:], _TRUNK[:-1], strict=True)),
    **{f"{bone}.{s}": f"{up}.{s}" for s in "LR" for up, bone in zip(_ARM[:-1], _ARM[1:], strict=True)},
    **{f"{bone}.{s}": f"{up}.{s}" for s in "LR" for up, bone in zip(_LEG[:-1], _LEG[1:], strict=True)},
    **{f"clavicle.{s}": "chest" for s in "LR"},
    **{f"thigh.{s}": "pelvis" for s in "LR"},
}
# Bones that a body pose turns, parents first; motions are stored for these.
POSED_BONES = (*_TRUNK, *(f"{bone}.{s}" for s in "LR" for bone in (*_ARM, *_LEG)))
# Then those that follow from them: half of the hand's turn about the forearm, and the fingers.
FOLLOWING_BONES = tuple(f"{bone}.{s}" for s in "LR" for bone in ("forearm_twist", "fingers", "finger_ends", "thumb"))
BONES = (*POSED_BONES, *FOLLOWING_BONES)
_FOLLOW = {"forearm_twist": "forearm", "fingers": "hand", "finger_ends": "fingers", "thumb": "hand"}
PARENT_NAMES = tuple(_PARENTS[bone] if bone in _PARENTS else f"{_FOLLOW[bone[:-2]]}{bone[-2:]}" for bone in BONES)
PARENTS = np.array([-1 if parent is None else BONES.index(parent) for parent in PARENT_NAMES])

# Columns of `Body.regions`: coordinates on the body that clothes and skin are drawn by.
REGIONS = ("arm", "leg", "torso", "arm_share", "leg_share", "head_share", "hand_share", "foot_share", "eye")


def bone_index(name: str) -> int:
    """Return the index of a bone in `BONES`."""
    return BONES.index(name)


def mirrored_bone(name: str) -> str:
    """Return the bone's name on the other side; itself where it has none."""
    return name[:-1] + {"L": "R", "R": "L"}[name[-1]] if name[-2:] in (".L", ".R") else name


@dataclass(frozen=True, eq=False)
class Body:
    """Shapes of one topology, all at rest.

    ``regions`` holds per vertex: position along the arm (0 shoulder, 1 elbow, 2 wrist, 3 finger tips), along the leg
    (0 hip, 1 knee, 2 ankle, 3 toes; negative above), height on the trunk (0 hips, 1 base of the neck), the share of
    skinning weight on arms, legs, head, hands and feet, and 1 on the eyeballs.
    """

    shapes: FloatArray  # (N, V, 3) m
    heads: FloatArray  # (N, B, 3) m, where each bone begins
    keypoints: FloatArray  # (N, J, 3) m, in the order of JOINT_NAMES
    keypoint_bones: IntArray  # (J,)
    template: FloatArray  # (V, 3) m: the mean shape, whose positions textures are drawn at
    template_keypoints: FloatArray  # (J, 3) m, of the template
    template_heads: FloatArray  # (B, 3) m, of the template
    triangles: IntArray  # (F, 3)
    weights: FloatArray  # (V, B)
    regions: FloatArray  # (V, len(REGIONS))

    def __post_init__(self) -> None:
        b, j = len(BONES), len(JOINT_NAMES)
        check_shapes(
            shapes=(self.shapes, "N V 3"),
            heads=(self.heads, f"N {b} 3"),
            keypoints=(self.keypoints, f"N {j} 3"),
            keypoint_bones=(self.keypoint_bones, f"{j}"),
            template=(self.template, "V 3"),
            template_keypoints=(self.template_keypoints, f"{j} 3"),
            template_heads=(self.template_heads, f"{b} 3"),
            triangles=(self.triangles, "F 3"),
            weights=(self.weights, f"V {b}"),
            regions=(self.regions, f"V {len(REGIONS)}"),
        )


@dataclass(frozen=True, eq=False)
class PosedBodies:
    """Transforms of all bones of P people: a point x at rest goes to ``rotation @ x + shift``."""

    rotation: Tensor  # (P, B, 3, 3)
    shift: Tensor  # (P, B, 3) m

    def points(self, rest: Tensor, weights: Tensor) -> Tensor:
        """Move points at rest (P, N, 3) by linear blend skinning with weights (N, B): (P, N, 3)."""
        people, bones = self.shift.shape[:2]
        matrix = torch.cat([self.rotation, self.shift[..., None]], dim=-1).reshape(people, bones, 12)
        blended = torch.matmul(weights, matrix).reshape(people, -1, 3, 4)
        return (blended[..., :3] * rest[..., None, :]).sum(-1) + blended[..., 3]

    def fixed(self, rest: Tensor, bones: Tensor) -> Tensor:
        """Move points (P, N, 3) that sit on one bone (N,) each: (P, N, 3)."""
        return (self.rotation[:, bones] * rest[..., None, :]).sum(-1) + self.shift[:, bones]


def pose_bodies(
    rotations: Tensor,  # (P, B, 3, 3) world_from_rest
    heads: Tensor,  # (P, B, 3) m at rest
    root: Tensor,  # (P, 3) m, where the pelvis goes
) -> PosedBodies:
    """Chain the bones of P people.

    Convention:
        rotations are in the world, not relative to the parent; a bone begins where its parent carries its head.
    """
    places = torch.empty_like(heads)
    for bone, parent in enumerate(PARENTS):  # a bone needs its parent's result
        if parent < 0:
            places[:, bone] = root
        else:
            arm = heads[:, bone] - heads[:, parent]
            places[:, bone] = places[:, parent] + (rotations[:, parent] @ arm[..., None])[..., 0]
    return PosedBodies(rotations, places - (rotations @ heads[..., None])[..., 0])


def vertex_normals(
    vertices: Tensor,  # (P, V, 3)
    triangles: Tensor,  # (F, 3)
) -> Tensor:
    """Return (P, V, 3) area-weighted unit normals, outward for triangles that turn counter-clockwise."""
    a, b, c = (vertices[:, triangles[:, corner]] for corner in range(3))
    normal = torch.linalg.cross(b - a, c - a)
    total = torch.zeros_like(vertices)
    for corner in range(3):
        total.index_add_(1, triangles[:, corner], normal)
    return torch.nn.functional.normalize(total, dim=-1)
