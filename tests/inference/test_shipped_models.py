"""The models that we ship ourselves: their cards are true, they stay small, and BlazePose stays the default."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import inference
from inference.config import DetectionSettings
from inference.errors import ModelError
from inference.perception.card import read_card
from inference.perception.manage import add_model, list_models, remove_model

FOLDER = Path(inference.__file__).parent / "models"
CARDS = [FOLDER / "sightline_s.toml"]
_MIB = 2**20


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_the_card_is_whole_and_honest(path):
    """The hash is checked on reading; what it says beside BlazePose follows from its own figures."""
    card = read_card(path, folders=())
    assert card.licence == "GPL-3.0-or-later" and "commit" in card.provenance
    accuracy = card.accuracy
    for key in ("held_out_pck_02", "held_out_coverage_50", "held_out_coverage_95", "held_out_change_of_pck_02"):
        assert np.isfinite(accuracy[key])
    judged = [key.removesuffix("_measured") for key in accuracy if key.endswith("_measured")]
    assert len(judged) >= 2
    for name in judged:
        ours, theirs = accuracy[f"{name}_pck_02"], accuracy[f"{name}_pck_02_of_blazepose"]
        assert f"{'better' if ours > theirs else 'worse'} than blazepose" in accuracy[f"{name}_measured"]
    if all(accuracy[f"{name}_pck_02"] < accuracy[f"{name}_pck_02_of_blazepose"] for name in judged):
        assert DetectionSettings().detector == "blazepose"


def test_they_are_small_enough_for_the_repository():
    files = [path for card in CARDS for path in FOLDER.glob(f"{card.stem}.*")]
    assert {path.suffix for path in files} == {".toml", ".onnx", ".safetensors"}
    assert sum(path.stat().st_size for path in files) < 8 * _MIB


def test_the_list_shows_them_as_carried():
    models = {model.name: model for model in list_models()}
    assert models["sightline_s"].ready and models["sightline_s"].origin == "bundled"
    assert "coco_pck_02" in models["sightline_s"].accuracy


def test_they_cannot_be_hidden_or_removed(tmp_path, monkeypatch):
    monkeypatch.setenv("SIGHTLINE_MODELS", str(tmp_path))
    with pytest.raises(ModelError, match="Sightline carries a model 'sightline_s'; give yours another name"):
        add_model(CARDS[0])
    with pytest.raises(ModelError, match="belongs to Sightline"):
        remove_model("sightline_s")
    assert list(tmp_path.iterdir()) == []
