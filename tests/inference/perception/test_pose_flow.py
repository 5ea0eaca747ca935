"""The shipped flow's loader: what is no flow, or one of other joints, is one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from inference.errors import ModelError
from inference.perception.card import find_card, read_card
from inference.perception.pose_flow import PoseFlow, load_flow


def card_of(folder: Path, old: str, new: str) -> Path:
    """The shipped flow's card and network in a folder, one line changed."""
    shipped = find_card("sightline_flow").path
    shutil.copy(shipped, folder / shipped.name)
    text = shipped.with_suffix(".toml").read_text()
    assert old in text
    card = folder / "mine.toml"
    card.write_text(text.replace(old, new))
    return card


def test_a_flow_over_other_joints_is_refused_by_name(tmp_path: Path) -> None:
    card = read_card(card_of(tmp_path, 'layout = "sightline_29"', 'layout = "coco_17"'))
    with pytest.raises(ModelError, match="'coco_17', which lack neck, head_top, left_heel") as found:
        PoseFlow(card)
    assert "\n" not in str(found.value)


def test_another_kind_of_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is of kind 'heatmap'|is of kind 'regression'"):
        PoseFlow(find_card("sightline_s"))


def test_the_shipped_flow_has_a_prior_over_its_joints() -> None:
    flow = load_flow("sightline_flow")
    j = len(flow.joint_names)
    assert flow.prior.mean.shape == (3 * j,) and j == 29
    np.testing.assert_allclose(flow.prior.patterns @ flow.prior.patterns.T, np.eye(j), atol=1e-4)
