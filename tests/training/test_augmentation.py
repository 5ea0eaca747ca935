"""Changed crops: the keypoints stay on what they were on."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from inference.layouts import layout, mirrored
from training.augmentation import AugmentationSettings, augmented

NAMES = layout("sightline_29").joint_names
STILL = AugmentationSettings(turn_deg=0, scale=0, shift=0, mirror=0, colour=0, noise=0, blur=0, cover=0)


def dots(count: int) -> dict[str, torch.Tensor]:
    """Crops with one soft bright dot, which all joints are on."""
    generator = torch.Generator().manual_seed(4)
    xy = torch.tensor([30.0, 40.0]) + 30 * torch.rand(count, 1, 2, generator=generator)
    y, x = torch.meshgrid(torch.arange(128), torch.arange(96), indexing="ij")
    away = (x - xy[:, 0, 0, None, None]) ** 2 + (y - xy[:, 0, 1, None, None]) ** 2
    image = (255 * torch.exp(-away / (2 * 3.0**2))).byte()[:, None].repeat(1, 3, 1, 1)
    there = torch.ones(count, 29, dtype=torch.bool)
    return {"image": image, "xy": xy.repeat(1, 29, 1), "inside": there, "visible": there}


def centre_of_light(image: torch.Tensor) -> np.ndarray:
    light = image.float().mean(dim=1)
    y, x = torch.meshgrid(torch.arange(light.shape[1]), torch.arange(light.shape[2]), indexing="ij")
    total = light.sum(dim=(1, 2))
    return torch.stack([(light * x).sum((1, 2)) / total, (light * y).sum((1, 2)) / total], dim=-1).numpy()


def test_nothing_asked_nothing_changed():
    batch = dots(3)
    changed = augmented(batch, NAMES, STILL, 1, 0)
    assert (changed["image"].int() - batch["image"].int()).abs().max() <= 1
    torch.testing.assert_close(changed["xy"], batch["xy"])


def test_turned_scaled_shifted_and_mirrored_dots_are_where_the_keypoints_say():
    """24 crops; the centre of the light is found to a tenth of a pixel."""
    settings = dataclasses.replace(STILL, turn_deg=30, scale=0.15, shift=0.06, mirror=0.5)
    changed = augmented(dots(24), NAMES, settings, 7, 100)
    np.testing.assert_allclose(centre_of_light(changed["image"]), changed["xy"][:, 0].numpy(), atol=0.1)


def test_mirroring_changes_names_too():
    batch = dots(2)
    batch["xy"] = batch["xy"] + torch.arange(29)[None, :, None]
    changed = augmented(batch, NAMES, dataclasses.replace(STILL, mirror=1.0), 1, 0)
    left, right = NAMES.index("left_wrist"), NAMES.index(mirrored("left_wrist"))
    torch.testing.assert_close(changed["xy"][:, left, 0], 95 - batch["xy"][:, right, 0])
    torch.testing.assert_close(changed["xy"][:, left, 1], batch["xy"][:, right, 1])


def test_what_leaves_the_crop_or_is_covered_is_not_seen():
    away = augmented(dots(64), NAMES, dataclasses.replace(STILL, shift=1.0), 2, 0)
    outside = (away["xy"] < -0.5).any(-1) | (away["xy"][..., 0] > 95.5) | (away["xy"][..., 1] > 127.5)
    assert outside.any() and torch.equal(away["inside"], ~outside)
    covered = augmented(dots(64), NAMES, dataclasses.replace(STILL, cover=1.0), 2, 0)
    hidden = ~covered["visible"][:, 0]
    assert hidden.any() and covered["inside"].all()
    at = covered["xy"][:, 0].round().long()
    light = covered["image"].float().mean(1)[torch.arange(64), at[:, 1], at[:, 0]]
    assert light[~hidden].min() > 230  # the dot itself


def test_a_sample_is_changed_the_same_in_any_company():
    settings = AugmentationSettings()
    batch = dots(8)
    whole = augmented(batch, NAMES, settings, 3, 40)
    part = augmented({key: value[5:7] for key, value in batch.items()}, NAMES, settings, 3, 45)
    assert torch.equal(whole["image"][5:7], part["image"])
    other = augmented({key: value[5:7] for key, value in batch.items()}, NAMES, settings, 4, 45)
    assert not torch.equal(part["image"], other["image"])
