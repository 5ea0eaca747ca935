import numpy as np
import torch

from training.data.synthetic.rasteriser import rasterise

_SIZE = (8, 6)


def _drawn(points, triangles, pictures=None, count=1):
    triangles = torch.tensor(triangles)
    pictures = torch.zeros(len(triangles), dtype=torch.int64) if pictures is None else torch.tensor(pictures)
    return rasterise(torch.tensor(points, dtype=torch.float32), triangles, pictures, count, _SIZE)


def test_a_triangle_by_hand():
    """Corners (0, 0), (0, 2), (2, 0): six pixel centres are inside or on the edge; columns and rows as counted."""
    seen = _drawn([[0, 0, 2], [0, 2, 2], [2, 0, 2]], [[0, 1, 2]])
    assert seen.pixel.tolist() == [0, 1, 2, 8, 9, 16]
    assert torch.allclose(seen.depth, torch.full((6,), 2.0))
    assert torch.allclose(seen.weights[seen.pixel == 9], torch.tensor([[0.0, 0.5, 0.5]]), atol=1e-6)


def test_the_nearer_one_is_seen_whatever_the_order():
    points = [[0, 0, 3], [0, 5, 3], [5, 0, 3], [0, 0, 2], [0, 5, 2], [5, 0, 2]]
    for triangles in ([[0, 1, 2], [3, 4, 5]], [[3, 4, 5], [0, 1, 2]]):
        assert torch.allclose(_drawn(points, triangles).depth, torch.tensor(2.0))


def test_backs_near_and_broken_triangles_are_left_out():
    corners = [[0, 0, 2], [0, 3, 2], [3, 0, 2]]
    assert not len(_drawn(corners, [[0, 2, 1]]).pixel)
    assert not len(_drawn(np.array(corners) * [1, 1, 0.01], [[0, 1, 2]]).pixel)
    assert not len(_drawn([[0, 0, 2], [0, np.nan, 2], [3, 0, 2]], [[0, 1, 2]]).pixel)


def test_pictures_do_not_mix():
    points = [[0, 0, 2], [0, 1, 2], [1, 0, 2]] * 2
    seen = _drawn(points, [[0, 1, 2], [3, 4, 5]], [0, 2], 3)
    assert seen.pixel.tolist() == [0, 1, 8, 96, 97, 104]


def test_depth_is_perspective_correct():
    """Half way between depths 1 and 3 on the picture the inverse depth is the mean of 1 and 1/3."""
    seen = _drawn([[0, 0, 1], [0, 4, 1], [4, 0, 3]], [[0, 1, 2]])
    assert torch.allclose(seen.depth[seen.pixel == 2], torch.tensor(1.5), atol=1e-5)


def test_agrees_with_the_plain_version():
    rng = np.random.default_rng(3)
    points = np.column_stack([rng.uniform(-2, 9, (60, 2)), rng.uniform(1, 5, 60)])
    triangles = rng.integers(0, 60, (40, 3))
    seen = _drawn(points, triangles)
    depth = np.full(48, np.inf)
    for a, b, c in points[triangles]:
        matrix = np.array([[*p[:2], 1] for p in (a, b, c)]).T
        if abs(np.linalg.det(matrix)) < 1e-9 or np.linalg.det(matrix) > 0:
            continue
        for pixel in range(48):
            w = np.linalg.solve(matrix, [pixel % 8, pixel // 8, 1])
            if (w >= 0).all():
                depth[pixel] = min(depth[pixel], 1 / (w @ [1 / a[2], 1 / b[2], 1 / c[2]]))
    found = np.full(48, np.inf)
    found[seen.pixel] = seen.depth
    assert np.array_equal(np.isfinite(found), np.isfinite(depth))
    assert np.allclose(found[np.isfinite(depth)], depth[np.isfinite(depth)], rtol=1e-4)
