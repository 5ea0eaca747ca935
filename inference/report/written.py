"""What a report that lies on the disk says, for those who did not run the solve themselves."""

from __future__ import annotations

import json
from pathlib import Path


def read_warnings(folder: Path) -> tuple[str, ...]:
    """Return the warnings of the solve whose results lie in ``folder``.

    Convention:
        empty where there is no report, or it cannot be read: the results stand for themselves.

    Args:
        folder: holds ``report.json``.

    Returns:
        One text per warning.
    """
    try:
        record = json.loads((Path(folder) / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ()
    said = record.get("warnings") if isinstance(record, dict) else None
    return tuple(str(text) for text in said) if isinstance(said, list) else ()
