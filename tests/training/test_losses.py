"""The likelihood: minimal where the truth is, equal to scipy's, robust, finite; and the mistakes next to it."""

import math

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from inference.errors import ShapeError
from training.losses import (
    cholesky_factor,
    distance,
    gaussian_heatmap,
    image_factor,
    jensen_shannon,
    kullback_leibler,
    perspective_jacobian,
    student_loss,
    student_nll,
)
from training.triangulation import project_points

NU = 5.0
SIGMA = np.array([[9.0, 4.0], [4.0, 25.0]])
F = 1145.0


@pytest.fixture(scope="module")
def samples():
    """(200000, 2) samples of the Student t with scale matrix SIGMA."""
    rng = np.random.default_rng(7)
    return torch.from_numpy(stats.multivariate_t([0, 0], SIGMA, NU).rvs(200_000, random_state=rng))


def factor_of(matrix):
    return torch.linalg.cholesky(torch.as_tensor(matrix))


def nll_at_scale(samples, c, nu=NU):
    return student_nll(samples, factor_of(c * SIGMA), nu).mean().item()


def argmin(loss):
    """Return the c that minimises a loss, looked for between 1e-2 and 1e2."""
    found = optimize.minimize_scalar(lambda log_c: loss(math.exp(log_c)), bounds=(-4.6, 4.6), method="bounded")
    return math.exp(found.x)


def wrong(samples, c, logdet=0.5, exponent=(NU + 2) / 2, inside=1 / NU, one=1.0):
    """The likelihood with one of its constants mistaken."""
    delta = np.einsum("ni,ij,nj->n", samples.numpy(), np.linalg.inv(c * SIGMA), samples.numpy())
    return logdet * np.linalg.slogdet(c * SIGMA)[1] + exponent * np.log(one + inside * delta).mean()


# ---- the value and its minimum (traps 1a, 1b) ----


def test_equals_scipy(samples):
    expected = -stats.multivariate_t([0, 0], SIGMA, NU).logpdf(samples[:1000].numpy())
    torch.testing.assert_close(student_nll(samples[:1000], factor_of(SIGMA), NU), torch.from_numpy(expected))


@pytest.mark.parametrize("nu", [0.7, 3.0, 1000.0])
def test_the_constant_is_log_two_pi_for_every_nu(nu):
    residual = torch.tensor([1.5, -2.0], dtype=torch.float64)
    expected = -stats.multivariate_t([0, 0], SIGMA, nu).logpdf(residual.numpy())
    assert student_nll(residual, factor_of(SIGMA), nu).item() == pytest.approx(expected, abs=1e-9)


def test_minimal_at_the_true_scale(samples):
    assert argmin(lambda c: nll_at_scale(samples, c)) == pytest.approx(1.0, abs=0.02)


def test_negative_control_the_papers_formula_has_no_minimum(samples):
    """(ν+2) log δ without "1 +" and 1/ν: c times the scale changes it by −5 log c, without bound."""
    losses = [wrong(samples, c, logdet=1.0, exponent=NU + 2, inside=1.0, one=0.0) for c in (1.0, 10.0, 1e4)]
    assert losses[1] - losses[0] == pytest.approx(-5 * math.log(10))
    assert losses[2] - losses[0] == pytest.approx(-5 * math.log(1e4))


@pytest.mark.parametrize(
    ("mistake", "expected"),
    [
        ({"logdet": 1.0}, 0.20),
        ({"inside": 1.0}, 5.05),
        ({"exponent": (NU + 3) / 2}, 1.27),
        ({"logdet": 1.0, "exponent": NU + 2}, 1.0),  # both halves dropped: only twice the loss
    ],
)
def test_negative_control_the_minimum_names_each_mistake(samples, mistake, expected):
    assert argmin(lambda c: wrong(samples, c, **mistake)) == pytest.approx(expected, rel=0.03)


def test_the_fitted_matrix_is_the_scale_matrix_not_the_covariance(samples):
    """Trap 1d: the covariance is ν/(ν−2) = 5/3 of what the likelihood fits."""
    centred = np.cov(samples.numpy().T)
    assert np.trace(centred) / np.trace(SIGMA) == pytest.approx(5 / 3, rel=0.03)


# ---- robustness and gradient (traps 1c, 1j) ----


@pytest.mark.parametrize(("nu", "expected"), [(2.0, 0.04), (5.0, 0.07), (1000.0, 9.1)])
def test_small_nu_is_the_robust_one(nu, expected):
    residual = torch.tensor([100.0, 0.0], dtype=torch.float64, requires_grad=True)
    student_nll(residual, torch.eye(2, dtype=torch.float64), nu).backward()
    assert residual.grad is not None
    assert residual.grad[0].item() == pytest.approx(expected, rel=0.01, abs=0.005)


