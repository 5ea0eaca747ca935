"""Triangulation with gradients: exact, equivariant, finite where cameras face each other, and gated there."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from inference.config import TriangulationSettings
from inference.geometry.triangulation import triangulate
from inference.types import Camera, CameraRig, Intrinsics, Keypoints2D
from training.calibration_metrics import coverage
from training.losses import perspective_jacobian
from training.triangulation import linear_points, project_points, refined_points

F = 1145.0


def camera(azimuth_deg: float, distance: float = 4.5, height: float = 1.2) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotation and translation of a camera that looks at (0, 0, 1)."""
    a = math.radians(azimuth_deg)
    position = torch.tensor([math.cos(a) * distance, math.sin(a) * distance, height], dtype=torch.float64)
    forward = torch.tensor([0, 0, 1.0], dtype=torch.float64) - position
    forward = forward / forward.norm()
    right = torch.linalg.cross(forward, torch.tensor([0, 0, 1.0], dtype=torch.float64))
    right = right / right.norm()
    rotation = torch.stack([right, torch.linalg.cross(forward, right), forward])
    return rotation, -rotation @ position


def projections(*azimuths_deg: float, height: float = 1.2) -> torch.Tensor:
    """(1, V, 3, 4) px."""
    K = torch.diag(torch.tensor([F, F, 1.0], dtype=torch.float64))
    poses = [camera(a, height=height) for a in azimuths_deg]
    return torch.stack([K @ torch.cat([R, t[:, None]], dim=1) for R, t in poses])[None]


def all_seen(projection: torch.Tensor) -> torch.Tensor:
    return torch.ones(projection.shape[:2], dtype=torch.bool)


CENTRE = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)
POINTS = torch.tensor([[[0.3, -0.4, 1.7], [0.1, 0.5, 0.2], [-0.6, 0.2, 1.1]]], dtype=torch.float64)


def eye_factor(xy: torch.Tensor, sigma: float = 1.0) -> torch.Tensor:
    return (sigma * torch.eye(2, dtype=torch.float64)).expand(*xy.shape, 2)


NU = torch.full((3,), 5.0, dtype=torch.float64)


@pytest.mark.parametrize("azimuths", [(0, 90), (0, 60, 130), (10, 80, 150, 220, 290)])
def test_exact_keypoints_give_exact_points(azimuths):
    P = projections(*azimuths)
    xy, _, depth = project_points(P, POINTS)
    found = linear_points(P, xy, all_seen(P), CENTRE)
    assert found.good.all() and (depth > 3).all()
    assert (found.xyz - POINTS).norm(dim=-1).max() < 2e-5  # what the ridge of 1e-6 pulls in
    refined = refined_points(found, P, xy, eye_factor(xy), NU, all_seen(P))
    assert (refined.xyz - POINTS).norm(dim=-1).max() < 1e-8
    assert (refined.deviance < 1e-9).all() and (refined.freedom == 2 * len(azimuths) - 3).all()


def test_the_derivative_is_the_perspective_one_turned_into_the_world():
    R, t = camera(35)
    point = POINTS[0, 0]
    _, jacobian, depth = project_points(projections(35), POINTS[:, :1])
    expected = perspective_jacobian(R @ point + t, torch.tensor([F, F], dtype=torch.float64)) @ R
    torch.testing.assert_close(jacobian[0, 0, 0], expected)
    assert depth[0, 0, 0].item() == pytest.approx((R @ point + t)[2].item())


def test_turning_the_world_turns_points_and_ellipsoids():
    turn, shift = camera(77)[0], torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    P = projections(0, 70, 200)
    xy = project_points(P, POINTS)[0] + torch.randn(1, 3, 3, 2, generator=torch.Generator().manual_seed(1)).double()
    moved = torch.eye(4, dtype=torch.float64)
    moved[:3, :3], moved[:3, 3] = turn.T, -turn.T @ shift
    found = [
        refined_points(linear_points(Q, xy, all_seen(Q), c), Q, xy, eye_factor(xy), NU, all_seen(Q))
        for Q, c in ((P, CENTRE), (P @ moved, CENTRE @ turn.T + shift))
    ]
    torch.testing.assert_close(found[1].xyz, found[0].xyz @ turn.T + shift, rtol=0, atol=1e-6)
    torch.testing.assert_close(found[1].matrix, turn @ found[0].matrix @ turn.T, rtol=1e-4, atol=1e-9)


