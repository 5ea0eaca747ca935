"""Real people as samples: labels follow the picture, what has no label stays without one, the share is kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from inference.errors import InputError
from inference.layouts import layout
from training.data.real_people import RealCrop, agreement, save_crops
from training.real_source import real_samples
from training.sources import DataSettings, keypoint_source, mixed

SIZE = (192, 256)
NAMES = layout("sightline_29").joint_names
MARKED = NAMES.index("left_wrist")


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    """One crop: a white spot at the left wrist on black, the mask a disc around it, the right wrist not labelled."""
    path = tmp_path_factory.mktemp("real") / "real.safetensors"
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    spot = (np.hypot(x - 110, y - 120) < 4).astype(np.uint8) * 255
    alpha = (np.hypot(x - 110, y - 120) < 20).astype(np.uint8) * 255
    xy = np.full((len(NAMES), 2), 100.0)
    xy[MARKED] = 110, 120
    xy[NAMES.index("right_wrist")] = np.nan
    crop = RealCrop(np.repeat(spot[..., None], 3, axis=2), alpha, xy, np.isfinite(xy[:, 0]))
    save_crops([crop], np.zeros((2, SIZE[1], SIZE[0], 3), np.uint8), path)
    return path


def test_the_label_follows_the_picture(crops):
    batch = real_samples(crops, (96, 128), 3, "sightline_29")(0, 40)
    seen = batch["inside"][:, MARKED]
    assert seen.sum() > 30
    rows, columns = torch.meshgrid(torch.arange(128.0), torch.arange(96.0), indexing="ij")
    light = batch["image"].float().mean(dim=1)
    light = (light > 0.6 * light.amax(dim=(1, 2), keepdim=True)).float()
    found = torch.stack([(light * each).sum(dim=(1, 2)) / light.sum(dim=(1, 2)) for each in (columns, rows)], dim=-1)
    away = (found - batch["xy"][:, MARKED]).norm(dim=-1)
    well_inside = ((batch["xy"][:, MARKED] > 6) & (batch["xy"][:, MARKED] < torch.tensor([89.0, 121.0]))).all(dim=-1)
    assert well_inside.sum() > 20 and away[well_inside].max() < 0.7


def test_what_has_no_label_is_neither_inside_nor_visible(crops):
    batch = real_samples(crops, (96, 128), 3, "sightline_29")(5, 8)
    missing = NAMES.index("right_wrist")
    assert torch.isnan(batch["xy"][:, missing]).all()
    assert not batch["inside"][:, missing].any() and not batch["visible"][:, missing].any()


def test_samples_are_a_function_of_their_numbers(crops):
    source = real_samples(crops, (96, 128), 3, "sightline_29")
    whole, part = source(0, 6), source(2, 3)
    assert torch.equal(whole["image"][2:5], part["image"])
    assert not torch.equal(whole["image"][0], whole["image"][1])


def test_two_sources_are_mixed_in_order_and_share():
    def numbered(offset):
        return lambda first, count: {"n": torch.arange(first, first + count) + offset}

    source = mixed(numbered(0), numbered(1000), 0.3)
    whole = source(0, 1000)["n"]
    assert (whole >= 1000).sum() == 300
    assert whole[whole < 1000].tolist() == list(range(700)) and whole[whole >= 1000].tolist() == list(range(1000, 1300))
    torch.testing.assert_close(torch.cat([source(0, 7)["n"], source(7, 13)["n"]]), whole[:20])


def test_the_held_out_samples_hold_no_real_people(crops):
    settings = DataSettings(source="stick_figures", size=(96, 128), real=str(crops), real_share=0.9, real_origin="O")
    held_out = keypoint_source(settings, 1, held_out=True)(0, 10)
    assert torch.isfinite(held_out["xy"]).all()
    trained = keypoint_source(settings, 1)(0, 10)
    assert torch.isnan(trained["xy"]).any(dim=(1, 2)).sum() == 9


def test_files_that_do_not_fit_are_one_line(crops, tmp_path):
    with pytest.raises(InputError, match="has the layout 'sightline_29', the network 'coco_17'"):
        real_samples(crops, (96, 128), 3, "coco_17")
    (tmp_path / "half").write_bytes(crops.read_bytes()[:1000])
    for path in (tmp_path / "half", tmp_path / "nothing"):
        with pytest.raises(InputError, match="training.data.real_people"):
            real_samples(path, (96, 128), 3, "sightline_29")
    with pytest.raises(InputError, match="real_share = 1.0 must lie between 0 and 1"):
        DataSettings(real_share=1.0)
    with pytest.raises(InputError, match="real needs real_origin"):
        DataSettings(real=str(crops), real_origin=" ")


def test_sides_come_from_the_solution_and_places_from_the_picture():
    names = ("left_shoulder", "right_shoulder", "left_hip", "right_hip", "left_wrist", "right_wrist")
    solved = np.array([[60.0, 0], [0, 0], [50, 80], [10, 80], [90, 60], [-30, 60]])
    found = solved + [3.0, -2.0]  # the solution's camera is a little off
    swapped = found[[1, 0, 3, 2, 5, 4]]
    np.testing.assert_array_equal(agreement(swapped, solved, names, names), found)
    wrong = found.copy()
    wrong[4] += 60
    kept = agreement(wrong, solved, names, names)
    assert np.isnan(kept[4]).all() and np.isfinite(np.delete(kept, 4, axis=0)).all()
    assert agreement(found + 200, solved, names, names) is None
    assert agreement(found, np.full_like(solved, np.nan), names, names) is None