def test_influence_falls_to_nothing():
    far = torch.tensor([[1e1, 0], [1e3, 0], [1e5, 0]], dtype=torch.float64, requires_grad=True)
    student_nll(far, torch.eye(2, dtype=torch.float64), NU).sum().backward()
    assert far.grad is not None
    assert far.grad[0, 0] > 50 * far.grad[1, 0] > 2500 * far.grad[2, 0] > 0


def test_gradient_against_central_differences():
    rng = np.random.default_rng(3)
    raw = torch.from_numpy(rng.normal(size=(5, 3))).requires_grad_()
    residual = torch.from_numpy(rng.normal(size=(5, 2)) * 3).requires_grad_()
    nu = torch.full((5,), 4.0, dtype=torch.float64, requires_grad=True)

    def loss(raw, residual, nu):
        return student_nll(residual, cholesky_factor(raw, 2, 0.1), nu)

    assert torch.autograd.gradcheck(loss, (raw, residual, nu), eps=1e-6, atol=1e-6)


def test_gradient_through_the_projection_against_central_differences():
    rng = np.random.default_rng(4)
    points = torch.from_numpy(rng.normal(size=(4, 3)) + [0, 0, 5.0]).requires_grad_()
    raw = torch.from_numpy(rng.normal(size=(4, 6)) * 0.1).requires_grad_()
    focal = torch.tensor([5.0, 4.0], dtype=torch.float64)

    def factor(points, raw):
        return image_factor(perspective_jacobian(points, focal), cholesky_factor(raw, 3, 0.01), 0.3)

    assert torch.autograd.gradcheck(factor, (points, raw), eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("value", [-50.0, 0.0, 50.0])
def test_finite_in_every_precision(dtype, value):
    raw = torch.full((3,), value, dtype=dtype, requires_grad=True)
    residual = torch.tensor([2.0, -1.0], dtype=dtype, requires_grad=True)
    loss = student_nll(residual, cholesky_factor(raw, 2, 0.05), NU)
    loss.backward()
    assert loss.dtype == torch.float32
    assert raw.grad is not None and residual.grad is not None
    assert torch.isfinite(loss) and torch.isfinite(raw.grad).all() and torch.isfinite(residual.grad).all()


def test_negative_control_elu_plus_one_underflows():
    diagonal = torch.nn.functional.elu(torch.tensor(-50.0, dtype=torch.float16)) + 1
    assert torch.isinf(diagonal.log())


def test_same_under_autocast():
    jacobian = perspective_jacobian(torch.tensor([0.3, 0.2, 4.5]), torch.tensor([F, F]))
    root = torch.tensor([[0.01, 0, 0], [0.002, 0.013, 0], [0.001, 0.004, 0.061]])
    plain = image_factor(jacobian, root, 3.0)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(image_factor(jacobian, root, 3.0), plain, rtol=0, atol=0)
        product = jacobian @ root
    assert product.dtype == torch.bfloat16  # negative control: autocast was on


def test_cholesky_factor_by_hand():
    factor = cholesky_factor(torch.tensor([0.0, -3.0, 2.0]), 2, 0.5)
    expected = torch.tensor([[math.log(2) + 0.5, 0], [-3.0, math.log1p(math.e**2) + 0.5]])
    torch.testing.assert_close(factor, expected)


# ---- masks ----


def test_unobserved_keypoints_reach_neither_value_nor_gradient():
    residual = torch.tensor([[1.0, 2.0], [math.nan, math.nan]], requires_grad=True)
    raw = torch.tensor([[0.1, 0.2, 0.3], [math.nan] * 3], requires_grad=True)
    loss = student_loss(residual, cholesky_factor(raw, 2, 0.1), NU, torch.tensor([True, False]))
    loss.backward()
    assert residual.grad is not None and raw.grad is not None
    assert loss.item() == pytest.approx(student_nll(residual[0], cholesky_factor(raw[0], 2, 0.1), NU).item())
    assert torch.isfinite(residual.grad).all() and (residual.grad[1] == 0).all()
    assert torch.isfinite(raw.grad[0]).all()


def test_negative_control_masking_the_result_poisons_the_gradient():
    residual = torch.tensor([[1.0, 2.0], [math.nan, math.nan]], requires_grad=True)
    scale = torch.tensor(1.0, requires_grad=True)
    values = student_nll(residual, scale * torch.eye(2), NU)
    torch.where(torch.tensor([True, False]), values, 0.0).sum().backward()
    assert scale.grad is not None and torch.isnan(scale.grad)


def test_nothing_observed_is_zero_with_a_gradient():
    residual = torch.ones((2, 2), requires_grad=True)
    loss = student_loss(residual, torch.eye(2), NU, torch.zeros(2, dtype=torch.bool))
    loss.backward()
    assert residual.grad is not None
    assert loss.item() == 0 and (residual.grad == 0).all()


# ---- the projection of the scale matrix (traps 1e to 1h, 1k to 1n) ----


def off_axis(angle_deg, depth):
    return np.array([math.tan(math.radians(angle_deg)), 0.3 * math.tan(math.radians(angle_deg)), 1.0]) * depth


def project(points):
    return F * points[..., :2] / points[..., 2:]


@pytest.mark.parametrize(("angle_deg", "displaced_px"), [(0, 0.0), (10, 3.1), (20, 25.1), (30, 88.6)])
def test_the_mean_is_divided_by_its_depth_not_by_its_distance(angle_deg, displaced_px):
    """Trap 1e: the paper's norm is the depth on the optical axis alone."""
    point = torch.tensor([[math.sin(math.radians(angle_deg)), 0.0, math.cos(math.radians(angle_deg))]]).double() * 4.5
    K = torch.diag(torch.tensor([F, F, 1.0], dtype=torch.float64))
    projection = torch.cat([K, torch.zeros(3, 1, dtype=torch.float64)], dim=1)
    found = project_points(projection[None], point)[0][0, 0]
    torch.testing.assert_close(found, (K @ point[0])[:2] / point[0, 2])
    by_norm = F * point[0, :2] / point[0].norm()  # negative control
    assert (found - by_norm).norm().item() == pytest.approx(displaced_px, abs=0.05)


@pytest.mark.parametrize("angle_deg", [0, 10, 20, 30])
@pytest.mark.parametrize("depth", [4.5, 1.5])
def test_projected_covariance_against_monte_carlo(angle_deg, depth):
    """The linearised covariance is within 2 % of that of 400 000 projected samples (10, 10, 60 mm)."""
    sigmas = np.array([0.010, 0.010, 0.060])
    point = off_axis(angle_deg, depth)
    noise = np.random.default_rng(5).normal(size=(400_000, 3)) * sigmas
    sampled = np.sqrt(np.trace(np.cov(project(point + noise).T)))
    jacobian = perspective_jacobian(torch.from_numpy(point), torch.tensor([F, F], dtype=torch.float64))
    factor = image_factor(jacobian, torch.diag(torch.from_numpy(sigmas)), 1e-6)
    assert torch.linalg.matrix_norm(factor).item() == pytest.approx(sampled, rel=0.02)


def test_negative_control_weak_perspective_misses_the_depths_variance():
    point = off_axis(20, 4.5)
    sigmas = torch.tensor([0.010, 0.010, 0.060], dtype=torch.float64)
    jacobian = perspective_jacobian(torch.from_numpy(point), torch.tensor([F, F], dtype=torch.float64))
    weak = jacobian.clone()
    weak[:, 2] = 0
    full = [torch.linalg.vector_norm(J[0] * sigmas).item() for J in (jacobian, weak)]
    assert full[0] / full[1] == pytest.approx(math.hypot(1, 6 * math.tan(math.radians(20))), rel=1e-6)
    assert full[1] == pytest.approx(2.54, abs=0.01)


def test_jacobian_against_central_differences():
    point = torch.tensor([0.4, -0.3, 3.0], dtype=torch.float64)
    K = torch.diag(torch.tensor([F, 0.9 * F, 1.0], dtype=torch.float64))
    expected = torch.autograd.functional.jacobian(lambda x: (K @ x)[:2] / x[2], point)
    found = perspective_jacobian(point, torch.tensor([F, 0.9 * F], dtype=torch.float64))
    assert found.shape == (2, 3)
    assert isinstance(expected, torch.Tensor)
    torch.testing.assert_close(found, expected)


def test_two_rows_have_a_finite_log_determinant_and_three_do_not():
    jacobian = perspective_jacobian(torch.tensor([0.4, -0.3, 3.0]), torch.tensor([F, F]))
    assert torch.isfinite(torch.logdet(jacobian @ jacobian.T))
    with_zero_row = torch.cat([jacobian, torch.zeros(1, 3)])
    assert torch.linalg.det(with_zero_row @ with_zero_row.T) == 0  # negative control: log 0 = −inf


def test_likelihood_in_pixels_and_in_normalised_coordinates(samples):
    K = torch.diag(torch.tensor([F, 0.9 * F], dtype=torch.float64))
    inverse = torch.linalg.inv(K)
    in_px = student_nll(samples[:100], factor_of(SIGMA), NU)
    normalised = student_nll(samples[:100] @ inverse, inverse @ factor_of(SIGMA), NU)
    torch.testing.assert_close(in_px, normalised + math.log(F * 0.9 * F))


def rotation(angle_deg):
    c, s = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    return torch.tensor([[c, 0, -s], [0, 1, 0], [s, 0, c]], dtype=torch.float64)


def ring_jacobians(angles_deg):
    """World-to-image derivatives of cameras on a ring around the y axis, 4.5 m from the point."""
    point = torch.tensor([0.0, 0.0, 4.5], dtype=torch.float64)
    focal = torch.tensor([F, F], dtype=torch.float64)
    return [perspective_jacobian(point, focal) @ rotation(a) for a in angles_deg]


def test_turning_world_and_ellipsoid_together_changes_nothing():
    root = torch.diag(torch.tensor([0.01, 0.02, 0.06], dtype=torch.float64))
    turn = rotation(90)
    for J in ring_jacobians([0, 60]):
        torch.testing.assert_close(image_factor(J @ turn.T, turn @ root, 3.0), image_factor(J, root, 3.0))
        other = image_factor(J @ turn.T, root, 3.0)  # negative control: a matrix that ignores the cameras
        assert not torch.allclose(other, image_factor(J, root, 3.0), rtol=0.1)


@pytest.mark.parametrize(("angles", "rank"), [([0, 60], 5), ([0, 90], 5), ([0, 60, 130], 6)])
def test_two_views_do_not_identify_the_scale_matrix(angles, rank):
    def seen(parameters):
        rows, columns = torch.tril_indices(3, 3)
        matrix = torch.zeros(3, 3, dtype=torch.float64)
        matrix[rows, columns] = parameters
        matrix = matrix + matrix.T
        return torch.stack([J @ matrix @ J.T / F**2 for J in ring_jacobians(angles)]).flatten()

    mapping = torch.stack([seen(column) for column in torch.eye(6, dtype=torch.float64)], dim=1)
    assert torch.linalg.matrix_rank(mapping, rtol=1e-9).item() == rank


def test_the_label_noise_is_told_apart_from_the_error_of_the_mean():
    """True error 2 px, labels with 3 px: with s the fit finds 2, without it the root of 13."""
    rng = np.random.default_rng(9)
    residual = torch.from_numpy(rng.normal(size=(50_000, 2)) * math.sqrt(13))
    jacobian = torch.eye(2, 3, dtype=torch.float64)

    def loss(sigma, label_sigma):
        factor = image_factor(jacobian, sigma * torch.eye(3, dtype=torch.float64), label_sigma)
        return student_nll(residual, factor, 1e6).mean().item()

    assert argmin(lambda sigma: loss(sigma, 3.0)) == pytest.approx(2.0, rel=0.02)
    assert argmin(lambda sigma: loss(sigma, 1e-3)) == pytest.approx(math.sqrt(13), rel=0.02)  # negative control


def test_a_detection_that_is_also_the_label_teaches_overconfidence(samples):
    """Trap 1n: residual zero pulls the scale to its bound; a label held out finds the truth."""
    assert argmin(lambda c: nll_at_scale(0 * samples[:100], c)) < 0.011
    assert argmin(lambda c: nll_at_scale(samples, c)) == pytest.approx(1.0, abs=0.02)


def test_behind_the_camera_is_nan_not_a_number():
    points = torch.tensor([[0.1, 0.1, -2.0], [0.1, 0.1, 0.0]])
    assert torch.isnan(perspective_jacobian(points, torch.tensor([F, F]))[:, 0, 0]).all()


# ---- heatmaps ----


def shifted(start, shift, size=41):
    maps = gaussian_heatmap(torch.tensor([[start, 20.0], [start + shift, 20.0]]), (size, size), 1.0)
    return jensen_shannon(maps[0], maps[1]).item()


@pytest.mark.parametrize(
    ("shift", "expected"), [(0.5, 0.03031), (1.0, 0.11142), (2.0, 0.33686), (4.0, 0.63314), (0.0, 0.0)]
)
def test_divergence_of_gaussians_midway_between_cells(shift, expected):
    assert shifted(18.5, shift) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("shift", "expected", "continuous"), [(2.0, 0.33680, 0.33683), (4.0, 0.63230, 0.63272)])
