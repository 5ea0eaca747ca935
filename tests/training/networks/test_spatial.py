"""The network of spatial uncertainty: any views in any order, ellipsoids that turn with the world, finite gradients."""

from __future__ import annotations

import pytest
import torch

from inference.errors import InputError
from training.multi_view import Rig, multi_view_samples
from training.networks.spatial import SpatialNetwork, SpatialSettings
from training.stick_figures import solid_poses
from training.triangulation import linear_points, project_points, refined_points

SMALL = {"channels": (8, 16), "blocks": (1, 1)}


@pytest.fixture(scope="module")
def batch():
    return multi_view_samples(solid_poses(8, 1), Rig("ring", 4), (64, 64), seed=3)(0, 3)


def network(mode):
    torch.manual_seed(2)
    return SpatialNetwork(SpatialSettings(mode=mode, **SMALL), 29, (64, 64), 3).eval()


def run(model, batch, **changed):
    batch = {**batch, **changed}
    with torch.no_grad():
        return model(batch["image"].float() / 255, batch["projection"], batch["seen"], batch["centre"])


def turned(batch):
    """The same cameras and people in a world that is turned by 90 degrees about z."""
    turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    P = batch["projection"].clone()
    P[..., :3] = P[..., :3] @ turn.T
    return turn.double(), {"projection": P, "centre": batch["centre"] @ turn.T}


@pytest.mark.parametrize("mode", ["fused", "paper"])
def test_shapes_and_positive_definite_matrices(batch, mode):
    found = run(network(mode), batch)
    assert (
        found.xyz.shape == (3, 29, 3)
        and found.root.shape == (3, 29, 3, 3)
        and found.view_factor.shape[:3] == (3, 4, 29)
    )
    assert (found.root.diagonal(dim1=-2, dim2=-1) > 0).all() and (found.nu > 2).all()
    assert found.determined.any()


def test_ellipsoids_turn_with_the_world_where_views_are_fused(batch):
    model = network("fused")
    turn, changed = turned(batch)
    before, after = run(model, batch), run(model, batch, **changed)
    ok = before.determined & after.determined
    assert ok.any()
    torch.testing.assert_close(after.xyz[ok], (before.xyz @ turn.T)[ok], rtol=0, atol=1e-4)
    expected = turn @ before.root @ before.root.mT @ turn.T
    torch.testing.assert_close((after.root @ after.root.mT)[ok], expected[ok], rtol=1e-2, atol=1e-6)


def test_negative_control_a_pooled_head_does_not_turn(batch):
    """Images alone do not say how the cameras stand: its ellipsoids stay as they are while the world turns."""
    model = network("paper")
    with torch.no_grad():
        model.rho[-1].weight.mul_(50)  # type: ignore[union-attr, operator]  ellipsoids that are not round
    _, changed = turned(batch)
    before, after = run(model, batch), run(model, batch, **changed)
    torch.testing.assert_close(after.root, before.root)


def test_the_order_of_views_does_not_matter(batch):
    order = [2, 0, 3, 1]
    model = network("fused")
    before = run(model, batch)
    after = run(model, batch, **{key: batch[key][:, order] for key in ("image", "projection", "seen")})
    torch.testing.assert_close(after.xyz, before.xyz, rtol=0, atol=1e-5)


@pytest.mark.parametrize("mode", ["fused", "paper"])
def test_a_view_that_is_not_there_has_no_say(batch, mode):
    model = network(mode)
    seen = torch.tensor([[True, True, True, False]] * 3)
    noise = torch.cat([batch["image"][:, :3], 255 - batch["image"][:, 3:]], dim=1)
    before, after = run(model, batch, seen=seen), run(model, batch, seen=seen, image=noise)
    torch.testing.assert_close(after.xyz, before.xyz)
    torch.testing.assert_close(after.root, before.root)
    other = run(model, batch, image=noise)  # negative control: seen, it has
    assert not torch.allclose(other.xyz, run(model, batch).xyz)


