"""Runs in a real Blender's window: from an empty scene to an exported FBX, button by button, with pictures.

    blender --python walk.py -- VIDEOS CALIBRATION OUT [FIT]

Started by tools/run_blender_tests.py. Every button is pressed by the mouse, Blender's file browser included; on the
way one solve is cancelled, one child process is killed, what was detected is kept, a keypoint is dragged and the take
solved again. Leaves result.json and a picture of every step in OUT, then ends Blender.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Generator
from pathlib import Path

import bpy
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
import driving
import fixing
from driving import armatures, detecting, press, status, until

WORDS = sys.argv[sys.argv.index("--") + 1 :]
VIDEOS, CALIBRATION, OUT = (Path(word) for word in WORDS[:3])
FIT = "".join(WORDS[3:])
JOINT = "left_wrist"


def picture(name: str) -> None:
    driving.picture(OUT / f"{name}.jpg")


def shown_layer() -> str:
    """Return the layer of the action that the first armature shows."""
    return armatures()[0].animation_data.action.get("sightline_layer", "")


def keys() -> int:
    """Count the keys of the action that the first armature shows."""
    layers = armatures()[0].animation_data.action.layers
    bags = [bag for layer in layers for strip in layer.strips for bag in strip.channelbags]
    return sum(len(curve.keyframe_points) for bag in bags for curve in bag.fcurves)


def farthest_sigmas() -> float:
    """Return how far the armature's bones leave their solved ends at most, in standard deviations of the joint."""
    scene = bpy.context.scene
    shown, farthest = scene.frame_current, 0.0
    with np.load(scene.sightline.solution_path) as read:
        arrays = {key: read[key] for key in ("xyz", "covariance", "bone_names", "bone_joints", "placement_sigma_m")}
    ends = dict(zip(arrays["bone_names"], arrays["bone_joints"][:, 1], strict=True))
    item = armatures()[0]
    for index in range(len(arrays["xyz"])):
        scene.frame_set(scene.frame_start + index)
        for name, joint in ends.items():
            tail = np.array(item.matrix_world @ item.pose.bones[name].tail)
            off = tail - arrays["xyz"][index, 0, joint]
            movement = arrays["covariance"][index, 0, joint] - arrays["placement_sigma_m"][joint] ** 2 * np.eye(3)
            if np.isfinite(off).all():
                farthest = max(farthest, float(np.sqrt(off @ np.linalg.solve(movement, off))))
    scene.frame_set(shown)
    return farthest


def fill() -> driving.Steps:
    """Steps 1 to 3 of the panel: videos, calibration, person."""
    yield from press("bpy.ops.sightline.add_videos(")
    yield from driving.browse(VIDEOS)
    known = bpy.context.scene.sightline
    if len(known.views) != len(list(VIDEOS.glob("*.mp4"))):
        raise RuntimeError(f"{len(known.views)} videos were added")
    picture("2_footage")
    yield from press("bpy.ops.sightline.choose_calibration(")
    yield from driving.browse(CALIBRATION.parent, CALIBRATION.name)
    if FIT:
        if {view.fit for view in known.views} != {FIT, "exact"}:
            raise RuntimeError(f"videos are said to be {[view.fit for view in known.views]}")
    yield from driving.over_property("sightline.persons")
    if known.calibration_problem or known.persons != 1:
        raise RuntimeError(f"cameras: {known.calibration_problem}; {known.persons} people")
    picture("3_cameras_and_person")