def test_divergence_of_gaussians_on_a_cell(shift, expected, continuous):
    assert shifted(18.0, shift) == pytest.approx(expected, abs=1e-5)
    assert shifted(18.0, shift) == pytest.approx(continuous, abs=5e-4)


def test_divergence_of_disjoint_maps_is_log_two():
    maps = torch.zeros(2, 4, 4)
    maps[0, 0, 0] = maps[1, 3, 3] = 1
    assert jensen_shannon(maps[0], maps[1]).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_divergence_has_a_finite_gradient_where_the_softmax_underflows(dtype):
    logits = torch.zeros(8, 8, dtype=dtype)
    logits[2, 3] = 300
    logits.requires_grad_()
    heatmap = torch.softmax(logits.flatten(), dim=0).view(8, 8)
    loss = jensen_shannon(heatmap, gaussian_heatmap(torch.tensor([3.0, 2.0]), (8, 8), 1.0))
    loss.backward()
    assert (heatmap == 0).any() and logits.grad is not None
    assert torch.isfinite(loss) and torch.isfinite(logits.grad).all()


def test_negative_control_an_epsilon_is_lost_in_half_precision():
    assert torch.isinf((torch.zeros(1, dtype=torch.float16) + 1e-24).log())


def test_heatmap_sums_to_one_with_x_along_the_columns():
    heatmap = gaussian_heatmap(torch.tensor([10.0, 40.0]), (48, 64), 1.0)
    assert heatmap.shape == (64, 48)
    assert heatmap.sum().item() == pytest.approx(1, abs=1e-6)
    assert divmod(int(heatmap.argmax()), 48) == (40, 10)