def test_more_views_do_not_take_away_what_all_get_wrong_alike(batch):
    model = network("fused")
    with torch.no_grad():
        model.raw_shared.fill_(-30.0)
    before = run(model, batch)
    with torch.no_grad():
        model.raw_shared[3] = 2.0
    after = run(model, batch)
    grown = (after.root @ after.root.mT - before.root @ before.root.mT)[before.determined[:, 3], 3]
    expected = (model.shared_m()[3].double() ** 2 * torch.eye(3, dtype=torch.float64)).expand_as(grown)
    torch.testing.assert_close(grown, expected, rtol=1e-4, atol=1e-7)
    assert model.shared_m()[3].item() == pytest.approx(0.106, abs=0.001)


def test_inflation_widens_every_ellipsoid_of_its_joint(batch):
    model = network("fused")
    with torch.no_grad():
        model.raw_shared.fill_(-30.0)
    before = run(model, batch)
    with torch.no_grad():
        model.raw_inflation[4] = 5.0
    after = run(model, batch)
    ok = before.determined[:, 4]
    ratio = (after.root @ after.root.mT / (before.root @ before.root.mT))[:, 4][ok]
    torch.testing.assert_close(ratio, torch.full_like(ratio, model.inflation()[4].item()), rtol=1e-3, atol=0)
    torch.testing.assert_close(after.root[:, 5], before.root[:, 5])
    assert model.inflation()[4] > 5 and model.inflation()[5].item() == pytest.approx(1.0)


def test_views_that_are_wrong_together_count_as_fewer(batch):
    """n views of errors that correlate by ρ: (1 + ρ (n − 1)) times the covariance of independent ones."""
    model = network("fused")
    with torch.no_grad():
        model.raw_shared.fill_(-30.0)
        model.raw_correlation.fill_(-30.0)
    four, two = run(model, batch), run(model, batch, seen=torch.tensor([[True, True, False, False]] * 3))
    with torch.no_grad():
        model.raw_correlation.fill_(0.0)  # ρ = 0.5
    for before, seen, factor in ((four, batch["seen"], 2.5), (two, torch.tensor([[1, 1, 0, 0]] * 3).bool(), 1.5)):
        after = run(model, batch, seen=seen)
        ok = before.determined
        ratio = torch.linalg.det(after.root[ok]) / torch.linalg.det(before.root[ok])
        torch.testing.assert_close(ratio, torch.full_like(ratio, factor**1.5), rtol=1e-3, atol=0)
    assert (four.nu == two.nu).all()  # what views share has the same tails whatever their number


def test_views_that_contradict_each_other_widen_the_ellipsoid(batch):
    """Keypoints of 3 px, one view off by 20: what its covariance does not explain is doubt about the joint."""
    model = network("fused")
    P = batch["projection"]
    xy = project_points(P.double(), batch["xyz"].double())[0]
    factor, nu = 3.0 * torch.eye(2).double().expand(*xy.shape, 2), torch.full((29,), 5.0)
    factors = []
    for shift in (0.0, 20.0):
        moved = xy.clone()
        moved[:, 1, :, 0] += shift
        start = linear_points(P, moved, batch["seen"], batch["centre"])
        points = refined_points(start, P, moved, factor, nu, batch["seen"])
        factors.append(model.wider(points, batch["seen"].sum(dim=1, keepdim=True)).detach())
    expected = model.inflation() * (1 + 3 * model.correlation()) * model.prior_freedom() / (model.prior_freedom() + 5)
    torch.testing.assert_close(factors[0], expected.double().expand(3, 29), rtol=1e-4, atol=0)  # residuals of nothing
    assert (factors[1] > 1.5 * factors[0]).float().mean() > 0.95


def test_an_unknown_mode_is_refused():
    with pytest.raises(InputError, match="mode = 'fusd'; did you mean 'fused'"):
        SpatialSettings(mode="fusd")
