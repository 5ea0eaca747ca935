"""Runs in a real Blender's window: from an empty scene to an exported FBX, button by button, with pictures.

    blender --python walk.py -- TAKE.toml OUT

Started by tools/run_blender_tests.py. Videos and calibration are given to the operators that Blender's file browser
calls; every button of ours is pressed by the mouse. Leaves result.json and a picture of every step in OUT, then ends
Blender.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path

import bpy

TAKE, OUT = (Path(word) for word in sys.argv[sys.argv.index("--") + 1 :])
VIDEOS = ("cam01.mp4", "cam02.mp4", "cam03.mp4", "cam04.mp4")
PATIENCE_S = 300.0
PAGES = 12  # turns of the wheel through the sidebar before a button counts as missing


def picture(name: str) -> None:
    """Take a picture of the whole screen from the X server (Blender's own is black there)."""
    subprocess.run(["import", "-window", "root", str(OUT / f"{name}.png")], check=True)


def sidebar() -> tuple[bpy.types.Window, bpy.types.Area, bpy.types.Region]:
    """Return the sidebar of the 3D view."""
    window = bpy.context.window_manager.windows[0]
    area = next(area for area in window.screen.areas if area.type == "VIEW_3D")
    return window, area, next(region for region in area.regions if region.type == "UI")


def mouse(*words: object) -> None:
    """Move, press or turn the real mouse of the X server."""
    subprocess.run(["xdotool", *map(str, words)], check=True)


def command_below_mouse() -> str:
    """Return the Python command of the button that the mouse is over, "" where there is none."""
    window, area, region = sidebar()
    with bpy.context.temp_override(window=window, area=area, region=region):
        if not bpy.ops.ui.copy_python_command_button.poll():
            return ""
        bpy.ops.ui.copy_python_command_button()
    return bpy.context.window_manager.clipboard


def press(command: str) -> Generator[float, None, None]:
    """Find the button with that command, turning the wheel where needed, and press it."""
    window, _, region = sidebar()
    x = region.x + region.width // 2 - 20
    mouse("mousemove", x, window.height - region.y - region.height // 2)
    mouse("click", "--repeat", 40, 4)  # to the top
    yield 0.5
    for _ in range(PAGES):
        for y in range(region.y + region.height - 8, region.y + 8, -9):
            mouse("mousemove", x, window.height - y)
            yield 0.05
            if command_below_mouse().startswith(command):
                mouse("click", 1)
                yield 0.5
                return
        mouse("mousemove", x, window.height - region.y - region.height // 2)
        mouse("click", "--repeat", 6, 5)
        yield 0.5
    raise RuntimeError(f"no button of {command} in the sidebar")


def until(happened: Callable[[], bool], what: str) -> Generator[float, None, None]:
    """Wait for something."""
    started = time.monotonic()
    while not happened():
        if time.monotonic() - started > PATIENCE_S:
            raise RuntimeError(f"{PATIENCE_S:.0f} s have passed without {what}")
        yield 0.1


def show_panel() -> Generator[float, None, None]:
    """Open the sidebar on our tab; the tab cannot be chosen before the region was drawn once."""
    _, area, region = sidebar()
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
    raise RuntimeError("the sidebar has no tab of ours")


def chosen(operator: Callable[..., object], **words: object) -> Generator[float, None, None]:
    """Do what the file browser does when files were chosen in it."""
    window, area, region = sidebar()
    with bpy.context.temp_override(window=window, area=area, region=region):
        operator(**words)
    area.tag_redraw()
    yield 1.0


def armatures() -> list[bpy.types.Object]:
    return [thing for thing in bpy.context.scene.objects if thing.type == "ARMATURE"]


def shown() -> str:
    """Return the layer of the action that the first armature shows."""
    return armatures()[0].animation_data.action.get("sightline_layer", "")


def walk() -> Generator[float, None, dict[str, object]]:
    """The whole way."""
    for thing in list(bpy.context.scene.objects):
        bpy.data.objects.remove(thing)
    yield from show_panel()
    picture("1_empty")
    files = [{"name": name} for name in VIDEOS]
    yield from chosen(bpy.ops.sightline.add_videos, directory=str(TAKE.parent / "videos"), files=files)
    picture("2_footage")
    yield from chosen(bpy.ops.sightline.choose_calibration, filepath=str(TAKE.parent / "calibration.toml"))
    picture("3_cameras")
    started = time.monotonic()
    yield from press("bpy.ops.sightline.solve_take(")
    yield 3.0
    picture("4_solving")
    yield from until(lambda: bool(armatures()), "an armature")
    yield from until(lambda: not bpy.context.window_manager.sightline.running, "the end of the solve")
    seconds = time.monotonic() - started
    yield 1.0
    picture("5_solved")
    yield from press("bpy.ops.sightline.look_through(")
    yield 2.0
    picture("6_through_a_camera")
    keys = sum(len(curve.keyframe_points) for curve in curves())
    yield from press("bpy.ops.sightline.reduce_keys(")
    yield from until(lambda: shown() == "cleaned", "a cleaned layer")
    fewer = sum(len(curve.keyframe_points) for curve in curves())
    picture("7_few_keys")
    yield from press("bpy.ops.sightline.export_take(")
    yield from until(lambda: bool(list(TAKE.parent.rglob("*.fbx"))), "an FBX")
    yield 2.0
    picture("8_exported")
    size = next(iter(TAKE.parent.rglob("*.fbx"))).stat().st_size
    return {"solve_s": round(seconds, 1), "keys": keys, "keys_cleaned": fewer, "fbx_bytes": size}


def curves() -> list[bpy.types.FCurve]:
    """Return the curves of the first armature's action."""
    action = armatures()[0].animation_data.action
    return [
        curve for layer in action.layers for strip in layer.strips for bag in strip.channelbags for curve in bag.fcurves
    ]


def finish(result: dict[str, object]) -> None:
    (OUT / "result.json").write_text(json.dumps(result), encoding="utf-8")
    bpy.ops.wm.quit_blender()


def start() -> None:
    """Drive `walk` from a timer: between its steps Blender draws and handles events."""
    steps = walk()

    def step() -> float | None:
        try:
            return next(steps)
        except StopIteration as done:
            finish(done.value)
        except Exception as error:  # noqa: BLE001 (the outermost frame: whatever it is stands in the result)
            picture("failed")
            finish({"error": f"{type(error).__name__}: {error}"})
        return None

    bpy.app.timers.register(step, first_interval=2.0)


bpy.context.preferences.view.show_splash = False  # it would swallow the mouse
start()