def slope_mm(offset_m: float) -> float:
    """Return |dX/du| mm/px of a point this far from the line between two cameras that face each other."""
    P = projections(0, 180, height=1.0)
    point = torch.tensor([[[0.3, 0.0, 1.0 + offset_m]]], dtype=torch.float64)
    xy = project_points(P, point)[0].requires_grad_()
    linear_points(P, xy, all_seen(P), CENTRE).xyz.sum().backward()
    assert xy.grad is not None
    return 1000 * xy.grad.abs().max().item()


def svd_slope_mm(offset_m: float) -> float:
    """The same through a singular value decomposition."""
    P = projections(0, 180, height=1.0)[0]
    point = torch.tensor([[0.3, 0.0, 1.0 + offset_m]], dtype=torch.float64)
    xy = project_points(P[None], point[None])[0][0, :, 0].requires_grad_()
    rows = xy[:, :, None] * P[:, 2:] - P[:, :2]
    rows = rows / rows.norm(dim=-1, keepdim=True)
    last = torch.linalg.svd(rows.reshape(4, 4))[2][-1]
    (last[:3] / last[3]).sum().backward()
    assert xy.grad is not None
    return 1000 * xy.grad.abs().max().item()


def gated(offset_m: float) -> bool:
    P = projections(0, 180, height=1.0)
    point = torch.tensor([[[0.3, 0.0, 1.0 + offset_m]]], dtype=torch.float64)
    xy = project_points(P, point)[0]
    return not linear_points(P, xy, all_seen(P), CENTRE).good.item()


def test_the_gradient_stays_small_between_two_cameras_that_face_each_other():
    assert max(slope_mm(offset) for offset in (0.0, 1e-6, 1e-4, 0.005, 0.05)) < 3000
    assert slope_mm(0.0) < 20
    assert svd_slope_mm(0.005) > 1000 and svd_slope_mm(1e-6) > 1e6  # negative control
    assert gated(0.0) and gated(0.005) and not gated(0.2)


@pytest.mark.parametrize("views", [1, 0])
def test_too_few_views_are_not_good_and_leave_finite_gradients(views):
    P = projections(0, 90)
    xy = project_points(P, POINTS)[0].requires_grad_()
    seen = torch.arange(2)[None] < views
    start = linear_points(P, xy, seen, CENTRE)
    found = refined_points(start, P, xy, eye_factor(xy), NU, seen)
    assert not start.good.any() and not found.good.any()
    (found.xyz.sum() + found.matrix.sum() + found.deviance.sum()).backward()
    assert xy.grad is not None and torch.isfinite(xy.grad).all()


def test_a_point_behind_a_camera_is_not_good():
    P = projections(0, 90)
    behind = torch.tensor([[[7.0, 0.0, 1.0]]], dtype=torch.float64)
    image = (P[..., :3] @ behind[0, 0]) + P[..., 3]
    xy = (image[..., :2] / image[..., 2:])[:, :, None]
    assert not linear_points(P, xy, all_seen(P), CENTRE).good.any()


def test_a_view_that_is_wrong_moves_the_refined_point_little():
    P = projections(0, 70, 140, 230)
    xy = project_points(P, POINTS)[0].clone()
    xy[0, 2] += 80
    start = linear_points(P, xy, all_seen(P), CENTRE)
    found = refined_points(start, P, xy, eye_factor(xy, 2.0), NU, all_seen(P))
    errors = [(each.xyz - POINTS).norm(dim=-1).max().item() for each in (start, found)]
    assert errors[0] > 0.05  # negative control: linear triangulation follows it
    assert errors[1] < 0.02
    assert (found.deviance > 50).all()


