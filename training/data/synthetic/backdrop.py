"""What lies behind and between the people: panoramas, rooms and solids, seen along the rays of the pictures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .scene import SOLID_WIDTH

_NEAR_M = 0.05
_SKY_M = 1e4  # depth of what is infinitely far


@dataclass(frozen=True, eq=False)
class Surroundings:
    """The surroundings of N pictures."""

    solids: Tensor  # (N, S, SOLID_WIDTH)
    room: Tensor  # (N, SOLID_WIDTH), half sizes 0 where there is none
    panoramas: Tensor  # (G, h, w, 3) uint8, square root of linear light
    panorama: Tensor  # (N,) index, -1 for none
    yaw: Tensor  # (N,) rad
    phase: Tensor  # (N,) of the noise that stands where there is neither room nor panorama
    lights: Tensor  # (N, 2, LIGHT_WIDTH)
    ambient: Tensor  # (N, 2, 3)


def surroundings_seen(
    around: Surroundings,
    centre: Tensor,  # (N, 3) m, of the cameras
    directions: Tensor,  # (N, M, 3) unit
) -> tuple[Tensor, Tensor, Tensor]:
    """Return colour (N, M, 3) in linear light, distance along the ray (N, M) in metres, and which solid (N, M) or -1.

    The floor at z = 0 is part of a room only.
    """
    distance = torch.full_like(directions[..., 0], _SKY_M)
    which = torch.full_like(distance, -1, dtype=torch.int64)
    walls = around.room[:, 12:15].amin(1) > 0
    colour = _far_away(around, directions, ~walls)
    if walls.any():
        through = _box(around.room, centre, directions)[1]
        distance = torch.where(walls[:, None], through, distance)
        which = torch.where(walls[:, None], around.solids.shape[1], which)
    for index in range(around.solids.shape[1]):  # few; all pictures at once
        reached = _solid_reached(around.solids[:, index], centre, directions)
        nearer = (reached > _NEAR_M) & (reached < distance)
        distance = torch.where(nearer, reached, distance)
        which = torch.where(nearer, index, which)
    hit = (which >= 0).nonzero()
    if len(hit):
        picture, ray = hit[:, 0], hit[:, 1]
        table = torch.cat([around.solids, around.room[:, None]], dim=1)
        own = table[picture, which[picture, ray]]
        point = centre[picture] + distance[picture, ray, None] * directions[picture, ray]
        colour[picture, ray] = _solid_colour(own, point, directions[picture, ray], around, picture)
    which = torch.where(which == around.solids.shape[1], -1, which)
    return colour, distance, which


def _solid_reached(solid: Tensor, centre: Tensor, directions: Tensor) -> Tensor:
    """Distance (N, M) at which rays enter one solid per picture, box or ellipsoid; far away where they miss it."""
    reached = torch.full_like(directions[..., 0], _SKY_M)
    there, ball = solid[:, 12:15].amin(1) > 0, solid[:, 15] > 0.5
    for kind, entered in ((there & ~ball, _box_entered), (there & ball, _ball)):
        some = kind.nonzero()[:, 0]  # most pictures have few of the solids that they could have
        if len(some):
            reached[some] = entered(solid[some], centre[some], directions[some])
    return reached


def _local(solid: Tensor, vectors: Tensor) -> Tensor:
    """Vectors (N, M, 3) of the world in the axes of one solid per picture."""
    return vectors @ solid[:, 3:12].reshape(-1, 3, 3)


def _box(solid: Tensor, centre: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Distances (N, M) at which rays enter and leave a box; leave < enter where they miss it."""
    start = _local(solid, (centre - solid[:, :3])[:, None])
    inverse = 1 / _local(solid, directions)
    middle, reach = -start * inverse, solid[:, None, 12:15] * inverse.abs()
    return (middle - reach).amax(-1), (middle + reach).amin(-1)


def _box_entered(solid: Tensor, centre: Tensor, directions: Tensor) -> Tensor:
    """Distance (N, M) at which rays enter a box; far away where they miss it."""
    enter, leave = _box(solid, centre, directions)
    return torch.where(leave > enter, enter, _SKY_M)


def _ball(solid: Tensor, centre: Tensor, directions: Tensor) -> Tensor:
    """Distance (N, M) at which rays enter an ellipsoid; far away where they miss it."""
    half = solid[:, None, 12:15].clamp(min=1e-6)
    start = _local(solid, (centre - solid[:, :3])[:, None]) / half
    way = _local(solid, directions) / half
    a, b, c = way.square().sum(-1), (start * way).sum(-1), start.square().sum(-1) - 1
    root = b.square() - a * c
    return torch.where(root > 0, (-b - root.clamp(min=0).sqrt()) / a, _SKY_M)


