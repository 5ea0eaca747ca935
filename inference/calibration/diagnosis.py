"""What is wrong with a calibration: how far each camera is off, which one disagrees, and what would put it right.

The judge is the person: joints of one body must lie on each other's epipolar lines. Where they do not, the mistakes
that people make are tried one by one, and the one that makes the views agree is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from ..cameras import turned
from ..errors import CalibrationError, DegenerateError
from ..geometry.epipolar import essential_matrix, focal_length, homogeneous
from ..shapes import FloatArray
from ..types import Camera, CameraRig, Keypoints2D
from .observations import gather_observations
from .person_scale import person_height
from .tracks import main_tracks

_MOMENTS = 60
_SUSPICIOUS = 0.012  # median distance as a share of the focal length, beyond which causes are looked for
_ALONE = 0.004  # the same of one view beside cameras that move, where the others agree: poses late by a few pictures
_SIGMAS = 1.5  # the same in stated errors of the keypoints, where those are larger
_PUT_RIGHT = 0.4  # of the distance, which a cause must leave at most
_FEWEST = 30  # joints that two views share
_WORST = 0.5  # of the focal length: distances are cut there, so that one view does not drown the others
_PEOPLE_M = (0.7, 2.4)  # heights of people, children included, with the error of a height from joints
_UNITS = (
    (0.001, "a thousandth of what they are read as (mm read as m)"),
    (1000.0, "a thousand times what they are read as (m read as mm)"),
    (0.01, "a hundredth of what they are read as (cm read as m)"),
    (100.0, "a hundred times what they are read as (m read as cm)"),
    (0.1, "a tenth of what they are read as (mm read as cm)"),
    (10.0, "ten times what they are read as (cm read as mm)"),
)
_CHECK = "check that the calibration belongs to these videos, and offset_s"
_CHECK_MOVING = "check that the poses of the cameras that move count from the first frame of their videos, and offset_s"
_SIZES = (0.5, 2 / 3, 0.75, 4 / 3, 1.5, 2.0)


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """How the cameras fit the person."""

    distance_px: dict[str, float]  # by view: median distance from the other views' epipolar lines; NaN unknown
    worst: str | None  # the view that disagrees with the others, where the others agree
    remedy: str | None  # the mistake that would explain it, in words
    suspicious: bool
    height_m: float | None = None  # of the person, where it is the scale that is wrong
    check: str = _CHECK  # what to look at where no mistake explains it

    @property
    def words(self) -> str:
        """One line for a warning or an error."""
        table = ", ".join(f"{name} {px:.0f} px" for name, px in self.distance_px.items() if np.isfinite(px))
        if self.height_m is not None:
            parts = [f"by this calibration the person is {self.height_m:.3g} m tall"]
            return "; ".join([*parts, self.remedy or "check its units, and height_m"])
        parts = [f"the calibration does not fit the person (median distance from epipolar lines: {table})"]
        if self.worst:
            parts.append(f"view {self.worst} disagrees with the others")
        parts.append(self.remedy or self.check)
        return "; ".join(parts)


def diagnose(rig: CameraRig, views: Sequence[Keypoints2D]) -> Diagnosis | None:
    """Judge a calibration by the person who moves in front of it.

    Convention:
        distances are medians, in px of the view's own picture. None where the views share too little to tell.

    Args:
        rig: the cameras.
        views: tracks on common times and joints, in the order of the rig.

    Returns:
        The diagnosis.
    """
    try:
        people = main_tracks(rig.lenses, views)
    except DegenerateError:
        return None
    errors = pair_errors(rig.cameras, people)
    if not np.isfinite(errors).any():
        return None
    focal = np.array([focal_length(camera) for camera in rig.cameras])
    by_view = [float(np.nanmedian(row)) if np.isfinite(row).any() else np.nan for row in errors]
    table = dict(zip(rig.names, (np.array(by_view) * focal).tolist(), strict=True))
    worst, sigma = _disagreeing(errors), _SIGMAS * _typical_sigma(rig, people)
    name = None if worst is None else rig.names[worst]
    if rig.moving and np.nanmax(by_view) >= max(_SUSPICIOUS if worst is None else _ALONE, sigma):
        return Diagnosis(table, name, None, True, check=_CHECK_MOVING)
    if float(np.nanmean(errors)) < max(_SUSPICIOUS, sigma):
        return _scale_diagnosis(rig, people, table)
    return Diagnosis(table, name, _remedy(rig, people, errors, worst), True)


def _scale_diagnosis(rig: CameraRig, people: Sequence[Keypoints2D], table: dict[str, float]) -> Diagnosis:
    """Cameras that agree with each other may still be a thousand times too far apart."""
    height = person_height(rig, people)
    if height is None or _PEOPLE_M[0] <= height <= _PEOPLE_M[1]:
        return Diagnosis(table, None, None, False)
    for factor, words in _UNITS:
        if _PEOPLE_M[0] <= height * factor <= _PEOPLE_M[1]:
            remedy = f"it would fit if its lengths were {words}: write the right units under [calibration]"
            return Diagnosis(table, None, remedy, True, height)
    return Diagnosis(table, None, None, True, height)


def pair_errors(cameras: Sequence[Camera], people: Sequence[Keypoints2D]) -> FloatArray:
    """(V, V) median distance of one person's joints from the epipolar lines, as a share of the focal length."""
    observations = gather_observations([camera.intrinsics for camera in cameras], people, _MOMENTS)
    errors = np.full((len(cameras), len(cameras)), np.nan)
    for a, b in combinations(range(len(cameras)), 2):  # pairs of views
        both = observations.seen[a] & observations.seen[b]
        if both.sum() >= _FEWEST and np.linalg.norm(cameras[a].centre - cameras[b].centre) > 1e-9:
            x, y = observations.rays[a][both], observations.rays[b][both]
            times = people[0].timestamps_s[observations.frame[np.nonzero(both)[0]]]
            distance = _distance(cameras[a], cameras[b], x, y, times)
            errors[a, b] = errors[b, a] = min(float(np.nanmedian(distance)), _WORST)
    return errors


