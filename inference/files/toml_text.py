"""Read a TOML file that a person wrote: every failure is one line with the file, and the place in it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from ..errors import InputError

_LARGEST = 64 * 1024 * 1024  # bytes; a longer file is a video or a dump picked by mistake


def read_text(path: Path, what: str, error: type[InputError] = InputError) -> str:
    """Read a text file as UTF-8, with or without a byte order mark.

    Convention:
        line ends are turned into newlines.

    Args:
        path: the file.
        what: what the file is to the user, e.g. ``take``.
        error: the type of error to raise.

    Returns:
        The text.

    Raises:
        InputError: the file is missing, is a folder, is not text, or is larger than 64 MiB.
    """
    try:
        if not path.is_file():
            raise error(f"{what} file {path} {'is a folder' if path.is_dir() else 'does not exist'}")
        if path.stat().st_size > _LARGEST:
            raise error(f"{what} file {path} is larger than 64 MiB: not a {what} file")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as problem:
        raise error(f"{what} file {path} is not UTF-8 text (byte {problem.start})") from None
    except (OSError, ValueError) as problem:  # ValueError: a path with a null byte
        raise error(f"{what} file {path} cannot be read: {_one_line(problem)}") from None


def parse_toml(text: str, path: Path, what: str, error: type[InputError] = InputError) -> dict[str, Any]:
    """Parse TOML; a syntax error names file and line.

    Args:
        text: the file's text.
        path: the file, for the message.
        what: what the file is to the user.
        error: the type of error to raise.

    Returns:
        The tables.

    Raises:
        InputError: the text is not TOML.
    """
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as problem:
        raise error(f"{what} file {path} is not valid TOML: {_one_line(problem)}") from None


def _one_line(problem: BaseException) -> str:
    return " ".join(str(problem).split()) or type(problem).__name__
