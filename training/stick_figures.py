"""Stick figures with exact keypoints, drawn in a moment from nothing: the data of smoke runs and tests.

Left limbs are warm, right ones cold, so that sides can be told apart. Nobody learns about people from them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from inference.layouts import layout

from .random_numbers import sample_numbers
from .trainer.task import Batch

LAYOUT = "sightline_29"
_NAMES = layout(LAYOUT).joint_names
# Joint: its parent, place in the parent's frame (x to the picture's right, y down; height 1.75), swing either way, rad.
_LEFT: dict[str, tuple[str, tuple[float, float], float]] = {
    "shoulder": ("neck", (0.17, 0.02), 0.2),
    "elbow": ("shoulder", (0.08, 0.28), 1.3),
    "wrist": ("elbow", (0.0, 0.26), 1.2),
    "index": ("wrist", (0.025, 0.09), 0.4),
    "pinky": ("wrist", (-0.025, 0.09), 0.0),
    "hip": ("pelvis", (0.1, 0.03), 0.1),
    "knee": ("hip", (0.02, 0.42), 0.7),
    "ankle": ("knee", (0.0, 0.42), 0.7),
    "heel": ("ankle", (-0.04, 0.06), 0.3),
    "big_toe": ("ankle", (0.14, 0.07), 0.0),
    "small_toe": ("ankle", (0.11, 0.09), 0.0),
    "eye": ("head", (0.035, -0.03), 0.0),
    "ear": ("head", (0.075, 0.0), 0.0),
}
_TREE: dict[str, tuple[str, tuple[float, float], float]] = {
    "neck": ("pelvis", (0.0, -0.5), 0.3),
    "head": ("neck", (0.0, -0.15), 0.3),
    "nose": ("head", (0.0, 0.02), 0.0),
    "head_top": ("head", (0.0, -0.15), 0.0),
} | {
    f"{side}_{name}": (
        parent if parent in ("neck", "pelvis", "head") else f"{side}_{parent}",
        (x if side == "left" else -x, y),
        swing,
    )
    for side in ("left", "right")
    for name, (parent, (x, y), swing) in _LEFT.items()
}
_LINES = [(name, parent) for name, (parent, _, _) in _TREE.items() if name != "nose"]
_NUMBERS = len(_TREE) + 16


def keypoint_samples(first: int, count: int, size: tuple[int, int], seed: int) -> Batch:
    """Draw crops of one figure each.

    Returns:
        ``image`` (N, 3, H, W) uint8 RGB, ``xy`` (N, 29, 2) px, ``inside`` and ``visible`` (N, 29) bool.
    """
    numbers = sample_numbers(seed, first, count, _NUMBERS + 6)
    width, height = size
    scale = height / 1.75 * (0.62 + 0.2 * numbers[:, 0])
    middle = torch.stack([width * (0.45 + 0.1 * numbers[:, 1]), height * (0.47 + 0.06 * numbers[:, 2])], dim=-1)
    joints = _figure(numbers[:, 6:], middle, scale)
    image = _background(numbers[:, 3:6], size)
    image = _drawn(image, joints, scale, numbers[:, 6:])
    xy = torch.stack([joints[name] for name in _NAMES], dim=1)
    limits = torch.tensor([width, height]) - 0.5
    inside = ((xy > -0.5) & (xy < limits)).all(dim=-1)
    return {"image": (image * 255).round().byte(), "xy": xy, "inside": inside, "visible": inside}


def person_samples(first: int, count: int, size: tuple[int, int], seed: int, most: int = 3) -> Batch:
    """Draw pictures of none to ``most`` figures.

    Returns:
        ``image`` (N, 3, H, W) uint8 RGB, ``boxes`` (N, most, 4) x1, y1, x2, y2 px, NaN where there is nobody.
    """
    numbers = sample_numbers(seed, first, count, 4 + most * (_NUMBERS + 3))
    width, height = size
    image = _background(numbers[:, :3], size)
    people = (numbers[:, 3] * (most + 1)).long()
    boxes = torch.full((count, most, 4), torch.nan)
    for person in range(most):
        own = numbers[:, 4 + person * (_NUMBERS + 3) :][:, : _NUMBERS + 3]
        scale = height / 1.75 * (0.25 + 0.5 * own[:, 0])
        column = (person + 0.3 + 0.4 * own[:, 1]) / most
        middle = torch.stack([width * column, height * (0.4 + 0.2 * own[:, 2])], dim=-1)
        joints = _figure(own[:, 3:], middle, scale)
        there = people > person
        drawn = _drawn(image, joints, scale, own[:, 3:])
        image = torch.where(there[:, None, None, None], drawn, image)
        points = torch.stack(list(joints.values()), dim=1)
        corners = torch.cat([points.amin(dim=1), points.amax(dim=1)], dim=-1)
        boxes[:, person] = torch.where(there[:, None], corners, torch.nan)
    return {"image": (image * 255).round().byte(), "boxes": boxes}


def poses(count: int, seed: int) -> Tensor:
    """Make (count, 29, 3) m flat figures, upright, z up."""
    numbers = sample_numbers(seed, 0, count, _NUMBERS)
    joints = _figure(numbers, torch.zeros(count, 2), torch.ones(count))
    flat = torch.stack([joints[name] for name in _NAMES], dim=1)
    return torch.stack([flat[..., 0], torch.zeros_like(flat[..., 0]), -flat[..., 1]], dim=-1)


def solid_poses(count: int, seed: int) -> Tensor:
    """Make (count, 29, 3) m figures that bend sideways and forwards, upright, z up, facing -y."""
    numbers = sample_numbers(seed, 0, count, 2 * (len(_TREE) + 2))
    turn = {"pelvis": _turned(0.3 * (2 * numbers[:, 0] - 1), 0.3 * (2 * numbers[:, 1] - 1))}
    place = {"pelvis": torch.zeros(count, 3)}
    for index, (name, (parent, (x, y), swing)) in enumerate(_TREE.items()):  # parents come first
        own = 2 * numbers[:, 2 * index + 2 : 2 * index + 4] - 1
        turn[name] = turn[parent] @ _turned(swing * own[:, 0], swing * own[:, 1])
        place[name] = place[parent] + turn[name] @ torch.tensor([x, 0.0, -y])
    return torch.stack([place[name] for name in _NAMES], dim=1)


def _turned(sideways: Tensor, forwards: Tensor) -> Tensor:
    """Rotations (N, 3, 3) about the axis of depth (y), then about that to the side (x)."""
    (c, s), (d, e) = ((angle.cos(), angle.sin()) for angle in (sideways, forwards))
    zero = torch.zeros_like(c)
    rows = [torch.stack([c, s * e, s * d], -1), torch.stack([zero, d, -e], -1), torch.stack([-s, c * e, c * d], -1)]
    return torch.stack(rows, dim=-2)


def _figure(numbers: Tensor, middle: Tensor, scale: Tensor) -> dict[str, Tensor]:
    """Pose a figure: (N, 2) px of every joint by name."""
    angle = {"pelvis": 0.5 * (numbers[:, 0] - 0.5)}
    place = {"pelvis": middle}
    for index, (name, (parent, offset, swing)) in enumerate(_TREE.items()):  # parents come first
        angle[name] = angle[parent] + swing * (2 * numbers[:, 16 + index] - 1)
        sine, cosine = angle[name].sin(), angle[name].cos()
        x, y = offset
        place[name] = place[parent] + scale[:, None] * torch.stack([cosine * x - sine * y, sine * x + cosine * y], -1)
    return place


def _background(numbers: Tensor, size: tuple[int, int]) -> Tensor:
    """Soft waves of grey and colour: (N, 3, H, W) 0–1."""
    x = torch.linspace(0, 2 * math.pi, size[0])
    y = torch.linspace(0, 2 * math.pi, size[1])
    phase = 6 * numbers[:, :, None, None]
    waves = torch.sin(x[None, None, None, :] * (1 + phase) + phase) * torch.cos(y[None, None, :, None] * (2 - phase))
    return 0.4 + 0.15 * waves


def _drawn(image: Tensor, joints: dict[str, Tensor], scale: Tensor, numbers: Tensor) -> Tensor:
    """Paint lines and a head over pictures."""
    y, x = torch.meshgrid(torch.arange(image.shape[2]), torch.arange(image.shape[3]), indexing="ij")
    grid = torch.stack([x, y], dim=-1).float()
    for name, parent in _LINES:  # one line at a time: all at once would take a GB
        away = _distance(grid, joints[parent], joints[name])
        cover = (0.022 * scale[:, None, None] - away + 0.5).clamp(0, 1)[:, None]
        image = image * (1 - cover) + cover * _colour(name, numbers)
    radius = 0.1 * scale[:, None, None]
    away = (grid - joints["head"][:, None, None]).norm(dim=-1)
    ring = (0.02 * scale[:, None, None] - (away - radius).abs() + 0.5).clamp(0, 1)[:, None]
    return image * (1 - ring) + ring * _colour("head", numbers)


def _distance(grid: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Distance of every pixel from a line segment: (N, H, W)."""
    along = (end - start)[:, None, None]
    rest = grid - start[:, None, None]
    share = ((rest * along).sum(-1) / (along**2).sum(-1).clamp(min=1e-6)).clamp(0, 1)
    return (rest - share[..., None] * along).norm(dim=-1)


def _colour(name: str, numbers: Tensor) -> Tensor:
    """Colour (N, 3, 1, 1) of a line: warm on the left, cold on the right, light in the middle."""
    base = (
        (0.95, 0.35, 0.1) if name.startswith("left") else (0.1, 0.35, 0.95) if name.startswith("right") else (1, 1, 1)
    )
    return (torch.tensor(base)[None] * (0.7 + 0.3 * numbers[:, 1:2]))[:, :, None, None]