def _distance(first: Camera, second: Camera, x: FloatArray, y: FloatArray, times_s: FloatArray) -> FloatArray:
    """(N,) larger of the two distances of rays from each other's epipolar lines, normalised coordinates."""
    E = essential_matrix(first, second, times_s)
    x1, y1 = homogeneous(x), homogeneous(y)
    line_y, line_x = (x1[:, None] @ E.swapaxes(-1, -2))[:, 0], (y1[:, None] @ E)[:, 0]
    shorter = np.minimum(np.linalg.norm(line_y[:, :2], axis=-1), np.linalg.norm(line_x[:, :2], axis=-1))
    return np.abs((y1 * line_y).sum(axis=-1)) / np.maximum(shorter, 1e-12)


def _typical_sigma(rig: CameraRig, people: Sequence[Keypoints2D]) -> float:
    """Typical stated error of the keypoints, normalised."""
    observations = gather_observations(rig.lenses, people, _MOMENTS)
    seen = observations.seen
    return float(np.median((1 / observations.weight[seen]) / (seen * observations.focal_px[:, None, None])[seen]))


def _disagreeing(errors: FloatArray) -> int | None:
    """Return the view without which the others agree far better."""
    count = len(errors)
    if count < 3:
        return None
    rest = []
    for view in range(count):
        others = np.delete(np.delete(errors, view, 0), view, 1)
        rest.append(float(np.nanmean(others)) if np.isfinite(others).any() else np.inf)
    best = int(np.argmin(rest))
    second = sorted(rest)[1]
    return best if rest[best] < _PUT_RIGHT * second else None


def _remedy(rig: CameraRig, people: Sequence[Keypoints2D], before: FloatArray, worst: int | None) -> str | None:
    """Try the mistakes that people make; name the one that makes the views agree."""
    known, level = np.isfinite(before), float(np.nanmean(before))
    found: list[tuple[float, str]] = []
    for words, cameras in _repairs(rig, worst):
        errors = pair_errors(cameras, people)
        lost = known & ~np.isfinite(errors)  # rays that leave a lens fit nothing
        found.append((float(np.nanmean(np.where(lost, _WORST, errors))), words))
    left, words = min(found)
    return words if left < min(_PUT_RIGHT * level, _SUSPICIOUS) else None


