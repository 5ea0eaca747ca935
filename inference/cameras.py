"""The cameras of a take: matched to its views by name, in the pixels of the views' own videos."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from .errors import CalibrationError, InputError
from .files.calibration import read_calibration, read_lenses
from .files.camera_table import Calibration, CameraFile, find_name
from .geometry.pose_errors import pose_slopes
from .image_fit import image_fit
from .shapes import FloatArray
from .take import CalibrationSource, Take, View
from .types import Camera, CameraRig, Intrinsics

_MOST_NAMES = 12  # that a message lists
_EXACT_GAUGE = "the calibration file's own world; how far the cameras are off is not stated"
UNSCALED_GAUGE = "the calibration file's own world, whose scale comes from the person"  # provisional until then
_TRUSTED_GAUGE = "the calibration file's own world; every camera is free by the stated sigmas"


def rig_for_take(
    take: Take, sizes: Mapping[str, tuple[int, int]], clocks: Mapping[str, Callable[[FloatArray], FloatArray]] = {}
) -> tuple[CameraRig, list[str]]:
    """Read the calibration of a take and bring its cameras into the views' own pixels.

    Convention:
        cameras in view order and named as the views; poses are those of the file, in metres. A camera N of
        caliscope answers to ``cam_N`` and ``N``. ``fit`` moves K; distortion stays, it is free of pixels.
        The covariance follows from ``rotation_sigma_deg`` and ``centre_sigma_m``; zeros where neither stands.

    Args:
        take: the take; its calibration names a file.
        sizes: (width, height) px of the views' pictures by view name; a view that is missing has the
            calibrated size.
        clocks: by view name, what gives the times (K,) s of pictures (K,) of its video; for cameras that move.

    Returns:
        The rig, and warnings; cameras that move do so on their views' own clocks.

    Raises:
        InputError: names or sizes do not match; the message names the view and what there is instead.
        CalibrationError: a file is broken, or gives fewer than two of the views a pose.
    """
    source = take.calibration
    if source.path is None:
        raise CalibrationError('calibration source = "self" has no file; name one under [calibration]')
    pictures = {view.name: size for view in take.views if (size := sizes.get(view.name) or view.size) is not None}
    warnings: list[str] = []
    second = _second_lenses(take, pictures, warnings)
    lenses = second.lenses
    calibration = read_calibration(source.path, source.units, take.height_m, pictures, lenses, source.distance)
    if len(calibration.cameras) < min(2, len(take.views)):
        hint = "" if source.path.is_dir() else "; where every camera has a file of its own, name their folder"
        raise CalibrationError(
            f"{source.path} gives a pose to {len(calibration.cameras)} cameras; a solve needs at least two{hint}"
        )
    warnings = [*calibration.warnings, *warnings]
    assumed = second.assumed_sizes | (calibration.assumed_sizes - second.lenses.keys())
    cameras: list[Camera] = []
    used: dict[str, str] = {}
    for view in take.views:
        name = _camera_name(view.name, calibration, str(source.path))
        if name in used:
            raise InputError(f"views {used[name]!r} and {view.name!r} both mean camera {name!r} of {source.path}")
        used[name] = view.name
        camera = _with_lens(calibration.cameras[name], lenses, name)
        if name in calibration.paths:
            if view.name not in clocks:
                raise InputError(
                    f"view {view.name!r}: its camera moves, and only a solve knows when; leave it out here"
                )
            try:
                camera = replace(camera, path=calibration.paths[name].in_time(clocks[view.name]))
            except CalibrationError as problem:
                raise CalibrationError(f"{source.path}: camera {name!r}: {problem}") from None
        if view.fit != "exact" and find_name(view.name, dict.fromkeys(assumed)) is not None:
            raise InputError(
                f'view {view.name!r}: fit = "{view.fit}" cannot be, its calibration does not state a picture size; '
                f"leave fit out if the calibration counts in the video's own pixels, else add H_ and W_ to the file"
            )
        cameras.append(_in_video(camera, view, sizes.get(view.name), calibration.turns.get(name, 0)))
    covariance = stated_covariance(cameras, source)
    gauge = _TRUSTED_GAUGE if covariance.any() else _EXACT_GAUGE
    return CameraRig(tuple(cameras), covariance, gauge if calibration.has_scale else UNSCALED_GAUGE), warnings


def lenses_for_take(take: Take, sizes: Mapping[str, tuple[int, int]]) -> tuple[tuple[Intrinsics, ...], list[str]]:
    """Read the lenses of a take whose camera poses are to be solved, in the pixels of the views' own videos.

    Args:
        take: the take; ``[calibration] intrinsics`` names the file of the lenses.
        sizes: (width, height) px of the views' pictures by view name.

    Returns:
        The lenses in view order, named as the views, and warnings.

    Raises:
        InputError: no file of lenses is named, or a view has no lens in it.
        CalibrationError: the file is broken.
    """
    path = take.calibration.intrinsics
    if path is None:
        raise InputError(
            "[calibration] source solves where the cameras stand, not their lenses: name a file that has "
            'them, intrinsics = "lenses.toml" (any calibration of the same cameras will do)'
        )
    pictures = {view.name: size for view in take.views if (size := sizes.get(view.name) or view.size) is not None}
    warnings: list[str] = []
    file = _second_lenses(take, pictures, warnings)
    found = {view.name: find_name(view.name, file.lenses) for view in take.views}
    missing = [name for name, lens in found.items() if lens is None]
    if missing:
        raise InputError(f"view {missing[0]!r} has no lens in {path}, which has {', '.join(file.lenses)}; add it")
    lenses = []
    for view in take.views:
        name = str(found[view.name])
        camera = Camera(file.lenses[name], np.eye(3), np.zeros(3))
        lenses.append(_in_video(camera, view, sizes.get(view.name), file.turns.get(name, 0)).intrinsics)
    return tuple(lenses), list(file.warnings)


def turned(camera: Camera, quarters: int) -> Camera:
    """Turn a camera about its axis as its image is turned clockwise by quarter turns.

    Convention:
        a pixel (u, v) of a W x H image goes to (H - 1 - v, u) at each turn; world points and rays stay together.

    Args:
        camera: lens and pose.
        quarters: clockwise quarter turns.

    Returns:
        The turned camera.

    Raises:
        CalibrationError: the lens has OpenCV's tilted sensor, which cannot be turned.
    """
    for _ in range(quarters % 4):
        camera = _turned_once(camera)
    return camera


def _turned_once(camera: Camera) -> Camera:
    inner = camera.intrinsics
    (width, height), K = inner.image_size, inner.K
    # x' = -y and y' = x, so fx' = fy, cx' = H - 1 - cy; the skew goes to the other side, so it must be zero.
    if K[0, 1] != 0:
        raise CalibrationError(f"camera {camera.name!r}: a lens with skew cannot be turned")
    turned_K = np.array([[K[1, 1], 0, height - 1 - K[1, 2]], [0, K[0, 0], K[0, 2]], [0, 0, 1]])
    distortion = np.array(inner.distortion)
    if inner.distortion_model == "opencv":
        if len(distortion) == 14 and distortion[12:].any():
            raise CalibrationError(f"camera {camera.name!r}: a lens with a tilted sensor cannot be turned")
        p1, p2 = distortion[2:4]
        distortion[2:4] = p2, -p1  # (p2, p1) is a vector in the image and turns with it
        if len(distortion) >= 12:
            s1, s2, s3, s4 = distortion[8:12]
            distortion[8:12] = -s3, -s4, s1, s2
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    lens = Intrinsics(inner.name, (height, width), turned_K, distortion, inner.distortion_model)
    return camera.with_lens(lens).with_poses(lambda R, t: (turn @ R, t @ turn.T))


def _second_lenses(take: Take, pictures: Mapping[str, tuple[int, int]], warnings: list[str]) -> CameraFile:
    path = take.calibration.intrinsics
    if path is None:
        return CameraFile({}, {})
    second = read_lenses(path, pictures)
    found = {view.name: find_name(view.name, second.lenses) for view in take.views}
    if not any(found.values()):
        why = "".join(f"; {warning}" for warning in second.warnings)
        raise CalibrationError(
            f"[calibration] intrinsics {path} has no lens of any view; its names: {', '.join(second.lenses)}{why}"
        )
    missing = [name for name, lens in found.items() if lens is None]
    if missing:
        warnings.append(f"{path} has no lens of {', '.join(missing)}: the calibration's own is used")
    return second


def _with_lens(camera: Camera, lenses: Mapping[str, Intrinsics], name: str) -> Camera:
    other = find_name(name, lenses)
    return camera if other is None else camera.with_lens(lenses[other])


def _camera_name(view: str, calibration: Calibration, path: str) -> str:
    name = find_name(view, calibration.cameras)
    if name is not None:
        return name
    if find_name(view, calibration.lenses) is not None:
        raise CalibrationError(f"view {view!r}: its camera in {path} has no pose; calibrate it, or leave the view out")
    names = list(calibration.cameras)
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    close = difflib.get_close_matches(view, names, n=1, cutoff=0.4)
    nearest = f"; the nearest is {close[0]!r}" if close else ""
    raise InputError(
        f"view {view!r} is not in {path}, which has {', '.join(names[:_MOST_NAMES])}{more}{nearest}; rename the view"
    )


def _in_video(camera: Camera, view: View, size: tuple[int, int] | None, quarters: int) -> Camera:
    """Bring a camera into the pixels of the view's video, turning it where the video was turned upright."""
    calibrated = camera.intrinsics.image_size
    what = "the video" if size else "the size given for its keypoints"
    size = size or view.size or calibrated
    if quarters % 2 and size != calibrated and _wider(size) == -_wider(calibrated):
        camera = turned(camera, quarters)
    inner = camera.intrinsics
    move = image_fit(view.fit, inner.image_size, size, f"view {view.name!r}: {what}")
    return camera.with_lens(replace(inner, name=view.name, image_size=size, K=move.matrix(inner.K)))


def _wider(size: tuple[int, int]) -> int:
    return (size[0] > size[1]) - (size[0] < size[1])


def stated_covariance(cameras: Sequence[Camera], source: CalibrationSource) -> FloatArray:
    """(6V, 6V) of rotation vectors (left-multiplied) and t, for the independent errors that a take states."""
    covariance = np.zeros((6 * len(cameras), 6 * len(cameras)))
    rotation = math.radians(source.rotation_sigma_deg or 0.0)
    spread = np.diag([rotation**2] * 3 + [(source.centre_sigma_m or 0.0) ** 2] * 3)
    for number, camera in enumerate(cameras):
        slopes = pose_slopes(camera.R, camera.t)
        block = slice(6 * number, 6 * number + 6)
        covariance[block, block] = slopes @ spread @ slopes.T
    return covariance
