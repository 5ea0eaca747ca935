"""What every calibration reader returns, and the checks that all of them share."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from ..errors import CalibrationError
from ..geometry.rotation import exp
from ..shapes import FloatArray
from ..types import Camera, CameraPath, Intrinsics

METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001}
_FARTHEST_UNDECLARED = 50.0  # median distance from the origin above which undeclared units cannot be metres
_CLOSEST_RIG_M = 0.01  # the two cameras farthest apart are farther apart than this …
_WIDEST_RIG_M = 1000.0  # … and nearer than this
_PROVISIONAL_M = 4.0  # between the cameras farthest apart, until the person scales them
_LARGEST = 1e9  # px or units; more is a broken number
_OFF_CENTRE = 0.25  # of the picture; a principal point farther from its middle hints at another picture

Size = tuple[int, int]  # (width, height) px
Pose = tuple[FloatArray, FloatArray]  # R (3, 3) and t (3,), camera from world, in the file's unit


@dataclass(frozen=True)
class Distance:
    """How far two cameras stand apart, measured by the user."""

    first: str
    second: str
    metres: float


@dataclass(frozen=True, eq=False)
class FramePath:
    """Poses of a camera that moves, by the number of the picture in its video."""

    frames: FloatArray  # (K,) rising; the video's first picture is 0
    R: FloatArray  # (K, 3, 3) camera from world
    t: FloatArray  # (K, 3) in the file's unit

    def scaled(self, factor: float) -> FramePath:
        """The same in another unit."""
        return FramePath(self.frames, self.R, self.t * factor)

    def in_time(self, time_of_frame: Callable[[FloatArray], FloatArray]) -> CameraPath:
        """The same by the view's own clock, given the times (K,) s of its pictures (K,)."""
        return CameraPath(time_of_frame(self.frames), self.R, self.t)


def frame_path(frames: Any, rotations: Any, translations: Any, where: str) -> FramePath:
    """Return the poses of a moving camera from frames (K,), rotation vectors (K, 3) rad and t (K, 3).

    Raises:
        CalibrationError: other numbers, or frames that do not rise.
    """
    number = np.asarray(numbers(frames, None, f"{where}: path_frames"))
    if not len(number) or (np.diff(number) <= 0).any():
        raise CalibrationError(f"{where}: path_frames must be numbers of pictures that rise, at least one")
    turns = numbers(rotations, (len(number), 3), f"{where}: path_rotations")
    return FramePath(number, exp(turns), numbers(translations, (len(number), 3), f"{where}: path_translations"))


@dataclass(frozen=True)
class Calibration:
    """Cameras of a file, in metres, in the file's own world and pixels."""

    cameras: dict[str, Camera]
    lenses: dict[str, Intrinsics]  # of all cameras, also of those without a pose
    warnings: list[str] = field(default_factory=list)
    turns: dict[str, int] = field(default_factory=dict)  # clockwise quarter turns that make a camera's image upright
    assumed_sizes: frozenset[str] = frozenset()  # lenses whose file states no picture size: it is that of the video
    has_scale: bool = True  # False: lengths are provisional until the person's height scales them
    paths: dict[str, FramePath] = field(default_factory=dict)  # of cameras that move, m


