"""Rows of the benchmark: one figure of ours beside the same figure of others and its target, as text and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

NOT_INSTALLED = "not installed"


@dataclass(frozen=True)
class Target:
    """A limit on the ratio to another one's figure, or on our own figure where ``against`` is empty."""

    limit: float
    against: str = ""

    def words(self, higher: bool) -> str:
        """Say what is asked, as ``≤ 0.75× Pose2Sim``."""
        return f"{'≥' if higher else '≤'} {self.limit:g}" + (f"× {self.against}" if self.against else "")


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
    targets: Sequence[Target] = ()
    ours_where: Mapping[str, float] = field(default_factory=dict)  # ours on the seeds on which that other one stands

    @property
    def ratios(self) -> dict[str, float]:
        """Ours divided by each of the others, where both are numbers."""
        if self.ours is None or not math.isfinite(self.ours):
            return {}
        theirs = {name: value for name, value in self.others.items() if isinstance(value, (int, float))}
        return {
            name: self.ours_where.get(name, self.ours) / value
            for name, value in theirs.items()
            if math.isfinite(value) and value != 0
        }

    def judged(self) -> list[tuple[str, bool | None]]:
        """Each target in words and whether it is met; None where it could not be measured."""
        result: list[tuple[str, bool | None]] = []
        for target in self.targets:
            value = self.ratios.get(target.against) if target.against else self.ours
            met = None
            if value is not None and math.isfinite(value):
                met = value >= target.limit if self.higher_is_better else value <= target.limit
            result.append((target.words(self.higher_is_better), met))
        return result

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
            "targets": [{"target": words, "met": met} for words, met in self.judged()],
        }


def skipped(group: str, why: str) -> list[Row]:
    """Return the one row of a group that could not be measured."""
    return [Row(group, "skipped", "", None, note=why)]


def as_text(row: Row, new_group: bool) -> str:
    """Write a row for people: figure, unit, and each other's figure with the ratio in brackets."""
    found = row.as_json()
    lines = ["", f"== {row.group} =="] if new_group else []
    lines.append(f"{row.what:<52} {_with_unit(found):>18}   {', '.join(_beside(found))}".rstrip())
    lines += [f"    {words}" for words in _targets(found)]
    return "\n".join([*lines, *([f"    {row.note}"] if row.note else [])])


def as_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows, as `Row.as_json` gives them, as one table per group."""
    lines: list[str] = []
    group = None
    for row in rows:
        if row["group"] != group:
            group = row["group"]
            lines += ["", f"### {group}", "", "| what | ours | others (ratio) | target |", "|---|---|---|---|"]
        what = row["what"] + (f" ({row['note']})" if row["note"] else "")
        cells = (what, _with_unit(row), "; ".join(_beside(row)), "; ".join(_targets(row)))
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _with_unit(row: Mapping[str, Any]) -> str:
    return "" if row["ours"] is None else f"{_figure(row['ours'])} {row['unit']}".strip()


def _targets(row: Mapping[str, Any]) -> list[str]:
    told = {True: "met", False: "MISSED", None: "not measured"}
    return [f"{one['target']}: {told[one['met']]}" for one in row["targets"]]


def _beside(row: Mapping[str, Any]) -> list[str]:
    result = []
    for name, value in row["others"].items():
        ratio = row["ratios"].get(name)
        if value is None or isinstance(value, str):
            result.append(f"{name}: {value or 'no figure'}")
        else:
            result.append(f"{name} {_figure(value)}" + ("" if ratio is None else f" (×{ratio:.3g})"))
    return result


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 100 else f"{value:.1f}"


def _finite(value: float | str | None) -> float | str | None:
    return value if isinstance(value, str) or value is None or math.isfinite(value) else None
