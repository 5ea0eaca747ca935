import dataclasses

import numpy as np
import pytest
import torch

from inference.errors import InputError
from inference.perception.flow import PosePrior
from training.export_flow import export
from training.networks.flow import FlowSettings, PoseFlow
from training.pose_views import Seen, camera_prior, pose_views, stick_poses, whitened

SMALL = FlowSettings(couplings=4, hidden=16, context=8, encoder=16)
NOISE_M = 0.01


@pytest.fixture(scope="module")
def prior() -> PosePrior:
    return camera_prior(stick_poses(64, 1), NOISE_M, count=1000)


@pytest.fixture
def flow(prior: PosePrior) -> PoseFlow:
    torch.manual_seed(1)
    model = PoseFlow(SMALL, 29)
    for parameter in model.parameters():  # heads begin at zero: a flow that has learned nothing hides mistakes
        torch.nn.init.normal_(parameter, std=0.05)
    model.set_prior(prior)
    return model.double()


def seen(views: int = 0) -> Seen:
    return pose_views(stick_poses(8, 1), 2, views, NOISE_M)(0, 3)


def test_samples_flow_back_to_their_numbers_through_the_library(flow: PoseFlow, prior: PosePrior) -> None:
    features = whitened(seen(), prior)["features"].double()
    z = torch.randn(3, 4, 87, dtype=torch.float64)
    u = flow.sample(features, z)
    shift, factor, context = flow.condition(features)
    for s in range(4):
        apart = u[:, s] - shift
        v = torch.linalg.solve_triangular(factor, apart[:, -29:, None], upper=False)[..., 0]
        assert torch.allclose(flow.depth(context).transform(v), z[:, s, -29:], atol=1e-9)
        rest = flow.rest(torch.cat([context, v], dim=-1))
        assert torch.allclose(rest(apart[:, :-29]), z[:, s, :-29], atol=1e-9)


def test_density_is_that_of_the_samples_by_the_full_jacobian(flow: PoseFlow, prior: PosePrior) -> None:
    features = whitened(seen(), prior)["features"][:1].double()
    z = torch.randn(1, 1, 87, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda n: flow.sample(features, n).flatten(), z).reshape(87, 87)
    expected = -0.5 * (z**2).sum() - 43.5 * np.log(2 * np.pi) - torch.linalg.slogdet(jacobian)[1]
    found = flow(features, flow.sample(features, z)[:, 0])
    assert found.item() == pytest.approx(expected.item(), abs=1e-6)
    # Negative control: without the depth patterns' factor the density is another one.
    volume = flow.condition(features)[1].diagonal(dim1=-2, dim2=-1).log().sum()
    assert abs(volume.item()) > 1e-3


def test_temperature_widens_the_samples(flow: PoseFlow, prior: PosePrior) -> None:
    features = whitened(seen(), prior)["features"].double()
    z = torch.randn(3, 64, 87, dtype=torch.float64)
    before = flow.sample(features, z).std(dim=1)
    flow.get_buffer("temperature")[0] = 1.5
    after = flow.sample(features, z).std(dim=1)
    assert (after[:, -29:] > 1.2 * before[:, -29:]).all()


def test_without_couplings_it_is_gaussian(prior: PosePrior) -> None:
    torch.manual_seed(1)
    model = PoseFlow(dataclasses.replace(SMALL, couplings=0), 29).double()
    features = whitened(seen(), prior)["features"].double()
    z = torch.randn(3, 2, 87, dtype=torch.float64)
    middle = model.sample(features, torch.zeros_like(z))
    assert torch.allclose(model.sample(features, 2 * z) - middle, 2 * (model.sample(features, z) - middle))


def test_exported_sampler_gives_the_same_poses(flow: PoseFlow, tmp_path) -> None:
    assert export(flow.float().eval(), tmp_path / "flow.onnx") < 1e-4


def test_senseless_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="bins"):
        dataclasses.replace(SMALL, hidden=0)
