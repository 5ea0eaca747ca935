"""Small pictures of the videos for the panel; Blender makes them beside its other work, and keeps them on disk."""
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import bpy
import bpy.utils.previews


class _State:
    """The pictures; Blender complains at its end of those that nobody took away."""

    pictures: bpy.utils.previews.ImagePreviewCollection | None = None


def thumbnail(path: str) -> int:
    """Return the icon of a video; it stays empty until Blender has read the video, or if it cannot."""
    if _State.pictures is None:
        _State.pictures = bpy.utils.previews.new()
    found = _State.pictures.get(path) or _State.pictures.load(path, bpy.path.abspath(path), "MOVIE")
    return found.icon_id


def forget_thumbnails() -> None:
    """Take the pictures away."""
    if _State.pictures is not None:
        bpy.utils.previews.remove(_State.pictures)
        _State.pictures = None
