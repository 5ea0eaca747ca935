"""The first run: the example take that the extension carries, ready to be solved."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false, reportInvalidTypeForm=false

import shutil
from pathlib import Path

import bpy

from ...inference.errors import InputError
from ..preferences import PACKAGE
from .cameras import look_at_calibration
from .footage import look_at
from .guarded import guarded

EXAMPLE = Path(__file__).resolve().parent.parent / "example_take"
_COPIED = ("calibration.toml", "README.md", "videos")


def user_folder() -> Path:
    """Return where the extension may write: the extension's own folder is replaced by every update."""
    try:
        return Path(bpy.utils.extension_path_user(PACKAGE, create=True))
    except ValueError:  # run from a checkout, not as an extension
        return Path(bpy.utils.user_resource("DATAFILES", path="sightline", create=True))


def copy_example(folder: Path) -> Path:
    """Copy the example into a folder, unless it is there; what was solved there stays.

    Raises:
        InputError: the folder cannot be written.
    """
    target = folder / "example take"
    try:
        for name in _COPIED:
            source = EXAMPLE / name
            files = sorted(source.iterdir()) if source.is_dir() else [source]
            for file in files:
                copy = target / file.relative_to(EXAMPLE)
                if not copy.is_file() or copy.stat().st_size != file.stat().st_size:
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, copy)
    except OSError as problem:
        raise InputError(f"the example cannot be copied to {target}: {problem.strerror or problem}") from problem
    return target


class SIGHTLINE_OT_load_example(bpy.types.Operator):
    """Fill the steps with an example: four videos of one person and their calibration. Solve takes about a minute"""  # noqa: D415

    bl_idname = "sightline.load_example"
    bl_label = "Load the Example"
    bl_options = {"UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        known = context.scene.sightline
        if known.views or known.take_path:
            cls.poll_message_set("A take is chosen already")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        def load() -> set[str]:
            folder = copy_example(user_folder())
            known = context.scene.sightline
            for video in sorted((folder / "videos").glob("*.mp4")):
                view = known.views.add()
                view.name, view.video = video.stem, str(video)
                look_at(view)
            known.take_name, known.persons = "example", 1
            known.cameras_from, known.calibration_path = "FILE", str(folder / "calibration.toml")
            look_at_calibration(context.scene)
            self.report({"INFO"}, f"The example is in {folder}; press Solve 3D Pose")
            return {"FINISHED"}

        return guarded(self, load)


CLASSES = (SIGHTLINE_OT_load_example,)