def _solid_colour(own: Tensor, point: Tensor, way: Tensor, around: Surroundings, picture: Tensor) -> Tensor:
    """(K, 3) lit colours of points on solids, one row of SOLID_WIDTH each."""
    assert own.shape[1] == SOLID_WIDTH
    axes = own[:, 3:12].reshape(-1, 3, 3)
    local = ((point - own[:, :3])[:, None] @ axes)[:, 0]
    scaled = local / own[:, 12:15].clamp(min=1e-6)
    face = torch.nn.functional.one_hot(scaled.abs().argmax(1), 3).to(local.dtype) * scaled.sign()
    flat = torch.where(own[:, 15:16] > 0.5, scaled / own[:, 12:15].clamp(min=1e-6), face)
    normal = torch.nn.functional.normalize((axes @ flat[..., None])[..., 0], dim=-1)
    normal = torch.where(((normal * way).sum(-1) > 0)[:, None], -normal, normal)  # the room is seen from inside
    waves = torch.sin(local * own[:, 22:23])
    kind = own[:, 23]
    across = waves[:, 0] + waves[:, 1] + 0 * waves[:, 2]
    checks = (waves[:, 0] * waves[:, 1] + waves[:, 2] * waves[:, 0] + waves[:, 1] * waves[:, 2]) * 2
    grain = torch.sin(local[:, 0] * 3 * own[:, 22] + 4 * waves[:, 1]) * torch.sin(
        local[:, 2] * own[:, 22] + 3 * waves[:, 0]
    )
    share = torch.where(kind < 0.5, -1.0, torch.where(kind < 1.5, across, torch.where(kind < 2.5, checks, grain)))
    share = (4 * share + 0.5).clamp(0, 1)[:, None]
    share = torch.where((kind > 2.5)[:, None], 0.5 + 0.5 * grain[:, None], share)
    faces = 1 + 0.25 * torch.sin(face @ face.new_tensor([1.0, 2.0, 4.0]) + own[:, 16])[:, None]  # faces differ
    albedo = (own[:, 16:19] * (1 - share) + own[:, 19:22] * share) * faces
    return albedo * light_on(normal, around.lights[picture], around.ambient[picture])


def light_on(normal: Tensor, lights: Tensor, ambient: Tensor) -> Tensor:
    """(K, 3) light that falls on surfaces with normals (K, 3) from (K, 2, LIGHT_WIDTH) lamps and (K, 2, 3) around."""
    up = 0.5 + 0.5 * normal[:, 2:3]
    lamps = (lights[:, :, :3] * normal[:, None]).sum(-1).clamp(min=0)
    return ambient[:, 0] * up + ambient[:, 1] * (1 - up) + (lamps[..., None] * lights[:, :, 3:]).sum(1)


def _far_away(around: Surroundings, directions: Tensor, open_air: Tensor) -> Tensor:
    """(N, M, 3) panoramas, or noise; black where pictures are not in the open (N,), since walls hide it."""
    colour = torch.zeros_like(directions)
    pictured = (around.panorama >= 0) & (len(around.panoramas) > 0)
    for wanted, seen in ((open_air & ~pictured, _noise), (open_air & pictured, _panorama)):
        some = wanted.nonzero()[:, 0]
        if len(some):
            colour[some] = seen(around, some, directions[some])
    return colour


def _noise(around: Surroundings, some: Tensor, directions: Tensor) -> Tensor:
    """(K, M, 3) noise of some of the pictures."""
    phase = around.phase[some, None]
    x, y, z = directions.unbind(-1)
    bumps = [torch.sin(a * x + b * y + c * z + phase * d) for a, b, c, d in _BUMPS]
    noise = 0.25 + 0.09 * torch.stack([bumps[i] + bumps[i + 1] + 0.6 * bumps[i + 2] for i in range(3)], dim=-1)
    patches = torch.sign(torch.stack([bumps[1] + bumps[2], bumps[2] + bumps[3], bumps[3] + bumps[4]], dim=-1))
    noise = noise + 0.1 * patches * (1 + torch.sin(phase * 3)[..., None])  # edges, weak or strong by the scene
    return noise.clamp(0.01, 1)


def _panorama(around: Surroundings, some: Tensor, directions: Tensor) -> Tensor:
    """(K, M, 3) panoramas of some of the pictures."""
    x, y, z = directions.unbind(-1)
    height, width = around.panoramas.shape[1:3]
    azimuth = torch.atan2(x, -y) - around.yaw[some, None]
    column = (azimuth / (2 * torch.pi) + 0.5) * width - 0.5
    row = (0.5 - torch.asin(z.clamp(-1, 1)) / torch.pi) * height - 0.5
    left, top = column.floor(), row.floor()
    which = around.panorama[some, None]
    flat = around.panoramas.reshape(-1, 3)
    total = torch.zeros_like(directions)
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        share = (1 - (column - left - dx).abs()) * (1 - (row - top - dy).abs())
        at = (which * height + (top + dy).long().clamp(0, height - 1)) * width + (left + dx).long() % width
        total += share[..., None] * flat[at]
    return (total / 255).square()


_BUMPS = ((3, 5, 2, 1), (-6, 4, 7, 2), (11, -9, 5, 3), (17, 13, -15, 1.5), (-23, 19, 29, 2.5))