def test_a_target_at_the_border_is_biased_inwards():
    cells = torch.arange(64.0)
    bias = [
        (gaussian_heatmap(torch.tensor([x, 20.0]), (64, 64), 1.0).sum(0) * cells).sum().item() - x for x in (0.0, 1)
    ]
    assert bias == pytest.approx([0.52, 0.13], abs=0.01)


# ---- the distance ----


def test_distance_has_a_gradient_at_an_exact_match():
    point = torch.tensor([1.0, 2.0], requires_grad=True)
    distance(point, torch.tensor([1.0, 2.0])).backward()
    assert point.grad is not None and (point.grad == 0).all()
    assert distance(torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0])).item() == 5


def test_negative_control_the_square_root_has_none():
    point = torch.tensor([1.0, 2.0], requires_grad=True)
    ((point - torch.tensor([1.0, 2.0])) ** 2).sum().sqrt().backward()
    assert point.grad is not None and torch.isnan(point.grad).all()


# ---- refusals ----


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cholesky_factor(torch.zeros(4), 2, 0.1), "a 2x2 factor takes 3 numbers"),
        (lambda: cholesky_factor(torch.zeros(3), 2, 0.0), "floor is 0.0"),
        (lambda: student_nll(torch.zeros(3), torch.eye(2), NU), r"residual \(3,\)"),
        (lambda: student_nll(torch.zeros(2), torch.eye(3), NU), r"factor \(3, 3\)"),
        (lambda: student_nll(torch.zeros(2), torch.eye(2), 0.0), "nu is 0.0"),
        (lambda: student_nll(torch.zeros(2), torch.eye(2), math.inf), "nu is inf"),
        (lambda: image_factor(torch.eye(2, 3), torch.eye(3), 0.0), "label_sigma is 0.0"),
        (lambda: student_loss(torch.zeros(4, 2), torch.eye(2), NU, torch.ones(1)), r"observed has shape \(1,\)"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ShapeError, match=message):
        call()


def test_the_divergence_from_a_target_pulls_from_afar():
    """Through a softmax the gradient is the map less its target; Jensen's and Shannon's is nearly flat there."""
    target = gaussian_heatmap(torch.tensor([12.0, 3.0]), (16, 8), 1.0)
    logits = (30 * gaussian_heatmap(torch.tensor([2.0, 3.0]), (16, 8), 1.0)).requires_grad_()
    pulls = []
    for divergence in (kullback_leibler, jensen_shannon):
        maps = torch.softmax(logits.flatten(), 0).reshape(8, 16)
        (gradient,) = torch.autograd.grad(divergence(maps, target), logits)
        pulls.append(gradient)
        if divergence is kullback_leibler:
            torch.testing.assert_close(gradient, (maps - target).detach(), rtol=1e-4, atol=1e-6)
    assert pulls[0].norm() > 3 * pulls[1].norm()
    assert kullback_leibler(target, target).item() == pytest.approx(0, abs=1e-6)
    by_hand = kullback_leibler(torch.tensor([[0.5, 0.5]]), torch.tensor([[0.25, 0.75]]))
    assert by_hand.item() == pytest.approx(0.25 * math.log(0.5) + 0.75 * math.log(1.5))
