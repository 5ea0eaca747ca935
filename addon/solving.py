"""A solve from the take's file to the scene; the panel and tools/batch_solve.py both go through here."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import bpy
import numpy as np

from ..inference.errors import Cancelled, InputError, SolveError
from ..inference.files.solution import read_solution
from ..inference.report.written import read_warnings
from ..inference.take import Take, read_take
from ..inference.types import Solution
from . import warm
from .host.export import Exported, export
from .host.export_formats import check_formats, file_name
from .host.parts import ensure_take_collection, take_collection
from .host.scene import BuiltScene, Prepared, build_steps, prepare, take_info
from .job import Event, Job, foreign_environment, worker_command
from .overlays.shown import remember_uncertainty
from .preferences import chosen_python
from .properties import SIGHTLINE_PG_scene, read_settings, settings_as_text
from .scene_corrections import kept_path, load_corrections, solved_take
from .scene_take import PREVIEW, write_scene_take
from .setting_words import in_panel_words
from .trusting import remember_trust, show_lights

POLL_S = 0.05
SOLUTION = "sightline_solution"  # where a take's collection remembers the file of its solution


@dataclass(frozen=True)
class Request:
    """What to solve, and where the results go."""

    take: Take
    out: Path
    settings: Mapping[str, str] = field(default_factory=dict)  # overrides, as on the command line
    so_far: bool = False  # only the frames that a cancelled solve has looked at
    again: bool = False  # from the keypoints that the last solve kept


def request_for(take_path: Path, out: Path | None = None, settings: Mapping[str, str] | None = None) -> Request:
    """Read a take and choose its output folder: beside the take unless one is given.

    Raises:
        InputError: the take cannot be used.
    """
    take = read_take(take_path, settings or {})
    return Request(take, (out or default_output(take.path)).absolute(), settings or {})


def default_output(take_path: Path) -> Path:
    """Return the folder beside a take file that its results go to."""
    return take_path.with_name(f"{take_path.stem}_sightline")


def request_from_scene(context: bpy.types.Context, seconds: float | None = None) -> Request:
    """Read the panel: its own take where videos are listed, else the take file that it names.

    Args:
        context: its scene holds the panel's fields.
        seconds: of the panel's own take only the first ones; None: all.

    Raises:
        InputError: no take is named, or it cannot be used.
    """
    chosen = context.scene.sightline
    if chosen.views:
        path = write_scene_take(context, seconds)
        if seconds is None:
            chosen.take_path = str(path)
    elif chosen.take_path.strip():
        path = Path(bpy.path.abspath(chosen.take_path))
    else:
        raise InputError("add videos, or choose a take.toml, in the panel Solve 3D Pose")
    out = Path(bpy.path.abspath(chosen.output_path)) if chosen.output_path.strip() else None
    return request_for(path, out, _settings(chosen))


def _settings(chosen: SIGHTLINE_PG_scene) -> dict[str, str]:
    """What the panel's settings override; the detector of the step Person stays."""
    settings = settings_as_text(read_settings(chosen.settings)) if chosen.use_settings else {}
    if chosen.views:
        settings.pop("detection.detector", None)
    return settings


def request_again(context: bpy.types.Context) -> Request:
    """Ask for the scene's last take once more, from the keypoints that it kept and the corrections since.

    Raises:
        InputError: nothing was solved here, its keypoints are gone, or the take cannot be used.
    """
    scene = context.scene
    load_corrections(scene)
    if not kept_path(scene).is_file():
        raise InputError(f"the keypoints of the last solve are gone ({kept_path(scene)}): solve in full")
    return replace(request_in_full(context), again=True)


def request_in_full(context: bpy.types.Context) -> Request:
    """Ask for the scene's last take once more, from its footage, to where its results are.

    Raises:
        InputError: nothing was solved here, or the take cannot be used.
    """
    scene = context.scene
    return request_for(solved_take(scene), kept_path(scene).parent, _settings(scene.sightline))


def start(request: Request) -> Job:
    """Start the child process that solves, in the Python that the preferences name.

    Raises:
        SolveError: there is no such Python.
    """
    return warm.begin(*_child(request)) if request.again else Job(*_child(request))


def expect_again(context: bpy.types.Context, near: tuple[float, int] | None = None) -> None:
    """Let a child load what Solve Again will need, while the user still corrects; in a window alone.

    Where that does not work, Solve Again says why.

    Args:
        context: its scene holds the result.
        near: time (s) and person (from 1) that somebody begins to correct; None: look at the corrections as they are.
    """
    if not bpy.app.background:
        hint = "corrected" if near is None else f"near {near[0]!r} {near[1]}"
        with contextlib.suppress(SolveError):
            warm.keep_ready(*_child(request_again(context)), hint)


def _child(request: Request) -> tuple[list[str], dict[str, str] | None]:
    """Return the child's command and environment (None: this Python's)."""
    python = chosen_python()
    flags = ["--so-far"] * request.so_far + ["--again"] * request.again
    command = worker_command(request.take.path, request.out, request.settings, flags, python)
    return command, foreign_environment(os.environ) if python else None


@dataclass(frozen=True, eq=False)
class Result:
    """A solution that was read, and the state that its file had."""

    prepared: Prepared
    state: str


def read_result(solution_file: Path) -> Result:
    """Read the child's result and compute what the scene will show; touches no bpy, so it may run in a thread."""
    state = _state_of(solution_file)  # before it is read: the next one may replace it meanwhile
    solution = read_solution(solution_file)
    remember_uncertainty(solution_file, solution)
    return Result(prepare(solution), state)


