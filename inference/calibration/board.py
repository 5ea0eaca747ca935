"""Calibration boards: chessboards and ChArUco boards, and their corners in pictures."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..shapes import FloatArray, IntArray

KINDS = ("charuco", "chessboard")
_FEWEST_CORNERS = 6
_SMALLEST_WINDOW, _LARGEST_WINDOW = 2, 11  # px, half size, of the search for the corner between pixels


@dataclass(frozen=True)
class Board:
    """A flat board of squares. Columns and rows count squares, not inner corners."""

    kind: str  # one of KINDS
    columns: int
    rows: int
    square_m: float
    marker_m: float = 0.0  # side of a ChArUco marker
    dictionary: str = "DICT_4X4_50"
    inverted: bool = False  # printed light on dark
    legacy: bool = False  # ChArUco pattern of OpenCV before 4.6 (a marker in the first square where rows are even)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"[calibration.board]: kind = {self.kind!r} is unknown; known: {', '.join(KINDS)}")
        if min(self.columns, self.rows) < 3 or self.square_m <= 0:
            raise InputError(
                "[calibration.board]: columns and rows must be at least 3 squares, square_m above 0 metres"
            )
        if self.kind == "charuco" and not 0 < self.marker_m < self.square_m:
            raise InputError("[calibration.board]: marker_m must lie between 0 and square_m")
        if self.kind == "charuco" and not hasattr(cv2.aruco, self.dictionary):
            raise InputError(f"[calibration.board]: dictionary {self.dictionary!r} is unknown; e.g. DICT_4X4_50")

    @property
    def points(self) -> FloatArray:
        """(C, 3) inner corners on the board, m, row by row; z is 0."""
        x, y = np.meshgrid(np.arange(1, self.columns), np.arange(1, self.rows))
        return self.square_m * np.column_stack([x.ravel(), y.ravel(), np.zeros(x.size)])

    @property
    def ambiguous(self) -> bool:
        """Whether the board looks the same after half a turn: a chessboard whose columns + rows are even."""
        return self.kind == "chessboard" and (self.columns + self.rows) % 2 == 0


@dataclass(frozen=True, eq=False)
class Corners:
    """The board's corners in one picture."""

    frame: int
    ids: IntArray  # (N,) into the board's points
    xy: FloatArray  # (N, 2) px


def find_corners(board: Board, image: NDArray[np.uint8], frame: int = 0) -> Corners | None:
    """Find the board's inner corners in a picture.

    Convention:
        px, OpenCV's pixel centres. A chessboard must be seen whole; its order of corners is told by its colours
        (which an ambiguous board cannot do). None where too few corners are seen.

    Args:
        board: what to look for.
        image: (h, w, 3) RGB or (h, w) grey.
        frame: number kept with the result.

    Returns:
        The corners, or None.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
    if board.inverted:
        grey = np.asarray(cv2.bitwise_not(grey))
    return _charuco(board, grey, frame) if board.kind == "charuco" else _chessboard(board, grey, frame)


def _charuco(board: Board, grey: NDArray, frame: int) -> Corners | None:
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, board.dictionary))
    pattern = cv2.aruco.CharucoBoard((board.columns, board.rows), board.square_m, board.marker_m, dictionary)
    pattern.setLegacyPattern(board.legacy)
    parameters = cv2.aruco.DetectorParameters()
    parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
    detector = cv2.aruco.CharucoDetector(pattern, cv2.aruco.CharucoParameters(), parameters)
    xy, ids, _, _ = detector.detectBoard(grey)
    if ids is None or len(ids) < _FEWEST_CORNERS:
        return None
    # OpenCV's ChArUco corners lie half a pixel to the lower right (4.11, measured); the markers must stay outside
    xy = np.asarray(xy, np.float32).reshape(-1, 2)
    apart = np.linalg.norm(xy[:, None] - xy[None], axis=-1)
    free = (1 - board.marker_m / board.square_m) / 2
    xy = _between_pixels(grey, xy, float(apart[apart > 0].min()) * free * 0.8)
    return _checked(board, Corners(frame, ids.ravel().astype(np.int64), xy))


def _chessboard(board: Board, grey: NDArray, frame: int) -> Corners | None:
    size = (board.columns - 1, board.rows - 1)
    flags = cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_FAST_CHECK
    found, xy = cv2.findChessboardCorners(grey, size, flags=flags)
    if not found:
        return None
    grid = xy.reshape(board.rows - 1, board.columns - 1, 2)
    apart = min(np.linalg.norm(np.diff(grid, axis=a), axis=-1).min() for a in (0, 1))
    grid = _between_pixels(grey, xy, apart / 3).reshape(board.rows - 1, board.columns - 1, 2)
    if not board.ambiguous and not _begins_dark(grey, grid):
        grid = grid[::-1, ::-1]
    return _checked(board, Corners(frame, np.arange(grid.shape[0] * grid.shape[1]), grid.reshape(-1, 2)))


def _between_pixels(grey: NDArray, xy: FloatArray, reach_px: float) -> FloatArray:
    """Place corners between pixels by the gradients within a reach of them."""
    window = int(np.clip(reach_px, _SMALLEST_WINDOW, _LARGEST_WINDOW))
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 40, 0.001)
    start = np.asarray(xy, np.float32).reshape(-1, 1, 2)
    return cv2.cornerSubPix(grey, start, (window, window), (-1, -1), criteria).reshape(-1, 2).astype(float)


def _begins_dark(grey: NDArray, grid: FloatArray) -> bool:
    """Whether the square below and right of the first corner is darker than its neighbours."""
    centres = (grid[:-1, :-1] + grid[1:, :-1] + grid[:-1, 1:] + grid[1:, 1:]) / 4
    columns, rows = centres.round().astype(int).reshape(-1, 2).T
    shade = grey[np.clip(rows, 0, grey.shape[0] - 1), np.clip(columns, 0, grey.shape[1] - 1)].astype(float)
    parity = np.add.outer(np.arange(centres.shape[0]), np.arange(centres.shape[1])).ravel() % 2
    return bool(shade[parity == 0].mean() < shade[parity == 1].mean())


def _checked(board: Board, corners: Corners) -> Corners | None:
    """Drop corners that no flat board explains; None where hardly any are left, or all are in one line."""
    places = board.points[corners.ids, :2]
    spread = np.linalg.svd(places - places.mean(axis=0), compute_uv=False)
    if spread[1] < 0.5 * board.square_m:
        return None
    size = float(np.ptp(corners.xy, axis=0).max())
    _, inliers = cv2.findHomography(places, corners.xy, cv2.RANSAC, max(2.0, 0.02 * size))
    if inliers is None:
        return None
    good = inliers.ravel().astype(bool)
    if good.sum() < max(_FEWEST_CORNERS, 0.7 * len(good)):
        return None
    return Corners(corners.frame, corners.ids[good], corners.xy[good])
