"""Small work in a child process while Blender goes on: testing a Python, fetching a model. One at a time."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

import bpy

from ..inference.errors import Cancelled, InputError, SolveError
from .job import Job, foreign_environment, interpreter

POLL_S = 0.2
log = logging.getLogger(__name__)


class _State:
    """The one errand that may run."""

    job: Job | None = None
    finish: Callable[[dict[str, Any]], str] = str


def busy() -> bool:
    """Whether an errand runs."""
    return _State.job is not None


def begin(name: str, python: str, arguments: Sequence[str], finish: Callable[[dict[str, Any]], str]) -> None:
    """Start an errand; the window manager's status tells how it goes.

    Args:
        name: what is done, for a person.
        python: of the user's choice, or "" for Blender's own.
        arguments: after the interpreter.
        finish: makes a sentence of what the child said.

    Raises:
        SolveError: another one runs, or the child cannot be started.
    """
    if busy():
        raise InputError("something else is being done; wait for it")
    environment = foreign_environment(os.environ) if python else None
    _State.job, _State.finish = Job([python or interpreter(), *arguments], environment), finish
    status = bpy.context.window_manager.sightline
    status.errand, status.errand_share = name, 0.0
    if not bpy.app.timers.is_registered(poll):
        bpy.app.timers.register(poll, first_interval=POLL_S, persistent=True)


def poll() -> float | None:
    """Listen to the child; Blender's timer calls this until the errand is done."""
    job = _State.job
    if job is None:
        return None
    status = bpy.context.window_manager.sightline
    for said in job.events():
        status.errand, status.errand_share = said.text, said.share
    if job.running:
        _redraw()
        return POLL_S
    _State.job = None
    status.errand = ""
    try:
        status.errand_result, status.errand_failed = _State.finish(job.answer()), False
    except Cancelled:
        status.errand_result, status.errand_failed = "Cancelled; everything is as it was", False
    except SolveError as problem:
        status.errand_result, status.errand_failed = str(problem), True
    _redraw()
    return None


def end() -> None:
    """End the errand that runs, if one does."""
    if bpy.app.timers.is_registered(poll):
        bpy.app.timers.unregister(poll)
    if _State.job is not None:
        _State.job.close()
        _State.job = None


def cancel() -> None:
    """Ask the errand to stop; the timer sees it end."""
    if _State.job is not None:
        _State.job.cancel()


def _redraw() -> None:
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "PREFERENCES":
                area.tag_redraw()