def enter_steps(context: bpy.types.Context, request: Request, result: Result) -> Generator[float, None, BuiltScene]:
    """Enter a result into the scene in short steps, and remember in the scene where it came from.

    The warnings are those of the solve, then those of building the scene.
    """
    scene = context.scene
    built = yield from build_steps(context, result.prepared, take_info(request.take))
    if not request.again:  # then the reports are still being written
        built = replace(built, warnings=(*read_warnings(request.out), *built.warnings))
    kept = scene.sightline
    kept.take = request.take.name
    if not kept.views and not kept.take_path:  # whoever names the next take meanwhile keeps it
        kept.take_path = str(request.take.path)
    kept.solution_path, kept.report_path = str(request.out / "solution.npz"), str(request.out / "report.html")
    kept.entered = result.state
    ensure_take_collection(scene, kept.take)[SOLUTION] = kept.solution_path
    show_in_place_of_preview(scene, kept.take)
    kept.summary = "\n".join(summary(result.prepared.solution))
    remember_warnings(scene, built.warnings)
    kept.solved_take_path = str(request.take.path)
    kept.gaps.clear()  # of the solution before
    context.window_manager.sightline.again_problem = ""
    load_corrections(scene)
    remember_trust(scene, request.take.name, request.out)
    return built


def enter(context: bpy.types.Context, request: Request, solution_file: Path) -> BuiltScene:
    """Enter the child's result into the scene, all at once."""
    steps = enter_steps(context, request, read_result(solution_file))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def newer_on_disk(scene: bpy.types.Scene) -> str:
    """Return the state of the take's solution if it was solved since its result was entered, else "".

    Undo takes back the scene, not the files.
    """
    known = scene.sightline
    state = _state_of(Path(bpy.path.abspath(known.solution_path))) if known.solution_path and known.entered else ""
    return "" if state == known.entered else state


def _state_of(path: Path) -> str:
    try:
        return str(path.stat().st_mtime_ns)
    except OSError:
        return ""


def show_in_place_of_preview(scene: bpy.types.Scene, take: str) -> None:
    """Hide the preview of a take that is entered, or the take of a preview: the same person would stand there twice."""
    other = take.removesuffix(PREVIEW) if take.endswith(PREVIEW) else take + PREVIEW
    for name, hidden in ((take, False), (other, True)):
        collection = take_collection(scene, name)
        if collection is not None:
            collection.hide_viewport = hidden


def remember_warnings(scene: bpy.types.Scene, warnings: Sequence[str]) -> None:
    """Let the panel go on showing what a solve warned of."""
    lines = [" ".join(warning.split()) for warning in warnings]
    scene.sightline.warnings = "\n".join(map(in_panel_words, lines) if scene.sightline.views else lines)


def reports_written(scene: bpy.types.Scene, request: Request) -> None:
    """The reports of Solve Again came after its motion: the warnings and the cameras' lights follow them."""
    if scene.sightline.take == request.take.name:
        remember_warnings(scene, read_warnings(request.out))
    show_lights(scene, request.take.name, request.out)


def solve_blocking(
    context: bpy.types.Context, request: Request, on_event: Callable[[Event], None] = lambda _event: None
) -> BuiltScene:
    """Solve and wait for it: background mode and scripts.

    Raises:
        SolveError: the solve failed, was refused or cancelled; Ctrl-C counts as cancelling.
    """
    job = start(request)
    try:
        while job.running:
            for event in job.events():
                on_event(event)
            time.sleep(POLL_S)
        for event in job.events():
            on_event(event)
        return enter(context, request, job.result())
    except KeyboardInterrupt:
        job.cancel()
        while job.running:
            job.events()
            time.sleep(POLL_S)
        raise Cancelled("cancelled by the user") from None
    finally:
        job.close()


def export_take(context: bpy.types.Context, exported: Exported, formats: Sequence[str], stem: Path) -> list[Path]:
    """Write the chosen formats beside each other, as ``stem.<format>``; refuse all if one cannot be written."""
    check_formats(formats)
    paths = [stem.with_name(file_name(stem.name, name)) for name in formats]
    return [file for name, path in zip(formats, paths, strict=True) for file in export(context, exported, name, path)]


def summary(solution: Solution, worst: int = 3) -> list[str]:
    """Say in short lines how much of a solution to trust: seen share, the joints seen least, the least sure ones."""
    solved = solution.solved
    seen = solved.observed
    if not seen.size:
        return ["No joints"]
    lines = [f"Frames: {seen.shape[0]}, persons: {seen.shape[1]}", f"Joints observed: {seen.mean():.0%}"]
    share, names = seen.mean(axis=(0, 1)), [name.replace("_", " ") for name in solved.joint_names]
    least = [j for j in np.argsort(share, kind="stable")[:worst] if share[j] < 0.995]
    lines += [f"Seen little: {names[j]} {share[j]:.0%}" for j in least]
    sigma = np.sqrt(np.trace(solved.covariance, axis1=-2, axis2=-1) / 3)
    typical = {j: float(np.nanmedian(sigma[:, :, j])) for j in np.flatnonzero(share)}
    unsure = sorted(typical, key=lambda j: -typical[j])[:worst]
    return lines + [f"Least sure: {names[j]} ±{typical[j] * 100:.1f} cm" for j in unsure]
