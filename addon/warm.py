"""A child process that has loaded everything and waits, so that Solve Again starts at once. Imports no bpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .job import Job

WAIT = "--wait"


class _State:
    """The one child that may wait."""

    job: Job | None = None
    command: tuple[str, ...] = ()


def keep_ready(command: Sequence[str], environment: Mapping[str, str] | None, hint: str = "corrected") -> None:
    """Start a child that waits to be asked for this command, unless one does; give it a hint (`inference.worker`).

    Raises:
        SolveError: it cannot be started.
    """
    if _State.job is None or not _State.job.running or tuple(command) != _State.command:
        end_waiting()
        _State.job, _State.command = Job([*command, WAIT], environment), tuple(command)
    _State.job.ask(hint)


def begin(command: Sequence[str], environment: Mapping[str, str] | None) -> Job:
    """Ask the child that waits to work, or start one where none waits for this command.

    Raises:
        SolveError: it cannot be started.
    """
    job = _State.job
    if job is not None and job.running and tuple(command) == _State.command:
        _State.job = None
        job.ask("start")
        return job
    end_waiting()
    return Job(command, environment)


def end_waiting() -> None:
    """End the child that waits, if one does."""
    if _State.job is not None:
        _State.job.close()
        _State.job = None