@dataclass(frozen=True)
class CameraFile:
    """The cameras of a file as they stand in it: lengths in its own unit, lenses and poses perhaps apart."""

    lenses: dict[str, Intrinsics]
    poses: dict[str, Pose]
    declared: str | None = None  # m, cm, mm; None: the file does not say
    has_scale: bool = True  # False: only ratios of lengths mean anything
    warnings: list[str] = field(default_factory=list)
    turns: dict[str, int] = field(default_factory=dict)
    assumed_sizes: frozenset[str] = frozenset()
    paths: dict[str, FramePath] = field(default_factory=dict)  # of cameras that move; their poses are the first ones

    def in_metres(
        self,
        source: str,
        units: str | None = None,
        height_m: float | None = None,
        lenses: Mapping[str, Intrinsics] = {},
        distance: Distance | None = None,
    ) -> Calibration:
        """Join lenses and poses and bring the lengths to metres.

        Convention:
            the file's own lenses come first; a pose without one takes that of ``lenses`` with its name.

        Args:
            source: the file, for messages.
            units: m, cm or mm where the user says so.
            height_m: the person's height: it will scale a file that has no scale of its own, whose lengths are
                provisional until then (the cameras farthest apart stand 4 m apart).
            lenses: lenses of a second source.
            distance: of two cameras, which gives the scale whatever the file says.

        Returns:
            Cameras in metres, lenses, warnings.

        Raises:
            CalibrationError: the scale is unknown or implausible, or no pose has a lens.
        """
        centres = np.array([-R.T @ t for R, t in self.poses.values()]).reshape(-1, 3)
        scaled = not self.poses or self.has_scale or units is not None or distance is not None
        if not scaled and height_m is None:
            raise CalibrationError(
                f"{source}: the lengths of a reconstruction from pictures mean nothing by themselves; give the "
                "distance of two cameras (distance_m and distance_between), or the person's height_m, or, where you "
                'have scaled it yourself, units = "m"'
            )
        if distance is not None:
            scale, unit_warnings = self._scale_of(distance, source), []
        elif not scaled:
            scale, unit_warnings = _PROVISIONAL_M / max(_widest(centres), 1e-12), []
        else:
            scale, unit_warnings = scale_to_metres(centres, units, self.declared, source)
        found = {name: self.lenses.get(name) or _other_lens(name, lenses) for name in self.poses}
        if distance is not None and self.paths:
            unit_warnings.append(f"{source}: the distance is taken to be that of the cameras at their first pictures")
        lensless = [name for name, inner in found.items() if inner is None]
        warnings = [*self.warnings, *unit_warnings]
        if lensless:
            problem = f"{source}: no lens (or no picture size) for the pose of {', '.join(lensless)}"
            if len(lensless) == len(found):
                why = "".join(f"; {warning}" for warning in self.warnings)
                raise CalibrationError(f"{problem}; give the lenses with intrinsics = … under [calibration]{why}")
            warnings.append(f"{problem}: left out")
        cameras = {
            name: Camera(inner, R, t * scale)
            for (name, (R, t)), inner in zip(self.poses.items(), found.values(), strict=True)
            if inner is not None
        }
        paths = {name: path.scaled(scale) for name, path in self.paths.items() if name in cameras}
        return Calibration(cameras, self.lenses, warnings, self.turns, self.assumed_sizes, scaled, paths)

    def _scale_of(self, distance: Distance, source: str) -> float:
        """Metres per unit of the file that put two cameras where they were measured."""
        ends = []
        for name in (distance.first, distance.second):
            found = find_name(name, self.poses)
            if found is None:
                raise CalibrationError(
                    f"{source} has no pose of {name!r}, whose distance is given; it has {', '.join(self.poses)}"
                )
            R, t = self.poses[found]
            ends.append(-R.T @ t)
        apart = float(np.linalg.norm(ends[1] - ends[0]))
        if apart < 1e-12:
            raise CalibrationError(
                f"{source}: {distance.first} and {distance.second} stand in one place; no distance scales them"
            )
        return distance.metres / apart


def find_name(name: str, known: Mapping[str, Any]) -> str | None:
    """Find a camera by name; a camera N answers to ``cam_N`` and ``N``."""
    number = re.fullmatch(r"(?:cam_)?([0-9]+)", name)
    also = (f"cam_{number[1]}", number[1]) if number else ()
    return next((other for other in (name, *also) if other in known), None)


def _other_lens(name: str, lenses: Mapping[str, Intrinsics]) -> Intrinsics | None:
    found = find_name(name, lenses)
    return None if found is None else lenses[found]


def lens_of_assumed_size(
    name: str, K: FloatArray, distortion: FloatArray, sizes: Mapping[str, Size], source: str
) -> tuple[Intrinsics | None, list[str]]:
    """Return a lens whose file does not state the picture size, in the size of the view of that name.

    Args:
        name: the camera.
        K: (3, 3) px.
        distortion: coefficients in OpenCV's order.
        sizes: (width, height) px of the views.
        source: the file, for messages.

    Returns:
        The lens, None where no view tells the size, and warnings.

    Raises:
        CalibrationError: the matrix is not that of a camera.
    """
    where = f"{source}: camera {name!r}"
    view = find_name(name, sizes)
    if view is None:
        return None, [f"{where} has no picture size in the file, and no view of that name has a video or a size"]
    size = sizes[view]
    off = np.abs((K[:2, 2] + 0.5) / size - 0.5)
    warnings = []
    if (off > _OFF_CENTRE).any():
        warnings.append(
            f"{where}: its principal point ({K[0, 2]:.0f}, {K[1, 2]:.0f}) is far from the middle of the view's picture "
            f"of {size[0]}x{size[1]}, and the file does not state a size: was it calibrated on another picture?"
        )
    return lens(name, size, K, distortion, False, source), warnings


def numbers(value: Any, shape: tuple[int, ...] | None, where: str) -> FloatArray:
    """Return finite numbers of the given shape, or raise.

    Args:
        value: what the file gave: nested lists of numbers.
        shape: the shape to have; None for a list of any length (nesting is flattened).
        where: the words that begin an error message.

    Returns:
        The array.

    Raises:
        CalibrationError: not numbers, another shape, or values that are not finite.
    """
    wanted = "a list of numbers" if shape is None else f"{'x'.join(map(str, shape))} numbers"
    try:
        array = np.asarray(value)
        numeric = array.dtype.kind in "iuf" or array.size == 0
        array = array.astype(np.float64)
    except (ValueError, TypeError, OverflowError):
        numeric, array = False, np.zeros(0)
    if shape is None:
        array = array.reshape(-1)
    if not numeric or (shape is not None and array.shape != shape):
        raise CalibrationError(f"{where} must be {wanted}")
    if not np.isfinite(array).all() or (np.abs(array) > _LARGEST).any():
        raise CalibrationError(f"{where} holds values that are not finite, or absurdly large")
    return array


