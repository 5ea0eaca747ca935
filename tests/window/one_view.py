"""Runs in a real Blender's window: a single video whose camera is given, and the poses sampled for what it leaves open.

    blender --python one_view.py -- VIDEO OUT [CALIBRATION]

Started by tools/run_blender_tests.py. Without a calibration the camera is one of the scene, as a user would set it up:
named like the video, at the height of a tripod. Leaves result.json and pictures in OUT, then ends Blender.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Generator
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parent))
import driving
from driving import armatures, press, status, until

WORDS = sys.argv[sys.argv.index("--") + 1 :]
VIDEO, OUT = Path(WORDS[0]), Path(WORDS[1])
CALIBRATION = Path(WORDS[2]) if len(WORDS) > 2 else None


def picture(name: str) -> None:
    driving.picture(OUT / f"{name}.jpg")


def tripod() -> None:
    """Make a camera of the scene called like the video: level, 1.6 m high, a phone's angle of view."""
    data = bpy.data.cameras.new(VIDEO.stem)
    data.angle = math.radians(65)
    camera = bpy.data.objects.new(VIDEO.stem, data)
    camera.location, camera.rotation_euler = (0, -5, 1.6), (math.radians(90), 0, 0)
    bpy.context.scene.collection.objects.link(camera)


def cameras() -> driving.Steps:
    """Step 2 of the panel."""
    if CALIBRATION is not None:
        yield from press("bpy.ops.sightline.choose_calibration(")
        yield from driving.browse(CALIBRATION.parent, CALIBRATION.name)
        return
    tripod()
    yield from driving.over_property("sightline.cameras_from")
    _, _, region = driving.sidebar()
    driving.mouse("mousemove_relative", "--", -region.width // 8, 0)  # from the middle to the second of four
    driving.mouse("click", 1)
    yield 1.0
    if bpy.context.scene.sightline.cameras_from != "SCENE":
        raise RuntimeError(f"cameras from {bpy.context.scene.sightline.cameras_from}")


def one_view() -> Generator[float, None, dict[str, object]]:
    """The whole way."""
    for thing in list(bpy.context.scene.objects):
        bpy.data.objects.remove(thing)
    known = bpy.context.scene.sightline
    yield from driving.show_panel()
    yield from press("bpy.ops.sightline.add_videos(")
    yield from driving.browse(VIDEO.parent, VIDEO.name)
    yield from cameras()
    known.height_m = 1.75
    yield 1.0
    picture("1_one_video")
    yield from press("bpy.ops.sightline.solve_take(preview=True", x_px=driving.sidebar()[2].x + 180)
    yield from until(lambda: armatures() and not status().running, "the solve of one view")
    yield 3.0
    picture("2_one_video_solved")
    view = known.views[0].name
    yield from press(f'bpy.ops.sightline.look_through(view="{view}"')
    yield from driving.open_panel("SIGHTLINE_PT_hypotheses", "bpy.ops.sightline.show_layer(")
    right_half = driving.sidebar()[2].x + 200
    yield from press("bpy.ops.sightline.next_hypotheses(", x_px=right_half)
    yield 1.5
    picture("3_ghosts")
    driving.mouse("mousemove", 400, 400, "key", "KP_0")
    driving.mouse("key", "Home")
    yield 2.0
    picture("4_ghosts_from_aside")
    yield from press("bpy.ops.sightline.choose_hypothesis(follow=False", x_px=driving.sidebar()[2].x + 60)
    pins = len(known.corrections)
    if not pins:
        raise RuntimeError("choosing a pose has pinned nothing")
    yield 1.0
    picture("5_ghost_chosen")
    return {"warnings": known.warnings, "summary": known.summary.split("\n")[:2], "pins": pins}


driving.run(one_view(), OUT)
