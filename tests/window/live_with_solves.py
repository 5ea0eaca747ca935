"""Runs in a real Blender's window: the example from the panel, ESC, Keep Partial, a queue, a killed child, German.

    blender --python live_with_solves.py -- OUT

Started by hand like press_solve.py (see tools/run_blender_tests.py). Leaves result.json and pictures of the screen in
OUT, then ends Blender.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path

import bpy

(OUT,) = (Path(word) for word in sys.argv[sys.argv.index("--") + 1 :])
EXTENSION = "bl_ext.user_default.sightline"
background = sys.modules[f"{EXTENSION}.addon.background"]
PATIENCE_S = 240.0
result: dict[str, object] = {}


def picture(name: str) -> None:
    """Take a picture of the whole screen from the X server."""
    subprocess.run(["import", "-window", "root", str(OUT / name)], check=True)


def view() -> tuple[bpy.types.Window, bpy.types.Area]:
    """Return the 3D view."""
    window = bpy.context.window_manager.windows[0]
    return window, next(area for area in window.screen.areas if area.type == "VIEW_3D")


def press(operator: str, **values: object) -> None:
    """Invoke one of our operators in the 3D view, as its button does."""
    window, area = view()
    region = next(region for region in area.regions if region.type == "WINDOW")
    with bpy.context.temp_override(window=window, area=area, region=region):
        getattr(bpy.ops.sightline, operator)("INVOKE_DEFAULT", **values)


def until(what: Callable[[], object], name: str) -> Generator[float, None, None]:
    """Wait for something."""
    end = time.monotonic() + PATIENCE_S
    while not what():
        if time.monotonic() > end:
            raise RuntimeError(f"waited {PATIENCE_S:.0f} s for: {name}")
        yield 0.1


def status() -> bpy.types.PropertyGroup:
    return bpy.context.window_manager.sightline


def armatures() -> int:
    return sum(thing.type == "ARMATURE" for thing in bpy.context.scene.objects)


def open_panel() -> Generator[float, None, None]:
    """Show our tab in the sidebar."""
    _, area = view()
    region = next(region for region in area.regions if region.type == "UI")
    area.spaces.active.show_region_ui = True
    for _ in range(20):
        yield 0.5
        try:
            region.active_panel_category = "Sightline"
        except (AttributeError, TypeError):
            continue
        area.tag_redraw()
        yield 1.0
        return


def detecting(share: float) -> Callable[[], bool]:
    return lambda: status().text.startswith("Detect") and status().share > share


def go() -> Generator[float, None, None]:
    """The whole way."""
    yield from open_panel()
    picture("1 first run.png")
    press("load_example")
    yield 1.5
    picture("2 example.png")
    press("solve_take")
    yield from until(detecting(0.2), "detection")
    press("solve_take", preview=True)
    yield 1.0
    picture("3 running and queued.png")
    result["waiting"] = len(background.waiting())
    press("drop_waiting", index=0)
    window, area = view()
    subprocess.run(["xdotool", "mousemove", str(area.x + 300), str(window.height - area.y - 300)], check=True)
    yield 0.5
    subprocess.run(["xdotool", "key", "Escape"], check=True)
    yield from until(lambda: not status().running, "the end after ESC")
    yield 1.0
    picture("4 cancelled.png")
    result["after_escape"] = [armatures(), background.partial().text]
    press("keep_partial")
    yield from until(lambda: armatures() and not status().running, "the partial result")
    yield 1.0
    picture("5 partial.png")
    result["partial_frames"] = bpy.context.scene.sightline.summary.split("\n")[0]
    press("solve_take")
    yield from until(detecting(0.5), "detection going on")
    child = background.running().job._process.pid
    os.kill(child, signal.SIGKILL)
    yield from until(lambda: not status().running, "the end of the killed child")
    yield 1.0
    picture("6 killed.png")
    result["after_kill"] = armatures()
    bpy.context.preferences.view.language = "de_DE"
    for what in ("tooltips", "interface", "new_dataname"):
        setattr(bpy.context.preferences.view, f"use_translate_{what}", True)
    result["german"] = bpy.app.translations.pgettext_iface("Camera")
    press("solve_take")
    yield 0.5
    press("solve_take", preview=True)
    yield from until(lambda: status().running and background.waiting() == (), "the queue moving on")
    yield from until(lambda: not status().running and not background.waiting(), "both solves")
    yield 1.0
    picture("7 german, both solved.png")
    result["all_frames"] = bpy.context.scene.sightline.summary.split("\n")[0]
    result["armatures"] = armatures()
    bpy.context.preferences.view.language = "en_US"
    bpy.ops.screen.userpref_show("INVOKE_DEFAULT")
    bpy.context.preferences.active_section = "EXTENSIONS" if bpy.app.version < (4, 2) else "ADDONS"
    yield 1.0
    bpy.ops.preferences.addon_expand(module=EXTENSION)
    bpy.context.window_manager.addon_search = "Sightline"
    bpy.ops.sightline.test_python()
    yield from until(lambda: not status().errand, "the test of the Python")
    result["python"] = status().errand_result
    yield 2.0
    picture("8 preferences.png")
    press("solve_take")
    yield from until(detecting(0.0), "a solve at the end")
    (OUT / "child.pid").write_text(str(background.running().job._process.pid))


def finish() -> None:
    (OUT / "result.json").write_text(json.dumps(result), encoding="utf-8")
    bpy.ops.wm.quit_blender()


def start() -> None:
    """Drive `go` from a timer: between its steps Blender draws and handles events."""
    steps = go()

    def step() -> float | None:
        try:
            return next(steps)
        except StopIteration:
            finish()
        except Exception as error:  # noqa: BLE001 (the outermost frame: whatever it is stands in the result)
            picture("failed.png")
            result["error"] = f"{type(error).__name__}: {error}"
            finish()
        return None

    bpy.app.timers.register(step, first_interval=2.0, persistent=True)


bpy.context.preferences.view.show_splash = False  # it would swallow the mouse
start()
