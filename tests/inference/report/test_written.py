"""The warnings and the views of a written report."""

import json
from pathlib import Path

import pytest

from inference.report.written import read_views, read_warnings


def test_warnings_come_back_in_order(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps({"warnings": ["Größe", "b"]}), encoding="utf-8")
    assert read_warnings(tmp_path) == ("Größe", "b")


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"warnings": 3}', "\xff\xfe"])
def test_no_report_is_no_warning(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "report.json").write_text(text, encoding="latin-1")
    assert read_warnings(tmp_path) == ()
    assert read_views(tmp_path) == []


def test_views_come_back_if_they_are_whole(tmp_path: Path) -> None:
    whole = {"name": "cam01", "size": [640, 480], "reprojection_px": {}, "more": 1}
    (tmp_path / "report.json").write_text(json.dumps({"views": [whole]}), encoding="utf-8")
    assert read_views(tmp_path) == [whole]
    for broken in ([{"name": "cam01"}], [3], {"name": 1}):
        (tmp_path / "report.json").write_text(json.dumps({"views": broken}), encoding="utf-8")
        assert read_views(tmp_path) == []
