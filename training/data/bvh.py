"""BVH files: joint positions and orientations over time, in our axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from inference.errors import InputError
from inference.shapes import FloatArray, IntArray

# Z up, subject facing -Y, from the Y up, facing +Z that BVH files of people use.
WORLD_FROM_Y_UP = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])


@dataclass(frozen=True, eq=False)
class JointTree:
    """A tree of joints with offsets, as motion files describe it. Y up."""

    names: tuple[str, ...]
    parents: IntArray  # (J,), -1 for the root
    offsets: FloatArray  # (J, 3) in the parent's axes, file units


@dataclass(frozen=True, eq=False)
class JointMotion:
    """A tree in motion. Y up, file units."""

    tree: JointTree
    rotations: FloatArray  # (T, J, 3, 3) world from joint
    positions: FloatArray  # (T, J, 3)
    fps: float


def forward_kinematics(tree: JointTree, local: FloatArray, root: FloatArray, fps: float) -> JointMotion:
    """Chain local rotations (T, J, 3, 3) and the root's path (T, 3) down the tree."""
    rotations, positions = np.empty_like(local), np.empty(local.shape[:3])
    for joint, parent in enumerate(tree.parents):  # a joint needs its parent's result
        if parent < 0:
            rotations[:, joint], positions[:, joint] = local[:, joint], root
        else:
            rotations[:, joint] = rotations[:, parent] @ local[:, joint]
            positions[:, joint] = positions[:, parent] + rotations[:, parent] @ tree.offsets[joint]
    return JointMotion(tree, rotations, positions, fps)


def read_bvh(text: str, where: str) -> JointMotion:
    """Read a BVH file.

    Convention:
        Euler channels in the file's order, degrees, intrinsic; end sites are joints named ``<parent>_end``.

    Args:
        text: of the file.
        where: its name, for messages.

    Raises:
        InputError: it is not a BVH file, or is cut short.
    """
    try:
        head, body = text.split("MOTION", 1)
        tree, channels = _read_tree(head)
        lines = body.strip().splitlines()
        frames, frame_time = int(lines[0].split(":")[1]), float(lines[1].split(":")[1])
        values = np.array([line.split() for line in lines[2 : 2 + frames]], dtype=float)
    except (ValueError, IndexError, KeyError) as error:
        raise InputError(f"{where}: not a readable BVH file ({error}); leave it out of the motion folder") from None
    if values.ndim != 2 or values.shape != (frames, sum(len(c) for c in channels)) or not frame_time > 0:
        raise InputError(f"{where}: its frames do not fit its hierarchy; the file is cut short or damaged")
    local = np.broadcast_to(np.eye(3), (frames, len(tree.names), 3, 3)).copy()
    root, column = np.zeros((frames, 3)), 0
    for joint, names in enumerate(channels):
        part = values[:, column : column + len(names)]
        column += len(names)
        turns = [i for i, name in enumerate(names) if name.endswith("rotation")]
        if turns:
            order = "".join(names[i][0] for i in turns)
            local[:, joint] = Rotation.from_euler(order, part[:, turns], degrees=True).as_matrix()
        if joint == 0 and len(names) == 6:
            moves = ["XYZ".index(name[0]) for name in names if name.endswith("position")]
            root[:, moves] = part[:, [i for i, name in enumerate(names) if name.endswith("position")]]
    return forward_kinematics(tree, local, root, 1 / frame_time)


def _read_tree(head: str) -> tuple[JointTree, list[list[str]]]:
    names: list[str] = []
    parents: list[int] = []
    offsets: list[list[float]] = []
    channels: list[list[str]] = []
    stack: list[int] = []
    for line in head.splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] in ("ROOT", "JOINT", "End"):
            parents.append(stack[-1] if stack else -1)
            names.append(words[1] if words[0] != "End" else f"{names[parents[-1]]}_end")
            channels.append([])
        elif words[0] == "{":
            stack.append(len(names) - 1)
        elif words[0] == "}":
            stack.pop()
        elif words[0] == "OFFSET":
            offsets.append([float(word) for word in words[1:4]])
        elif words[0] == "CHANNELS":
            channels[len(names) - 1] = words[2:]
    return JointTree(tuple(names), np.array(parents), np.array(offsets)), channels
