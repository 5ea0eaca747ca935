"""The step Footage: add videos, look at what they are, take them off the list."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false, reportInvalidTypeForm=false

from pathlib import Path

import bpy
from bpy.props import CollectionProperty, StringProperty
from bpy_extras.io_utils import ImportHelper

from ...inference.errors import InputError
from ...inference.footage import open_footage
from .guarded import guarded

VIDEO_ENDINGS = (".mp4", ".mov", ".avi", ".mkv", ".m4v", ".mts", ".m2ts", ".webm", ".mpg", ".mpeg", ".wmv")


def look_at(view: bpy.types.PropertyGroup) -> None:
    """Find size, rate and length of a view's video, or why it cannot be used."""
    view.width = view.height = view.frames = 0
    try:
        footage = open_footage(view.name, bpy.path.abspath(view.video), view.fps or None)
    except InputError as problem:
        view.problem = " ".join(str(problem).split())
        return
    view.problem = ""
    view.width, view.height = footage.image_size
    view.frames, view.found_fps = len(footage.timestamps_s), footage.fps


class SIGHTLINE_OT_add_videos(bpy.types.Operator, ImportHelper):
    """Add the videos of a take, one per camera; each is named as its file, which should be the camera's name"""  # noqa: D415

    bl_idname = "sightline.add_videos"
    bl_label = "Add Videos"
    bl_options = {"UNDO"}

    files: CollectionProperty(type=bpy.types.OperatorFileListElement, options={"HIDDEN", "SKIP_SAVE"})
    directory: StringProperty(subtype="DIR_PATH", options={"HIDDEN", "SKIP_SAVE"})
    filepath: StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: StringProperty(default=";".join(f"*{ending}" for ending in VIDEO_ENDINGS), options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if self.directory and any(file.name for file in self.files):  # dropped on the window
            return self.execute(context)
        return ImportHelper.invoke(self, context, event)

    def execute(self, context: bpy.types.Context) -> set[str]:
        def add() -> set[str]:
            chosen = [Path(self.directory) / file.name for file in self.files if file.name]
            chosen = chosen or ([Path(self.filepath)] if self.filepath else [])
            if not chosen:
                raise InputError("no video is chosen")
            views = context.scene.sightline.views
            known = {str(Path(bpy.path.abspath(view.video))) for view in views}
            added = [path for path in sorted(chosen) if str(path) not in known]
            own = context.scene.sightline
            if not views and own.take_name == "take" and bpy.data.filepath:  # several scenes may share a folder
                own.take_name = Path(bpy.data.filepath).stem
            for path in added:
                view = views.add()
                view.name, view.video = path.stem, str(path)
                look_at(view)
            context.scene.sightline.view_index = len(views) - 1
            for view in views:
                if view.problem:
                    self.report({"WARNING"}, view.problem)
            self.report({"INFO"}, f"{len(added)} videos added, {len(views)} in all")
            return {"FINISHED"}

        return guarded(self, add)


class SIGHTLINE_OT_remove_video(bpy.types.Operator):
    """Take the chosen video off the list; the file stays"""  # noqa: D415

    bl_idname = "sightline.remove_video"
    bl_label = "Remove Video"
    bl_options = {"UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        known = context.scene.sightline
        return 0 <= known.view_index < len(known.views)

    def execute(self, context: bpy.types.Context) -> set[str]:
        known = context.scene.sightline
        known.views.remove(known.view_index)
        known.view_index = min(known.view_index, len(known.views) - 1)
        return {"FINISHED"}


class SIGHTLINE_OT_check_videos(bpy.types.Operator):
    """Look again at every video: after a file was moved, or its rate was changed here"""  # noqa: D415

    bl_idname = "sightline.check_videos"
    bl_label = "Check Videos"
    bl_options = {"UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        for view in context.scene.sightline.views:
            look_at(view)
        return {"FINISHED"}


class SIGHTLINE_OT_same_for_all(bpy.types.Operator):
    """Give every other video the Fit, the Start and the Frame Rate of this one"""  # noqa: D415

    bl_idname = "sightline.same_for_all"
    bl_label = "Same for All"
    bl_options = {"UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        known = context.scene.sightline
        return len(known.views) > 1 and 0 <= known.view_index < len(known.views)

    def execute(self, context: bpy.types.Context) -> set[str]:
        known = context.scene.sightline
        chosen = known.views[known.view_index]
        for view in known.views:
            view.fit, view.offset_mode, view.fps = chosen.fit, chosen.offset_mode, chosen.fps
        return {"FINISHED"}


class SIGHTLINE_FH_videos(bpy.types.FileHandler):
    """Videos dropped on the 3D view are added."""

    bl_idname = "SIGHTLINE_FH_videos"
    bl_label = "Sightline videos"
    bl_import_operator = "sightline.add_videos"
    bl_file_extensions = ";".join(VIDEO_ENDINGS)

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        return context.area is not None and context.area.type == "VIEW_3D"


CLASSES = (
    SIGHTLINE_OT_add_videos,
    SIGHTLINE_OT_remove_video,
    SIGHTLINE_OT_check_videos,
    SIGHTLINE_OT_same_for_all,
    SIGHTLINE_FH_videos,
)
