"""The models: a list in the preferences, a menu in the step Person."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

import bpy

from ...inference.perception.card import BOX_KINDS
from ...inference.perception.manage import ModelEntry
from ...inference.perception.measured import RIGHT, details, headlines
from ..known_models import detectors, download_note, known_models, missing_packs
from ..operators.models import adapting_impossible
from .tab import say

_WIDTH = 85  # letters of a line in the preferences
_WORK = {"flow": "samples bodies where too few views see the person"}
_ICONS = {"bundled": "PACKAGE", "fetched": "IMPORT", "own": "USER"}


class SIGHTLINE_MT_detectors(bpy.types.Menu):
    """The detectors on this machine."""

    bl_label = "Detectors"

    def draw(self, _context: bpy.types.Context) -> None:
        for model in detectors():
            text = f"{model.name} ({model.layout}, {model.licence})"
            self.layout.operator("sightline.choose_detector", text=text).detector = model.name
        if not detectors():
            self.layout.label(text="None; see the preferences of Sightline", icon="ERROR")


def draw_models(layout: bpy.types.UILayout, chosen: bpy.types.AddonPreferences, opened: str) -> None:
    """Draw the list of models with what is known of each, and what can be done."""
    row = layout.row(align=True)
    row.label(text="Models", icon="OUTLINER_OB_ARMATURE")
    row.operator("sightline.add_model", icon="ADD")
    row.operator("sightline.refresh_models", text="", icon="FILE_REFRESH")
    for model in known_models():
        _draw_model(layout.box(), model, model.name == opened)
    say(layout, f"{RIGHT}. The arrows show all that was measured", "INFO", _WIDTH)
    layout.operator("sightline.adapt_detector", icon="MOD_PHYSICS")
    say(layout, adapting_impossible(bpy.context.scene), "INFO", _WIDTH)
    for name in missing_packs():
        box = layout.box()
        box.label(text=f"The pack {name} is not complete: Fetch gets {download_note(name)}", icon="INTERNET")
        row = box.row()
        row.prop(chosen, "allow_fetch")
        row.operator("sightline.fetch_models", icon="IMPORT").pack = name


def _draw_model(box: bpy.types.UILayout, model: ModelEntry, opened: bool) -> None:
    row = box.row(align=True)
    arrow = "DISCLOSURE_TRI_DOWN" if opened else "DISCLOSURE_TRI_RIGHT"
    row.operator("sightline.open_model", text="", icon=arrow, emboss=False).model = model.name
    icon = _ICONS[model.origin] if model.ready else "ERROR"
    row.label(text=f"{model.name}: {model.origin if model.ready else 'cannot be used'}", icon=icon)
    if model.origin == "own":
        row.operator("sightline.remove_model", text="", icon="TRASH").model = model.name
    column = box.column()
    column.scale_y = 0.8
    if not model.ready:
        say(column, model.state, "BLANK1", _WIDTH)
        return
    work = _WORK.get(model.kind, "finds people" if model.kind in BOX_KINDS else "finds keypoints")
    layout_text = f" ({model.layout})" if model.layout else ""
    say(column, f"{work[0].upper()}{work[1:]}{layout_text}; licence {model.licence}", "BLANK1", _WIDTH)
    for line in headlines(model.accuracy) or ("No accuracy is stated",):
        say(column, line, "BLANK1", _WIDTH)
    if not opened:
        return
    for line in (
        f"Kind: {model.kind}",
        f"Source: {model.provenance}",
        f"sha256 {model.sha256}",
        *details(model.accuracy),
    ):
        say(column, line, "BLANK1", _WIDTH)


CLASSES = (SIGHTLINE_MT_detectors,)
