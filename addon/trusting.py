"""What the scene remembers of how far a solve can be trusted: spans of doubt, and a light for every camera."""
# pyright: reportOptionalSubscript=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

from pathlib import Path

import bpy

from ..inference.report.trust import CHECK_SIGMA_M, in_words
from ..inference.report.written import read_views
from .host.axes import ELLIPSOID_SHARE, ellipsoid_factor
from .host.parts import VIEW, parts_in, take_collection
from .host.uncertainty import camera_lights
from .overlays.shown import SOLUTION, ShownTake, shown_take

LIGHT, LIGHT_WHY = "sightline_light", "sightline_light_why"  # on a camera
SHARES = ("50", "90", "95")  # of the true places that the ellipsoids may be drawn to hold
_MOST_DOUBTS = 100  # in the list
_MOST_NAMES = 6  # of joints in a sentence


def remember_trust(scene: bpy.types.Scene, take: str, folder: Path) -> None:
    """Enter what the results in ``folder`` say into the take's collection, its cameras and the panel's list.

    Convention:
        the take's objects are in the scene, and the panel speaks of this take.

    Raises:
        InputError: the solution cannot be read.
    """
    take_collection(scene, take)[SOLUTION] = str(folder / "solution.npz")
    shown, known = shown_take(scene, take), scene.sightline.overlay
    known.doubts.clear()
    known.visited = known.told = ""
    known.doubt_index = 0
    several, count = len(shown.data.never) > 1, len(shown.data.solution.solved.joint_names)
    sentences = [_never(names, f"person {n}: " * several, count) for n, names in enumerate(shown.data.never, 1)]
    known.some_sure = any(len(names) < count for names in shown.data.never)
    known.never = "\n".join(sentence for sentence in sentences if sentence)
    for doubt in shown.data.doubts[:_MOST_DOUBTS]:
        entry = known.doubts.add()
        person = f" of person {doubt.person + 1}" if several else ""
        sigma = doubt.worst_sigma_m
        sure = f", ±{sigma * 100:.0f} cm at worst" if sigma == sigma else ""
        entry.name = in_words(doubt.joints) + person
        entry.reason = f"{entry.name}: {doubt.reason}{sure}"
        entry.first, entry.last = shown.start + doubt.first, shown.start + doubt.last
    set_share(scene, shown, known.share)
    show_lights(scene, take, folder)


def _never(names: tuple[str, ...], whose: str, count: int) -> str:
    """Say which joints of a person are not to be trusted in any frame, "" if none."""
    if not names:
        return ""
    if len(names) == count:
        return f"{whose}no joint is ever surer than {CHECK_SIGMA_M * 100:.0f} cm"
    more = f" and {len(names) - _MOST_NAMES} more joints" if len(names) > _MOST_NAMES else ""
    return f"{whose}never surer than {CHECK_SIGMA_M * 100:.0f} cm: {in_words(names[:_MOST_NAMES])}{more}"


def set_share(scene: bpy.types.Scene, shown: ShownTake, share: str) -> None:
    """Show the ellipsoids of a take at another share, by their display size alone."""
    freedom = shown.data.solution.solved.degrees_of_freedom
    size = ellipsoid_factor(freedom, int(share) / 100) / ellipsoid_factor(freedom, ELLIPSOID_SHARE)
    for item in parts_in(scene, "ellipsoid", shown.take):
        item.empty_display_size = size
    scene.sightline.overlay.share = share


def show_lights(scene: bpy.types.Scene, take: str, folder: Path) -> None:
    """Give every camera of a take the light that the report in ``folder`` earns it; without a report, none."""
    lights = {light.view: light for light in camera_lights(read_views(folder))}
    for camera in parts_in(scene, "camera", take):
        light = lights.get(camera[VIEW])
        camera[LIGHT], camera[LIGHT_WHY] = (light.colour, light.sentence) if light else ("", "")
