"""Fetching a pack, without a network: pip is replaced by a folder to find the wheel in."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from inference.errors import Cancelled, ModelError
from inference.perception import packs
from inference.perception.card import find_card, sha256_of
from inference.perception.packs import (
    CARDS,
    PACKS,
    check_answers,
    convert_network,
    fetch_pack,
    is_installed,
    self_test_picture,
    write_atomically,
)
from inference.perception.tflite_to_onnx import convert_tflite
from inference.progress import Progress
from tests.inference.perception.tiny_tflite import Operator, Tensor, network

WHEEL = "tinypose-1.0-cp311-cp311-manylinux_2_28_x86_64.whl"
CARD = """name = "tiny"
kind = "blazepose_boxes"
file = "tiny.onnx"
sha256 = "{sha256}"
licence = "CC0-1.0"
provenance = "made for this test"
[input]
name = "image"
size = [4, 3]
order = "NHWC"
[outputs]
boxes = "boxes"
scores = "scores"
"""
NAMES = {"tensor0": "image", "tensor1": "boxes", "tensor2": "scores"}


def tiny_network() -> bytes:
    """boxes = logistic(image), scores = image + image."""
    operators = [Operator("LOGISTIC", (0,), (1,)), Operator("ADD", (0, 0), (2,), "AddOptions", {})]
    return network([Tensor((1, 3, 4, 3))] * 3, operators, [0], [1, 2])


def tiny_answers() -> dict[str, tuple[float, float]]:
    picture = self_test_picture((4, 3), (0.0, 1.0)).astype(float)
    outputs = {"boxes": 1 / (1 + np.exp(-picture)), "scores": 2 * picture}
    return {name: (values.mean(), np.sqrt((values**2).mean())) for name, values in outputs.items()}


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's models folder, not there yet."""
    folder = tmp_path / "models"
    monkeypatch.setenv("SIGHTLINE_MODELS", str(folder))
    return folder


@pytest.fixture
def tiny_pack(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> packs.Pack:
    """A pack ``tiny`` of one network, whose wheel pip finds in a local folder."""
    index, cards, build = (tmp_path / name for name in ("index", "cards", "build"))
    for folder in (index, cards, build):
        folder.mkdir()
    source = build / "tiny.tflite"
    source.write_bytes(tiny_network())
    (build / "tiny.onnx").write_bytes(convert_tflite(source, NAMES))
    (cards / "tiny.toml").write_text(CARD.format(sha256=sha256_of(build / "tiny.onnx")))
    wheel = index / WHEEL
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(source, "tinypose/tiny.tflite")
        archive.writestr("tinypose-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tinypose\nVersion: 1.0\n")
        archive.writestr("tinypose-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: cp311-cp311-manylinux_2_28_x86_64\n")
        archive.writestr("tinypose-1.0.dist-info/RECORD", "")
        archive.writestr("tinypose-1.0.dist-info/LICENSE", "to whom it may concern")
    entry = packs.PackNetwork("tiny", "tinypose/tiny.tflite", sha256_of(source), NAMES, tiny_answers())
    licence = "tinypose-1.0.dist-info/LICENSE"
    pack = packs.Pack("tinypose==1.0", WHEEL, sha256_of(wheel), 0.1, licence, (entry,))
    monkeypatch.setitem(PACKS, "tiny", pack)
    monkeypatch.setattr(packs, "CARDS", cards)
    monkeypatch.setattr("inference.perception.card.model_folders", lambda: (models, cards))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    return pack


def change_pack(monkeypatch: pytest.MonkeyPatch, pack: packs.Pack, **values: object) -> None:
    monkeypatch.setitem(PACKS, "tiny", dataclasses.replace(pack, **values))


def test_fetch_installs_network_card_and_licence(tiny_pack: packs.Pack, models: Path, caplog) -> None:
    assert fetch_pack("tiny") == (models / "tiny.onnx",)
    assert sorted(path.name for path in models.iterdir()) == [
        "tiny.LICENSE.txt",
        "tiny.onnx",
        "tiny.tflite",
        "tiny.toml",
    ]
    assert find_card("tiny").path == models / "tiny.onnx"
    assert (models / "tiny.LICENSE.txt").read_text() == "to whom it may concern"
    assert "going online: downloading tinypose==1.0 (0.1 MB)" in caplog.text


def test_fetch_again_does_not_go_online(tiny_pack, models: Path, monkeypatch, caplog) -> None:
    fetch_pack("tiny")
    caplog.clear()
    monkeypatch.setenv("PIP_FIND_LINKS", str(models))  # nothing to be found there
    before = {path: path.stat().st_mtime_ns for path in models.iterdir()}
    assert fetch_pack("tiny") == (models / "tiny.onnx",)
    assert {path: path.stat().st_mtime_ns for path in models.iterdir()} == before
    assert caplog.text == ""


def test_tampered_network_is_refused_and_fetch_repairs_it(tiny_pack: packs.Pack, models: Path) -> None:
    fetch_pack("tiny")
    (models / "tiny.onnx").write_bytes((models / "tiny.onnx").read_bytes() + b"\0")
    assert not is_installed(tiny_pack)
    with pytest.raises(ModelError, match="sha256"):
        find_card("tiny")
    fetch_pack("tiny")
    assert is_installed(tiny_pack)


def test_a_changed_card_of_ours_is_fetched_again(tiny_pack: packs.Pack, models: Path) -> None:
    fetch_pack("tiny")
    (models / "tiny.toml").write_text((models / "tiny.toml").read_text() + "[accuracy]\nscore = 1.0\n")
    assert not is_installed(tiny_pack)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": "0" * 64}, "is not the pinned 000000000000"),
        ({"requirement": "tinypose==2.0"}, r"tinypose==2\.0 could not be downloaded .* check the connection"),
        ({"wheel": WHEEL.replace("1.0", "1.1")}, "the package index gave another file"),
    ],
)
def test_wrong_download_is_refused_and_leaves_nothing(tiny_pack, models, monkeypatch, changes, message) -> None:
    change_pack(monkeypatch, tiny_pack, **changes)
    with pytest.raises(ModelError, match=message) as caught:
        fetch_pack("tiny")
    assert "\n" not in str(caught.value)
    assert not models.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": "0" * 64}, "tiny.tflite: sha256 .* is not the pinned"),
        ({"names": {**NAMES, "tensor0": "picture"}}, "converted to another file than its card pins"),
        ({"answers": {"boxes": (0.0, 1.0)}}, "self-test of output 'boxes'"),
    ],
)
def test_wrong_network_in_the_wheel_is_refused(tiny_pack, models, monkeypatch, changes, message) -> None:
    entry = dataclasses.replace(tiny_pack.networks[0], **changes)
    change_pack(monkeypatch, tiny_pack, networks=(entry,))
    with pytest.raises(ModelError, match=message):
        fetch_pack("tiny")
    assert not models.exists()


