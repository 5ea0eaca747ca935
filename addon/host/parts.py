"""Which data in a scene are ours, what they stand for, and whether somebody has edited them.

Every object that Sightline makes carries plain custom properties (take, layer, view or person and joint),
and the take's collection points to it. Names are for people: nothing here looks at them.
"""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import bpy

KIND, TAKE, LAYER = "sightline_kind", "sightline_take", "sightline_layer"
VIEW, PERSON, JOINT = "sightline_view", "sightline_person", "sightline_joint"
FINGERPRINT = "sightline_fingerprint"
RAW, SOLVED, CLEANED = "raw", "solved", "cleaned"


@dataclass(frozen=True)
class Part:
    """What one object stands for."""

    kind: str  # camera | armature | ellipsoid
    take: str
    layer: str = SOLVED
    view: str | None = None
    person: int | None = None
    joint: str | None = None

    @property
    def properties(self) -> dict[str, str | int]:
        """The custom properties that say so."""
        named = {
            KIND: self.kind, TAKE: self.take, LAYER: self.layer,
            VIEW: self.view, PERSON: self.person, JOINT: self.joint,
        }  # fmt: skip
        return {key: value for key, value in named.items() if value is not None}

    @property
    def pointer(self) -> str:
        """The key under which the take's collection points to the object."""
        return f"part {digest(*map(str, self.properties.values()))}"  # names of properties are short


def part_of(item: bpy.types.ID) -> Part | None:
    """Return what an object stands for; None if it is not ours."""
    if item.get(KIND) is None or item.get(TAKE) is None:
        return None
    return Part(item[KIND], item[TAKE], item.get(LAYER, SOLVED), item.get(VIEW), item.get(PERSON), item.get(JOINT))


def parts_in(scene: bpy.types.Scene, kind: str, take: str | None = None) -> list[bpy.types.Object]:
    """Return our objects of one kind, of one take or of all; edited ones (layer ``cleaned``) included."""
    found = [(part_of(item), item) for item in scene.objects]
    return [item for part, item in found if part and part.kind == kind and take in (None, part.take)]


def pointed_parts(context: bpy.types.Context, kind: str, take: str) -> list[bpy.types.Object]:
    """Return the objects of one kind that the last solve of a take made and that are still in the view layer.

    For drawing: it costs the same however many objects the scene has besides.
    """
    home = take_collection(context.scene, take)
    there = context.view_layer.objects
    found = [item for item in (home or {}).values() if isinstance(item, bpy.types.Object) and item.get(KIND) == kind]
    return [item for item in found if there.get(item.name) == item]


def take_collection(scene: bpy.types.Scene, take: str) -> bpy.types.Collection | None:
    """Return the collection of a take in this scene."""
    return next((c for c in scene.collection.children_recursive if c.get(KIND) == "take" and c.get(TAKE) == take), None)


def ensure_take_collection(scene: bpy.types.Scene, take: str) -> bpy.types.Collection:
    """Return the collection of a take in this scene; make it if needed."""
    return take_collection(scene, take) or _new_collection(scene.collection, take, {KIND: "take", TAKE: take})


def find_group(scene: bpy.types.Scene, take: str, group: str) -> bpy.types.Collection | None:
    """Return a take's collection for one kind of objects."""
    home = take_collection(scene, take)
    return next((c for c in home.children_recursive if c.get(KIND) == f"group/{group}"), None) if home else None


def ensure_group(home: bpy.types.Collection, group: str, hidden: bool = False) -> bpy.types.Collection:
    """Return the take's collection for one kind of objects; make it if needed, then hidden or not."""
    kind = f"group/{group}"
    found = next((child for child in home.children_recursive if child.get(KIND) == kind), None)
    if found is None:
        found = _new_collection(home, f"{home[TAKE]} {group}", {KIND: kind, TAKE: home[TAKE]})
        found.hide_viewport = found.hide_render = hidden
    return found


def _new_collection(parent: bpy.types.Collection, name: str, properties: dict[str, str]) -> bpy.types.Collection:
    made = bpy.data.collections.new(name)
    for key, value in properties.items():
        made[key] = value
    parent.children.link(made)
    return made


class Claims:
    """Our objects of one take while a solve is entered: which are taken again, which are left over.

    An object that was edited since we wrote it is not ours any more: it becomes the layer ``cleaned``
    and stays as it is; a fresh object takes its place.
    """

    def __init__(self, scene: bpy.types.Scene, take: str, fingerprint: Callable[[bpy.types.Object], str]) -> None:
        self.home = ensure_take_collection(scene, take)
        self._fingerprint = fingerprint
        self._known = dict(self._found(scene, take))

    def _found(self, scene: bpy.types.Scene, take: str) -> Iterator[tuple[Part, bpy.types.Object]]:
        """Yield our objects, one for each part: the one pointed to, else the first; copies are the animator's."""
        candidates: dict[Part, bpy.types.Object] = {}
        for item in scene.objects:
            part = part_of(item)
            if part and part.take == take and part.layer != CLEANED:
                pointed = self.home.get(part.pointer)
                if pointed == item or (pointed is None and part not in candidates):
                    candidates[part] = item
        yield from candidates.items()

    def _take(self, part: Part) -> bpy.types.Object | None:
        """Return the object of a part if nobody edited it; an edited one is left to the animator."""
        item = self._known.pop(part, None)
        if item is None:
            return None
        if part.pointer in self.home:
            del self.home[part.pointer]
        if item.get(FINGERPRINT) == self._fingerprint(item):
            return item
        item[LAYER] = CLEANED
        return None

    def claim(
        self, part: Part, group: bpy.types.Collection, name: str, data: Callable[[], bpy.types.ID | None]
    ) -> bpy.types.Object:
        """Return the object of a part: the one of the solve before, or a new one with ``data()``."""
        item = self._take(part)
        if item is None:
            item = bpy.data.objects.new(name, data())
            group.objects.link(item)
            for key, value in part.properties.items():
                item[key] = value
        self.home[part.pointer] = item
        return item

    def seal(self, item: bpy.types.Object) -> None:
        """Remember what was written, so that an edit can be told from it."""
        item[FINGERPRINT] = self._fingerprint(item)

    def remove_leftovers(self) -> None:
        """Remove unedited objects of the solve before that this solve has no use for."""
        for part in list(self._known):
            item = self._take(part)
            if item is None:
                continue
            data, action = item.data, item.animation_data.action if item.animation_data else None
            bpy.data.objects.remove(item)
            for unused in (data, action):
                if unused is not None and unused.users == 0:
                    bpy.data.batch_remove([unused])


def digest(*pieces: bytes | str) -> str:
    """Return a short hash of the pieces in order."""
    total = hashlib.sha256()
    for piece in pieces:
        total.update(piece.encode() if isinstance(piece, str) else piece)
        total.update(b"\0")
    return total.hexdigest()[:32]
