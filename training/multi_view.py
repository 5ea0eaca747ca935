"""Multi-view sets with exact truth and several noisy labellers: bodies of lines, drawn into small crops of each view.

    source = multi_view_samples(solid_poses(512, 1), Rig("random", views=4), (64, 64), seed=1)
    batch = source(0, 8)

Made to teach and to judge spatial uncertainty, not people: limbs hide limbs, sides differ by colour, light and
background vary. A batch holds ``image`` (N, V, 3, H, W) uint8, ``projection`` (N, V, 3, 4) from m to the crop's px,
``seen`` (N, V) bool, ``centre`` (N, 3) m, ``labels`` (N, L, V, J, 2) px with NaN where a labeller gave none, ``xyz``
(N, J, 3) m.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.config import nearest_key
from inference.errors import InputError
from inference.layouts import layout

from .random_numbers import sample_numbers
from .trainer.task import Batch
from .triangulation import project_points

JOINT_NAMES = layout("sightline_29").joint_names
RIGS = ("random", "room", "same_side", "other_side", "antipodal", "other_antipodal", "ring")
_FIXED_DEG = {  # azimuths of cameras at the corners of a room, as in Human3.6M
    "room": (55.0, 125.0, 235.0, 305.0),
    "same_side": (55.0, 125.0),
    "other_side": (235.0, 305.0),
    "antipodal": (55.0, 235.0),
    "other_antipodal": (125.0, 305.0),
}
LABELLERS_PX = (0.5, 0.8, 1.2)  # noise of each labeller, px of a crop of 64
_LABEL_NU = 4.0
_MISSING, _WRONG = 0.05, 0.02
_AROUND = 1.3  # of the box around the joints
_SIDES = [
    *(("shoulder", "elbow", 0.05), ("elbow", "wrist", 0.04), ("wrist", "index", 0.03), ("wrist", "pinky", 0.03)),
    *(("hip", "knee", 0.07), ("knee", "ankle", 0.05), ("ankle", "heel", 0.04), ("ankle", "big_toe", 0.035)),
    *(("ankle", "small_toe", 0.035), ("eye", "ear", 0.02)),
]
_MIDDLE = [
    *(("left_shoulder", "right_hip", 0.09), ("right_shoulder", "left_hip", 0.09), ("left_shoulder", "left_hip", 0.08)),
    *(("right_shoulder", "right_hip", 0.08), ("neck", "head_top", 0.08), ("left_shoulder", "right_shoulder", 0.06)),
]
_LINES = [
    (JOINT_NAMES.index(a), JOINT_NAMES.index(b), radius, colour)
    for a, b, radius, colour in [
        *((f"left_{a}", f"left_{b}", radius, (0.95, 0.35, 0.1)) for a, b, radius in _SIDES),
        *((f"right_{a}", f"right_{b}", radius, (0.1, 0.35, 0.95)) for a, b, radius in _SIDES),
        *((a, b, radius, (0.8, 0.8, 0.8)) for a, b, radius in _MIDDLE),
        ("nose", "nose", 0.03, (0.9, 0.9, 0.2)),
    ]
]


@dataclass(frozen=True)
class Rig:
    """Which cameras see the person."""

    name: str = "random"
    views: int = 4  # of a random rig or a ring; random: two to as many of them see the person

    def __post_init__(self) -> None:
        if self.name not in RIGS:
            raise InputError(f"[data]: rig = {self.name!r}{nearest_key(self.name, RIGS)}")
        if self.views < 2:
            raise InputError(f"[data]: views = {self.views} must be 2 or more")

    @property
    def count(self) -> int:
        """How many cameras a sample has."""
        return len(_FIXED_DEG.get(self.name, ())) or self.views


def multi_view_samples(
    poses: Tensor, rig: Rig, size: tuple[int, int], seed: int, pictures: bool = True
) -> Callable[[int, int], Batch]:
    """Return what makes samples; see the module.

    Args:
        poses: (F, 29, 3) m, z up.
        rig: the cameras.
        size: (width, height) px of the crops.
        seed: of the draws.
        pictures: whether ``image`` is drawn, which takes longest.
    """
    views, joints, labellers = rig.count, len(JOINT_NAMES), len(LABELLERS_PX)

    def batch(first: int, count: int) -> Batch:
        numbers = sample_numbers(seed, first, count, 16 + views * (12 + labellers * joints * 6))
        own, by_view = numbers[:, :16], numbers[:, 16:].reshape(count, views, -1)
        xyz = _placed(poses, own)
        projection, seen = _cameras(rig, own, by_view[..., :12], xyz, size)
        uv, _, depth = project_points(projection, xyz)
        noise = by_view[..., 12:].reshape(count, views, labellers, joints, 6).transpose(1, 2)
        labels = _labelled(uv, noise, size)
        labels = torch.where(seen[:, None, :, None, None], labels, torch.nan)
        made = {"projection": projection, "seen": seen, "centre": xyz.mean(dim=1), "labels": labels, "xyz": xyz}
        if pictures:
            image = _drawn(uv, depth, _focal_px(projection) / depth, by_view[..., :12], size)
            made["image"] = (image.clamp(0, 1) * 255).round().byte()
        return made

    return batch


def _placed(poses: Tensor, own: Tensor) -> Tensor:
    """Choose poses, turn them, and put them somewhere within a metre, feet near the floor."""
    pose = poses[(own[:, 0] * len(poses)).long().clamp(max=len(poses) - 1)]
    pose = pose - pose.mean(dim=1, keepdim=True)
    angle = 2 * math.pi * own[:, 1]
    c, s, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    turn = torch.stack([c, -s, zero, s, c, zero, zero, zero, one], dim=-1).reshape(-1, 3, 3)
    pose = pose @ turn.mT
    shift = torch.stack([2 * own[:, 2] - 1, 2 * own[:, 3] - 1, 0.05 - pose[..., 2].amin(dim=1)], dim=-1)
    return pose + shift[:, None]


def _cameras(rig: Rig, own: Tensor, by_view: Tensor, xyz: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return projections (N, V, 3, 4) into crops around the person, and which views there are (N, V)."""
    count, views = by_view.shape[:2]
    azimuth, distance, height = _stations(rig, own, by_view)
    position = torch.stack([azimuth.cos() * distance, azimuth.sin() * distance, height], dim=-1)
    forward = torch.tensor([0.0, 0.0, 1.0]) - position
    forward = forward / forward.norm(dim=-1, keepdim=True)
    right = torch.linalg.cross(forward, torch.tensor([0.0, 0.0, 1.0]).expand_as(forward))
    right = right / right.norm(dim=-1, keepdim=True)
    rotation = torch.stack([right, torch.linalg.cross(forward, right), forward], dim=-2)
    bare = torch.cat([rotation, -(rotation @ position[..., None])], dim=-1)
    uv = project_points(bare, xyz)[0]
    low, high = uv.amin(dim=2), uv.amax(dim=2)
    limit = torch.tensor(size, dtype=torch.float32)
    zoom = (limit / ((high - low) * (_AROUND + 0.2 * by_view[..., 8:9]))).amin(dim=-1)
    middle = (low + high) / 2 + (by_view[..., 9:11] - 0.5) * 0.1 * (high - low)
    affine = torch.zeros(count, views, 3, 3)
    affine[..., 0, 0] = affine[..., 1, 1] = zoom
    affine[..., :2, 2] = (limit - 1) / 2 - zoom[..., None] * middle
    affine[..., 2, 2] = 1
    many = torch.full((count,), views) if rig.name != "random" else 2 + (own[:, 4] * (views - 1)).long()
    return affine @ bare, torch.arange(views) < many[:, None]


