"""A solve from a take to skeleton motion: read this file first.

`solve` reads like a description of the work; the stages that it calls hold the mathematics:

    views      open the footage, bring the calibrated cameras into its pixels   views, cameras
    keypoints  find people and their 2D keypoints in every view                 detection, perception/
    cameras    solve where they stand, if no calibration says it                calibration/
    people     put the views on one clock, find who is who across them          clocks/, geometry/association
               what a person corrected in the keypoints                         corrections, believed
    joints     triangulate every frame with covariance (the raw layer)          geometry/triangulation
    motion     one estimate over the whole sequence, one rigid skeleton         motion/estimate
               where too few views see a joint, sampled bodies beside them      unseen, hypotheses, evidence
    ground     the floor and which feet stand on it                             ground, motion/floor, motion/contacts
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from .believed import believed_corrections
from .calibration.diagnosis import diagnose
from .calibration.fit import SolvedCameras
from .calibration.from_board import cameras_from_board
from .calibration.from_points import cameras_from_points
from .calibration.from_take import lenses_of_views, refined_rig, rig_from_person
from .calibration.person_scale import scaled_by_person
from .cameras import rig_for_take
from .clocks.view_clocks import views_in_step
from .corrections import corrected, pinned_points
from .detection import find_keypoints
from .errors import CalibrationError, DegenerateError, InputError, SolveError
from .files.kept_keypoints import KeptKeypoints, read_kept, write_kept
from .files.solution import read_solution, write_solution
from .geometry.association import choose_people
from .geometry.score_noise import with_measured_scores
from .geometry.triangulation import triangulate
from .ground import on_the_ground
from .keypoints import on_one_layout, resample
from .motion.skeleton import with_derived_joints
from .moving_cameras import check_paths, rig_on_clock
from .neighbourhood import corrections_in, look_near, solved_around, write_made_with
from .one_view import people_of_one_view
from .placement import placement_of_detector, with_correlation, with_placement
from .progress import Progress
from .report.page import write_report
from .stature import BodySize
from .take import Take, read_take
from .types import CameraRig, Keypoints2D, Solution, SolveReport
from .unseen import motion_with_hypotheses
from .views import OpenedView, open_views, take_clock

log = logging.getLogger(__name__)


def solve(take: Take, out: Path, progress: Progress | None = None, so_far: bool = False) -> Solution:
    """Solve a take and write ``solution.npz``, the reports and the preview into ``out``.

    Convention:
        nothing appears in ``out`` unless the solve succeeds; files of an earlier solve are replaced.

    Args:
        take: what to solve.
        out: folder of the results; made if needed.
        progress: told how far the work is; silent if None.
        so_far: detect nothing more; solve the frames that a cancelled solve has looked at.

    Returns:
        The solution, as written.

    Raises:
        InputError: the input cannot be used; the message says what, where, and what to do.
        DegenerateError: the input is valid but does not determine a motion.
        Cancelled: the user stopped the work.
    """
    progress = progress or Progress()
    check_folder(out)
    report = SolveReport(take=take.name)
    with _stage(report, progress, "views"):
        opened = open_views(take)
        rig = None if take.calibration.from_person else cameras_of_views(take, opened, report).rig
        lenses = lenses_of_views(take, opened, report) if rig is None else rig.lenses
    with _stage(report, progress, "keypoints"):
        tracks = find_keypoints(take, opened, lenses, report, progress, so_far)
    if rig is None:
        with _stage(report, progress, "cameras"), threadpool_limits(1):
            rig = rig_from_person(take, opened, lenses, tracks, report)
    with _stage(report, progress, "people"), threadpool_limits(1):
        opened = views_in_step(take, opened, rig, tracks, report)
        in_step = tracks_on_one_clock(take, opened, tracks)
        rig = rig_on_clock(rig, opened)
        check_paths(rig, opened, tracks, in_step[0].timestamps_s, report)
        rig = scaled_by_person(take, rig, in_step, report)
        doubt = check_calibration(take, rig, in_step, report)
        views = people_in_all_views(take, rig, in_step, report, doubt)
        rig = refined_rig(take, rig, views, report)
    offset_s = np.array([item.offset_s for item in opened])
    drift_ppm = np.array([item.drift_ppm for item in opened])
    views = with_correlation(take, views)
    placement = placement_of_detector(take, views[0].joint_names)
    kept = KeptKeypoints(_mark(take), rig, views, offset_s, drift_ppm, placement)
    solution, views = _motion(take, kept, report, progress)
    with _stage(report, progress, "report"), whole_folder(out) as folder:
        write_solution(folder / "solution.npz", solution)
        write_kept(folder / "keypoints.kept", kept)
        write_made_with(folder, take, solution)
        footages = {item.name: item.footage for item in opened if item.footage}
        write_report(folder, solution, views, footages, report)
    return solution


def solve_again(
    take: Take,
    out: Path,
    progress: Progress | None = None,
    on_solution: Callable[[Path, bool], None] = lambda _path, _final: None,
) -> Solution:
    """Solve a take again from the keypoints and cameras that its last solve left in ``out``.

    For corrections and for settings of the motion: nothing is detected, no camera is solved.

    Convention:
        where only corrections were changed, and few of them, a solution of their neighbourhood comes first (see
        `neighbourhood`); then that of the whole take, then the reports.

    Args:
        take: the take, unchanged but for its corrections and the settings of triangulation and motion.
        out: folder of the last solve's results.
        progress: told how far the work is; silent if None.
        on_solution: told where a solution is as soon as it is written, and whether it is that of the whole take.

    Returns:
        The solution, as written.

    Raises:
        InputError: no keypoints were kept, they are of another state of the take, or a correction does not fit.
        DegenerateError: the corrected keypoints do not determine a motion.
        Cancelled: the user stopped the work.
    """
    progress = progress or Progress()
    check_folder(out)
    report = SolveReport(take=take.name)
    kept = read_kept(out / "keypoints.kept")
    if kept.mark != _mark(take):
        raise InputError(
            f"{out / 'keypoints.kept'} was made when the take said something else (views, cameras, people or "
            "detection); solve in full"
        )
    quick = _of_neighbourhood(take, out, kept)
    if quick is not None:
        _replace_solution(out, take, quick)
        on_solution(out / "solution.npz", False)
    solution, views = _motion(take, kept, report, progress)
    _replace_solution(out, take, solution)
    on_solution(out / "solution.npz", True)
    with _stage(report, progress, "report"), whole_folder(out) as folder:
        footages = {item.name: item.footage for item in open_views(take) if item.footage}
        write_report(folder, solution, views, footages, report)
    return solution


def look_ahead(take_path: Path, overrides: Mapping[str, Any], out: Path, near: tuple[float, int] | None = None) -> None:
    """Work out what `solve_again` needs first, while the user goes on.

    Convention:
        for the corrections as they are now, or, before anything was corrected there, for what comes ``near`` a time
        (s) of a person (from 1). What is wrong with the corrections is left to `solve_again` to say.
    """
    with suppress(SolveError):
        take, kept = read_take(take_path, overrides), read_kept(out / "keypoints.kept")
        if kept.mark != _mark(take):
            return
        if near is None:
            _of_neighbourhood(take, out, kept)
            return
        before = read_solution(out / "solution.npz")
        old = corrections_in(out, take, before)
        if old is not None:
            with threadpool_limits(1):
                look_near(take, kept, before, old, *near)


def _of_neighbourhood(take: Take, out: Path, kept: KeptKeypoints) -> Solution | None:
    """The last solution with what the corrections since then change around them; None where that cannot be told."""
    try:
        before = read_solution(out / "solution.npz")
    except InputError:
        return None
    old = corrections_in(out, take, before)
    with threadpool_limits(1):
        return None if old is None else solved_around(take, kept, before, old)


def _replace_solution(out: Path, take: Take, solution: Solution) -> None:
    write_solution(out / "solution.npz", solution)
    write_made_with(out, take, solution)


def _mark(take: Take) -> str:
    """What the kept keypoints depend on, as a text to compare."""
    source, settings = take.calibration, take.settings
    files = [path for path in (source.path, source.intrinsics, source.points) if path is not None]
    files += [view.keypoints for view in take.views if view.keypoints is not None]
    files += [Path(view.video) for view in take.views if view.video and Path(view.video).is_file()]
    files = [one for path in files for one in (sorted(path.iterdir()) if path.is_dir() else [path])]
    parts = (take.persons, take.height_m, take.start_s, take.end_s, take.fps, source, take.views)
    text = repr((*parts, settings.detection, settings.association, [path.stat().st_mtime_ns for path in files]))
    return text.replace(str(take.path.parent), ".")  # the folder may move


def _motion(
    take: Take, kept: KeptKeypoints, report: SolveReport, progress: Progress
) -> tuple[Solution, tuple[Keypoints2D, ...]]:
    """From keypoints to the solution; and the keypoints as they were used."""
    rig = kept.rig
    unseen = (take.settings.motion.min_score, take.settings.unseen)
    corrections = believed_corrections(rig, kept.views, take.corrections, unseen, take.height_m, report)
    views = corrected(rig, kept.views, corrections)
    if take.corrections:
        report.facts["corrections"] = len(corrections)
    on_floor = take.calibration.from_person or take.calibration.floor == "zero"
    pins = pinned_points(views, corrections) if len(views) == 1 else None  # several views fix it by themselves
    with _stage(report, progress, "joints"), threadpool_limits(1):
        settings = take.settings.triangulation
        guessed = [view.keypoints is not None for view in take.views]
        views = with_measured_scores(rig, views, guessed, settings.degrees_of_freedom, settings.min_score)
        raw = triangulate(rig, views, take.settings.triangulation)
    with _stage(report, progress, "motion"), threadpool_limits(1):  # many small systems: threads only wait there
        settings = (take.settings.motion, take.settings.unseen)
        size = BodySize(take.height_m, on_floor, pins)
        solved, motion, hypotheses = motion_with_hypotheses(raw, rig, views, settings, size, report)
    solution = Solution(
        rig=rig,
        raw=with_derived_joints(raw, motion.skeleton),
        solved=solved,
        motion=motion,
        contact=np.zeros((*solved.xyz.shape[:2], 0)),
        contact_names=(),
        offset_s=kept.offset_s,
        drift_ppm=kept.drift_ppm,
        floor=np.array([0.0, 0, 1, 0]) if on_floor else np.full(4, np.nan),
        hypotheses=hypotheses,
    )
    solution = on_the_ground(take, solution, report)
    return with_placement(solution, views[0].joint_names, kept.placement_sigma_m), views


def cameras_of_views(take: Take, opened: list[OpenedView], report: SolveReport) -> SolvedCameras:
    """Read the calibration in the pixels of the views, or solve it from a board or measured points."""
    if take.calibration.board is not None:
        return cameras_from_board(take, opened, report)
    if take.calibration.points is not None:
        return cameras_from_points(take, opened, report)
    sizes = {item.name: item.size for item in opened if item.size}
    rig, warnings = rig_for_take(take, sizes, {item.name: item.time_of_frame for item in opened})
    for warning in warnings:
        report.warn(warning)
    return SolvedCameras(rig)


def check_calibration(take: Take, rig: CameraRig, tracks: Sequence[Keypoints2D], report: SolveReport) -> str:
    """Refuse a given calibration with a mistake that can be named; warn where it fits badly, and return what was said.

    Raises:
        CalibrationError: it fits the person only once a known mistake is undone, and ``misfit`` is not ``warn``.
    """
    found = None if take.calibration.from_person else diagnose(rig, tracks)
    if found is None:
        return ""
    report.facts["epipolar_distance_px"] = found.distance_px
    if not found.suspicious:
        return ""
    if found.remedy and take.settings.cameras.misfit == "refuse":
        raise CalibrationError(f'{found.words}; to go on with it as it is, write misfit = "warn" under [solve]')
    report.warn(found.words)
    return found.words


def tracks_on_one_clock(take: Take, opened: list[OpenedView], tracks: list[Keypoints2D]) -> list[Keypoints2D]:
    """Interpolate the tracks to the take's times, and give all views the same joints."""
    times = take_clock(take, opened, tracks)
    on_clock = [resample(k, times, item.offset_s, item.drift_ppm) for item, k in zip(opened, tracks, strict=True)]
    return on_one_layout(on_clock)


