"""Boards drawn and photographed by known cameras: corners, lenses, poses, and what must be refused."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from inference.calibrate import calibrate
from inference.calibration.board import Board, Corners, find_corners
from inference.calibration.board_calibration import solve_lens, solve_rig
from inference.errors import DegenerateError, InputError
from inference.files.calibration import read_calibration
from inference.geometry.projection import project
from inference.geometry.rotation import exp, log
from inference.shapes import FloatArray
from inference.take import read_take
from inference.types import Camera, Intrinsics

CHARUCO = Board("charuco", 7, 5, 0.06, 0.045)
CHESS = Board("chessboard", 8, 5, 0.06)
SIZE = (960, 540)
LENS = Intrinsics("a", SIZE, np.array([[700.0, 0, 479.5], [0, 700, 269.5], [0, 0, 1]]), np.array([-0.1, 0.05, 0, 0]))


def drawn(board: Board, pixels: int = 60) -> NDArray[np.uint8]:
    """Draw the board from above, one square of margin around it, as `find_corners` expects to see it."""
    if board.kind == "charuco":
        pattern = cv2.aruco.CharucoBoard(
            (board.columns, board.rows),
            board.square_m,
            board.marker_m,
            cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, board.dictionary)),
        )
        pattern.setLegacyPattern(board.legacy)
        inner = pattern.generateImage((board.columns * pixels, board.rows * pixels))
    else:
        dark = np.add.outer(np.arange(board.rows), np.arange(board.columns)) % 2 == 0
        inner = np.kron(np.where(dark, 0, 255), np.ones((pixels, pixels))).astype(np.uint8)
    whole = cv2.copyMakeBorder(inner, pixels, pixels, pixels, pixels, cv2.BORDER_CONSTANT, value=(255,))
    return np.asarray(255 - whole if board.inverted else whole, np.uint8)


def photographed(board: Board, camera: Camera, pixels: int = 60) -> NDArray[np.uint8]:
    """Picture of the board in the plane z = 0, by looking up every pixel of a distorted camera on it."""
    K, D = camera.intrinsics.K, camera.intrinsics.distortion
    u, v = np.meshgrid(np.arange(SIZE[0], dtype=float), np.arange(SIZE[1], dtype=float))
    rays = cv2.undistortPointsIter(
        np.column_stack([u.ravel(), v.ravel()])[:, None], K, D, np.eye(3), np.eye(3), (3, 40, 1e-9)
    )[:, 0]
    directions = np.column_stack([rays, np.ones(len(rays))]) @ camera.R
    depth = -camera.centre[2] / directions[:, 2]
    plane = camera.centre[:2] + depth[:, None] * directions[:, :2]
    at = (plane / board.square_m + 1) * pixels - 0.5
    maps = [at[:, i].reshape(SIZE[1], SIZE[0]).astype(np.float32) for i in (0, 1)]
    grey = cv2.remap(drawn(board, pixels), maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.repeat(np.asarray(cv2.GaussianBlur(grey, (3, 3), 0.7), np.uint8)[..., None], 3, axis=2)


def cameras(board: Board, count: int, seed: int, name: str = "a", roll: float = 0.3) -> list[Camera]:
    """Cameras that see the board whole from above, from many sides."""
    rng = np.random.default_rng(seed)
    middle = board.square_m * np.array([board.columns, board.rows]) / 2
    made = []
    for _ in range(count):
        turn = exp(np.array([0, 0, roll]) * rng.normal()) @ exp(np.r_[rng.uniform(-0.6, 0.6, 2), 0])
        place = np.array([*rng.uniform(-0.12, 0.12, 2), rng.uniform(0.55, 0.8)])
        t = place - turn @ np.array([*middle, 0])
        made.append(Camera(replace(LENS, name=name), turn, t))
    return made


def corners_of(board: Board, camera: Camera, frame: int, noise_px: float = 0.1, seed: int = 0) -> Corners:
    xy = project(camera, board.points)
    rng = np.random.default_rng(seed + 1000 * frame)
    return Corners(frame, np.arange(len(xy)), xy + noise_px * rng.normal(size=xy.shape))


@pytest.mark.parametrize(
    "board",
    [
        CHARUCO,
        replace(CHARUCO, inverted=True),
        replace(CHARUCO, rows=6, legacy=True),
        replace(CHARUCO, rows=6),
        CHESS,
    ],
)
def test_corners_are_where_they_are_drawn(board: Board) -> None:
    """Bound: a quarter of a pixel at the median on pictures without noise; half the pixel shift would be 0.5."""
    for camera in cameras(board, 4, seed=2):
        found = find_corners(board, photographed(board, camera))
        assert found is not None
        error = np.linalg.norm(found.xy - project(camera, board.points[found.ids]), axis=1)
        assert np.median(error) < 0.25
        assert len(found.ids) > 0.7 * len(board.points)


def test_the_wrong_layout_finds_nothing() -> None:
    """An inverted board, or one with the legacy pattern, is another board."""
    camera = cameras(CHARUCO, 1, seed=2)[0]
    picture = photographed(replace(CHARUCO, inverted=True), camera)
    assert find_corners(CHARUCO, picture) is None
    even = replace(CHARUCO, rows=6)
    assert find_corners(replace(even, legacy=True), photographed(even, camera)) is None


def test_a_chessboard_keeps_its_order_when_the_camera_is_upside_down() -> None:
    camera = cameras(CHESS, 1, seed=3)[0]
    turn = np.diag([-1.0, -1, 1])
    other = Camera(camera.intrinsics, turn @ camera.R, turn @ camera.t)
    for one in (camera, other):
        found = find_corners(CHESS, photographed(CHESS, one))
        assert found is not None
        assert np.linalg.norm(found.xy - project(one, CHESS.points[found.ids]), axis=1).max() < 1.0


def test_a_lens_from_corners() -> None:
    """0.1 px noise, 24 corners in 25 pictures: focal length within half a percent, k1 within 0.02."""
    pictures = [corners_of(CHARUCO, camera, i) for i, camera in enumerate(cameras(CHARUCO, 25, seed=4))]
    found = solve_lens(CHARUCO, "a", SIZE, pictures)
    assert found.lens.K[0, 0] == pytest.approx(700, rel=0.005)
    assert found.lens.distortion[0] == pytest.approx(-0.1, abs=0.02)
    assert found.median_error_px < 0.2
    assert found.warnings == []


def test_too_few_pictures_and_a_board_that_is_never_tilted_are_named() -> None:
    made = cameras(CHARUCO, 8, seed=4)
    with pytest.raises(DegenerateError, match="found in 2 pictures"):
        solve_lens(CHARUCO, "a", SIZE, [corners_of(CHARUCO, c, i) for i, c in enumerate(made[:2])])
    flat = [Camera(c.intrinsics, exp(np.array([0.01 * i, 0, 0])), c.t) for i, c in enumerate(made)]
    found = solve_lens(CHARUCO, "a", SIZE, [corners_of(CHARUCO, c, i) for i, c in enumerate(flat)])
    assert any("hardly tilted" in warning for warning in found.warnings)


def two_cameras(board: Board, noise_px: float = 0.1, seed: int = 1) -> tuple[Camera, Camera, list[list[Corners]]]:
    """A second camera beside the first; the board moves, so relative to it both cameras do."""
    turn, move = exp(np.array([0.05, 0.4, 0.02])), np.array([-0.3, 0.02, 0.05])
    views: list[list[Corners]] = [[], []]
    first = cameras(board, 12, seed=5, name="a")
    for frame, a in enumerate(first):
        b = Camera(replace(LENS, name="b"), turn @ a.R, turn @ a.t + move)
        views[0].append(corners_of(board, a, frame, noise_px, seed))
        views[1].append(corners_of(board, b, frame, noise_px, seed + 1))
    return Camera(LENS, np.eye(3), np.zeros(3)), Camera(replace(LENS, name="b"), turn, move), views


def relative(a: Camera, b: Camera) -> tuple[FloatArray, FloatArray]:
    turn = b.R @ a.R.T
    return turn, b.t - turn @ a.t


def test_poses_from_a_board_that_two_cameras_see() -> None:
    """0.1 px over 12 frames of 24 corners: some hundredths of a degree and a millimetre; squares to 0.2 mm."""
    a, b, views = two_cameras(CHARUCO)
    found = solve_rig(CHARUCO, [a.intrinsics, b.intrinsics], views)
    (turn, move), (true_turn, true_move) = relative(*found.rig.cameras), relative(a, b)
    assert np.degrees(np.linalg.norm(log(turn @ true_turn.T))) < 0.1
    assert np.linalg.norm(move - true_move) < 0.002
    assert found.square_m == pytest.approx(0.06, abs=0.0002)
    assert all(camera.centre[2] > 0 for camera in found.rig.cameras)  # z points out of the printed side
    assert max(found.median_error_px.values()) < 0.2


@pytest.mark.parametrize("together", [False, True], ids=["corner by corner", "whole pictures"])
def test_the_covariance_of_the_cameras_holds_what_it_says(together: bool) -> None:
    """30 rigs (seeds 0 to 290): squared errors average to the stated variances within 0.4, also of whole pictures.

    Twelve frames give the scatter itself 20 %, 30 rigs of some independent numbers each the mean 15 %; corners taken
    as independent would state a fifth of the sigma in the second case. The first camera is held: zeros.
    """
    ratios = []
    for seed in range(30):
        a, b, views = two_cameras(CHARUCO, 0.1 if not together else 0.02, 10 * seed)
        if together:
            rng = np.random.default_rng(seed)
            views = [[replace(c, xy=c.xy + 0.1 * rng.normal(size=2)) for c in view] for view in views]
        rig = solve_rig(CHARUCO, [a.intrinsics, b.intrinsics], views).rig
        assert not rig.covariance[:6].any()
        (turn, move), (true_turn, true_move) = relative(*rig.cameras), relative(a, b)
        wrong = log(turn @ true_turn.T)
        # t of the second camera is R_b (move of the first) + move, so it turns with it; undo that
        x, y, z = turn @ rig.cameras[0].t
        slopes = np.eye(6)
        slopes[3:, :3] = -np.array([[0, z, -y], [-z, 0, x], [y, -x, 0]])
        variance = np.diag(slopes @ rig.covariance[6:, 6:] @ slopes.T)
        ratios.append(np.r_[wrong, move - true_move] ** 2 / variance)
    assert np.mean(ratios) == pytest.approx(1, abs=0.4)
    assert np.mean(np.array(ratios) < 1.645**2) > 0.8  # 90 % if the scatter were known exactly


def late_films(late: float, seed: int = 3) -> tuple[Camera, Camera, list[list[Corners]]]:
    """A board waved before two cameras, 24 frames; the second one's frames show moments that much later."""
    turn, move = exp(np.array([0.05, 0.4, 0.02])), np.array([-0.3, 0.02, 0.05])
    first = Camera(LENS, np.eye(3), np.zeros(3))
    second = Camera(replace(LENS, name="b"), turn, move)
    middle = CHARUCO.square_m * np.array([CHARUCO.columns, CHARUCO.rows, 0]) / 2
    rng = np.random.default_rng(seed)
    speed, phase = rng.uniform(0.15, 0.5, 6), rng.uniform(0, 6, 6)

    def corners(camera: Camera, frame: int, moment: float, noise: int) -> Corners:
        wave = np.sin(speed * moment + phase)
        board = exp(np.array([0.5, 0.5, 0.3]) * wave[:3])
        at = np.array([0.1, 0.08, 0.08]) * wave[3:] + [0, 0, 0.75]
        seen = Camera(camera.intrinsics, camera.R @ board, camera.R @ (at - board @ middle) + camera.t)
        return corners_of(CHARUCO, seen, frame, 0.1, noise)

    films = [
        [corners(first, f, f, seed) for f in range(24)],
        [corners(second, f, f + late, seed + 1) for f in range(24)],
    ]
    return first, second, films


