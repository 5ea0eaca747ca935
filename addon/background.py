"""Solves in the background, one after the other: the one that runs, those that wait, what a cancelled one left."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import bpy

from ..inference.errors import Cancelled, SolveError
from . import solving, warm

STEPS_S = 0.15  # of every tick go into entering the result: a window needs as long to draw it


@dataclass(frozen=True, eq=False)
class Wanted:
    """A solve that was asked for, and by which scene: its name may change, an undo may replace it in memory."""

    request: solving.Request
    scene_uid: int

    @property
    def text(self) -> str:
        """The take's name, for a person."""
        return self.request.take.name + (" (detected so far)" if self.request.so_far else "")

    @property
    def scene(self) -> bpy.types.Scene:
        """The scene that the result goes into.

        Raises:
            SolveError: it was deleted.
        """
        for scene in bpy.data.scenes:
            if scene.session_uid == self.scene_uid:
                return scene
        raise SolveError(f"the scene that asked for this solve is gone; its results are in {self.request.out}")


class Entering:
    """A result on its way into the scene that asked for it: read in a thread, entered in short steps."""

    def __init__(self, wanted: Wanted, solution_file: Path) -> None:
        reader = ThreadPoolExecutor(1)
        self._wanted = wanted
        self._reading = reader.submit(solving.read_result, solution_file)
        reader.shutdown(wait=False)
        self._steps: Generator[float, None, solving.BuiltScene] | None = None

    @property
    def begun(self) -> bool:
        """Whether objects are being made: then nobody may undo or delete them."""
        return self._steps is not None

    def advance(self, context: bpy.types.Context, tell: Callable[[float, str], None]) -> solving.BuiltScene | None:
        """Go on for a moment; return what was built, once all is done.

        Raises:
            SolveError: the result cannot be read, or its scene is gone.
        """
        if not self._reading.done():
            return None
        scene = self._wanted.scene
        layer = context.view_layer if context.scene == scene else scene.view_layers[0]
        with context.temp_override(scene=scene, view_layer=layer):
            if self._steps is None:
                self._steps = solving.enter_steps(bpy.context, self._wanted.request, self._reading.result())
            end = time.monotonic() + STEPS_S
            try:
                while time.monotonic() < end:
                    tell(next(self._steps), "Entering the result")
            except StopIteration as built:
                return built.value
        return None


class Run:
    """One solve on its way: advance it from a timer; it never blocks."""

    def __init__(self, wanted: Wanted) -> None:
        """Start the child process.

        Raises:
            SolveError: it cannot be started.
        """
        self.wanted = wanted
        self.job = solving.start(wanted.request)
        self.detected = 0.0  # share of the frames
        self.entered = False
        self.shown_state = ""  # of the solution's file when it was last asked to be shown: each is asked for once
        self._entering: Entering | None = None

    @property
    def entering(self) -> bool:
        """Whether objects are being made: then nobody may undo or delete them."""
        return self._entering is not None and self._entering.begun

    def advance(self, context: bpy.types.Context, tell: Callable[[float, str], None]) -> solving.BuiltScene | None:
        """Do what is due: listen to the child, then read its result in a thread, then enter it step by step.

        Returns:
            What was built, once all is done.

        Raises:
            SolveError: as `Job.result`; the scene is as it was.
        """
        for said in self.job.events():
            if said.stage == "detect":
                self.detected = max(self.detected, said.share)
            tell(said.share, said.text)
        if self.job.running and self.job.solution_file is None:
            return None
        if self._entering is None:
            self._entering = Entering(self.wanted, self._solution_file())
            tell(0.0, "Reading the result")
        built = self._entering.advance(context, tell)
        self.entered = built is not None
        return built

    def _solution_file(self) -> Path:
        if self.job.solution_file is not None:  # the reports may still be on their way
            return self.job.solution_file
        try:
            return self.job.result()
        except SolveError as problem:
            kept = self.wanted.request.take.settings.detection.reuse_detections
            if kept and self.detected and (self.job.crashed or isinstance(problem, Cancelled)):
                _State.partial = Partial(self.wanted, self.detected)
            raise


@dataclass(frozen=True)
class Partial:
    """What a solve that did not come to its end has detected."""

    wanted: Wanted
    share: float

    @property
    def text(self) -> str:
        """The same in words."""
        return f"{self.wanted.text}: {self.share:.0%} of the frames are detected"


class _State:
    """The one solve that may run, and what stands around it; it outlives operators and files."""

    run: Run | None = None
    waiting: tuple[Wanted, ...] = ()
    partial: Partial | None = None


def running() -> Run | None:
    """Return the solve that runs."""
    return _State.run


def waiting() -> tuple[Wanted, ...]:
    """Return the solves that wait, the next one first."""
    return _State.waiting


def partial() -> Partial | None:
    """Return what the last cancelled or crashed solve has detected, as long as nothing has come of it."""
    return _State.partial


def begin(wanted: Wanted) -> Run:
    """Start a solve; none may run.

    Raises:
        SolveError: the child process cannot be started.
    """
    _State.run = Run(wanted)
    if _State.partial is not None and _same(_State.partial.wanted, wanted):
        _State.partial = None
    return _State.run


def enqueue(wanted: Wanted) -> int:
    """Let a solve wait for those before it; the same that waits already gives way.

    Returns:
        How many come before it, the running one included.
    """
    mode = (wanted.request.again, wanted.request.so_far)
    kept = [
        other
        for other in _State.waiting
        if not (_same(other, wanted) and (other.request.again, other.request.so_far) == mode)
    ]
    _State.waiting = (*kept, wanted)
    return len(_State.waiting)


def _same(one: Wanted, other: Wanted) -> bool:
    return (one.request.out, one.scene_uid) == (other.request.out, other.scene_uid)


def take_next() -> Wanted | None:
    """Take the next solve off the queue, None where it is empty."""
    if not _State.waiting:
        return None
    first, *others = _State.waiting
    _State.waiting = tuple(others)
    return first


def drop(index: int) -> None:
    """Take one that waits off the queue; nothing where there is none."""
    _State.waiting = tuple(wanted for number, wanted in enumerate(_State.waiting) if number != index)


def partial_request() -> Wanted | None:
    """Return the solve of what was detected, None where there is nothing."""
    if _State.partial is None:
        return None
    wanted = _State.partial.wanted
    return replace(wanted, request=replace(wanted.request, so_far=True))


def forget_partial() -> None:
    """Offer nothing any more of the cancelled solve; what it detected stays on disk for the next one."""
    _State.partial = None


def end_run() -> None:
    """End the child process of the solve that runs, if one does."""
    if _State.run is not None:
        _State.run.job.close()
        _State.run = None


def end_all() -> None:
    """End the solve that runs, and forget what waits: with the file, or with the extension."""
    _State.waiting, _State.partial = (), None
    warm.end_waiting()
    end_run()
