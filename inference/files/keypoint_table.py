"""What imported 2D keypoints go through: missing told from absurd, the view's own pixels, a first guess of noise."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..image_fit import image_fit
from ..layouts import LAYOUTS, layout, place
from ..shapes import FloatArray
from ..types import Keypoints2D

MOST_PEOPLE = 200
LONGEST_GAP = 100_000  # frames that numbering may skip
_MOST_KEYPOINTS = 30_000_000  # frames x people x joints; ten minutes of ten people at 60 fps are a third of it
_SIGMA = 0.0015  # of the larger picture side, px, at score 1: an initial guess; the solver fits the noise later
_LOWEST_SCORE = 0.05
_ABSURD = 10.0  # image sizes
_WORDS = re.compile(r"[\s_\-.]+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SIDES = {"l": "left", "r": "right", "left": "left", "right": "right"}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImportedView:
    """The view that keypoints are imported for, and how the picture they count in became its own."""

    name: str
    layout: str
    fps: float
    image_size: tuple[int, int]  # (width, height) px of the view's own pictures
    keypoint_size: tuple[int, int] | None  # of the pictures that the keypoints count in; None: the view's own
    fit: str  # as in the take; "exact" means "scale"

    @property
    def joint_names(self) -> tuple[str, ...]:
        """The layout's joints."""
        return layout(self.layout).joint_names

    def keypoints(
        self,
        table: FloatArray,  # (T, P, J, 3) x, y, score
        place_of: Callable[[int], str],
        nothing: str,
    ) -> Keypoints2D:
        """Turn a table into keypoints of the view.

        Convention:
            ``0, 0``, score 0 and NaN are missing. Covariance: isotropic, sigma = 0.0015 · larger side /
            max(score, 0.05) px, a first guess. Frame i is at i / fps.

        Args:
            table: the file's values.
            place_of: the words for a frame in messages.
            nothing: the message if there is no keypoint at all.

        Returns:
            Keypoints in the view's own pixels.

        Raises:
            InputError: no keypoint, one beyond ten image sizes, or most of them outside the picture.
        """
        missing = ~np.isfinite(table).all(-1) | (table[..., :2] == 0).all(-1) | (table[..., 2] <= 0)
        table[missing] = np.nan
        if missing.all():
            raise InputError(f"view {self.name!r}: {nothing}")
        self._check_absurd(table, place_of)
        xy = table[..., :2]
        if self.keypoint_size is not None:
            fit = "scale" if self.fit == "exact" else self.fit
            where = f"view {self.name!r}: its picture"
            xy = image_fit(fit, self.keypoint_size, self.image_size, where, "keypoint_size").points(xy)
        self._check_inside(xy)
        score = np.where(missing, 0.0, np.minimum(table[..., 2], 1.0))
        sigma = _SIGMA * max(self.image_size) / np.maximum(np.where(missing, np.nan, score), _LOWEST_SCORE)
        covariance = sigma[..., None, None] ** 2 * np.eye(2)
        return Keypoints2D(self.name, self.joint_names, np.arange(len(table)) / self.fps, xy, covariance, score)

    def _check_absurd(self, table: FloatArray, place_of: Callable[[int], str]) -> None:
        """Raise where a keypoint lies more than ten image sizes away (NaN compares as near)."""
        size = self.keypoint_size or self.image_size
        far = (np.abs(table[..., :2]) > _ABSURD * np.array(size)).any(-1)
        if far.any():
            frame, slot, joint = (int(index) for index in np.argwhere(far)[0])
            x, y = table[frame, slot, joint, :2]
            raise InputError(
                f"view {self.name!r}: {place_of(frame)}: person {slot}, keypoint {joint} lies at "
                f"({x:.6g}, {y:.6g}), beyond ten image sizes of {size[0]}x{size[1]}"
            )

    def _check_inside(self, xy: FloatArray) -> None:
        seen = xy[np.isfinite(xy).all(-1)]
        inside = ((seen >= -0.5) & (seen <= np.array(self.image_size) - 0.5)).all(-1)
        if inside.mean() < 0.5:
            raise InputError(
                f"view {self.name!r}: {1 - inside.mean():.0%} of the imported keypoints lie outside its picture of "
                f"{self.image_size[0]}x{self.image_size[1]}; say which picture they count in: keypoint_size (or size) "
                "of the view"
            )


def empty_table(frames: int, slots: int, joints: int, where: str) -> FloatArray:
    """(T, P, J, 3) of NaN.

    Raises:
        InputError: more than any clip has; the numbers in the file are wrong.
    """
    if slots > MOST_PEOPLE:
        raise InputError(f"{where} holds {slots} people at once; more than {MOST_PEOPLE} is absurd")
    if frames * max(slots, 1) * joints > _MOST_KEYPOINTS:
        raise InputError(f"{where} speaks of {frames} frames of {slots} people: more than can be read at once")
    return np.full((frames, slots, joints, 3), np.nan)


def layouts_of_length(count: float) -> str:
    """The words that name the layouts with so many keypoints; none where there is none."""
    fitting = [name for name, known in LAYOUTS.items() if len(known.joint_names) == count]
    return f"; as many as {' or '.join(fitting)}" if fitting else ""


def columns_of_layout(names: Sequence[str], target: ImportedView, where: str) -> list[int | None]:
    """Find the layout's joints among the names of a file.

    Convention:
        spelling does not matter (``LeftKnee``, ``left-knee``, ``L_knee``, ``knee_left`` are one name); names that the
        layout does not have are left out.

    Args:
        names: the file's names.
        target: the view and its layout.
        where: the words that begin an error message.

    Returns:
        For each joint of the layout the number of its name, None where the file lacks it.

    Raises:
        InputError: no joint is found, or two names mean the same joint.
    """
    known: dict[str, int] = {}
    for number, name in enumerate(names):
        joint = place(_spelled(name))
        if joint in known:
            raise InputError(f"{where}: {names[known[joint]]!r} and {name!r} mean the same joint")
        known[joint] = number
    found = [known.get(place(joint)) for joint in target.joint_names]
    if not any(number is not None for number in found):
        raise InputError(
            f"{where}: none of its names ({', '.join(names[:8])}, …) is a joint of {target.layout} "
            f"({', '.join(target.joint_names[:4])}, …); rename them in the file"
        )
    unused = [name for number, name in enumerate(names) if number not in found]
    if unused:
        log.warning("%s: not joints of %s, left out: %s", where, target.layout, ", ".join(unused))
    return found


def _spelled(name: str) -> str:
    words = [_SIDES.get(word, word) for word in (part.lower() for part in _WORDS.split(name.strip())) if word]
    sides = [word for word in words if word in ("left", "right")]
    return "_".join(sides + [word for word in words if word not in ("left", "right")])