@pytest.mark.parametrize("late", [0.0, 0.64, -2.3])
def test_films_that_are_not_in_step(late: float) -> None:
    """Lateness to some hundredths of a frame; the rest is what a parabola misses of the motion between frames.

    The negative control takes the same films as in step: errors of pixels, and a camera that is off.
    """
    a, b, films = late_films(late)
    found = solve_rig(CHARUCO, [a.intrinsics, b.intrinsics], films, clocks=True)
    # a later picture shows what the other film showed in earlier frames
    assert found.late[1] == pytest.approx(-late, abs=0.05)
    assert 0 < found.late_sigma[1] < 0.05
    assert max(found.median_error_px.values()) < 0.35
    wrong = relative(*found.rig.cameras)[0] @ relative(a, b)[0].T
    assert np.degrees(np.linalg.norm(log(wrong))) < 0.3
    if late:
        assert max(solve_rig(CHARUCO, [a.intrinsics, b.intrinsics], films).median_error_px.values()) > 1.0


def test_a_board_that_is_the_same_after_half_a_turn_is_refused() -> None:
    board = Board("chessboard", 7, 5, 0.06)
    assert board.ambiguous
    a, b, views = two_cameras(board)
    with pytest.raises(DegenerateError, match="half a turn"):
        solve_rig(board, [a.intrinsics, b.intrinsics], views)


