"""What a Python can do, said in one line of JSON."""

from __future__ import annotations

import json

import pytest

from inference import probe


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    """The one line on stdout."""
    (line,) = capsys.readouterr().out.splitlines()
    return json.loads(line)


def test_this_python_says_what_it_runs_on(capsys: pytest.CaptureFixture[str], blazepose_card: object) -> None:
    assert probe.main([]) == 0
    found = said(capsys)
    assert found["provider"] == "cpu" and found["images_per_s"] > 0 and found["network"] == "blazepose"  # type: ignore[operator]
    assert "cpu" in found["providers"]  # type: ignore[operator]


def test_an_old_python_is_refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_OLDEST", (99, 0))
    assert probe.main([]) == 2
    assert "must be 99.0 or later" in str(said(capsys)["error"])


def test_what_is_missing_is_named_with_its_package(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "_NEEDED", {"no_such_module": "some-package"})
    assert probe.main([]) == 2
    assert str(said(capsys)["error"]).endswith("-m pip install some-package")


def test_an_unknown_network_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert probe.main(["nosuch"]) == 2
    assert "no model card 'nosuch'" in str(said(capsys)["error"])