def people_in_all_views(
    take: Take, rig: CameraRig, tracks: list[Keypoints2D], report: SolveReport, doubt: str = ""
) -> tuple[Keypoints2D, ...]:
    """Choose who is solved, the same slot in every view; ``doubt`` of the cameras is the error where nobody fits."""
    if len(tracks) == 1:
        return people_of_one_view(tracks[0], take.persons)
    try:
        views = choose_people(rig, tracks, take.persons, take.settings.association)
    except DegenerateError as problem:
        raise DegenerateError(f"{doubt or problem}") from problem
    for view, before in zip(views, tracks, strict=True):
        if before.observed.any() and not view.observed.any():
            report.warn(
                f"view {view.view}: its people fit nobody whom the other views see, so the view is not used; "
                "check its name in the calibration, its fit and its offset_s"
            )
    found = views[0].xy.shape[1]
    if found < take.persons:
        report.warn(f"{take.persons} persons are asked for, {found} found that two views see at once")
    return views


def check_folder(out: Path) -> None:
    """Raise unless results can be written into ``out``, which need not exist yet; makes nothing.

    Raises:
        InputError: it, or what stands where its parents would be, is no folder or cannot be written.
    """
    out = out.absolute()
    try:
        nearest = next(path for path in (out, *out.parents) if path.exists())
    except OSError as problem:  # for example: the name is too long
        raise InputError(f"output folder {out} cannot be made: {problem.strerror or problem}") from None
    if not nearest.is_dir():
        raise InputError(f"output folder {out}: {nearest} is a file, not a folder; choose another one")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"output folder {out}: {nearest} cannot be written; choose another one")


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Give a temporary folder whose files move into ``out`` together once the block succeeds."""
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield folder
        out.mkdir(exist_ok=True)
        for path in sorted(folder.iterdir()):
            os.replace(path, out / path.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _stage(report: SolveReport, progress: Progress, name: str) -> Iterator[None]:
    """Tell that a stage begins, end here if the user asked to stop, and keep how long the stage took."""
    progress.check()
    started = time.perf_counter()
    with progress.stage(name, 1) as advance:
        yield
        advance()
    report.seconds[name] = time.perf_counter() - started
    log.info("%s: %.1f s", name, report.seconds[name])
