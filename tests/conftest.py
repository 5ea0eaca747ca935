"""Fixtures of all suites: real footage, the detector pack, the example take; and the guard against the network."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).resolve().parent.parent


FUZZ_CASE_S = 0.3  # that a case may take, on a machine that does other things too


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests of many cases time for all of them: the limit of a plain test would end ten thousand."""
    limit = max(300.0, FUZZ_CASE_S * int(os.environ.get("SIGHTLINE_FUZZ", "200")))
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker(pytest.mark.timeout(limit))


class NetworkBlockedError(RuntimeError):
    """A test tried to open a connection."""


def _refuse(*_args: object, **_kwargs: object) -> None:
    raise NetworkBlockedError("tests open no connection: give the code a file instead")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection and name lookup of every test fails; pairs of local sockets (socketpair) stay."""
    monkeypatch.setattr(socket.socket, "connect", _refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", _refuse)
    monkeypatch.setattr(socket, "getaddrinfo", _refuse)


@pytest.fixture(scope="session", autouse=True)
def one_blas_thread() -> Iterator[None]:
    """As in a solve: many small systems are six times faster on one thread than on two."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither find nor leave detections in the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIGHTLINE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real footage; skips where there is none."""
    named = os.environ.get("SIGHTLINE_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real footage: {folder} is no folder (name one with SIGHTLINE_DATA)")
    return folder


@pytest.fixture(scope="session")
def example_take() -> Path:
    """The take that the demo solves."""
    path = ROOT / "addon" / "example_take" / "take.toml"
    if not path.is_file():
        pytest.skip(f"no example take: {path} is missing")
    return path


@pytest.fixture(scope="session")
def blazepose_card() -> object:
    """The model card of the fetched default detector; skips where it was not fetched."""
    from inference.errors import ModelError
    from inference.perception.card import find_card

    try:
        card = find_card("blazepose")
    except ModelError as error:
        pytest.skip(f"no detector pack: {error}; get it with: python -m inference models fetch blazepose")
    return card
