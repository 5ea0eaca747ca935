"""The part of the walk that corrects: drag a keypoint with the mouse, let one go, undo, redo, solve again."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import bpy
import driving
import numpy as np

STEP = (23, -17)  # px to the right and up: what the mouse moves


def shown() -> Any:
    """Return what the 3D view shows of the take now."""
    parts = driving.view_3d()
    space, region = parts["area"].spaces.active, parts["region"]
    scene, drag_module = bpy.context.scene, driving.ours("addon.operators.drag")
    return drag_module.shown_in(scene, space, space.region_3d, (region.width, region.height))


def to_screen(place: np.ndarray) -> tuple[int, int]:
    """Return the pixel of the screen, counted from the top, at a place of the 3D view."""
    parts = driving.view_3d()
    x, y = np.floor(place).astype(int) + [parts["region"].x, parts["region"].y]
    return int(x), int(parts["window"].height - 1 - y)


def told() -> str:
    """Return what the take's corrections file says."""
    take = Path(bpy.path.abspath(bpy.context.scene.sightline.solved_take_path))
    path = take.with_name(f"{take.stem}.corrections.toml")
    return path.read_text(encoding="utf-8") if path.exists() else ""


def drag(start: tuple[int, int], end: tuple[int, int]) -> Generator[float, None, None]:
    """Press, move in three steps, stay."""
    driving.mouse("mousemove", *start)
    yield 1.5
    driving.mouse("mousedown", 1)
    yield 1.0
    for share in (0.3, 0.7, 1.0):
        driving.mouse("mousemove", *(round(a + share * (b - a)) for a, b in zip(start, end, strict=True)))
        yield 1.0


def correct(joint: str, out: Path) -> Generator[float, None, dict[str, object]]:
    """Drag a joint's keypoint, let go of another drag with ESC, undo and redo; the drag stands at the end."""
    yield from driving.press("bpy.ops.sightline.drag_keypoints(")
    yield 1.5
    before = shown()
    number = before.names.index(joint)
    start = to_screen(before.places[0, number])
    end = (start[0] + STEP[0], start[1] + STEP[1])
    yield from drag(start, end)
    driving.picture(out / "11_dragging.jpg")
    driving.mouse("mouseup", 1)
    yield from driving.until(told, "a correction in the take's file", 30.0)
    yield 1.5
    wanted = before.frame.image_from_region(before.places[0, number] + [STEP[0], -STEP[1]])
    place = np.array(json.loads(told().split("xy = ")[1].split("\n")[0]))
    said = told()
    yield from drag(end, start)
    driving.mouse("key", "Escape")
    yield 1.0
    driving.mouse("mouseup", 1)
    yield 1.0
    if told() != said:
        raise RuntimeError("ESC did not let the keypoint go")
    driving.mouse("key", "Escape")
    yield 1.5
    if driving.ours("addon.operators.drag")._Session.handler is not None:
        raise RuntimeError("ESC did not end the dragging")
    driving.mouse("key", "ctrl+z")
    yield from driving.until(lambda: not told(), "undo in the take's file", 30.0)
    driving.mouse("key", "ctrl+shift+z")
    yield from driving.until(lambda: told() == said, "redo in the take's file", 30.0)
    return {"drag_error_px": round(float(np.abs(place - wanted).max()), 3)}


def solve_again(joint: str) -> Generator[float, None, dict[str, object]]:
    """Press Solve Again; return how long it took, and how far the joint moved in the frame that is shown."""
    solution = Path(bpy.path.abspath(bpy.context.scene.sightline.solution_path))
    old, before = solution.stat().st_mtime_ns, _place(solution, joint)
    yield from driving.press("bpy.ops.sightline.solve_again(")
    solved = yield from driving.until(lambda: solution.stat().st_mtime_ns != old, "a new solution")
    entered = solved + (yield from driving.until(lambda: not _entering(), "the new motion in the scene"))
    finished = entered + (yield from driving.until(lambda: not driving.status().running, "the end of the reports"))
    if driving.status().text or driving.status().again_problem:
        raise RuntimeError(driving.status().text or driving.status().again_problem)
    moved = _place(solution, joint) - before
    frame = bpy.context.scene.frame_current - bpy.context.scene.frame_start
    return {
        "again_s": round(solved, 1),
        "again_entered_s": round(entered, 1),
        "again_reports_s": round(finished, 1),
        "moved_mm": round(1000 * float(np.linalg.norm(moved[frame])), 1),
        "moved_far_off_mm": round(1000 * float(np.nanmedian(np.linalg.norm(moved, axis=1))), 2),
    }


def _place(solution: Path, joint: str) -> np.ndarray:
    """(T, 3) m of the first person's joint."""
    with np.load(solution) as arrays:
        return arrays["xyz"][:, 0, list(arrays["joint_names"]).index(joint)]


def _entering() -> bool:
    """Whether Solve Again has not yet entered its result."""
    window = bpy.context.window_manager.windows[0]
    return any(operator.bl_idname == "SIGHTLINE_OT_solve_again" for operator in window.modal_operators)
