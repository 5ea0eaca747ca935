"""Fewer triangles for a mesh, keeping a subset of its own vertices, so that weights and shapes carry over.

Edge collapses by the quadric error of Garland & Heckbert 1997 (section 4), restricted to half-edge collapses: a vertex
moves onto a neighbour. Rounds of independent collapses take the place of their priority queue: the same measure, the
whole round in arrays.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from inference.shapes import BoolArray, FloatArray, IntArray, check_shapes

_FLATTEST = 0.2  # cosine between a triangle's normals before and after a collapse; below it the collapse is refused


def triangles_of_quads(
    quads: IntArray,  # (F, 4)
) -> IntArray:
    """Split quadrilaterals into (2F, 3) triangles; a quadrilateral with a repeated corner gives one."""
    both = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    return both[_proper(both)]


def decimate(
    vertices: FloatArray,  # (V, 3) m
    triangles: IntArray,  # (F, 3)
    target: int,
    importance: FloatArray,  # (V,) weight of each vertex's own error
) -> tuple[IntArray, IntArray]:
    """Collapse edges until about ``target`` triangles are left.

    Convention:
        kept vertices stay where they are; borders move only along themselves. Ends early, with more triangles,
        where no collapse is possible without folding the surface.

    Returns:
        (K,) indices of the kept vertices, rising, and (F', 3) triangles over them.
    """
    check_shapes(vertices=(vertices, "V 3"), triangles=(triangles, "F 3"), importance=(importance, "V"))
    quadrics = _quadrics(vertices, triangles) * importance[:, None, None]
    while len(triangles) > target:
        source, goal = _round(vertices, triangles, quadrics, (len(triangles) - target) // 2 + 1)
        if not len(source):
            break
        np.add.at(quadrics, goal, quadrics[source])
        moved = np.arange(len(vertices))
        moved[source] = goal
        triangles = moved[triangles]
        triangles = triangles[_proper(triangles)]
    kept = np.unique(triangles)
    return kept, np.searchsorted(kept, triangles)


def _proper(triangles: IntArray) -> BoolArray:
    a, b, c = triangles.T
    return (a != b) & (b != c) & (c != a)


def _normals(vertices: FloatArray, triangles: IntArray) -> FloatArray:
    """(F, 3) normals with twice the area as length."""
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    return np.cross(b - a, c - a)


def _quadrics(vertices: FloatArray, triangles: IntArray) -> FloatArray:
    """(V, 4, 4) sums of squared plane distances, weighted by area; border edges add steep planes."""
    normal = _normals(vertices, triangles)
    length = np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-15)
    planes, weight = _planes(normal / length, vertices[triangles[:, 0]]), length[:, 0]
    result = np.zeros((len(vertices), 4, 4))
    for corner in range(3):
        np.add.at(result, triangles[:, corner], planes * weight[:, None, None])
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    face = np.tile(np.arange(len(triangles)), 3)
    _, first, count = np.unique(np.sort(edges, axis=1), axis=0, return_index=True, return_counts=True)
    border = first[count == 1]
    along = vertices[edges[border, 1]] - vertices[edges[border, 0]]
    side = np.cross(along, normal[face[border]] / length[face[border]])
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-15)
    steep = _planes(side, vertices[edges[border, 0]]) * (10 * (along**2).sum(axis=1))[:, None, None]
    for end in range(2):
        np.add.at(result, edges[border, end], steep)
    return result


def _planes(normal: FloatArray, point: FloatArray) -> FloatArray:
    plane = np.column_stack([normal, -(normal * point).sum(axis=1)])
    return plane[:, :, None] * plane[:, None, :]


def _round(vertices: FloatArray, triangles: IntArray, quadrics: FloatArray, most: int) -> tuple[IntArray, IntArray]:
    """Vertices that move and the neighbours they move onto; no two touch each other's triangles."""
    count = len(vertices)
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    adjacency = sparse.coo_matrix((np.ones(len(edges)), edges.T), shape=(count, count)).tocsr()
    adjacency = ((adjacency + adjacency.T) > 0).astype(np.int32).tocsr()
    source, goal = adjacency.nonzero()
    goal_h = np.column_stack([vertices[goal], np.ones(len(goal))])
    cost = np.einsum("ei,eij,ej->e", goal_h, quadrics[source] + quadrics[goal], goal_h)
    shared = np.asarray((adjacency @ adjacency)[source, goal]).ravel()
    length = np.linalg.norm(vertices[source] - vertices[goal], axis=1)
    cost = np.maximum(cost, 0) + 1e-9 * length**2  # flat regions: short edges first
    cost[(shared != 2) | _folds(vertices, triangles, source, goal, count)] = np.inf
    near = np.full(count, np.inf)
    np.minimum.at(near, source, cost)
    np.minimum.at(near, goal, cost)
    wide = near.copy()
    np.minimum.at(wide, source, near[goal])
    chosen = np.flatnonzero(np.isfinite(cost) & (cost <= wide[source]) & (cost <= wide[goal]))
    chosen = chosen[np.argsort(cost[chosen], kind="stable")][: min(most, max(len(triangles) // 40, 8))]
    _, first = np.unique(source[chosen], return_index=True)
    chosen = chosen[np.sort(first)]
    free = ~np.isin(goal[chosen], source[chosen])
    return source[chosen][free], goal[chosen][free]


def _folds(vertices: FloatArray, triangles: IntArray, source: IntArray, goal: IntArray, count: int) -> BoolArray:
    """(E,) whether moving a source onto its goal turns over, or flattens, a triangle that stays."""
    order = np.argsort(triangles.ravel(), kind="stable")
    face, corner = order // 3, order % 3
    starts = np.searchsorted(triangles.ravel()[order], np.arange(count + 1))
    amount = (starts[1:] - starts[:-1])[source]
    edge = np.repeat(np.arange(len(source)), amount)
    slot = starts[source][edge] + np.arange(len(edge)) - np.repeat(np.cumsum(amount) - amount, amount)
    face, corner = face[slot], corner[slot]
    own, after, last = (triangles[face, (corner + step) % 3] for step in range(3))
    stays = (after != goal[edge]) & (last != goal[edge])
    edge, own, after, last = edge[stays], own[stays], after[stays], last[stays]
    side = vertices[last] - vertices[after]
    before = np.cross(vertices[after] - vertices[own], side)
    now = np.cross(vertices[after] - vertices[goal[edge]], side)
    size = np.linalg.norm(before, axis=1) * np.linalg.norm(now, axis=1)
    bad = (before * now).sum(axis=1) < _FLATTEST * size + 1e-16
    return np.bincount(edge[bad], minlength=len(source)) > 0
