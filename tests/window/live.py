"""Runs in a real Blender's window: the example from the panel, a queue, German, the preferences, and an end too early.

    blender --python live.py -- OUT

Started by tools/run_blender_tests.py. Leaves result.json, pictures, and in child.pid the process that solved when
Blender was closed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parent))
import driving
from driving import armatures, detecting, press, status, until

(OUT,) = (Path(word) for word in sys.argv[sys.argv.index("--") + 1 :])
EXTENSION = "bl_ext.user_default.sightline"


def picture(name: str) -> None:
    driving.picture(OUT / f"{name}.jpg")


def queue() -> Generator[float, None, dict[str, object]]:
    """Solve, let two more wait, take one off the queue, and see the other one through; in German.

    The child stands still meanwhile: the example may be solved in less time than it takes to find three buttons.
    """
    background = driving.ours("addon.background")
    yield from press("bpy.ops.sightline.solve_take(", pages=0)  # visible without scrolling
    yield from until(detecting(0.0), "detection")
    held = driving.child()
    os.kill(held, signal.SIGSTOP)
    yield from press("bpy.ops.sightline.solve_take(")
    _, _, region = driving.sidebar()
    right_half = region.x + 3 * region.width // 4  # Solve and Preview share a row
    yield from press("bpy.ops.sightline.solve_take(preview=True", x_px=right_half)
    waiting = len(background.waiting())
    picture("2_running_and_queued")
    yield from press("bpy.ops.sightline.drop_waiting(", x_px=region.x + region.width - 40)
    left = len(background.waiting())
    if (waiting, left) != (2, 1):
        raise RuntimeError(f"{waiting} solves waited, {left} after one was dropped")
    os.kill(held, signal.SIGCONT)
    yield from until(lambda: not status().running and not background.waiting(), "the end of both solves")
    yield 1.0
    picture("3_german_solved")
    lines = bpy.context.scene.sightline.summary.split("\n")[:2]
    return {"summary": ", ".join(lines), "armatures": len(armatures())}


def german() -> dict[str, object]:
    """Turn Blender's language; where this build has no translations, say so."""
    view = bpy.context.preferences.view
    view.language = "de_DE"
    for what in ("tooltips", "interface", "new_dataname"):
        setattr(view, f"use_translate_{what}", True)
    return {"german": bpy.app.translations.pgettext_iface("Camera")}


def preferences() -> Generator[float, None, dict[str, object]]:
    """Let the Python that solves be tested, in the preferences."""
    bpy.ops.screen.userpref_show("INVOKE_DEFAULT")
    bpy.context.preferences.active_section = "ADDONS"
    yield 1.0
    bpy.ops.preferences.addon_expand(module=EXTENSION)
    bpy.context.window_manager.addon_search = "Sightline"
    bpy.ops.sightline.test_python()
    yield from until(lambda: not status().errand, "the test of the Python")
    yield 2.0
    picture("4_preferences")
    if status().errand_failed:
        raise RuntimeError(status().errand_result)
    window = bpy.context.window_manager.windows[-1]  # of the preferences; there is no window manager to move it
    driving.mouse("mousemove", window.x + window.width // 2, 400)
    for number in range(3):
        driving.mouse("click", "--repeat", 9, 5)
        yield 2.0
        picture(f"5_models_{number}")
    models = {model.name: model.ready for model in driving.ours("addon.known_models").known_models()}
    if not all(models.get(name) for name in ("blazepose", "sightline_s", "sightline_flow")):
        raise RuntimeError(f"a model that the extension carries cannot be used: {models}")
    return {"python": status().errand_result, "models": sorted(models)}


def live() -> Generator[float, None, dict[str, object]]:
    """The whole way."""
    result = german()
    yield from driving.show_panel()
    picture("1_first_run")
    yield from press("bpy.ops.sightline.load_example(", pages=0)
    yield 1.5
    result |= yield from queue()
    bpy.context.preferences.view.language = "en_US"
    yield from press("bpy.ops.sightline.solve_take(")
    yield from until(lambda: status().running, "a solve that Blender's end cuts short")
    (OUT / "child.pid").write_text(str(driving.child()), encoding="utf-8")
    os.kill(driving.child(), signal.SIGSTOP)  # a quiet machine would have solved the example meanwhile
    result |= yield from preferences()
    os.kill(driving.child(), signal.SIGCONT)
    if not status().running:
        raise RuntimeError("the solve had ended before Blender did")
    return result


driving.run(live(), OUT)
