"""What the scripts in the window share: pictures, the real mouse, our tab, Blender's file browser, and a clock.

A script is a generator that yields how long Blender may draw and handle events before the next step. Buttons are found
as a person finds them, by moving the mouse over the sidebar; what lies below the mouse Blender says itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import bpy

Steps = Generator[float, None, Any]
PATIENCE_S = 400.0
CATEGORY = "Sightline"
PAGES = 14  # turns of the wheel through the sidebar before a button counts as missing
_STEP_PX = 14  # less than a button is high


def picture(path: Path) -> None:
    """Take a picture of the whole screen from the X server (Blender's own is black there)."""
    subprocess.run(["import", "-window", "root", "-quality", "88", str(path)], check=True)


def mouse(*words: object) -> None:
    """Move, press or turn the real mouse of the X server, or press a key."""
    subprocess.run(["xdotool", *map(str, words)], check=True)


def until(happened: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> Generator[float, None, float]:
    """Wait for something; returns the seconds that it took."""
    started = time.monotonic()
    while not happened():
        if time.monotonic() - started > patience_s:
            raise RuntimeError(f"{patience_s:.0f} s have passed without {what}")
        yield 0.05
    return time.monotonic() - started


def area_of(kind: str) -> tuple[bpy.types.Window, bpy.types.Area]:
    """Return the largest editor of a kind in the first window."""
    window = bpy.context.window_manager.windows[0]
    return window, max((a for a in window.screen.areas if a.type == kind), key=lambda a: a.width * a.height)


def view_3d(region: str = "WINDOW") -> dict[str, Any]:
    """Return the 3D view, or its sidebar (``UI``), to override the context with."""
    window, area = area_of("VIEW_3D")
    return {"window": window, "area": area, "region": next(r for r in area.regions if r.type == region)}


def sidebar() -> tuple[bpy.types.Window, bpy.types.Area, bpy.types.Region]:
    """Return the sidebar of the 3D view."""
    parts = view_3d("UI")
    return parts["window"], parts["area"], parts["region"]


def _below_mouse(copy: Any, **words: object) -> str:
    """Return what an operator copies of the button below the mouse, "" where there is none."""
    with bpy.context.temp_override(**view_3d("UI")):
        if not copy.poll():
            return ""
        bpy.context.window_manager.clipboard = ""
        copy(**words)
    return bpy.context.window_manager.clipboard


def command_below_mouse() -> str:
    """Return the Python command of the button that the mouse is over."""
    return _below_mouse(bpy.ops.ui.copy_python_command_button)


def property_below_mouse() -> str:
    """Return the path of the property that the mouse is over."""
    return _below_mouse(bpy.ops.ui.copy_data_path_button, full_path=True)


def to_middle() -> int:
    """Move the mouse to the middle of the sidebar; return its x."""
    window, _, region = sidebar()
    x = region.x + region.width // 2 - 20
    mouse("mousemove", x, window.height - region.y - region.height // 2)
    return x


def find(wanted: Callable[[], bool], what: str, pages: int = PAGES, x_px: int | None = None) -> Steps:
    """Move the mouse down the sidebar until it is over something, turning the wheel where needed; 0 pages: without.

    A second time slowly: the panel may change while the mouse goes over it.
    """
    window, _, region = sidebar()
    for pause in (0.03, 0.12):
        middle = to_middle()
        mouse("click", "--repeat", 60, 4)  # to the top
        yield 0.5
        for page in range(max(pages, 1)):
            for y in range(region.y + region.height - 8, region.y + 8, -_STEP_PX):
                # X counts from the top, Blender from the bottom
                mouse("mousemove", middle if x_px is None else x_px, window.height - y)
                yield pause
                if wanted():
                    return
            if page < pages - 1:
                to_middle()
                mouse("click", "--repeat", 6, 5)
                yield 0.5
    raise RuntimeError(f"no {what} in the sidebar")


def press(command: str, pages: int = PAGES, x_px: int | None = None) -> Steps:
    """Find the button with a command and press it."""
    yield from find(lambda: command_below_mouse().startswith(command), f"button of {command}", pages, x_px)
    mouse("click", 1)
    yield 0.5


def over_property(path: str) -> Steps:
    """Find a property whose path ends so."""
    yield from find(lambda: property_below_mouse().rstrip('"]').endswith(path), f"property {path}")


def open_panel(name: str, above: str) -> Steps:
    """Open a closed panel of ours by a click on its head, which stands above the button ``above``."""
    panel, drawn = getattr(bpy.types, name), []
    before = panel.draw

    def draw(self: bpy.types.Panel, context: bpy.types.Context) -> None:
        drawn.append(True)
        before(self, context)

    yield from find(lambda: command_below_mouse().startswith(above), f"button of {above}")
    found = subprocess.run(["xdotool", "getmouselocation"], capture_output=True, text=True, check=True).stdout
    x, y = (int(word.partition(":")[2]) for word in found.split()[:2])
    panel.draw = draw
    for up in range(20, 140, 8):
        mouse("mousemove", x, y - up)
        yield 0.5
        if command_below_mouse() or property_below_mouse():
            continue
        for _ in range(2):  # a panel that is another one is put back
            mouse("click", 1)
            yield 1.5
            if drawn:
                panel.draw = before
                return
    raise RuntimeError(f"no panel above {above} is {name}")


def show_panel() -> Steps:
    """Open the sidebar on our tab; the tab cannot be chosen before the region was drawn once."""
    _, area, region = sidebar()
    area.spaces.active.show_region_ui = True
    for _ in range(30):
        yield 0.5
        try:
            region.active_panel_category = CATEGORY
        except (AttributeError, TypeError):
            continue
        area.tag_redraw()
        yield 1.0
        return
    raise RuntimeError(f"the sidebar has no tab {CATEGORY!r}")


def browse(folder: Path, name: str = "") -> Steps:
    """Choose in the file browser that stands open: a file by its name, or all that it shows."""

    def browsers() -> list[bpy.types.Area]:
        return [a for w in bpy.context.window_manager.windows for a in w.screen.areas if a.type == "FILE_BROWSER"]

    yield from until(browsers, "a file browser", 20.0)
    yield 1.0
    (area,) = browsers()
    area.spaces.active.params.directory = os.fsencode(str(folder) + "/")
    area.tag_redraw()
    yield 2.0
    if name:
        area.spaces.active.params.filename = name
    window = bpy.context.window_manager.windows[0]
    mouse("mousemove", area.x + area.width // 2, window.height - area.y - area.height // 2)
    yield 0.5
    if not name:
        mouse("key", "a")
        yield 0.5
    mouse("key", "Return")
    yield from until(lambda: not browsers(), "the end of the file browser", 20.0)
    yield 1.0


def waited_s() -> float:
    """Return how long Blender's main thread has stood ready while others had the processor.

    Of a wait that is Blender's own (a lock, a sleep, other threads' work) this says nothing.
    """
    return int(Path("/proc/self/schedstat").read_text(encoding="ascii").split()[1]) / 1e9


def armatures() -> list[bpy.types.Object]:
    """Return the armatures of the scene."""
    return [thing for thing in bpy.context.scene.objects if thing.type == "ARMATURE"]


def status() -> bpy.types.PropertyGroup:
    """Return what the panel says of solves."""
    return bpy.context.window_manager.sightline


def ours(name: str) -> Any:
    """Return a module of the running extension, whatever its package is called: ``addon.background``."""
    package = bpy.types.SIGHTLINE_OT_solve_take.__module__.removesuffix(".addon.operators.solve")
    return sys.modules[f"{package}.{name}"]


def child() -> int:
    """Return the process that solves."""
    return ours("addon.background").running().job._process.pid


def detecting(share: float) -> Callable[[], bool]:
    """Return whether a solve has come so far in its detection."""

    def found() -> bool:
        running = ours("addon.background").running()
        return running is not None and running.detected > share

    return found


def run(steps: Generator[float, None, dict[str, object]], out: Path) -> None:
    """Drive a script from a timer, leave what it returns in ``result.json``, and end Blender."""

    def finish(result: dict[str, object]) -> None:
        (out / "result.json").write_text(json.dumps({"blender": bpy.app.version_string} | result), encoding="utf-8")
        bpy.ops.wm.quit_blender()

    def step() -> float | None:
        try:
            return next(steps)
        except StopIteration as done:
            finish(done.value or {})
        except Exception as error:  # noqa: BLE001 (the outermost frame: whatever it is stands in the result)
            picture(out / "failed.png")
            finish({"error": f"{type(error).__name__}: {error}"})
        return None

    bpy.context.preferences.use_preferences_save = False  # what one script chooses, the next one must not find
    bpy.context.preferences.view.language = "en_US"
    bpy.context.preferences.view.show_splash = False  # it would swallow the mouse
    bpy.context.preferences.view.filebrowser_display_type = "SCREEN"  # there is no window manager
    bpy.app.timers.register(step, first_interval=2.0, persistent=True)