def test_agrees_with_the_solver_s_own_triangulation():
    """4 views, 2 px of noise (5 mm): same robust minimum within 0.2 mm; the solver's noise is its own, measured one."""
    rng = np.random.default_rng(5)
    poses = [camera(a) for a in (0, 80, 170, 260)]
    K = np.diag([F, F, 1.0])
    lenses = [Intrinsics(f"c{i}", (1000, 1000), K, np.zeros(5)) for i in range(4)]
    cameras = [Camera(lens, R.numpy(), t.numpy()) for lens, (R, t) in zip(lenses, poses, strict=True)]
    points = rng.uniform((-0.8, -0.8, 0.2), (0.8, 0.8, 1.8), (1, 50, 3))
    P = projections(0, 80, 170, 260)
    xy = project_points(P, torch.from_numpy(points))[0].numpy() + rng.normal(size=(1, 4, 50, 2)) * 2
    names = tuple(f"j{i}" for i in range(50))
    covariance = np.broadcast_to(4.0 * np.eye(2), (1, 1, 50, 2, 2))
    score = np.ones((1, 1, 50))
    views = [Keypoints2D(f"c{v}", names, np.zeros(1), xy[:, v][:, None], covariance, score) for v in range(4)]
    theirs = triangulate(CameraRig(tuple(cameras), np.zeros((24, 24))), views, TriangulationSettings(), compiled=False)
    ours_xy = torch.from_numpy(xy)
    start = linear_points(P, ours_xy, all_seen(P), CENTRE)
    nu = torch.full((50,), TriangulationSettings().degrees_of_freedom, dtype=torch.float64)
    ours = refined_points(start, P, ours_xy, eye_factor(ours_xy, 2.0), nu, all_seen(P))
    away = np.linalg.norm(ours.xyz[0].numpy() - theirs.xyz[0, 0], axis=-1)
    assert np.nanmedian(away) < 2e-4 and np.nanmax(away) < 2e-3 and np.isfinite(away).mean() > 0.9


def test_lines_of_equal_length_and_likelihood_are_better_than_bare_ones():
    """3 px of noise, 4 cameras: rows as they are weigh far and oblique views wrongly (SEEDS: 12.4 against 11.6 mm)."""
    P = projections(10, 80, 170, 280).expand(1500, -1, -1, -1)
    rng = torch.Generator().manual_seed(8)
    xy = project_points(P, POINTS.expand(1500, -1, -1))[0]
    xy = xy + 3.0 * torch.randn(xy.shape, generator=rng, dtype=torch.float64)
    rows = (xy[..., None] * P[:, :, None, 2:3] - P[:, :, None, :2]).permute(0, 2, 1, 3, 4).reshape(1500, 3, -1, 4)
    last = torch.linalg.svd(rows)[2][..., -1, :]
    bare = last[..., :3] / last[..., 3:]
    start = linear_points(P, xy, all_seen(P), CENTRE.expand(1500, -1))
    nu = torch.full((3,), 1e6, dtype=torch.float64)
    best = refined_points(start, P, xy, eye_factor(xy, 3.0), nu, all_seen(P))
    error = [(xyz - POINTS).norm(dim=-1).mean().item() for xyz in (bare, start.xyz, best.xyz)]
    assert error[2] <= error[1] * 1.001 and error[1] < error[0]
    assert error[2] < 0.99 * error[0]


@pytest.mark.parametrize("azimuths", [(0, 90), (20, 90, 160, 270), (0, 180)])
def test_information_of_true_noise_covers_what_it_says(azimuths):
    """2,000 draws of Gaussian noise with the stated covariances (ν large): coverage within 3 points (2.6 s.e.)."""
    P = projections(*azimuths).expand(2000, -1, -1, -1)
    rng = torch.Generator().manual_seed(6)
    xy = project_points(P, POINTS.expand(2000, -1, -1))[0]
    xy = xy + 3.0 * torch.randn(xy.shape, generator=rng, dtype=torch.float64)
    nu = torch.full((3,), 1e6, dtype=torch.float64)
    start = linear_points(P, xy, all_seen(P), CENTRE.expand(2000, -1))
    found = refined_points(start, P, xy, eye_factor(xy, 3.0), nu, all_seen(P))
    error = (found.xyz - POINTS).numpy()
    inside = coverage(error, found.matrix.numpy(), float("inf"), (0.5, 0.95))
    assert inside == pytest.approx([0.5, 0.95], abs=0.03)
    narrow = coverage(error, found.matrix.numpy() / 4, float("inf"), (0.5, 0.95))
    assert narrow[0] < 0.25  # negative control
