"""What spatial uncertainty learns from noisy labels: the traps of the paper, each with the mistake beside it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import optimize

from inference.errors import InputError
from training.multi_view import Rig, multi_view_samples
from training.networks.spatial import SpatialOutput, SpatialSettings
from training.stick_figures import solid_poses
from training.tasks.spatial import (
    Judged,
    MultiViewSettings,
    SpatialLossSettings,
    SpatialTask,
    estimated,
    labeller_loss,
    left_out_nll,
    space_loss,
    spatial_scores,
    start_from,
    view_loss,
)
from training.triangulation import project_points

SIGMA_M, LABEL_PX, N = 0.02, 1.0, 300


def argmin(loss):
    found = optimize.minimize_scalar(lambda log_c: loss(math.exp(log_c)), bounds=(-4.6, 4.6), method="bounded")
    return math.exp(found.x)


@pytest.fixture(scope="module")
def scene():
    """Estimates that miss the truth by 20 mm, labels that miss it by 1 px, in 4 views (Gaussian both)."""
    batch = multi_view_samples(solid_poses(64, 1), Rig("ring", 4), (64, 64), seed=5, pictures=False)(0, N)
    rng = torch.Generator().manual_seed(1)
    truth = batch["xyz"].double()
    uv = project_points(batch["projection"].double(), truth)[0][:, None].expand(-1, 3, -1, -1, -1)
    batch["labels"] = uv + LABEL_PX * torch.randn(uv.shape, generator=rng, dtype=torch.float64)
    mean = truth + SIGMA_M * torch.randn(truth.shape, generator=rng, dtype=torch.float64)
    return batch, mean


def output(mean, scale_m, label_px=LABEL_PX):
    n, j = mean.shape[:2]
    root = scale_m * torch.eye(3, dtype=torch.float64).expand(n, j, 3, 3)
    yes = torch.ones(n, j, dtype=torch.bool)
    label = torch.full((3, j), label_px, dtype=torch.float64)
    nothing = torch.zeros(0)
    return SpatialOutput(
        nothing, nothing, nothing, nothing, mean, root, torch.full((n, j), 1e6, dtype=torch.float64), yes, yes, label
    )


def space(scene, scale_m, label_px):
    batch, mean = scene
    found = output(mean, scale_m, label_px)
    return space_loss(found, batch, found.label_px).item()


def test_labels_find_the_error_of_the_mean(scene):
    """Trap 1m: the label's noise is no error of the mean. One pixel is about 35 mm here."""
    assert argmin(lambda c: space(scene, c * SIGMA_M, LABEL_PX)) == pytest.approx(1.0, rel=0.06)
    without = argmin(lambda c: space(scene, c * SIGMA_M, 0.05))
    assert without > 1.5  # negative control: the paper's loss takes the one for the other


def labellers_scene(count):
    rng = torch.Generator().manual_seed(3)
    truth = 64 * torch.rand((200, 1, 2, 29, 2), generator=rng)
    sigma = torch.tensor([0.5, 1.0, 2.0])[:count]
    labels = truth + sigma[:, None, None, None] * torch.randn((200, count, 2, 29, 2), generator=rng)
    return labels, sigma


