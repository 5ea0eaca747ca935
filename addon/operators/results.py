"""What is done with a result: read its report, look through its cameras."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false, reportInvalidTypeForm=false

from pathlib import Path

import bpy
from bpy.props import StringProperty

from ...inference.errors import InputError
from .. import background, solving
from ..host.cameras import set_resolution
from ..host.parts import TAKE, VIEW, parts_in
from .guarded import guarded, redraw_panels, refuse

_TICK_S = 0.05


class SIGHTLINE_OT_open_report(bpy.types.Operator):
    """Open the report of the last solve in the browser"""  # noqa: D415

    bl_idname = "sightline.open_report"
    bl_label = "Open Report"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(context.scene.sightline.report_path)

    def execute(self, context: bpy.types.Context) -> set[str]:
        path = Path(bpy.path.abspath(context.scene.sightline.report_path))
        if not path.is_file():
            return refuse(self, InputError(f"{path} is not there any more; solve again"))
        bpy.ops.wm.path_open(filepath=str(path))
        return {"FINISHED"}


class _Entering:
    """Whether a result is being entered; once at a time."""

    busy = False


class SIGHTLINE_OT_enter_result(bpy.types.Operator):
    """Show the result that is on disk: after an undo, or after the take was solved elsewhere, the scene has an older one"""  # noqa: D415, E501

    bl_idname = "sightline.enter_result"
    bl_label = "Show the Newest Result"
    bl_options = {"UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(context.scene.sightline.solution_path) and not _Entering.busy

    def execute(self, context: bpy.types.Context) -> set[str]:
        def enter() -> set[str]:
            request = solving.request_in_full(context)
            solving.enter(context, request, request.out / "solution.npz")
            return {"FINISHED"}

        return guarded(self, enter)

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        def start() -> set[str]:
            request = solving.request_in_full(context)
            wanted = background.Wanted(request, context.scene.session_uid)
            self._entering = background.Entering(wanted, request.out / "solution.npz")
            self._timer = context.window_manager.event_timer_add(_TICK_S, window=context.window)
            context.window_manager.modal_handler_add(self)
            _Entering.busy = True
            return {"RUNNING_MODAL"}

        return guarded(self, start)

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if event.type == "TIMER":
            result = guarded(self, lambda: self._advance(context))
            if result != {"RUNNING_MODAL"}:
                self.cancel(context)
                return result
        return {"RUNNING_MODAL"} if self._entering.begun else {"PASS_THROUGH"}

    def _advance(self, context: bpy.types.Context) -> set[str]:
        built = self._entering.advance(context, lambda _share, _text: None)
        return {"RUNNING_MODAL"} if built is None else {"FINISHED"}

    def cancel(self, context: bpy.types.Context) -> None:
        """End with the window or the file."""
        _Entering.busy = False
        context.window_manager.event_timer_remove(self._timer)
        redraw_panels(context)


class SIGHTLINE_OT_look_through(bpy.types.Operator):
    """Look through the camera of a view, at the size of its footage"""  # noqa: D415

    bl_idname = "sightline.look_through"
    bl_label = "Look Through"

    view: StringProperty()

    def execute(self, context: bpy.types.Context) -> set[str]:
        cameras = parts_in(context.scene, "camera", context.scene.sightline.take or None)
        camera = next((item for item in cameras if item.get(VIEW) == self.view), None)
        if camera is None:
            return refuse(self, InputError(f"no camera in this scene stands for the view {self.view!r}"))
        context.scene.camera = camera
        set_resolution(context.scene, camera)
        if context.space_data is not None and context.space_data.type == "VIEW_3D":
            context.space_data.region_3d.view_perspective = "CAMERA"
        if camera.get(TAKE) == context.scene.sightline.take:
            solving.expect_again(context)  # it is how correcting begins
        return {"FINISHED"}


CLASSES = (SIGHTLINE_OT_open_report, SIGHTLINE_OT_enter_result, SIGHTLINE_OT_look_through)
