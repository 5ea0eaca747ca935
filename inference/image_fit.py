"""How a picture of one size came out of a picture of another: scaled, cropped or letterboxed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .shapes import FloatArray

Size = tuple[int, int]  # (width, height) px
_BLACK = 24.0  # of 255: a black row, after a codec
_BESIDE = 16  # rows of the picture next to a bar


@dataclass(frozen=True)
class ImageFit:
    """The map u' = scale · (u + 0.5) − 0.5 + shift, per axis."""

    scale: tuple[float, float]
    shift: tuple[float, float]  # px of the new picture

    def points(
        self,
        pixels: FloatArray,  # (..., 2) px
    ) -> FloatArray:
        """Map pixels of the old picture to the new one, (..., 2)."""
        return (np.asarray(pixels) + 0.5) * self.scale - 0.5 + self.shift

    def matrix(
        self,
        K: FloatArray,  # (3, 3) px
    ) -> FloatArray:
        """Map an intrinsic matrix of the old picture to the new one, (3, 3)."""
        moved = np.array(K, dtype=np.float64)
        moved[:2, :2] *= np.array(self.scale)[:, None]
        moved[:2, 2] = self.points(moved[:2, 2])
        return moved


def image_fit(fit: str, old: Size, new: Size, where: str, old_name: str = "the calibrated picture") -> ImageFit:
    """Say how pixels move from a picture of one size to that of another.

    Convention:
        ``exact``: equal sizes. ``scale``: the whole picture, same aspect (to the rounding of one pixel).
        ``crop``: the centre, unscaled. ``letterbox``: the whole picture scaled uniformly, centred bars.

    Args:
        fit: one of the four.
        old: size in which the pixels count now.
        new: size in which they are to count.
        where: the words that begin an error message, with the view: ``view 'cam01': the video``.
        old_name: what the old size is called in messages.

    Returns:
        The map.

    Raises:
        InputError: the sizes do not allow this fit; the message names view, both sizes and the choices.
    """
    (w, h), (W, H) = new, old
    sizes = f"{where} is {w}x{h}, {old_name} {W}x{H}"
    if new == old:
        return ImageFit((1.0, 1.0), (0.0, 0.0))
    if fit == "exact":
        if (h, w) == old:
            raise InputError(f"{sizes}; it is turned by 90 degrees: turn the video back, or calibrate it as it is")
        same = min(abs(w * H / W - h), abs(h * W / H - w)) <= 1.0
        likely = 'scaled: fit = "scale"' if same else 'cut or framed by bars: fit = "crop" or "letterbox"'
        raise InputError(f"{sizes}; it was probably {likely}")
    if fit == "scale":
        if min(abs(w * H / W - h), abs(h * W / H - w)) > 1.0:
            raise InputError(f'{sizes}: the aspect differs, so fit = "scale" cannot be; use "crop" or "letterbox"')
        return ImageFit((w / W, h / H), (0.0, 0.0))
    if fit == "crop":
        if w > W or h > H:
            raise InputError(f'{sizes}: larger, so fit = "crop" cannot be; use "scale" or "letterbox"')
        return ImageFit((1.0, 1.0), ((w - W) / 2, (h - H) / 2))
    scale = min(w / W, h / H)
    return ImageFit((scale, scale), ((w - scale * W) / 2, (h - scale * H) / 2))


def shows_bars(
    picture: NDArray[np.uint8],  # (H, W, 3)
    old: Size,
) -> bool:
    """Tell whether a picture has just the bars that letterboxing from another size leaves.

    Convention:
        false where that leaves no bar of two rows, and where the picture beside the bars is dark too: then nothing
        can be told. The row that a bar ends in may hold some of the picture and is not looked at.

    Args:
        picture: of a video.
        old: size of the calibrated picture.

    Returns:
        Whether both bars are there.
    """
    height, width = picture.shape[:2]
    across, down = (int(shift) for shift in image_fit("letterbox", old, (width, height), "").shift)
    lines = picture.mean(axis=(1, 2)) if down > across else picture.mean(axis=(0, 2))
    bar = max(across, down)
    if bar < 2:
        return False
    sides = (lines, lines[::-1])
    beside = max(float(side[bar + 2 : bar + 2 + _BESIDE].mean()) for side in sides)
    darkest = max(float(side[: bar - 1].max()) for side in sides)
    return darkest <= _BLACK and beside > 2 * _BLACK