def interrupted() -> Generator[float, None, dict[str, object]]:
    """Cancel a solve by ESC, kill the next one's child process, then keep what they detected."""
    parts = driving.view_3d()
    yield from press("bpy.ops.sightline.solve_take(")
    driving.mouse("mousemove", parts["area"].x + 300, parts["window"].height - parts["area"].y - 300)
    yield from until(detecting(0.03), "detection")
    picture("4_solving")
    driving.mouse("key", "Escape")
    yield from until(lambda: not status().running, "the end after ESC", 30.0)
    yield 1.0
    picture("5_cancelled")
    untouched = len(bpy.context.scene.objects)
    yield from press("bpy.ops.sightline.solve_take(")
    yield from until(detecting(0.03), "detection going on")  # from where the other one stopped
    os.kill(driving.child(), signal.SIGKILL)
    yield from until(lambda: not status().running, "the end of the killed child", 30.0)
    yield 1.0
    picture("6_killed")
    driving.mouse("key", "Escape")  # the report that popped up
    yield 0.5
    untouched += len(bpy.context.scene.objects)
    if untouched:
        raise RuntimeError("a solve that did not end has left objects in the scene")
    yield from press("bpy.ops.sightline.keep_partial(")
    yield from until(lambda: armatures() and not status().running, "the partial result")
    yield 1.0
    picture("7_partial")
    return {"partial": bpy.context.scene.sightline.summary.split("\n")[0]}


def solved() -> Generator[float, None, dict[str, object]]:
    """Solve the whole take; look how long the window stands still meanwhile."""
    old = Path(bpy.context.scene.sightline.solution_path).stat().st_mtime_ns
    yield from press("bpy.ops.sightline.solve_take(")
    started, pause = time.monotonic(), 0.05
    longest, own = 0.0, 0.0
    while status().running or Path(bpy.context.scene.sightline.solution_path).stat().st_mtime_ns == old:
        before, waited = time.monotonic(), driving.waited_s()
        if before - started > driving.PATIENCE_S:
            raise RuntimeError(f"no end of the solve: {status().text}")
        yield pause
        still = time.monotonic() - before - pause
        longest, own = max(longest, still), max(own, still - (driving.waited_s() - waited))
    seconds = time.monotonic() - started
    yield 1.0
    picture("8_solved")
    lines = bpy.context.scene.sightline.summary.split("\n")[:2]
    return {
        "solve_s": round(seconds, 1),
        "longest_freeze_s": round(longest, 2),
        "own_freeze_s": round(own, 2),
        "summary": ", ".join(lines),
    }


def walk() -> Generator[float, None, dict[str, object]]:
    """The whole way."""
    for thing in list(bpy.context.scene.objects):
        bpy.data.objects.remove(thing)
    yield from driving.show_panel()
    picture("1_empty")
    yield from fill()
    result = yield from interrupted()
    result |= yield from solved()
    view = bpy.context.scene.sightline.views[1].name
    yield from press(f'bpy.ops.sightline.look_through(view="{view}"')
    yield from press("bpy.ops.sightline.worst_frame(")
    yield 2.0
    picture("9_through_a_camera")
    bpy.context.scene.frame_set(bpy.context.scene.frame_start + 30)
    yield from driving.open_panel("SIGHTLINE_PT_fix", "bpy.ops.sightline.show_layer(")
    picture("10_fix")
    result |= yield from fixing.correct(JOINT, OUT)
    result |= yield from fixing.solve_again(JOINT)
    yield 1.0
    picture("12_solved_again")
    result["keys"] = keys()
    yield from press("bpy.ops.sightline.reduce_keys(")
    yield from until(lambda: shown_layer() == "cleaned", "a cleaned layer")
    result["keys_cleaned"] = keys()
    result["farthest_sigmas"] = round(farthest_sigmas(), 3)
    yield 2.0  # the panel is drawn anew
    picture("13_few_keys")
    folder = Path(bpy.context.scene.sightline.solution_path).parent
    yield from press("bpy.ops.sightline.export_take(")
    yield from until(lambda: list(folder.glob("*.fbx")), "an FBX")
    yield 2.0
    picture("14_exported")
    result["fbx_bytes"] = next(folder.glob("*.fbx")).stat().st_size
    yield from press("bpy.ops.sightline.list_gaps(")
    yield 1.0  # its list is drawn: the last step, for the wheel turns the list from now on
    return result


driving.run(walk(), OUT)
