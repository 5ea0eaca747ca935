"""The cameras of a take from a board that its views, or other pictures of the same cameras, show."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..cameras import lenses_for_take
from ..errors import InputError
from ..footage import open_footage, read_frames
from ..image_fit import image_fit
from ..shapes import IntArray
from ..take import Take
from ..types import Footage, Intrinsics, SolveReport
from ..views import OpenedView
from .board import Board, Corners, find_corners
from .board_calibration import BoardRig, solve_lens, solve_rig
from .fit import Fit, SolvedCameras

_MOST_LOOKS = 75  # places of one video in which the board is looked for; there in three frames, for its motion
_CLEARLY_LATE = 4.0  # sigmas
_WORTH_TELLING_S = 0.002
_STILLS_FPS = 1.0  # still pictures have no rate; their numbers are their times


def cameras_from_board(take: Take, opened: Sequence[OpenedView], report: SolveReport) -> SolvedCameras:
    """Solve lenses and poses from pictures of a board.

    Convention:
        the board is looked for in the views' own videos, or in ``pictures`` (a path with ``{view}``, a video or an
        image sequence); lenses are solved from ``lens_pictures`` where given, or read from ``intrinsics``. World: the
        board where two cameras first see it. How late films are is solved too. Errors, coverage, the measured square
        and lateness go to the report.

    Raises:
        InputError: the board's table or its pictures cannot be used.
        DegenerateError: the board is ambiguous, or seen too rarely.
    """
    table = take.calibration.board
    assert table is not None  # the caller has looked
    fields = {field.name for field in dataclasses.fields(Board)}
    board = Board(**{key: value for key, value in table.items() if key in fields})
    films = [_film(item, table.get("pictures")) for item in opened]
    views = [_looked_for(board, item, film) for item, film in zip(opened, films, strict=True)]
    facts: dict[str, Any] = {}
    if take.calibration.intrinsics is not None:
        lenses, warnings = lenses_for_take(take, {film.name: film.image_size for film in films})
    else:
        lenses, warnings = _lenses(board, opened, films, views, table, facts)
    for warning in warnings:
        report.warn(warning)
    own = take.calibration.intrinsics is None and "lens_pictures" not in table
    found = solve_rig(board, lenses, views, refine_lenses=own, clocks=all(_is_film(film) for film in films))
    facts |= {
        "frames": found.frames,
        "median_error_px": found.median_error_px,
        "square_m": board.square_m,
        "measured_square_m": found.square_m,
    }
    if found.late_sigma.any():
        facts["late_s"], late = _late(opened, films, found)
        for warning in late:
            report.warn(warning)
    report.facts["board"] = facts
    fits = []
    for item, film, corners in zip(opened, films, found.corners, strict=True):
        number = _numbers(item, film)
        place = {int(n): index for index, n in reversed(list(enumerate(number)))}
        frame = np.array([place[n] for n in corners.frame], dtype=np.int64)
        fits.append(Fit(item.name, film, frame, corners.seen, corners.predicted))
    return SolvedCameras(found.rig, tuple(fits))


def _is_film(film: Footage) -> bool:
    """Whether neighbouring pictures are neighbours in time, too: stills of a board are not."""
    return len(film.files) == 1


def _late(
    opened: Sequence[OpenedView], films: Sequence[Footage], found: BoardRig
) -> tuple[dict[str, dict[str, float]], list[str]]:
    """How late the views are against the first one, s, with sigma; and warnings where that is clear."""
    facts, warnings = {}, []
    for item, film, late, sigma in zip(opened, films, found.late, found.late_sigma, strict=True):
        seconds, unsure = float(late) / film.fps, float(sigma) / film.fps
        facts[item.name] = {"seconds": seconds, "sigma": unsure}
        if abs(seconds) > max(_CLEARLY_LATE * unsure, _WORTH_TELLING_S):
            offset, order = (item.view.offset_s or 0.0) - seconds, "later" if seconds > 0 else "earlier"
            warnings.append(
                f"view {item.name}: it shows a moment {abs(seconds):.3f} s {order} than view {opened[0].name} does "
                f"({abs(late):.2f} frames, by the moving board); the cameras take that into account, and if the board "
                f"was filmed with the person, so should the views: offset_s = {offset:.3f}"
            )
    return facts, warnings


def _numbers(item: OpenedView, film: Footage) -> IntArray:
    """(N,) of the film's frames on the take's clock."""
    return (item.on_take_clock(film.timestamps_s) * film.fps).round().astype(np.int64)


def _film(item: OpenedView, pattern: str | None) -> Footage:
    if pattern is not None:
        return open_footage(item.name, pattern.replace("{view}", item.name), item.view.fps)
    if item.footage is None:
        raise InputError(f'view {item.name!r} has no video, so the board needs pictures = "…{{view}}…"')
    return item.footage


def _looked_for(board: Board, item: OpenedView, film: Footage) -> list[Corners]:
    """Corners in frames spread over a film, and in their neighbours; they are numbered by the take's clock."""
    step = max(1, len(film.timestamps_s) // _MOST_LOOKS)
    beside = (0, 1, step - 1) if _is_film(film) else (0,)
    wanted = {index: int(number) for index, number in enumerate(_numbers(item, film)) if number % step in beside}
    found = (find_corners(board, image, wanted[index]) for index, image in read_frames(film) if index in wanted)
    return [corners for corners in found if corners is not None]


def _lenses(
    board: Board,
    opened: Sequence[OpenedView],
    films: Sequence[Footage],
    views: Sequence[Sequence[Corners]],
    table: Mapping[str, Any],
    facts: dict[str, Any],
) -> tuple[tuple[Intrinsics, ...], list[str]]:
    lenses, warnings = [], []
    facts["lenses"] = {}
    for item, film, corners in zip(opened, films, views, strict=True):
        stills, pictures = film, corners
        if "lens_pictures" in table:
            stills = open_footage(item.name, table["lens_pictures"].replace("{view}", item.name), _STILLS_FPS)
            looks = (find_corners(board, image, index) for index, image in read_frames(stills))
            pictures = [c for c in looks if c is not None]
        found = solve_lens(board, item.name, stills.image_size, pictures)
        warnings += found.warnings
        facts["lenses"][item.name] = {
            "pictures": found.pictures,
            "median_error_px": found.median_error_px,
            "coverage": found.coverage,
        }
        size = item.size or film.image_size
        move = image_fit(item.view.fit, stills.image_size, size, f"view {item.name!r}: the video")
        lenses.append(dataclasses.replace(found.lens, image_size=size, K=move.matrix(found.lens.K)))
    return tuple(lenses), warnings
