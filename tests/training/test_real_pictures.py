"""Whole pictures of real people: boxes lie around what the masks show, who is hardly seen has none."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from inference.errors import InputError
from inference.layouts import layout
from training.data.real_people import RealCrop, save_crops
from training.real_pictures import real_pictures
from training.sources import DataSettings, person_source

SIZE = (192, 256)
NAMES = layout("sightline_29").joint_names


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    """A white upright bar on black, cut out exactly, before black backgrounds; and a crop that shows nobody."""
    path = tmp_path_factory.mktemp("real") / "real.safetensors"
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    bar = ((np.abs(x - 90) < 20) & (np.abs(y - 130) < 60)).astype(np.uint8) * 255
    xy = np.full((len(NAMES), 2), 100.0)
    body = RealCrop(np.repeat(bar[..., None], 3, axis=2), bar, xy, np.ones(len(NAMES), bool))
    nobody = RealCrop(body.image, np.zeros_like(bar), xy, body.visible)
    save_crops([body, nobody], np.zeros((2, SIZE[1], SIZE[0], 3), np.uint8), path)
    return path


def test_boxes_lie_around_the_people(crops):
    batch = real_pictures(crops, (160, 160), 3, "sightline_29")(0, 60)
    people = torch.isfinite(batch["boxes"]).all(dim=2)
    assert {int(count) for count in people.sum(dim=1)} == {0, 1, 2, 3}
    alone = people.sum(dim=1) == 1
    light = batch["image"].float().mean(dim=1)
    light = light > 0.5 * light.amax(dim=(1, 2), keepdim=True)
    checked = 0
    for picture, boxes in zip(light[alone], batch["boxes"][alone], strict=True):
        box = boxes[torch.isfinite(boxes).all(dim=1)][0]
        rows, columns = picture.any(dim=1).nonzero()[:, 0], picture.any(dim=0).nonzero()[:, 0]
        seen = torch.stack([columns.min(), rows.min(), columns.max(), rows.max()])
        # Somebody else who is hardly seen may stand at the edge; the soft edge of a mask is a pixel or two.
        checked += bool((seen - box).abs().max() <= 2.5)
    assert checked >= 0.8 * alone.sum() and alone.sum() > 15


def shapes(crops):
    """Height over width of the boxes: 3 of a whole bar, stretched by a fifth at most and turned a little."""
    batch = real_pictures(crops, (160, 160), 3, "sightline_29")(0, 200)
    boxes = batch["boxes"][torch.isfinite(batch["boxes"]).all(dim=2)]
    width, height = (boxes[:, 2:] - boxes[:, :2]).unbind(dim=1)
    return boxes, height / width.clamp(min=1)


def test_who_is_hardly_seen_has_no_box(crops, monkeypatch):
    boxes, shape = shapes(crops)
    assert (boxes >= 0).all() and (boxes <= 159).all()
    whole = (boxes[:, :2] > 0).all(dim=1) & (boxes[:, 2:] < 159).all(dim=1)
    assert whole.sum() > 100 and shape[whole].min() > 1.6 and shape[whole].max() < 3.9
    monkeypatch.setattr("training.real_pictures._SEEN", 0.0)
    everybody, _ = shapes(crops)
    monkeypatch.setattr("training.real_pictures._SEEN", 0.98)
    in_full_view, shape = shapes(crops)
    assert len(in_full_view) + 30 < len(boxes) < len(everybody)
    assert shape.min() > 1.5  # nobody is cut off


def test_samples_are_a_function_of_their_numbers(crops):
    source = real_pictures(crops, (160, 160), 3, "sightline_29")
    whole, part = source(0, 6), source(2, 3)
    assert torch.equal(whole["image"][2:5], part["image"])
    torch.testing.assert_close(whole["boxes"][2:5], part["boxes"], equal_nan=True)


def test_pictures_may_be_larger_than_the_backgrounds(crops):
    batch = real_pictures(crops, (320, 256), 3, "sightline_29")(0, 4)
    assert batch["image"].shape == (4, 3, 256, 320)


def test_training_mixes_them_and_validation_does_not(crops):
    plain = DataSettings(source="stick_figures", size=(96, 128))
    settings = dataclasses.replace(plain, real=str(crops), real_share=0.9, real_origin="O")
    mixed = person_source(settings, 1)(0, 20)["image"]
    real = real_pictures(crops, (96, 128), 1, "sightline_29")(0, 18)["image"]
    assert all(any(torch.equal(picture, each) for each in mixed) for picture in real)
    held_out = person_source(settings, 1, held_out=True)(0, 20)["image"]
    assert torch.equal(held_out, person_source(plain, 1, held_out=True)(0, 20)["image"])


def test_a_missing_file_is_one_line(crops):
    with pytest.raises(InputError, match=r"training\.data\.real_people"):
        real_pictures(crops.with_name("nothing"), (96, 128), 3, "sightline_29")