def _stations(rig: Rig, own: Tensor, by_view: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Azimuth, distance and height of every camera: (N, V) each."""
    if rig.name == "random":
        azimuth = 2 * math.pi * by_view[..., 0]
        return azimuth, 3.0 + 4 * by_view[..., 1], 0.3 + 2.5 * by_view[..., 2]
    if rig.name == "ring":
        step = torch.arange(rig.views) * (2 * math.pi / rig.views)
        azimuth = step + 2 * math.pi * own[:, 5:6]
        return azimuth, torch.full_like(azimuth, 4.5), 0.8 + 1.2 * (torch.arange(rig.views) % 2).expand_as(azimuth)
    azimuth = torch.deg2rad(torch.tensor(_FIXED_DEG[rig.name])).expand(len(own), -1)
    return azimuth, torch.full_like(azimuth, 4.5), torch.full_like(azimuth, 1.55)


def _focal_px(projection: Tensor) -> Tensor:
    """Focal length of the crops: (N, V, 1). K is the triangle of P's left part, whose third row has length 1."""
    first, third = projection[..., 0, :3], projection[..., 2, :3]
    along = (first * third).sum(dim=-1, keepdim=True)
    return (first - along * third).norm(dim=-1, keepdim=True)


def _labelled(uv: Tensor, noise: Tensor, size: tuple[int, int]) -> Tensor:
    """Return what labellers say (N, L, V, J, 2): Student t about the truth, some anywhere, some not at all."""
    sigma = torch.tensor(LABELLERS_PX)[:, None, None, None] * size[0] / 64
    angle = 2 * math.pi * noise[..., 1]
    # A bivariate t in closed form: P(r > x) = (1 + x²/ν)^(-ν/2).
    radius = (_LABEL_NU * (noise[..., 0].clamp(min=1e-6) ** (-2 / _LABEL_NU) - 1)).sqrt()
    shift = radius[..., None] * torch.stack([angle.cos(), angle.sin()], dim=-1)
    labels = uv[:, None] + sigma * shift
    anywhere = noise[..., 2:4] * torch.tensor(size, dtype=torch.float32)
    labels = torch.where((noise[..., 4] < _WRONG)[..., None], anywhere, labels)
    return torch.where((noise[..., 5] < _MISSING)[..., None], torch.nan, labels)


def _drawn(uv: Tensor, depth: Tensor, scale: Tensor, numbers: Tensor, size: tuple[int, int]) -> Tensor:
    """Paint the bodies, far lines first: (N, V, 3, H, W) 0–1."""
    first, second = (torch.tensor([line[end] for line in _LINES]) for end in (0, 1))
    colours = torch.tensor([line[3] for line in _LINES])
    radius = torch.tensor([line[2] for line in _LINES]) * (scale[:, :, first] + scale[:, :, second]) / 2
    order = (-(depth[:, :, first] + depth[:, :, second])).argsort(dim=-1)
    ends = torch.cat([uv[:, :, first], uv[:, :, second], radius[..., None]], dim=-1)
    ends = ends.gather(2, order[..., None].expand_as(ends))
    shade = colours[order] * (0.6 + 0.4 * numbers[:, :, None, 3:4])
    image = _background(numbers, size)
    y, x = torch.meshgrid(torch.arange(size[1]), torch.arange(size[0]), indexing="ij")
    grid = torch.stack([x, y], dim=-1).float()
    for line in range(len(_LINES)):  # one line at a time: all at once would take a GB
        start, end, thick = ends[:, :, line, :2], ends[:, :, line, 2:4], ends[:, :, line, 4]
        along, rest = (end - start)[..., None, None, :], grid - start[..., None, None, :]
        share = ((rest * along).sum(-1) / (along**2).sum(-1).clamp(min=1e-6)).clamp(0, 1)
        away = (rest - share[..., None] * along).norm(dim=-1)
        cover = (thick[..., None, None] - away + 0.5).clamp(0, 1)[:, :, None]
        image = image * (1 - cover) + cover * shade[:, :, line, :, None, None]
    pattern = torch.randn(image.shape[2:], generator=torch.Generator().manual_seed(0))
    return image + 0.05 * numbers[:, :, 6, None, None, None] * pattern


def _background(numbers: Tensor, size: tuple[int, int]) -> Tensor:
    """Soft waves of grey and colour: (N, V, 3, H, W) 0–1."""
    x, y = (torch.linspace(0, 2 * math.pi, edge) for edge in size)
    phase = 6 * numbers[:, :, 3:6, None, None]
    waves = torch.sin(x * (1 + phase) + phase) * torch.cos(y[:, None] * (2 - phase))
    return 0.35 + 0.2 * waves
