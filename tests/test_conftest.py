"""Negative controls of the fixtures in conftest.py."""

import socket
import urllib.request

import pytest


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
