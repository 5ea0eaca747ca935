"""Listing models, and adding one's own."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from inference.errors import ModelError
from inference.perception.card import find_card, sha256_of
from inference.perception.manage import add_model, list_models, remove_model

onnx = pytest.importorskip("onnx", reason="makes the networks of these tests")

CARD = """# my own network
name = "{name}"
kind = "boxes"
file   = 'end2end.onnx'  # as published
sha256 = "{sha256}"
licence = "MIT"
provenance = "made for this test"
[input]
name = "{input}"
size = [8, 8]
[outputs]
boxes = "{boxes}"
scores = "scores"
"""


def write_card(folder: Path, name: str = "mine", value: float = 1.0, **changes: str) -> Path:
    """A card and its network ``end2end.onnx``, which gives a constant."""
    importlib.import_module("onnx.numpy_helper")
    folder.mkdir(parents=True, exist_ok=True)
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("Constant", [], [output], value=helper.make_tensor(f"{output}_value", kind, [1], [value]))
        for output in ("boxes", "scores")
    ]
    image = helper.make_tensor_value_info("image", kind, [1, 3, 8, 8])
    outputs = [helper.make_tensor_value_info(output, kind, [1]) for output in ("boxes", "scores")]
    graph = helper.make_graph(nodes, "constant", [image], outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    network = folder / "end2end.onnx"
    network.write_bytes(model.SerializeToString())
    values = {"name": name, "sha256": sha256_of(network), "input": "image", "boxes": "boxes", **changes}
    card = folder / "card.toml"
    card.write_text(CARD.format(**values))
    return card


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's models folder, not there yet."""
    folder = tmp_path / "models"
    monkeypatch.setenv("SIGHTLINE_MODELS", str(folder))
    return folder


def test_added_models_keep_apart_though_their_networks_have_one_name(tmp_path: Path, models: Path) -> None:
    first = add_model(write_card(tmp_path / "a", "first", 1.0))
    second = add_model(write_card(tmp_path / "b", "second", 2.0))
    assert sorted(p.name for p in models.iterdir()) == ["first.onnx", "first.toml", "second.onnx", "second.toml"]
    assert first.sha256 != second.sha256
    assert find_card("first").path == models / "first.onnx"
    assert "# my own network" in (models / "first.toml").read_text()


def test_adding_again_replaces(tmp_path: Path, models: Path) -> None:
    add_model(write_card(tmp_path / "a", value=1.0))
    changed = add_model(write_card(tmp_path / "a", value=2.0))
    assert find_card("mine").sha256 == changed.sha256


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": "0" * 64}, "sha256"),
        ({"name": "blazepose"}, "'blazepose' belongs to a pack"),
        ({"name": "../outside"}, "becomes a file name"),
        ({"input": "picture"}, "no input 'picture'; it has: image"),
        ({"boxes": "dets"}, r"no output 'dets' \(boxes\); it has: boxes, scores"),
    ],
)
def test_wrong_card_is_refused_and_nothing_copied(tmp_path: Path, models: Path, changes, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        add_model(write_card(tmp_path / "a", **changes))
    assert "\n" not in str(caught.value)
    assert not models.exists()


def test_card_without_its_network_or_with_a_broken_one_is_refused(tmp_path: Path, models: Path) -> None:
    card = write_card(tmp_path / "a")
    network = tmp_path / "a" / "end2end.onnx"
    old = sha256_of(network)
    network.write_bytes(b"no network")
    card.write_text(card.read_text().replace(old, sha256_of(network)))
    with pytest.raises(ModelError, match="cannot load"):
        add_model(card)
    network.unlink()
    with pytest.raises(ModelError, match="missing"):
        add_model(card)
    assert not models.exists()


def test_file_key_must_be_found(tmp_path: Path, models: Path) -> None:
    card = write_card(tmp_path / "a")
    card.write_text(card.read_text().replace("file   =", '"file" ='))
    with pytest.raises(ModelError, match="'file' as a line of its own"):
        add_model(card)
    assert not models.exists()


def test_list_names_every_card_with_its_state(tmp_path: Path, models: Path) -> None:
    add_model(write_card(tmp_path / "a", "mine"))
    (models / "broken.toml").write_text("name = ")
    entries = {entry.name: entry for entry in list_models()}
    assert entries["mine"].ready
    assert (entries["mine"].kind, entries["mine"].licence) == ("boxes", "MIT")
    assert not entries["broken"].ready
    assert "not valid TOML" in entries["broken"].state
    assert not entries["blazepose"].ready
    assert "fetch" in entries["blazepose"].state
    assert list(entries) == sorted(entries)


def test_an_own_model_says_where_it_comes_from_and_can_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGHTLINE_MODELS", str(tmp_path / "models"))
    card = write_card(tmp_path / "download")
    card.write_text(card.read_text() + "[accuracy]\nwithin_5_px = 0.92\n")
    add_model(card)
    (mine,) = [model for model in list_models() if model.name == "mine"]
    assert (mine.origin, mine.provenance, mine.accuracy) == ("own", "made for this test", {"within_5_px": 0.92})
    remove_model("mine")
    assert list((tmp_path / "models").iterdir()) == []
    assert all(model.origin != "own" for model in list_models())


@pytest.mark.parametrize(
    ("name", "message"),
    [("blazepose", "belongs to Sightline"), ("nosuch", "no model of your own"), ("../mine", "no model of your own")],
)
def test_only_own_models_are_removed(name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_MODELS", str(tmp_path / "models"))
    add_model(write_card(tmp_path / "download"))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ModelError, match=message):
        remove_model(name)
    assert sorted(tmp_path.rglob("*")) == before
