"""Model cards: what a network takes, gives, may be used for, and how far it can be trusted.

A card is a TOML file; the network it names lies beside it or in one of `model_folders`.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from ..config import checked_table, nearest_key
from ..errors import InputError, ModelError
from ..layouts import LAYOUTS

_PACKAGE = Path(__file__).resolve().parent

# Output names that each kind of network must (and may) name, and settings of its decoder.
KINDS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    kind: (frozenset(needed.split()), frozenset(allowed.split()))
    for kind, (needed, allowed) in {
        "heatmap": ("heatmaps", "cells"),
        "simcc": ("simcc_x simcc_y", "split_ratio values"),
        "regression": ("keypoints", "covariance sigma scores unit"),
        "blazepose_landmarks": ("landmarks heatmaps presence", "mask world"),
        "blazepose_boxes": ("boxes scores", ""),
        "boxes": ("boxes scores", ""),
        "flow": ("poses", ""),
    }.items()
}
BOX_KINDS = ("boxes", "blazepose_boxes")
_DECODER_SETTINGS = {  # key of [outputs] that is not a tensor name: its default and what it may be
    "cells": ("centre", ("centre", "index", "udp")),
    "values": ("density", ("density", "logits")),
    "unit": ("px", ("px", "share")),
}
_OTHER_OUTPUTS = {"split_ratio": float}  # key of [outputs] that is no text


@dataclass(frozen=True)
class NetworkInput:
    """What a network wants to see."""

    name: str
    size: tuple[int, int]  # (width, height) px
    order: str = "NCHW"  # or NHWC
    channels: str = "RGB"  # or BGR
    range: tuple[float, float] = (0.0, 1.0)  # what 0 and 255 become, before mean and std
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)  # in units of range, in the order of channels
    std: tuple[float, ...] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class KeypointNoise:
    """How wrong a keypoint is, in pixels of the network's input.

    Its covariance is ``sigma_px² I + heatmap_scale² (C - heatmap_sigma_px² I)``, where C is what the network's
    own output says and heatmap_sigma_px is the width that its training targets give to every peak.
    """

    sigma_px: float  # of a keypoint of which the network is sure
    heatmap_scale: float = 1.0
    heatmap_sigma_px: float = 0.0
    nu: float = 5.0  # degrees of freedom of the Student t
    memory_frames: float = 0.0  # frames after which the error has forgotten itself (1/e)
    offset_px: tuple[float, float] = (0.0, 0.0)  # mean error of the network's output, already seen at calibration
    placement_m: float = 0.0  # sigma per axis, m: where on the body it sets the joint, alike in all views
    view_correlation: float = 0.0  # ρ of two views' errors: n views tell as much as n / (1 + ρ (n − 1))


@dataclass(frozen=True)
class ModelCard:
    """A network with all that is known about it."""

    name: str
    kind: str  # key of KINDS
    path: Path  # of the network
    sha256: str
    layout: str  # key of layouts.LAYOUTS; "" for boxes
    licence: str
    provenance: str
    person_detector: str  # name of the card that finds people; "" for boxes
    input: NetworkInput
    outputs: Mapping[str, str]  # tensor names by meaning, and the decoder's settings
    split_ratio: float = 2.0  # SimCC bins per pixel
    accuracy: Mapping[str, Any] = field(default_factory=dict)
    noise: Mapping[str, KeypointNoise] = field(default_factory=dict)  # by joint name or "default"

    def noise_of(self, joint_name: str) -> KeypointNoise:
        """Return the noise of a joint; a card that says nothing gets 1 % of its input width."""
        unknown = KeypointNoise(sigma_px=0.01 * self.input.size[0])
        return self.noise.get(joint_name, self.noise.get("default", unknown))

    def summary(self) -> dict[str, Any]:
        """Return what a report says about the network, as plain JSON values."""
        return {
            "name": self.name,
            "kind": self.kind,
            "layout": self.layout,
            "sha256": self.sha256,
            "licence": self.licence,
            "provenance": self.provenance,
            "accuracy": dict(self.accuracy),
        }


def user_model_folder() -> Path:
    """Return where fetched and added networks are kept: SIGHTLINE_MODELS, or the user's data folder."""
    if os.environ.get("SIGHTLINE_MODELS"):
        return Path(os.environ["SIGHTLINE_MODELS"]).expanduser()
    home = Path.home()
    if sys.platform == "win32":
        data = Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local"))
    elif sys.platform == "darwin":
        data = home / "Library" / "Application Support"
    else:
        data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    return data / "sightline" / "models"