def test_three_labellers_tell_each_one_s_noise_without_the_truth():
    labels, sigma = labellers_scene(3)
    guess = torch.full((3, 29), 1.0, requires_grad=True)
    optimiser = torch.optim.LBFGS([guess], max_iter=60, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        loss = labeller_loss(labels, guess)
        loss.backward()
        return loss

    optimiser.step(closure)
    # A Gaussian seen by a Student t of ν = 5 has 0.85 of its scale.
    assert (guess.detach().abs().mean(dim=1) / sigma / 0.86).tolist() == pytest.approx([1.0, 1.0, 1.0], rel=0.12)


def test_two_labellers_tell_the_sum_of_their_variances_alone():
    """The loss does not change while s₁² + s₂² stays: which of the two is the better one is not in their difference."""
    labels, _ = labellers_scene(2)
    values = [
        labeller_loss(labels, torch.tensor([a, math.sqrt(1.25 - a * a)])[:, None].expand(2, 29)).item()
        for a in (0.3, 0.6, 1.0)
    ]
    assert max(values) - min(values) < 1e-5
    assert labeller_loss(labels[:, :1], torch.ones(1, 29)).item() == 0


def test_a_label_that_is_the_mean_teaches_overconfidence(scene):
    """Trap 1n: with the detection as its own label the likelihood pulls the scale to its bound."""
    batch, mean = scene
    own = {**batch, "labels": project_points(batch["projection"].double(), mean)[0][:, None].expand(-1, 3, -1, -1, -1)}
    values = [space((own, mean), c * SIGMA_M, 0.05) for c in (1.0, 0.1, 0.01)]
    assert values[0] > values[1] > values[2]
    values = [space(scene, c * SIGMA_M, LABEL_PX) for c in (1.0, 0.1)]  # labels of others: the truth is best
    assert values[0] < values[1]


@pytest.fixture(scope="module")
def trained():
    """A small network of one minute's tenth of training: enough to triangulate."""
    torch.manual_seed(1)
    tables = {
        "data": MultiViewSettings(rig="ring", views=4, validation_samples=8),
        "network": SpatialSettings(channels=(8, 16), blocks=(1, 1)),
        "loss": SpatialLossSettings(),
    }
    task = SpatialTask(tables, seed=1)
    model = task.model()
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for step in range(12):
        optimiser.zero_grad()
        task.loss(model, task.batch(4 * step, 4))[0].backward()
        optimiser.step()
    return task, model.eval()


def test_every_parameter_has_a_finite_gradient(trained):
    task, model = trained
    model.zero_grad()
    total, parts = task.loss(model, task.batch(100, 4))
    total.backward()
    assert set(parts) == {"shape", "space", "labellers", "view"}
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None or "readout" in name, name
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name
    assert model.raw_inflation.grad.abs().sum() > 0 and model.raw_label.grad.abs().sum() > 0


def test_a_view_left_out_exposes_overconfidence(trained):
    task, model = trained
    batch = task.batch(200, 8)
    honest = left_out_nll(model, batch).mean().item()
    with torch.no_grad():
        before = model.raw_inflation.clone()
        model.raw_inflation.fill_(-12.0)  # a hundred thousandth of the covariance
        model.raw_label.fill_(-6.0)
        boasting = left_out_nll(model, batch).mean().item()
        model.raw_inflation.copy_(before)
    assert boasting > honest + 1


def test_two_views_leave_none_out(trained):
    task, model = trained
    batch = multi_view_samples(solid_poses(8, 1), Rig("antipodal"), (64, 64), seed=3)(0, 2)
    assert len(left_out_nll(model, batch)) == 0
    assert estimated(model, batch).xyz.shape == (2, 29, 3)
    assert task.validate(model)["good"] <= 1


def test_unseen_labels_reach_no_loss(trained):
    task, model = trained
    batch = task.batch(300, 2)
    batch["labels"] = torch.full_like(batch["labels"], math.nan)
    found = estimated(model, batch)
    assert view_loss(found, batch["labels"], found.label_px).item() == 0
    assert space_loss(found, batch, found.label_px).item() == 0


def test_scores_by_hand():
    """Errors of 1 sigma along x in 3D, Gaussian: χ²₃(1) = 0.199 lies inside of the 50 % ellipsoid."""
    error = np.zeros((4, 2, 3))
    error[..., 0] = 0.01
    error[0, 0] = np.nan
    scale = np.broadcast_to(1e-4 * np.eye(3), (4, 2, 3, 3)).copy()
    found = spatial_scores(Judged(error, scale, np.full(4, np.inf), np.zeros(0)))
    assert found["error_mm"] == pytest.approx(10) and found["good"] == 7 / 8
    assert found["coverage_50"] == 1 and found["sharpness_mm"] == pytest.approx(10)
    assert found["nll"] == pytest.approx(1.5 * math.log(2 * math.pi * 100) + 0.5)
    assert "left_out_nll" not in found
    assert spatial_scores(Judged(np.full((4, 2, 3), np.nan), scale, np.full(4, 7.0), np.zeros(0))) == {"good": 0.0}


def test_another_network_is_refused_as_a_start(trained, tmp_path):
    task, _ = trained
    with pytest.raises(InputError, match="no checkpoint here"):
        start_from(task.model(), tmp_path)


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (MultiViewSettings, {"rig": "rum"}, "rig = 'rum'"),
        (MultiViewSettings, {"size": (60, 64)}, "multiples of 32"),
        (MultiViewSettings, {"samples": 64}, "cache and samples go together"),
        (SpatialLossSettings, {"space": -1.0}, "must not be negative"),
    ],
)
def test_refusals(kind, values, message):
    with pytest.raises(InputError, match=message):
        kind(**values)
