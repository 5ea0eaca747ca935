"""Lenses and camera poses from a board: each lens from its own pictures, all poses together by bundle adjustment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ..errors import DegenerateError
from ..geometry.projection import undistort_points
from ..shapes import FloatArray
from ..types import Camera, CameraRig, Intrinsics
from .board import Board, Corners
from .board_adjustment import RigProblem, SeenCorners
from .board_motion import MovingCorners, counted_anew, moving_corners, still_corners

_MOST_PICTURES = 40  # that one lens is solved from
_FEWEST_PICTURES = 4
_WILD_PICTURE = 2.5  # times the median error, beyond which a picture is left out
_LEAST_TILT_DEG = 8.0  # spread of the board's tilt, below which focal length and distance are not told apart
_COVERAGE_CELLS = 8
_GOOD_COVERAGE = 0.4  # below, the principal point is taken in the middle and the lens as centred
_MOST_FRAMES = 80  # that the poses are solved from
_FEWEST_SHARED = 4  # frames in which two cameras see the board
_MOST_RECOUNTS = 2  # of frames, where a view is late by whole ones


@dataclass(frozen=True, eq=False)
class LensResult:
    """A lens and how good it is."""

    lens: Intrinsics
    pictures: int
    median_error_px: float
    coverage: float  # share of the picture's cells in which corners were seen
    warnings: list[str]


@dataclass(frozen=True, eq=False)
class BoardRig:
    """Camera poses from a board."""

    rig: CameraRig
    frames: int  # that they are solved from
    median_error_px: dict[str, float]
    square_m: float  # measured by triangulating neighbouring corners
    late: FloatArray  # (V,) frames by which a view shows a moment later than the first view does
    late_sigma: FloatArray  # (V,) 0 where views were taken to be in step
    corners: tuple[SeenCorners, ...]  # by view


def solve_lens(board: Board, name: str, size: tuple[int, int], pictures: Sequence[Corners]) -> LensResult:
    """Solve a lens from pictures of the board (Zhang 2000), k1, k2, p1, p2.

    Args:
        board: the board.
        name: of the camera.
        size: (width, height) px.
        pictures: corners in pictures of the same lens.

    Returns:
        The lens with its errors and coverage; warnings where the pictures leave something open.

    Raises:
        DegenerateError: too few pictures.
    """
    chosen = _spread_pictures(pictures, size)
    if len(chosen) < _FEWEST_PICTURES:
        raise DegenerateError(
            f"view {name}: the board is found in {len(chosen)} pictures, a lens needs {_FEWEST_PICTURES}, better 20: "
            "show the whole board, tilted, all over the picture; check columns, rows, kind under [calibration.board]"
        )
    K, distortion, errors, tilts = _zhang(board, size, chosen)
    kept = [
        c
        for c, e in zip(chosen, errors, strict=True)
        if np.median(e) < _WILD_PICTURE * np.median(np.concatenate(errors))
    ]
    if _FEWEST_PICTURES <= len(kept) < len(chosen):
        K, distortion, errors, tilts = _zhang(board, size, kept)
        chosen = kept
    coverage = _coverage(chosen, size)
    warnings = []
    if np.degrees(tilts.std()) < _LEAST_TILT_DEG:
        warnings.append(
            f"view {name}: the board was hardly tilted, so the focal length is unsure; tilt it by 30 degrees"
        )
    if coverage < _GOOD_COVERAGE:
        warnings.append(
            f"view {name}: corners cover {coverage:.0%} of the picture; distortion near the edges is unsure"
        )
    lens = Intrinsics(name, size, K, distortion)
    return LensResult(lens, len(chosen), float(np.median(np.concatenate(errors))), coverage, warnings)


def solve_rig(
    board: Board,
    lenses: Sequence[Intrinsics],
    views: Sequence[Sequence[Corners]],
    refine_lenses: bool = False,
    clocks: bool = False,
) -> BoardRig:
    """Solve all camera poses from a board that several cameras see at once, by bundle adjustment.

    Convention:
        world: the board where two cameras first see it, x along its columns, z up out of the board (the printed
        side); metres by square_m. Frame numbers are those of the same moments in all views.

    Args:
        board: the board.
        lenses: of the views.
        views: corners by view.
        refine_lenses: whether focal length, centre, k1 and k2 are adjusted too, within what one lens's own pictures
            leave open.
        clocks: whether the pictures are frames of films, and how late each film is is an unknown too.

    Returns:
        The rig with errors, and the board's measured square.

    Raises:
        DegenerateError: the board is ambiguous, or a view never sees it together with another.
    """
    if board.ambiguous:
        raise DegenerateError(
            f"a chessboard of {board.columns} x {board.rows} squares looks the same after half a turn, so "
            "several cameras cannot agree on it; use a board whose columns + rows are odd, or a ChArUco board"
        )
    found = moving_corners(views) if clocks else still_corners(views)
    whole = [0] * len(lenses)
    solved = _solved_rig(board, lenses, counted_anew(found, whole), refine_lenses, clocks)
    for _ in range(_MOST_RECOUNTS):
        step = [round(float(late)) for late in solved.late]
        if not any(step):
            break
        whole = [a + b for a, b in zip(whole, step, strict=True)]
        solved = _solved_rig(board, lenses, counted_anew(found, whole), refine_lenses, clocks)
    corners = tuple(replace(c, frame=c.frame + w) for c, w in zip(solved.corners, whole, strict=True))
    return replace(solved, late=solved.late + np.array(whole), corners=corners)


def _solved_rig(
    board: Board,
    lenses: Sequence[Intrinsics],
    found: Mapping[tuple[int, int], MovingCorners],
    refine_lenses: bool,
    clocks: bool,
) -> BoardRig:
    shared = [f for f in sorted({f for _, f in found}) if sum((v, f) in found for v in range(len(lenses))) >= 2]
    frames = (
        [shared[i] for i in np.unique(np.linspace(0, len(shared) - 1, _MOST_FRAMES).round().astype(int))]
        if shared
        else []
    )
    poses = {
        key: _board_pose(board, lenses[key[0]], moving.corners)
        for key, moving in found.items()
        if key[1] in set(frames)
    }
    R, t = _chained(lenses, poses, frames)
    start = _board_starts(R, t, poses, frames)
    problem = RigProblem(board, lenses, found, frames, (R, t, start), clocks)
    answer = problem.solve(refine_lenses)
    # the first board is the world, seen with z towards the cameras
    flip = np.diag([1.0, -1, -1])
    A, a = answer.turns[0] @ flip, answer.moves[0]
    cameras = tuple(
        Camera(lens, answer.R[v] @ A, answer.R[v] @ a + answer.t[v]) for v, lens in enumerate(answer.lenses)
    )
    gauge = f"the board where two cameras first see it; covariance with the pose of {lenses[0].name} held"
    rig = CameraRig(cameras, moved_covariance(answer.covariance, answer.R, a), gauge)
    together = {(v, f): replace(m.corners, xy=m.at(float(answer.late[v]))) for (v, f), m in found.items()}
    medians = {
        lens.name: float(np.median(np.linalg.norm(answer.errors[problem.view == v], axis=1)))
        for v, lens in enumerate(lenses)
    }
    return BoardRig(
        rig,
        len(frames),
        medians,
        measured_square(board, rig, together, frames),
        answer.late,
        answer.late_sigma,
        problem.corners(frames, answer.errors),
    )


def moved_covariance(
    covariance: FloatArray,  # (6V, 6V)
    R: FloatArray,  # (V, 3, 3)
    shift: FloatArray,  # (3,)
) -> FloatArray:
    """Covariance of poses (left rotation vectors and t) after the world is moved by ``x -> A x + shift``."""
    slopes = np.eye(len(covariance))
    for v in range(len(R)):
        x, y, z = R[v] @ shift
        slopes[6 * v + 3 : 6 * v + 6, 6 * v : 6 * v + 3] = [[0, z, -y], [-z, 0, x], [y, -x, 0]]  # d x (R shift)
    moved = slopes @ covariance @ slopes.T
    return (moved + moved.T) / 2


def measured_square(
    board: Board, rig: CameraRig, found: Mapping[tuple[int, int], Corners], frames: Sequence[int]
) -> float:
    """Median distance, m, of neighbouring corners that are triangulated one by one, without knowing the board."""
    lengths = []
    rows, columns = board.rows - 1, board.columns - 1
    for frame in frames:  # some dozens
        grid = np.full((rows * columns, 3), np.nan)
        for corner in range(rows * columns):
            rays = []
            for v, camera in enumerate(rig.cameras):
                c = found.get((v, frame))
                if c is not None and (c.ids == corner).any():
                    ray = undistort_points(camera.intrinsics, c.xy[c.ids == corner])[0]
                    P = np.column_stack([camera.R, camera.t])
                    rays += [ray[0] * P[2] - P[0], ray[1] * P[2] - P[1]]
            if len(rays) >= 4:
                A = np.array(rays)
                grid[corner] = np.linalg.lstsq(A[:, :3], -A[:, 3], rcond=None)[0]
        places = grid.reshape(rows, columns, 3)
        lengths += [np.linalg.norm(np.diff(places, axis=a), axis=-1).ravel() for a in (0, 1)]
    every = np.concatenate(lengths) if lengths else np.zeros(0)
    return float(np.nanmedian(every)) if np.isfinite(every).any() else float("nan")


def _spread_pictures(pictures: Sequence[Corners], size: tuple[int, int]) -> list[Corners]:
    """Pictures that differ most in where and how large the board is, farthest first."""
    if len(pictures) <= _MOST_PICTURES:
        return list(pictures)
    scale = float(max(size))
    features = np.array(
        [np.r_[c.xy.mean(axis=0), np.ptp(c.xy, axis=0), np.cov(c.xy.T)[0, 1] / scale] for c in pictures]
    )
    features /= np.maximum(features.std(axis=0), 1e-9)
    chosen = [int(np.argmax([len(c.ids) for c in pictures]))]
    distance = np.linalg.norm(features - features[chosen[0]], axis=1)
    while len(chosen) < _MOST_PICTURES:
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, np.linalg.norm(features - features[chosen[-1]], axis=1))
    return [pictures[i] for i in sorted(chosen)]


def _zhang(
    board: Board, size: tuple[int, int], pictures: Sequence[Corners]
) -> tuple[FloatArray, FloatArray, list[FloatArray], FloatArray]:
    objects = [board.points[c.ids].astype(np.float32) for c in pictures]
    images = [c.xy.astype(np.float32).reshape(-1, 1, 2) for c in pictures]
    flags = cv2.CALIB_FIX_K3
    if _coverage(pictures, size) < _GOOD_COVERAGE:  # what the pictures cannot tell is better left where lenses have it
        flags |= cv2.CALIB_FIX_PRINCIPAL_POINT | cv2.CALIB_ZERO_TANGENT_DIST
    start = np.zeros((3, 3)), np.zeros(5)
    _, K, distortion, turns, moves = cv2.calibrateCamera(objects, images, size, start[0], start[1], flags=flags)
    errors, tilts = [], []
    for o, c, turn, move in zip(objects, pictures, turns, moves, strict=True):
        projected = cv2.projectPoints(o, turn, move, K, distortion)[0].reshape(-1, 2)
        errors.append(np.linalg.norm(projected - c.xy, axis=1))
        R = cv2.Rodrigues(turn)[0]
        tilts.append(np.arccos(np.clip(abs(R[2, 2]), 0, 1)))
    return np.asarray(K, float), np.asarray(distortion, float).ravel()[:5], errors, np.array(tilts)


def _coverage(pictures: Sequence[Corners], size: tuple[int, int]) -> float:
    every = np.concatenate([c.xy for c in pictures]) + 0.5
    cells = np.clip(every / np.array(size) * _COVERAGE_CELLS, 0, _COVERAGE_CELLS - 1).astype(int)
    return len(np.unique(cells[:, 0] * _COVERAGE_CELLS + cells[:, 1])) / _COVERAGE_CELLS**2


def _board_pose(board: Board, lens: Intrinsics, corners: Corners) -> tuple[FloatArray, FloatArray, float]:
    """Camera from board by IPPE and refinement, and the median error in normalised coordinates."""
    rays = undistort_points(lens, corners.xy)
    points = board.points[corners.ids]
    good = np.isfinite(rays).all(axis=1)
    _, turn, move = cv2.solvePnP(points[good], rays[good], np.eye(3), np.zeros(5), flags=cv2.SOLVEPNP_IPPE)
    turn, move = cv2.solvePnPRefineLM(points[good], rays[good], np.eye(3), np.zeros(5), turn, move)
    R = cv2.Rodrigues(turn)[0]
    inside = points[good] @ R.T + move.ravel()
    error = float(np.median(np.linalg.norm(inside[:, :2] / inside[:, 2:] - rays[good], axis=1)))
    return R, move.ravel(), error


BoardPoses = Mapping[tuple[int, int], tuple[FloatArray, FloatArray, float]]


def _chained(lenses: Sequence[Intrinsics], poses: BoardPoses, frames: Sequence[int]) -> tuple[FloatArray, FloatArray]:
    """All cameras in the first one's frame, through the boards that pairs of cameras share."""
    count = len(lenses)
    R, t = np.full((count, 3, 3), np.nan), np.full((count, 3), np.nan)
    both = np.array(
        [[sum((a, f) in poses and (b, f) in poses for f in frames) for b in range(count)] for a in range(count)]
    )
    np.fill_diagonal(both, 0)
    R[0], t[0] = np.eye(3), 0.0
    joined = [0]
    while len(joined) < count:
        rest = [v for v in range(count) if v not in joined]
        a, b = max(((j, v) for j in joined for v in rest), key=lambda pair: both[pair])
        if both[a, b] < _FEWEST_SHARED:
            raise DegenerateError(
                f"view {lenses[b].name} sees the board together with another view in {both[a, b]} frames, "
                f"{_FEWEST_SHARED} are needed; hold the board where two cameras see it at once, and check offset_s"
            )
        turn, move = _median_relative(poses, frames, a, b)
        R[b], t[b] = turn @ R[a], turn @ t[a] + move
        joined.append(b)
    return R, t


