"""Solve a take in a child process, stop it, let others wait, keep what a cancelled one has detected."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false, reportInvalidTypeForm=false

from collections.abc import Callable
from functools import partial

import bpy
from bpy.props import BoolProperty, IntProperty, StringProperty

from ...inference.errors import Cancelled, InputError, SolveError
from .. import background, solving
from .cameras import look_at_calibration
from .footage import look_at
from .guarded import guarded, redraw_panels, show

TICK_S = 0.1


class _Solving:
    """What every solve does: follow the child process by a timer, then enter its result into the scene."""

    bl_options = {"UNDO"}

    def _wanted(self, context: bpy.types.Context) -> background.Wanted:
        return background.Wanted(self._request(context), context.scene.session_uid)

    def _request(self, context: bpy.types.Context) -> solving.Request:
        raise NotImplementedError

    def _problem(self, context: bpy.types.Context, problem: SolveError) -> None:
        """Be told why it did not work; the report says it anyway."""

    def _guarded(self, context: bpy.types.Context, work: Callable[[], set[str]]) -> set[str]:
        def told() -> set[str]:
            try:
                return work()
            except Cancelled:
                raise
            except SolveError as problem:
                self._problem(context, problem)
                raise

        return guarded(self, told)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Wait for the result: background mode and scripts."""

        def solve() -> set[str]:
            if background.running() is not None:
                raise InputError("a solve is running; wait for it, or cancel it")
            return self._finished(context, solving.solve_blocking(context, self._wanted(context).request))

        return self._guarded(context, solve)

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Start the solve and follow it by a timer, or let it wait for the one that runs."""

        def start() -> set[str]:
            wanted = self._wanted(context)
            if background.running() is not None:
                before = background.enqueue(wanted)
                self.report({"INFO"}, f"{wanted.text} waits; {before} before it")
                redraw_panels(context)
                return {"FINISHED"}
            self._run = background.begin(wanted)
            manager = context.window_manager
            manager.sightline.running, manager.sightline.share, manager.sightline.text = True, 0.0, "Starting"
            self._timer = manager.event_timer_add(TICK_S, window=context.window)
            manager.modal_handler_add(self)
            return {"RUNNING_MODAL"}

        result = self._guarded(context, start)
        if background.running() is None:
            begin_next()
        return result

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if event.type != "TIMER":
            if not self._run.entering and _escaped(context, event):
                _cancel(context)
                return {"RUNNING_MODAL"}
            return {"RUNNING_MODAL"} if self._run.entering else {"PASS_THROUGH"}
        result = self._guarded(context, lambda: self._advance(context))
        if result != {"RUNNING_MODAL"}:
            self._stop(context, entered=result == {"FINISHED"})
            begin_next()
        return result if result != {"RUNNING_MODAL"} or self._run.entering else {"PASS_THROUGH"}

    def _advance(self, context: bpy.types.Context) -> set[str]:
        built = self._run.advance(context, lambda share, text: show(context, share, text))
        return {"RUNNING_MODAL"} if built is None else self._finished(context, built)

    def cancel(self, context: bpy.types.Context) -> None:
        """End with the window or the file."""
        self._stop(context)

    def _stop(self, context: bpy.types.Context, entered: bool = False) -> None:
        if entered and background.running() is self._run and self._run.job.running:
            bpy.app.timers.register(partial(_follow, self._run), first_interval=TICK_S)
        elif background.running() is self._run:  # not one that a new file has begun
            background.end_run()
            context.window_manager.sightline.running = False
            context.window_manager.sightline.text = ""
            if entered:
                _expect_another(self._run)
        context.window_manager.event_timer_remove(self._timer)
        redraw_panels(context)

    def _finished(self, context: bpy.types.Context, built: solving.BuiltScene) -> set[str]:
        for warning in built.warnings:
            self.report({"WARNING"}, warning)
        self.report({"INFO"}, f"Solved {built.take}: " + ", ".join(context.scene.sightline.summary.split("\n")[:2]))
        return {"FINISHED"}


def _follow(run: background.Run) -> float | None:
    """Wait for a child that still works although motion was entered: a timer of the application.

    After the neighbourhood of a correction comes the whole take, which is entered too, then the reports.
    """
    if background.running() is not run:
        return None
    for said in run.job.events():
        show(bpy.context, said.share, said.text)
    if run.job.running:
        if run.job.whole_take:
            show_newest(run)
        return TICK_S
    status = bpy.context.window_manager.sightline
    status.running, status.text = False, ""
    try:
        run.job.result()
        show_newest(run)
        solving.reports_written(run.wanted.scene, run.wanted.request)
    except SolveError as problem:
        status.text = f"The motion stands, its report does not: {problem}"
    background.end_run()
    _expect_another(run)
    redraw_panels(bpy.context)
    begin_next()
    return None


def _expect_another(run: background.Run) -> None:
    """Let a child load what the next Solve Again needs: who solves again corrects on."""
    for window in bpy.context.window_manager.windows:
        if run.wanted.request.again and window.scene.session_uid == run.wanted.scene_uid:
            with bpy.context.temp_override(window=window):
                solving.expect_again(bpy.context)
            return


def show_newest(run: background.Run) -> None:
    """Enter what is on disk where a window shows its scene; elsewhere the panel offers it when the scene is shown.

    Every state of the file is asked for once: where it cannot be entered, the panel says why and goes on offering it.
    """
    wanted = run.wanted
    for window in bpy.context.window_manager.windows:
        if window.scene.session_uid != wanted.scene_uid:
            continue
        state = solving.newer_on_disk(window.scene)
        with bpy.context.temp_override(window=window):
            if state not in ("", run.shown_state) and bpy.ops.sightline.enter_result.poll():
                run.shown_state = state
                try:
                    bpy.ops.sightline.enter_result("INVOKE_DEFAULT")
                except RuntimeError as problem:  # so Blender hands on what an operator reports
                    said = " ".join(str(problem).removeprefix("Error: ").split())
                    bpy.context.window_manager.sightline.again_problem = said
        return


def begin_next() -> None:
    """Start the solve that waits, from a timer: an operator cannot start another one while it ends."""
    if background.waiting() and not bpy.app.timers.is_registered(_next):
        bpy.app.timers.register(_next, first_interval=0.0)


def _next() -> None:
    windows = bpy.context.window_manager.windows
    if background.waiting() and background.running() is None and windows:
        with bpy.context.temp_override(window=windows[0]):
            bpy.ops.sightline.solve_next("INVOKE_DEFAULT")


def _escaped(context: bpy.types.Context, event: bpy.types.Event) -> bool:
    """Tell whether ESC was pressed over a 3D view; while the animation plays, it stops that instead."""
    if event.type != "ESC" or event.value != "PRESS" or context.screen.is_animation_playing:
        return False
    x, y = event.mouse_x, event.mouse_y
    return any(
        area.type == "VIEW_3D" and area.x <= x < area.x + area.width and area.y <= y < area.y + area.height
        for area in context.window.screen.areas
    )


def _cancel(context: bpy.types.Context) -> None:
    run = background.running()
    if run is not None:
        run.job.cancel()
        context.window_manager.sightline.text = "Cancelling"
        redraw_panels(context)


class SIGHTLINE_OT_solve_take(_Solving, bpy.types.Operator):
    """Solve the take in a child process and enter cameras, armatures and uncertainty into the scene"""  # noqa: D415

    bl_idname = "sightline.solve_take"
    bl_label = "Solve 3D Pose"

    take_path: StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    output_path: StringProperty(subtype="DIR_PATH", options={"SKIP_SAVE"})
    preview: BoolProperty(options={"SKIP_SAVE"}, description="Only the first seconds, as the panel says how many")

    @classmethod
    def description(cls, _context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        if background.running() is not None:
            return "Solve this take as soon as those before it are done"
        return "Solve the first seconds only, to see whether all is right" if properties.preview else cls.__doc__ or ""

    def _request(self, context: bpy.types.Context) -> solving.Request:
        chosen = context.scene.sightline
        chosen.take_path = self.take_path or chosen.take_path
        chosen.output_path = self.output_path or chosen.output_path
        if self.take_path:
            chosen.views.clear()  # a take file stands for itself
        for view in chosen.views:
            if view.problem:
                look_at(view)
        if chosen.views and chosen.cameras_from == "FILE" and chosen.calibration_path.strip():
            look_at_calibration(context.scene)  # videos may have been renamed, the file changed
        return solving.request_from_scene(context, chosen.preview_s if self.preview else None)


class SIGHTLINE_OT_solve_again(_Solving, bpy.types.Operator):
    """Solve once more from the keypoints of the last solve, with the corrections: nothing is detected again"""  # noqa: D415

    bl_idname = "sightline.solve_again"
    bl_label = "Solve Again"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not context.scene.sightline.solution_path:
            cls.poll_message_set("Solve the take first")
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Begin at once, also while the whole take of the correction before is still being solved."""
        run = background.running()
        if run is not None and run.wanted.request.again and run.entered:
            background.end_run()
        return super().invoke(context, event)

    def _request(self, context: bpy.types.Context) -> solving.Request:
        context.window_manager.sightline.again_problem = ""
        return solving.request_again(context)

    def _problem(self, context: bpy.types.Context, problem: SolveError) -> None:
        context.window_manager.sightline.again_problem = str(problem)


