"""Changed pictures: the boxes follow what they show."""

from __future__ import annotations

import pytest
import torch

from inference.errors import InputError
from training.picture_augmentation import PictureAugmentationSettings, boxes_in_picture, changed

PLAIN = PictureAugmentationSettings(mirror=0, zoom=0, shift=0, colour=0)


def bright(count: int) -> dict[str, torch.Tensor]:
    """White rectangles on black, each with its box; a second person is nowhere."""
    image = torch.zeros(count, 3, 80, 120, dtype=torch.uint8)
    image[:, :, 30:50, 40:70] = 255
    boxes = torch.tensor([[[40.0, 30, 69, 49], [torch.nan] * 4]]).repeat(count, 1, 1)
    return {"image": image, "boxes": boxes}


def test_boxes_follow_the_picture():
    batch = changed(bright(40), PictureAugmentationSettings(colour=0), 3, 0)
    assert torch.isnan(batch["boxes"][:, 1]).all()
    light = batch["image"].float().mean(dim=1) > 127
    seen = []
    for picture in light:
        rows, columns = picture.any(dim=1).nonzero()[:, 0], picture.any(dim=0).nonzero()[:, 0]
        seen.append(torch.stack([columns.min(), rows.min(), columns.max(), rows.max()]).float())
    away = (torch.stack(seen) - batch["boxes"][:, 0]).abs()
    assert away.max() <= 1.0
    middle = (batch["boxes"][:, 0, 0] + batch["boxes"][:, 0, 2]) / 2
    assert (middle < 50).any() and (middle > 65).any()  # some are mirrored


def test_nothing_changes_where_all_is_off():
    batch, same = bright(3), changed(bright(3), PLAIN, 3, 0)
    assert torch.equal(batch["image"], same["image"])
    torch.testing.assert_close(batch["boxes"], same["boxes"], equal_nan=True)


def test_changes_belong_to_a_picture():
    whole, part = changed(bright(6), PictureAugmentationSettings(), 3, 0), bright(2)
    torch.testing.assert_close(changed(part, PictureAugmentationSettings(), 3, 4)["image"], whole["image"][4:])
    assert not torch.equal(whole["image"][0], whole["image"][1])


def test_who_leaves_the_picture_has_no_box():
    boxes = torch.tensor([[-10.0, 0, 10, 20], [-18, 0, 2, 20], [5, 5, 15, 15]])
    cut = boxes_in_picture(boxes, (100, 50))
    torch.testing.assert_close(cut[0], torch.tensor([0.0, 0, 10, 20]))
    assert torch.isnan(cut[1]).all() and torch.equal(cut[2], boxes[2])


def test_senseless_settings_are_named():
    with pytest.raises(InputError, match=r"\[augmentation\]: zoom = 2.0 must lie in 0 … 1"):
        PictureAugmentationSettings(zoom=2.0)
