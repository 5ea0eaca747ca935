"""How videos relate to the calibrated picture, with numbers worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.errors import InputError
from inference.image_fit import image_fit, shows_bars

WHERE = "view 'cam01': the video"


def test_equal_sizes_move_nothing() -> None:
    for fit in ("exact", "scale", "crop", "letterbox"):
        K = np.array([[900.0, 0, 300], [0, 910, 200], [0, 0, 1]])
        np.testing.assert_array_equal(image_fit(fit, (640, 480), (640, 480), WHERE).matrix(K), K)


def test_scale_by_hand() -> None:
    """Half size: u' = 0.5 (u + 0.5) - 0.5; the left edge -0.5 stays, the right edge 1279.5 becomes 639.5."""
    move = image_fit("scale", (1280, 720), (640, 360), WHERE)
    np.testing.assert_allclose(
        move.points(np.array([[-0.5, -0.5], [1279.5, 719.5], [100, 100]])),
        [[-0.5, -0.5], [639.5, 359.5], [49.75, 49.75]],
    )
    K = move.matrix(np.array([[1000.0, 0, 639.5], [0, 1000, 359.5], [0, 0, 1]]))
    np.testing.assert_allclose(K, [[500, 0, 319.5], [0, 500, 179.5], [0, 0, 1]])


def test_scale_allows_the_rounding_of_one_pixel() -> None:
    assert image_fit("scale", (1920, 1080), (854, 480), WHERE).scale == (854 / 1920, 480 / 1080)


def test_crop_by_hand() -> None:
    """1920 wide to 1280: 320 px go on either side."""
    move = image_fit("crop", (1920, 1080), (1280, 1080), WHERE)
    np.testing.assert_allclose(move.points(np.array([320.0, 7.0])), [0, 7])


def test_letterbox_of_the_real_take() -> None:
    """1088 x 1920 to 1080 x 1920: s = 1080/1088 = 0.99265, bars of (1920 - 1905.88) / 2 = 7.06 px."""
    move = image_fit("letterbox", (1088, 1920), (1080, 1920), WHERE)
    assert move.scale == pytest.approx((0.992647, 0.992647), abs=1e-6)
    assert move.shift == pytest.approx((0, 7.0588), abs=1e-4)
    K = move.matrix(np.array([[1681.0, 0, 533], [0, 1681, 948], [0, 0, 1]]))
    assert K[1, 2] == pytest.approx(0.9926471 * 948.5 - 0.5 + 7.0588, abs=1e-3)
    assert K[0, 2] == pytest.approx(0.9926471 * 533.5 - 0.5, abs=1e-3)


def test_letterbox_with_bars_at_the_sides() -> None:
    move = image_fit("letterbox", (640, 480), (1920, 1080), WHERE)
    assert move.scale == (2.25, 2.25) and move.shift == (240, 0)


def test_points_and_matrix_agree() -> None:
    rng = np.random.default_rng(2)
    K = np.array([[900.0, 3.0, 310], [0, 880, 250], [0, 0, 1]])
    rays = rng.normal(size=(20, 2)) * 0.3
    pixels = rays @ K[:2, :2].T + K[:2, 2]
    for fit, new in (("scale", (320, 240)), ("crop", (600, 400)), ("letterbox", (800, 900))):
        move = image_fit(fit, (640, 480), new, WHERE)
        moved = move.matrix(K)
        np.testing.assert_allclose(rays @ moved[:2, :2].T + moved[:2, 2], move.points(pixels), atol=1e-9)


@pytest.mark.parametrize(
    ("fit", "new", "message"),
    [
        ("exact", (1080, 1920), "view 'cam01': the video is 1080x1920, .* 1088x1920; .*cut.*crop.*letterbox"),
        ("exact", (544, 960), "544x960, .* 1088x1920; it was probably scaled: fit = .scale"),
        ("exact", (1920, 1088), "is turned by 90 degrees"),
        ("scale", (1080, 1920), "1080x1920, .* 1088x1920: the aspect differs"),
        ("crop", (1100, 1920), 'larger, so fit = "crop" cannot be'),
    ],
)
def test_sizes_that_do_not_fit(fit: str, new: tuple[int, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        image_fit(fit, (1088, 1920), new, WHERE)


def _filmed(bar: int, across: bool = False) -> NDArray[np.uint8]:
    """A picture 108 px wide and 192 px high whose bars are not quite black, as after a codec."""
    rng = np.random.default_rng(3)
    picture = rng.integers(60, 200, (192, 108, 3)).astype(np.uint8)
    if across:
        picture[:, :bar] = picture[:, 108 - bar :] = rng.integers(0, 12, (1, 1, 3))
    elif bar:
        picture[:bar] = picture[192 - bar :] = rng.integers(0, 12, (1, 1, 3))
    return picture


def test_bars_where_letterboxing_leaves_them() -> None:
    """108x192 from 124x192: scaled by 0.871, 167.2 rows of picture, 12.4 rows of bar above and below."""
    assert shows_bars(_filmed(12), (124, 192))
    assert shows_bars(_filmed(13), (124, 192))  # the last row half picture
    assert shows_bars(_filmed(9, across=True), (108, 230))  # 90.2 columns of picture, 8.9 of bar


def test_no_bars_and_no_telling() -> None:
    assert not shows_bars(_filmed(0), (124, 192))  # cut, or something else
    assert not shows_bars(_filmed(6), (124, 192))  # bars of another shape
    assert not shows_bars(_filmed(12), (216, 384))  # letterboxing would leave none
    assert not shows_bars(_filmed(12), (109, 192))  # nor a bar that could be seen
    assert not shows_bars(np.zeros((192, 108, 3), dtype=np.uint8), (124, 192))  # dark all over
