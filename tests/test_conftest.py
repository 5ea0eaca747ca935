"""Negative controls of the fixtures in conftest.py."""

import socket
import urllib.request

import pytest
from hypothesis import given
from hypothesis import strategies as st


@given(st.integers())
def of_many_cases(number):
    assert isinstance(number, int)


def test_tests_of_many_cases_get_time_for_all_of_them(monkeypatch, request):
    """Their limit grows with the cases; that of a plain test stays."""
    conftest = next(
        p
        for p in request.config.pluginmanager.get_plugins()
        if hasattr(p, "pytest_collection_modifyitems") and hasattr(p, "no_network")
    )
    monkeypatch.setenv("SIGHTLINE_FUZZ", "10000")
    items = [
        pytest.Function.from_parent(request.node.parent, name=f.__name__, callobj=f)
        for f in (of_many_cases, test_connections_are_refused)
    ]
    conftest.pytest_collection_modifyitems(items)
    fuzz, plain = (item.get_closest_marker("timeout") for item in items)
    assert fuzz is not None and fuzz.args == (3000.0,) and plain is None


def test_connections_are_refused():
    with socket.socket() as plain, pytest.raises(RuntimeError, match="tests open no connection"):
        plain.connect(("127.0.0.1", 9))


def test_name_lookups_are_refused():
    with pytest.raises(RuntimeError, match="tests open no connection"):
        urllib.request.urlopen("http://example.invalid/")


def test_missing_footage_skips_with_a_reason(monkeypatch, tmp_path, request):
    monkeypatch.setenv("SIGHTLINE_DATA", str(tmp_path / "nowhere"))
    unwrapped = request.getfixturevalue("pytestconfig").pluginmanager  # the plain function behind the fixture
    conftest = next(p for p in unwrapped.get_plugins() if hasattr(p, "shared_data") and hasattr(p, "no_network"))
    with pytest.raises(pytest.skip.Exception, match="nowhere is no folder"):
        conftest.shared_data.__wrapped__()
