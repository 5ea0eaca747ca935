"""Everything that knows Blender: properties, panels, operators, the background job, the scene."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from contextlib import ExitStack

import bpy
from bpy.app.handlers import persistent
from bpy.props import PointerProperty

from . import background, errands, operators, panels, properties
from .host.cameras import set_resolution
from .operators.drag import end_dragging
from .overlays import handlers
from .scene_corrections import follow_undo, forget_session
from .thumbnails import forget_thumbnails

CLASSES = (*properties.CLASSES, *operators.CLASSES, *panels.CLASSES)


@persistent
def follow_the_camera(scene: bpy.types.Scene, *_: object) -> None:
    """When the scene comes to look through one of our views, take that view's size; once, not for ever."""
    known = scene.sightline
    if scene.camera == known.looked_through:
        return
    known.looked_through = scene.camera
    if scene.camera is not None:
        set_resolution(scene, scene.camera)


@persistent
def corrections_follow_undo(scene: bpy.types.Scene, *_: object) -> None:
    """Undo reaches the take's file too."""
    follow_undo(scene)


@persistent
def end_job_before_loading(*_: object) -> None:
    """A new file ends the solves of the one before."""
    end_dragging()
    forget_session()
    background.end_all()
    bpy.context.window_manager.sightline.running = False


_HANDLERS = (
    ("depsgraph_update_post", follow_the_camera),
    ("load_pre", end_job_before_loading),
    ("undo_post", corrections_follow_undo),
    ("redo_post", corrections_follow_undo),
)


def register() -> None:
    """Make the extension known to Blender: all of it, or nothing."""
    with ExitStack() as undo:
        for each in CLASSES:
            bpy.utils.register_class(each)
            undo.callback(bpy.utils.unregister_class, each)
        bpy.types.Scene.sightline = PointerProperty(type=properties.SIGHTLINE_PG_scene)
        bpy.types.WindowManager.sightline = PointerProperty(type=properties.SIGHTLINE_PG_status)
        for name, handler in _HANDLERS:
            getattr(bpy.app.handlers, name).append(handler)
        handlers.add_handlers()
        undo.pop_all()


def unregister() -> None:
    """Undo `register`, in reverse."""
    end_dragging()
    forget_session()
    background.end_all()
    handlers.remove_handlers()
    errands.end()
    forget_thumbnails()
    for name, handler in reversed(_HANDLERS):
        getattr(bpy.app.handlers, name).remove(handler)
    del bpy.types.WindowManager.sightline
    del bpy.types.Scene.sightline
    for each in reversed(CLASSES):
        bpy.utils.unregister_class(each)