def image_size(value: Any, where: str) -> tuple[int, int]:
    """Return (width, height) px from two whole numbers, also where they are written as floats.

    Raises:
        CalibrationError: not two positive whole numbers.
    """
    size = numbers(value, (2,), where)
    if (size < 1).any() or (size > 65536).any() or (size != np.round(size)).any():
        raise CalibrationError(f"{where} = {list(value)} is no picture size; it must be [width, height] in pixels")
    return int(size[0]), int(size[1])


def lens(
    name: str, size: tuple[int, int], K: FloatArray, distortion: FloatArray, fisheye: bool, source: str
) -> Intrinsics:
    """Return a lens after checking that its matrix is that of a camera.

    Args:
        name: the camera.
        size: (width, height) px.
        K: (3, 3) px.
        distortion: coefficients in OpenCV's order, of its fisheye model if ``fisheye``; none for a pinhole.
        fisheye: which model.
        source: the file, for messages.

    Returns:
        The lens.

    Raises:
        CalibrationError: the matrix is singular or not upper triangular, or the coefficients fit no model.
    """
    where = f"{source}: camera {name!r}"
    if abs(K[2, 2]) < 1e-12 or abs(K[0, 0] * K[1, 1]) < 1e-12:
        raise CalibrationError(f"{where}: the intrinsic matrix is singular")
    if np.abs(K[[1, 2, 2], [0, 0, 1]]).max() > 1e-9:
        raise CalibrationError(f"{where}: the intrinsic matrix is not [[fx, s, cx], [0, fy, cy], [0, 0, 1]]")
    if fisheye and len(distortion) == 5 and distortion[4] == 0:
        distortion = distortion[:4]
    model = "fisheye" if fisheye else "opencv" if len(distortion) else "none"
    centre = K[:2, 2] / np.array(size)
    if (np.abs(centre - 0.5) > 10).any():
        raise CalibrationError(f"{where}: the principal point lies more than ten image sizes away")
    try:
        return Intrinsics(name, size, K, distortion, model)
    except CalibrationError as problem:
        raise CalibrationError(f"{source}: {problem}") from None


def rotation_matrix(value: Any, where: str) -> FloatArray:
    """Return a (3, 3) rotation from a rotation vector (rad) or a matrix.

    Raises:
        CalibrationError: neither 3 nor 3x3 numbers, or a matrix that is not orthonormal, or mirrored.
    """
    vector = np.asarray(numbers(value, None, where))
    if vector.shape == (9,) and np.shape(value) == (3, 3):
        R = vector.reshape(3, 3)
        if np.abs(R @ R.T - np.eye(3)).max() > 1e-4 or np.linalg.det(R) < 0:
            raise CalibrationError(f"{where} is not a rotation (not orthonormal, or mirrored)")
        return R
    if vector.shape != (3,):
        raise CalibrationError(f"{where} must be 3 numbers (a rotation vector) or a 3x3 matrix")
    return np.asarray(cv2.Rodrigues(vector)[0], dtype=np.float64)


def scale_to_metres(
    centres: FloatArray, units: str | None, declared: str | None, source: str
) -> tuple[float, list[str]]:
    """Decide what the lengths of a file mean; never guess silently.

    Convention:
        what the user says wins over what the file declares; undeclared lengths are taken as metres where that is
        plausible, with a warning that shows the camera spacing.

    Args:
        centres: (N, 3) camera positions in the file's unit.
        units: what the user says: m, cm, mm or None.
        declared: what the dialect or its metadata says, or None.
        source: the file, for messages.

    Returns:
        Metres per unit of the file, and warnings.

    Raises:
        CalibrationError: the lengths are implausible; the message names the key ``units``.
    """
    if len(centres) == 0:
        return METRES[units or declared or "m"], []
    if units is None and declared in (None, "m"):
        median = float(np.median(np.linalg.norm(centres, axis=1)))
        if median > _FARTHEST_UNDECLARED:
            raise CalibrationError(
                f"{source}: the cameras stand {median:.0f} units from the origin, which cannot be metres; "
                f'write units = "mm" (or "cm", "m") under [calibration]'
            )
    factor = METRES[units or declared or "m"]
    widest = _widest(centres) * factor
    if len(centres) > 1 and not _CLOSEST_RIG_M <= widest <= _WIDEST_RIG_M:
        raise CalibrationError(
            f"{source}: in {units or declared or 'm'} the cameras farthest apart are {widest:.3g} m apart, which is "
            f"implausible; say the right units = … under [calibration]"
        )
    if units is None and declared is None:
        return factor, [
            f"{source} does not declare its units: taken as metres, the cameras farthest apart are {widest:.2f} m apart"
        ]
    return factor, []


def _widest(centres: FloatArray) -> float:
    """Distance of the two points that are farthest apart."""
    return float(np.linalg.norm(centres[:, None] - centres[None], axis=-1).max())
