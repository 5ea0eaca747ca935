"""Runs in a real Blender's window: drags a keypoint with the mouse, takes it back, and solves again.

    blender --python drag_keypoint.py -- TAKE.toml OUT

Started by tools/run_blender_tests.py. Leaves result.json and pictures of the screen in OUT, then ends Blender.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import bpy
import numpy as np

TAKE, OUT = (Path(word) for word in sys.argv[sys.argv.index("--") + 1 :])
VIEW, JOINT, FRAME = "cam02", "left_wrist", 9
STEP = (23, -17)  # px to the right and up: what the mouse moves
PATIENCE_S = 120.0


def picture(name: str) -> None:
    """Take a picture of the whole screen from the X server (Blender's own is black there)."""
    subprocess.run(["import", "-window", "root", str(OUT / name)], check=True)


def mouse(*words: object) -> None:
    """Move or press the real mouse of the X server, or a key."""
    subprocess.run(["xdotool", *map(str, words)], check=True)


def view_3d() -> dict[str, Any]:
    """Return the 3D view and what is in it, to override the context with."""
    window = bpy.context.window_manager.windows[0]
    area = next(area for area in window.screen.areas if area.type == "VIEW_3D")
    return {"window": window, "area": area, "region": next(r for r in area.regions if r.type == "WINDOW")}


def dragging() -> Any:
    """Return our module of that name, whatever the extension is called."""
    return sys.modules[bpy.types.SIGHTLINE_OT_drag_keypoints.__module__]


def shown() -> Any:
    """Return what the 3D view shows of the take now."""
    parts = view_3d()
    space, region = parts["area"].spaces.active, parts["region"]
    return dragging().shown_in(bpy.context.scene, space, space.region_3d, (region.width, region.height))


def to_screen(place: np.ndarray) -> tuple[int, int]:
    """Return the pixel of the screen, counted from the top, at a place of the 3D view."""
    parts = view_3d()
    x, y = np.floor(place).astype(int) + [parts["region"].x, parts["region"].y]
    return int(x), int(parts["window"].height - 1 - y)


def told() -> str:
    """Return what the take's corrections file says."""
    path = TAKE.with_name("take.corrections.toml")
    return path.read_text(encoding="utf-8") if path.exists() else ""


def until(happened: Any, what: str) -> Generator[float, None, float]:
    """Wait for something; returns the seconds."""
    started = time.monotonic()
    while not happened():
        if time.monotonic() - started > PATIENCE_S:
            raise RuntimeError(f"{PATIENCE_S:.0f} s have passed without {what}")
        yield 0.05
    return time.monotonic() - started


def solving() -> bool:
    """Whether Solve Again has not yet entered its result."""
    window = bpy.context.window_manager.windows[0]
    return any(operator.bl_idname == "SIGHTLINE_OT_solve_again" for operator in window.modal_operators)


def drag(start: tuple[int, int], end: tuple[int, int]) -> Generator[float, None, None]:
    """Press, move in three steps, stay."""
    mouse("mousemove", *start)
    yield 1.5
    mouse("mousedown", 1)
    yield 1.0
    for share in (0.3, 0.7, 1.0):
        mouse("mousemove", *(round(a + share * (b - a)) for a, b in zip(start, end, strict=True)))
        yield 1.0


def fix() -> Generator[float, None, dict[str, object]]:
    """Solve, drag, let go with ESC, undo, redo, solve again."""
    scene = bpy.context.scene
    bpy.ops.sightline.solve_take(take_path=str(TAKE))
    with bpy.context.temp_override(**view_3d()):
        bpy.ops.sightline.look_through(view=VIEW)
    scene.frame_set(FRAME)
    yield 2.0
    with bpy.context.temp_override(**view_3d()):
        bpy.ops.sightline.drag_keypoints("INVOKE_DEFAULT")
    yield 2.0
    before = shown()
    joint = before.names.index(JOINT)
    start = to_screen(before.places[0, joint])
    end = (start[0] + STEP[0], start[1] + STEP[1])
    yield from drag(start, end)
    picture("drag-during.png")
    mouse("mouseup", 1)
    yield from until(told, "a correction in the take's file")
    yield 1.5
    picture("drag-after.png")
    wanted = before.frame.image_from_region(before.places[0, joint] + [STEP[0], -STEP[1]])
    place = np.array(json.loads(told().split("xy = ")[1].split("\n")[0]))
    error_px = float(np.abs(place - wanted).max())

    said = told()
    yield from drag(end, start)
    mouse("key", "Escape")
    yield 1.0
    mouse("mouseup", 1)
    yield 1.0
    if told() != said:
        raise RuntimeError("ESC did not let the keypoint go")
    mouse("key", "Escape")
    yield 1.5
    if dragging()._Session.handler is not None:
        raise RuntimeError("ESC did not end the dragging")
    mouse("key", "ctrl+z")
    yield from until(lambda: not told(), "undo in the take's file")
    mouse("key", "ctrl+shift+z")
    yield from until(lambda: told() == said, "redo in the take's file")

    solution = Path(bpy.context.scene.sightline.solution_path)  # undo has replaced the scene in memory
    old, status = solution.stat().st_mtime_ns, bpy.context.window_manager.sightline
    with bpy.context.temp_override(**view_3d()):
        bpy.ops.sightline.solve_again("INVOKE_DEFAULT")
    solved = yield from until(lambda: solution.stat().st_mtime_ns != old, "a new solution")
    entered = solved + (yield from until(lambda: not solving(), "the new motion in the scene"))
    finished = entered + (yield from until(lambda: not status.running, "the end of the reports"))
    if status.text or status.again_problem:
        raise RuntimeError(status.text or status.again_problem)
    yield 1.5
    picture("drag-solved.png")
    return {
        "blender": bpy.app.version_string,
        "error_px": round(error_px, 3),
        "solved_again_s": round(solved, 1),
        "entered_s": round(entered, 1),
        "with_reports_s": round(finished, 1),
    }


def finish(result: dict[str, object]) -> None:
    (OUT / "result.json").write_text(json.dumps(result), encoding="utf-8")
    bpy.ops.wm.quit_blender()


def start() -> None:
    """Drive `fix` from a timer: between its steps Blender draws and handles events."""
    steps = fix()

    def step() -> float | None:
        try:
            return next(steps)
        except StopIteration as done:
            finish(done.value)
        except Exception as error:  # noqa: BLE001 (the outermost frame: whatever it is stands in the result)
            picture("failed.png")
            finish({"error": f"{type(error).__name__}: {error}"})
        return None

    bpy.app.timers.register(step, first_interval=2.0, persistent=True)


bpy.context.preferences.view.show_splash = False  # it would swallow the mouse
start()