def model_folders() -> tuple[Path, ...]:
    """Return the folders in which cards and networks are looked for, in order.

    Convention:
        our own cards first, so that an old copy in the user's folder never hides a newer one; then the models
        that the extension carries; then the user's.
    """
    return (_PACKAGE / "cards", _PACKAGE.parent / "models", user_model_folder())


def find_card(name: str, folders: Iterable[Path] | None = None) -> ModelCard:
    """Read the card of that name from the first folder that has both the card and its network.

    Args:
        name: the card's name, or the path of a card file.
        folders: where to look; `model_folders` if None.

    Raises:
        ModelError: no such card, or its network is missing or is another one.
    """
    folders = tuple(model_folders() if folders is None else folders)
    if name.endswith(".toml"):
        return read_card(Path(name), folders)
    found = [folder / f"{name}.toml" for folder in folders if (folder / f"{name}.toml").is_file()]
    if not found:
        known = sorted({path.stem for folder in folders for path in folder.glob("*.toml")})
        raise ModelError(f"no model card {name!r}{nearest_key(name, known) if known else ''} (looked in {folders[-1]})")
    return read_card(found[0], folders)


def read_card(path: Path, folders: Iterable[Path] | None = None) -> ModelCard:
    """Read and check a card and the hash of its network.

    Convention:
        the network lies beside the card, or in one of the folders.

    Args:
        path: the card, a TOML file.
        folders: where else to look for the network; `model_folders` if None.

    Raises:
        ModelError: the card cannot be read, has unknown, missing or senseless keys, or its network is
            missing or has another sha256.
    """
    table = _read_toml(path)
    _check_keys(
        path,
        "",
        table,
        "name kind file sha256 licence provenance input outputs",
        "layout person_detector accuracy noise",
    )
    _check_texts(path, table)
    kind = table["kind"]
    if kind not in KINDS:
        raise ModelError(f"{path}: unknown kind {kind!r}{nearest_key(kind, KINDS)}")
    _check_layout(path, table)
    needed, allowed = KINDS[kind]
    _check_keys(path, "outputs", table["outputs"], " ".join(needed), " ".join(allowed))
    outputs = _typed(f"{path}: [outputs]", table["outputs"], dict.fromkeys(needed | allowed, str) | _OTHER_OUTPUTS)
    split_ratio = outputs.pop("split_ratio", 2.0)
    if split_ratio <= 0:
        raise ModelError(f"{path}: [outputs] split_ratio = {split_ratio:g} must be above 0")
    network = _find_network(path, table["file"], model_folders() if folders is None else folders)
    _check_hash(path, network, table["sha256"])
    return ModelCard(
        name=table["name"],
        kind=kind,
        path=network,
        sha256=table["sha256"].lower(),
        layout=table.get("layout", ""),
        licence=table["licence"],
        provenance=table["provenance"],
        person_detector=table.get("person_detector", ""),
        input=_network_input(path, table["input"]),
        outputs=_decoder_settings(path, outputs, allowed),
        split_ratio=split_ratio,
        accuracy=_subtable(path, table, "accuracy"),
        noise=_noise(path, _subtable(path, table, "noise"), table.get("layout", "")),
    )


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, in lower-case hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"model card {path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # no UTF-8, no TOML, numbers of thousands of digits, deep nesting
        raise ModelError(f"model card {path} is not valid TOML: {error}") from error


def _check_keys(path: Path, table_name: str, table: Any, needed: str, allowed: str) -> None:
    where = f"{path}: [{table_name}]" if table_name else f"{path}"
    if not isinstance(table, dict):
        raise ModelError(f"{where} must be a table")
    known = [*needed.split(), *allowed.split()]
    for key in table:
        if key not in known:
            raise ModelError(f"{where}: unknown key {key!r}{nearest_key(key, known)}")
    missing = [key for key in needed.split() if key not in table]
    if missing:
        raise ModelError(f"{where}: missing {', '.join(missing)}")


