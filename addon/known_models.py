"""The models on this machine as the preferences show them: read once, for their networks are hashed."""

from __future__ import annotations

from ..inference.perception.card import BOX_KINDS
from ..inference.perception.manage import ModelEntry, list_models
from ..inference.perception.packs import PACKS


class _State:
    """What was read."""

    models: tuple[ModelEntry, ...] | None = None


def known_models() -> tuple[ModelEntry, ...]:
    """Return all models, sorted by name; looks at the disk the first time, and after `forget_models`."""
    if _State.models is None:
        _State.models = tuple(list_models())
    return _State.models


def forget_models() -> None:
    """Look at the disk again the next time."""
    _State.models = None


def detectors() -> tuple[ModelEntry, ...]:
    """Return the models that can be chosen to find keypoints; those that find boxes serve them."""
    return tuple(model for model in known_models() if model.ready and model.kind not in BOX_KINDS)


def missing_detector(name: str) -> str:
    """Say that a detector cannot be used, "" if it can; a card named by its path is looked at by the solve."""
    names = [model.name for model in detectors()]
    if name in names or name.endswith(".toml"):
        return ""
    return f"No detector is called {name!r}; there are: {', '.join(names) or 'none, see the preferences'}"


def missing_packs() -> tuple[str, ...]:
    """Return the packs of which a network is not there."""
    ready = {model.name for model in known_models() if model.ready}
    return tuple(name for name, pack in PACKS.items() if not {each.card for each in pack.networks} <= ready)


def download_note(name: str) -> str:
    """Say what fetching a pack downloads."""
    pack = PACKS[name]
    return f"{pack.requirement}, {pack.megabytes:.1f} MB, from the Python package index"
