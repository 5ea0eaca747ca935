"""The measured accuracy of a model's card in a few sentences for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RIGHT = "A joint is right within a fifth of the torso's length"
_PCK, _MEDIAN, _OF, _MM = "_pck_02", "_median_px", "_of_", "_mm"
_MOST = 6  # sentences
_INITIALS = ("coco", "mpii", "lsp")  # are written in capitals
_INNER = ("fp32", "change_of")  # what exporting a network did to it


def headlines(accuracy: Mapping[str, Any]) -> tuple[str, ...]:
    """Say how good a model is.

    Convention:
        a key ``NAME_pck_02`` is the share of joints within a fifth of the torso on NAME, ``NAME_pck_02_of_OTHER``
        that of another model, ``NAME_median_px`` the middle error; a key that ends in ``_mm`` is an error too. Where
        there is none of these, the card's own sentence ``measured`` stands for them.

    Args:
        accuracy: the card's table.

    Returns:
        Sentences, the most telling first; none where nothing is stated.
    """
    names = [
        key.removesuffix(_PCK) for key in accuracy if key.endswith(_PCK) and not any(word in key for word in _INNER)
    ]
    said = [_sentence(name, accuracy) for name in names]
    said += [f"{_title(key.removesuffix(_MM))}: {value:g} mm" for key, value in accuracy.items() if key.endswith(_MM)]
    own = str(accuracy.get("measured", ""))
    return tuple(said[:_MOST]) or ((own[:1].upper() + own[1:],) if own else ())


def details(accuracy: Mapping[str, Any]) -> tuple[str, ...]:
    """Say everything that a card's table states, a line for each key."""
    return tuple(f"{key.replace('_', ' ')}: {value}" for key, value in accuracy.items())


def _sentence(name: str, accuracy: Mapping[str, Any]) -> str:
    key = name + _PCK
    beside = [other for other in accuracy if other.startswith(key + _OF)]
    others = ", ".join(f"{other.removeprefix(key + _OF)} {accuracy[other]:.0%}" for other in beside)
    median = f", median error {accuracy[name + _MEDIAN]:.0f} px" if name + _MEDIAN in accuracy else ""
    share = f"{accuracy[key]:.0%} of joints right"
    return f"{_title(name)}: {share}{f' ({others})' if others else ''}{median}"


def _title(name: str) -> str:
    first, *rest = name.split("_")
    return " ".join([first.upper() if first in _INITIALS else first.capitalize(), *rest])
