"""Model cards: what is read, and everything that is refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.errors import ModelError
from inference.perception.card import KeypointNoise, find_card, model_folders, read_card, user_model_folder
from tests.inference.perception.tiny_network import constant_network, write_card

FUZZ_CASES = int(os.environ.get("SIGHTLINE_FUZZ", "200"))


@pytest.fixture
def card_file(tmp_path: Path) -> Path:
    constant_network(tmp_path / "tiny.onnx", (48, 64), {"kp": np.zeros((17, 3))})
    return write_card(tmp_path, "tiny", "regression", {"keypoints": "kp"})


def edited(card_file: Path, old: str, new: str) -> Path:
    text = card_file.read_text(encoding="utf-8")
    assert old in text
    card_file.write_text(text.replace(old, new), encoding="utf-8")
    return card_file


def test_a_card_is_read(card_file: Path) -> None:
    card = read_card(card_file)
    assert (card.name, card.kind, card.layout) == ("tiny", "regression", "coco_17")
    assert card.path == card_file.parent / "tiny.onnx"
    assert card.input.size == (48, 64)
    assert card.input.order == "NCHW"
    assert card.outputs == {"keypoints": "kp", "unit": "px"}
    assert card.summary()["licence"] == "CC0-1.0"


def test_every_card_of_the_source_tree_has_valid_keys() -> None:
    """Our own cards fail at most because their network was not fetched."""
    cards = sorted(model_folders()[0].glob("*.toml"))
    assert cards
    for path in cards:
        try:
            read_card(path)
        except ModelError as error:
            assert "is missing" in str(error)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("licence =", "license =", "unknown key 'license'; did you mean 'licence'"),
        ('licence = "CC0-1.0"\n', "", "missing licence"),
        ('licence = "CC0-1.0"', "licence = 1", "licence must be a text"),
        ('"regression"', '"regresion"', "unknown kind 'regresion'; did you mean 'regression'"),
        ('"coco_17"', '"coco"', "unknown layout 'coco'"),
        ('person_detector = "tiny_boxes"\n', "", "missing person_detector"),
        ("keypoints =", "keypoint =", r"\[outputs\]: unknown key 'keypoint'; did you mean 'keypoints'"),
        ('keypoints = "kp"', "", r"\[outputs\]: missing keypoints"),
        ('keypoints = "kp"', 'keypoints = "kp"\nunit = "mm"', "unit = 'mm'; must be one of px, share"),
        ("size = [48, 64]", "size = [48]", r"size must be a list of 2 values, not \[48\]"),
        ("size = [48, 64]", "size = [0, 64]", r"size must be \[width, height\], above 0"),
        ("size = [48, 64]", 'size = ["a", 64]', "size must be"),
        ('"regression"', "[]", "kind must be a text"),
        ('"coco_17"', "[1]", "layout must be a text"),
        ("size = [48, 64]", 'size = [48, 64]\norder = "CHW"', "order must be"),
        ("size = [48, 64]", "size = [48, 64]\nstd = [1, 0, 1]", "std must not be 0"),
        ("[outputs]", "[noise]\nsigma = 1\n[outputs]", r"\[noise.default\]: unknown key 'sigma'; did you mean"),
        ("[outputs]", "[noise.left_toe]\nsigma_px = 1\n[outputs]", "unknown joint 'left_toe'"),
        ("[outputs]", "[noise]\nsigma_px = nan\n[outputs]", "sigma_px is not a number"),
        ("[outputs]", "[noise]\nnose = 1\n[noise.default]\nsigma_px = 1\n[outputs]", r"\[noise.nose\] must be a table"),
        ("[input]", "accuracy = 3\n[input]", r"\[accuracy\] must be a table"),
        ("[outputs]", "[noise]\nsigma_px = 1\nnu = 2\n[outputs]", "needs sigma_px > 0, nu > 2"),
        ("[outputs]", "[noise]\nsigma_px = 1\nplacement_m = 15\n[outputs]", "placement_m = 15 must be metres"),
        ("[outputs]", "[noise]\nsigma_px = 1\nview_correlation = 1\n[outputs]", "view_correlation = 1 must lie in 0"),
        ('"tiny.onnx"', '"gone.onnx"', "its network 'gone.onnx' is missing"),
        ("[input]", "[input", "is not valid TOML"),
    ],
)
def test_a_wrong_card_is_refused(card_file: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ModelError, match=message) as error:
        read_card(edited(card_file, old, new))
    assert "tiny.toml" in str(error.value)
    assert "\n" not in str(error.value)


def test_another_network_than_the_cards_is_refused(card_file: Path) -> None:
    network = card_file.parent / "tiny.onnx"
    expected = read_card(card_file).sha256
    network.write_bytes(network.read_bytes() + b"\0")
    with pytest.raises(ModelError, match=rf"tiny.onnx: sha256 [0-9a-f]{{12}}… differs from {expected[:12]}…"):
        read_card(card_file)


def test_noise_per_joint_falls_back_to_the_default(tmp_path: Path) -> None:
    constant_network(tmp_path / "tiny.onnx", (48, 64), {"kp": np.zeros((17, 3))})
    noise = "[noise.default]\nsigma_px = 2\n[noise.left_hip]\nsigma_px = 3\noffset_px = [1, -1]"
    card = read_card(write_card(tmp_path, "tiny", "regression", {"keypoints": "kp"}, noise=noise))
    assert card.noise_of("left_hip") == KeypointNoise(sigma_px=3, offset_px=(1, -1))
    assert card.noise_of("nose") == KeypointNoise(sigma_px=2)


def test_a_joint_without_its_side_is_both_and_says_what_differs(tmp_path: Path) -> None:
    constant_network(tmp_path / "tiny.onnx", (48, 64), {"kp": np.zeros((17, 3))})
    noise = "[noise.default]\nsigma_px = 2\nnu = 4\n[noise.hip]\nplacement_m = 0.02\n[noise.right_knee]\nnu = 6"
    card = read_card(write_card(tmp_path, "tiny", "regression", {"keypoints": "kp"}, noise=noise))
    assert card.noise_of("left_hip") == card.noise_of("right_hip") == KeypointNoise(2, nu=4, placement_m=0.02)
    assert card.noise_of("right_knee").nu == 6 and card.noise_of("left_knee").nu == 4


def test_a_card_without_noise_says_one_percent_of_its_width(card_file: Path) -> None:
    assert read_card(card_file).noise_of("nose").sigma_px == pytest.approx(0.48)


def test_cards_are_found_by_name_and_the_network_in_another_folder(card_file: Path, tmp_path: Path) -> None:
    cards = tmp_path / "cards"
    cards.mkdir()
    card_file.rename(cards / "tiny.toml")
    assert find_card("tiny", (cards, tmp_path)).path == tmp_path / "tiny.onnx"
    assert find_card(str(cards / "tiny.toml"), (tmp_path,)).name == "tiny"
    with pytest.raises(ModelError, match="no model card 'tinny'; did you mean 'tiny'"):
        find_card("tinny", (cards, tmp_path))


def test_the_users_folder_can_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_MODELS", str(tmp_path))
    assert user_model_folder() == tmp_path
    assert model_folders()[-1] == tmp_path


@settings(max_examples=FUZZ_CASES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    place=st.floats(0, 1),
    length=st.integers(0, 20),
    insert=st.text(max_size=6) | st.sampled_from(["nan", "-1", "[]", "{}", '"', "=", "\n", "1e999", "[input]"]),
)
def test_mutated_cards_raise_only_our_errors(card_file: Path, place: float, length: int, insert: str) -> None:
    original = card_file.with_suffix(".good")
    if not original.exists():
        original.write_bytes(card_file.read_bytes())
    text = original.read_text(encoding="utf-8")
    at = int(place * len(text))
    card_file.write_bytes((text[:at] + insert + text[at + length :]).encode("utf-8", "surrogatepass"))
    try:
        read_card(card_file)
    except ModelError as problem:
        assert "\n" not in str(problem)


WHOLE = """order = "NCHW"
channels = "BGR"
range = [0, 255]
mean = [1, 2, 3]
std = [1, 1, 1]
"""
NOISE = """hip = {sigma_px = 2}
[noise.default]
sigma_px = 2
heatmap_scale = 0.5
heatmap_sigma_px = 4
nu = 3
memory_frames = 15
offset_px = [1, -1]
placement_m = 0.01
view_correlation = 0.2
[noise.ear]
offset_px = 2
"""
VALUES = ["[]", "{}", "{a = 1}", "3", "-1", "0", "nan", "inf", "-inf", "true", '"x"', '""', "[[1]]", '["a", 1]']
VALUES += ["[1, 2]", "1979-05-27", "[nan, 1]", "1e-320", str(10**30), "9" * 5000, "[" * 3000 + "]" * 3000]


@settings(max_examples=FUZZ_CASES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.floats(0, 1), st.sampled_from(VALUES), min_size=1, max_size=2))
def test_other_values_raise_only_our_errors(tmp_path: Path, changed: dict[float, str]) -> None:
    """Whole cards of which a key holds something of another kind, or out of reason: what is read can be used."""
    path = tmp_path / "tiny.toml"
    if not (tmp_path / "tiny.good").exists():
        constant_network(tmp_path / "tiny.onnx", (48, 64), {"kp": np.zeros((17, 3))})
        outputs = {"keypoints": "kp", "unit": "px"}
        write_card(tmp_path, "tiny", "regression", outputs, input=WHOLE, noise=NOISE, accuracy="pck = 0.5")
        assert read_card(path).noise_of("left_ear").offset_px == (2, 2)
        path.rename(tmp_path / "tiny.good")
    lines = (tmp_path / "tiny.good").read_text(encoding="utf-8").splitlines()
    keys = [number for number, line in enumerate(lines) if " = " in line]
    for place, value in changed.items():
        number = keys[min(int(place * len(keys)), len(keys) - 1)]
        lines[number] = f"{lines[number].partition(' = ')[0]} = {value}"
    path.write_text("\n".join(lines), encoding="utf-8")
    try:
        card = read_card(path)
    except ModelError as problem:
        assert "tiny.toml" in str(problem) and "\n" not in str(problem)
        return
    assert card.noise_of("nose").sigma_px > 0 and min(card.input.size) > 0
    assert all(isinstance(name, str) for name in card.outputs.values())
