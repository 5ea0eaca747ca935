"""The traps of the paper's flow: each term does what its formula says, and its known faults are shown, not assumed."""

import dataclasses

import numpy as np
import pytest
import torch

from inference.errors import InputError
from inference.perception.heatmap import fit_gaussians
from training.heatmap_poses import CELLS, H36M, JOINTS_2D, JOINTS_3D, heatmap_poses, joint_matrix, rooted
from training.networks.paper_flow import (
    BONES,
    LATENT,
    Critic,
    PaperFlow,
    PaperFlowSettings,
    bone_matrix,
    clamped,
    kinematic_chain,
)
from training.paper_losses import BANDWIDTHS, best_of_many, critic_loss, heatmap_loss, median_bandwidths, mmd
from training.pose_views import stick_poses
from training.tasks.flow import PoseDataSettings
from training.tasks.paper_flow import PaperFlowTask, PaperLossSettings

SMALL = PaperFlowSettings(hidden=32, blocks=8)


def normal(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def flow() -> PaperFlow:
    torch.manual_seed(3)
    return PaperFlow(SMALL)


def test_round_trip_in_both_precisions(flow: PaperFlow) -> None:
    x, condition = 0.3 * normal(20, 48), normal(20, 78, seed=2)
    both, _ = flow(x.float(), flow.context(condition.float()))
    assert (flow.inverse(both, flow.context(condition.float())) - x).abs().max() < 2e-5
    flow = flow.double()
    both, _ = flow(x, flow.context(condition))
    assert (flow.inverse(both, flow.context(condition)) - x).abs().max() < 1e-12


def test_the_stack_explodes_with_three_times_the_weights(flow: PaperFlow) -> None:
    """Why the clamp and the small start matter: the largest number is to be watched."""
    flow = flow.double()
    x, context = normal(20, 48), flow.context(normal(20, 78, seed=2))
    calm = flow(x, context)[0].abs().max()
    with torch.no_grad():
        for net in flow.nets:
            for parameter in net.parameters():
                parameter.mul_(12.0)
    assert flow(x, context)[0].abs().max() > 1000 * calm


def test_volume_is_that_of_the_jacobian(flow: PaperFlow) -> None:
    flow = flow.double()
    x, context = normal(1, 48), flow.context(normal(1, 78, seed=2))
    jacobian = torch.autograd.functional.jacobian(lambda v: flow(v, context)[0].flatten(), x).reshape(48, 48)
    assert torch.linalg.slogdet(jacobian)[1].item() == pytest.approx(flow(x, context)[1].item(), abs=1e-12)


def test_clamp_is_the_paper_s_and_not_that_of_the_usual_library() -> None:
    r = torch.linspace(-30, 30, 101, dtype=torch.float64, requires_grad=True)
    assert clamped(r).abs().max() < 2.0
    (slope,) = torch.autograd.grad(clamped(r).sum(), r)
    assert slope[50].item() == pytest.approx(2 / np.pi)
    assert (clamped(r) - 2.0 * 0.636 * torch.atan(r)).abs().max() > 0.1  # negative control: without the /α


def test_bones_of_the_chain_are_lengths_and_do_not_move_with_the_pose() -> None:
    x, c = normal(5, 48), bone_matrix().double()
    assert c.sum(dim=0).abs().max() == 0
    chain = kinematic_chain(x, c)
    body = x.unflatten(-1, (3, -1)).transpose(-1, -2)
    for number, (start, end) in enumerate(BONES):
        bone = body[:, JOINTS_3D.index(end)] - body[:, JOINTS_3D.index(start)]
        assert torch.allclose(chain[:, number, number], bone.square().sum(dim=-1))
    moved = (x.unflatten(-1, (3, -1)) + torch.tensor([1.0, -2.0, 0.5])[:, None]).flatten(1)
    assert torch.allclose(kinematic_chain(moved, c), chain)
    permuted = x.unflatten(-1, (3, -1))[..., torch.arange(15, -1, -1)].flatten(1)
    assert (kinematic_chain(permuted, c) - chain).abs().max() > 0.1  # negative control: joints have an order


def test_biased_mmd_is_off_by_twice_the_kernel_at_zero_over_n() -> None:
    """Two sets far wider than the bandwidths: all kernels but those of samples with themselves vanish: 3 · 2/n."""
    a, b = (1000 * normal(64, 48, seed=s) for s in (1, 2))
    assert mmd(a, b).item() == pytest.approx(6 / 64, rel=1e-3)
    assert mmd(a, b, fair=True).item() == pytest.approx(0, abs=1e-4)
    near, far = normal(64, 3, seed=3).requires_grad_(True), normal(64, 3, seed=4) + 1.0
    slopes = [torch.autograd.grad(mmd(near, far, fair=fair), near)[0].flatten() for fair in (False, True)]
    assert torch.nn.functional.cosine_similarity(slopes[0], slopes[1], dim=0) > 0.99


def test_paper_s_bandwidths_hardly_notice_a_shift_and_the_median_s_do() -> None:
    a, b = normal(256, 48, seed=1), normal(256, 48, seed=2)
    shifted = b.clone()
    shifted[:, :LATENT] += 1.0
    paper = mmd(a, shifted, BANDWIDTHS, fair=True) - mmd(a, b, BANDWIDTHS, fair=True)
    median = median_bandwidths(b)
    wide = mmd(a, shifted, median, fair=True) - mmd(a, b, median, fair=True)
    assert paper < 0.005 < 0.05 < wide


def test_heatmap_term_asks_for_more_spread_never_for_less() -> None:
    sigma = torch.tensor([0.02, 0.05])
    target = torch.diag(sigma**2).expand(1, 1, 2, 2)
    sure, unsure = torch.zeros(1, 1, dtype=torch.bool), torch.ones(1, 1, dtype=torch.bool)
    exact = sigma * normal(1, 4000, 1, 2).float()
    narrow, wide = 0.3 * exact, 3 * exact
    assert heatmap_loss(narrow, target, unsure) > 0.9 * (1 - 0.09) * sigma[1] ** 2
    assert heatmap_loss(narrow, target, sure) == 0  # a joint of which the detector is sure is left alone
    assert heatmap_loss(wide, target, unsure) < 3 * 0.05 * sigma.prod()  # but for the chance of the off-diagonal
    still = torch.zeros(1, 5, 1, 2, requires_grad=True)
    (slope,) = torch.autograd.grad(heatmap_loss(still, 0 * target, unsure), still)
    assert torch.isfinite(slope).all()  # the root has a finite slope at zero


def test_best_of_many_takes_the_mean_of_the_nearest() -> None:
    truth = torch.zeros(1, 17, 3)
    samples = torch.stack([torch.full((17, 3), v) for v in (0.1, -0.3, 5.0, 0.2)])[None]
    assert best_of_many(samples, truth, 2).item() == pytest.approx(0.15)
    assert best_of_many(samples, truth, 4).item() == pytest.approx(1.25)


def test_best_of_many_rewards_spread_that_is_not_there() -> None:
    """The trap: of samples drawn as the truth is and samples 1.5 times as wide, the loss prefers the wide ones."""
    truth, right = 0.1 * normal(200, 2, 3), 0.1 * normal(200, 50, 2, 3, seed=2)
    values = [best_of_many(factor * right, truth, 5).item() for factor in (0.5, 1.0, 1.5)]
    assert values[2] < values[0] and values[1] < values[0]
    one = [best_of_many(factor * right[:, :, :1, :1], truth[:, :1, :1], 5).item() for factor in (1.0, 1.5)]
    assert one[1] < 1.2 * one[0]  # in one dimension too wide a spread costs next to nothing


def test_critic_s_slope_is_held_at_one() -> None:
    real, made, share = normal(8, 48), normal(8, 48, seed=2), torch.rand(8, 1, dtype=torch.float64)
    direction = torch.nn.functional.normalize(normal(48), dim=0)
    steep = [critic_loss(lambda x, k=k: k * x @ direction, real, made, share).item() for k in (1.0, 3.0)]
    means = (made @ direction).mean() - (real @ direction).mean()
    assert steep[0] == pytest.approx(means.item())
    assert steep[1] == pytest.approx(3 * means.item() + 40)


def test_critic_learns_to_tell_poses_from_noise() -> None:
    torch.manual_seed(1)
    critic, poses = Critic(), heatmap_poses(stick_poses(64, 1), 1, 0.01)(0, 64)["x"]
    optimiser = torch.optim.Adam(critic.parameters(), 1e-3, betas=(0.5, 0.9))
    for _ in range(15):
        loss = critic_loss(critic, poses, 0.3 * torch.randn(64, 48), torch.rand(64, 1))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert critic(poses).mean() > critic(0.3 * torch.randn(64, 48)).mean() + 0.1


def test_samples_are_laid_out_as_the_paper_says() -> None:
    batch = heatmap_poses(stick_poses(64, 1), 1, 0.01)(0, 200)
    x, y = batch["x"].unflatten(-1, (3, 16)), batch["y"].unflatten(-1, (2, 16))
    assert x.mean(dim=-1).abs().max() < 1e-6 and y.mean(dim=-1).abs().max() < 1e-6
    assert torch.allclose(y.flatten(1).std(dim=1, unbiased=False), torch.ones(200), atol=1e-5)
    head, foot = JOINTS_3D.index("head_top"), JOINTS_3D.index("left_ankle")
    assert (x[:, 1, head] > x[:, 1, foot]).float().mean() > 0.9  # y points up
    assert (y[:, 1, JOINTS_2D.index("head_top")] > y[:, 1, JOINTS_2D.index("left_ankle")]).float().mean() > 0.9
    assert torch.allclose(rooted(batch["x"]), batch["truth"], atol=1e-5)
    again = heatmap_poses(stick_poses(64, 1), 1, 0.01)(150, 50)
    assert torch.equal(again["condition"], batch["condition"][150:])


def test_a_cell_of_the_heatmap_is_as_large_as_the_person_makes_it() -> None:
    """The released code takes 5 mm a pixel for everybody; it depends on crop and depth."""
    batch = heatmap_poses(stick_poses(64, 1), 1, 0.01)(0, 300)
    cell_m = batch["covariance"][..., 0, 0].sqrt() / 2.0
    each = torch.stack([row[mask == 0].mean() for row, mask in zip(cell_m, batch["unsure"], strict=True)])
    assert 0.01 < each.min() and each.max() < 0.06
    assert each.std() / each.mean() > 0.05


def test_drawn_gaussians_are_what_the_fit_of_inference_finds_in_their_heatmaps() -> None:
    """The condition is drawn, not fitted; real heatmaps go through `inference.perception.heatmap` and mean the same."""
    batch = heatmap_poses(stick_poses(64, 1), 1, 0.01)(0, 4)
    told = batch["condition"].unflatten(-1, (13, 6)).double().numpy()
    covariance = told[..., [3, 4, 4, 5]].reshape(4, 13, 2, 2) * 20.0**2
    grid = np.stack(np.meshgrid(np.arange(CELLS), np.arange(CELLS)), axis=-1)
    mean = np.array([32.3, 30.6])
    apart = grid - mean
    squares = np.einsum("hwi,njik,hwk->njhw", apart, np.linalg.inv(covariance), apart)
    maps = told[..., 0, None, None] * np.exp(-squares / 2)
    found = fit_gaussians(maps.reshape(-1, CELLS, CELLS))
    assert np.allclose(found.mean, mean, atol=0.02)
    assert np.allclose(found.covariance, covariance.reshape(-1, 2, 2), rtol=0.05, atol=0.05)
    assert np.allclose(found.score, told[..., 0].ravel(), rtol=0.04)  # the highest cell, up to half a cell beside it


def test_a_block_turns_the_first_half_by_the_second_then_the_second_by_the_new_first() -> None:
    flow = PaperFlow(dataclasses.replace(SMALL, blocks=1)).double()
    flow.get_buffer("orders").copy_(torch.arange(48)[None])
    x, context = normal(1, 48), flow.context(normal(1, 78, seed=2))
    slope = torch.autograd.functional.jacobian(lambda v: flow(v, context)[0].flatten(), x).reshape(48, 48)
    first = slope[:24, :24]
    assert torch.equal(first, torch.diag(torch.diagonal(first))) and (torch.diagonal(first) > 0).all()
    assert (slope[24:, :24].abs() > 0).float().mean() > 0.9  # the new first half is what the second one is told
    order = PaperFlow(dataclasses.replace(SMALL, blocks=3)).get_buffer("orders")
    seeded = [torch.randperm(48, generator=torch.Generator().manual_seed(k)) for k in range(3)]
    assert torch.equal(order, torch.stack(seeded))


def test_joints_that_the_motion_lacks_are_means_of_others() -> None:
    for names in (H36M, JOINTS_2D):
        assert np.allclose(joint_matrix(names).sum(axis=1), 1)


def test_the_task_learns_and_leaves_the_critic_to_itself() -> None:
    tables = {
        "data": PoseDataSettings(source="stick_figures", validation_poses=16),
        "network": SMALL,
        "loss": PaperLossSettings(samples=4, nearest=2, critic_steps=1),
    }
    task = PaperFlowTask(tables, 1)
    model = task.model()
    before = {name: value.clone() for name, value in model.critic.state_dict().items()}
    trained = [p for p in model.parameters() if p.requires_grad]
    assert not any(p.requires_grad for p in model.critic.parameters())
    loss, terms = task.loss(model, task.batch(0, 16))
    loss.backward()
    assert {"2d", "mmd", "det", "generator", "best", "heatmap"} == set(terms)
    assert all(p.grad is not None for p in trained)
    assert any((value != before[name]).any() for name, value in model.critic.state_dict().items())
    assert set(task.validate(model.eval())) == {"middle_mm", "best_mm"}


def test_ablations_leave_their_terms_out() -> None:
    flow = PaperFlow(PaperFlowSettings(hidden=16, condition=False))
    a, b = flow.context(torch.randn(3, 78)), flow.context(torch.randn(3, 78))
    assert torch.equal(a, b)
    with pytest.raises(InputError, match="nearest"):
        PaperLossSettings(nearest=300)
    with pytest.raises(InputError, match="mode"):
        PaperLossSettings(mode="papr")
