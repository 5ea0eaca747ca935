"""Sessions: the provider that was asked for does the work, or there is an error."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from inference.errors import ModelError
from inference.perception.session import PROVIDERS, Session
from tests.inference.perception.tiny_network import constant_network


@pytest.fixture
def network(tmp_path: Path) -> Path:
    constant_network(tmp_path / "tiny.onnx", (4, 6), {"kp": np.arange(6).reshape(2, 3)})
    return tmp_path / "tiny.onnx"


def test_the_provider_is_reported(network: Path) -> None:
    session = Session(network, provider="cpu")
    assert session.provider == "cpu"
    assert session.input_names == ("image",)
    assert session.output_names == ("kp",)


def test_auto_uses_something(network: Path) -> None:
    assert Session(network).provider in PROVIDERS


def test_a_provider_that_is_not_there_is_an_error(network: Path) -> None:
    missing = next(name for name, long in PROVIDERS.items() if long not in onnxruntime.get_available_providers())
    with pytest.raises(ModelError, match=f"'{missing}' is not in this ONNX Runtime"):
        Session(network, provider=missing)


def test_a_provider_that_does_not_do_the_work_is_an_error(network: Path) -> None:
    """Azure's provider is listed and accepted by the runtime, but runs no ordinary node."""
    if PROVIDERS["azure"] not in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime lists no provider that leaves the work to the CPU")
    with pytest.raises(ModelError, match="'azure' was asked for but 'cpu' does the work"):
        Session(network, provider="azure")


def test_an_unknown_provider_is_named(network: Path) -> None:
    with pytest.raises(ModelError, match="unknown execution provider 'cudaa'; did you mean 'cuda'"):
        Session(network, provider="cudaa")


def test_a_file_that_is_no_network_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_bytes(b"not a network")
    with pytest.raises(ModelError, match=r"text\.onnx: ONNX Runtime cannot load this network") as error:
        Session(tmp_path / "text.onnx")
    assert "\n" not in str(error.value)


def test_several_threads_may_run_it(network: Path) -> None:
    session = Session(network)
    pictures = np.ones((1, 3, 6, 4), dtype=np.float32)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: session.run("image", pictures, ["kp"])["kp"], range(40)))
    np.testing.assert_array_equal(results, np.broadcast_to(np.arange(6).reshape(1, 2, 3), (40, 1, 2, 3)))


@pytest.mark.parametrize("batches", [True, False])
def test_several_pictures_give_the_same_with_and_without_batches(tmp_path: Path, batches: bool) -> None:
    value = np.arange(6, dtype=np.float32).reshape(2, 3)
    constant_network(tmp_path / "tiny.onnx", (4, 6), {"kp": value}, batches=batches)
    session = Session(tmp_path / "tiny.onnx")
    assert session.takes_batches is batches
    result = session.run("image", np.ones((3, 3, 6, 4), dtype=np.float32), ["kp"])
    np.testing.assert_array_equal(result["kp"], np.broadcast_to(value, (3, 2, 3)))
