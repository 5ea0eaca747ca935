"""The warnings of a written report."""

import json
from pathlib import Path

import pytest

from inference.report.written import read_warnings


def test_warnings_come_back_in_order(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps({"warnings": ["Größe", "b"]}), encoding="utf-8")
    assert read_warnings(tmp_path) == ("Größe", "b")


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"warnings": 3}', "\xff\xfe"])
def test_no_report_is_no_warning(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "report.json").write_text(text, encoding="latin-1")
    assert read_warnings(tmp_path) == ()
