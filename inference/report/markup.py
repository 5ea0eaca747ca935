"""HTML from values: whatever is not already `Html` is escaped, so names from outside stay text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

VOID = ("img", "meta")  # elements without content or end


class Html(str):
    """Text that is already HTML."""

    __slots__ = ()


Piece = str | int | Html


def html(piece: Piece) -> Html:
    """Return a piece as HTML; anything but `Html` is escaped."""
    return piece if isinstance(piece, Html) else Html(escape(str(piece)))


def join(pieces: Iterable[Piece]) -> Html:
    """Put pieces one after the other."""
    return Html("".join(html(piece) for piece in pieces))


def tag(element: str, /, *children: Piece, **attributes: str | float) -> Html:
    """Return an element; attribute names lose a trailing underscore, and inner ones become hyphens."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"' for key, value in attributes.items()
    )
    return Html(f"<{element}{written}>" if element in VOID else f"<{element}{written}>{join(children)}</{element}>")


def table(headers: Sequence[Piece], rows: Iterable[Sequence[Piece]], numbers_from: int = 1) -> Html:
    """Return a table that scrolls sideways on a narrow screen; columns from ``numbers_from`` are right-aligned."""

    def cells(kind: str, row: Sequence[Piece]) -> Html:
        kinds = ["" if i < numbers_from else "n" for i in range(len(row))]
        return tag("tr", *(tag(kind, cell, class_=one) for cell, one in zip(row, kinds, strict=True)))

    head = tag("thead", cells("th", headers))
    body = tag("tbody", *(cells("td", row) for row in rows))
    return tag("div", tag("table", head, body), class_="scroll")


def section(title: str, identity: str, *children: Piece) -> Html:
    """Return a titled section that links can point to."""
    return tag("section", tag("h2", title), *children, id=identity)
