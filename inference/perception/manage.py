"""The models on this machine: list them, add a card of one's own, remove it again."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ModelError
from .card import _DECODER_SETTINGS as DECODER_SETTINGS
from .card import ModelCard, model_folders, read_card, user_model_folder
from .packs import CARDS, PACKS, write_atomically
from .session import Session

_FILE_LINE = re.compile(r"^file\s*=.*$", re.MULTILINE)
_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class ModelEntry:
    """One known model: its card's name, what it is, and whether it can be used."""

    name: str
    card: Path
    state: str  # "ready", or one line that says what is wrong or missing
    kind: str = ""
    layout: str = ""
    licence: str = ""
    sha256: str = ""
    provenance: str = ""
    accuracy: Mapping[str, Any] = field(default_factory=dict)  # as measured, from the card
    origin: str = "own"  # or "bundled"; "fetched": its network lies in the user's folder

    @property
    def line(self) -> str:
        """The entry as one line for a person."""
        if not self.ready:
            return f"{self.name}: cannot be used: {self.state}"
        layout = f", keypoints {self.layout}" if self.layout else ""
        return f"{self.name}: ready, {self.kind}{layout}, licence {self.licence}, sha256 {self.sha256}"

    @property
    def ready(self) -> bool:
        """Whether the card is sound and its network is there."""
        return self.state == "ready"


def list_models() -> list[ModelEntry]:
    """List every model card that can be found, sorted by name.

    Convention:
        of cards with the same name the one that a solve would use; a card that cannot be used is listed
        with the reason, never left out.
    """
    cards: dict[str, Path] = {}
    for folder in model_folders():
        for path in sorted(folder.glob("*.toml")):
            cards.setdefault(path.stem, path)
    return [_entry(name, path) for name, path in sorted(cards.items())]


def _entry(name: str, path: Path) -> ModelEntry:
    origin = "own" if path.parent == user_model_folder() else "bundled"
    try:
        card = read_card(path)
    except ModelError as error:
        return ModelEntry(name, path, state=str(error), origin=origin)
    if origin == "bundled" and card.path.parent == user_model_folder():
        origin = "fetched"
    facts = (card.kind, card.layout, card.licence, card.sha256, card.provenance, card.accuracy)
    return ModelEntry(name, path, "ready", *facts, origin)


def add_model(card_path: Path) -> ModelCard:
    """Copy a card and its network into the user's models folder, after trying them.

    Convention:
        the network stands beside the card; it is stored under the card's name, because many networks
        are published under the same file name. An older model of the same name is replaced.

    Args:
        card_path: the card, a TOML file.

    Returns:
        The card as installed.

    Raises:
        ModelError: the card or its network is wrong, its name belongs to a pack, or the folder cannot be written.
    """
    card = read_card(card_path, folders=())
    _check_name(card_path, card.name)
    _check_tensors(card_path, card)
    folder = user_model_folder()
    network = f"{card.name}.onnx"
    text = _FILE_LINE.sub(lambda _: f"file = {json.dumps(network)}", card_path.read_text(encoding="utf-8"), count=1)
    if tomllib.loads(text).get("file") != network:
        raise ModelError(f"{card_path}: write the key 'file' as a line of its own at the top of the card")
    write_atomically(folder / network, card.path.read_bytes())
    write_atomically(folder / f"{card.name}.toml", text.encode())
    return read_card(folder / f"{card.name}.toml", folders=())


def remove_model(name: str) -> None:
    """Remove a model of one's own: its card and its network in the user's models folder.

    Raises:
        ModelError: there is none of that name, it is not the user's own, or the files cannot be removed.
    """
    folder = user_model_folder()
    card = folder / f"{name}.toml"
    if _is_ours(name):
        raise ModelError(f"the model {name!r} belongs to Sightline; only models of your own can be removed")
    if not _SAFE_NAME.fullmatch(name) or not card.is_file():
        raise ModelError(f"no model of your own is called {name!r} in {folder}")
    try:
        for path in (card, folder / f"{name}.onnx"):  # the card first: it never stands without its network
            path.unlink(missing_ok=True)
    except OSError as error:
        raise ModelError(f"{error.filename} cannot be removed: {error.strerror}") from error


def _check_name(card_path: Path, name: str) -> None:
    if not _SAFE_NAME.fullmatch(name):
        raise ModelError(f"{card_path}: name {name!r} becomes a file name; use letters, digits, '_', '-' and '.'")
    if (CARDS / f"{name}.toml").exists():
        packs = ", ".join(PACKS)
        raise ModelError(f"{card_path}: the name {name!r} belongs to a pack that is fetched ({packs}); choose another")
    if _is_ours(name):
        raise ModelError(f"{card_path}: Sightline carries a model {name!r}; give yours another name")


def _is_ours(name: str) -> bool:
    """Whether Sightline itself has a card of that name, which would hide one in the user's folder."""
    return any((folder / f"{name}.toml").exists() for folder in model_folders() if folder != user_model_folder())


def _check_tensors(card_path: Path, card: ModelCard) -> None:
    """Raise unless the network can be loaded and has the tensors that the card names."""
    session = Session(card.path, provider="cpu")
    if card.input.name not in session.input_names:
        found = ", ".join(session.input_names)
        raise ModelError(f"{card_path}: the network has no input {card.input.name!r}; it has: {found}")
    for meaning, name in card.outputs.items():
        if meaning not in DECODER_SETTINGS and name not in session.output_names:
            found = ", ".join(session.output_names)
            raise ModelError(f"{card_path}: the network has no output {name!r} ({meaning}); it has: {found}")
