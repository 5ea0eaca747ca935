"""Rows of the benchmark: one figure of ours beside the same figure of others, as text and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NOT_INSTALLED = "not installed"


@dataclass(frozen=True)
class Row:
    """One figure. A ratio is ours ÷ theirs, so below 1 is better where lower is better, above 1 where higher is."""

    group: str
    what: str
    unit: str
    ours: float | None
    others: Mapping[str, float | str] = field(default_factory=dict)  # name → figure, or why there is none
    higher_is_better: bool = False
    note: str = ""

    @property
    def ratios(self) -> dict[str, float]:
        """Ours divided by each of the others, where both are numbers."""
        if self.ours is None or not math.isfinite(self.ours):
            return {}
        theirs = {name: value for name, value in self.others.items() if isinstance(value, (int, float))}
        return {name: self.ours / value for name, value in theirs.items() if math.isfinite(value) and value != 0}

    def as_json(self) -> dict[str, Any]:
        """Return plain values; what is not finite becomes null."""
        return {
            "group": self.group,
            "what": self.what,
            "unit": self.unit,
            "ours": _finite(self.ours),
            "others": {name: _finite(value) for name, value in self.others.items()},
            "ratios": self.ratios,
            "better": "higher" if self.higher_is_better else "lower",
            "note": self.note,
        }


def skipped(group: str, why: str) -> list[Row]:
    """Return the one row of a group that could not be measured."""
    return [Row(group, "skipped", "", None, note=why)]


def as_text(row: Row, new_group: bool) -> str:
    """Write a row for people: figure, unit, and each other's figure with the ratio in brackets."""
    others = ", ".join(_beside(name, value, row.ratios.get(name)) for name, value in row.others.items())
    ours = "" if row.ours is None else f"{_figure(row.ours)} {row.unit}"
    lines = ["", f"== {row.group} =="] if new_group else []
    lines.append(f"{row.what:<52} {ours:>18}   {others}".rstrip())
    return "\n".join([*lines, *([f"    {row.note}"] if row.note else [])])


def _beside(name: str, value: float | str, ratio: float | None) -> str:
    if isinstance(value, str):
        return f"{name}: {value}"
    return f"{name} {_figure(value)}" + ("" if ratio is None else f" (×{ratio:.3g})")


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 100 else f"{value:.1f}"


def _finite(value: float | str | None) -> float | str | None:
    return value if isinstance(value, str) or value is None or math.isfinite(value) else None