class SIGHTLINE_OT_solve_in_full(_Solving, bpy.types.Operator):
    """Solve the take of this result once more from its footage, whatever the steps above describe now"""  # noqa: D415

    bl_idname = "sightline.solve_in_full"
    bl_label = "Solve in Full"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(context.scene.sightline.solution_path)

    def _request(self, context: bpy.types.Context) -> solving.Request:
        return solving.request_in_full(context)


class SIGHTLINE_OT_solve_next(_Solving, bpy.types.Operator):
    """Solve what waits next"""  # noqa: D415

    bl_idname = "sightline.solve_next"
    bl_label = "Solve Next Take"
    bl_options = {"UNDO", "INTERNAL"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        return bool(background.waiting()) and background.running() is None

    def _wanted(self, context: bpy.types.Context) -> background.Wanted:
        wanted = background.take_next()
        if wanted is None:
            raise InputError("no solve is waiting")
        return wanted


class SIGHTLINE_OT_keep_partial(_Solving, bpy.types.Operator):
    """Solve the frames that the cancelled solve has detected, and enter them; the rest of the take stays empty"""  # noqa: D415

    bl_idname = "sightline.keep_partial"
    bl_label = "Keep Partial"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        return background.partial() is not None

    def _wanted(self, context: bpy.types.Context) -> background.Wanted:
        wanted = background.partial_request()
        if wanted is None:
            raise InputError("no cancelled solve has left anything")
        return wanted


class SIGHTLINE_OT_forget_partial(bpy.types.Operator):
    """Leave the scene as it is; the next solve still goes on where the cancelled one stopped"""  # noqa: D415

    bl_idname = "sightline.forget_partial"
    bl_label = "Dismiss"

    def execute(self, context: bpy.types.Context) -> set[str]:
        background.forget_partial()
        redraw_panels(context)
        return {"FINISHED"}


class SIGHTLINE_OT_cancel_solve(bpy.types.Operator):
    """Stop the running solve (ESC over the 3D view does it too); the scene stays as it is"""  # noqa: D415

    bl_idname = "sightline.cancel_solve"
    bl_label = "Cancel"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return context.window_manager.sightline.running

    def execute(self, context: bpy.types.Context) -> set[str]:
        _cancel(context)
        return {"FINISHED"}


class SIGHTLINE_OT_drop_waiting(bpy.types.Operator):
    """Take this solve off the queue"""  # noqa: D415

    bl_idname = "sightline.drop_waiting"
    bl_label = "Drop"

    index: IntProperty(options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        background.drop(self.index)
        redraw_panels(context)
        return {"FINISHED"}


CLASSES = (
    SIGHTLINE_OT_solve_take,
    SIGHTLINE_OT_solve_again,
    SIGHTLINE_OT_solve_in_full,
    SIGHTLINE_OT_solve_next,
    SIGHTLINE_OT_keep_partial,
    SIGHTLINE_OT_forget_partial,
    SIGHTLINE_OT_cancel_solve,
    SIGHTLINE_OT_drop_waiting,
)
