"""Calibration of spatial uncertainty: it finds what errors were drawn with, for any number of views."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from training import calibrate_spatial
from training.calibrate_spatial import calibrate, located, truth_loss, with_learned
from training.multi_view import Rig, multi_view_samples
from training.networks.spatial import SpatialNetwork, SpatialSettings
from training.stick_figures import solid_poses
from training.trainer.checkpoint import FILE, Checkpoint, write_checkpoint
from training.triangulation import Points

N, J = 1500, 2


def network() -> SpatialNetwork:
    torch.manual_seed(1)
    return SpatialNetwork(SpatialSettings(channels=(8, 16), blocks=(1, 1)), J, (64, 64), 3)


@pytest.fixture(scope="module")
def drawn():
    """Points of 2 to 8 views whose errors share half of their variance, and 10 mm of which no view takes any away.

    Each view alone is worth 40 mm; residuals say nothing (deviance = freedom).
    """
    rng = np.random.default_rng(2)
    count = torch.from_numpy(rng.integers(2, 9, (N, 1)))
    n = count.numpy()[:, :, None].astype(float)
    independent = 0.04**2 / n
    variance = independent * (1 + 0.5 * (n - 1)) + 0.01**2
    error = np.sqrt(variance) * rng.standard_normal((N, J, 3)) * np.sqrt(9 / rng.chisquare(9, (N, J, 1)))
    matrix = torch.from_numpy(independent)[..., None] * torch.eye(3).double().expand(N, J, 3, 3)
    freedom = (2.0 * count - 3).clamp(min=1).double().expand(N, J)
    truth = torch.zeros(N, J, 3).double()
    points = Points(truth + torch.from_numpy(error), matrix, freedom, freedom, torch.ones(N, J).bool())
    return points, truth, count


def inside(model: SpatialNetwork, drawn, views: int) -> float:
    """Share of errors in the 50 % ellipsoid."""
    points, truth, count = drawn
    some = count[:, 0] == views
    with torch.no_grad():
        xyz, root, nu, _ = model.stated(Points(*(part[some] for part in points)), count[some])
        white = torch.linalg.solve_triangular(root, (truth[some] - xyz)[..., None], upper=False)[..., 0]
        return float((stats.f.cdf(white.square().sum(-1) / 3, 3, nu) < 0.5).mean())


def test_few_and_many_views_are_true_at_once(drawn):
    model = network()
    before = inside(model, drawn, 2), inside(model, drawn, 8)
    calibrate(model, *drawn, steps=200)
    after = inside(model, drawn, 2), inside(model, drawn, 8)
    assert abs(after[0] - 0.5) < 0.06 and abs(after[1] - 0.5) < 0.06  # 2 standard errors of 400 draws: 0.05
    assert abs(before[1] - 0.5) > 0.15
    with torch.no_grad():  # negative control: independent views cannot be true for both
        model.raw_correlation.fill_(-30.0)
        model.raw_shared.fill_(-30.0)
    assert inside(model, drawn, 2) - inside(model, drawn, 8) > 0.15


def test_the_likelihood_is_scipys_weighed_by_the_number_of_views(drawn):
    points, truth, count = drawn
    model, few = network(), Points(*(part[:40] for part in points))
    xyz, root, nu, _ = model.stated(few, count[:40])
    total = weights = 0.0
    for i in range(40):
        for j in range(J):
            scale = (root[i, j] @ root[i, j].T).detach().numpy()
            error = (truth[i, j] - xyz[i, j]).numpy()
            weight = 1 / (count[i].item() - 1)
            total -= weight * stats.multivariate_t(np.zeros(3), scale, nu[i, j].item()).logpdf(error)
            weights += weight
    assert truth_loss(model, few, truth[:40], count[:40]).item() == pytest.approx(total / weights)
    nowhere = few._replace(good=torch.zeros(40, J).bool())
    assert truth_loss(model, nowhere, truth[:40], count[:40]).item() == 0


def test_points_are_those_of_the_network_and_only_five_things_change(tmp_path):
    torch.manual_seed(1)
    model = SpatialNetwork(SpatialSettings(channels=(8, 16), blocks=(1, 1)), 29, (64, 64), 3).eval()
    source = multi_view_samples(solid_poses(8, 1), Rig("random", 4), (64, 64), seed=3)
    points, truth, count = located(model, source, 6, size=4)
    batch = source(0, 6)
    with torch.no_grad():
        whole = model(batch["image"].float() / 255, batch["projection"], batch["seen"], batch["centre"])
        xyz, root, _, determined = model.stated(points, count)
    assert torch.equal(determined, whole.determined) and torch.equal(truth, batch["xyz"].double())
    torch.testing.assert_close(xyz, whole.xyz, rtol=0, atol=1e-5)  # float32, batches of other sizes
    torch.testing.assert_close(root, whole.root, rtol=1e-3, atol=1e-5)
    state = model.state_dict()
    tensors = {f"{part}/{name}": value.clone() for part in ("model", "ema") for name, value in state.items()}
    before = Checkpoint(tensors, {"step": 3})
    calibrate(model, points, truth, count, steps=3)
    after = with_learned(before, model)
    changed = {key for key, value in after.tensors.items() if not torch.equal(value, before.tensors[key])}
    assert changed == {f"{part}/{name}" for part in ("model", "ema") for name in calibrate_spatial.LEARNED}
    assert after.facts == {"step": 3, "calibrated": True}


def test_wrong_runs_are_one_line(tmp_path, capsys):
    assert calibrate_spatial.main([str(tmp_path / "none"), "--out", str(tmp_path / "a")]) == 2
    assert "no checkpoint" in capsys.readouterr().err
    write_checkpoint(tmp_path / "b" / FILE, Checkpoint({"model/x": torch.zeros(1)}, {"step": 1}))
    assert calibrate_spatial.main([str(tmp_path), "--out", str(tmp_path / "b")]) == 2
    assert "holds a run already" in capsys.readouterr().err