def test_views_that_never_share_the_board_are_named() -> None:
    a, b, views = two_cameras(CHARUCO)
    apart = [views[0][:6], views[1][6:]]
    with pytest.raises(DegenerateError, match="view b sees the board together with another view in 0 frames"):
        solve_rig(CHARUCO, [a.intrinsics, b.intrinsics], apart)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "circles"}, "charuco, chessboard"),
        ({"columns": 2}, "at least 3"),
        ({"marker_m": 0.07}, "marker_m"),
        ({"dictionary": "DICT_9"}, "dictionary"),
    ],
)
def test_boards_that_cannot_be_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(CHARUCO, **change)  # type: ignore[arg-type]


def board_take(folder: Path, more: str = "") -> Path:
    """Two image sequences of a moving board, and the take that solves the cameras from them."""
    turn, move = exp(np.array([0.05, 0.4, 0.02])), np.array([-0.3, 0.02, 0.05])
    for frame, a in enumerate(cameras(CHARUCO, 8, seed=6, name="a")):
        b = Camera(replace(LENS, name="b"), turn @ a.R, turn @ a.t + move)
        for name, camera in (("a", a), ("b", b)):
            (folder / name).mkdir(exist_ok=True)
            cv2.imwrite(str(folder / name / f"{frame:03d}.png"), photographed(CHARUCO, camera))
    views = "".join(f'[[view]]\nname = "{name}"\nvideo = "{name}/%03d.png"\nfps = 10\n' for name in ("a", "b"))
    table = '[calibration.board]\nkind = "charuco"\ncolumns = 7\nrows = 5\nsquare_m = 0.06\nmarker_m = 0.045\n'
    path = folder / "take.toml"
    path.write_text(f'[take]\nname = "board"\n[calibration]\nsource = "board"\n{table}{more}{views}')
    return path


def test_the_command_calibrates_from_a_board(tmp_path: Path) -> None:
    calibrate(read_take(board_take(tmp_path)), tmp_path / "out")
    found = read_calibration(tmp_path / "out" / "cameras.toml").cameras
    assert np.linalg.norm(found["a"].centre - found["b"].centre) == pytest.approx(
        np.linalg.norm([0.3, 0.02, 0.05]), rel=0.03
    )
    facts = json.loads((tmp_path / "out" / "report.json").read_text())["facts"]["board"]
    assert facts["measured_square_m"] == pytest.approx(0.06, abs=0.0005)
    assert set(facts["lenses"]) == {"a", "b"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('kind = "charuco"\n', "", "kind is missing"),
        ("square_m", "square_mm", "unknown key"),
        ('source = "board"', 'source = "self"', 'source is not "board"'),
    ],
)
def test_wrong_tables_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "take.toml"
    table = '[calibration.board]\nkind = "charuco"\ncolumns = 7\nrows = 5\nsquare_m = 0.06\nmarker_m = 0.045\n'
    path.write_text(f'[calibration]\nsource = "board"\n{table}'.replace(old, new))
    with pytest.raises(InputError, match=message):
        read_take(path)
