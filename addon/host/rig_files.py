"""The targets of retargeting as data: one TOML file each under ``addon/rigs``, with the bones of every body part."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ...inference.errors import InputError
from ...inference.motion.retarget import PARTS
from ...inference.motion.target_skeleton import REST_POSES

FOLDER = Path(__file__).resolve().parent.parent / "rigs"
Naming = Mapping[str, tuple[str, ...]]  # part: bones, upper ones first


@dataclass(frozen=True)
class RigFile:
    """One target: how its bones are called, and how its characters stand at rest."""

    key: str  # the file's name
    label: str
    rest_pose: str
    root: str  # name of the bone on the ground
    namings: tuple[Naming, ...]  # the first is the one that new armatures get


@dataclass(frozen=True)
class Match:
    """Which bones of an armature a target's naming means."""

    target: RigFile
    parts: Mapping[str, tuple[str, ...]]  # bones that the armature has
    missing: tuple[str, ...]  # bones of the naming that it has not
    root: str  # empty where there is none


@cache
def rig_files() -> tuple[RigFile, ...]:
    """Return all targets, by name."""
    return tuple(read_rig_file(path) for path in sorted(FOLDER.glob("*.toml")))


def find_rig(key: str) -> RigFile:
    """Return one target; dashes, case and the label are as good as the file's name.

    Raises:
        InputError: there is none of this name.
    """
    wanted = key.strip().lower().replace("-", "_").replace(" ", "_")
    for target in rig_files():
        if wanted in (target.key, target.label.lower().replace(" ", "_"), target.key.split("_")[0]):
            return target
    raise InputError(f"unknown rig {key!r}; known: {', '.join(target.key for target in rig_files())}")


def read_rig_file(path: Path) -> RigFile:
    """Read one target.

    Raises:
        InputError: the file cannot be read, or says something that is not known; the message names it.
    """
    try:
        text = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise InputError(f"{path}: {' '.join(str(problem).split())}") from problem
    unknown = set(text) - {"label", "rest_pose", "root", "naming"}
    if unknown or text.get("rest_pose") not in REST_POSES or not text.get("naming"):
        known = f"label, rest_pose ({' or '.join(REST_POSES)}), root, [[naming]]"
        raise InputError(f"{path}: a rig has {known}{'; not ' + ', '.join(sorted(unknown)) if unknown else ''}")
    namings = tuple(_naming(path, table) for table in text["naming"])
    return RigFile(path.stem, str(text.get("label", path.stem)), text["rest_pose"], str(text.get("root", "")), namings)


def _naming(path: Path, table: Mapping[str, Any]) -> Naming:
    for part, bones in table.items():
        if part not in PARTS:
            raise InputError(f"{path}: {part!r} is no part of the body; known: {', '.join(PARTS)}")
        if not (isinstance(bones, list) and bones and all(isinstance(bone, str) and bone for bone in bones)):
            raise InputError(f"{path}: {part} must list names of bones")
    if "hips" not in table:
        raise InputError(f"{path}: a naming needs hips")
    return {part: tuple(table[part]) for part in PARTS if part in table}


def match_rig(bones: Collection[str], wanted: str = "") -> Match:
    """Find the target and the naming that fit the bones of an armature best.

    Convention:
        names are equal letter by letter, or but for a namespace before the last colon.

    Args:
        bones: names of the armature's bones.
        wanted: a target; empty: any.

    Raises:
        InputError: no naming fits.
    """
    targets = (find_rig(wanted),) if wanted else rig_files()
    plain = {_plain(bone): bone for bone in bones} | {bone: bone for bone in bones}
    found = [_match(target, naming, plain) for target in targets for naming in target.namings]
    best = max(found, key=lambda match: (sum(map(len, match.parts.values())), -len(match.missing)))
    limbs = [part for part in best.parts if part not in ("hips", "spine", "neck", "head")]
    if "hips" not in best.parts or not limbs:
        names = " or ".join(target.label for target in targets)
        raise InputError(f"the bones of this armature are not named as those of {names}: no hips with limbs")
    return best


def _match(target: RigFile, naming: Naming, plain: Mapping[str, str]) -> Match:
    there = {
        part: tuple(plain[_known(bone, plain)] for bone in bones if _known(bone, plain))
        for part, bones in naming.items()
    }
    missing = tuple(bone for bones in naming.values() for bone in bones if not _known(bone, plain))
    root = _known(target.root, plain) if target.root else ""
    return Match(target, {part: bones for part, bones in there.items() if bones}, missing, plain[root] if root else "")


def _known(bone: str, plain: Mapping[str, str]) -> str:
    """Return under which key an armature has a bone; empty if it has not."""
    return bone if bone in plain else _plain(bone) if _plain(bone) in plain else ""


def _plain(bone: str) -> str:
    return bone.rsplit(":", 1)[-1]
