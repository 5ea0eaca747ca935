"""Runs in a real Blender's window: opens our panel, presses the solve button with the mouse, waits for the armature.

    blender --python press_solve.py -- TAKE.toml OUT

Started by tools/run_blender_tests.py. Leaves result.json and pictures of the screen in OUT, then ends Blender.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import bpy

TAKE, OUT = (Path(word) for word in sys.argv[sys.argv.index("--") + 1 :])
COMMAND = "bpy.ops.sightline.solve_take("
CATEGORY = "Sightline"
PATIENCE_S = 600.0
FREEZE_S = 0.05  # between looks at the clock


def picture(name: str) -> None:
    """Take a picture of the whole screen from the X server (Blender's own is black there)."""
    subprocess.run(["import", "-window", "root", str(OUT / name)], check=True)


def sidebar() -> tuple[bpy.types.Window, bpy.types.Area, bpy.types.Region]:
    """Return the sidebar of the 3D view."""
    window = bpy.context.window_manager.windows[0]
    area = next(area for area in window.screen.areas if area.type == "VIEW_3D")
    return window, area, next(region for region in area.regions if region.type == "UI")


def mouse(*words: object) -> None:
    """Move or press the real mouse of the X server."""
    subprocess.run(["xdotool", *map(str, words)], check=True)


def command_below_mouse() -> str:
    """Return the Python command of the button that the mouse is over, "" where there is none."""
    window, area, region = sidebar()
    with bpy.context.temp_override(window=window, area=area, region=region):
        if not bpy.ops.ui.copy_python_command_button.poll():
            return ""
        bpy.ops.ui.copy_python_command_button()
    return bpy.context.window_manager.clipboard


def show_panel() -> Generator[float, None, None]:
    """Open the sidebar on our tab; the tab cannot be chosen before the region was drawn once."""
    _, area, region = sidebar()
    area.spaces.active.show_region_ui = True
    for _ in range(20):
        yield 0.5
        try:
            region.active_panel_category = CATEGORY
        except (AttributeError, TypeError):
            continue
        area.tag_redraw()
        yield 1.0
        return
    raise RuntimeError(f"the sidebar has no tab {CATEGORY!r}")


def find_button() -> Generator[float, None, None]:
    """Move the mouse down the middle of the sidebar until it is over the solve button."""
    window, _, region = sidebar()
    x = region.x + region.width // 2
    seen = set()
    for y in range(region.y + region.height - 8, region.y, -8):
        mouse("mousemove", x, window.height - y)  # X counts from the top, Blender from the bottom
        yield 0.1
        command = command_below_mouse()
        seen.add(command)
        if command.startswith(COMMAND):
            return
    raise RuntimeError(f"no button of {COMMAND} in the sidebar without scrolling; seen: {sorted(seen - {''})}")


def armatures() -> list[bpy.types.Object]:
    return [thing for thing in bpy.context.scene.objects if thing.type == "ARMATURE"]


def press() -> Generator[float, None, dict[str, object]]:
    """Set the take, press the button, wait."""
    yield from show_panel()
    bpy.context.scene.sightline.take_path = str(TAKE)
    yield 1.0
    picture("before.png")
    yield from find_button()
    mouse("click", 1)
    started = time.monotonic()
    yield 3.0
    picture("during.png")
    longest, before = 0.0, time.monotonic()
    while not armatures():
        if time.monotonic() - started > PATIENCE_S:
            raise RuntimeError(f"no armature {PATIENCE_S:.0f} s after the button was pressed")
        before = time.monotonic()
        yield FREEZE_S
        longest = max(longest, time.monotonic() - before - FREEZE_S)
    seconds = time.monotonic() - started
    yield 3.0
    picture("after.png")
    kinds = [thing.type for thing in bpy.context.scene.objects]
    return {
        "blender": bpy.app.version_string,
        "seconds": round(seconds, 1),
        "longest_freeze_s": round(longest, 2),
        **{kind.lower(): kinds.count(kind) for kind in sorted(set(kinds))},
    }


def finish(result: dict[str, object]) -> None:
    (OUT / "result.json").write_text(json.dumps(result), encoding="utf-8")
    bpy.ops.wm.quit_blender()


def start() -> None:
    """Drive `press` from a timer: between its steps Blender draws and handles events."""
    steps = press()

    def step() -> float | None:
        try:
            return next(steps)
        except StopIteration as done:
            finish(done.value)
        except Exception as error:  # noqa: BLE001 (the outermost frame: whatever it is stands in the result)
            picture("failed.png")
            finish({"error": f"{type(error).__name__}: {error}"})
        return None

    bpy.app.timers.register(step, first_interval=2.0)


bpy.context.preferences.view.show_splash = False  # it would swallow the mouse
start()