def _repairs(rig: CameraRig, worst: int | None) -> Iterator[tuple[str, tuple[Camera, ...]]]:
    """Yield the rig as it would be, were a mistake not made; a mistake of one camera only where one disagrees."""
    cameras = rig.cameras
    for change, words in _CHANGES:
        changed = [_changed(camera, change) for camera in cameras]
        if None not in changed:
            yield f"it would fit if {words} of all cameras", tuple(c for c in changed if c is not None)
    suspects = range(len(cameras)) if worst is None else (worst,)
    for index in suspects:
        for change, words in _CHANGES:
            other = _changed(cameras[index], change)
            if other is not None:
                yield f"it would fit if {words} of {cameras[index].name}", _with(cameras, {index: other})
    for a, b in combinations(range(len(cameras)), 2):
        swapped = {a: _renamed(cameras[b], cameras[a]), b: _renamed(cameras[a], cameras[b])}
        words = f"it would fit if the names of {cameras[a].name} and {cameras[b].name} were swapped"
        yield words, _with(cameras, swapped)


def _with(cameras: Sequence[Camera], changed: dict[int, Camera]) -> tuple[Camera, ...]:
    return tuple(changed.get(index, camera) for index, camera in enumerate(cameras))


def _renamed(camera: Camera, like: Camera) -> Camera:
    """Return the camera under the other's name, for the other's video."""
    return camera.with_lens(replace(camera.intrinsics, name=like.name, image_size=like.intrinsics.image_size))


def _changed(camera: Camera, change: Callable[[Camera], Camera]) -> Camera | None:
    try:
        return change(camera)
    except CalibrationError:  # a lens that cannot be turned
        return None


def _inverse(camera: Camera) -> Camera:
    return Camera(camera.intrinsics, camera.R.T, -camera.R.T @ camera.t)


def _transposed(camera: Camera) -> Camera:
    return Camera(camera.intrinsics, camera.R.T, camera.t)


def _centre_as_t(camera: Camera) -> Camera:
    return Camera(camera.intrinsics, camera.R, -camera.R @ camera.t)


def _turned_by(quarters: int) -> Callable[[Camera], Camera]:
    """Turn camera and calibrated picture; the result counts in the pixels of the video as it is."""

    def change(camera: Camera) -> Camera:
        moved = turned(camera, quarters)
        if quarters % 2 == 0:
            return moved
        # the video has the size that the calibration has before the turn: the principal point goes to its middle
        width, height = camera.intrinsics.image_size
        K = np.array(moved.intrinsics.K)
        K[:2, 2] += (np.array([width, height]) - np.array([height, width])) / 2
        return Camera(replace(moved.intrinsics, K=K, image_size=(width, height)), moved.R, moved.t)

    return change


def _sized(factor: float) -> Callable[[Camera], Camera]:
    def change(camera: Camera) -> Camera:
        K = np.array(camera.intrinsics.K)
        K[:2] *= factor
        K[:2, 2] += (factor - 1) / 2  # pixel centres: u becomes s (u + 0.5) - 0.5
        return Camera(replace(camera.intrinsics, K=K), camera.R, camera.t)

    return change


def _longer(factor: float) -> Callable[[Camera], Camera]:
    return lambda camera: Camera(camera.intrinsics, camera.R, factor * camera.t)


_CHANGES: tuple[tuple[Callable[[Camera], Camera], str], ...] = (
    (
        _inverse,
        "the poses were inverted (they read as world from camera): exchange R, t for R transposed, -R transposed t",
    ),
    (_transposed, "the rotations were transposed: write R transposed"),
    (_centre_as_t, "t were the position of the camera: write -R t"),
    *(
        (_turned_by(q), f"the pictures were turned by {90 * q} degrees: turn the video, or the calibration")
        for q in (1, 2, 3)
    ),
    (_longer(0.001), "t counted in mm, not in m: divide t by 1000"),
    (_longer(1000.0), "t counted in m, not in mm: multiply t by 1000"),
    *(
        (_sized(s), f"the lens counted in pictures {s:.3g} times as wide: state the calibrated size and fit")
        for s in _SIZES
    ),
)