def test_cancelled_fetch_leaves_nothing(tiny_pack, models: Path) -> None:
    progress = Progress()
    progress.cancel()
    with pytest.raises(Cancelled):
        fetch_pack("tiny", progress)
    assert not models.exists()


def test_cancelling_kills_pip(tiny_pack: packs.Pack, tmp_path: Path) -> None:
    class CancelledSoon(Progress):
        checks = 0

        def check(self) -> None:
            self.checks += 1
            if self.checks == 2:
                self.cancel()
            super().check()

    marker = tmp_path / "finished"
    sleeper = [sys.executable, "-c", f"import time; time.sleep(60); open({str(marker)!r}, 'w')"]
    with pytest.raises(Cancelled):
        packs._run_pip(sleeper, tiny_pack, tmp_path / "pip.log", CancelledSoon())
    assert not marker.exists()


def test_unknown_pack_names_the_nearest() -> None:
    with pytest.raises(ModelError, match="unknown model pack 'blazepos'; did you mean 'blazepose'"):
        fetch_pack("blazepos")


def test_models_folder_that_is_a_file_is_refused(tiny_pack, models: Path) -> None:
    models.write_text("in the way")
    with pytest.raises(ModelError, match="cannot be written .*SIGHTLINE_MODELS"):
        fetch_pack("tiny")
    assert models.read_text() == "in the way"


def test_write_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "file"
    write_atomically(target, b"old")

    def interrupted(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_answers_are_compared_relative_to_their_size() -> None:
    values = np.array([[3.0, -4.0]], dtype=np.float32)
    rms = float(np.sqrt(12.5))
    check_answers("net", {"out": (-0.5, rms)}, {"out": values})
    check_answers("net", {"out": (-0.5 + 0.9e-3 * rms, rms)}, {"out": values})
    with pytest.raises(ModelError, match="net: the self-test of output 'out'"):
        check_answers("net", {"out": (-0.5 + 1.1e-3 * rms, rms)}, {"out": values})
    with pytest.raises(ModelError):
        check_answers("net", {"out": (-0.5, rms)}, {"out": values * np.nan})


def test_self_test_picture_by_hand() -> None:
    picture = self_test_picture((4, 3), (-1.0, 1.0))
    assert picture.shape == (1, 3, 4, 3)
    assert picture.dtype == np.float32
    # x = 3, y = 2, blue: 3·3 + 5·2 + 70·2 + 6 // 16 = 159
    np.testing.assert_allclose(picture[0, 2, 3, 2], 2 * 159 / 255 - 1, rtol=1e-6)


def test_pinned_cards_say_what_the_pack_holds() -> None:
    for entry in PACKS["blazepose"].networks:
        text = (CARDS / f"{entry.card}.toml").read_text(encoding="utf-8")
        assert entry.sha256 in text
        assert entry.source.removeprefix("mediapipe/") in text
        assert f'file = "{Path(entry.source).stem}.onnx"' in text


def test_installed_blazepose_is_the_pinned_one_and_passes_its_self_test(tmp_path: Path, blazepose_card) -> None:
    for entry in PACKS["blazepose"].networks:
        source = blazepose_card.path.with_name(Path(entry.source).name)
        if not source.is_file():
            pytest.skip(f"{source.name} is not there: python -m inference models fetch blazepose")
        assert sha256_of(source) == entry.sha256
        copy = tmp_path / source.name
        copy.write_bytes(source.read_bytes())
        assert sha256_of(convert_network(entry, copy, tmp_path)) == find_card(entry.card).sha256


def test_importing_packs_loads_no_converter() -> None:
    """The extension ships without the packages ``onnx`` and ``tflite``."""
    code = "import sys, inference.perception.packs; sys.exit('onnx' in sys.modules or 'tflite' in sys.modules)"
    root = Path(__file__).resolve().parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