def _median_relative(poses: BoardPoses, frames: Sequence[int], a: int, b: int) -> tuple[FloatArray, FloatArray]:
    """Camera b from camera a: the frame whose answer is nearest to all others' (IPPE may flip single ones)."""
    answers = []
    for f in frames:
        if (a, f) in poses and (b, f) in poses:
            (Ra, ta, _), (Rb, tb, _) = poses[a, f], poses[b, f]
            turn = Rb @ Ra.T
            answers.append((turn, tb - turn @ ta))
    turns = np.stack([turn for turn, _ in answers])
    apart = np.arccos(np.clip((np.einsum("aij,bij->ab", turns, turns) - 1) / 2, -1, 1))
    best = int(np.argmin(np.median(apart, axis=1)))
    near = apart[best] <= np.quantile(apart[best], 0.5) + 1e-9
    return turns[best], np.median(np.stack([m for _, m in answers])[near], axis=0)


def _board_starts(
    R: FloatArray, t: FloatArray, poses: BoardPoses, frames: Sequence[int]
) -> list[tuple[FloatArray, FloatArray]]:
    """World from board in every frame, from the view whose board pose fits best."""
    starts = []
    for f in frames:
        views = [v for v in range(len(R)) if (v, f) in poses]
        v = min(views, key=lambda v: poses[v, f][2])
        turn, move, _ = poses[v, f]
        starts.append((R[v].T @ turn, R[v].T @ (move - t[v])))
    return starts
