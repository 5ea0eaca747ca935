"""What all operators share: errors become one line of report, progress becomes a redraw of the sidebars."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

import logging
from collections.abc import Callable

import bpy

from ...inference.errors import Cancelled, SolveError
from ..setting_words import in_panel_words

log = logging.getLogger(__name__)


def guarded(operator: bpy.types.Operator, work: Callable[[], set[str]]) -> set[str]:
    """Do the work of an operator; whatever goes wrong becomes a report."""
    try:
        return work()
    except Exception as problem:  # noqa: BLE001 - the outermost frame of every operator
        return refuse(operator, problem)


def refuse(operator: bpy.types.Operator, problem: Exception) -> set[str]:
    """Report a problem in one line; what nobody foresaw goes to the log with its trace."""
    if isinstance(problem, Cancelled):
        operator.report({"INFO"}, "Cancelled; the scene is as it was")
    elif isinstance(problem, SolveError):
        operator.report({"ERROR"}, in_words_of(bpy.context.scene, " ".join(str(problem).split())))
    else:
        log.error("unexpected error", exc_info=problem)
        operator.report({"ERROR"}, f"Unexpected {type(problem).__name__}: {problem}; the console shows more")
    return {"CANCELLED"}


def in_words_of(scene: bpy.types.Scene, text: str) -> str:
    """Name settings as the panel does, unless a take file of the user's own is solved, which has keys."""
    return in_panel_words(text) if scene.sightline.views else text


def drawn(what: str, draw: Callable[[], None]) -> bool:
    """Draw, and return whether it went well; a failure is one line in the log, since no operator stands behind it."""
    try:
        draw()
    except Exception as problem:  # noqa: BLE001 - the outermost frame of a draw handler, which Blender would repeat
        log.error("%s stopped: %s: %s", what, type(problem).__name__, " ".join(str(problem).split()))
        return False
    return True


def show(context: bpy.types.Context, share: float, text: str) -> None:
    """Tell in the panel how far the work is."""
    status = context.window_manager.sightline
    status.share, status.text = share, text
    redraw_panels(context)


def redraw_panels(context: bpy.types.Context) -> None:
    """Redraw the sidebars only: drawing a whole 3D view takes longer than a tick."""
    for window in context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == "UI":
                        region.tag_redraw()
