"""Pictures of scenes with exact truth: people are rasterised, the rest is seen along rays, then both are lit."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..body import PosedBodies, vertex_normals
from .backdrop import Surroundings, light_on, surroundings_seen
from .lens import Views
from .rasteriser import Fragments, rasterise
from .wardrobe import BodyCoordinates, Looks, paint

_SHADOW_PX = 160
_SHADOW_M = 0.02  # a surface this near behind what the lamp sees is lit


@dataclass(frozen=True, eq=False)
class Mesh:
    """What all bodies share: triangles and the coordinates that garments are cut by."""

    triangles: Tensor  # (F, 3)
    regions: Tensor  # (V, R)
    template: Tensor  # (V, 3) m
    template_keypoints: Tensor  # (J, 3) m


@dataclass(frozen=True, eq=False)
class Crowd:
    """All people of all scenes, posed and dressed."""

    vertices: Tensor  # (P, V, 3) m, world
    bodies: PosedBodies
    looks: Looks
    scene: Tensor  # (P,) int64
    clothes: bool


@dataclass(frozen=True, eq=False)
class Rendered:
    """N pictures and what is seen in each pixel."""

    linear: Tensor  # (N, h, w, 3) linear light
    depth: Tensor  # (N, h, w) m along the optical axis
    person: Tensor  # (N, h, w) int64, index into the crowd, -1 where no person is seen


@dataclass(frozen=True, eq=False)
class _Instances:
    """Every person in every picture of its scene."""

    person: Tensor  # (I,) int64
    picture: Tensor  # (I,) int64


def render(
    mesh: Mesh, crowd: Crowd, views: Views, scene_of_picture: Tensor, around: Surroundings, shadows: bool
) -> Rendered:
    """Draw N pictures.

    Args:
        mesh: shared by all bodies.
        crowd: everyone.
        views: N cameras and their crops.
        scene_of_picture: (N,) int64, which scene each picture shows.
        around: surroundings, per picture.
        shadows: whether people throw shadows on themselves, each other and the floor.
    """
    size, count = views.size, len(views.R)
    pairs = (crowd.scene[None] == scene_of_picture[:, None]).nonzero()
    instances = _Instances(person=pairs[:, 1], picture=pairs[:, 0])
    directions = views.directions().reshape(count, -1, 3)
    centre = -(views.t[:, None] @ views.R)[:, 0]
    colour, distance, _ = surroundings_seen(around, centre, directions)
    along = (directions * views.R[:, None, 2]).sum(-1)  # cosine to the optical axis
    lamp = _Lamp.of(mesh, crowd, scene_of_picture, around) if shadows else None
    if lamp is not None:
        colour = lamp.floor_shaded(colour, centre[:, None] + distance[..., None] * directions, distance, crowd)
    triangles = (mesh.triangles[None] + _offsets(instances, crowd)[:, None, None]).reshape(-1, 3)
    seen = views.of(instances.picture).project(crowd.vertices[instances.person])
    owner = torch.arange(len(instances.person), device=seen.device).repeat_interleave(len(mesh.triangles))
    fragments = rasterise(seen.reshape(-1, 3), triangles, instances.picture[owner], count, size)
    colour, depth = colour.reshape(-1, 3), (distance * along).reshape(-1)
    front = (fragments.depth < depth[fragments.pixel]).nonzero()[:, 0]
    fragments = _subset(fragments, front)
    instance = owner[fragments.triangle]
    colour[fragments.pixel] = _shade(mesh, crowd, instances, fragments, instance, (views, around, lamp))
    depth[fragments.pixel] = fragments.depth
    person = torch.full_like(depth, -1, dtype=torch.int64)
    person[fragments.pixel] = instances.person[instance]
    shape = (count, size[1], size[0])
    return Rendered(colour.reshape(*shape, 3), depth.reshape(shape), person.reshape(shape))


def _offsets(instances: _Instances, crowd: Crowd) -> Tensor:
    return torch.arange(len(instances.person), device=crowd.vertices.device) * crowd.vertices.shape[1]


def _subset(fragments: Fragments, rows: Tensor) -> Fragments:
    parts = (fragments.pixel, fragments.triangle, fragments.weights, fragments.depth)
    return Fragments(fragments.size, *(part[rows] for part in parts))


def _shade(
    mesh: Mesh,
    crowd: Crowd,
    instances: _Instances,
    fragments: Fragments,
    instance: Tensor,
    lit: tuple[Views, Surroundings, _Lamp | None],
) -> Tensor:
    """(M, 3) linear light of seen points on people."""
    views, around, lamp = lit
    person, picture = instances.person[instance], instances.picture[instance]
    normals = vertex_normals(crowd.vertices, mesh.triangles)
    corner = fragments.triangle % len(mesh.triangles)
    own = mesh.triangles[corner]
    fixed = torch.cat([mesh.regions, mesh.template], dim=1)
    weights = fragments.weights
    moving = torch.cat([normals, crowd.vertices], dim=2)
    at_vertex = person[:, None] * crowd.vertices.shape[1] + own
    moved = (moving.reshape(-1, 6)[at_vertex] * weights[..., None]).sum(1)
    on_body = (fixed[own] * weights[..., None]).sum(1)
    normal, point = torch.nn.functional.normalize(moved[:, :3], dim=1), moved[:, 3:]
    at = BodyCoordinates(
        on_body[:, : mesh.regions.shape[1]], on_body[:, mesh.regions.shape[1] :], mesh.template_keypoints
    )
    if crowd.clothes:
        albedo, shine = paint(at, crowd.looks, person)
    else:
        albedo, shine = crowd.looks.colour("skin", person), torch.zeros_like(fragments.depth)
    lights = around.lights[picture].clone()
    if lamp is not None:
        lights[:, 0, 3:] *= lamp.light(point + 0.01 * normal, picture)[:, None]
    centre = -(views.t[:, None] @ views.R)[:, 0]
    towards = torch.nn.functional.normalize(centre[picture] - point, dim=1)
    half = torch.nn.functional.normalize(towards[:, None] + lights[:, :, :3], dim=2)
    gloss = ((half * normal[:, None]).sum(-1).clamp(min=0) ** 24)[..., None] * lights[:, :, 3:]
    return albedo * light_on(normal, lights, around.ambient[picture]) + 0.4 * shine[:, None] * gloss.sum(1)


@dataclass(frozen=True, eq=False)
class _Lamp:
    """Depth maps from the first lamp of every scene."""

    maps: Tensor  # (S, h, w) m, along the light; far where it meets nobody
    axes: Tensor  # (S, 3, 3) rows: across, down, along the light
    middle: Tensor  # (S, 3) m
    scale: Tensor  # (S,) px per m
    scene: Tensor  # (N,) of each picture

    @staticmethod
    def of(mesh: Mesh, crowd: Crowd, scene_of_picture: Tensor, around: Surroundings) -> _Lamp:
        """Look at every scene from its first lamp, without perspective."""
        scenes = int(crowd.scene.max()) + 1
        first = torch.stack([(scene_of_picture == s).nonzero()[0, 0] for s in range(scenes)])
        along = -around.lights[first, 0, :3]
        across = torch.nn.functional.normalize(torch.linalg.cross(along, along.roll(1, 1) + 0.1), dim=1)
        axes = torch.stack([across, torch.linalg.cross(along, across), along], dim=1)
        low = torch.full((scenes, 3), torch.inf, device=along.device)
        high = -low
        index = crowd.scene[:, None].expand(-1, 3)
        low = low.scatter_reduce(0, index, crowd.vertices.amin(1), "amin")
        high = high.scatter_reduce(0, index, crowd.vertices.amax(1), "amax")
        middle, reach = (low + high) / 2, (high - low).norm(dim=1) / 2
        scale = _SHADOW_PX / (2 * reach)
        local = (crowd.vertices - middle[crowd.scene][:, None]) @ axes[crowd.scene].transpose(1, 2)
        pixels = local[..., :2] * scale[crowd.scene][:, None, None] + _SHADOW_PX / 2 - 0.5
        depth = local[..., 2:] + reach[crowd.scene][:, None, None] + 1.0
        count = len(crowd.vertices)
        offset = torch.arange(count, device=along.device) * crowd.vertices.shape[1]
        triangles = (mesh.triangles[None] + offset[:, None, None]).reshape(-1, 3)
        pictures = crowd.scene.repeat_interleave(len(mesh.triangles))
        points = torch.cat([pixels, depth], dim=2).reshape(-1, 3)
        seen = rasterise(points, triangles, pictures, scenes, (_SHADOW_PX, _SHADOW_PX))
        maps = torch.full((scenes * _SHADOW_PX**2,), torch.inf, device=along.device)
        maps[seen.pixel] = seen.depth - 1.0
        maps = maps.reshape(scenes, _SHADOW_PX, _SHADOW_PX) - reach[:, None, None]
        return _Lamp(maps, axes, middle, scale, scene_of_picture)

    def light(self, points: Tensor, picture: Tensor) -> Tensor:
        """(M,) share of the lamp that reaches points (M, 3) of pictures (M,): soft over two pixels of the map."""
        scene = self.scene[picture]
        local = ((points - self.middle[scene])[:, None] @ self.axes[scene].transpose(1, 2))[:, 0]
        at = local[:, :2] * self.scale[scene][:, None] + _SHADOW_PX / 2 - 0.5
        corner = at.floor()
        total = torch.zeros_like(local[:, 0])
        for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
            u, v = corner[:, 0] + dx, corner[:, 1] + dy
            inside = (u >= 0) & (v >= 0) & (u < _SHADOW_PX) & (v < _SHADOW_PX)
            place = (scene * _SHADOW_PX + v.clamp(0, _SHADOW_PX - 1).long()) * _SHADOW_PX
            nearest = self.maps.reshape(-1)[place + u.clamp(0, _SHADOW_PX - 1).long()]
            share = (1 - (at[:, 0] - u).abs()) * (1 - (at[:, 1] - v).abs())
            total += share * ((nearest + _SHADOW_M > local[:, 2]) | ~inside)
        return total

    def floor_shaded(self, colour: Tensor, points: Tensor, distance: Tensor, crowd: Crowd) -> Tensor:
        """Darken what the lamp does not reach, of surroundings (N, M, 3), and the floor close to bodies."""
        near = (distance < 30.0).nonzero()
        picture, ray = near[:, 0], near[:, 1]
        lit = self.light(points[picture, ray], picture)
        colour[picture, ray] *= (0.45 + 0.55 * lit)[:, None]
        return colour
