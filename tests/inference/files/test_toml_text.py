"""Text and TOML files that people wrote: every failure is one line with the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference.errors import CalibrationError, InputError
from inference.files import toml_text
from inference.files.toml_text import parse_toml, read_text


def test_text_with_and_without_a_mark(tmp_path: Path) -> None:
    (tmp_path / "ä.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo")
    assert read_text(tmp_path / "ä.txt", "take") == "one\ntwo"


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CalibrationError, match="lens file .*none does not exist"):
        read_text(tmp_path / "none", "lens", CalibrationError)
    with pytest.raises(InputError, match="is a folder"):
        read_text(tmp_path, "take")
    with pytest.raises(InputError):
        read_text(tmp_path / ("x" * 5000), "take")
    (tmp_path / "a").write_bytes(b"ab\xff")
    with pytest.raises(InputError, match=r"not UTF-8 text \(byte 2\)"):
        read_text(tmp_path / "a", "take")
    monkeypatch.setattr(toml_text, "_LARGEST", 2)
    with pytest.raises(InputError, match="larger than 64 MiB"):
        read_text(tmp_path / "a", "take")


def test_toml() -> None:
    assert parse_toml("a = 1", Path("x"), "take") == {"a": 1}
    for text, message in (("a = 1\nb = c\n", ".*line 2"), ("a = " + "1" * 5000, ""), ("a = " + "[" * 99_999, "")):
        with pytest.raises(InputError, match="take file x is not valid TOML" + message) as caught:
            parse_toml(text, Path("x"), "take")
        assert "\n" not in str(caught.value)
