"""In a real Blender's window: enters a solved take, switches every overlay on in turn, and takes its picture.

Words after --: take.toml, whose results lie in `results` beside it, and the folder of the pictures. Also leaves
`result.json`: what the drawing of one frame cost the processor, and whether an overlay that fails stops.
"""

import importlib.util
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path

import addon_utils
import bpy

sys.path.insert(0, str(Path(__file__).resolve().parent))
import driving

TAKE, OUT = (Path(word) for word in sys.argv[sys.argv.index("--") + 1 :][:2])
PROJECT, SOLVED = Path(__file__).resolve().parents[2], TAKE.parent / "results"
FOUND: dict[str, object] = {}
INSTALLED = "bl_ext.user_default.sightline"


def load() -> None:
    """Use the checkout in place of the installed extension, whose libraries stay in reach."""
    if INSTALLED in sys.modules:  # not by Blender's switch, which removes the libraries
        addon_utils.disable(INSTALLED, refresh_handled=True)
    root = str(PROJECT)
    spec = importlib.util.spec_from_file_location("sightline", root + "/__init__.py", submodule_search_locations=[root])
    sys.modules["sightline"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.register()


def picture(name: str, crop: str = "1316x848+0+28") -> None:
    """Take a picture of a part of the screen, in few colours: it goes into the guide."""
    small = ["-crop", crop, "+repage", "-resize", "900x>", "-dither", "None", "-colors", "112"]
    subprocess.run(["import", "-window", "root", *small, f"PNG8:{OUT / name}"], check=True)


def area_of(kind: str) -> bpy.types.Area:
    return driving.area_of(kind)[1]


def view_3d() -> tuple[bpy.types.Area, bpy.types.SpaceView3D]:
    area = area_of("VIEW_3D")
    return area, area.spaces.active


def close_up(factor: float = 1.0) -> None:
    """Turn the view to the person, from the front and a little above."""
    from mathutils import Quaternion, Vector

    _, space = view_3d()
    armature = next(item for item in bpy.context.scene.objects if item.type == "ARMATURE")
    bones = armature.pose.bones
    centre = sum((armature.matrix_world @ bone.head for bone in bones), Vector()) / len(bones)
    space.region_3d.view_perspective = "PERSP"
    space.region_3d.view_location = centre
    space.region_3d.view_rotation = Quaternion((0.82, 0.55, 0.09, 0.14))
    space.region_3d.view_distance = 2.9 * factor


def steps() -> Generator[float, None, dict[str, object]]:
    from sightline.addon import solving  # pyright: ignore[reportMissingImports]
    from sightline.addon.overlays import handlers as overlays  # pyright: ignore[reportMissingImports]

    for item in list(bpy.context.scene.objects):
        bpy.data.objects.remove(item)
    request = solving.request_for(TAKE, SOLVED)
    solving.enter(bpy.context, request, SOLVED / "solution.npz")
    scene = bpy.context.scene
    known = scene.sightline.overlay
    yield from driving.show_panel()
    area, space = view_3d()
    timeline = area_of("DOPESHEET_EDITOR")
    for other in scene.objects:
        other.select_set(False)
    with bpy.context.temp_override(area=timeline, region=next(r for r in timeline.regions if r.type == "WINDOW")):
        bpy.ops.action.view_all()
    bpy.ops.sightline.worst_frame()
    close_up()
    known.bones = True
    yield 2.0
    picture("bones.png")
    known.bones, known.ellipsoids = False, True
    close_up(0.8)
    yield 2.0
    picture("ellipsoids.png")
    bpy.ops.sightline.ellipsoid_share(share="50")
    yield 2.0
    picture("ellipsoids_50.png")
    bpy.ops.sightline.ellipsoid_share(share="90")
    known.bones = True
    yield from costs(overlays, scene, "bones and ellipsoids")
    known.ellipsoids = known.bones = False
    for number, camera in enumerate([item for item in scene.objects if item.type == "CAMERA"][:2]):
        bpy.ops.sightline.toggle_plate(view=camera["sightline_view"])
        with bpy.context.temp_override(area=area, region=next(r for r in area.regions if r.type == "WINDOW")):
            bpy.ops.sightline.look_through(view=camera["sightline_view"])
            bpy.ops.view3d.view_center_camera()
        bpy.ops.sightline.worst_frame(restart=True)
        yield 2.0
        picture(f"plate_{number}.png")
        if number == 0:
            yield from costs(overlays, scene, "footage")
        for background in camera.data.background_images:
            background.clip_user.use_render_undistorted = not background.clip_user.use_render_undistorted
        yield 2.0
        picture(f"plate_{number}_other.png")
    if known.doubts:
        yield from panel_picture(area)
        area.ui_type = "DOPESHEET"
        yield 1.0
        bpy.ops.sightline.select_doubt(index=0)
        bpy.ops.sightline.mark_doubts()
        yield 1.0
        with bpy.context.temp_override(area=area, region=next(r for r in area.regions if r.type == "WINDOW")):
            bpy.ops.action.view_all()
        yield 2.0
        picture("doubts.png")
        area.ui_type = "VIEW_3D"
    yield from fails_once(overlays, known)
    return FOUND


def panel_picture(area: bpy.types.Area) -> Generator[float, None, None]:
    """Scroll the sidebar down to our panels, and take its picture."""
    sidebar = next(r for r in area.regions if r.type == "UI")
    FOUND["median ms: panels"] = yield from panel_costs(area)
    for _ in range(13):
        with bpy.context.temp_override(area=area, region=sidebar):
            bpy.ops.view2d.scroll_down()
    area.tag_redraw()
    yield 2.0
    picture("panel.png", f"290x760+{sidebar.x}+56")


def panel_costs(area: bpy.types.Area) -> Generator[float, None, dict[str, float]]:
    """Measure what our panels' drawing costs the processor, by panel."""
    spent: dict[str, list[float]] = {}

    def timed(name: str, draw: Callable[..., None]) -> Callable[..., None]:
        def drawing(self: bpy.types.Panel, context: bpy.types.Context) -> None:
            started = time.thread_time()
            draw(self, context)
            spent.setdefault(name, []).append((time.thread_time() - started) * 1000)

        return drawing

    ours = [getattr(bpy.types, name) for name in dir(bpy.types) if name.startswith("SIGHTLINE_PT_")]
    before = [(panel, panel.draw) for panel in ours]
    for panel, draw in before:
        panel.draw = timed(panel.__name__, draw)
    for _ in range(8):
        area.tag_redraw()
        yield 0.5
    for panel, draw in before:
        panel.draw = draw
    found = {name: round(statistics.median(values), 2) for name, values in spent.items()}
    return found | {"together": round(sum(found.values()), 2)}


def fails_once(overlays: object, known: bpy.types.PropertyGroup) -> Generator[float, None, None]:
    """See that an overlay whose drawing fails stops itself and starts again when it is switched off and on."""
    from sightline.addon.overlays import bodies  # pyright: ignore[reportMissingImports]

    area, _ = view_3d()
    before, calls = bodies.bone_lines, []
    bodies.bone_lines = lambda *_: calls.append(1) or 1 / 0
    known.bones = True
    for _ in range(4):
        area.tag_redraw()
        yield 0.8
    found = {"failing drawings": len(calls), "stopped": overlays.stopped()}
    bodies.bone_lines = before
    known.bones = False
    area.tag_redraw()
    yield 1.0
    known.bones = True
    area.tag_redraw()
    yield 1.0
    found["stopped after switching"] = overlays.stopped()
    FOUND["failing"] = found
    if found["stopped"] != ["bones"] or len(calls) != 1 or overlays.stopped():
        raise RuntimeError(f"an overlay that fails does not stop, or does not start again: {found}")


def costs(overlays: object, scene: bpy.types.Scene, what: str) -> Generator[float, None, None]:
    """Measure what the overlays cost over some frames."""
    spent: dict[str, list[float]] = {}
    for frame in range(scene.frame_start, min(scene.frame_start + 12, scene.frame_end)):
        scene.frame_set(frame)
        overlays.SPENT_S.clear()
        yield 0.8
        for name, seconds in overlays.SPENT_S.items():
            spent.setdefault(name, []).append(seconds * 1000)
    found = {name: round(statistics.median(values), 2) for name, values in spent.items()}
    found["together"] = round(sum(found.values()), 2)
    FOUND[f"median ms: {what}"] = found


OUT.mkdir(parents=True, exist_ok=True)
load()
driving.run(steps(), OUT)
