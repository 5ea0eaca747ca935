"""Simulated multi-view sets: pictures, projections and labels belong together."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from inference.errors import InputError
from training.multi_view import JOINT_NAMES, LABELLERS_PX, Rig, multi_view_samples
from training.stick_figures import solid_poses
from training.triangulation import linear_points, project_points

NOSE = JOINT_NAMES.index("nose")


@pytest.fixture(scope="module")
def batch():
    return multi_view_samples(solid_poses(64, 1), Rig("ring", 4), (96, 96), seed=3)(0, 24)


def test_a_sample_does_not_depend_on_its_company(batch):
    alone = multi_view_samples(solid_poses(64, 1), Rig("ring", 4), (96, 96), seed=3)(7, 1)
    for key, value in alone.items():
        torch.testing.assert_close(value[0], batch[key][7], equal_nan=True, rtol=1e-5, atol=1e-5)


def test_the_nose_is_painted_where_it_projects(batch):
    """The middle of the yellow pixels (red and green, no blue) is the projected nose within 0.4 px on the median."""
    image = batch["image"].float()
    yellow = (image[:, :, :2].amin(dim=2) > 120) & (image[:, :, 2] < 70)
    uv = project_points(batch["projection"], batch["xyz"])[0][:, :, NOSE]
    away = []
    for n, v in np.ndindex(24, 4):
        y, x = torch.nonzero(yellow[n, v], as_tuple=True)
        near = ((x - uv[n, v, 0]).abs() < 5) & ((y - uv[n, v, 1]).abs() < 5)
        if near.sum() >= 3:
            away.append([(x[near].float().mean() - uv[n, v, 0]).item(), (y[near].float().mean() - uv[n, v, 1]).item()])
    assert len(away) > 12
    assert np.abs(np.median(away, axis=0)).max() < 0.4  # a half pixel of shift would show


def test_people_stand_inside_of_their_crops(batch):
    uv = project_points(batch["projection"], batch["xyz"])[0]
    assert (uv > 0).all() and (uv < 95).all()
    extent = (uv.amax(dim=2) - uv.amin(dim=2)).amax(dim=-1)
    assert (extent > 50).all()


def test_projections_lead_back_to_the_joints(batch):
    uv = project_points(batch["projection"].double(), batch["xyz"].double())[0]
    found = linear_points(batch["projection"].double(), uv, batch["seen"], batch["centre"])
    assert (found.xyz - batch["xyz"]).norm(dim=-1).max() < 1e-3


def test_labellers_have_the_noise_that_they_are_said_to_have(batch):
    """Median of |label - truth| of a bivariate t: scale · sqrt(ν (2^(2/ν) - 1)); within 8 %, 2,600 labels each."""
    uv = project_points(batch["projection"], batch["xyz"])[0]
    away = (batch["labels"] - uv[:, None]).norm(dim=-1)
    for labeller, sigma in enumerate(LABELLERS_PX):
        own = away[:, labeller][torch.isfinite(away[:, labeller])]
        expected = sigma * 96 / 64 * np.sqrt(4 * (2 ** (2 / 4) - 1))
        assert own.median().item() == pytest.approx(expected, rel=0.08)
    missing = torch.isnan(batch["labels"]).any(dim=-1).float().mean().item()
    assert missing == pytest.approx(0.05, abs=0.01)


def test_a_random_rig_has_two_views_or_more_and_no_labels_beyond():
    batch = multi_view_samples(solid_poses(16, 1), Rig("random", 4), (64, 64), seed=3, pictures=False)(0, 40)
    count = batch["seen"].sum(dim=1)
    assert set(count.tolist()) == {2, 3, 4}
    assert torch.isnan(batch["labels"].transpose(1, 2)[~batch["seen"]]).all()


def test_cameras_of_an_antipodal_pair_face_each_other():
    batch = multi_view_samples(solid_poses(4, 1), Rig("antipodal"), (64, 64), seed=3, pictures=False)(0, 2)
    assert "image" not in batch
    forward = batch["projection"][:, :, 2, :3]
    assert (forward[:, 0] * forward[:, 1]).sum(dim=-1).max().item() < -0.9
    assert Rig("antipodal").count == 2 and Rig("room").count == 4 and Rig("ring", 8).count == 8


@pytest.mark.parametrize(
    ("name", "views", "message"), [("antipodl", 4, "did you mean 'antipodal'"), ("ring", 1, "views = 1")]
)
def test_refusals(name, views, message):
    with pytest.raises(InputError, match=message):
        Rig(name, views)
