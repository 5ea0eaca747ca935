"""The keypoint network: sizes, and that positions and spreads are those of its heatmaps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from inference.errors import InputError
from training.losses import gaussian_heatmap
from training.networks.backbone import NetworkSettings
from training.networks.keypoints import KeypointNetwork, ShippedKeypoints
from training.tasks.known import TASKS
from training.trainer.settings import read_config

SMALL = NetworkSettings((8, 8), (1, 1))


def parameters(module: torch.nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


def test_sizes_of_the_shipped_networks(project_root):
    """S about 1.5 million, M about 6 million and at most 16 MiB as float16."""
    for name, low, high in (("detector_s", 1.3e6, 1.7e6), ("detector_m", 5.5e6, 16 * 2**20 / 2)):
        config = read_config(project_root / "training" / "configs" / f"{name}.toml", TASKS)
        task = TASKS["detector"]["keypoints"](config.tables, 1)
        assert low < parameters(task.model()) < high


def test_shapes_and_the_start():
    torch.manual_seed(0)
    network = KeypointNetwork(SMALL, 5, (64, 96)).eval()
    output = network(torch.rand(2, 3, 96, 64))
    assert output.heatmaps.shape == (2, 5, 24, 16)
    torch.testing.assert_close(output.heatmaps.sum(dim=(2, 3)), torch.ones(2, 5))
    assert output.xy.shape == (2, 5, 2) and output.factor.shape == (2, 5, 2, 2)
    torch.testing.assert_close(output.nu, torch.full((5,), 5.0), atol=0.01, rtol=0)
    # Before training the factor is softplus(8) + 0.25 px for every joint.
    torch.testing.assert_close(output.factor[0, 0], 8.2503 * torch.eye(2), atol=1e-3, rtol=0)


def test_the_mean_and_spread_of_a_known_heatmap():
    """A Gaussian at cell (5.25, 7.5) with σ 1, as training asks for, lies at pixel 4 (c + 0.5) - 0.5."""
    network = KeypointNetwork(SMALL, 1, (64, 96))
    maps = gaussian_heatmap(torch.tensor([[[5.25, 7.5]]]), (16, 24), 1.0)
    xy, spread = network._moments(maps)
    np.testing.assert_allclose(xy[0, 0], [4 * 5.75 - 0.5, 4 * 8.0 - 0.5], atol=2e-2)
    np.testing.assert_allclose(spread[0, 0], [1.0, 1.0, 0.0], atol=2e-2)


@pytest.mark.parametrize(("peak", "bias_cells"), [(5.0, -38.5), (10.0, -5.4), (20.0, 0.0)])
def test_the_mean_around_the_peak_has_no_bias_towards_the_centre(peak, bias_cells):
    """Trap of the soft-argmax: a Gaussian logit at x = 90 of 96 cells; the mean of the whole map is the control."""
    along = torch.arange(96.0)
    blob = torch.exp(-((along[:, None] - 48) ** 2 + (along - 90) ** 2) / 8)
    maps = torch.softmax((peak * blob).flatten(), dim=0).reshape(1, 1, 96, 96)
    network = KeypointNetwork(SMALL, 1, (384, 384))
    (x, y), _ = (each[0, 0] for each in network._moments(maps))
    whole = (maps[0, 0].sum(dim=0) * along).sum().item() - 90
    assert whole == pytest.approx(bias_cells, abs=0.1)
    off = ((x.item() + 0.5) / 4 - 0.5 - 90, (y.item() + 0.5) / 4 - 0.5 - 48)
    assert max(abs(each) for each in off) < 0.05 or peak < 10  # so flat a map shows its background in the window
    assert abs(off[0]) < 0.3


@pytest.mark.parametrize("cell", [0, 15])
def test_cells_are_counted_from_zero(cell: int):
    """Sums run over the w cells 0 … w − 1, not to w as the paper writes, also at the edges."""
    maps = torch.zeros((1, 1, 16, 16))
    maps[..., cell, cell] = 1.0
    xy, _ = KeypointNetwork(SMALL, 1, (64, 64))._moments(maps)
    np.testing.assert_allclose(xy[0, 0], [4 * (cell + 0.5) - 0.5] * 2, atol=1e-4)


def test_of_two_likely_places_it_takes_the_likelier_and_says_that_there_are_two():
    """Left or right, 0.6 against 0.4: the mean of the whole map would lie between them."""
    network = KeypointNetwork(SMALL, 1, (64, 96))
    left, right = (gaussian_heatmap(torch.tensor([[[x, 10.0]]]), (16, 24), 1.0) for x in (3.0, 13.0))
    xy, spread = network._moments(0.6 * left + 0.4 * right)
    np.testing.assert_allclose(xy[0, 0], [4 * 3.5 - 0.5, 4 * 10.5 - 0.5], atol=0.05)
    assert spread[0, 0, 0] > 4.5 and spread[0, 0, 1] == pytest.approx(1.0, abs=0.02)


def test_the_covariance_is_the_scale_matrix_times_nu_over_nu_minus_two():
    torch.manual_seed(1)
    network = KeypointNetwork(SMALL, 3, (64, 96)).eval()
    with torch.no_grad():
        network.readout.normal_()
    picture = torch.rand(1, 3, 96, 64)
    xy, covariance, scores = ShippedKeypoints(network)(picture)
    output = network(picture)
    torch.testing.assert_close(
        covariance, output.factor @ output.factor.mT * (output.nu / (output.nu - 2))[:, None, None]
    )
    torch.testing.assert_close(xy, output.xy)
    assert ((scores > 0) & (scores < 1)).all()
    assert covariance[0, 0, 0, 1] != 0


def test_the_network_sees_brightness_as_it_is_shipped():
    """Normalisation is inside: pictures of 0-1 come in, whatever their mean."""
    network = KeypointNetwork(SMALL, 1, (64, 96)).eval()
    dark, bright = network(torch.zeros(1, 3, 96, 64)), network(torch.ones(1, 3, 96, 64))
    assert not torch.equal(dark.heatmaps, bright.heatmaps)


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="must be as many"):
        NetworkSettings((8, 16), (1,))
