"""Solve a take in a child process, and stop it."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false, reportInvalidTypeForm=false

import time
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor

import bpy
from bpy.props import BoolProperty, StringProperty

from .. import solving
from ..job import Job
from .guarded import guarded, redraw_panels, show

TICK_S = 0.1
STEPS_S = 0.05  # of every tick go into entering the result


class _Running:
    """The one solve that may run; it outlives the operator when a new file is loaded."""

    job: Job | None = None


def end_running_job() -> None:
    """End the child process of a solve, if one runs."""
    if _Running.job is not None:
        _Running.job.close()
        _Running.job = None


class SIGHTLINE_OT_solve_take(bpy.types.Operator):
    """Solve the take in a child process and enter cameras, armatures and uncertainty into the scene"""  # noqa: D415

    bl_idname = "sightline.solve_take"
    bl_label = "Solve 3D Pose"
    bl_options = {"UNDO"}

    take_path: StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    output_path: StringProperty(subtype="DIR_PATH", options={"SKIP_SAVE"})
    preview: BoolProperty(options={"SKIP_SAVE"}, description="Only the first seconds, as the panel says how many")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if context.window_manager.sightline.running:
            cls.poll_message_set("A solve is running")
            return False
        return True

    def _request(self, context: bpy.types.Context) -> solving.Request:
        chosen = context.scene.sightline
        chosen.take_path = self.take_path or chosen.take_path
        chosen.output_path = self.output_path or chosen.output_path
        if self.take_path:
            chosen.views.clear()  # a take file stands for itself
        return solving.request_from_scene(context, chosen.preview_s if self.preview else None)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Wait for the result: background mode and scripts."""

        def solve() -> set[str]:
            return self._finished(context, solving.solve_blocking(context, self._request(context)))

        return guarded(self, solve)

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Start the solve and follow it by a timer."""

        def start() -> set[str]:
            self._wanted = self._request(context)
            _Running.job = self._job = solving.start(self._wanted)
            self._reading: Future[solving.Prepared] | None = None
            self._steps: Generator[float, None, solving.BuiltScene] | None = None
            self._scene_name = context.scene.name  # an undo meanwhile would leave a pointer astray
            manager = context.window_manager
            manager.sightline.running, manager.sightline.share, manager.sightline.text = True, 0.0, "Starting"
            self._timer = manager.event_timer_add(TICK_S, window=context.window)
            manager.modal_handler_add(self)
            return {"RUNNING_MODAL"}

        return guarded(self, start)

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if event.type != "TIMER":  # while objects are made, nobody may undo or delete them
            return {"PASS_THROUGH"} if self._steps is None else {"RUNNING_MODAL"}
        result = guarded(self, lambda: self._advance(context))
        if result != {"RUNNING_MODAL"}:
            self._stop(context)
        return result if result != {"RUNNING_MODAL"} or self._steps is not None else {"PASS_THROUGH"}

    def _advance(self, context: bpy.types.Context) -> set[str]:
        """Do what is due: listen to the child, then read its result in a thread, then enter it step by step."""
        for said in self._job.events():
            show(context, said.share, said.text)
        if self._job.running:
            return {"RUNNING_MODAL"}
        if self._reading is None:
            reader = ThreadPoolExecutor(1)
            self._reading = reader.submit(solving.read_result, self._job.result())
            reader.shutdown(wait=False)
            show(context, 0.0, "Reading the result")
        if not self._reading.done():
            return {"RUNNING_MODAL"}
        scene = bpy.data.scenes.get(self._scene_name) or context.scene
        layer = context.view_layer if context.scene == scene else scene.view_layers[0]
        with context.temp_override(scene=scene, view_layer=layer):
            if self._steps is None:
                self._steps = solving.enter_steps(bpy.context, self._wanted, self._reading.result())
            end = time.monotonic() + STEPS_S
            try:
                while time.monotonic() < end:
                    show(context, next(self._steps), "Entering the result")
            except StopIteration as built:
                return self._finished(context, built.value)
        return {"RUNNING_MODAL"}

    def cancel(self, context: bpy.types.Context) -> None:
        """End with the window or the file."""
        self._stop(context)
        self._job.close()

    def _stop(self, context: bpy.types.Context) -> None:
        _Running.job = None
        context.window_manager.event_timer_remove(self._timer)
        context.window_manager.sightline.running = False
        context.window_manager.sightline.text = ""
        redraw_panels(context)

    def _finished(self, context: bpy.types.Context, built: solving.BuiltScene) -> set[str]:
        for warning in built.warnings:
            self.report({"WARNING"}, warning)
        self.report({"INFO"}, f"Solved {built.take}: " + ", ".join(context.scene.sightline.summary.split("\n")[:2]))
        return {"FINISHED"}


class SIGHTLINE_OT_cancel_solve(bpy.types.Operator):
    """Stop the running solve; the scene stays as it is"""  # noqa: D415

    bl_idname = "sightline.cancel_solve"
    bl_label = "Cancel"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return context.window_manager.sightline.running

    def execute(self, context: bpy.types.Context) -> set[str]:
        if _Running.job is not None:
            _Running.job.cancel()
            context.window_manager.sightline.text = "Cancelling"
        return {"FINISHED"}


CLASSES = (SIGHTLINE_OT_solve_take, SIGHTLINE_OT_cancel_solve)