def _typed(where: str, table: Any, types: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return checked_table(table, types, where)
    except InputError as problem:
        raise ModelError(str(problem)) from problem


def _subtable(path: Path, table: Mapping[str, Any], key: str, within: str = "") -> dict[str, Any]:
    value = table.get(key, {})
    if not isinstance(value, dict):
        raise ModelError(f"{path}: [{within}{key}] must be a table")
    return value


def _check_texts(path: Path, table: Mapping[str, Any]) -> None:
    optional = [key for key in ("layout", "person_detector") if table.get(key) not in (None, "")]
    for key in ("name", "kind", "file", "sha256", "licence", "provenance", *optional):
        if not isinstance(table[key], str) or not table[key]:
            raise ModelError(f"{path}: {key} must be a text that is not empty")


def _check_layout(path: Path, table: dict[str, Any]) -> None:
    if table["kind"] in BOX_KINDS:
        return
    if table.get("layout") not in LAYOUTS:
        raise ModelError(f"{path}: unknown layout {table.get('layout')!r}; known: {', '.join(sorted(LAYOUTS))}")
    if table["kind"] != "flow" and not table.get("person_detector"):
        raise ModelError(f"{path}: missing person_detector (the name of the card that finds people)")


def _network_input(path: Path, table: Any) -> NetworkInput:
    _check_keys(path, "input", table, "name size", "order channels range mean std")
    result = NetworkInput(**_typed(f"{path}: [input]", table, get_type_hints(NetworkInput)))
    sizes_fit = [
        (min(result.size) > 0, "size must be [width, height], above 0"),
        (result.order in ("NCHW", "NHWC"), "order must be NCHW or NHWC"),
        (sorted(result.channels) == ["B", "G", "R"], "channels must be RGB or BGR"),
        (len(result.mean) == 3 and len(result.std) == 3, "mean and std must be three numbers"),
        (all(value != 0 for value in result.std), "std must not be 0"),
    ]
    for fits, message in sizes_fit:
        if not fits:
            raise ModelError(f"{path}: [input] {message}")
    return result


def _decoder_settings(path: Path, outputs: dict[str, str], allowed: frozenset[str]) -> dict[str, str]:
    for key, (default, choices) in _DECODER_SETTINGS.items():
        if key in allowed and outputs.setdefault(key, default) not in choices:
            raise ModelError(f"{path}: [outputs] {key} = {outputs[key]!r}; must be one of {', '.join(choices)}")
    return outputs


def _noise(path: Path, table: Mapping[str, Any], layout_name: str) -> dict[str, KeypointNoise]:
    """Read ``[noise]``: one table for all joints, or ``default`` and tables of joints that say what differs from it.

    A joint without its side stands for both.
    """
    per_joint = table if any(isinstance(value, dict) for value in table.values()) else {"default": table}
    if not table:
        return {}
    for joint in per_joint:
        _subtable(path, per_joint, joint, "noise.")
    joints = LAYOUTS[layout_name].joint_names if layout_name else ()
    default = per_joint.get("default", {})
    result = {}
    for joint, values in per_joint.items():
        meant = [name for name in ("default", *joints) if joint in (name, name.partition("_")[2])]
        if not meant:
            raise ModelError(f"{path}: [noise] unknown joint {joint!r}{nearest_key(joint, joints)}")
        noise = _joint_noise(path, joint, {**default, **values})
        result |= dict.fromkeys(meant, noise)
    return result


def _joint_noise(path: Path, joint: str, values: Mapping[str, Any]) -> KeypointNoise:
    optional = "nu memory_frames offset_px heatmap_scale heatmap_sigma_px placement_m view_correlation"
    _check_keys(path, f"noise.{joint}", values, "sigma_px", optional)
    offset = values.get("offset_px", (0.0, 0.0))
    both = {"offset_px": (offset, offset)} if isinstance(offset, int | float) else {}
    noise = KeypointNoise(**_typed(f"{path}: [noise.{joint}]", {**values, **both}, get_type_hints(KeypointNoise)))
    if noise.sigma_px <= 0 or noise.nu <= 2 or noise.heatmap_scale < 0:
        raise ModelError(f"{path}: [noise.{joint}] needs sigma_px > 0, nu > 2, heatmap_scale >= 0")
    if not 0 <= noise.placement_m < 0.5:
        raise ModelError(f"{path}: [noise.{joint}] placement_m = {noise.placement_m:g} must be metres, 0 to 0.5")
    if not 0 <= noise.view_correlation < 1:
        raise ModelError(f"{path}: [noise.{joint}] view_correlation = {noise.view_correlation:g} must lie in 0 … 1")
    return noise


def _find_network(card: Path, file: str, folders: Iterable[Path]) -> Path:
    for folder in (card.resolve().parent, *folders):
        if (folder / file).is_file():
            return folder / file
    raise ModelError(
        f"model card {card}: its network {file!r} is missing; fetch it with 'python -m inference models fetch' "
        f"or put it beside the card"
    )


def _check_hash(card: Path, network: Path, expected: str) -> None:
    found = sha256_of(network)
    if found != expected.lower():
        raise ModelError(
            f"{network}: sha256 {found[:12]}… differs from {expected[:12].lower()}… on the card {card.name}; "
            f"fetch the model again or correct the card"
        )
