"""What a report that lies on the disk says, for those who did not run the solve themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_KEYS = {"name", "size", "reprojection_px"}


def read_warnings(folder: Path) -> tuple[str, ...]:
    """Return the warnings of the solve whose results lie in ``folder``.

    Convention:
        empty where there is no report, or it cannot be read: the results stand for themselves.

    Args:
        folder: holds ``report.json``.

    Returns:
        One text per warning.
    """
    said = _read(folder).get("warnings")
    return tuple(str(text) for text in said) if isinstance(said, list) else ()


def read_views(folder: Path) -> list[dict[str, Any]]:
    """Return what the report in ``folder`` says of every view.

    Convention:
        empty where there is no report, or it cannot be read, as in `read_warnings`.

    Args:
        folder: holds ``report.json``.

    Returns:
        ``views`` of the report: name, size and ``reprojection_px`` of each.
    """
    views = _read(folder).get("views")
    listed = views if isinstance(views, list) else []
    return listed if all(isinstance(view, dict) and _KEYS <= set(view) for view in listed) else []


def _read(folder: Path) -> dict[str, Any]:
    try:
        record = json.loads((Path(folder) / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}
