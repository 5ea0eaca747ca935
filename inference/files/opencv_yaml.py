"""OpenCV's FileStorage YAML 1.0: matrices, numbers and lists of texts; nothing else of YAML is understood.

A small parser of our own: OpenCV's allocates what a matrix claims to hold before it has seen the numbers, and YAML
proper has anchors that expand without bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..errors import CalibrationError
from ..shapes import FloatArray

Value = FloatArray | list[str] | str

_KEY = re.compile(r"([^\s:#%&*!\-\[{\"'][^:]*?)\s*:(?:\s+(.*))?$")
_FIELD = re.compile(r"\b(rows|cols|dt)\s*:\s*\"?(\w+)")
_DATA = re.compile(r"\bdata\s*:\s*\[([^\[\]]*)\]")
_ITEM = re.compile(r"\s*-\s+(.+)$")


def parse_opencv_yaml(text: str, path: Path) -> dict[str, Value]:
    """Parse the top level of a FileStorage file.

    Convention:
        ``!!opencv-matrix`` becomes an array (rows, cols), a list of texts a list, anything else stays text.

    Args:
        text: the file's text.
        path: the file, for messages.

    Returns:
        Values by key, in file order.

    Raises:
        CalibrationError: a line that is none of these, a key that stands twice, or a matrix that is cut off.
    """
    values: dict[str, Value] = {}
    blocks: list[tuple[str, int, list[str]]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith(("%", "---", "...", "#")):
            continue
        match = _KEY.match(line)
        if match and not line[0].isspace():
            blocks.append((match[1], number, [match[2] or ""]))
        elif blocks:
            blocks[-1][2].append(line)
        else:
            raise CalibrationError(f"{path}: line {number} is no OpenCV YAML: {line.strip()[:40]!r}")
    for key, number, lines in blocks:
        if key in values:
            raise CalibrationError(f"{path}: line {number}: {key!r} stands twice")
        values[key] = _value(lines, f"{path}: line {number}: {key!r}")
    return values


def matrix_text(key: str, values: FloatArray) -> str:
    """Write a matrix of doubles with all its digits; (N, M), or (N,) as a column."""
    rows = np.asarray(values, dtype=np.float64)
    rows = rows.reshape(len(rows), -1)
    data = ", ".join(repr(float(value)) for value in rows.ravel())
    return (
        f"{key}: !!opencv-matrix\n   rows: {rows.shape[0]}\n   cols: {rows.shape[1]}\n   dt: d\n   data: [ {data} ]\n"
    )


def _value(lines: list[str], where: str) -> Value:
    first = lines[0].strip()
    if first.startswith("!!opencv-matrix"):
        return _matrix(" ".join(lines), where)
    if first.startswith("["):
        inner = " ".join(lines).strip()
        if not inner.endswith("]"):
            raise CalibrationError(f"{where}: the list is cut off")
        return _texts(inner[1:-1].split(",")) if inner[1:-1].strip() else []
    if first:
        return _unquoted(first)
    items = [_ITEM.match(line) for line in lines[1:]]
    if not all(items):
        raise CalibrationError(f"{where} is neither a matrix nor a number nor a list of texts")
    return _texts(item[1] for item in items if item)


def _matrix(text: str, where: str) -> FloatArray:
    fields = dict(_FIELD.findall(text))
    data = _DATA.search(text)
    if data is None or not {"rows", "cols"} <= set(fields):
        raise CalibrationError(f"{where}: the matrix lacks rows, cols or data; the file is damaged or cut off")
    try:
        numbers = [float(cell.strip().replace(".Nan", "nan").replace(".Inf", "inf")) for cell in data[1].split(",")]
        shape = int(fields["rows"]), int(fields["cols"])
    except ValueError:
        raise CalibrationError(f"{where}: the matrix holds something that is not a number") from None
    if shape[0] * shape[1] != len(numbers):
        raise CalibrationError(f"{where}: the matrix says {shape[0]}x{shape[1]} but holds {len(numbers)} numbers")
    return np.array(numbers).reshape(shape)


def _texts(cells: Iterable[str]) -> list[str]:
    return [_unquoted(cell.strip()) for cell in cells]


def _unquoted(text: str) -> str:
    quoted = len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1] if quoted else text
