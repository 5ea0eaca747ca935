"""The warnings and the views of a written report."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.report.written import read_views, read_warnings

FUZZ_CASES = int(os.environ.get("SIGHTLINE_FUZZ", "200"))
JSON = ("null", "[]", "{}", "1e999", "NaN", '"', "[" * 5000, ",", ":", "-")


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


@settings(max_examples=FUZZ_CASES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1), length=st.integers(0, 30), insert=st.text(max_size=6) | st.sampled_from(JSON))
def test_mutated_reports_are_read_or_as_good_as_none(tmp_path: Path, place: float, length: int, insert: str) -> None:
    view = {"name": "cam01", "size": [640, 480], "reprojection_px": {"median": 3.2}}
    text = json.dumps({"warnings": ["one", "two"], "views": [view]})
    at = int(place * len(text))
    data = (text[:at] + insert + text[at + length :]).encode("utf-8", "surrogatepass")
    (tmp_path / "report.json").write_bytes(data)
    assert all(isinstance(text, str) for text in read_warnings(tmp_path))
    assert all({"name", "size", "reprojection_px"} <= set(one) for one in read_views(tmp_path))
