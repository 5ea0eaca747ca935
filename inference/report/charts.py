"""Charts of the report as inline SVG: no scripts, colours from the page's style sheet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..shapes import FloatArray, IntArray
from .markup import Html, join, tag
from .trust import CHECK_SIGMA_M, GOOD_SIGMA_M

WIDTH = 960
LEFT = 150  # room for joint names and axis labels
BINS = 270  # columns of a chart over time
ROW = 15


def trust_map(grade: IntArray, joint_names: Sequence[str], duration_s: float) -> Html:  # (T, J) of one person
    """Draw every joint's grade over time; a column shows the worst grade of its frames.

    Convention:
        rows in joint order, time in seconds from left to right; classes ``g0`` … ``g3`` are the grades.
    """
    worst = _binned(grade.astype(float), np.minimum)  # (columns, J)
    wide = (WIDTH - LEFT - 10) / len(worst)
    parts: list[Html] = []
    for j, name in enumerate(joint_names):
        y = j * ROW
        parts.append(_label(LEFT - 8, y + 11, name.replace("_", " "), "end"))
        edges = np.flatnonzero(np.diff(worst[:, j])) + 1
        for first, last in zip([0, *edges], [*edges, len(worst)], strict=True):
            parts.append(
                tag(
                    "rect",
                    class_=f"g{int(worst[first, j])}",
                    x=f"{LEFT + first * wide:.1f}",
                    y=y + 1,
                    width=f"{(last - first) * wide:.1f}",
                    height=ROW - 3,
                )
            )
    bottom = len(joint_names) * ROW
    return _svg(bottom + 34, "Trust per joint over time", *parts, _time_axis(bottom + 4, duration_s))


def uncertainty_chart(sigma: FloatArray, duration_s: float) -> Html:  # (T, J) m of one person
    """Draw the standard deviation in the worst direction over time: half of the joints, and the least sure tenth.

    Convention:
        mm over seconds; columns show the largest value of their frames; gaps where no joint is estimated.
        The axis ends at the 99 % point of the upper line, so that one wild frame does not flatten the rest.
    """
    tall = 220
    with np.errstate(invalid="ignore"):
        middle, upper = (_quantile(sigma, share) * 1000 for share in (0.5, 0.9))
    lines = [_binned(values[:, None], np.fmax)[:, 0] for values in (middle, upper)]
    finite = upper[np.isfinite(upper)]
    top = _round_up(max(float(np.percentile(finite, 99)) if finite.size else 0.0, GOOD_SIGMA_M * 1250))
    parts = [_level(limit * 1000, top, tall) for limit in (GOOD_SIGMA_M, CHECK_SIGMA_M) if limit * 1000 <= top]
    for value in np.linspace(0, top, 5):
        parts.append(_label(LEFT - 8, tall * (1 - value / top) + 14, f"{value:g} mm", "end"))
    parts += [_path(line, top, tall, name) for line, name in zip(lines, ("middle", "upper"), strict=True)]
    return _svg(tall + 44, "Uncertainty over time", *parts, _time_axis(tall + 14, duration_s))


def _path(values: FloatArray, top: float, tall: int, kind: str) -> Html:
    """Draw a line over the columns, broken where a value is missing."""
    wide = (WIDTH - LEFT - 10) / len(values)
    drawn, pen = [], "M"
    for column, value in enumerate(values):
        if not np.isfinite(value):
            pen = "M"
            continue
        y = 10 + tall * (1 - min(value, top) / top)
        drawn.append(f"{pen}{LEFT + (column + 0.5) * wide:.1f} {y:.1f}")
        pen = "L"
    return tag("path", d=" ".join(drawn), class_=f"line {kind}")


def _level(value: float, top: float, tall: int) -> Html:
    y = f"{10 + tall * (1 - value / top):.1f}"
    return tag("line", class_="level", x1=LEFT, x2=WIDTH - 10, y1=y, y2=y)


def _time_axis(y: float, duration_s: float) -> Html:
    """Write about six round times below a chart."""
    step = _round_up(duration_s / 7) if duration_s > 0 else 1.0
    ticks = np.arange(0, duration_s + step * 1e-6, step)
    room = WIDTH - LEFT - 10
    parts = []
    for tick in ticks:
        x = LEFT + room * (tick / duration_s if duration_s > 0 else 0.0)
        parts.append(tag("line", class_="axis", x1=f"{x:.1f}", x2=f"{x:.1f}", y1=y, y2=y + 5))
        parts.append(_label(x, y + 20, f"{tick:g} s", "middle"))
    return join(parts)


def _label(x: float, y: float, text: str, anchor: str) -> Html:
    return tag("text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor)


def _svg(height: float, title: str, *parts: Html) -> Html:
    drawing = tag("svg", *parts, viewBox=f"0 0 {WIDTH} {height:g}", role="img", aria_label=title)
    return tag("div", drawing, class_="scroll chart")


def _binned(values: FloatArray, reduce: np.ufunc) -> FloatArray:  # (T, N)
    """Reduce T frames to at most `BINS` columns."""
    if len(values) <= BINS:
        return values
    return reduce.reduceat(values, np.linspace(0, len(values), BINS + 1)[:-1].astype(int), axis=0)


def _quantile(sigma: FloatArray, share: float) -> FloatArray:
    """Return a quantile over the joints of every frame; NaN where no joint is estimated."""
    ordered = np.sort(sigma, axis=1)  # NaN last
    count = np.isfinite(sigma).sum(axis=1)
    index = np.clip(np.ceil(share * count).astype(int) - 1, 0, None)
    return np.take_along_axis(ordered, index[:, None], axis=1)[:, 0]


def _round_up(value: float) -> float:
    """Return the next of 1, 2, 5 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= value * (1 - 1e-9)))
