import dataclasses

import numpy as np
import pytest
import torch

from inference.errors import InputError
from inference.perception.flow import PRIOR_SIGMA_M, fused_views
from training.export_flow import export
from training.networks.flow import FlowSettings, PoseFlow
from training.pose_views import pose_views, stick_poses

SMALL = FlowSettings(couplings=4, hidden=16, context=8, encoder=16)


@pytest.fixture
def flow() -> PoseFlow:
    torch.manual_seed(1)
    return PoseFlow(SMALL, 29).double()


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    return {key: value.double() for key, value in pose_views(stick_poses(8, 1), seed=2)(0, 3).items()}


def test_our_inverse_is_the_library_s(flow: PoseFlow, batch: dict[str, torch.Tensor]) -> None:
    mean, factor = batch["mean"], batch["factor"]
    z = torch.randn(3, 4, 87, dtype=torch.float64)
    poses = flow.sample(mean, factor, z)
    context = flow.context(mean, factor)[:, None].expand(-1, 4, -1)
    r = torch.linalg.solve_triangular(factor[:, None], (poses - mean[:, None])[..., None], upper=False)[..., 0]
    back = flow.flow(context).transform(r.flatten(2))
    assert torch.allclose(back, z, atol=1e-9)


def test_density_is_that_of_the_samples_by_the_full_jacobian(flow: PoseFlow, batch: dict[str, torch.Tensor]) -> None:
    mean, factor = batch["mean"][:1], batch["factor"][:1]
    z = torch.randn(1, 1, 87, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda v: flow.sample(mean, factor, v).flatten(), z).reshape(87, 87)
    expected = -0.5 * (z**2).sum() - 43.5 * np.log(2 * np.pi) - torch.linalg.slogdet(jacobian)[1]
    found = flow(mean, factor, flow.sample(mean, factor, z)[:, 0])
    assert found.item() == pytest.approx(expected.item(), abs=1e-6)
    # Negative control: without the volume of the condition's units the density is another one.
    assert abs((found + factor.diagonal(dim1=-2, dim2=-1).log().sum()).item() - expected.item()) > 1


def test_exported_sampler_gives_the_same_poses(flow: PoseFlow, tmp_path) -> None:
    assert export(flow.float().eval(), tmp_path / "flow.onnx") < 1e-4


def test_unseen_joints_keep_the_prior_and_more_views_narrow() -> None:
    one, four = (pose_views(stick_poses(8, 1), seed=2, views=views)(0, 8) for views in (1, 4))
    volume = [batch["factor"].diagonal(dim1=-2, dim2=-1).log().sum(-1).mean() for batch in (one, four)]
    assert volume[1] < volume[0] - 1
    nothing = np.full((1, 1, 2, 2), np.nan)
    mean, factor = fused_views(nothing, np.full((1, 1, 2, 2, 2), np.nan), np.eye(3)[None, None], np.ones((1, 1, 3)))
    assert np.allclose(mean, 0) and np.allclose(factor, PRIOR_SIGMA_M * np.eye(3))


def test_rays_of_two_exact_views_meet_in_the_joint() -> None:
    point, root = np.array([0.1, -0.2, 0.15]), np.array([[0.0, 0, 3], [0, 0, 4]])
    rotation = np.stack([np.eye(3), [[0.0, 0, -1], [0, 1, 0], [1, 0, 0]]])
    camera = np.einsum("vij,j->vi", rotation, point) + root
    uv = (camera[:, :2] / camera[:, 2:])[None, :, None]
    covariance = np.broadcast_to(1e-8 * np.eye(2), (1, 2, 1, 2, 2))
    mean, _ = fused_views(uv, covariance, rotation[None], root[None])
    assert np.allclose(mean[0, 0], point, atol=1e-3)


def test_samples_depend_on_their_number_alone() -> None:
    source = pose_views(stick_poses(8, 1), seed=2)
    assert torch.equal(source(0, 4)["mean"][2:], source(2, 2)["mean"])


def test_senseless_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="widths"):
        dataclasses.replace(SMALL, hidden=0)
